//! Futures that are dropped before they are ready.

use std::sync::Mutex;

use super::*;

const WAITS: &str = r#"
    (global (export "after") (mut i32) (i32.const 0))
    (func $touch (global.set 0 (i32.add (global.get 0) (i32.const 1))))
    (func (export "f") (param i32) (result i32)
        (call $log (i32.const 1))
        (local.set 0 (call $wait (local.get 0)))
        (call $touch)
        (local.get 0))
    (func (export "catch") (param i32)
        (block $caught
            (try_table (catch_all $caught) (drop (call $wait (local.get 0)))))
        (call $touch))
"#;

fn after(store: &mut Store<Host>, instance: Instance) -> i32 {
    let global = instance.get_global(&mut *store, "after").unwrap();
    global.get(store).unwrap_i32()
}

#[test]
fn the_hosts_state_is_dropped_and_the_store_usable() {
    engines().iter().for_each(drop_the_hosts_state);
}

fn drop_the_hosts_state(engine: &Engine) {
    let (mut store, instance) = instantiate(engine, WAITS);
    let f = typed::<i32, i32>(&mut store, instance, "f");
    for times in 1..5 {
        let mut future = Box::pin(f.call_async(&mut store, 10));
        for _ in 0..times {
            assert!(poll(future.as_mut()).is_pending());
        }
        drop(future);
        assert_eq!(store.data().drops(), times);
        assert_eq!(after(&mut store, instance), 0);
    }
    assert_eq!(run(f.call_async(&mut store, 3)).unwrap(), 3);
    assert_eq!(after(&mut store, instance), 1);
    assert_eq!(store.data().log, [1; 5]);
}

#[test]
fn what_has_not_begun_does_nothing() {
    let (mut store, instance) = instantiate(&engine(), WAITS);
    let f = typed::<i32, i32>(&mut store, instance, "f");
    drop(f.call_async(&mut store, 10));
    assert!(store.data().log.is_empty());
}

#[test]
fn handlers_of_exceptions_do_not_run() {
    let (mut store, instance) = instantiate(&engine(), WAITS);
    let catch = typed::<i32, ()>(&mut store, instance, "catch");
    let mut future = Box::pin(catch.call_async(&mut store, 10));
    assert!(poll(future.as_mut()).is_pending());
    drop(future);
    assert_eq!(after(&mut store, instance), 0);
    assert_eq!(store.data().drops(), 1);
}

#[test]
fn calls_within_calls_end_from_the_inside() {
    let engine = engine();
    let order = Arc::new(Mutex::new(Vec::new()));
    struct Logs(Arc<Mutex<Vec<i32>>>, i32);
    impl Drop for Logs {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(self.1);
        }
    }
    let mut linker = linker(&engine);
    let log = Arc::clone(&order);
    linker
        .func_wrap_async(
            "host",
            "down",
            move |mut caller: Caller<'_, Host>,
                  (n,): (i32,)|
                  -> Box<dyn Future<Output = i32> + Send + '_> {
                let logs = Logs(Arc::clone(&log), n);
                Box::new(async move {
                    let down = caller.get_export("down").and_then(Extern::into_func);
                    let down = down.unwrap().typed::<i32, i32>(&caller).unwrap();
                    // Swallows the error. It is not there any more when there is one.
                    let result = down.call_async(&mut caller, n).await.unwrap_or(-1);
                    drop(logs);
                    result
                })
            },
        )
        .unwrap();
    let text = format!(
        r#"(module {IMPORTS}
            (import "host" "down" (func $down (param i32) (result i32)))
            (func (export "down") (param i32) (result i32)
                (if (result i32) (local.get 0)
                    (then (call $down (i32.sub (local.get 0) (i32.const 1))))
                    (else (call $wait (i32.const 5))))
                (call $log (i32.const 9))))"#
    );
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, Host::default());
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    let down = typed::<i32, i32>(&mut store, instance, "down");
    let mut future = Box::pin(down.call_async(&mut store, 4));
    assert!(poll(future.as_mut()).is_pending());
    drop(future);
    assert_eq!(order.lock().unwrap()[..], [0, 1, 2, 3]);
    assert!(store.data().log.is_empty());
    assert_eq!(store.data().drops(), 1);
    assert_eq!(run(down.call_async(&mut store, 4)).unwrap(), 5);
    assert_eq!(store.data().log.len(), 5);
}

/// Calls a function when it is dropped.
struct CallsOnDrop<'a>(Caller<'a, Host>, &'static str);

impl Drop for CallsOnDrop<'_> {
    fn drop(&mut self) {
        let func = self.0.get_export(self.1).and_then(Extern::into_func);
        let result = run(func.unwrap().call_async(&mut self.0, &[], &mut []));
        self.0
            .data_mut()
            .log
            .push(if result.is_ok() { 1 } else { -1 });
    }
}

