//! Epochs: what is interrupted, when, and what happens then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use waxwing::*;

fn engine(change: impl FnOnce(&mut Config) -> &mut Config) -> Engine {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_function_references(true)
        .wasm_gc(true);
    change(&mut config);
    Engine::new(&config).unwrap()
}

/// Engines that make different code.
fn engines() -> Vec<(&'static str, Engine)> {
    type Change = fn(&mut Config) -> &mut Config;
    let changes: [(&str, Change); 6] = [
        ("default", |c| c),
        ("unoptimized", |c| c.cranelift_opt_level(OptLevel::None)),
        ("no signals", |c| c.signals_based_traps(false)),
        ("fuel", |c| c.consume_fuel(true)),
        ("collecting", |c| c.gc_stress(true)),
        ("counted references", |c| {
            c.collector(Collector::DeferredReferenceCounting)
                .gc_stress(true)
        }),
    ];
    changes
        .into_iter()
        .map(|(name, change)| (name, engine(change)))
        .collect()
}

fn store<T>(engine: &Engine, data: T) -> Store<T> {
    let mut store = Store::new(engine, data);
    // Where it is not configured, nothing consumes any.
    let _ = store.set_fuel(u64::MAX);
    store
}

fn function<T>(store: &mut Store<T>, wat: &str, imports: &[Extern]) -> TypedFunc<(), ()> {
    let module = Module::new(store.engine(), wat).unwrap_or_else(|e| panic!("{e:?}\n{wat}"));
    let instance = Instance::new(&mut *store, &module, imports).unwrap();
    instance.get_typed_func(store, "f").unwrap()
}

fn trap_of(result: Result<()>) -> Trap {
    result.unwrap_err().downcast().unwrap()
}

/// Increments the epoch each millisecond until it is dropped.
struct Clock(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Clock {
    fn start(engine: &Engine) -> Clock {
        let engine = engine.weak();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed)
                && let Some(engine) = engine.upgrade()
            {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Clock(stop, Some(thread))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

const FOREVER: &str = r#"(module (func (export "f") (loop (br 0))))"#;

#[test]
fn a_new_store_is_interrupted_at_once() {
    for (name, engine) in engines() {
        let mut store = store(&engine, ());
        let f = function(&mut store, r#"(module (func (export "f")))"#, &[]);
        assert_eq!(trap_of(f.call(&mut store, ())), Trap::Interrupt, "{name}");
        store.set_epoch_deadline(1);
        f.call(&mut store, ()).unwrap();
        engine.increment_epoch();
        assert_eq!(trap_of(f.call(&mut store, ())), Trap::Interrupt, "{name}");
        store.set_epoch_deadline(2);
        engine.increment_epoch();
        f.call(&mut store, ()).unwrap();
        store.set_epoch_deadline(0);
        assert_eq!(trap_of(f.call(&mut store, ())), Trap::Interrupt, "{name}");
        // As far as numbers go.
        store.set_epoch_deadline(u64::MAX);
        engine.increment_epoch();
        f.call(&mut store, ()).unwrap();
    }
}

#[test]
fn nothing_goes_on_for_ever() {
    let endless = [
        "(func (export \"f\") (loop (br 0)))",
        "(func (export \"f\") (loop (br_if 0 (i32.const 1))))",
        "(func (export \"f\") (loop (br_table 0 0 (i32.const 0))))",
        "(func (export \"f\") (loop (loop (br 1))))",
        "(func (export \"f\") (loop $a (block $b (loop $c (br_if $c (i32.const 0)) (br $b))) (br $a)))",
        // Loops of functions that nobody but their module knows.
        "(func $g (loop (br 0))) (func (export \"f\") (call $g))",
        "(func $g (local i32) (loop (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br 0))) (func (export \"f\") (call $g))",
        "(func $f (export \"f\") (return_call $f))",
        "(func $g) (func (export \"f\") (loop (call $g) (br 0)))",
        r#"(type $t (func)) (table funcref (elem $f)) (func $f (export "f") (return_call_indirect (type $t) (i32.const 0)))"#,
        r#"(func (export "f") (return_call $g)) (func $g (return_call $h)) (func $h (return_call $g))"#,
        // Recursion in which the stack does not grow much: the calls make a tree of depth 40.
        r#"(func $g (param i32) (if (local.get 0) (then
                (call $g (i32.sub (local.get 0) (i32.const 1)))
                (call $g (i32.sub (local.get 0) (i32.const 1))))))
            (func (export "f") (call $g (i32.const 60)))"#,
        "(memory 1000) (func (export \"f\") (loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536000)) (br 0)))",
    ];
    for (name, engine) in engines() {
        let _clock = Clock::start(&engine);
        for body in endless {
            let mut store = store(&engine, ());
            let f = function(&mut store, &format!("(module {body})"), &[]);
            store.set_epoch_deadline(10);
            let error = f.call(&mut store, ()).unwrap_err();
            let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
            assert!(!frames.is_empty());
            let trap = error.downcast::<Trap>().unwrap();
            assert_eq!(trap, Trap::Interrupt, "{name}: {body}");
        }
    }
}

#[test]
fn deadlines_that_host_functions_set_hold_at_once() {
    let wat = r#"(module
        (import "" "set" (func $set))
        (func $indirect (call $set))
        (func (export "f") (local $i i32)
            (loop $l
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (if (i32.eq (local.get $i) (i32.const 100)) (then (call $indirect)))
                (br $l))))"#;
    for (name, engine) in engines() {
        let mut store = store(&engine, ());
        let set = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
            caller.as_context_mut().set_epoch_deadline(0);
        });
        let f = function(&mut store, wat, &[set.into()]);
        store.set_epoch_deadline(u64::MAX);
        assert_eq!(trap_of(f.call(&mut store, ())), Trap::Interrupt, "{name}");
    }
}

