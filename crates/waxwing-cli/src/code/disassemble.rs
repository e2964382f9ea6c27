//! Machine code as text.

use super::Code;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, IntelFormatter};
use std::fmt::Write;
use target_lexicon::Architecture;
use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::InstDecoder;

/// An instruction.
pub struct Instruction {
    /// The offset in the text section.
    pub offset: u32,
    /// The number of bytes.
    pub len: u32,
    pub text: String,
}

/// The instructions of a function at `start` in the text section.
pub fn disassemble(code: &Code, start: u32, bytes: &[u8]) -> Vec<Instruction> {
    let mut instructions = match code.target.architecture {
        Architecture::X86_64 => x86_64(code, start, bytes),
        Architecture::Aarch64(_) => aarch64(code, start, bytes),
        // Of the others nothing is known but their units.
        Architecture::Riscv64(_) => words(start, bytes, 4),
        _ => words(start, bytes, 2),
    };
    for instruction in &mut instructions {
        if let Some(trap) = code.traps.get(&instruction.offset) {
            let _ = write!(instruction.text, "  ; trap: {trap:?}");
        }
    }
    instructions
}

/// Adds the name of the function that a jump leads to, if it leads to the beginning of one.
fn name_target(code: &Code, text: &mut String, target: Option<u32>) {
    if let Some(name) = target.and_then(|target| code.function_at(target)) {
        let _ = write!(text, "  ; {name}");
    }
}

fn x86_64(code: &Code, start: u32, bytes: &[u8]) -> Vec<Instruction> {
    let mut decoder = Decoder::with_ip(64, bytes, u64::from(start), DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_small_hex_numbers_in_decimal(true);
    options.set_space_after_operand_separator(true);
    options.set_branch_leading_zeros(false);
    options.set_first_operand_char_index(8);
    let mut instructions = Vec::new();
    let mut sweep = Sweep::new(code, start, bytes);
    while decoder.can_decode() {
        let at = decoder.ip() as u32;
        if let Some(end) = sweep.data(at) {
            let (from, to) = ((at - start) as usize, (end - start) as usize);
            instructions.extend(words(at, &bytes[from..to], 8));
            if decoder.set_position(to).is_err() {
                break;
            }
            decoder.set_ip(u64::from(end));
            continue;
        }
        let instruction = decoder.decode();
        let next = match instruction.flow_control() {
            FlowControl::Return | FlowControl::Exception => Next::Nothing,
            FlowControl::UnconditionalBranch => Next::Nothing,
            FlowControl::IndirectBranch => Next::Table,
            _ => Next::Code,
        };
        let branch = u32::try_from(instruction.near_branch_target()).unwrap_or(0);
        sweep.step(next, branch);
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        let is_jump = matches!(
            instruction.flow_control(),
            FlowControl::Call | FlowControl::UnconditionalBranch
        );
        name_target(code, &mut text, is_jump.then_some(branch));
        instructions.push(Instruction {
            offset: instruction.ip() as u32,
            len: instruction.len() as u32,
            text,
        });
    }
    instructions
}

fn aarch64(code: &Code, start: u32, bytes: &[u8]) -> Vec<Instruction> {
    let decoder = InstDecoder::default();
    let mut instructions = words(start, bytes, 4);
    let mut sweep = Sweep::new(code, start, bytes);
    let mut data_end = start;
    for instruction in &mut instructions {
        if let Some(end) = sweep.data(instruction.offset) {
            data_end = end;
        }
        if instruction.offset < data_end {
            continue;
        }
        let at = (instruction.offset - start) as usize;
        let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
            continue;
        };
        if let Ok(decoded) = decoder.decode(&mut U8Reader::new(word)) {
            instruction.text = decoded.to_string();
        }
        let number = u32::from_le_bytes(*word);
        // Signed distances in words, of some bits at some place.
        let branch = |bits: u32, at: u32| {
            let distance = ((number << (32 - bits - at)) as i32) >> (32 - bits);
            instruction.offset.checked_add_signed(distance * 4)
        };
        let (next, target) = match number {
            // `b` and `bl`
            n if n >> 26 == 0b000101 => (Next::Nothing, branch(26, 0)),
            n if n >> 26 == 0b100101 => (Next::Code, branch(26, 0)),
            // `b.cond`, `cbz`, `cbnz`
            n if n >> 24 == 0x54 || n >> 25 & 0x3f == 0b011010 => (Next::Code, branch(19, 5)),
            // `tbz`, `tbnz`
            n if n >> 25 & 0x3f == 0b011011 => (Next::Code, branch(14, 5)),
            // `br` and `ret`
            n if n & 0xffff_fc1f == 0xd61f_0000 => (Next::Table, None),
            n if n & 0xffff_fc1f == 0xd65f_0000 => (Next::Nothing, None),
            // `udf`
            n if n >> 16 == 0 => (Next::Nothing, None),
            _ => (Next::Code, None),
        };
        sweep.step(next, target.unwrap_or(0));
        name_target(code, &mut instruction.text, target);
    }
    instructions
}

