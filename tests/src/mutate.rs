//! Damage to modules, texts and artifacts.

use crate::rng::Rng;
use wasm_encoder::RawSection;
use wasmparser::{BinaryReader, Parser};

/// Bytes that mean something special in the binary format, or nearly do.
const TELLING: [u8; 24] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0b, 0x40, 0x41, 0x60, 0x63, 0x64, 0x6f, 0x70, 0x7b, 0x7c,
    0x7d, 0x7e, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xff,
];

/// Numbers in LEB128 that are larger or longer than what they stand for should be.
const NUMBERS: [&[u8]; 4] = [
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0x03],
];

/// Damages `bytes` in one to four places. `others` are where pieces of other inputs come from.
pub fn bytes(rng: &mut Rng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..=rng.below(4) {
        once(rng, bytes, others);
    }
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = rng.below(bytes.len());
    match rng.below(9) {
        0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
        2 if !bytes.is_empty() => bytes[at] = *rng.choose(&TELLING),
        3 if !bytes.is_empty() => bytes[at] = rng.byte(),
        4 => bytes.truncate(at),
        5 => {
            let len = 1 + rng.below(8);
            let inserted = rng.bytes(len);
            bytes.splice(at..at, inserted);
        }
        6 => {
            let end = (at + 1 + rng.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        7 => {
            let number = rng.choose(&NUMBERS);
            let end = (at + 1).min(bytes.len());
            bytes.splice(at..end, number.iter().copied());
        }
        _ => {
            let empty = Vec::new();
            let other = if others.is_empty() {
                &empty
            } else {
                rng.choose(others)
            };
            let from = rng.below(other.len());
            let to = (from + rng.below(64)).min(other.len());
            let end = (at + rng.below(32)).min(bytes.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
    }
}

/// Damages the contents of one section of the module `wasm` and keeps the rest well formed, so
/// that the damage is met by later stages than the reader of sections. `None` if `wasm` has no
/// sections.
pub fn inside_section(rng: &mut Rng, wasm: &[u8], others: &[Vec<u8>]) -> Option<Vec<u8>> {
    const CODE_SECTION: u8 = 10;
    let mut sections = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.ok()?;
        if let Some((id, range)) = payload.as_section() {
            sections.push((id, wasm[range.start as usize..range.end as usize].to_vec()));
        }
    }
    if sections.is_empty() {
        return None;
    }
    match rng.below(12) {
        // Sections twice, missing, in another order.
        0 => {
            let section = rng.choose(&sections).clone();
            let at = rng.below(sections.len());
            sections.insert(at, section);
        }
        1 => {
            let at = rng.below(sections.len());
            sections.remove(at);
        }
        2 => {
            let (a, b) = (rng.below(sections.len()), rng.below(sections.len()));
            sections.swap(a, b);
        }
        _ => {
            let at = rng.below(sections.len());
            let (id, data) = &mut sections[at];
            match (*id == CODE_SECTION).then(|| inside_code(rng, data, others)) {
                Some(Some(damaged)) => *data = damaged,
                _ => bytes(rng, data, others),
            }
        }
    }
    let mut module = wasm_encoder::Module::new();
    for (id, data) in &sections {
        module.section(&RawSection { id: *id, data });
    }
    Some(module.finish())
}

/// Damages one function body of the code section `data` and keeps its length right.
fn inside_code(rng: &mut Rng, data: &[u8], others: &[Vec<u8>]) -> Option<Vec<u8>> {
    let reader = wasmparser::CodeSectionReader::new(BinaryReader::new(data, 0)).ok()?;
    let mut bodies = Vec::new();
    for body in reader {
        bodies.push(body.ok()?.as_bytes().to_vec());
    }
    if bodies.is_empty() {
        return None;
    }
    let at = rng.below(bodies.len());
    bytes(rng, &mut bodies[at], others);
    let mut section = wasm_encoder::CodeSection::new();
    for body in &bodies {
        section.raw(body);
    }
    // The encoder puts the section's length first; a raw section must not have it.
    let mut encoded = Vec::new();
    wasm_encoder::Encode::encode(&section, &mut encoded);
    let mut reader = BinaryReader::new(&encoded, 0);
    reader.read_var_u32().ok()?;
    Some(encoded[reader.original_position() as usize..].to_vec())
}

/// Damages the text `text`.
pub fn text(rng: &mut Rng, text: &str) -> String {
    const TOKENS: [&str; 26] = [
        "(",
        ")",
        "\"",
        ";;",
        "(;",
        ";)",
        "(module",
        "(func",
        "(param",
        "(result",
        "(local",
        "i32.const",
        "v128.const",
        "nan:0x",
        "0x",
        "-",
        "_",
        "\\u{",
        "\\ff",
        "$",
        "(import",
        "(type 4294967295)",
        "18446744073709551616",
        "(elem",
        "(memory",
        "\u{202e}",
    ];
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=rng.below(4) {
        let at = rng.below(chars.len());
        match rng.below(6) {
            0 => chars.truncate(at),
            1 => {
                let end = (at + 1 + rng.below(12)).min(chars.len());
                chars.drain(at..end);
            }
            2 => {
                let token: Vec<char> = rng.choose(&TOKENS).chars().collect();
                chars.splice(at..at, token);
            }
            3 => {
                let end = (at + rng.below(80)).min(chars.len());
                let piece: Vec<char> = chars[at..end].to_vec();
                let to = rng.below(chars.len());
                chars.splice(to..to, piece);
            }
            4 if !chars.is_empty() => chars[at] = char::from(rng.byte()),
            _ => {
                let digits: Vec<char> = rng.next_u64().to_string().chars().collect();
                chars.splice(at..at, digits);
            }
        }
    }
    chars.into_iter().collect()
}
