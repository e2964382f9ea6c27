//! Linear memories that the embedder provides.

#![cfg(unix)]

use std::alloc::Layout;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use waxwing::*;
use waxwing_tests::engines;
use waxwing_tests::host_memories::{HostMemories, Record, Request};

const PAGE: usize = 1 << 16;

/// An engine whose memories are an embedder's.
fn engine(configure: impl FnOnce(&mut Config)) -> (Engine, Arc<Record>) {
    let creator = HostMemories::default();
    let record = Arc::clone(&creator.record);
    let mut config = engines::config();
    config.with_host_memory(Arc::new(creator));
    configure(&mut config);
    (Engine::new(&config).unwrap(), record)
}

fn instantiate(engine: &Engine, wat: &str) -> Result<(Store<()>, Instance)> {
    let module = Module::new(engine, wat)?;
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    Ok((store, instance))
}

fn memory_of(engine: &Engine, ty: &str) -> Result<()> {
    instantiate(engine, &format!("(module (memory {ty}))")).map(drop)
}

fn call(store: &mut Store<()>, instance: Instance, name: &str, arg: i32) -> Result<i32> {
    let func = instance.get_typed_func::<i32, i32>(&mut *store, name)?;
    func.call(store, arg)
}

/// An access of a page or two, and growth.
const USES: &str = r#"(module
    (memory (export "m") 2)
    (data (i32.const 65534) "data")
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "far") (param i32) (result i32) (i32.load offset=0x10000000 (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

#[test]
fn creators_are_told_what_code_relies_on() -> Result<()> {
    let (engine, record) = engine(|_| {});
    memory_of(&engine, "1 3")?;
    memory_of(&engine, "0")?;
    memory_of(&engine, "i64 1 0x20000")?;
    memory_of(&engine, "i64 1 3")?;
    memory_of(&engine, "10 20 (pagesize 1)")?;
    let requests = record.requests();
    let parameters = |it: &Request| (it.minimum, it.maximum, it.reserved, it.guard);
    let (reserved, guard) = (Some(4 << 30), 2 << 30);
    assert_eq!(
        requests.iter().map(parameters).collect::<Vec<_>>(),
        [
            (PAGE, Some(3 * PAGE), reserved, guard),
            (0, None, reserved, guard),
            // What can outgrow the reservation may move.
            (PAGE, Some(8 << 30), None, guard),
            (PAGE, Some(3 * PAGE), reserved, guard),
            (10, Some(20), reserved, guard),
        ]
    );
    assert_eq!(requests[0].ty, MemoryType::new(1, Some(3)));
    assert_eq!(requests[2].ty, MemoryType::new64(1, Some(0x20000)));
    assert_eq!(requests[4].ty.page_size(), 1);
    Ok(())
}

#[test]
fn creators_are_told_the_settings() -> Result<()> {
    let asked = |configure: fn(&mut Config), ty: &str| -> Result<_> {
        let (engine, record) = engine(configure);
        memory_of(&engine, ty)?;
        let request = record.requests().remove(0);
        Ok((request.reserved, request.guard))
    };
    let small: fn(&mut Config) = |config| {
        config.memory_reservation(2 << 16).memory_guard_size(1);
    };
    // Sizes are whole pages of the host.
    let page = rustix::param::page_size();
    assert_eq!(asked(small, "1")?, (None, page));
    assert_eq!(asked(small, "1 2")?, (Some(2 << 16), page));
    assert_eq!(asked(small, "1 3")?, (None, page));
    // Shared memories never move: all that they may need.
    assert_eq!(asked(small, "1 3 shared")?, (Some(3 << 16), page));
    let forced: fn(&mut Config) = |config| {
        config
            .memory_reservation(2 << 16)
            .memory_guard_size(0)
            .memory_may_move(false);
    };
    assert_eq!(asked(forced, "1")?, (Some(2 << 16), 0));
    assert_eq!(asked(forced, "3 9")?, (Some(3 << 16), 0));
    Ok(())
}

#[test]
fn memories_are_used_grown_and_guarded() -> Result<()> {
    let settings: [fn(&mut Config); 5] = [
        |_| {},
        |config| _ = config.memory_reservation(0).memory_guard_size(1 << 16),
        |config| _ = config.memory_reservation(0).memory_guard_size(0),
        |config| _ = config.signals_based_traps(false),
        |config| _ = config.memory_reservation(4 << 16).memory_may_move(false),
    ];
    for (number, configure) in settings.into_iter().enumerate() {
        let (engine, record) = engine(configure);
        let (mut store, instance) = instantiate(&engine, USES)?;
        let memory = instance.get_memory(&mut store, "m").unwrap();
        assert_eq!(&memory.data(&store)[65534..65538], b"data", "{number}");
        assert_eq!(memory.data_size(&store), 2 * PAGE);
        let word = i32::from_le_bytes(*b"data");
        assert_eq!(call(&mut store, instance, "load", 65534)?, word);
        for (name, address) in [("load", 0x1_fffd), ("load", -1), ("far", 0)] {
            let error = call(&mut store, instance, name, address).unwrap_err();
            let trap = error.downcast::<Trap>()?;
            assert_eq!(trap, Trap::MemoryOutOfBounds, "{number}, {name} {address}");
        }
        assert_eq!(call(&mut store, instance, "grow", 0)?, 2);
        assert_eq!(record.growths(), 0);
        assert_eq!(call(&mut store, instance, "grow", 2)?, 2);
        assert_eq!(record.growths(), 1);
        assert_eq!(memory.data(&store).len(), 4 * PAGE);
        assert_eq!(call(&mut store, instance, "load", 65534)?, word);
        assert_eq!(call(&mut store, instance, "load", 0x3_fffc)?, 0);
        assert!(call(&mut store, instance, "load", 0x3_fffd).is_err());
        assert_eq!(memory.grow(&mut store, 0)?, 4);
        // Each memory is its own.
        let (other, _) = instantiate(&engine, USES)?;
        assert_eq!(record.live(), 2);
        drop(other);
        assert_eq!(record.live(), 1);
        drop(store);
        assert_eq!(record.live(), 0);
    }
    Ok(())
}

#[test]
fn faults_name_the_place() -> Result<()> {
    let (engine, _) = engine(|_| {});
    let (mut store, instance) = instantiate(&engine, USES)?;
    let error = call(&mut store, instance, "far", 5).unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains("memory fault at wasm address 0x10000005 in linear memory of size 0x20000"),
        "{text}"
    );
    Ok(())
}

#[test]
fn host_and_shared_memories_come_from_the_creator() -> Result<()> {
    let (engine, record) = engine(|_| {});
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    memory.write(&mut store, 3, &[7])?;
    assert_eq!(memory.grow(&mut store, 1)?, 1);
    assert_eq!(memory.data(&store)[3], 7);
    assert!(memory.grow(&mut store, 1).is_err());
    assert_eq!(record.live(), 1);

    let shared = SharedMemory::new(&engine, MemoryType::shared(1, 5))?;
    assert_eq!(shared.grow(4)?, 1);
    assert_eq!(shared.data_size(), 5 * PAGE);
    let wat = r#"(module (import "" "" (memory 1 5 shared))
        (func (export "store") (i32.atomic.store (i32.const 0x4fffc) (i32.const 9))))"#;
    let module = Module::new(&engine, wat)?;
    let instance = Instance::new(&mut store, &module, &[shared.clone().into()])?;
    let write = instance.get_typed_func::<(), ()>(&mut store, "store")?;
    write.call(&mut store, ())?;
    drop(store);
    // SAFETY: nobody else uses the memory any more.
    assert_eq!(unsafe { *shared.data()[0x4fffc].get() }, 9);
    assert_eq!(record.live(), 1, "the shared one lives on");
    drop(shared);
    assert_eq!(record.live(), 0);
    Ok(())
}

