//! What each atomic instruction computes, and when it traps.

use super::{engines, long, trap_of, word};
use std::sync::atomic::Ordering;
use waxwing::*;

const VALUE: u64 = 0x8182_8384_8586_8788;

/// Every atomic instruction by its name with the bits of its values and of its place in memory.
fn instructions() -> Vec<(String, String, u32, u32)> {
    let mut all = Vec::new();
    for (bits, stored) in [
        (32, 32),
        (64, 64),
        (32, 8),
        (32, 16),
        (64, 8),
        (64, 16),
        (64, 32),
    ] {
        let narrow = bits != stored;
        let (width, suffix) = match narrow {
            true => (stored.to_string(), "_u"),
            false => (String::new(), ""),
        };
        for op in [
            "load", "store", "add", "sub", "and", "or", "xor", "xchg", "cmpxchg",
        ] {
            let name = match op {
                "load" => format!("i{bits}.atomic.load{width}{suffix}"),
                "store" => format!("i{bits}.atomic.store{width}"),
                _ => format!("i{bits}.atomic.rmw{width}.{op}{suffix}"),
            };
            all.push((name, op.to_string(), bits, stored));
        }
    }
    all
}

/// A module that exports all of them, over an imported memory.
fn module_of_all(engine: &Engine, memory: &str, index: &str, offset: u32) -> Result<Module> {
    let functions: String = instructions()
        .iter()
        .map(|(name, op, bits, _)| {
            let (more, result) = match op.as_str() {
                "load" => (0, true),
                "store" => (1, false),
                "cmpxchg" => (2, true),
                _ => (1, true),
            };
            let params = format!("(param i{bits})").repeat(more);
            let gets: String = (1..=more).map(|i| format!("(local.get {i})")).collect();
            let result = match result {
                true => format!("(result i{bits})"),
                false => String::new(),
            };
            format!(
                "(func (export \"{name}\") (param {index}) {params} {result}
                    ({name} offset={offset} (local.get 0) {gets}))\n"
            )
        })
        .collect();
    let wat = format!(
        r#"(module
            (import "" "" (memory {memory}))
            {functions}
            (func (export "notify") (param {index} i32) (result i32)
                (memory.atomic.notify offset={offset} (local.get 0) (local.get 1)))
            (func (export "wait32") (param {index} i32 i64) (result i32)
                (memory.atomic.wait32 offset={offset} (local.get 0) (local.get 1) (local.get 2)))
            (func (export "wait64") (param {index} i64 i64) (result i32)
                (memory.atomic.wait64 offset={offset} (local.get 0) (local.get 1) (local.get 2))))"#
    );
    Module::new(engine, wat)
}

fn value_of(bits: u32, value: u64) -> Val {
    match bits {
        32 => Val::I32(value as i32),
        _ => Val::I64(value as i64),
    }
}

fn bits_of(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        other => panic!("{other:?}"),
    }
}

fn index_of(index: &str, value: u64) -> Val {
    value_of(if index == "i64" { 64 } else { 32 }, value)
}

/// The operands of an instruction, the result and the new contents, of 8 bytes that hold [`VALUE`].
fn expectation(op: &str, stored: u32) -> (Vec<u64>, Option<u64>, u64) {
    let mask = u64::MAX >> (64 - stored);
    let operand = 0x1234_5678_9abc_def0;
    let old = VALUE & mask;
    let new = match op {
        "load" => return (vec![], Some(old), VALUE),
        "store" => operand,
        "add" => old.wrapping_add(operand),
        "sub" => old.wrapping_sub(operand),
        "and" => old & operand,
        "or" => old | operand,
        "xor" => old ^ operand,
        "xchg" | "cmpxchg" => operand,
        _ => panic!("{op}"),
    };
    let contents = VALUE & !mask | new & mask;
    match op {
        "store" => (vec![operand], None, contents),
        // The expected value is wrapped: its other bits do not matter.
        "cmpxchg" => (vec![VALUE, operand], Some(old), contents),
        _ => (vec![operand], Some(old), contents),
    }
}

#[test]
fn all_instructions_compute_on_shared_and_unshared_memories() -> Result<()> {
    for (name, engine) in engines() {
        for (ty, index) in [("1 2 shared", "i32"), ("i64 1 2 shared", "i64")] {
            let module = module_of_all(&engine, ty, index, 8)?;
            let Some(ExternType::Memory(ty)) = module.imports().next().map(|i| i.ty()) else {
                panic!("a memory")
            };
            let memory = SharedMemory::new(&engine, ty)?;
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
            for (instruction, op, bits, stored) in instructions() {
                let contents = memory.data()[16].get().cast::<u64>();
                // SAFETY: no other thread uses the memory.
                unsafe { contents.write(VALUE) };
                let (operands, result, after) = expectation(&op, stored);
                let mut params = vec![index_of(index, 8)];
                params.extend(operands.iter().map(|value| value_of(bits, *value)));
                let func = instance.get_func(&mut store, &instruction).unwrap();
                let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
                func.call(&mut store, &params, &mut results)?;
                let found = results.first().map(bits_of);
                assert_eq!(found, result, "{instruction} with {name}");
                assert_eq!(long(&memory, 16), after, "{instruction} with {name}");
            }
        }
        // On a memory of one thread the same instructions act as well.
        for (ty, index) in [("1 2", "i32"), ("i64 1 2", "i64")] {
            let module = module_of_all(&engine, ty, index, 0)?;
            let mut store = Store::new(&engine, ());
            let ty = if index == "i64" {
                MemoryType::new64(1, Some(2))
            } else {
                MemoryType::new(1, Some(2))
            };
            let memory = Memory::new(&mut store, ty)?;
            let instance = Instance::new(&mut store, &module, &[memory.into()])?;
            for (instruction, op, bits, stored) in instructions() {
                memory.write(&mut store, 16, &VALUE.to_le_bytes())?;
                let (operands, result, after) = expectation(&op, stored);
                let mut params = vec![index_of(index, 16)];
                params.extend(operands.iter().map(|value| value_of(bits, *value)));
                let func = instance.get_func(&mut store, &instruction).unwrap();
                let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
                func.call(&mut store, &params, &mut results)?;
                assert_eq!(results.first().map(bits_of), result, "{instruction}");
                let contents = &memory.data(&store)[16..24];
                assert_eq!(contents, after.to_le_bytes(), "{instruction} with {name}");
            }
        }
    }
    Ok(())
}