#[test]
fn callbacks_decide() {
    for (name, engine) in engines() {
        let mut store = store(&engine, 0);
        let f = function(&mut store, FOREVER, &[]);
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            if *store.data() == 1000 {
                anyhow_bail()?;
            }
            Ok(UpdateDeadline::Continue(*store.data() % 2))
        });
        let _clock = Clock::start(&engine);
        let error = f.call(&mut store, ()).unwrap_err();
        assert!(error.is::<WasmBacktrace>());
        assert!(format!("{error:#}").contains("that is enough"), "{name}");
        assert_eq!(*store.data(), 1000);

        store.epoch_deadline_trap();
        assert_eq!(trap_of(f.call(&mut store, ())), Trap::Interrupt);

        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        let error = f.call(&mut store, ()).unwrap_err();
        assert!(format!("{error:#}").contains("async"), "{error:#}");
        // The callback may change its mind.
        store.epoch_deadline_callback(|mut store| {
            store.epoch_deadline_trap();
            Ok(UpdateDeadline::Continue(0))
        });
        assert_eq!(trap_of(f.call(&mut store, ())), Trap::Interrupt);
    }
}

fn anyhow_bail() -> Result<()> {
    Err(Error::msg("that is enough"))
}

/// What code has in registers and memories survives a callback, whatever it does.
#[test]
fn callbacks_use_the_store() {
    let wat = r#"(module
        (memory (export "m") 1 100)
        (global (export "callbacks") (mut i32) (i32.const 0))
        (func (export "note") (global.set 0 (i32.add (global.get 0) (i32.const 1))))
        (func $many (export "many")
            (param i32 i64 f32 f64 v128 i32 i64 f32 f64 i32 i64) (result f64)
            (local $i i32) (local $sum f64)
            (loop $l
                (local.set $sum (f64.add (local.get $sum) (f64.promote_f32 (local.get 2))))
                (local.set $sum (f64.add (local.get $sum) (local.get 3)))
                (local.set $sum (f64.add (local.get $sum) (f64x2.extract_lane 1 (local.get 4))))
                (local.set $sum (f64.add (local.get $sum) (f64.convert_i32_u (local.get 5))))
                (local.set $sum (f64.add (local.get $sum) (f64.convert_i64_u (local.get 6))))
                (local.set $sum (f64.add (local.get $sum) (f64.convert_i64_u (local.get 10))))
                (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get $i) (i32.const 10000))))
            (local.get $sum))
        (func (export "f")
            (if (f64.ne
                    (call $many (i32.const 0) (i64.const 1) (f32.const 2) (f64.const 3)
                        (v128.const f64x2 4 5) (i32.const 6) (i64.const 7) (f32.const 8)
                        (f64.const 9) (i32.const 10) (i64.const 11))
                    (f64.const 340000))
                (then unreachable))))"#;
    for (name, engine) in engines() {
        let mut config = engine.config().clone();
        config
            .memory_reservation(0)
            .memory_reservation_for_growth(0);
        let engine = Engine::new(&config).unwrap();
        let mut store = store(&engine, None);
        let module = Module::new(&engine, wat).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        *store.data_mut() = Some(instance);
        store.epoch_deadline_callback(|mut store| {
            let instance = store.data().unwrap();
            // Every so often the memory moves.
            let note = instance.get_typed_func::<(), ()>(&mut store, "note")?;
            store.set_epoch_deadline(1);
            note.call(&mut store, ())?;
            let memory = instance.get_memory(&mut store, "m").unwrap();
            let count = u32::from_le_bytes(memory.data(&store)[..4].try_into()?);
            if count % 500 == 0 && memory.size(&store) < 100 {
                memory.grow(&mut store, 1)?;
            }
            Ok(UpdateDeadline::Continue(0))
        });
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        f.call(&mut store, ())
            .unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let memory = instance.get_memory(&mut store, "m").unwrap();
        assert_eq!(memory.data(&store)[..4], 10_000_u32.to_le_bytes());
        assert!(memory.size(&store) > 10);
        let callbacks = instance.get_global(&mut store, "callbacks").unwrap();
        // Each iteration, and the entries of functions.
        assert!(callbacks.get(&mut store).unwrap_i32() >= 10_000);
    }
}

