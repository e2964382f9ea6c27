//! The table of benchmarks.

use clap::ValueEnum;
use serde::Serialize;

/// What is measured and reported together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
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
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Gc => "gc",
            Group::Interrupt => "interrupt",
            Group::Calls => "calls",
            Group::Start => "start",
            Group::Artifact => "artifact",
        }
    }
}

pub struct Benchmark {
    pub name: &'static str,
    pub group: Group,
    /// What it stands for, in a few words.
    pub what: &'static str,
    /// The file under `programs/`.
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
    /// The time to load from a file the artifact of a module that has the program, a function, as many times. It is
    /// at least so many MiB of machine code. The result is the number of exports.
    Load { copies: u32, mib: u32 },
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    load("10 functions", "a small artifact, from a file", 10, 0),
    load("10 MiB of code", "an artifact of 10 MiB of code, from a file", 55_000, 10),
];
