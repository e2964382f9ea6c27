//! Atomic instructions: that they compile, what they check, and that nothing moves across them.

use super::{first_function, host, target, targets};
use waxwing_environ::{Trap, Tunables, is_bytecode};

/// All atomic accesses of the types and widths that there are.
fn accesses() -> Vec<(String, &'static str, &'static str)> {
    let mut all = Vec::new();
    for (ty, widths) in [
        ("i32", &["", "8", "16"][..]),
        ("i64", &["", "8", "16", "32"]),
    ] {
        for width in widths {
            let suffix = if width.is_empty() { "" } else { "_u" };
            all.push((format!("{ty}.atomic.load{width}{suffix}"), ty, "load"));
            all.push((format!("{ty}.atomic.store{width}"), ty, "store"));
            for op in ["add", "sub", "and", "or", "xor", "xchg", "cmpxchg"] {
                all.push((format!("{ty}.atomic.rmw{width}.{op}{suffix}"), ty, op));
            }
        }
    }
    all
}

/// A function of one access with the immediate `offset`.
fn access(memory: &str, index: &str, offset: u64, (name, ty, op): &(String, &str, &str)) -> String {
    let operands = match *op {
        "load" => 0,
        "cmpxchg" => 2,
        _ => 1,
    };
    let params = format!("(param {ty})").repeat(operands);
    let result = match *op {
        "store" => String::new(),
        _ => format!("(result {ty})"),
    };
    let gets: String = (1..=operands).map(|i| format!("(local.get {i})")).collect();
    format!(
        "(module (memory {memory}) (func (param {index}) {params} {result}
            ({name} offset={offset} (local.get 0) {gets})))"
    )
}

#[test]
fn accesses_compile_and_trap_everywhere() {
    for target in targets() {
        for (memory, index) in [
            ("1", "i32"),
            ("1 2 shared", "i32"),
            ("i64 1", "i64"),
            ("i64 1 9 shared", "i64"),
        ] {
            for instruction in accesses() {
                for offset in [0, 3, 0x1_0000] {
                    let wat = access(memory, index, offset, &instruction);
                    let function = first_function(&target, &wat);
                    if target.tunables.signals_based_traps && !is_bytecode(target.compiler.triple())
                    {
                        let has = |trap| function.traps.iter().any(|(_, found)| *found == trap);
                        assert!(has(Trap::MemoryOutOfBounds), "{}: {wat}", target.name);
                        let one_byte = instruction.0.contains("8");
                        assert_eq!(
                            has(Trap::HeapMisaligned),
                            !one_byte,
                            "{}: {wat}",
                            target.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn waits_notifications_and_fences_compile_everywhere() {
    for target in targets() {
        for (memory, index) in [
            ("1 2 shared", "i32"),
            ("i64 1 2 shared", "i64"),
            ("1", "i32"),
        ] {
            for body in [
                "(memory.atomic.wait32 offset=4 (local.get 0) (i32.const 1) (i64.const -1))",
                "(memory.atomic.wait64 offset=1 (local.get 0) (i64.const 1) (i64.const -1))",
                "(memory.atomic.notify (local.get 0) (i32.const 1))",
                "(atomic.fence) (i32.const 0)",
            ] {
                let wat = format!(
                    "(module (memory {memory}) (func (param {index}) (result i32) {body}))"
                );
                first_function(&target, &wat);
            }
        }
    }
}

/// How many accesses to memory are left of the function `body`.
fn accesses_left(memory: &str, body: &str) -> usize {
    let wat = format!(
        "(module (memory {memory}) (func (param i32) (result i32 i32) (local i32 i32) {body}
            (local.get 1) (local.get 2)))"
    );
    let function = first_function(&host(), &wat);
    let out_of_bounds = |(_, trap): &&(u32, Trap)| *trap == Trap::MemoryOutOfBounds;
    function.traps.iter().filter(out_of_bounds).count()
}

#[test]
fn no_access_moves_across_an_atomic_instruction() {
    let load = |local: u32| format!("(local.set {local} (i32.load (local.get 0)))");
    let store = |value: u32| format!("(i32.store (local.get 0) (i32.const {value}))");
    let (load1, load2) = (load(1), load(2));
    let (store1, store2) = (store(1), store(2));
    for memory in ["1", "1 2 shared"] {
        // Without anything in between the second access is not needed, so that the test can see.
        assert_eq!(accesses_left(memory, &format!("{load1} {load2}")), 1);
        assert_eq!(accesses_left(memory, &format!("{store1} {load2}")), 1);
        for (between, more) in [
            ("(atomic.fence)", 0),
            ("(drop (i32.atomic.load (i32.const 64)))", 1),
            ("(i64.atomic.store (i32.const 64) (i64.const 1))", 1),
            (
                "(drop (i32.atomic.rmw8.or_u (i32.const 64) (i32.const 1)))",
                1,
            ),
            (
                "(drop (i32.atomic.rmw.cmpxchg (i32.const 64) (i32.const 1) (i32.const 2)))",
                1,
            ),
            (
                "(drop (memory.atomic.notify (i32.const 64) (i32.const 1)))",
                0,
            ),
        ] {
            for (first, second) in [
                (&load1, &load2),
                (&store1, &load2),
                (&store1, &store2),
                (&load1, &store2),
            ] {
                let body = format!("{first} {between} {second}");
                assert_eq!(accesses_left(memory, &body), 2 + more, "{memory}: {body}");
            }
        }
    }
}

#[test]
fn sizes_of_shared_memories_are_read_in_order() {
    let small = Tunables {
        memory_reservation: 0,
        ..Tunables::default()
    };
    let target = target("small", None, &[], small);
    let clif = |memory: &str, body: &str| {
        let wat = format!("(module (memory {memory}) (func (result i32) {body}))");
        first_function(&target, &wat).clif.unwrap()
    };
    assert!(clif("1 2 shared", "memory.size").contains("atomic_load"));
    assert!(!clif("1 2", "memory.size").contains("atomic_load"));
    assert!(!clif("2 2 shared", "memory.size").contains("atomic_load"));
    let load = "(i32.load (i32.const 0))";
    assert!(!clif("1 2 shared", load).contains("atomic_load"));
}
