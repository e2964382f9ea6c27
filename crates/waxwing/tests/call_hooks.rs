//! Call hooks: each transition between the host and WebAssembly, and what their errors do.

use CallHook::{CallingHost, CallingWasm, ReturningFromHost, ReturningFromWasm};
use waxwing::*;

#[derive(Default)]
struct Log {
    transitions: Vec<CallHook>,
    /// At which transition to fail.
    fails_at: Option<usize>,
}

fn store() -> Store<Log> {
    let mut store = Store::new(&Engine::default(), Log::default());
    store.call_hook(|mut store, transition| {
        let log = store.data_mut();
        log.transitions.push(transition);
        match log.fails_at {
            Some(n) if n + 1 == log.transitions.len() => Err(Error::msg("no further")),
            _ => Ok(()),
        }
    });
    store
}

fn taken(store: &mut Store<Log>) -> Vec<CallHook> {
    std::mem::take(&mut store.data_mut().transitions)
}

fn instance(store: &mut Store<Log>, wat: &str, imports: &[Extern]) -> Instance {
    let module = Module::new(store.engine(), wat).unwrap();
    Instance::new(store, &module, imports).unwrap()
}

const CALLS: &str = r#"(module
    (import "" "f" (func $f (param i32) (result i32)))
    (func $g (param i32) (result i32) (call $f (local.get 0)))
    (func (export "f") (param i32) (result i32)
        (i32.add (call $g (local.get 0)) (call $f (local.get 0))))
    (func (export "trap") (param i32) (result i32) unreachable)
    (func (export "nothing")))"#;

const ONE_CALL: [CallHook; 4] = [
    CallingWasm,
    CallingHost,
    ReturningFromHost,
    ReturningFromWasm,
];

#[test]
fn directions() {
    for transition in ONE_CALL {
        assert_ne!(transition.entering_host(), transition.exiting_host());
    }
    assert!(CallingWasm.exiting_host() && ReturningFromHost.exiting_host());
}

#[test]
fn every_kind_of_call_is_told() -> Result<()> {
    let mut store = store();
    let ty = FuncType::new(store.engine(), [ValType::I32], [ValType::I32]);
    let wrapped = Func::wrap(&mut store, |x: i32| x + 1);
    let untyped = Func::new(&mut store, ty.clone(), |_, params, results| {
        results[0] = Val::I32(params[0].unwrap_i32() + 1);
        Ok(())
    });
    // SAFETY: the function has one parameter and one result, both `i32`.
    let unchecked = unsafe {
        Func::new_unchecked(&mut store, ty, |_, values| {
            values[0] = ValRaw::i32(values[0].get_i32() + 1);
            Ok(())
        })
    };
    let pair = [CallingHost, ReturningFromHost];
    let expected = [&[CallingWasm][..], &pair, &pair, &[ReturningFromWasm]].concat();
    for host in [wrapped, untyped, unchecked] {
        let instance = instance(&mut store, CALLS, &[host.into()]);
        assert!(taken(&mut store).is_empty());
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, 1)?, 4);
        assert_eq!(taken(&mut store), expected);
        let mut results = [Val::I32(0)];
        f.func().call(&mut store, &[Val::I32(1)], &mut results)?;
        assert_eq!(results[0].unwrap_i32(), 4);
        assert_eq!(taken(&mut store), expected);
        let mut values = [ValRaw::i32(1)];
        // SAFETY: the array holds the parameter and has room for the result.
        unsafe { f.func().call_unchecked(&mut store, &raw mut values)? };
        assert_eq!(values[0].get_i32(), 4);
        assert_eq!(taken(&mut store), expected);
        let nothing = instance.get_typed_func::<(), ()>(&mut store, "nothing")?;
        nothing.call(&mut store, ())?;
        assert_eq!(taken(&mut store), [CallingWasm, ReturningFromWasm]);

        // The host calls itself.
        let mut results = [Val::I32(0)];
        host.call(&mut store, &[Val::I32(1)], &mut results)?;
        assert_eq!(taken(&mut store), ONE_CALL);
        host.typed::<i32, i32>(&store)?.call(&mut store, 1)?;
        assert_eq!(taken(&mut store), ONE_CALL);
    }
    Ok(())
}

#[test]
fn starting_is_a_call() {
    let mut store = store();
    instance(&mut store, "(module (func $f) (start $f))", &[]);
    assert_eq!(taken(&mut store), [CallingWasm, ReturningFromWasm]);
}

