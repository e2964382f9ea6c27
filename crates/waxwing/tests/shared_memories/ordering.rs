//! What threads see of each other's accesses.

use super::{engines, long, on_threads, word};
use std::sync::atomic::Ordering;
use waxwing::*;

#[test]
fn a_contended_counter_loses_nothing() -> Result<()> {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 20_000;
    for (name, engine) in engines() {
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "" (memory 1 1 shared))
                (func (export "count") (param $n i32) (local $old i32)
                    (loop $again
                        (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
                        (drop (i64.atomic.rmw16.sub_u (i32.const 10) (i64.const 1)))
                        (block $done
                            (loop $retry
                                (local.set $old (i32.atomic.load8_u (i32.const 17)))
                                (br_if $done (i32.eq (local.get $old)
                                    (i32.atomic.rmw8.cmpxchg_u (i32.const 17) (local.get $old)
                                        (i32.add (local.get $old) (i32.const 3)))))
                                (br $retry)))
                        (local.tee $n (i32.sub (local.get $n) (i32.const 1)))
                        (br_if $again))))"#,
        )?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
        on_threads(THREADS, &module, &memory, |_, store, instance| {
            let count = instance.get_typed_func::<u32, ()>(&mut *store, "count")?;
            count.call(store, ROUNDS)
        })?;
        let total = THREADS * ROUNDS;
        assert_eq!(word(&memory, 0).load(Ordering::Relaxed), total, "{name}");
        let half = word(&memory, 8).load(Ordering::Relaxed) >> 16;
        assert_eq!(half, total.wrapping_neg() & 0xffff, "{name}");
        let byte = word(&memory, 16).load(Ordering::Relaxed) >> 8 & 0xff;
        assert_eq!(byte, (total * 3) & 0xff, "{name}");
    }
    Ok(())
}

/// A mutex as toolchains make them: 0 is free, 1 is held, 2 is held and waited for.
const MUTEX: &str = r#"(module
    (import "" "" (memory 1 1 shared))
    (func $lock (local $state i32)
        (br_if 0 (i32.eqz (local.tee $state
            (i32.atomic.rmw.cmpxchg (i32.const 64) (i32.const 0) (i32.const 1)))))
        (loop $again
            (if (i32.or (i32.eq (local.get $state) (i32.const 2))
                        (i32.atomic.rmw.cmpxchg (i32.const 64) (i32.const 1) (i32.const 2)))
                (then (drop (memory.atomic.wait32 (i32.const 64) (i32.const 2) (i64.const -1)))))
            (local.set $state
                (i32.atomic.rmw.cmpxchg (i32.const 64) (i32.const 0) (i32.const 2)))
            (br_if $again (local.get $state))))
    (func $unlock
        (if (i32.ne (i32.atomic.rmw.sub (i32.const 64) (i32.const 1)) (i32.const 1))
            (then
                (i32.atomic.store (i32.const 64) (i32.const 0))
                (drop (memory.atomic.notify (i32.const 64) (i32.const 1))))))
    (func (export "count") (param $n i32)
        (loop $again
            (call $lock)
            ;; Not atomic: the mutex orders these accesses.
            (i32.store (i32.const 128) (i32.add (i32.load (i32.const 128)) (i32.const 1)))
            (i64.store (i32.const 136) (i64.add (i64.load (i32.const 136)) (i64.const 2)))
            (call $unlock)
            (local.tee $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $again))))"#;

#[test]
fn a_mutex_excludes_and_orders() -> Result<()> {
    for (name, engine) in engines() {
        let module = Module::new(&engine, MUTEX)?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
        on_threads(4, &module, &memory, |_, store, instance| {
            let count = instance.get_typed_func::<u32, ()>(&mut *store, "count")?;
            count.call(store, 5000)
        })?;
        assert_eq!(word(&memory, 128).load(Ordering::Relaxed), 20_000, "{name}");
        assert_eq!(long(&memory, 136), 40_000, "{name}");
        assert_eq!(word(&memory, 64).load(Ordering::Relaxed), 0, "{name}");
    }
    Ok(())
}

#[test]
fn messages_come_after_their_flag() -> Result<()> {
    // One thread writes plain data and then a flag, the other waits for the flag and reads: no load
    // may move before the flag's, and no store behind it.
    const ROUNDS: u32 = 20_000;
    for (name, engine) in engines() {
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "" (memory 1 1 shared))
                (func (export "send") (param $rounds i32) (local $i i32)
                    (loop $again
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (i32.store (i32.const 0) (i32.const 0))
                        (i32.store (i32.const 0) (local.get $i))
                        (i32.atomic.store (i32.const 64) (local.get $i))
                        (loop $wait
                            (br_if $wait
                                (i32.ne (i32.atomic.load (i32.const 128)) (local.get $i))))
                        (br_if $again (i32.ne (local.get $i) (local.get $rounds)))))
                (func (export "receive") (param $rounds i32) (result i32)
                    (local $i i32) (local $wrong i32) (local $before i32)
                    (loop $again
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (local.set $before (i32.load (i32.const 0)))
                        (loop $wait
                            (br_if $wait
                                (i32.ne (i32.atomic.load (i32.const 64)) (local.get $i))))
                        ;; The same address as before the flag was looked at.
                        (local.set $wrong (i32.add (local.get $wrong)
                            (i32.ne (i32.load (i32.const 0)) (local.get $i))))
                        (i32.atomic.store (i32.const 128) (local.get $i))
                        (br_if $again (i32.ne (local.get $i) (local.get $rounds))))
                    (local.get $wrong)))"#,
        )?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
        on_threads(2, &module, &memory, |i, store, instance| {
            if i == 0 {
                let send = instance.get_typed_func::<u32, ()>(&mut *store, "send")?;
                return send.call(store, ROUNDS);
            }
            let receive = instance.get_typed_func::<u32, u32>(&mut *store, "receive")?;
            assert_eq!(receive.call(store, ROUNDS)?, 0, "{name}");
            Ok(())
        })?;
    }
    Ok(())
}