#[test]
fn code_of_callbacks_is_interrupted_by_traps() {
    for (name, engine) in engines() {
        let mut store = store(&engine, None);
        let f = function(&mut store, FOREVER, &[]);
        *store.data_mut() = Some(f);
        store.epoch_deadline_callback(|mut store| {
            let f = store.data().clone().unwrap();
            let trap = f.call(&mut store, ()).unwrap_err().downcast::<Trap>()?;
            assert_eq!(trap, Trap::Interrupt);
            Err(Error::msg("seen"))
        });
        let f = store.data().clone().unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        assert!(format!("{error:#}").contains("seen"), "{name}: {error:#}");
    }
}

#[test]
fn long_ranges_are_interrupted_between_their_parts() {
    const MIB: usize = 1 << 20;
    let wat = r#"(module
        (memory (export "m") 512)
        (table $t (export "t") 100000 funcref)
        (func $g)
        (elem declare func $g)
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x2000000)))
        (func (export "copy up")
            (memory.copy (i32.const 0x1000000) (i32.const 0) (i32.const 0x1000000)))
        (func (export "copy down")
            (memory.copy (i32.const 0) (i32.const 0x1000000) (i32.const 0x1000000)))
        (func (export "slide up")
            (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x1ffffff)))
        (func (export "slide down")
            (memory.copy (i32.const 0) (i32.const 1) (i32.const 0x1ffffff)))
        (func (export "fill table")
            (table.fill $t (i32.const 0) (ref.func $g) (i32.const 100000)))
        (func (export "copy table")
            (table.copy (i32.const 1) (i32.const 0) (i32.const 99999)))
        (func (export "beyond")
            (memory.fill (i32.const 0) (i32.const 9) (i32.const 0x2000001))))"#;
    for (name, engine) in engines() {
        let module = Module::new(&engine, wat).unwrap();
        let mut store = store(&engine, 0);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let fresh = |store: &mut Store<i32>| {
            for (i, page) in memory.data_mut(store).chunks_mut(4096).enumerate() {
                page.fill(i as u8);
                page[..4].copy_from_slice(&(i as u32).to_le_bytes());
            }
        };
        for (export, parts, expected) in [
            (
                "fill",
                32,
                &(|data: &mut [u8]| data.fill(7)) as &dyn Fn(&mut [u8]),
            ),
            ("copy up", 16, &|data| {
                data.copy_within(..16 * MIB, 16 * MIB)
            }),
            ("copy down", 16, &|data| data.copy_within(16 * MIB.., 0)),
            ("slide up", 32, &|data| data.copy_within(..32 * MIB - 1, 1)),
            ("slide down", 32, &|data| data.copy_within(1.., 0)),
        ] {
            fresh(&mut store);
            let mut model = memory.data(&store).to_vec();
            expected(&mut model);
            *store.data_mut() = 0;
            store.set_epoch_deadline(0);
            store.epoch_deadline_callback(|mut store| {
                *store.data_mut() += 1;
                Ok(UpdateDeadline::Continue(0))
            });
            let f = instance.get_typed_func::<(), ()>(&mut store, export);
            f.unwrap().call(&mut store, ()).unwrap();
            assert!(memory.data(&store) == model, "{name}: {export}");
            // Once at the entry, and between the parts.
            assert_eq!(*store.data(), parts, "{name}: {export}");
        }
        for (export, parts) in [("fill table", 13), ("copy table", 13)] {
            *store.data_mut() = 0;
            let f = instance.get_typed_func::<(), ()>(&mut store, export);
            f.unwrap().call(&mut store, ()).unwrap();
            assert_eq!(*store.data(), parts, "{name}: {export}");
        }
        let table = instance.get_table(&mut store, "t").unwrap();
        for index in 0..100_000 {
            let element = table.get(&mut store, index).unwrap();
            assert!(!element.is_null(), "{index}");
        }

        // What has been done stays, and what is out of bounds is not begun.
        fresh(&mut store);
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            match store.data() {
                2 => Err(Error::msg("enough")),
                _ => Ok(UpdateDeadline::Continue(0)),
            }
        });
        *store.data_mut() = 0;
        let f = instance.get_typed_func::<(), ()>(&mut store, "fill");
        assert!(f.unwrap().call(&mut store, ()).is_err());
        assert!(memory.data(&store)[..MIB].iter().all(|byte| *byte == 7));
        assert_eq!(memory.data(&store)[MIB + 4], 0);
        *store.data_mut() = 0;
        let f = instance.get_typed_func::<(), ()>(&mut store, "beyond");
        let trap = f.unwrap().call(&mut store, ());
        assert_eq!(trap_of(trap), Trap::MemoryOutOfBounds);
        assert_eq!((memory.data(&store)[0], *store.data()), (7, 1));
    }
}

