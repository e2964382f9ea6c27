//! Waiting at addresses, and notifying who waits.

use super::on_threads;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use waxwing::*;

const WAITER: &str = r#"(module
    (import "" "" (memory 1 1 shared))
    (func (export "wait32") (param i32 i32 i64) (result i32)
        (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "wait64") (param i32 i64 i64) (result i32)
        (memory.atomic.wait64 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "notify") (param i32 i32) (result i32)
        (memory.atomic.notify (local.get 0) (local.get 1))))"#;

#[test]
fn waiting_ends_by_value_time_or_notification() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, WAITER)?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
    let wait32 = instance.get_typed_func::<(u32, u32, i64), u32>(&mut store, "wait32")?;
    let wait64 = instance.get_typed_func::<(u32, u64, i64), u32>(&mut store, "wait64")?;
    let notify = instance.get_typed_func::<(u32, u32), u32>(&mut store, "notify")?;

    assert_eq!(wait32.call(&mut store, (0, 1, -1))?, 1, "another value");
    assert_eq!(
        wait64.call(&mut store, (0, 1 << 40, -1))?,
        1,
        "another value"
    );
    assert_eq!(wait64.call(&mut store, (0, 0, 0))?, 2, "no time");
    let start = Instant::now();
    let timeout = Duration::from_millis(30);
    let nanoseconds = timeout.as_nanos() as i64;
    assert_eq!(wait32.call(&mut store, (0, 0, nanoseconds))?, 2);
    assert!(start.elapsed() >= timeout);
    assert_eq!(notify.call(&mut store, (0, u32::MAX))?, 0, "nobody waits");

    // The host and WebAssembly wait for each other, here the host twice and WebAssembly once.
    on_threads(3, &module, &memory, |i, store, instance| {
        let memory = &memory;
        match i {
            0 => {
                let result = memory.atomic_wait32(8, 0, None)?;
                assert_eq!(result, WaitResult::Ok);
            }
            1 => {
                let timeout = Some(Duration::from_secs(600));
                let result = memory.atomic_wait64(8, 0, timeout)?;
                assert_eq!(result, WaitResult::Ok);
            }
            _ => {
                let wait =
                    instance.get_typed_func::<(u32, u32, i64), u32>(&mut *store, "wait32")?;
                let notify = instance.get_typed_func::<(u32, u32), u32>(&mut *store, "notify")?;
                let mut woken = 0;
                while woken < 2 {
                    woken += notify.call(&mut *store, (8, 1))?;
                }
                assert_eq!(notify.call(&mut *store, (8, 7))?, 0);
                let host = thread::scope(|scope| {
                    let host = scope.spawn(|| {
                        let mut woken = 0;
                        while woken == 0 {
                            woken = memory.atomic_notify(16, u32::MAX).unwrap();
                        }
                        woken
                    });
                    assert_eq!(wait.call(&mut *store, (16, 0, i64::MAX)).unwrap(), 0);
                    host.join().unwrap()
                });
                assert_eq!(host, 1);
            }
        }
        Ok(())
    })
}

#[test]
fn notifications_wake_as_many_as_asked_for() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, WAITER)?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
    const WAITERS: u32 = 8;
    let woken = AtomicU32::new(0);
    thread::scope(|scope| -> Result<()> {
        let waiters = scope.spawn(|| {
            on_threads(WAITERS, &module, &memory, |_, store, instance| {
                let wait =
                    instance.get_typed_func::<(u32, u32, i64), u32>(&mut *store, "wait32")?;
                assert_eq!(wait.call(store, (4, 0, -1))?, 0);
                woken.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
        });
        let mut notified = 0;
        for count in [1, 2, 0, 1] {
            let mut left = count;
            while left > 0 {
                let some = memory.atomic_notify(4, left)?;
                assert!(some <= left);
                left -= some;
            }
            notified += count;
            while woken.load(Ordering::SeqCst) < notified {
                thread::yield_now();
            }
            assert_eq!(woken.load(Ordering::SeqCst), notified);
        }
        while notified < WAITERS {
            notified += memory.atomic_notify(4, u32::MAX)?;
        }
        assert_eq!(notified, WAITERS);
        waiters.join().unwrap()
    })
}
