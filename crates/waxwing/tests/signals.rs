//! Handlers of signals of the embedder's own.

#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use waxwing::unix::StoreExt;
use waxwing::*;

const LOADS: &str = r#"(module
    (import "" "touch" (func $touch))
    (memory (export "m") 2)
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "host") (call $touch))
    (func (export "trap") unreachable))"#;

struct Guest {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

impl Guest {
    fn new(engine: &Engine) -> Guest {
        let mut store = Store::new(engine, ());
        let module = Module::new(engine, LOADS).unwrap();
        let touch = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
            let memory = caller.get_export("m").and_then(Extern::into_memory);
            assert_eq!(memory.unwrap().data(&caller)[0x1_0000], 7);
        });
        let instance = Instance::new(&mut store, &module, &[touch.into()]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        memory.data_mut(&mut store)[0x1_0000] = 7;
        Guest {
            store,
            instance,
            memory,
        }
    }

    /// The second page of the memory.
    fn page(&self) -> usize {
        self.memory.data_ptr(&self.store) as usize + 0x1_0000
    }

    fn load(&mut self, address: i32) -> Result<i32> {
        let load = self.instance.get_typed_func(&mut self.store, "load");
        load.unwrap().call(&mut self.store, address)
    }
}

fn protect(page: usize, protection: libc::c_int) {
    // SAFETY: the page is one of a linear memory that nobody has references to.
    let result = unsafe { libc::mprotect(page as *mut libc::c_void, 0x1_0000, protection) };
    assert_eq!(result, 0);
}

/// Makes the page accessible when it is missed, and counts its calls.
fn repair(guest: &mut Guest) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let (page, count) = (guest.page(), calls.clone());
    // SAFETY: the handler makes a system call and changes a counter, and an access goes on when the page is there.
    unsafe {
        guest.store.set_signal_handler(move |signal, info, _| {
            count.fetch_add(1, Ordering::Relaxed);
            let address = (*info).si_addr() as usize;
            let is_page = (page..page + 0x1_0000).contains(&address);
            if is_page && [libc::SIGSEGV, libc::SIGBUS].contains(&signal) {
                protect(page, libc::PROT_READ | libc::PROT_WRITE);
            }
            is_page
        });
    }
    calls
}

#[test]
fn handlers_let_accesses_go_on() {
    let engine = Engine::default();
    let mut guest = Guest::new(&engine);
    protect(guest.page(), libc::PROT_NONE);
    let calls = repair(&mut guest);
    assert_eq!(guest.load(0x1_0000).unwrap(), 7);
    assert_eq!(guest.load(0x1_0000).unwrap(), 7);
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    // Host functions that WebAssembly called, too.
    protect(guest.page(), libc::PROT_NONE);
    let host = guest
        .instance
        .get_typed_func::<(), ()>(&mut guest.store, "host");
    host.unwrap().call(&mut guest.store, ()).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn what_handlers_leave_is_a_trap() {
    let engine = Engine::default();
    let mut guest = Guest::new(&engine);
    let calls = repair(&mut guest);
    let trap = guest.load(0x2_0000).unwrap_err().downcast::<Trap>();
    assert_eq!(trap.unwrap(), Trap::MemoryOutOfBounds);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let trap = guest
        .instance
        .get_typed_func::<(), ()>(&mut guest.store, "trap");
    let trap = trap.unwrap().call(&mut guest.store, ()).unwrap_err();
    assert_eq!(
        trap.downcast::<Trap>().unwrap(),
        Trap::UnreachableCodeReached
    );
    assert_eq!(calls.load(Ordering::Relaxed), 2);

    // Of other stores it hears nothing.
    let mut other = Guest::new(&engine);
    assert!(other.load(0x2_0000).is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    // The last one counts.
    let others = repair(&mut guest);
    assert!(guest.load(-1).is_err());
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(others.load(Ordering::Relaxed), 1);
}