#[test]
fn growth_that_the_creator_refuses_is_a_failure() -> Result<()> {
    struct Failures(Vec<String>);
    impl ResourceLimiter for Failures {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
        fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
            self.0.push(format!("{error:#}"));
            Ok(())
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
    }
    let creator = Arc::new(Fake::new(|fake| fake.growth = Some("no more bytes")));
    let engine = creator.engine();
    let module = Module::new(&engine, USES)?;
    let mut store = Store::new(&engine, Failures(Vec::new()));
    store.limiter(|failures| failures);
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, 1)?, -1);
    assert_eq!(grow.call(&mut store, 0)?, 2, "the memory is as it was");
    let failures = &store.data().0;
    assert!(
        failures.len() == 1 && failures[0].contains("no more bytes"),
        "{failures:?}"
    );
    Ok(())
}

/// A creator of memories on the heap, without guards, that can be told to lie.
#[derive(Clone)]
struct Fake {
    refuse: Option<&'static str>,
    growth: Option<&'static str>,
    /// What the memory says of itself, from what it is.
    size: fn(usize) -> usize,
    capacity: fn(usize) -> usize,
    address: fn(usize) -> usize,
    dropped: Arc<AtomicUsize>,
}

impl Fake {
    fn new(change: impl FnOnce(&mut Fake)) -> Fake {
        let mut fake = Fake {
            refuse: None,
            growth: None,
            size: |size| size,
            capacity: |capacity| capacity,
            address: |address| address,
            dropped: Arc::default(),
        };
        change(&mut fake);
        fake
    }