/// Objects that an instruction works with may move while the host runs in the middle of it.
#[test]
fn work_with_objects_is_interrupted_between_its_parts() {
    let wat = r#"(module
        (type $refs (array (mut anyref)))
        (type $box (struct (field i32)))
        (table $t 20000 anyref)
        (func (export "junk") (drop (array.new_default $refs (i32.const 1000))))
        (func $check (param $a (ref $refs)) (param $value i32)
            (local $i i32)
            (loop $l
                (if (i32.ne (local.get $value)
                        (struct.get $box 0 (ref.cast (ref $box)
                            (array.get $refs (local.get $a) (local.get $i)))))
                    (then unreachable))
                (local.set $i (i32.add (local.get $i) (i32.const 100000)))
                (br_if $l (i32.lt_u (local.get $i) (array.len (local.get $a))))))
        (func (export "fill")
            (local $a (ref $refs))
            (local.set $a (array.new_default $refs (i32.const 600000)))
            (array.fill $refs (local.get $a) (i32.const 0) (struct.new $box (i32.const 7))
                (i32.const 600000))
            (call $check (local.get $a) (i32.const 7)))
        (func (export "new")
            (call $check (array.new $refs (struct.new $box (i32.const 8)) (i32.const 600000))
                (i32.const 8)))
        (func (export "copy")
            (local $a (ref $refs))
            (local.set $a (array.new_default $refs (i32.const 600000)))
            (array.copy $refs $refs (local.get $a) (i32.const 0)
                (array.new $refs (struct.new $box (i32.const 9)) (i32.const 600000))
                (i32.const 0) (i32.const 600000))
            (call $check (local.get $a) (i32.const 9)))
        (func (export "table")
            (table.fill $t (i32.const 0) (struct.new $box (i32.const 7)) (i32.const 20000))
            (if (i32.ne (i32.const 7)
                    (struct.get $box 0 (ref.cast (ref $box) (table.get $t (i32.const 19999)))))
                (then unreachable))))"#;
    for (name, engine) in engines() {
        let module = Module::new(&engine, wat).unwrap();
        let mut store = store(&engine, (None, 0));
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        store.data_mut().0 = Some(instance);
        store.epoch_deadline_callback(|mut store| {
            store.data_mut().1 += 1;
            let instance = store.data().0.unwrap();
            store.set_epoch_deadline(1);
            let junk = instance.get_typed_func::<(), ()>(&mut store, "junk")?;
            junk.call(&mut store, ())?;
            store.gc();
            Ok(UpdateDeadline::Continue(0))
        });
        for (export, parts) in [("fill", 2), ("new", 2), ("copy", 4), ("table", 2)] {
            store.data_mut().1 = 0;
            store.set_epoch_deadline(0);
            let f = instance.get_typed_func::<(), ()>(&mut store, export);
            let result = f.unwrap().call(&mut store, ());
            result.unwrap_or_else(|error| panic!("{name}: {export}: {error:?}"));
            assert!(store.data().1 > parts, "{name}: {export}");
        }
    }
}