#[test]
fn compare_and_exchange_leaves_other_values() -> Result<()> {
    let (_, engine) = engines().remove(0);
    let module = module_of_all(&engine, "1 1 shared", "i32", 0)?;
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1))?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[memory.clone().into()])?;
    word(&memory, 0).store(5, Ordering::Relaxed);
    let exchange =
        instance.get_typed_func::<(i32, i32, i32), i32>(&mut store, "i32.atomic.rmw.cmpxchg")?;
    assert_eq!(exchange.call(&mut store, (0, 4, 9))?, 5);
    assert_eq!(word(&memory, 0).load(Ordering::Relaxed), 5);
    assert_eq!(exchange.call(&mut store, (0, 5, 9))?, 5);
    assert_eq!(word(&memory, 0).load(Ordering::Relaxed), 9);
    Ok(())
}

#[test]
fn misaligned_and_out_of_bounds_accesses_trap() -> Result<()> {
    let end = 0x1_0000_u64;
    for (name, engine) in engines() {
        for (ty, index) in [
            ("1 2 shared", "i32"),
            ("i64 1 2 shared", "i64"),
            ("1 2", "i32"),
            ("i64 1 2", "i64"),
        ] {
            for offset in [0, 1, 8, 0xfff8] {
                let module = module_of_all(&engine, ty, index, offset)?;
                let Some(ExternType::Memory(ty)) = module.imports().next().map(|i| i.ty()) else {
                    panic!("a memory")
                };
                let mut store = Store::new(&engine, ());
                let memory: Extern = match ty.is_shared() {
                    true => SharedMemory::new(&engine, ty.clone())?.into(),
                    false => Memory::new(&mut store, ty.clone())?.into(),
                };
                let instance = Instance::new(&mut store, &module, &[memory])?;
                let offset = u64::from(offset);
                let mut all = instructions();
                for (name, stored) in [("notify", 32), ("wait32", 32), ("wait64", 64)] {
                    all.push((name.into(), name.into(), 32, stored));
                }
                for (instruction, op, _, stored) in all {
                    let func = instance.get_func(&mut store, &instruction).unwrap();
                    let func_ty = func.ty(&store);
                    let mut call = |address: u64| {
                        let index = index_of(index, address.wrapping_sub(offset));
                        let mut params = vec![index];
                        for ty in func_ty.params().skip(1) {
                            params.push(value_of(if ty.is_i64() { 64 } else { 32 }, 0));
                        }
                        let mut results = vec![Val::I32(0); func_ty.results().len()];
                        func.call(&mut store, &params, &mut results)
                            .map(|()| results.first().map(bits_of))
                            .map_err(|error| trap_of(&error))
                    };
                    let size = u64::from(stored / 8);
                    let what = format!("{instruction} of {ty:?} at {offset} with {name}");
                    if end - size >= offset {
                        let last = call(end - size);
                        match op.as_str() {
                            "wait32" | "wait64" if ty.is_shared() => {
                                assert_eq!(last, Ok(Some(2)), "{what}");
                            }
                            "wait32" | "wait64" => {
                                let trap = Trap::AtomicWaitNonSharedMemory;
                                assert_eq!(last, Err(trap), "{what}");
                            }
                            "notify" => assert_eq!(last, Ok(Some(0)), "{what}"),
                            _ => assert!(last.is_ok(), "{what}"),
                        }
                    }
                    assert_eq!(call(end), Err(Trap::MemoryOutOfBounds), "{what}");
                    if size > 1 {
                        // What is neither aligned nor in bounds is not aligned.
                        for address in [end - 1, end + 1, end + size / 2] {
                            assert_eq!(call(address), Err(Trap::HeapMisaligned), "{what}");
                        }
                    }
                    if index == "i64" {
                        let highest = 0_u64.wrapping_sub(size);
                        let trap = Err(Trap::MemoryOutOfBounds);
                        assert_eq!(call(1 << 40), trap, "{what}");
                        if offset.is_multiple_of(size) {
                            // The sum of index and offset is not taken modulo 2^64.
                            assert_eq!(call(highest), trap, "{what}");
                            if offset > 0 {
                                assert_eq!(call(0), trap, "{what}");
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(())
}