#[test]
fn failed_calls_return_too() -> Result<()> {
    let mut store = store();
    let fails = Func::wrap(&mut store, |_: i32| -> Result<i32> {
        Err(Error::msg("the host failed"))
    });
    let instance = instance(&mut store, CALLS, &[fails.into()]);
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    let error = f.call(&mut store, 1).unwrap_err();
    assert!(format!("{error:#}").contains("the host failed"));
    assert_eq!(taken(&mut store), ONE_CALL);
    let trap = instance.get_typed_func::<i32, i32>(&mut store, "trap")?;
    assert!(trap.call(&mut store, 1).unwrap_err().is::<Trap>());
    let mut results = [Val::I32(0)];
    let error = trap.func().call(&mut store, &[Val::I32(1)], &mut results);
    assert!(error.unwrap_err().is::<Trap>());
    let pair = [CallingWasm, ReturningFromWasm];
    assert_eq!(taken(&mut store), [pair, pair].concat());
    Ok(())
}

#[test]
fn errors_end_what_they_are_told_of() -> Result<()> {
    let mut store = store();
    let called = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = called.clone();
    let f = Func::wrap(&mut store, move |x: i32| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        x
    });
    let instance = instance(
        &mut store,
        r#"(module (import "" "f" (func $f (param i32) (result i32)))
            (func (export "f") (param i32) (result i32) (call $f (local.get 0))))"#,
        &[f.into()],
    );
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    for (n, transitions, calls) in [
        (0, &[CallingWasm][..], 0),
        (1, &[CallingWasm, CallingHost, ReturningFromWasm], 0),
        (2, &ONE_CALL, 1),
        (3, &ONE_CALL, 1),
    ] {
        store.data_mut().fails_at = Some(n);
        let mut results = [Val::I32(0)];
        let typed = f.call(&mut store, 1).map(drop);
        let typed_transitions = taken(&mut store);
        let untyped = f.func().call(&mut store, &[Val::I32(1)], &mut results);
        for (result, transitions_told) in [(typed, typed_transitions), (untyped, taken(&mut store))]
        {
            let error = result.unwrap_err();
            assert!(format!("{error:#}").contains("no further"), "{n}");
            // Within WebAssembly there is a place where it happened.
            assert_eq!(error.is::<WasmBacktrace>(), n == 1 || n == 2, "{n}");
            assert_eq!(transitions_told, transitions, "{n}");
        }
        let made = called.swap(0, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(made, 2 * calls, "{n}");
    }
    store.data_mut().fails_at = None;
    assert_eq!(f.call(&mut store, 5)?, 5);
    Ok(())
}

#[test]
fn hooks_can_use_the_store() -> Result<()> {
    let mut store = Store::new(&Engine::default(), None::<TypedFunc<(), i32>>);
    let module = Module::new(
        store.engine(),
        r#"(module (global (mut i32) (i32.const 0))
            (func (export "count") (result i32)
                (global.set 0 (i32.add (global.get 0) (i32.const 1)))
                (global.get 0)))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let count = instance.get_typed_func::<(), i32>(&mut store, "count")?;
    *store.data_mut() = Some(count.clone());
    store.call_hook(|mut store, transition| {
        let count = store.data().clone().expect("set before the hook");
        // The hook is not told of this call.
        let counted = count.call(&mut store, ())?;
        assert_eq!(counted % 3, if transition == CallingWasm { 1 } else { 0 });
        Ok(())
    });
    for round in 0..4 {
        assert_eq!(count.call(&mut store, ())?, round * 3 + 2);
    }
    Ok(())
}

