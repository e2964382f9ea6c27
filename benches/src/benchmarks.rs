//! The table of benchmarks.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is measured and reported together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Programs with real inner loops.
    Run,
    /// Compiling modules.
    Compile,
    /// Commands, from a module to its output.
    Cold,
    /// Garbage collection, exceptions and threads.
    Gc,
    /// What it takes that code can be interrupted.
    Interrupt,
    /// Calls between the host and WebAssembly, and within WebAssembly.
    Calls,
    /// Making instances.
    Start,
    /// Loading artifacts.
    Artifact,
    /// Many instances, and many threads.
    Scale,
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Run => "run",
            Group::Compile => "compile",
            Group::Cold => "cold",
            Group::Gc => "gc",
            Group::Interrupt => "interrupt",
            Group::Calls => "calls",
            Group::Start => "start",
            Group::Artifact => "artifact",
            Group::Scale => "scale",
        }
    }

    /// Whether each engine has a process of its own, which is where it does not matter that engines disagree about who handles
    /// signals, and where the memory that an engine takes is its own.
    pub fn apart(self) -> bool {
        matches!(self, Group::Run | Group::Compile | Group::Scale)
    }

    /// How many samples are taken, and after how many seconds no more, if the command's options do not say.
    pub fn effort(self) -> (usize, f64) {
        match self {
            Group::Run => (5, 1.5),
            Group::Compile => (7, 4.0),
            Group::Cold => (9, 5.0),
            Group::Scale => (9, 4.0),
            _ => (15, 3.0),
        }
    }
}

#[derive(Clone)]
pub struct Benchmark {
    pub name: &'static str,
    pub group: Group,
    /// What it stands for, in a few words.
    pub what: &'static str,
    /// The file: under `programs/`, or where the work says.
    pub program: &'static str,
    pub work: Work,
    /// What the timed function returns.
    pub checksum: i64,
    pub heap: Heap,
}

/// How a sample is taken.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// The time of a call of `export(argument) -> i64`. Instances live on from sample to sample.
    Call { export: &'static str, argument: i32 },
    /// `worker(argument)` in as many threads, each with an instance of its own, all with one shared memory
    /// `env.memory`. One more instance leads: `prepare()`, then the threads are started, then `await(threads)`,
    /// then `run(threads) -> i64`, whose time is taken.
    Threads {
        worker: &'static str,
        threads: u32,
        argument: i32,
    },
    /// The time of [`CALLS_TIMED_TOGETHER`] calls, on average over so many.
    Cross { crossing: Crossing, count: u32 },
    /// The time to make an instance in a store of its own, and to drop both: `count` times in each of as many threads at
    /// once. With `touch`, each instance also writes to a page of its image, by `touch(i32) -> i64`.
    Start {
        image: usize,
        threads: usize,
        touch: bool,
        count: u32,
    },
    /// The time to drop an instance and its store, on average over so many that were made, and wrote to a page, before.
    Drop { image: usize, count: u32 },
    /// The memory that an instance takes which does nothing, on average over so many at the same time; and the time to make
    /// one. With `touch`, each has written to a page of its image.
    Idle {
        image: usize,
        instances: u32,
        touch: bool,
    },
    /// The time to load from a file the artifact of a module that has the program, a function, as many times. It is
    /// at least so many MiB of machine code. The result is the number of exports.
    Load { copies: u32, mib: u32 },
    /// The time of a call of `run(n) -> i64`, of a program of `programs/run`.
    Run {
        n: i32,
        size: Size,
        /// Whether it makes tail calls, which not all engines can.
        tail_calls: bool,
        /// Whether it has vectors, which not all engines can do either.
        vectors: bool,
    },
    /// The time to compile, in a process that has done nothing else. The result is the number of exports.
    Compile {
        threads: Threads,
        from: Place,
        /// Whether it takes so long that it is left to fewer engines: the rival, and those that compile fast.
        long: bool,
        /// Whether it has references to what the host has, which not all engines can.
        references: bool,
    },
    /// The time to compile on so many threads. The result is the number of exports.
    CompileOn { threads: usize, from: Place },
    /// The time of a process that runs a command line program, whose output is what the table says.
    Command {
        from: Place,
        /// Whether the module is compiled beforehand.
        precompiled: bool,
        job: Job,
    },
}