    fn engine(self: &Arc<Fake>) -> Engine {
        let mut config = engines::config();
        config
            .memory_reservation(0)
            .memory_guard_size(0)
            .with_host_memory(Arc::clone(self) as Arc<dyn MemoryCreator>);
        Engine::new(&config).unwrap()
    }
}

struct HeapMemory {
    fake: Fake,
    pointer: *mut u8,
    layout: Layout,
}

// SAFETY: the allocation belongs to the value and to no thread.
unsafe impl Send for HeapMemory {}
// SAFETY: as above.
unsafe impl Sync for HeapMemory {}

// SAFETY: without guards and reservations nothing but the size is relied on. Tests access no memory that lies.
unsafe impl MemoryCreator for Fake {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        _: Option<usize>,
        _: Option<usize>,
        _: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if let Some(message) = self.refuse {
            return Err(message.to_string());
        }
        let layout = Layout::from_size_align(minimum.max(1), rustix::param::page_size()).unwrap();
        // SAFETY: the size is not zero.
        let pointer = unsafe { std::alloc::alloc_zeroed(layout) };
        Ok(Box::new(HeapMemory {
            fake: self.clone(),
            pointer,
            layout,
        }))
    }
}

// SAFETY: as for the creator.
unsafe impl LinearMemory for HeapMemory {
    fn byte_size(&self) -> usize {
        (self.fake.size)(self.layout.size())
    }

    fn byte_capacity(&self) -> usize {
        (self.fake.capacity)(self.layout.size())
    }

    fn grow_to(&mut self, _: usize) -> Result<()> {
        match self.fake.growth {
            Some(message) => Err(Error::msg(message)),
            None => Ok(()),
        }
    }

    fn as_ptr(&self) -> *mut u8 {
        self.pointer
            .with_addr((self.fake.address)(self.pointer.addr()))
    }
}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        self.fake.dropped.fetch_add(1, Ordering::SeqCst);
        // SAFETY: it was allocated so.
        unsafe { std::alloc::dealloc(self.pointer, self.layout) };
    }
}