/// What comes after an instruction.
enum Next {
    Code,
    /// Code that others lead to, or data.
    Nothing,
    /// Perhaps a table of where the instruction leads to.
    Table,
}

/// Tells code from constants and tables of jumps, which are among the code of a function.
struct Sweep<'a> {
    code: &'a Code,
    start: u32,
    bytes: &'a [u8],
    next: Next,
    /// The last place that what was seen leads to.
    furthest: u32,
}

impl<'a> Sweep<'a> {
    fn new(code: &'a Code, start: u32, bytes: &'a [u8]) -> Self {
        Sweep {
            code,
            start,
            bytes,
            next: Next::Code,
            furthest: start,
        }
    }

    fn step(&mut self, next: Next, branch: u32) {
        self.next = next;
        if branch < self.start + self.bytes.len() as u32 {
            self.furthest = self.furthest.max(branch);
        }
    }

    /// Where data end that begin at `at`; `None` if there is code.
    fn data(&mut self, at: u32) -> Option<u32> {
        let next = std::mem::replace(&mut self.next, Next::Code);
        let len = self.bytes.len() as u32;
        match next {
            Next::Code => None,
            Next::Table => self.table(at),
            // Nothing leads there, and no instruction of the module stands for it: constants.
            Next::Nothing if self.furthest < at && self.code.is_data(at, self.start + len) => {
                Some(self.start + len)
            }
            Next::Nothing => None,
        }
    }

    /// A table of jumps has distances, of 32 bits, from itself to places in the function. It ends where the first of
    /// these places after it is, at the latest.
    fn table(&mut self, at: u32) -> Option<u32> {
        let function = self.start..self.start + self.bytes.len() as u32;
        let mut end = function.end;
        let mut entry = at;
        while entry + 4 <= end {
            let bytes = self.bytes.get((entry - self.start) as usize..)?;
            let distance = i32::from_le_bytes(*bytes.first_chunk()?);
            let target = at.checked_add_signed(distance);
            let Some(target) = target.filter(|target| function.contains(target)) else {
                break;
            };
            self.furthest = self.furthest.max(target);
            if target > entry {
                end = end.min(target);
            }
            entry += 4;
        }
        (entry > at).then_some(entry)
    }
}

/// Units of a fixed size, as numbers.
fn words(start: u32, bytes: &[u8], size: usize) -> Vec<Instruction> {
    let chunks = bytes.chunks(size).enumerate();
    chunks
        .map(|(i, chunk)| {
            let mut text = ".byte  ".to_string();
            for byte in chunk {
                let _ = write!(text, " 0x{byte:02x}");
            }
            Instruction {
                offset: start + (i * size) as u32,
                len: chunk.len() as u32,
                text,
            }
        })
        .collect()
}