/// What a command line program is to do.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Job {
    pub arguments: &'static [&'static str],
    /// The file under `programs/` that it finds in its root.
    pub input: Option<&'static str>,
    /// What must be in its output.
    pub output: &'static str,
}

impl Work {
    /// The length of the image of a program that has one of any length.
    pub fn image(self) -> Option<usize> {
        match self {
            Work::Start { image, .. } | Work::Drop { image, .. } | Work::Idle { image, .. } => {
                Some(image)
            }
            _ => None,
        }
    }
}

/// How much a program does in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// A good part of a second in machine code.
    Full,
    /// What an interpreter does in such a time.
    Small,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Threads {
    One,
    All,
}

/// Where a module comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// `target/programs`, where `programs/run/build` leaves it.
    Built,
    /// The folder of modules that `programs/compile/fetch` fetches.
    Fetched,
    /// `programs/`, as text.
    Text,
    /// The root of the repository.
    Repository,
}

/// A call takes a few nanoseconds.
pub const CALLS_TIMED_TOGETHER: u32 = 1000;

/// Who calls whom.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Crossing {
    /// The host calls a function whose type it knows when it is compiled, as with all below of which nothing else is said.
    Typed,
    /// The same, without parameters and results.
    TypedNop,
    /// The host calls a function whose type it knows at run time.
    Untyped,
    /// WebAssembly calls a function of the host.
    Wrapped,
    /// The same; the function uses its store's data.
    WrappedWithCaller,
    /// WebAssembly calls a function of the host whose type the host knows at run time.
    Dynamic,
    /// A function of the program that makes as many calls as its argument says.
    Within(&'static str),
    AcrossInstances,
    /// The host calls a function that might wait.
    Async,
    /// WebAssembly calls a function of the host that might wait, and does not.
    AsyncReady,
    /// The same; the function waits once.
    AsyncSuspends,
}

impl Crossing {
    pub fn is_async(self) -> bool {
        matches!(
            self,
            Crossing::Async | Crossing::AsyncReady | Crossing::AsyncSuspends
        )
    }
}

/// What a benchmark asks of the collector, and so with which collectors it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Heap {
    /// Nothing: run with the engine's default alone.
    Untouched,
    /// It reads objects or throws, and allocates little.
    Read,
    /// Most of its time goes to allocating and collecting.
    Allocates,
}

const fn call(export: &'static str, argument: i32) -> Work {
    Work::Call { export, argument }
}

const fn threads(worker: &'static str, argument: i32) -> Work {
    Work::Threads {
        worker,
        threads: 4,
        argument,
    }
}

const fn gc(
    name: &'static str,
    what: &'static str,
    program: &'static str,
    heap: Heap,
    work: Work,
    checksum: i64,
) -> Benchmark {
    Benchmark {
        name,
        group: Group::Gc,
        what,
        program,
        work,
        checksum,
        heap,
    }
}

const fn interrupt(
    name: &'static str,
    what: &'static str,
    program: &'static str,
    argument: i32,
    checksum: i64,
) -> Benchmark {
    Benchmark {
        name,
        group: Group::Interrupt,
        what,
        program,
        work: call("run", argument),
        checksum,
        heap: Heap::Untouched,
    }
}

const fn calls(
    name: &'static str,
    what: &'static str,
    program: &'static str,
    crossing: Crossing,
    count: u32,
) -> Benchmark {
    Benchmark {
        name,
        group: Group::Calls,
        what,
        program,
        work: Work::Cross { crossing, count },
        checksum: count as i64,
        heap: Heap::Untouched,
    }
}

/// The byte of which images consist.
pub const IMAGE_BYTE: u8 = b'w';

