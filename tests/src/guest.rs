//! Running modules of unknown origin within bounds.

use anyhow::Result;
use waxwing::{
    Extern, ExternType, Func, Global, Instance, Memory, Module, Ref, SharedMemory, Store,
    StoreLimits, StoreLimitsBuilder, Table, Tag, Val,
};

/// The largest linear memory that tests let a module have, in bytes.
pub const MAX_MEMORY: usize = 16 << 16;

/// The largest table that tests let a module have, in elements.
pub const MAX_TABLE: usize = 2_000;

/// These bounds as a store's limiter.
pub fn limits() -> StoreLimits {
    StoreLimitsBuilder::new()
        .memory_size(MAX_MEMORY)
        .table_elements(MAX_TABLE)
        .instances(100)
        .memories(100)
        .tables(100)
        .build()
}

/// A store with these [`limits`].
pub fn limited_store(engine: &waxwing::Engine) -> Store<StoreLimits> {
    let mut store = Store::new(engine, limits());
    store.limiter(|limits| limits);
    never_stop(&mut store);
    store
}

/// Lets the code of a store go on as long as it likes, where its engine stops code.
pub fn never_stop<T>(store: &mut Store<T>) {
    store.set_epoch_deadline(u64::MAX);
    // An error says that nothing consumes fuel.
    let _ = store.set_fuel(u64::MAX);
}

/// Items that satisfy the imports of `module`; functions of them fail when called.
///
/// # Errors
///
/// When an item cannot be made within the store's limits.
pub fn imports(store: &mut Store<StoreLimits>, module: &Module) -> Result<Vec<Extern>> {
    let mut imports = Vec::new();
    for import in module.imports() {
        let name = import.name().to_string();
        imports.push(match import.ty() {
            ExternType::Func(ty) => Extern::Func(Func::new(&mut *store, ty, move |_, _, _| {
                anyhow::bail!("`{name}` is not available")
            })),
            ExternType::Global(ty) => {
                let value = Val::default_for_ty(ty.content());
                let value = value.ok_or_else(|| anyhow::anyhow!("`{name}` has no default"))?;
                Extern::Global(Global::new(&mut *store, ty, value)?)
            }
            ExternType::Memory(ty) if ty.is_shared() => {
                Extern::SharedMemory(SharedMemory::new(module.engine(), ty)?)
            }
            ExternType::Memory(ty) => Extern::Memory(Memory::new(&mut *store, ty)?),
            ExternType::Table(ty) => {
                let null = Ref::null(ty.element().heap_type());
                anyhow::ensure!(ty.element().is_nullable(), "`{name}` has no default");
                Extern::Table(Table::new(&mut *store, ty, null)?)
            }
            ExternType::Tag(ty) => Extern::Tag(Tag::new(&mut *store, &ty)?),
        });
    }
    Ok(imports)
}

/// Instantiates `module` with such imports. Its start function, if any, runs.
///
/// # Errors
///
/// Whatever prevents that: that is not a fault of the engine.
pub fn instantiate(module: &Module) -> Result<(Store<StoreLimits>, Instance)> {
    let mut store = limited_store(module.engine());
    let imports = imports(&mut store, module)?;
    let instance = Instance::new(&mut store, module, &imports)?;
    Ok((store, instance))
}

/// Whether `wasm` has a start function, which would run when it is instantiated.
pub fn has_start(wasm: &[u8]) -> bool {
    wasmparser::Parser::new(0)
        .parse_all(wasm)
        .any(|payload| matches!(payload, Ok(wasmparser::Payload::StartSection { .. })))
}