#[test]
fn references_survive_hooks_that_make_others() -> Result<()> {
    let mut store = Store::new(&Engine::default(), ());
    store.call_hook(|mut store, _| {
        for i in 0..100 {
            let mut scope = RootScope::new(&mut store);
            ExternRef::new(&mut scope, i)?;
        }
        Ok(())
    });
    let same = Func::wrap(&mut store, |x: Option<Rooted<ExternRef>>| x);
    let module = Module::new(
        store.engine(),
        r#"(module
            (import "" "same" (func $same (param externref) (result externref)))
            (func (export "f") (param externref) (result externref) (call $same (local.get 0))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[same.into()])?;
    let f = instance.get_func(&mut store, "f").expect("exported");
    let value = ExternRef::new(&mut store, "a value")?;
    let mut results = [Val::null_extern_ref()];
    f.call(&mut store, &[Val::ExternRef(Some(value))], &mut results)?;
    let Val::ExternRef(Some(result)) = results[0] else {
        panic!("a reference that is not null");
    };
    let data = result
        .data(&store)?
        .and_then(|data| data.downcast_ref::<&str>());
    assert_eq!(data, Some(&"a value"));
    Ok(())
}

#[cfg(feature = "async")]
mod asynchronous {
    use super::*;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    /// Pending once, and then ready.
    #[derive(Default)]
    struct Once(bool);

    impl Future for Once {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
            match std::mem::replace(&mut self.0, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn run<F: Future>(future: F) -> (F::Output, usize) {
        let mut future = pin!(future);
        let mut pending = 0;
        loop {
            match poll(future.as_mut()) {
                Poll::Ready(result) => return (result, pending),
                Poll::Pending => pending += 1,
            }
        }
    }

    /// Logs transitions, and is pending once before and once after that.
    struct Slow;

    #[async_trait::async_trait]
    impl CallHookHandler<Log> for Slow {
        async fn handle_call_event(
            &self,
            mut store: StoreContextMut<'_, Log>,
            transition: CallHook,
        ) -> Result<()> {
            Once::default().await;
            let log = store.data_mut();
            log.transitions.push(transition);
            Once::default().await;
            match store.data().fails_at {
                Some(n) if n + 1 == store.data().transitions.len() => Err(Error::msg("no further")),
                _ => Ok(()),
            }
        }
    }

    fn store() -> (Store<Log>, Instance) {
        let engine = Engine::new(Config::new().async_support(true)).unwrap();
        let mut store = Store::new(&engine, Log::default());
        let f = Func::wrap_async(&mut store, |_: Caller<'_, Log>, (x,): (i32,)| {
            Box::new(async move {
                Once::default().await;
                x + 1
            })
        });
        let module = Module::new(&engine, CALLS).unwrap();
        let imports = [f.into()];
        let instance = run(Instance::new_async(&mut store, &module, &imports)).0;
        let instance = instance.unwrap();
        store.call_hook_async(Slow);
        (store, instance)
    }

    #[test]
    fn transitions_wait_for_the_hook() {
        let (mut store, instance) = store();
        let f = instance
            .get_typed_func::<i32, i32>(&mut store, "f")
            .unwrap();
        let (result, pending) = run(f.call_async(&mut store, 1));
        assert_eq!(result.unwrap(), 4);
        let expected = [
            CallingWasm,
            CallingHost,
            ReturningFromHost,
            CallingHost,
            ReturningFromHost,
            ReturningFromWasm,
        ];
        assert_eq!(taken(&mut store), expected);
        assert_eq!(pending, 2 * expected.len() + 2);

        let trap = instance
            .get_typed_func::<i32, i32>(&mut store, "trap")
            .unwrap();
        assert!(run(trap.call_async(&mut store, 1)).0.is_err());
        assert_eq!(taken(&mut store), [CallingWasm, ReturningFromWasm]);
    }

    #[test]
    fn errors_of_the_hook_end_the_call() {
        for fails_at in 0..6 {
            let (mut store, instance) = store();
            store.data_mut().fails_at = Some(fails_at);
            let f = instance
                .get_typed_func::<i32, i32>(&mut store, "f")
                .unwrap();
            let error = run(f.call_async(&mut store, 1)).0.unwrap_err();
            assert_eq!(error.root_cause().to_string(), "no further");
        }
    }

    #[test]
    fn a_call_can_be_dropped_while_its_hook_waits() {
        let (mut store, instance) = store();
        let f = instance
            .get_typed_func::<i32, i32>(&mut store, "f")
            .unwrap();
        for polls in 1..14 {
            let mut future = Box::pin(f.call_async(&mut store, 1));
            for _ in 0..polls {
                assert!(poll(future.as_mut()).is_pending());
            }
            drop(future);
            // The hook waits twice for each transition, and is not called for any more.
            let seen = taken(&mut store).len();
            assert!((polls / 3..=polls / 2).contains(&seen), "{polls} {seen}");
        }
        assert_eq!(run(f.call_async(&mut store, 1)).0.unwrap(), 4);
    }
}