const fn start(
    name: &'static str,
    what: &'static str,
    image: usize,
    threads: usize,
    touch: bool,
) -> Benchmark {
    Benchmark {
        name,
        group: Group::Start,
        what,
        program: "start/guest.wat",
        work: Work::Start {
            image,
            threads,
            touch,
            count: 500,
        },
        checksum: if image == 0 { 0 } else { IMAGE_BYTE as i64 },
        heap: Heap::Untouched,
    }
}

const fn dropped(name: &'static str, what: &'static str, image: usize) -> Benchmark {
    Benchmark {
        work: Work::Drop { image, count: 50 },
        ..start(name, what, image, 1, true)
    }
}

/// The same as of [`start`], to see how it scales.
const fn starts(name: &'static str, what: &'static str, threads: usize) -> Benchmark {
    Benchmark {
        group: Group::Scale,
        ..start(name, what, 64 * KIB, threads, true)
    }
}

const fn idle(name: &'static str, what: &'static str, touch: bool) -> Benchmark {
    Benchmark {
        group: Group::Scale,
        work: Work::Idle {
            image: 64 * KIB,
            instances: 2000,
            touch,
        },
        ..start(name, what, 64 * KIB, 1, touch)
    }
}

const fn compile_on(name: &'static str, what: &'static str, threads: usize) -> Benchmark {
    Benchmark {
        name,
        group: Group::Scale,
        what,
        program: LUA,
        work: Work::CompileOn {
            threads,
            from: Place::Repository,
        },
        checksum: 2,
        heap: Heap::Untouched,
    }
}

const fn load(name: &'static str, what: &'static str, copies: u32, mib: u32) -> Benchmark {
    Benchmark {
        name,
        group: Group::Artifact,
        what,
        program: "artifact/functions.wat",
        work: Work::Load { copies, mib },
        checksum: 1,
        heap: Heap::Untouched,
    }
}

const fn compile(
    name: &'static str,
    what: &'static str,
    from: Place,
    program: &'static str,
    threads: Threads,
    exports: i64,
) -> Benchmark {
    Benchmark {
        name,
        group: Group::Compile,
        what,
        program,
        work: Work::Compile {
            threads,
            from,
            long: false,
            references: false,
        },
        checksum: exports,
        heap: Heap::Untouched,
    }
}

/// The same where the module has garbage collection.
const fn with_gc(benchmark: Benchmark) -> Benchmark {
    Benchmark {
        heap: Heap::Read,
        ..benchmark
    }
}

/// The same where it takes long.
const fn long(mut benchmark: Benchmark) -> Benchmark {
    if let Work::Compile { long, .. } = &mut benchmark.work {
        *long = true;
    }
    benchmark
}

/// The same where the module has references to what the host has.
const fn with_references(mut benchmark: Benchmark) -> Benchmark {
    if let Work::Compile { references, .. } = &mut benchmark.work {
        *references = true;
    }
    benchmark
}

/// A program that is run by a command, compiled beforehand or not.
const fn cold(
    name: &'static str,
    what: &'static str,
    from: Place,
    program: &'static str,
    precompiled: bool,
    job: Job,
) -> Benchmark {
    Benchmark {
        name,
        group: Group::Cold,
        what,
        program,
        work: Work::Command {
            from,
            precompiled,
            job,
        },
        checksum: 0,
        heap: Heap::Untouched,
    }
}

const LUA: &str = "tests/fixtures/lua/lua.wasm";
const HELLO: &str = "tests/fixtures/wasi/hello.wasm";

