//! Memories that threads share: atomic instructions, waiting and notifying, growth.

mod instructions;
mod memories;
mod ordering;
mod waiting;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use waxwing::*;

/// Configurations in which accesses are checked in different ways.
fn engines() -> Vec<(&'static str, Engine)> {
    type Setup = fn(&mut Config);
    let setups: [(&str, Setup); 5] = [
        ("guard pages", |_| {}),
        ("checks", |c| {
            c.memory_reservation(0).memory_guard_size(64 << 10);
        }),
        ("no guards", |c| {
            c.memory_reservation(0).memory_guard_size(0);
        }),
        ("no signals", |c| {
            c.signals_based_traps(false);
        }),
        ("unoptimized", |c| {
            c.cranelift_opt_level(OptLevel::None);
        }),
    ];
    let make = |(name, setup): (_, Setup)| {
        let mut config = Config::new();
        config
            .wasm_memory64(true)
            .cranelift_opt_level(OptLevel::Speed);
        setup(&mut config);
        (name, Engine::new(&config).unwrap())
    };
    setups.into_iter().map(make).collect()
}

fn trap_of(error: &Error) -> Trap {
    *error
        .downcast_ref()
        .unwrap_or_else(|| panic!("no trap: {error:?}"))
}

/// The word at `address`, which is only accessed by atomic operations and WebAssembly.
fn word(memory: &SharedMemory, address: usize) -> &AtomicU32 {
    let bytes = &memory.data()[address..address + 4];
    assert_eq!(address % 4, 0);
    // SAFETY: the bytes are within the memory and aligned, and only accessed as said above.
    unsafe { AtomicU32::from_ptr(bytes[0].get().cast()) }
}

fn long(memory: &SharedMemory, address: usize) -> u64 {
    let bytes = &memory.data()[address..address + 8];
    assert_eq!(address % 8, 0);
    // SAFETY: as above.
    let long = unsafe { AtomicU64::from_ptr(bytes[0].get().cast()) };
    long.load(Ordering::Relaxed)
}

/// Runs `work` with a new store and instance on each of `count` threads.
fn on_threads(
    count: u32,
    module: &Module,
    memory: &SharedMemory,
    work: impl Fn(u32, &mut Store<()>, Instance) -> Result<()> + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count)
            .map(|i| {
                scope.spawn(move || {
                    let mut store = Store::new(module.engine(), ());
                    let instance = Instance::new(&mut store, module, &[memory.clone().into()])?;
                    work(i, &mut store, instance)
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap())
    })
}
