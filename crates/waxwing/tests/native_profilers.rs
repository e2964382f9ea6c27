//! What the system's profilers are told of modules: the files of `Config::profiler`.

#![cfg(all(unix, feature = "wat", feature = "profiling"))]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use waxwing::{Config, Engine, Instance, Module, ProfilingStrategy, Result, Store};

fn engine(strategy: ProfilingStrategy) -> Result<Engine> {
    Engine::new(Config::new().profiler(strategy))
}

/// A module with functions of names that need care, one without a name, and trampolines of both kinds.
fn module(engine: &Engine, name: &str) -> Module {
    let wat = format!(
        r#"(module ${name}
            (import "host" "f" (func $host (param i64)))
            (memory 1)
            (func $plain (export "plain") (param i32) (result i32) local.get 0 i32.const 1 i32.add)
            (func $_ZN4core3fmt5Write9write_str17h0123456789abcdefE (export "rust")
                i32.const 7 call $plain drop)
            (func (export "unnamed") i64.const 1 call $host)
            (func $"two\nlines" (export "lines") i32.const 1 memory.grow drop))"#
    );
    Module::new(engine, wat).unwrap()
}

/// The names and ranges of what a perf map tells of code at these addresses.
fn in_map(text: &str, addresses: std::ops::Range<usize>) -> HashMap<String, (usize, usize)> {
    assert!(text.ends_with('\n'));
    let parse = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let mut number = || usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        let (start, len) = (number(), number());
        (words.next().unwrap().to_string(), (start, len))
    };
    let lines = text.lines().map(parse);
    lines
        .filter(|(_, (start, _))| addresses.contains(start))
        .collect()
}

fn text_addresses(module: &Module) -> std::ops::Range<usize> {
    let text = module.text().as_ptr_range();
    text.start as usize..text.end as usize
}

#[test]
fn a_perf_map_names_all_code() {
    let engine = engine(ProfilingStrategy::PerfMap).unwrap();
    let module = module(&engine, "m");
    // SAFETY: the artifact is this engine's own.
    let loaded = unsafe { Module::deserialize(&engine, module.serialize().unwrap()) }.unwrap();
    let text = std::fs::read_to_string(format!("/tmp/perf-{}.map", std::process::id())).unwrap();
    for module in [module, loaded] {
        let found = in_map(&text, text_addresses(&module));
        for name in [
            "m!plain",
            "m!core::fmt::Write::write_str",
            "m!<wasm function 3>",
            "m!two lines",
            "m!<builtin trampolines>",
        ] {
            assert!(found.contains_key(name), "no {name} in {found:#?}");
        }
        let trampolines = |kind: &str| found.keys().filter(|name| name.contains(kind)).count();
        assert_eq!(trampolines("<entry trampoline"), 2, "{found:#?}");
        assert!(trampolines("<exit trampoline") >= 1, "{found:#?}");
        for function in module.functions() {
            let place = (
                text_addresses(&module).start + function.offset,
                function.len,
            );
            assert!(found.values().any(|found| *found == place), "{function:?}");
        }
        // Every byte of code but for padding between functions.
        let named: usize = found.values().map(|(_, len)| len).sum();
        let code = module.text().iter().rposition(|byte| *byte != 0).unwrap() + 1;
        assert!(
            named <= code && named + 16 * found.len() >= code,
            "{named} of {code}"
        );
    }
}

#[test]
fn lines_of_threads_do_not_mix() {
    let engines = [(); 2].map(|()| engine(ProfilingStrategy::PerfMap).unwrap());
    let modules: Vec<Module> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let engine = &engines[i % 2];
                scope.spawn(move || {
                    (0..20)
                        .map(|j| module(engine, &format!("t{i}x{j}")))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let text = std::fs::read_to_string(format!("/tmp/perf-{}.map", std::process::id())).unwrap();
    for module in &modules {
        let found = in_map(&text, text_addresses(module));
        let name = format!("{}!plain", module.name().unwrap());
        assert!(found.contains_key(&name), "no {name}");
    }
}

/// A directory to be in, where the dump is written.
fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap().keep();
        std::env::set_current_dir(&directory).unwrap();
        directory
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(len);
        self.0 = tail;
        head
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take(8).try_into().unwrap())
    }

    fn string(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap();
        let string = self.take(end);
        self.take(1);
        string
    }
}

#[test]
fn a_dump_has_code_and_lines() {
    let directory = directory();
    let engine = engine(ProfilingStrategy::JitDump).unwrap();
    let module = module(&engine, "m");
    let mut store = Store::new(&engine, ());
    let host = waxwing::Func::wrap(&mut store, |_: i64| {});
    Instance::new(&mut store, &module, &[host.into()]).unwrap();

    let path = directory.join(format!("jit-{}.dump", std::process::id()));
    let bytes = std::fs::read(&path).unwrap();
    let mut reader = Reader(&bytes);
    assert_eq!(
        [reader.u32(), reader.u32(), reader.u32()],
        [0x4a69_5444, 1, 40]
    );
    let machine = match std::env::consts::ARCH {
        "x86_64" => 62,
        _ => 183,
    };
    assert_eq!([reader.u32(), reader.u32()], [machine, 0]);
    assert_eq!(reader.u32(), std::process::id());
    let mut time = reader.u64();
    assert_eq!(reader.u64(), 0);

    let text = text_addresses(&module);
    let mut names = Vec::new();
    let mut lines_of = None;
    let mut indices = std::collections::HashSet::new();
    while !reader.0.is_empty() {
        let (kind, len) = (reader.u32(), reader.u32());
        let now = reader.u64();
        assert!(now >= time);
        time = now;
        let mut record = Reader(reader.take(len as usize - 16));
        match kind {
            0 => {
                assert_eq!(record.u32(), std::process::id());
                record.u32();
                let (vma, start) = (record.u64() as usize, record.u64() as usize);
                let (len, index) = (record.u64() as usize, record.u64());
                assert_eq!(vma, start);
                assert!(indices.insert(index));
                let name = String::from_utf8(record.string().to_vec()).unwrap();
                let offset = start - text.start;
                assert_eq!(record.0, &module.text()[offset..offset + len]);
                if name == "m!plain" {
                    assert_eq!(lines_of.take(), Some(start));
                }
                names.push(name);
            }
            2 => {
                let start = record.u64() as usize;
                lines_of = Some(start);
                let count = record.u64();
                assert!(count > 0);
                for i in 0..count {
                    assert!(record.u64() as usize >= start);
                    assert!(record.u32() > 0);
                    assert_eq!(record.u32(), 0);
                    let file: &[u8] = if i == 0 { b"m.wasm" } else { b"\xff" };
                    assert_eq!(record.string(), file);
                }
                assert!(record.0.is_empty());
            }
            other => panic!("a record of kind {other}"),
        }
    }
    for name in [
        "m!plain",
        "m!core::fmt::Write::write_str",
        "m!<builtin trampolines>",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "no {name} in {names:?}"
        );
    }
    // By this mapping a profiler finds the file.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let is_marker = |line: &str| line.contains("r-xp") && line.ends_with(path.to_str().unwrap());
    assert!(maps.is_empty() || maps.lines().any(is_marker), "{maps}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn nothing_is_told_unless_asked_for() {
    let engine = engine(ProfilingStrategy::None).unwrap();
    let module = module(&engine, "quiet");
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(!text.contains("quiet!"));
    drop(module);
}

#[test]
fn what_is_not_possible_is_refused() {
    let error = engine(ProfilingStrategy::VTune).unwrap_err().to_string();
    assert!(
        error.contains("`ProfilingStrategy::VTune` is not possible"),
        "{error}"
    );
}
