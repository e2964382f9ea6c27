//! Stacks of asynchronous execution.

use super::*;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn asynchronous(pool: PoolingAllocationConfig) -> Engine {
    configured(pool, |config| {
        config.async_support(true).async_stack_size(1 << 20);
    })
}

/// Waits once.
#[derive(Default)]
struct Once(bool);

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// Instances whose functions wait in the host.
fn waiting(engine: &Engine) -> Result<(Linker<()>, Module)> {
    let mut linker = Linker::new(engine);
    linker.func_wrap_async("", "wait", |_: Caller<'_, ()>, (): ()| {
        Box::new(Once::default())
    })?;
    let wat = r#"(module (import "" "wait" (func $wait)) (memory (export "memory") 1)
        (func (export "wait") (param i32) (result i32)
            (call $wait) (memory.fill (i32.const 0) (local.get 0) (i32.const 65536))
            (call $wait) (i32.load (i32.const 65532))))"#;
    Ok((linker, Module::new(engine, wat)?))
}

#[test]
fn stacks_are_limited() -> Result<()> {
    let mut pool = small_pool(20);
    pool.total_stacks(2);
    let engine = asynchronous(pool);
    let (linker, module) = waiting(&engine)?;
    let start = || {
        let (engine, linker, module) = (engine.clone(), linker.clone(), module.clone());
        Box::pin(async move {
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate_async(&mut store, &module).await?;
            let wait = instance.get_typed_func::<u32, u32>(&mut store, "wait")?;
            wait.call_async(&mut store, 1).await
        })
    };
    let (mut one, mut two, mut three) = (start(), start(), start());
    assert!(poll(one.as_mut()).is_pending());
    assert!(poll(two.as_mut()).is_pending());
    assert_eq!(metrics(&engine).stacks(), 2);
    let Poll::Ready(Err(error)) = poll(three.as_mut()) else {
        panic!("there are two stacks");
    };
    assert!(error.is::<PoolConcurrencyLimitError>(), "{error:?}");
    drop(one);
    assert_eq!(metrics(&engine).unused_warm_stacks(), 1);
    let mut four = start();
    assert!(poll(four.as_mut()).is_pending());
    drop((two, four));
    assert_eq!(metrics(&engine).stacks(), 0);
    Ok(())
}

/// The bytes that deep recursion leaves on a stack.
const CANARY: u64 = 0xc5c5_c5c5_c5c5_c5c5;

/// Recursion with locals that are all in memory, and a look at the stack below a function of the host.
const WAT: &str = r#"(module
    (import "" "look" (func $look))
    (func $dirty (export "dirty") (param $depth i32) (param $canary i64) (result i64)
        (if (result i64) (local.get $depth)
            (then
                (i64.add
                    (call $dirty (i32.sub (local.get $depth) (i32.const 1)) (local.get $canary))
                    (local.get $canary)))
            (else (local.get $canary))))
    (func (export "look") (call $look)))"#;

/// The canaries within so many bytes below this frame.
#[inline(never)]
fn canaries_below(bytes: usize) -> usize {
    let here = 0u64;
    let top = (&raw const here as usize) & !7;
    (top - bytes..top - 256)
        .step_by(8)
        // SAFETY: the stack of a fiber is mapped that far down.
        .filter(|address| unsafe { (*address as *const u64).read_volatile() } == CANARY)
        .count()
}

