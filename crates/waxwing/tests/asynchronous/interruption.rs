//! Time slices, by fuel and by epochs.

use super::*;

const LOOPS: &str = r#"
    (memory 2)
    (func (export "count") (param $n i32) (result i32) (local $i i32)
        (loop $again
            (br_if $again (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                (local.get $n))))
        (local.get $i))
    (func (export "mixed") (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (memory.fill (i32.const 0) (local.get $n) (i32.const 6400))
            (local.set $sum (i32.add (local.get $sum) (call $fib (i32.rem_u (local.get $n) (i32.const 8)))))
            (if (i32.eqz (i32.rem_u (local.get $n) (i32.const 10)))
                (then (call $log (drop (call $wait (i32.const 1))) (local.get $n))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add
                (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "forever") (loop $again (br $again)))
    (func (export "spill") (param $n i32) (result i32)
        (loop $again
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.load (i32.add (local.get $n) (i32.const -4))))
"#;

fn with_fuel() -> Engine {
    Engine::new(config().consume_fuel(true)).unwrap()
}

#[test]
fn fuel_makes_slices() {
    let (mut store, instance) = instantiate(&with_fuel(), LOOPS);
    store.set_fuel(1_000_000).unwrap();
    let count = typed::<i32, i32>(&mut store, instance, "count");
    let (result, pending) = run_counted(count.call_async(&mut store, 1000));
    assert_eq!((result.unwrap(), pending), (1000, 0));
    let used = 1_000_000 - store.get_fuel().unwrap();
    for interval in [1, 7, 100, 5000, used, 1 << 40, u64::MAX] {
        store.set_fuel(1_000_000).unwrap();
        store.fuel_async_yield_interval(Some(interval)).unwrap();
        let (result, pending) = run_counted(count.call_async(&mut store, 1000));
        assert_eq!(result.unwrap(), 1000);
        assert_eq!(1_000_000 - store.get_fuel().unwrap(), used);
        let slices = used / interval;
        match interval {
            // There is one check for each iteration.
            1 | 7 => assert!((990..=1010).contains(&pending), "{pending}"),
            _ => assert!(
                (slices.saturating_sub(1)..=slices).contains(&(pending as u64)),
                "{pending} {slices}"
            ),
        }
    }
    store.fuel_async_yield_interval(None).unwrap();
    assert_eq!(run_counted(count.call_async(&mut store, 1000)).1, 0);
}

#[test]
fn the_interval_does_not_change_where_fuel_runs_out() {
    let engine = with_fuel();
    let run_with = |name: &str, fuel: u64, interval: Option<u64>| {
        let (mut store, instance) = instantiate(&engine, LOOPS);
        store.set_fuel(fuel).unwrap();
        store.fuel_async_yield_interval(interval).unwrap();
        let f = typed::<i32, i32>(&mut store, instance, name);
        let result = run(f.call_async(&mut store, 100)).map_err(|error| {
            let trap: Trap = *error.downcast_ref().unwrap();
            trap
        });
        (result, store.get_fuel().unwrap(), store.data().log.clone())
    };
    for (name, fuel) in [
        ("mixed", 100),
        ("mixed", 12_345),
        ("mixed", 20_000),
        ("mixed", 1 << 40),
        ("mixed", u64::MAX),
        ("spill", 1_000),
        ("spill", 100),
        ("spill", u64::MAX),
    ] {
        let expected = run_with(name, fuel, None);
        for interval in [1, 2, 3, 10, 333, 1000, 10_000, 1 << 50] {
            let actual = run_with(name, fuel, Some(interval));
            assert_eq!(actual, expected, "{name}, {fuel} units, each {interval}");
        }
    }
}

#[test]
fn fuel_can_be_set_by_what_waits() {
    let engine = with_fuel();
    let mut linker = linker(&engine);
    linker
        .func_wrap_async("host", "refuel", |mut caller: Caller<'_, Host>, (): ()| {
            Box::new(async move {
                Pend(1).await;
                let left = caller.get_fuel().unwrap();
                caller.set_fuel(left + 1000).unwrap();
                caller.fuel_async_yield_interval(Some(50)).unwrap();
                caller.data_mut().log.push(left as i32);
            })
        })
        .unwrap();
    let text = r#"(module
        (import "host" "refuel" (func $refuel))
        (func (export "f") (param $n i32) (call $refuel)
            (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    let module = Module::new(&engine, text).unwrap();
    let mut store = Store::new(&engine, Host::default());
    store.set_fuel(100).unwrap();
    let instance = run(linker.instantiate_async(&mut store, &module)).unwrap();
    let f = typed::<i32, ()>(&mut store, instance, "f");
    let (result, pending) = run_counted(f.call_async(&mut store, 100));
    result.unwrap();
    assert_eq!(store.data().log, [98]);
    let used = 1098 - store.get_fuel().unwrap();
    assert!((400..700).contains(&used));
    assert!(pending > 6, "{pending}");
}

#[test]
fn bad_intervals_are_errors() {
    let message = |store: &mut Store<()>, interval| {
        store
            .fuel_async_yield_interval(interval)
            .unwrap_err()
            .to_string()
    };
    let mut store = Store::new(&with_fuel(), ());
    assert!(message(&mut store, Some(0)).contains('0'));
    let mut store = Store::new(&engine(), ());
    assert!(message(&mut store, Some(1)).contains("consume_fuel"));
    let mut store = Store::new(&Engine::new(Config::new().consume_fuel(true)).unwrap(), ());
    assert!(message(&mut store, Some(1)).contains("async_support"));
}

fn with_epochs() -> Engine {
    Engine::new(config().epoch_interruption(true)).unwrap()
}

#[test]
fn epochs_make_slices() {
    let engine = with_epochs();
    let (mut store, instance) = instantiate(&engine, LOOPS);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(2);
    let forever = typed::<(), ()>(&mut store, instance, "forever");
    let count = typed::<i32, i32>(&mut store, instance, "count");
    assert_eq!(run_counted(count.call_async(&mut store, 1000)).1, 0);
    engine.increment_epoch();
    // One slice; then the deadline is two ticks ahead.
    assert_eq!(run_counted(count.call_async(&mut store, 1000)).1, 1);
    engine.increment_epoch();
    assert_eq!(run_counted(count.call_async(&mut store, 1000)).1, 0);

    let ticker = engine.clone();
    let stop = Arc::new(AtomicUsize::new(0));
    let stopped = Arc::clone(&stop);
    let ticks = std::thread::spawn(move || {
        while stopped.load(Ordering::Relaxed) == 0 {
            ticker.increment_epoch();
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
    });
    let mut future = Box::pin(forever.call_async(&mut store, ()));
    for _ in 0..20 {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }
    drop(future);
    stop.store(1, Ordering::Relaxed);
    ticks.join().unwrap();
}

#[test]
fn callbacks_ask_for_slices() {
    let engine = with_epochs();
    let (mut store, instance) = instantiate(&engine, LOOPS);
    store.epoch_deadline_callback(|mut store| {
        let log = &mut store.data_mut().log;
        log.push(1);
        match log.len() {
            4 => Err(Error::msg("enough")),
            2 => Ok(UpdateDeadline::Continue(0)),
            _ => Ok(UpdateDeadline::Yield(0)),
        }
    });
    let forever = typed::<(), ()>(&mut store, instance, "forever");
    let (result, pending) = run_counted(forever.call_async(&mut store, ()));
    assert_eq!(result.unwrap_err().root_cause().to_string(), "enough");
    assert_eq!((pending, store.data().log.len()), (2, 4));
}

#[test]
fn a_context_sets_slices_too() {
    let engine = with_epochs();
    let (mut store, instance) = instantiate(&engine, LOOPS);
    store
        .as_context_mut()
        .epoch_deadline_async_yield_and_update(1);
    let count = typed::<i32, i32>(&mut store, instance, "count");
    assert_eq!(run_counted(count.call_async(&mut store, 1000)).1, 1);
}

#[test]
fn an_endless_loop_ends_with_its_future() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    let runtime = runtime.unwrap();
    let engine = Engine::new(config().epoch_interruption(true).consume_fuel(true)).unwrap();
    let (mut by_epoch, instance_a) = instantiate(&engine, LOOPS);
    by_epoch.epoch_deadline_async_yield_and_update(1);
    by_epoch.set_fuel(u64::MAX).unwrap();
    let (mut by_fuel, instance_b) = instantiate(&engine, LOOPS);
    by_fuel.set_epoch_deadline(u64::MAX);
    by_fuel.set_fuel(u64::MAX).unwrap();
    by_fuel.fuel_async_yield_interval(Some(10_000)).unwrap();
    let loops = [
        (
            typed::<(), ()>(&mut by_epoch, instance_a, "forever"),
            by_epoch,
        ),
        (
            typed::<(), ()>(&mut by_fuel, instance_b, "forever"),
            by_fuel,
        ),
    ];
    runtime.block_on(async {
        let ticker = tokio::spawn(async move {
            loop {
                engine.increment_epoch();
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        });
        let tasks = loops.map(|(forever, mut store)| {
            tokio::spawn(async move {
                let limit = std::time::Duration::from_millis(20);
                tokio::time::timeout(limit, forever.call_async(&mut store, ()))
                    .await
                    .is_err()
            })
        });
        for task in tasks {
            assert!(task.await.unwrap());
        }
        ticker.abort();
    });
}