const NOTHING: Job = Job {
    arguments: &[],
    input: None,
    output: "",
};
const GREETING: Job = Job {
    output: "ello",
    ..NOTHING
};
const SCRIPT: Job = Job {
    arguments: &["/fib.lua"],
    input: Some("cold/fib.lua"),
    output: "1 1 2 3 5 8 13 21 34 55 89 144 233 377 610 987 1597 2584 4181 6765",
};
const BUNDLE: Job = Job {
    arguments: &["/shapes.ts", "--bundle"],
    input: Some("cold/shapes.ts"),
    output: "new Circle(1)",
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

#[rustfmt::skip]
pub const BENCHMARKS: &[Benchmark] = &[
    gc("trees-12", "binary trees of depth 12", "gc/binary_trees.wat", Heap::Allocates, call("run", 12), 674_478),
    gc("trees-16", "binary trees of depth 16", "gc/binary_trees.wat", Heap::Allocates, call("run", 16), 14_985_902),
    gc("list-churn", "a queue of 16384 cells that come and go", "gc/linked_list.wat", Heap::Allocates, call("run", 100), 3_570_196_825_165_158_598),
    gc("splay", "a splay tree of 2000 nodes with payloads", "gc/splay.wat", Heap::Allocates, call("run", 2000), 36_182_919_959_010),
    gc("sort-refs", "merge sort of 200,000 references", "gc/sort_refs.wat", Heap::Allocates, call("run", 200_000), 1_996_578_799_176_967),
    gc("sort-i32", "quicksort of an array of a million i32", "gc/sort_i32.wat", Heap::Read, call("run", 1_000_000), -2_764_142_022_489_856_196),
    gc("br_on_cast", "a chain of br_on_cast over seven types", "gc/casts.wat", Heap::Read, call("br_on_cast", 500), 732_115_500),
    gc("ref.cast", "three casts that succeed, for each object", "gc/casts.wat", Heap::Read, call("ref_cast", 500), 8_394_752_000),
    gc("throw-shallow", "throw and catch, one frame apart", "gc/exceptions.wat", Heap::Read, call("shallow", 100_000), 5_000_050_000),
    gc("throw-10-frames", "throw and catch, eleven frames apart", "gc/exceptions.wat", Heap::Read, call("through_10_frames", 50_000), 1_250_025_000),
    gc("rethrow-10-frames", "caught as exnref and thrown again in ten frames", "gc/exceptions.wat", Heap::Read, call("rethrow_in_10_frames", 20_000), 200_010_000),
    gc("not-thrown", "a try_table in a loop, nothing thrown", "gc/exceptions.wat", Heap::Read, call("not_thrown", 50_000_000), 1_250_000_025_000_000),
    gc("fetch-add", "four threads add to one word", "gc/atomics.wat", Heap::Untouched, threads("fetch_add", 500_000), 2_000_000),
    gc("compare-exchange", "four threads add by compare-exchange", "gc/atomics.wat", Heap::Untouched, threads("compare_exchange", 100_000), 400_000),
    gc("lock", "four threads, one mutex that spins, waits and notifies", "gc/atomics.wat", Heap::Untouched, threads("lock", 50_000), 200_000),
    interrupt("sieve", "bytes of a memory, in strides", "interrupt/sieve.wat", 4_000_000, 283_146),
    interrupt("matmul", "products of matrices", "interrupt/matmul.wat", 250, 75_004_500),
    interrupt("crc32", "a table, and a loop that waits for it", "interrupt/crc32.wat", 8, 3_435_725_744),
    interrupt("fib", "calls", "interrupt/fib.wat", 30, 832_040),
    interrupt("mandelbrot", "floating point in a short loop", "interrupt/mandelbrot.wat", 200, 3_288_753),
    interrupt("quicksort", "short loops and recursion", "interrupt/quicksort.wat", 400_000, -7_930_499_496_305_007_070),
    interrupt("words", "a call for each byte", "interrupt/words.wat", 8, 1_278_744),
    interrupt("nbody", "floating point in a memory, and calls", "interrupt/nbody.wat", 200_000, -44_783_393),
    calls("typed", "the host calls WebAssembly", "calls/exports.wat", Crossing::Typed, 100_000),
    calls("typed, nothing passed", "the host calls WebAssembly", "calls/exports.wat", Crossing::TypedNop, 100_000),
    calls("untyped", "the host calls WebAssembly", "calls/exports.wat", Crossing::Untyped, 100_000),
    calls("wrapped", "WebAssembly calls the host", "calls/imports.wat", Crossing::Wrapped, 100_000),
    calls("wrapped, with caller", "WebAssembly calls the host", "calls/imports.wat", Crossing::WrappedWithCaller, 100_000),
    calls("dynamic", "WebAssembly calls the host", "calls/imports.wat", Crossing::Dynamic, 100_000),
    calls("direct", "within a module", "calls/exports.wat", Crossing::Within("direct"), 500_000),
    calls("recursive", "within a module, a hundred deep", "calls/exports.wat", Crossing::Within("recursive"), 500_000),
    calls("call_indirect", "within a module, of two functions in turn", "calls/exports.wat", Crossing::Within("call_indirect"), 500_000),
    calls("call_ref", "within a module", "calls/exports.wat", Crossing::Within("call_ref"), 500_000),
    calls("across instances", "WebAssembly calls another instance", "calls/imports.wat", Crossing::AcrossInstances, 500_000),
    calls("async", "the host calls WebAssembly on a stack of its own", "calls/exports.wat", Crossing::Async, 20_000),
    calls("async, host ready", "WebAssembly calls an asynchronous function of the host", "calls/imports.wat", Crossing::AsyncReady, 20_000),
    calls("async, host waits", "WebAssembly calls the host, and is suspended", "calls/imports.wat", Crossing::AsyncSuspends, 20_000),
    start("none", "no image", 0, 1, false),
    start("none, 4 threads", "no image", 0, 4, false),
    start("64 KiB", "an image of 64 KiB", 64 * KIB, 1, false),
    start("64 KiB, 4 threads", "an image of 64 KiB", 64 * KIB, 4, false),
    start("1 MiB", "an image of 1 MiB", MIB, 1, false),
    start("1 MiB, 2 threads", "an image of 1 MiB", MIB, 2, false),
    start("1 MiB, 4 threads", "an image of 1 MiB", MIB, 4, false),
    start("1 MiB, called", "an image of 1 MiB, of which a page is written to", MIB, 1, true),
    start("1 MiB, called, 2 threads", "an image of 1 MiB, of which a page is written to", MIB, 2, true),
    start("1 MiB, called, 4 threads", "an image of 1 MiB, of which a page is written to", MIB, 4, true),
    start("16 MiB", "an image of 16 MiB", 16 * MIB, 1, false),
    start("16 MiB, called", "an image of 16 MiB, of which a page is written to", 16 * MIB, 1, true),
    dropped("64 KiB, dropped", "an instance that has written to a page, dropped with its store", 64 * KIB),
    dropped("1 MiB, dropped", "an instance that has written to a page, dropped with its store", MIB),
    idle("idle", "2,000 instances that have not run", false),
    idle("idle, called", "2,000 instances that have written to a page", true),
    starts("instances, 1 thread", "an image of 64 KiB, of which a page is written to", 1),
    starts("instances, 2 threads", "an image of 64 KiB, of which a page is written to", 2),
    starts("instances, 4 threads", "an image of 64 KiB, of which a page is written to", 4),
    compile_on("compile, 1 thread", "the Lua interpreter", 1),
    compile_on("compile, 2 threads", "the Lua interpreter", 2),
    compile_on("compile, 4 threads", "the Lua interpreter", 4),
    load("10 functions", "a small artifact, from a file", 10, 0),
    load("10 MiB of code", "an artifact of 10 MiB of code, from a file", 55_000, 10),
    compile("json", "a small program in C", Place::Built, "json.wasm", Threads::All, 2),
    compile("json, 1 thread", "a small program in C", Place::Built, "json.wasm", Threads::One, 2),
    compile("lua", "an interpreter in C", Place::Repository, LUA, Threads::All, 2),
    compile("lua, 1 thread", "an interpreter in C", Place::Repository, LUA, Threads::One, 2),
    with_references(compile("rollup", "a program in Rust", Place::Fetched, "rollup.wasm", Threads::All, 13)),
    with_references(compile("rollup, 1 thread", "a program in Rust", Place::Fetched, "rollup.wasm", Threads::One, 13)),
    compile("sqlite", "a library in C", Place::Built, "sqlite.wasm", Threads::All, 3),
    compile("sqlite, 1 thread", "a library in C", Place::Built, "sqlite.wasm", Threads::One, 3),
    with_gc(compile("moonbit", "a program in MoonBit, with garbage collection", Place::Fetched, "moonbit.wasm", Threads::All, 1)),
    with_gc(long(compile("moonbit, 1 thread", "a program in MoonBit, with garbage collection", Place::Fetched, "moonbit.wasm", Threads::One, 1))),
    compile("canvaskit", "a library in C++", Place::Fetched, "canvaskit.wasm", Threads::All, 9),
    long(compile("canvaskit, 1 thread", "a library in C++", Place::Fetched, "canvaskit.wasm", Threads::One, 9)),
    compile("swc", "a program in Rust", Place::Fetched, "swc.wasm", Threads::All, 17),
    compile("esbuild", "a program in Go", Place::Fetched, "esbuild.wasm", Threads::All, 2),
    long(compile("esbuild, 1 thread", "a program in Go", Place::Fetched, "esbuild.wasm", Threads::One, 2)),
    cold("no-op", "a function that returns", Place::Text, "cold/noop.wat", false, NOTHING),
    cold("no-op, precompiled", "a function that returns", Place::Text, "cold/noop.wat", true, NOTHING),
    cold("hello", "a line of output", Place::Repository, HELLO, false, GREETING),
    cold("hello, precompiled", "a line of output", Place::Repository, HELLO, true, GREETING),
    cold("lua", "a script in an interpreter in C", Place::Repository, LUA, false, SCRIPT),
    cold("lua, precompiled", "a script in an interpreter in C", Place::Repository, LUA, true, SCRIPT),
    cold("esbuild", "a file bundled by a program of 20 MB in Go", Place::Fetched, "esbuild.wasm", false, BUNDLE),
    cold("esbuild, precompiled", "a file bundled by a program of 20 MB in Go", Place::Fetched, "esbuild.wasm", true, BUNDLE),
];

/// Where the modules are that come from a place.
pub fn folder(place: Place) -> PathBuf {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    match place {
        Place::Built => benches.join("target/programs"),
        Place::Fetched => benches.join("target/modules"),
        Place::Text => benches.join("programs"),
        Place::Repository => benches.join(".."),
    }
}

/// All of them, in the order of the groups.
pub fn all() -> &'static [Benchmark] {
    static ALL: LazyLock<Vec<Benchmark>> = LazyLock::new(|| {
        let mut all: Vec<Benchmark> = BENCHMARKS.to_vec();
        all.extend(programs());
        all.sort_by_key(|it| it.group);
        all
    });
    &ALL
}

