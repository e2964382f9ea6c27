//! What engines do to their process and its threads: handlers of signals, and stacks for them.

#![cfg(unix)]

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use waxwing::*;

/// The address of the process's handler of a signal.
fn handler(signal: libc::c_int) -> usize {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the present one.
    unsafe {
        assert_eq!(libc::sigaction(signal, ptr::null(), action.as_mut_ptr()), 0);
        action.assume_init().sa_sigaction
    }
}

/// The calling thread's stack for handlers of signals: its address and size, if it has one.
fn signal_stack() -> Option<(usize, usize)> {
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: without a new stack the call only writes the present one.
    let stack = unsafe {
        assert_eq!(libc::sigaltstack(ptr::null(), stack.as_mut_ptr()), 0);
        stack.assume_init()
    };
    (stack.ss_flags & libc::SS_DISABLE == 0).then_some((stack.ss_sp.addr(), stack.ss_size))
}

/// Runs `work` on a thread that Rust's standard library has not prepared for anything.
fn on_bare_thread(work: fn()) {
    extern "C" fn run(work: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the argument is the pointer below, to what lives until the thread is joined.
        let work = unsafe { *work.cast::<fn()>() };
        let result = catch_unwind(work);
        ptr::without_provenance_mut(usize::from(result.is_err()))
    }
    let mut thread = MaybeUninit::uninit();
    let mut result = ptr::null_mut();
    // SAFETY: the thread gets a pointer to `work`, and is joined while that is there.
    unsafe {
        let argument = ptr::from_ref(&work).cast_mut().cast();
        let code = libc::pthread_create(thread.as_mut_ptr(), ptr::null(), run, argument);
        assert_eq!(code, 0);
        assert_eq!(libc::pthread_join(thread.assume_init(), &mut result), 0);
    }
    assert!(result.is_null(), "the thread panicked");
}

fn divide(engine: &Engine) -> Result<()> {
    let wat = r#"(module (func (export "div") (param i32) (result i32)
        (i32.div_u (i32.const 1) (local.get 0))))"#;
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &Module::new(engine, wat)?, &[])?;
    let div = instance.get_typed_func::<i32, i32>(&mut store, "div")?;
    assert_eq!(div.call(&mut store, 1)?, 1);
    let trap = div.call(&mut store, 0).unwrap_err().downcast::<Trap>()?;
    assert_eq!(trap, Trap::IntegerDivisionByZero);
    Ok(())
}

/// One test after the other, as handlers are the whole process's.
#[test]
fn processes_and_threads() -> Result<()> {
    handlers_are_there_as_long_as_an_engine_claims_them()?;
    threads_are_prepared_when_that_is_asked_for();
    Ok(())
}

fn handlers_are_there_as_long_as_an_engine_claims_them() -> Result<()> {
    const SIGNALS: [libc::c_int; 3] = [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE];
    let before = SIGNALS.map(handler);
    let without = Engine::new(Config::new().signals_based_traps(false))?;
    divide(&without)?;
    assert_eq!(SIGNALS.map(handler), before, "nothing was installed");

    let [one, two] = [Engine::default(), Engine::default()];
    let installed = SIGNALS.map(handler);
    for (installed, before) in installed.iter().zip(before) {
        assert_ne!(*installed, before);
    }
    divide(&one)?;

    // A handle that others have cannot be given up.
    let other = one.clone();
    // SAFETY: no thread runs WebAssembly, here and below.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe {
        one.unload_process_handlers();
    }));
    assert!(result.is_err());
    assert_eq!(SIGNALS.map(handler), installed);

    // SAFETY: as above.
    unsafe { other.unload_process_handlers() };
    assert_eq!(SIGNALS.map(handler), installed, "another engine needs them");
    divide(&two)?;
    // SAFETY: as above.
    unsafe { two.unload_process_handlers() };
    assert_eq!(SIGNALS.map(handler), before);

    // They come back.
    drop(Engine::default());
    assert_eq!(SIGNALS.map(handler), installed, "dropping leaves them");
    divide(&Engine::default())?;
    // SAFETY: as above.
    unsafe { without.unload_process_handlers() };
    assert_eq!(SIGNALS.map(handler), installed, "it had no claim");
    Ok(())
}

fn threads_are_prepared_when_that_is_asked_for() {
    on_bare_thread(|| {
        assert_eq!(signal_stack(), None);
        Engine::tls_eager_initialize();
        let stack = signal_stack().expect("the handler needs one");
        Engine::tls_eager_initialize();
        assert_eq!(signal_stack(), Some(stack), "once is enough");
    });
    // The first call does it otherwise.
    on_bare_thread(|| {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, r#"(module (func (export "f")))"#).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        assert_eq!(signal_stack(), None);
        f.call(&mut store, ()).unwrap();
        assert!(signal_stack().is_some());
    });
}
