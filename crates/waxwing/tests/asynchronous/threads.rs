//! Calls that go on on other threads, and many at a time.

use std::thread;

use super::*;

fn assert_send<T: Send>(value: T) -> T {
    value
}

/// Polls a future until it is ready, each time on another thread.
fn run_on_threads<F>(future: F) -> (F::Output, usize)
where
    F: Future + Send,
    F::Output: Send,
{
    let mut future = pin!(future);
    for pending in 0.. {
        let polled = thread::scope(|scope| scope.spawn(|| poll(future.as_mut())).join());
        match polled {
            Ok(Poll::Ready(result)) => return (result, pending),
            Ok(Poll::Pending) => {}
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }
    unreachable!()
}

#[test]
fn futures_are_send() {
    let engine = engine();
    let mut store = Store::new(&engine, Host::default());
    let linker = &mut linker(&engine);
    let module = &Module::new(&engine, "(module)").unwrap();
    let pre = linker.instantiate_pre(module).unwrap();
    drop(assert_send(Instance::new_async(&mut store, module, &[])));
    drop(assert_send(pre.instantiate_async(&mut store)));
    drop(assert_send(linker.instantiate_async(&mut store, module)));
    drop(assert_send(linker.module_async(&mut store, "m", module)));
    drop(assert_send(Memory::new_async(
        &mut store,
        MemoryType::new(1, None),
    )));
    let memory = run(Memory::new_async(&mut store, MemoryType::new(1, None))).unwrap();
    drop(assert_send(memory.grow_async(&mut store, 1)));
    let ty = TableType::new(RefType::EXTERNREF, 1, None);
    let table = run(Table::new_async(&mut store, ty.clone(), Ref::Extern(None))).unwrap();
    drop(assert_send(Table::new_async(
        &mut store,
        ty,
        Ref::Extern(None),
    )));
    drop(assert_send(table.grow_async(
        &mut store,
        1,
        Ref::Extern(None),
    )));
    let func = Func::wrap(&mut store, |x: Option<Rooted<ExternRef>>| x);
    drop(assert_send(func.call_async(&mut store, &[], &mut [])));
    let typed = func.typed::<Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>>(&store);
    drop(assert_send(typed.unwrap().call_async(&mut store, None)));
    drop(assert_send(store.gc_async()));
    let mut context = store.as_context_mut();
    drop(assert_send(context.gc_async()));
}

/// Uses much of what depends on the thread: faults, traps of builtins, exceptions, deep stacks, many activations.
const EVERYTHING: &str = r#"
    (memory 1)
    (tag $e (param i32))
    (table 1 funcref)
    (type $void (func))
    (func $deep (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (call $wait (i32.const 1)))))
        (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
    (func $throw (param i32)
        (drop (call $wait (i32.const 1)))
        (throw $e (local.get 0)))
    (func (export "everything") (result i32) (local $sum i32)
        (local.set $sum (call $deep (i32.const 1000)))
        (local.set $sum (i32.add (local.get $sum)
            (block $caught (result i32)
                (try_table (catch $e $caught) (call $throw (i32.const 50)))
                (i32.const 0))))
        (call $log (local.get $sum))
        (local.get $sum))
    (func (export "fault") (param i32) (result i32)
        (drop (call $wait (i32.const 2)))
        (i32.load (local.get 0)))
    (func (export "trap") (drop (call $wait (i32.const 1))) (call_indirect (type $void) (i32.const 0)))
    (func (export "overflow") (drop (call $wait (i32.const 1))) (call $forever))
    (func $forever (call $forever))
"#;

#[test]
fn calls_go_on_on_other_threads() {
    let (mut store, instance) = instantiate(&engine(), EVERYTHING);
    let everything = typed::<(), i32>(&mut store, instance, "everything");
    for _ in 0..10 {
        let (result, pending) = run_on_threads(everything.call_async(&mut store, ()));
        assert_eq!((result.unwrap(), pending), (1051, 2));
    }
    let fault = typed::<i32, i32>(&mut store, instance, "fault");
    for _ in 0..10 {
        let (result, pending) = run_on_threads(fault.call_async(&mut store, -4));
        let error = result.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
        let backtrace: &WasmBacktrace = error.downcast_ref().unwrap();
        assert_eq!(backtrace.frames().len(), 1);
        assert_eq!(pending, 2);
    }
    let trap = typed::<(), ()>(&mut store, instance, "trap");
    let (result, _) = run_on_threads(trap.call_async(&mut store, ()));
    let trap: Trap = result.unwrap_err().downcast().unwrap();
    assert_eq!(trap, Trap::IndirectCallToNull);
    let overflow = typed::<(), ()>(&mut store, instance, "overflow");
    let (result, _) = run_on_threads(overflow.call_async(&mut store, ()));
    let trap: Trap = result.unwrap_err().downcast().unwrap();
    assert_eq!(trap, Trap::StackOverflow);
}

#[test]
fn panics_go_on_on_the_thread_that_polls() {
    let engine = engine();
    let mut store = Store::new(&engine, ());
    let func = Func::wrap_async(&mut store, |_: Caller<'_, ()>, (): ()| {
        Box::new(async {
            Pend(1).await;
            if true {
                std::panic::resume_unwind(Box::new("late"));
            }
        })
    });
    let func = func.typed::<(), ()>(&store).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run_on_threads(func.call_async(&mut store, ()))
    }));
    assert_eq!(panicked.err().unwrap().downcast_ref(), Some(&"late"));
}

#[test]
fn a_thousand_stores_wait_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let mut config = config();
    config.async_stack_size(1 << 20).memory_reservation(1 << 20);
    let engine = Engine::new(&config).unwrap();
    let mut linker = linker(&engine);
    linker
        .func_wrap_async("host", "sleep", |_: Caller<'_, Host>, (ms,): (u32,)| {
            Box::new(tokio::time::sleep(std::time::Duration::from_millis(
                ms.into(),
            )))
        })
        .unwrap();
    let fields = r#"
        (import "host" "sleep" (func $sleep (param i32)))
        (func (export "f") (param i32) (result i32) (local $i i32)
            (loop $again
                (call $sleep (i32.rem_u (local.get 0) (i32.const 7)))
                (drop (call $wait (i32.const 3)))
                (drop (call $everything))
                (br_if $again (i32.ne
                    (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                    (i32.const 5))))
            (i32.add (local.get 0) (local.get $i)))"#;
    let everything = EVERYTHING.replace("(export \"everything\")", "$everything");
    let module = Module::new(&engine, format!("(module {IMPORTS} {fields} {everything})"));
    let pre = linker.instantiate_pre(&module.unwrap()).unwrap();
    let sum = runtime.block_on(async {
        let tasks = (0..1000).map(|i| {
            let (engine, pre) = (engine.clone(), pre.clone());
            tokio::spawn(async move {
                let mut store = Store::new(&engine, Host::default());
                let instance = pre.instantiate_async(&mut store).await?;
                let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
                let result = f.call_async(&mut store, i).await?;
                assert_eq!(store.data().log, [1051; 5]);
                assert_eq!(store.data().drops(), 5 * 3);
                Ok::<_, Error>(result)
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap().unwrap();
        }
        sum
    });
    assert_eq!(sum, (0..1000).map(|i| i + 5).sum::<i32>());
}
