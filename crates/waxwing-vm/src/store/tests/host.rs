//! Functions of the host, and builtins called by them in the place of generated code.

use super::*;

/// What a function of the host does in a test.
type Body = Box<dyn Fn() -> Result<(), TrapReason> + Send + Sync>;

unsafe extern "C" fn run_host(
    callee: NonNull<VMFuncRef>,
    _caller: Option<NonNull<VMContext>>,
    _values: NonNull<ValRaw>,
    _len: usize,
) -> bool {
    catch_host(|| {
        // SAFETY: the function is alive while it is called.
        let state = unsafe { VMHostFuncContext::of_callee(callee) }.host_state();
        state.downcast_ref::<Body>().expect("a test's function")()
    })
    .is_some()
}

fn host_func(
    store: &TestStore,
    body: impl Fn() -> Result<(), TrapReason> + Send + Sync + 'static,
) -> HostFunc {
    let ty = store.core.type_registry().register(void_type());
    let body: Body = Box::new(body);
    HostFunc::new(ty, run_host, Box::new(body))
}

#[test]
fn functions_of_the_host_are_called_and_fail() {
    let mut store = Owned::new(&Tunables::default());
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let counting = host_func(&store, || {
        CALLS.fetch_add(1, Relaxed);
        Ok(())
    });
    let counting = store.core.add_host_func(counting);
    // SAFETY: the functions have no parameters.
    let mut run = |func| unsafe { call(&mut *store, func, &mut []) };
    run(counting).unwrap();
    assert_eq!(CALLS.load(Relaxed), 1);
    let failing = host_func(&store, || Err(anyhow::anyhow!("no").into()));
    let panicking = host_func(&store, || std::panic::resume_unwind(Box::new("panic")));
    let failing = store.core.add_host_func(failing);
    let panicking = store.core.add_host_func(panicking);
    // SAFETY: as above.
    let failed = unsafe { call(&mut *store, failing, &mut []) };
    let reason = *failed.unwrap_err();
    assert!(
        matches!(&reason, UnwindReason::Trap { reason: TrapReason::Host(error), .. } if error.to_string() == "no"),
        "{reason:?}"
    );
    // SAFETY: as above.
    let panicked = unsafe { call(&mut *store, panicking, &mut []) };
    assert!(matches!(*panicked.unwrap_err(), UnwindReason::Panic(_)));
}

#[test]
fn functions_of_the_host_get_their_entry_from_a_module() {
    let mut store = Owned::new(&Tunables::default());
    let shared = Arc::new(host_func(&store, || Ok(())));
    let one = store.core.add_shared_host_func(&shared);
    assert_eq!(store.core.add_shared_host_func(&shared), one);
    assert_ne!(one, shared.func_ref());
    let own = host_func(&store, || Ok(()));
    let own = store.core.add_host_func(own);
    // SAFETY: the functions are the store's.
    let entry = |func: NonNull<VMFuncRef>| unsafe { func.read() }.wasm_call;
    assert_eq!((entry(one), entry(own)), (None, None));

    let mut module = Module {
        num_functions: 1,
        ..Module::default()
    };
    module.memories.push(memory_type(0, None));
    let module = load(&store, module, 1, b"");
    let mut imports = OwnedImports::new(&module);
    // SAFETY: the function is the store's.
    unsafe {
        imports
            .push_function(&mut store.core, &module, own)
            .unwrap()
    };
    assert!(entry(own).is_some());
    assert_eq!(entry(one), entry(own));
    assert_eq!(entry(shared.func_ref()), None);
    let id = link(&mut store, &module, imports.as_ref()).unwrap();
    assert_eq!(store.core.instance(id).func_ref(func(0)), Some(own));
    // Later functions get it at once.
    let later = host_func(&store, || Ok(()));
    let later = store.core.add_host_func(later);
    assert_eq!(entry(later), entry(own));

    let other = host_func_of(&store, WasmFuncType::new([WasmValType::I32], []));
    let other = store.core.add_host_func(other);
    // SAFETY: the function is the store's.
    let error = unsafe { imports.push_function(&mut store.core, &module, other) };
    assert!(error.is_err());
    let weak = Arc::downgrade(&shared);
    drop(shared);
    assert!(weak.upgrade().is_some());
    drop(store);
    assert!(weak.upgrade().is_none());
}

fn host_func_of(store: &TestStore, ty: WasmFuncType) -> HostFunc {
    let ty = store.core.type_registry().register(WasmSubType::func(ty));
    let body: Body = Box::new(|| Ok(()));
    HostFunc::new(ty, run_host, Box::new(body))
}

/// An address that may go to another thread, as functions of the host have to.
#[derive(Copy, Clone)]
pub(super) struct Context(pub(super) NonNull<VMContext>);