#[test]
fn what_creators_return_is_checked() -> Result<()> {
    type Change = fn(&mut Fake);
    let wrong: [(Change, &str); 7] = [
        (|it| it.refuse = Some("not today"), "not today"),
        (
            |it| it.size = |size| size - 1,
            "a memory of 0xffff bytes instead of 0x10000",
        ),
        (|it| it.capacity = |_| 0, "capacity of 0x0 bytes"),
        (
            |it| it.capacity = |_| usize::MAX,
            "exceeds the address space",
        ),
        (|it| it.address = |_| 0, "at 0x0"),
        (
            |it| it.address = |address| address + 8,
            "not a page of the host",
        ),
        (
            |it| it.address = |_| usize::MAX & !0xfff,
            "exceeds the address space",
        ),
    ];
    for (change, expected) in wrong {
        let fake = Arc::new(Fake::new(change));
        let engine = fake.engine();
        let error = memory_of(&engine, "1").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(expected), "{text}, not {expected}");
        let mut store = Store::new(&engine, ());
        let error = Memory::new(&mut store, MemoryType::new(1, None)).unwrap_err();
        assert!(format!("{error:#}").contains(expected));
        let dropped = if fake.refuse.is_some() { 0 } else { 2 };
        assert_eq!(fake.dropped.load(Ordering::SeqCst), dropped, "{expected}");
    }
    // A reservation was asked for, and is not there.
    let fake = Arc::new(Fake::new(|_| {}));
    let mut config = engines::config();
    config.with_host_memory(fake);
    let error = memory_of(&Engine::new(&config)?, "1").unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("a reservation of 0x100000000 bytes"),
        "{text}"
    );
    Ok(())
}

#[test]
fn memories_that_do_not_grow_are_not_used_on() -> Result<()> {
    // It says that it has grown, and has not.
    let fake = Arc::new(Fake::new(|_| {}));
    let (mut store, instance) = instantiate(&fake.engine(), USES)?;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        call(&mut store, instance, "grow", 1)
    }));
    let panic = result.unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(
        message.contains("did not grow the memory to 0x30000"),
        "{message}"
    );
    // The memory is as it was.
    assert_eq!(call(&mut store, instance, "grow", 0)?, 2);
    assert!(call(&mut store, instance, "load", 0x2_0000).is_err());
    Ok(())
}

#[test]
fn images_are_copied() -> Result<()> {
    let (engine, _) = engine(|_| {});
    let module = Module::new(&engine, USES)?;
    for _ in 0..3 {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_memory(&mut store, "m").unwrap();
        assert_eq!(&memory.data(&store)[65533..65539], b"\0data\0");
        memory.data_mut(&mut store)[65534] = 1;
    }
    // Also from a file.
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), module.serialize()?)?;
    // SAFETY: the file holds what was serialized.
    let module = unsafe { Module::deserialize_file(&engine, file.path())? };
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let memory = instance.get_memory(&mut store, "m").unwrap();
    assert_eq!(&memory.data(&store)[65533..65539], b"\0data\0");
    Ok(())
}

#[test]
fn instances_of_a_pool_have_its_memories() -> Result<()> {
    let (engine, record) = engine(|config| {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(2).max_memory_size(1 << 20);
        config.allocation_strategy(pool);
    });
    let (mut store, instance) = instantiate(&engine, USES)?;
    let memory = instance.get_memory(&mut store, "m").unwrap();
    assert_eq!(&memory.data(&store)[65533..65539], b"\0data\0");
    assert!(record.requests().is_empty());
    Memory::new(&mut store, MemoryType::new(1, None))?;
    assert_eq!(record.live(), 1);

    // A shared one of a module is the creator's, to which images are copied.
    let wat = r#"(module (memory (export "s") 1 3 shared) (data (i32.const 0) "data"))"#;
    let module = Module::new(&engine, wat)?;
    for _ in 0..2 {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance.get_shared_memory(&mut store, "s").unwrap();
        let first = memory.data()[0].get();
        // SAFETY: nobody else uses the memory.
        unsafe {
            assert_eq!(*first, b'd');
            *first = 0;
        }
        assert_eq!(memory.grow(2)?, 1);
    }
    assert_eq!((record.requests().len(), record.growths()), (3, 2));
    Ok(())
}