#[test]
fn each_store_has_its_own_deadline() {
    let engine = engine(|c| c);
    let _clock = Clock::start(&engine);
    let interrupted = Arc::new(AtomicU32::new(0));
    std::thread::scope(|scope| {
        for ticks in [5, 20, 40, 80] {
            let (engine, interrupted) = (&engine, &interrupted);
            scope.spawn(move || {
                let mut store = store(engine, ());
                let f = function(&mut store, FOREVER, &[]);
                let start = Instant::now();
                store.set_epoch_deadline(ticks);
                assert_eq!(trap_of(f.call(&mut store, ())), Trap::Interrupt);
                // A tick is not shorter than the clock's period, but for the first.
                assert!(start.elapsed() >= Duration::from_millis(ticks - 1));
                interrupted.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(interrupted.load(Ordering::Relaxed), 4);
}

#[cfg(unix)]
#[test]
fn a_signal_handler_can_increment_the_epoch() {
    use std::sync::OnceLock;
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    extern "C" fn tick(_signal: libc::c_int) {
        if let Some(engine) = ENGINE.get() {
            engine.increment_epoch();
        }
    }
    let engine = ENGINE.get_or_init(|| engine(|c| c));
    let mut store = store(engine, ());
    let f = function(&mut store, FOREVER, &[]);
    store.set_epoch_deadline(3);
    let handler: extern "C" fn(libc::c_int) = tick;
    // SAFETY: the handler does what it may, and each signal goes to this very thread.
    let (thread, earlier) = unsafe {
        let earlier = libc::signal(libc::SIGUSR1, handler as libc::sighandler_t);
        (libc::pthread_self(), earlier)
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // SAFETY: the thread waits for this one.
                unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        assert_eq!(trap_of(f.call(&mut store, ())), Trap::Interrupt);
        done.store(true, Ordering::Release);
    });
    // SAFETY: as above; nobody sends the signal any more.
    unsafe { libc::signal(libc::SIGUSR1, earlier) };
}

#[test]
fn without_the_option_epochs_have_no_effect() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let f = function(&mut store, r#"(module (func (export "f")))"#, &[]);
    store.set_epoch_deadline(0);
    engine.increment_epoch();
    f.call(&mut store, ()).unwrap();
    let weak = engine.weak();
    drop((engine, store));
    assert!(weak.upgrade().is_none());
}
