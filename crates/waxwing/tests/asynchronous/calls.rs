//! Calls that wait and those that do not, through every function of the API.

use super::*;

const SUM: &str = r#"
    (func (export "sum") (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (call $wait (local.get $n))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
"#;

#[test]
fn waiting_is_pending_and_polling_goes_on() {
    let (mut store, instance) = instantiate(&engine(), SUM);
    let sum = typed::<i32, i32>(&mut store, instance, "sum");
    let (result, pending) = run_counted(sum.call_async(&mut store, 4));
    assert_eq!(result.unwrap(), 10);
    assert_eq!(pending, 10);
    assert_eq!(store.data().drops(), 4);

    let func = *sum.func();
    let mut results = [Val::I32(0)];
    let (result, pending) = run_counted(func.call_async(&mut store, &[Val::I32(3)], &mut results));
    result.unwrap();
    assert_eq!((results[0].unwrap_i32(), pending), (6, 6));
}

#[test]
fn what_is_ready_at_once_is_never_pending() {
    let (mut store, instance) = instantiate(
        &engine(),
        r#"(func (export "f") (result i32)
            (call $log (i32.const 1))
            (i32.add (call $wait (i32.const 0)) (call $wait (i32.const 0))))"#,
    );
    let f = typed::<(), i32>(&mut store, instance, "f");
    for _ in 0..3 {
        let (result, pending) = run_counted(f.call_async(&mut store, ()));
        assert_eq!((result.unwrap(), pending), (0, 0));
    }
    assert_eq!(store.data().log, [1, 1, 1]);
}

#[test]
fn wakers_are_those_of_the_last_poll() {
    let (mut store, instance) = instantiate(&engine(), SUM);
    let sum = typed::<i32, i32>(&mut store, instance, "sum");
    let mut future = pin!(sum.call_async(&mut store, 2));
    for expected in [1, 1, 1, 0] {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let ready = future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        assert_eq!(wakes.0.load(Ordering::Relaxed), expected);
        assert_eq!(ready, expected == 0);
    }
}

#[test]
fn functions_of_the_host_are_called_directly_too() {
    let mut store = Store::new(&engine(), 5);
    let add = Func::wrap_async(
        &mut store,
        |mut caller: Caller<'_, i32>, (a, b): (i32, i64)| {
            Box::new(async move {
                Pend(2).await;
                *caller.data_mut() += a;
                (i64::from(*caller.data()) + b, 0.5_f32)
            })
        },
    );
    let typed = add.typed::<(i32, i64), (i64, f32)>(&store).unwrap();
    let (result, pending) = run_counted(typed.call_async(&mut store, (1, 2)));
    assert_eq!((result.unwrap(), pending), ((8, 0.5), 2));

    let ty = FuncType::new(
        store.engine(),
        [ValType::I32, ValType::EXTERNREF],
        [ValType::EXTERNREF, ValType::I32],
    );
    let swap = Func::new_async(&mut store, ty.clone(), |mut caller, params, results| {
        Box::new(async move {
            Pend(1).await;
            caller.gc();
            results[0] = params[1];
            Pend(1).await;
            caller.gc();
            results[1] = params[0];
            Ok(())
        })
    });
    let object = ExternRef::new(&mut store, "an object").unwrap();
    let params = [Val::I32(7), Val::ExternRef(Some(object))];
    let mut results = [Val::I32(0), Val::I32(0)];
    let (result, pending) = run_counted(swap.call_async(&mut store, &params, &mut results));
    result.unwrap();
    assert_eq!(pending, 2);
    assert_eq!(results[1].unwrap_i32(), 7);
    let object = results[0].unwrap_externref().unwrap();
    let data = object.data(&store).unwrap().unwrap();
    assert_eq!(data.downcast_ref(), Some(&"an object"));

    let wrong = Func::new_async(&mut store, ty, |_, _, _| Box::new(async { Ok(()) }));
    let error = run(wrong.call_async(&mut store, &params, &mut results)).unwrap_err();
    assert!(
        format!("{error:#}").contains("incompatible value"),
        "{error:#}"
    );
}