// SAFETY: the tests use it on their own thread alone.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Runs `body` with the context as generated code would, within an entry.
    pub(super) fn run(
        self,
        store: &mut Owned,
        body: impl Fn(NonNull<VMContext>) + Send + Sync + 'static,
    ) -> Option<Trap> {
        let func = host_func(store, move || {
            body({ self }.0);
            Ok(())
        });
        let func = store.core.add_host_func(func);
        let core: *const StoreCore = &raw const store.core;
        // SAFETY: the core is alive. The function has no parameters, and no reference to the store is
        // held while it is called.
        let result = unsafe {
            let (context, options) = ((*core).vm_store_context(), (*core).entry_options);
            call_recording(context, &options, func)
        };
        match *result.err()? {
            UnwindReason::Trap {
                reason: TrapReason::Wasm(trap),
                ..
            } => Some(trap),
            other => panic!("{other:?}"),
        }
    }
}

/// Calls `func` within an entry that fails if something was recorded meanwhile.
///
/// # Safety
///
/// As for [`call_unchecked`].
unsafe fn call_recording(
    context: NonNull<VMStoreContext>,
    options: &EntryOptions,
    func: NonNull<VMFuncRef>,
) -> Result<(), Box<UnwindReason>> {
    FAILED.set(false);
    // SAFETY: required of the caller.
    unsafe {
        let array_call = (*func.as_ptr()).array_call;
        enter_wasm(context, options, || {
            array_call(func, None, NonNull::dangling(), 0) && !FAILED.get()
        })
    }
}

thread_local! {
    /// Whether a builtin said that it recorded a trap.
    pub(super) static FAILED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[test]
fn builtins_check_bounds_across_memories() {
    let mut store = Owned::new(&small_tunables());
    let (owner, index) = create_host_memory(&mut *store, &memory_type(1, Some(4))).unwrap();
    let mut module = Module {
        num_imported_memories: 1,
        ..Module::default()
    };
    module.memories.push(memory_type(1, None));
    module.memories.push(memory_type(1, None));
    let module = load(&store, module, 0, b"");
    let memories = [store.core.instance(owner).defined_memory(index)];
    let imports = Imports {
        memories: &memories,
        ..Imports::default()
    };
    let id = link(&mut store, &module, imports).unwrap();
    let context = Context(store.core.instance(id).vmctx());

    let trap = context.run(&mut store, |vmctx| {
        // SAFETY: the context is a live one, and nobody has references to its store.
        unsafe {
            assert!((BUILTINS.memory_fill)(vmctx, 0, 0, 7, 4));
            assert!((BUILTINS.memory_fill)(vmctx, 0, 0x1_0000, 7, 0));
            assert!((BUILTINS.memory_copy)(vmctx, 1, 10, 0, 2, 4));
            assert_eq!((BUILTINS.memory_grow)(vmctx, 0, 1).addr(), 1);
            assert_eq!((BUILTINS.memory_grow)(vmctx, 0, 9).addr(), usize::MAX);
            assert!((BUILTINS.memory_fill)(vmctx, 0, 0x1_ffff, 9, 1));
            // Overlapping.
            assert!((BUILTINS.memory_copy)(vmctx, 1, 11, 1, 10, 4));
        }
    });
    assert_eq!(trap, None);
    assert_eq!(read(&store, owner, 0x1_ffff), 9);
    let bytes: Vec<u8> = (9..16).map(|at| read(&store, id, at)).collect();
    assert_eq!(bytes, [0, 7, 7, 7, 0, 0, 0]);

    let trap = context.run(&mut store, |vmctx| {
        // SAFETY: as above.
        let ok = unsafe { (BUILTINS.memory_copy)(vmctx, 1, 0, 0, u64::MAX, 2) };
        FAILED.set(!ok);
    });
    assert_eq!(trap, Some(Trap::MemoryOutOfBounds));
    let trap = context.run(&mut store, |vmctx| {
        // SAFETY: as above.
        let ok = unsafe { (BUILTINS.trap)(vmctx, Trap::BadSignature as u32) };
        FAILED.set(!ok);
    });
    assert_eq!(trap, Some(Trap::BadSignature));
    store.limiter.error = true;
    let grow = host_func(&store, move || {
        // SAFETY: as above.
        let result = unsafe { (BUILTINS.memory_grow)({ context }.0, 1, 1) };
        FAILED.set(result.addr() == -2isize as usize);
        Ok(())
    });
    let grow = store.core.add_host_func(grow);
    let (store_context, options) = (store.core.vm_store_context(), store.core.entry_options);
    // SAFETY: the function has no parameters, and no reference to the store is held.
    let failed = unsafe { call_recording(store_context, &options, grow) };
    let reason = *failed.unwrap_err();
    assert!(
        matches!(&reason, UnwindReason::Trap { reason: TrapReason::Host(error), .. } if error.to_string() == "the limiter failed"),
        "{reason:?}"
    );
}
