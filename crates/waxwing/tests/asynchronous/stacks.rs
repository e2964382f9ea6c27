//! Where stacks come from.

use std::alloc::{Layout, alloc, dealloc};
use std::ops::Range;
use std::sync::Mutex;

use super::*;

/// Makes stacks on the host's heap, and counts them.
#[derive(Default)]
struct Creator {
    made: AtomicUsize,
    sizes: Mutex<Vec<usize>>,
    dropped: Arc<AtomicUsize>,
    fails: bool,
}

struct Memory {
    start: *mut u8,
    layout: Layout,
    guard: usize,
    _drops: Drops,
}

const PAGE: usize = 1 << 16;

// SAFETY: the memory is the value's own.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

// SAFETY: the memory is allocated, and stays where it is.
unsafe impl StackMemory for Memory {
    fn top(&self) -> *mut u8 {
        self.start.wrapping_add(self.layout.size())
    }

    fn range(&self) -> Range<usize> {
        self.start as usize + self.guard..self.top() as usize
    }

    fn guard_range(&self) -> Range<*mut u8> {
        self.start..self.start.wrapping_add(self.guard)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

// SAFETY: what it makes is as it says.
unsafe impl StackCreator for Creator {
    fn new_stack(&self, size: usize) -> Result<Box<dyn StackMemory>> {
        if self.fails {
            anyhow::bail!("no stacks today");
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        self.sizes.lock().unwrap().push(size);
        let layout = Layout::from_size_align(size + PAGE, PAGE)?;
        Ok(Box::new(Memory {
            // SAFETY: the size is not zero.
            start: unsafe { alloc(layout) },
            layout,
            guard: PAGE,
            _drops: Drops(Arc::clone(&self.dropped)),
        }))
    }
}

#[test]
fn the_host_makes_stacks_for_calls() {
    let creator = Arc::new(Creator::default());
    let engine = Engine::new(
        config()
            .async_stack_size(1 << 20)
            .with_host_stack(creator.clone()),
    )
    .unwrap();
    let (mut store, instance) = instantiate(
        &engine,
        r#"(func (export "f") (param i32) (result i32) (call $wait (local.get 0)))
        (func (export "deep") (call 4))"#,
    );
    let counts = || {
        let made = creator.made.load(Ordering::Relaxed);
        (made, creator.dropped.load(Ordering::Relaxed))
    };
    // Instantiating runs nothing.
    assert_eq!(counts(), (0, 0));
    let f = typed::<i32, i32>(&mut store, instance, "f");
    assert_eq!(run(f.call_async(&mut store, 3)).unwrap(), 3);
    assert_eq!(counts(), (1, 1));
    let mut future = Box::pin(f.call_async(&mut store, 3));
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(counts(), (2, 1));
    drop(future);
    assert_eq!(counts(), (2, 2));
    let deep = typed::<(), ()>(&mut store, instance, "deep");
    let trap: Trap = run(deep.call_async(&mut store, ()))
        .unwrap_err()
        .downcast()
        .unwrap();
    assert_eq!(trap, Trap::StackOverflow);
    assert_eq!(counts(), (3, 3));
    assert_eq!(creator.sizes.lock().unwrap()[..], [1 << 20; 3]);
}

#[test]
fn a_host_without_stacks_is_an_error() {
    let creator = Creator {
        fails: true,
        ..Creator::default()
    };
    let engine = Engine::new(config().with_host_stack(Arc::new(creator))).unwrap();
    let (mut store, instance) = instantiate(&engine, r#"(func (export "f"))"#);
    let f = typed::<(), ()>(&mut store, instance, "f");
    let error = run(f.call_async(&mut store, ())).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "no stacks today");
}

#[test]
fn stacks_have_room_for_webassembly() {
    let fails = |config: &mut Config, names: [&str; 2]| {
        let error = Engine::new(config).err().unwrap().to_string();
        assert!(names.iter().all(|name| error.contains(name)), "{error}");
    };
    let names = ["max_wasm_stack", "async_stack_size"];
    fails(Config::new().max_wasm_stack((2 << 20) + 1), names);
    fails(config().async_stack_size((512 << 10) - 1), names);
    fails(config().async_stack_size(0), names);
    Engine::new(config().max_wasm_stack(2 << 20)).unwrap();
    Engine::new(config().async_stack_size(512 << 10)).unwrap();
    // One that nobody can have.
    let engine = Engine::new(config().async_stack_size(usize::MAX / 2)).unwrap();
    let (mut store, instance) = instantiate(&engine, r#"(func (export "f"))"#);
    let f = typed::<(), ()>(&mut store, instance, "f");
    let error = run(f.call_async(&mut store, ())).unwrap_err();
    assert!(error.to_string().contains("async_stack_size"), "{error:#}");
}
