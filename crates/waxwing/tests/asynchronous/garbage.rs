//! Collections while frames wait that refer to objects.

use super::*;

const OBJECTS: &str = r#"
    (import "host" "collect" (func $collect (param i32)))
    (type $node (struct (field i32) (field (mut (ref null $node)))))
    (func $list (param $n i32) (result (ref null $node))
        (local $rest (ref null $node)) (local $mine (ref null $node))
        (if (i32.eqz (local.get $n)) (then (return (ref.null $node))))
        (local.set $mine (struct.new $node (local.get $n) (ref.null $node)))
        (call $collect (i32.const 1))
        (local.set $rest (call $list (i32.sub (local.get $n) (i32.const 1))))
        (call $collect (i32.const 1))
        (struct.set $node 1 (local.get $mine) (local.get $rest))
        (local.get $mine))
    (func (export "sum") (param $n i32) (result i32)
        (local $list (ref null $node)) (local $sum i32)
        (local.set $list (call $list (local.get $n)))
        (block $end
            (loop $again
                (br_if $end (ref.is_null (local.get $list)))
                (local.set $sum (i32.add (local.get $sum) (struct.get $node 0 (local.get $list))))
                (local.set $list (struct.get $node 1 (local.get $list)))
                (call $collect (i32.const 0))
                (br $again)))
        (local.get $sum))
    (func (export "keep") (param externref) (result externref)
        (call $collect (i32.const 3))
        (local.get 0))
"#;

fn engines() -> Vec<Engine> {
    let settings = [
        (Collector::Copying, false),
        (Collector::Copying, true),
        (Collector::DeferredReferenceCounting, false),
        (Collector::DeferredReferenceCounting, true),
        (Collector::Null, false),
    ];
    let engines = settings.map(|(collector, stress)| {
        Engine::new(config().collector(collector).gc_stress(stress)).unwrap()
    });
    engines.into()
}

fn with_collections(engine: &Engine) -> (Store<Host>, Instance) {
    let mut linker = linker(engine);
    linker
        .func_wrap_async(
            "host",
            "collect",
            |mut caller: Caller<'_, Host>, (times,): (i32,)| {
                Box::new(async move {
                    caller.gc_async().await;
                    for _ in 0..times {
                        // What is allocated takes the place of what was freed by mistake.
                        ExternRef::new(&mut caller, 0_u64).ok();
                        Pend(1).await;
                        caller.gc_async().await;
                    }
                })
            },
        )
        .unwrap();
    let module = Module::new(engine, format!("(module {IMPORTS} {OBJECTS})")).unwrap();
    let mut store = Store::new(engine, Host::default());
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    (store, instance)
}

#[test]
fn objects_of_frames_that_wait_stay_alive() {
    for engine in engines() {
        let (mut store, instance) = with_collections(&engine);
        let sum = typed::<i32, i32>(&mut store, instance, "sum");
        for _ in 0..3 {
            let (result, pending) = run_counted(sum.call_async(&mut store, 30));
            assert_eq!((result.unwrap(), pending), (30 * 31 / 2, 60));
        }
    }
}

#[test]
fn values_of_the_host_stay_alive_and_are_freed_later() {
    for engine in engines() {
        let frees = engine.get_collector() != Some(Collector::Null);
        let (mut store, instance) = with_collections(&engine);
        let keep = typed::<Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>>(
            &mut store, instance, "keep",
        );
        let drops = Arc::new(AtomicUsize::new(0));
        {
            let mut scope = RootScope::new(&mut store);
            let value = ExternRef::new(&mut scope, Drops(Arc::clone(&drops))).unwrap();
            let kept = run(keep.call_async(&mut scope, Some(value)))
                .unwrap()
                .unwrap();
            assert!(kept.data(&scope).unwrap().unwrap().is::<Drops>());
            assert_eq!(drops.load(Ordering::Relaxed), 0);
        }
        run(store.gc_async());
        assert_eq!(drops.load(Ordering::Relaxed), usize::from(frees));

        // A call that is ended gives up what its frames had.
        {
            let mut scope = RootScope::new(&mut store);
            let value = ExternRef::new(&mut scope, Drops(Arc::clone(&drops))).unwrap();
            let mut future = Box::pin(keep.call_async(&mut scope, Some(value)));
            assert!(poll(future.as_mut()).is_pending());
            assert!(poll(future.as_mut()).is_pending());
        }
        run(store.gc_async());
        assert_eq!(drops.load(Ordering::Relaxed), 2 * usize::from(frees));
    }
}

#[test]
fn frames_of_calls_within_calls_are_found() {
    for engine in engines() {
        let mut linker = linker(&engine);
        linker
            .func_wrap_async(
                "host",
                "collect",
                |mut caller: Caller<'_, Host>,
                 (depth,): (i32,)|
                 -> Box<dyn Future<Output = ()> + Send + '_> {
                    Box::new(async move {
                        Pend(1).await;
                        caller.gc();
                        if depth > 1 {
                            let sum = caller.get_export("sum").and_then(Extern::into_func);
                            let sum = sum.unwrap().typed::<i32, i32>(&caller).unwrap();
                            assert_eq!(sum.call_async(&mut caller, depth).await.unwrap(), 1);
                        }
                        Pend(1).await;
                        caller.gc();
                    })
                },
            )
            .unwrap();
        let text = format!(
            r#"(module {IMPORTS}
                (import "host" "collect" (func $collect (param i32)))
                (type $node (struct (field i32)))
                (func (export "sum") (param $n i32) (result i32)
                    (local $node (ref null $node))
                    (local.set $node (struct.new $node (local.get $n)))
                    (call $collect (i32.sub (local.get $n) (i32.const 1)))
                    (i32.eq (local.get $n) (struct.get $node 0 (local.get $node)))))"#
        );
        let module = Module::new(&engine, text).unwrap();
        let mut store = Store::new(&engine, Host::default());
        let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
        let sum = typed::<i32, i32>(&mut store, instance, "sum");
        assert_eq!(run(sum.call_async(&mut store, 8)).unwrap(), 1);
    }
}