#[test]
fn destructors_cannot_run_webassembly_in_what_has_ended() {
    let engine = engine();
    let mut linker = linker(&engine);
    linker
        .func_wrap_async(
            "host",
            "hold",
            |caller: Caller<'_, Host>, (times,): (i32,)| {
                let calls = CallsOnDrop(caller, "touch");
                Box::new(async move {
                    Pend(times as usize).await;
                    drop(calls);
                })
            },
        )
        .unwrap();
    let text = r#"(module
        (import "host" "hold" (func $hold (param i32)))
        (global (export "after") (mut i32) (i32.const 0))
        (func (export "touch") (global.set 0 (i32.add (global.get 0) (i32.const 1))))
        (func (export "f") (param i32) (call $hold (local.get 0))))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, Host::default());
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    let f = typed::<i32, ()>(&mut store, instance, "f");
    run(f.call_async(&mut store, 2)).unwrap();
    assert_eq!(after(&mut store, instance), 1);
    let mut future = Box::pin(f.call_async(&mut store, 2));
    assert!(poll(future.as_mut()).is_pending());
    drop(future);
    assert_eq!(after(&mut store, instance), 1);
    assert_eq!(store.data().log, [1, -1]);
}

#[test]
fn a_call_can_be_dropped_on_another_thread_and_by_its_store_of_futures() {
    let (mut store, instance) = instantiate(&engine(), WAITS);
    let f = typed::<i32, i32>(&mut store, instance, "f");
    let drops = Arc::clone(&store.data().drops);
    let mut future = Box::pin(async move { f.call_async(&mut store, 100).await });
    for _ in 0..3 {
        assert!(poll(future.as_mut()).is_pending());
    }
    std::thread::spawn(move || drop(future)).join().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn a_forgotten_call_leaves_the_store_usable() {
    engines().iter().for_each(forget_calls);
}

fn forget_calls(engine: &Engine) {
    let (mut store, instance) = instantiate(engine, WAITS);
    let f = typed::<i32, i32>(&mut store, instance, "f");
    let mut future = Box::pin(f.call_async(&mut store, 100));
    assert!(poll(future.as_mut()).is_pending());
    // It waits for ever, as a task may whose executor has gone.
    std::mem::forget(future);
    assert_eq!(run(f.call_async(&mut store, 3)).unwrap(), 3);
    store.gc();

    // The same within a call.
    let forget = Func::wrap_async(&mut store, move |mut caller: Caller<'_, Host>, (): ()| {
        let f = f.clone();
        Box::new(async move {
            let mut future = Box::pin(f.call_async(&mut caller, 100));
            assert!(poll(future.as_mut()).is_pending());
            std::mem::forget(future);
            Pend(1).await;
            let result = f.call_async(&mut caller, 4).await.unwrap();
            caller.gc();
            result
        })
    });
    let text = r#"(module
        (import "" "" (func $forget (result i32)))
        (func (export "f") (result i32) (i32.add (call $forget) (call $forget)))
        (func (export "deep") (call 2)))"#;
    let module = Module::new(engine, text).unwrap();
    let instance = run(Instance::new_async(&mut store, &module, &[forget.into()])).unwrap();
    let f = typed::<(), i32>(&mut store, instance, "f");
    assert_eq!(run(f.call_async(&mut store, ())).unwrap(), 8);
    let deep = typed::<(), ()>(&mut store, instance, "deep");
    let trap: Trap = run(deep.call_async(&mut store, ()))
        .unwrap_err()
        .downcast()
        .unwrap();
    assert_eq!(trap, Trap::StackOverflow);
}

#[test]
fn panics_of_destructors_go_on() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("dropped"));
        }
    }
    let mut store = Store::new(&engine(), ());
    let func = Func::wrap_async(&mut store, |_: Caller<'_, ()>, (): ()| {
        let panics = Panics;
        Box::new(async move {
            Pend(3).await;
            std::mem::forget(panics);
        })
    });
    let func = func.typed::<(), ()>(&store).unwrap();
    let mut future = Box::pin(func.call_async(&mut store, ()));
    assert!(poll(future.as_mut()).is_pending());
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(future)));
    assert_eq!(dropped.unwrap_err().downcast_ref(), Some(&"dropped"));
    run(func.call_async(&mut store, ())).unwrap();
}

#[test]
fn an_ended_task_of_a_runtime_frees_what_it_holds() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    let runtime = runtime.unwrap();
    let (mut store, instance) = instantiate(&engine(), WAITS);
    let f = typed::<i32, i32>(&mut store, instance, "f");
    runtime.block_on(async {
        for _ in 0..20 {
            let limit = std::time::Duration::from_millis(1);
            let ended = tokio::time::timeout(limit, async {
                loop {
                    f.call_async(&mut store, 1000).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            assert!(ended.await.is_err());
        }
    });
    assert_eq!(store.data().drops(), store.data().log.len());
}