/// `programs/run/table.toml`, as far as it is of interest here.
#[derive(Deserialize)]
struct Table {
    program: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    name: String,
    what: String,
    language: String,
    #[serde(default)]
    features: Vec<String>,
    n: i32,
    checksum: i64,
    n_small: i32,
    checksum_small: i64,
}

/// The benchmarks of the programs of `programs/run`, each of which is one of each size.
fn programs() -> Vec<Benchmark> {
    let table: Table = toml::from_str(include_str!("../programs/run/table.toml"))
        .expect("table.toml is as the programs' README says");
    let mut programs = Vec::new();
    for program in table.program {
        let what = format!("{} ({})", program.what, program.language).leak();
        let file = format!("{}.wasm", program.name).leak();
        let small = format!("{}, small", program.name).leak();
        let has = |feature| program.features.iter().any(|it| it == feature);
        let (tail_calls, vectors) = (has("tail_call"), has("simd128"));
        let sizes = [
            (
                &*program.name.leak(),
                Size::Full,
                program.n,
                program.checksum,
            ),
            (small, Size::Small, program.n_small, program.checksum_small),
        ];
        for (name, size, n, checksum) in sizes {
            programs.push(Benchmark {
                name,
                group: Group::Run,
                what,
                program: file,
                work: Work::Run {
                    n,
                    size,
                    tail_calls,
                    vectors,
                },
                checksum,
                heap: Heap::Untouched,
            });
        }
    }
    programs
}