#[test]
fn start_functions_wait() {
    let engine = engine();
    let text = r#"(module
        (import "host" "wait" (func $wait (param i32) (result i32)))
        (global (export "waited") (mut i32) (i32.const 0))
        (func $start (global.set 0 (call $wait (i32.const 3))))
        (start $start))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, Host::default());
    let linker = linker(&engine);
    let wait = linker.get(&mut store, "host", "wait").unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let check = |store: &mut Store<Host>, (instance, pending): (Result<Instance>, usize)| {
        let waited = instance.unwrap().get_global(&mut *store, "waited").unwrap();
        assert_eq!(waited.get(store).unwrap_i32(), 3);
        assert_eq!(pending, 3);
    };
    let made = run_counted(Instance::new_async(&mut store, &module, &[wait]));
    check(&mut store, made);
    let made = run_counted(linker.instantiate_async(&mut store, &module));
    check(&mut store, made);
    let made = run_counted(pre.instantiate_async(&mut store));
    check(&mut store, made);
}

#[test]
fn commands_and_reactors_wait() {
    let engine = engine();
    let mut linker = linker(&engine);
    let mut store = Store::new(&engine, Host::default());
    let reactor = format!(
        r#"(module {IMPORTS}
            (global $g (mut i32) (i32.const 0))
            (func (export "_initialize") (global.set $g (call $wait (i32.const 2))))
            (func (export "next") (result i32)
                (global.set $g (i32.add (global.get $g) (call $wait (i32.const 1))))
                (global.get $g)))"#
    );
    let command = format!(
        r#"(module {IMPORTS}
            (memory (export "memory") 1)
            (global $g (mut i32) (i32.const 10))
            (func (export "_start") (call $log (call $wait (i32.const 4))))
            (func (export "next") (result i32)
                (global.set $g (i32.add (global.get $g) (call $wait (i32.const 1))))
                (global.get $g)))"#
    );
    let (defined, pending) = run_counted(async {
        let module = Module::new(&engine, reactor)?;
        linker.module_async(&mut store, "reactor", &module).await?;
        let module = Module::new(&engine, command)?;
        linker
            .module_async(&mut store, "command", &module)
            .await
            .map(drop)
    });
    defined.unwrap();
    assert_eq!(pending, 2);

    let text = r#"(module
        (import "reactor" "next" (func $reactor (result i32)))
        (import "command" "next" (func $command (result i32)))
        (import "command" "_start" (func $start))
        (func (export "f") (result i32 i32 i32 i32)
            (call $start)
            (call $reactor) (call $reactor) (call $command) (call $command)))"#;
    let module = Module::new(&engine, text).unwrap();
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    let f = typed::<(), (i32, i32, i32, i32)>(&mut store, instance, "f");
    let (result, pending) = run_counted(f.call_async(&mut store, ()));
    assert_eq!(result.unwrap(), (3, 4, 11, 11));
    assert_eq!(pending, 8);
    assert_eq!(store.data().log, [4]);

    let run_default = linker.get_default(&mut store, "command").unwrap();
    run(run_default.call_async(&mut store, &[], &mut [])).unwrap();
    assert_eq!(store.data().log, [4, 4]);
}

/// `down(n)` calls itself through the host, `n` deep.
const NESTED: &str = r#"
    (import "host" "down" (func $down (param i32) (result i32)))
    (func (export "down") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (call $wait (i32.const 2)))))
        (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (call $wait (i32.const 1))))
"#;

#[test]
fn functions_of_the_host_call_back_and_wait_for_it() {
    let engine = engine();
    let mut linker = linker(&engine);
    linker
        .func_wrap_async(
            "host",
            "down",
            |mut caller: Caller<'_, Host>,
             (n,): (i32,)|
             -> Box<dyn Future<Output = Result<i32>> + Send + '_> {
                Box::new(async move {
                    let down = caller.get_export("down").and_then(Extern::into_func);
                    let down = down.unwrap().typed::<i32, i32>(&caller)?;
                    Pend(1).await;
                    let result = down.call_async(&mut caller, n).await?;
                    caller.data_mut().log.push(n);
                    Pend(1).await;
                    Ok(result + 100)
                })
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, Host::default());
    let module = Module::new(&engine, format!("(module {IMPORTS} {NESTED})")).unwrap();
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    let down = typed::<i32, i32>(&mut store, instance, "down");
    let (result, pending) = run_counted(down.call_async(&mut store, 20));
    assert_eq!(result.unwrap(), 20 * 101 + 2);
    assert_eq!(pending, 20 * 3 + 2);
    assert_eq!(store.data().log, (0..20).collect::<Vec<_>>());
    // A call by a function of the host has a stack of its own: no nesting overflows one.
    let result = run(down.call_async(&mut store, 300)).unwrap();
    assert_eq!(result, 300 * 101 + 2);
}

