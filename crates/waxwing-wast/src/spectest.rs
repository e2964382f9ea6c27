//! The `spectest` module, which the specification's scripts import.

use anyhow::Result;
use std::io::Write;
use waxwing::{
    Engine, Global, GlobalType, Linker, Memory, MemoryType, Module, Mutability, Ref, RefType,
    SharedMemory, Store, Table, TableType, Val, ValType,
};

/// Where the `print…` functions of the `spectest` module write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpectestOutput {
    /// Nowhere.
    #[default]
    Discard,
    /// To the process's standard output, one line a value, as `1 : i32`.
    Stdout,
}

impl SpectestOutput {
    fn print(self, values: &[(&dyn std::fmt::Display, &str)]) {
        if self == SpectestOutput::Discard {
            return;
        }
        let mut out = std::io::stdout().lock();
        for (value, ty) in values {
            // The scripts do not look at what is printed: a closed pipe must not fail them.
            let _ = writeln!(out, "{value} : {ty}");
        }
    }
}

/// Defines the module `spectest` in `linker`.
pub(crate) fn define(
    linker: &mut Linker<()>,
    store: &mut Store<()>,
    output: SpectestOutput,
) -> Result<()> {
    let m = "spectest";
    linker.func_wrap(m, "print", || {})?;
    linker.func_wrap(m, "print_i32", move |a: i32| output.print(&[(&a, "i32")]))?;
    linker.func_wrap(m, "print_i64", move |a: i64| output.print(&[(&a, "i64")]))?;
    linker.func_wrap(m, "print_f32", move |a: f32| output.print(&[(&a, "f32")]))?;
    linker.func_wrap(m, "print_f64", move |a: f64| output.print(&[(&a, "f64")]))?;
    linker.func_wrap(m, "print_i32_f32", move |a: i32, b: f32| {
        output.print(&[(&a, "i32"), (&b, "f32")])
    })?;
    linker.func_wrap(m, "print_f64_f64", move |a: f64, b: f64| {
        output.print(&[(&a, "f64"), (&b, "f64")])
    })?;

    let globals = [
        ("global_i32", ValType::I32, Val::I32(666)),
        ("global_i64", ValType::I64, Val::I64(666)),
        ("global_f32", ValType::F32, Val::F32(666.6f32.to_bits())),
        ("global_f64", ValType::F64, Val::F64(666.6f64.to_bits())),
    ];
    for (name, ty, value) in globals {
        let ty = GlobalType::new(ty, Mutability::Const);
        let global = Global::new(&mut *store, ty, value)?;
        linker.define(&mut *store, m, name, global)?;
    }

    let ty = TableType::new(RefType::FUNCREF, 10, Some(20));
    let table = Table::new(&mut *store, ty, Ref::Func(None))?;
    linker.define(&mut *store, m, "table", table)?;

    if accepts(store.engine(), TABLE_64) {
        let ty = TableType::new64(RefType::FUNCREF, 10, Some(20));
        let table = Table::new(&mut *store, ty, Ref::Func(None))?;
        linker.define(&mut *store, m, "table64", table)?;
    }

    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    linker.define(&mut *store, m, "memory", memory)?;

    if accepts(store.engine(), SHARED_MEMORY) {
        let memory = SharedMemory::new(store.engine(), MemoryType::shared(1, 2))?;
        linker.define(&mut *store, m, "shared_memory", memory)?;
    }
    Ok(())
}

/// `(module (table i64 1 funcref))`
const TABLE_64: &[u8] = b"\0asm\x01\0\0\0\x04\x04\x01\x70\x04\x01";

/// `(module (memory 1 1 shared))`
const SHARED_MEMORY: &[u8] = b"\0asm\x01\0\0\0\x05\x04\x01\x03\x01\x01";

/// Whether the engine has what a module of nothing else uses: its configuration cannot be read back.
fn accepts(engine: &Engine, probe: &[u8]) -> bool {
    Module::validate(engine, probe).is_ok()
}