/// How many canaries the next user of the stack finds.
fn found_on_stack(pool: PoolingAllocationConfig) -> Result<usize> {
    let engine = asynchronous(pool);
    let module = Module::new(&engine, WAT)?;
    let found = Arc::new(AtomicUsize::new(0));
    let mut linker = Linker::<()>::new(&engine);
    let seen = Arc::clone(&found);
    linker.func_wrap("", "look", move || {
        seen.store(canaries_below(100 << 10), Ordering::Relaxed);
    })?;
    let run = |name: &'static str| -> Result<()> {
        let mut store = Store::new(&engine, ());
        let mut future = pin!(async {
            let instance = linker.instantiate_async(&mut store, &module).await?;
            if name == "look" {
                let look = instance.get_typed_func::<(), ()>(&mut store, name)?;
                return look.call_async(&mut store, ()).await;
            }
            let dirty = instance.get_typed_func::<(u32, u64), u64>(&mut store, name)?;
            dirty.call_async(&mut store, (4000, CANARY)).await?;
            Ok(())
        });
        match poll(future.as_mut()) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("nothing waits"),
        }
    };
    run("dirty")?;
    run("look")?;
    Ok(found.load(Ordering::Relaxed))
}

#[test]
fn stacks_are_zeros_if_wanted() -> Result<()> {
    for keep in [0, 16 << 10, 1 << 30] {
        for batch_size in [1, 5] {
            let mut pool = small_pool(1);
            pool.total_stacks(1)
                .async_stack_zeroing(true)
                .async_stack_keep_resident(keep)
                .decommit_batch_size(batch_size);
            assert_eq!(found_on_stack(pool)?, 0, "{keep}");
        }
    }
    // The test finds them otherwise.
    let mut pool = small_pool(1);
    pool.total_stacks(1);
    assert!(found_on_stack(pool)? > 100);
    Ok(())
}

#[test]
fn what_stacks_keep_is_known_if_they_are_reset() -> Result<()> {
    for (zeroing, keep, expected) in [
        (true, 0, Some(0)),
        (true, 8192, Some(8192)),
        (false, 8192, None),
    ] {
        let mut pool = small_pool(1);
        pool.async_stack_zeroing(zeroing)
            .async_stack_keep_resident(keep);
        let engine = asynchronous(pool);
        let (linker, module) = waiting(&engine)?;
        let mut store = Store::new(&engine, ());
        let mut future = pin!(async {
            let instance = linker.instantiate_async(&mut store, &module).await?;
            let wait = instance.get_typed_func::<u32, u32>(&mut store, "wait")?;
            wait.call_async(&mut store, 1).await
        });
        while poll(future.as_mut()).is_pending() {}
        let metrics = metrics(&engine);
        assert_eq!(metrics.unused_stack_bytes_resident(), expected);
    }
    Ok(())
}

/// With protection keys, a call goes on with the rights that it needs on whatever thread it is polled.
#[test]
fn rights_follow_calls_to_other_threads() -> Result<()> {
    let mut pool = small_pool(20);
    pool.memory_protection_keys(MpkEnabled::Auto)
        .max_memory_protection_keys(3);
    // A thread that is older than the keys.
    let (to_thread, for_thread) =
        std::sync::mpsc::channel::<Pin<Box<dyn Future<Output = u32> + Send>>>();
    let thread = std::thread::spawn(move || {
        let mut results = Vec::new();
        while let Ok(mut future) = for_thread.recv() {
            loop {
                if let Poll::Ready(result) = poll(future.as_mut()) {
                    results.push(result);
                    break;
                }
            }
        }
        results
    });
    let engine = asynchronous(pool);
    let (linker, module) = waiting(&engine)?;
    for byte in 0..5 {
        let (engine, linker, module) = (engine.clone(), linker.clone(), module.clone());
        let mut future: Pin<Box<dyn Future<Output = u32> + Send>> = Box::pin(async move {
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
            let wait = instance
                .get_typed_func::<u32, u32>(&mut store, "wait")
                .unwrap();
            wait.call_async(&mut store, byte).await.unwrap()
        });
        if byte % 2 == 0 {
            assert!(poll(future.as_mut()).is_pending());
        }
        to_thread.send(future).unwrap();
    }
    drop(to_thread);
    let expected: Vec<u32> = (0..5).map(|byte| byte * 0x0101_0101).collect();
    assert_eq!(thread.join().unwrap(), expected);
    Ok(())
}