#[test]
fn stores_wait_within_each_other_and_side_by_side() {
    let engine = engine();
    let (mut inner_a, instance_a) = instantiate(&engine, SUM);
    let (mut inner_b, instance_b) = instantiate(&engine, SUM);
    let sum_a = typed::<i32, i32>(&mut inner_a, instance_a, "sum");
    let sum_b = typed::<i32, i32>(&mut inner_b, instance_b, "sum");

    let mut outer = Store::new(&engine, Some((inner_a, inner_b)));
    let both = Func::wrap_async(
        &mut outer,
        move |mut caller: Caller<'_, Option<(Store<Host>, Store<Host>)>>, (n,): (i32,)| {
            let (sum_a, sum_b) = (sum_a.clone(), sum_b.clone());
            Box::new(async move {
                let (mut a, mut b) = caller.data_mut().take().unwrap();
                let (sum_a, sum_b) = {
                    let first = sum_a.call_async(&mut a, n);
                    let second = sum_b.call_async(&mut b, n + 1);
                    tokio::join!(first, second)
                };
                *caller.data_mut() = Some((a, b));
                sum_a.unwrap() * 1000 + sum_b.unwrap()
            })
        },
    );
    let text = r#"(module
        (import "" "" (func $both (param i32) (result i32)))
        (func (export "f") (param i32) (result i32)
            (i32.add (call $both (local.get 0)) (call $both (i32.const 1)))))"#;
    let module = Module::new(&engine, text).unwrap();
    let instance = run(Instance::new_async(&mut outer, &module, &[both.into()])).unwrap();
    let f = instance
        .get_typed_func::<i32, i32>(&mut outer, "f")
        .unwrap();
    let (result, pending) = run_counted(f.call_async(&mut outer, 3));
    assert_eq!(result.unwrap(), 6010 + 1003);
    assert_eq!(pending, 10 + 3);
}

#[test]
fn synchronous_stores_run_within_asynchronous_ones() {
    let sync_engine = Engine::default();
    let text = r#"(module (func (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1)))
        (func (export "deep") (call 1)))"#;
    let module = Module::new(&sync_engine, text).unwrap();
    let mut sync_store = Store::new(&sync_engine, ());
    let instance = Instance::new(&mut sync_store, &module, &[]).unwrap();
    let add = instance
        .get_typed_func::<(i32, i32), i32>(&mut sync_store, "add")
        .unwrap();
    let deep = instance
        .get_typed_func::<(), ()>(&mut sync_store, "deep")
        .unwrap();

    let mut store = Store::new(&engine(), Some(sync_store));
    let func = Func::wrap_async(
        &mut store,
        move |mut caller: Caller<'_, Option<Store<()>>>, (a,): (i32,)| {
            let (add, deep) = (add.clone(), deep.clone());
            Box::new(async move {
                let mut inner = caller.data_mut().take().unwrap();
                let first = add.call(&mut inner, (a, 1)).unwrap();
                Pend(1).await;
                // Its stack is this fiber's.
                let trap = deep.call(&mut inner, ()).unwrap_err();
                assert_eq!(trap.downcast_ref(), Some(&Trap::StackOverflow));
                Pend(1).await;
                let second = add.call(&mut inner, (first, 1)).unwrap();
                *caller.data_mut() = Some(inner);
                second
            })
        },
    );
    let func = func.typed::<i32, i32>(&store).unwrap();
    let (result, pending) = run_counted(func.call_async(&mut store, 5));
    assert_eq!((result.unwrap(), pending), (7, 2));
}

#[test]
fn an_asynchronous_engine_says_so() {
    assert!(engine().is_async());
    assert!(!Engine::default().is_async());
}

#[test]
fn memories_and_tables_are_made_and_grown() {
    let mut store = Store::new(&engine(), ());
    run(async {
        let memory = Memory::new_async(&mut store, MemoryType::new(1, Some(2))).await?;
        assert_eq!(memory.grow_async(&mut store, 1).await?, 1);
        assert!(memory.grow_async(&mut store, 1).await.is_err());
        let ty = TableType::new(RefType::FUNCREF, 1, Some(3));
        let table = Table::new_async(&mut store, ty, Ref::Func(None)).await?;
        assert_eq!(table.grow_async(&mut store, 2, Ref::Func(None)).await?, 1);
        assert!(
            table
                .grow_async(&mut store, 1, Ref::Func(None))
                .await
                .is_err()
        );
        // Where no limiter waits, the others do as well.
        Memory::new(&mut store, MemoryType::new(1, Some(2)))?.grow(&mut store, 1)?;
        Ok::<_, Error>(())
    })
    .unwrap();
}
