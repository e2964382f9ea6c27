//! Each option of linear memories does what its documentation says: seen in the address space of this process, in the
//! code that is made, and in how memories grow.

#![cfg(target_os = "linux")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use waxwing::*;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Other tests of this process change its address space: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of this process's address space.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    pages * 4096
}

/// The mapping of this process at an address: what may be done there, and the file's name.
#[derive(Debug)]
struct Mapped {
    rights: String,
    file: String,
}

fn mapped(address: usize) -> Option<Mapped> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let at = |text| usize::from_str_radix(text, 16).unwrap();
        (at(start)..at(end)).contains(&address).then(|| Mapped {
            rights: fields.next().unwrap_or_default().to_string(),
            file: fields.nth(3).unwrap_or_default().to_string(),
        })
    })
}

fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    config.wasm_memory64(true);
    configure(&mut config);
    Engine::new(&config).unwrap()
}

/// An instance with a memory.
struct Guest {
    store: Store<()>,
    memory: Memory,
}

impl Guest {
    fn new(module: &Module) -> Guest {
        let mut store = Store::new(module.engine(), ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        Guest { store, memory }
    }

    fn with(engine: &Engine, memory: &str) -> Guest {
        let wat = format!(r#"(module (memory (export "m") {memory}))"#);
        Guest::new(&Module::new(engine, wat).unwrap())
    }

    fn base(&self) -> usize {
        self.memory.data_ptr(&self.store).addr()
    }

    /// Grows to so many pages, if that can be.
    fn grow_to(&mut self, pages: u64) -> bool {
        let delta = pages - self.memory.size(&self.store);
        self.memory.grow(&mut self.store, delta).is_ok()
    }
}

type Configure = fn(&mut Config);

#[test]
#[expect(deprecated, reason = "the former names of options")]
fn reservations_and_guards_are_as_large_as_they_say() {
    let _alone = alone();
    let cases: [(&str, Configure, &str, u64); 14] = [
        // By default, 4 GiB between two guards of 2 GiB.
        ("default", |_| {}, "1", 8 * GIB),
        ("default, small", |_| {}, "1 2", 8 * GIB),
        (
            "no guard before",
            |c| _ = c.guard_before_linear_memory(false),
            "1",
            6 * GIB,
        ),
        ("guard", |c| _ = c.memory_guard_size(GIB), "1", 6 * GIB),
        ("no guards", |c| _ = c.memory_guard_size(0), "1", 4 * GIB),
        (
            "static guard",
            |c| _ = c.static_memory_guard_size(GIB),
            "1",
            6 * GIB,
        ),
        (
            "dynamic guard",
            |c| _ = c.dynamic_memory_guard_size(3 * GIB),
            "1",
            10 * GIB,
        ),
        (
            "reservation",
            |c| _ = c.memory_reservation(GIB),
            "1 100",
            5 * GIB,
        ),
        (
            "static size",
            |c| _ = c.static_memory_maximum_size(GIB),
            "1 100",
            5 * GIB,
        ),
        // What could outgrow the reservation has room for growth.
        (
            "dynamic",
            |c| _ = c.memory_reservation(0).memory_guard_size(0),
            "1",
            2 * GIB,
        ),
        (
            "growth",
            |c| {
                _ = c
                    .memory_reservation(0)
                    .memory_guard_size(0)
                    .memory_reservation_for_growth(GIB)
            },
            "1",
            GIB,
        ),
        (
            "dynamic growth",
            |c| {
                _ = c
                    .memory_reservation(0)
                    .memory_guard_size(0)
                    .dynamic_memory_reserved_for_growth(GIB)
            },
            "1",
            GIB,
        ),
        (
            "what is used",
            |c| {
                _ = c
                    .memory_reservation(0)
                    .memory_guard_size(0)
                    .memory_reservation_for_growth(0)
            },
            "1",
            0,
        ),
        // And what may not move has none.
        (
            "forced",
            |c| {
                _ = c
                    .memory_reservation(GIB)
                    .static_memory_forced(true)
                    .memory_guard_size(0)
            },
            "1",
            GIB,
        ),
    ];
    for (name, configure, ty, expected) in cases {
        let engine = engine(configure);
        // What the first instance needs beside.
        drop(Guest::with(&engine, ty));
        let before = address_space();
        let guest = Guest::with(&engine, ty);
        let size = address_space() - before;
        assert!(
            (expected..expected + 64 * MIB).contains(&size),
            "{name}: {size:#x}, not {expected:#x}"
        );
        drop(guest);
        assert!(address_space() < before + 64 * MIB, "{name}: it stays");
    }
}

#[test]
fn nothing_around_a_memory_can_be_accessed() {
    let _alone = alone();
    let engine = engine(|config| {
        config
            .memory_reservation(16 * MIB)
            .memory_guard_size(8 * MIB);
    });
    let mut guest = Guest::with(&engine, "2 100");
    for pages in [2, 3] {
        assert!(guest.grow_to(pages));
        let rights = |offset: i64| {
            let address = guest.base().wrapping_add_signed(offset as isize);
            mapped(address).map(|it| it.rights)
        };
        let size = (pages * 64 * KIB) as i64;
        let end = (24 * MIB) as i64;
        for inside in [0, size - 1] {
            assert_eq!(rights(inside).as_deref(), Some("rw-p"));
        }
        for outside in [-1, -((8 * MIB) as i64), size, end / 2, end - 1] {
            assert_eq!(rights(outside).as_deref(), Some("---p"), "{outside}");
        }
    }
}

#[test]
fn memories_stay_within_their_reservation() {
    let _alone = alone();
    let moves = |configure: Configure, ty: &str, to: u64| {
        let mut guest = Guest::with(&engine(configure), ty);
        let base = guest.base();
        let memory = guest.memory;
        memory.write(&mut guest.store, 7, b"kept").unwrap();
        assert!(guest.grow_to(to), "{ty} cannot grow to {to}");
        assert_eq!(&memory.data(&guest.store)[6..12], b"\0kept\0");
        guest.base() != base
    };
    let small: Configure = |c| _ = c.memory_reservation(MIB).memory_reservation_for_growth(0);
    assert!(!moves(|_| {}, "1", 65536));
    assert!(!moves(small, "1 16", 16));
    assert!(!moves(small, "1", 16));
    assert!(moves(small, "1", 17));
    assert!(moves(small, "i64 1", 17));
    let room: Configure = |c| _ = c.memory_reservation(0).memory_reservation_for_growth(MIB);
    assert!(!moves(room, "1", 17));
    assert!(moves(room, "1", 18));
    // The room is there again where the memory went.
    let mut guest = Guest::with(&engine(room), "1");
    assert!(guest.grow_to(20));
    let base = guest.base();
    assert!(guest.grow_to(36));
    assert_eq!(guest.base(), base);
}

#[test]
#[expect(deprecated, reason = "the former name of an option")]
fn memories_that_may_not_move_are_limited() {
    let _alone = alone();
    let settings: [Configure; 2] = [
        |c| _ = c.memory_reservation(MIB).memory_may_move(false),
        |c| _ = c.static_memory_maximum_size(MIB).static_memory_forced(true),
    ];
    for configure in settings {
        let engine = engine(configure);
        for ty in ["1", "1 1000", "i64 1"] {
            let mut guest = Guest::with(&engine, ty);
            let base = guest.base();
            assert!(guest.grow_to(16));
            assert!(!guest.grow_to(17), "{ty}");
            assert_eq!(guest.base(), base);
            assert_eq!(guest.memory.size(&guest.store), 16);
        }
        // A type that wants more at once gets it, and nothing beyond.
        let mut guest = Guest::with(&engine, "20");
        assert!(!guest.grow_to(21));
    }
    // By default they may.
    let engine = engine(|c| _ = c.memory_reservation(MIB));
    assert!(Guest::with(&engine, "1").grow_to(40_000));
}

#[test]
fn code_checks_what_guards_do_not_catch() {
    let code_size = |configure: Configure, access: &str| {
        let wat = format!(
            "(module (memory 1) (func (export \"f\") (param i32) (result i32) (i32.load {access} (local.get 0))))"
        );
        let module = Module::new(&engine(configure), wat).unwrap();
        module.functions().map(|it| it.len).sum::<usize>()
    };
    let near = "offset=0x1000";
    let far = "offset=0x50000000";
    let unchecked = code_size(|_| {}, near);
    assert_eq!(code_size(|_| {}, far), unchecked, "within the guard");
    let checked: [(Configure, &str); 5] = [
        (|c| _ = c.memory_guard_size(0), near),
        (|c| _ = c.memory_guard_size(GIB), far),
        (|c| _ = c.memory_reservation(GIB), near),
        (|c| _ = c.signals_based_traps(false), near),
        (|c| _ = c.memory_reservation(0).memory_guard_size(0), near),
    ];
    for (number, (configure, access)) in checked.into_iter().enumerate() {
        let size = code_size(configure, access);
        assert!(
            size > unchecked,
            "{number}: {size} bytes, {unchecked} without checks"
        );
    }
}

/// A memory with data at two places.
fn data(distance: u64) -> String {
    let pages = distance / (64 * KIB) + 1;
    format!(
        r#"(module
            (memory (export "m") {pages})
            (data (i32.const 0) "one")
            (data (i32.const {distance}) "two"))"#
    )
}

/// The file that is mapped at the beginning of the module's memory. Empty if there is none.
fn image(module: &Module) -> String {
    let guest = Guest::new(module);
    assert_eq!(&guest.memory.data(&guest.store)[..3], b"one");
    mapped(guest.base()).unwrap().file
}

fn is_memfd(file: &str) -> bool {
    file.starts_with("/memfd:")
}

#[test]
fn images_are_mapped_if_that_is_wanted() -> Result<()> {
    let _alone = alone();
    let image_of = |configure: Configure, wat: &str| -> Result<String> {
        Ok(image(&Module::new(&engine(configure), wat)?))
    };
    assert!(is_memfd(&image_of(|_| {}, &data(64 * KIB))?));
    assert_eq!(
        image_of(|c| _ = c.memory_init_cow(false), &data(64 * KIB))?,
        ""
    );
    // How large sparse images may be.
    let wat = data(10 * MIB);
    assert!(is_memfd(&image_of(|_| {}, &wat)?));
    assert_eq!(
        image_of(|c| _ = c.memory_guaranteed_dense_image_size(9 * MIB), &wat)?,
        ""
    );
    let wat = data(20 * MIB);
    assert_eq!(image_of(|_| {}, &wat)?, "");
    assert!(is_memfd(&image_of(
        |c| _ = c.memory_guaranteed_dense_image_size(21 * MIB),
        &wat
    )?));
    Ok(())
}

#[test]
fn images_come_from_the_artifact_unless_forced_into_memory() -> Result<()> {
    let _alone = alone();
    let file = tempfile::NamedTempFile::new()?;
    let wat = data(64 * KIB);
    std::fs::write(
        file.path(),
        engine(|_| {}).precompile_module(wat.as_bytes())?,
    )?;
    let image_of = |configure: Configure| -> Result<String> {
        // SAFETY: the file holds what the compiler wrote.
        let module = unsafe { Module::deserialize_file(&engine(configure), file.path())? };
        Ok(image(&module))
    };
    assert_eq!(image_of(|_| {})?, file.path().to_str().unwrap());
    assert!(is_memfd(
        &image_of(|c| _ = c.force_memory_init_memfd(true))?
    ));
    Ok(())
}

#[test]
fn instances_share_what_they_do_not_write() -> Result<()> {
    let _alone = alone();
    let resident = |module: &Module| {
        let guest = Guest::new(module);
        let before = resident_anonymous();
        let data = guest.memory.data(&guest.store);
        assert!(data.chunks(4096).all(|page| page[0] == b'x'));
        resident_anonymous().saturating_sub(before)
    };
    let text = "x".repeat(8 << 20);
    let wat = format!(r#"(module (memory (export "m") 128) (data (i32.const 0) "{text}"))"#);
    let module = Module::new(&engine(|_| {}), &wat)?;
    assert!(resident(&module) < 4 * MIB, "reading copies nothing");
    Ok(())
}

/// The memory of this process that no file backs and that is not shared.
fn resident_anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib * KIB
}
