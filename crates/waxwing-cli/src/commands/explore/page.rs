//! The page: one file, without anything from elsewhere.
//!
//! Functions are in parts, each compressed, which the page unpacks when a function of it is shown. So a page of
//! a module with a hundred megabytes of listings opens at once.

use crate::code::{Code, Function};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// About how many bytes of machine code there are in a part.
const PART: u32 = 64 << 10;
const COMPRESSION_LEVEL: u8 = 6;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page's script knows from the start.
#[derive(Serialize)]
struct Index<'a> {
    target: String,
    bytes: bool,
    functions: Vec<IndexedFunction<'a>>,
    /// The first function of each part.
    parts: Vec<usize>,
}

/// Name, index in the module or -1, where the code is, and its length.
#[derive(Serialize)]
struct IndexedFunction<'a>(&'a str, i64, u32, u32);

/// The page for `code`, which is that of the file `name`, with the bytes of instructions if they are wanted.
pub fn html(name: &str, code: &Code, bytes: bool) -> String {
    let mut parts = Vec::new();
    let mut size = PART;
    for (i, function) in code.functions.iter().enumerate() {
        if size >= PART {
            parts.push(i);
            size = 0;
        }
        size += function.range.len() as u32;
    }
    let functions = code.functions.iter().map(|function| {
        let index = function.index.map_or(-1, |(index, _)| i64::from(index));
        let size = function.range.len() as u32;
        IndexedFunction(&function.name, index, function.range.start, size)
    });
    let index = Index {
        target: code.target.to_string(),
        bytes,
        functions: functions.collect(),
        parts: parts.clone(),
    };
    let index = serde_json::to_string(&index).expect("names and numbers can be written");
    let listings = listings(code, &parts, bytes);
    let mut data = String::new();
    for (i, text) in std::iter::once(index).chain(listings).enumerate() {
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(text.as_bytes(), COMPRESSION_LEVEL);
        let id = i
            .checked_sub(1)
            .map_or("index".to_string(), |i| format!("part{i}"));
        let _ = write!(data, "<script type=\"text/plain\" id=\"{id}\">");
        base64(&packed, &mut data);
        data.push_str("</script>\n");
    }
    // The data, which are the largest, come last, so that they are not searched.
    TEMPLATE
        .replace("{title}", &escape(name))
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT)
        .replace("{data}", &data)
}

/// The texts of all parts, made by as many threads as the machine has.
fn listings(code: &Code, parts: &[usize], bytes: bool) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let texts = Mutex::new(vec![String::new(); parts.len()]);
    let work = || {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            let Some(first) = parts.get(part) else { break };
            let end = parts.get(part + 1).copied().unwrap_or(code.functions.len());
            let functions = code.functions[*first..end].iter();
            let list: Vec<_> = functions
                .map(|function| listing(code, function, bytes))
                .collect();
            let text = serde_json::to_string(&list).expect("texts can be written");
            texts.lock().expect("no thread panics")[part] = text;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(parts.len()) {
            scope.spawn(work);
        }
    });
    texts.into_inner().expect("no thread panics")
}

/// Two texts of lines with tabs between columns, short because there are so many. Of WebAssembly: the distance in
/// the binary from the line before, and the text. Of machine code: the length of the instruction; the offset in the binary that it stems from, `-`
/// for none, nothing if it is that of the instruction before; the text; and the bytes, if they are wanted. Numbers are hexadecimal.
fn listing(code: &Code, function: &Function, bytes: bool) -> [String; 2] {
    let mut wasm = String::new();
    if let (Some(text), Some((_, defined))) = (&code.wasm, function.index) {
        let mut last = 0;
        for (offset, line) in text.function(defined) {
            // The indentation that all have.
            let line = line.strip_prefix(' ').unwrap_or(line);
            let _ = writeln!(wasm, "{:x}\t{line}", offset - last);
            last = offset;
        }
    }
    let mut machine = String::new();
    let mut last = None;
    for instruction in code.instructions(function) {
        let _ = write!(machine, "{:x}\t", instruction.len);
        let offset = code.wasm_offset(instruction.offset);
        match offset {
            _ if last == Some(offset) => {}
            Some(offset) => _ = write!(machine, "{offset:x}"),
            None => machine.push('-'),
        }
        last = Some(offset);
        let _ = write!(machine, "\t{}", instruction.text);
        if bytes {
            machine.push('\t');
            for byte in code.bytes(&instruction) {
                let _ = write!(machine, "{byte:02x}");
            }
        }
        machine.push('\n');
    }
    [wasm, machine]
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // What the template replaces stays as it is.
            '{' => escaped.push_str("&#123;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn base64(bytes: &[u8], to: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    to.reserve(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            if i <= chunk.len() {
                let digit = bits >> (18 - 6 * i) & 0x3f;
                to.push(char::from(DIGITS[digit as usize]));
            } else {
                to.push('=');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_all_remainders() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xef\xbe", "/+++"),
        ] {
            let mut encoded = String::new();
            base64(bytes, &mut encoded);
            assert_eq!(encoded, text);
        }
    }

    #[test]
    fn names_cannot_be_markup() {
        assert_eq!(
            escape("<a \"b\"> & {data}"),
            "&lt;a &quot;b&quot;&gt; &amp; &#123;data}"
        );
    }
}
