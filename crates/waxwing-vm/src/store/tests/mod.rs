//! Stores and instances of hand-made modules.

mod host;
mod objects;
mod segments;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use waxwing_environ::artifact::{ArtifactInfo, FunctionLoc, FunctionTableBuilder};
use waxwing_environ::{
    ConstExpr, ConstOp, DataIndex, DataSegment, DefinedFuncIndex, DefinedGlobalIndex, ElemIndex,
    ElementSegment, EntityIndex, EntityRef, FuncIndex, FuncRefIndex, FunctionFacts, Global,
    GlobalIndex, IndexType, Limits, Memory, MemoryImageFacts, MemoryIndex, MemoryInitialization,
    Module, ModuleTypeIndex, ModuleTypes, ReservedValue, Table, TableIndex, TableInitialValue,
    TableSegment, Trap, WasmFuncType, WasmRefType, WasmSubType, WasmValType,
};

use super::*;
use crate::builtins::BUILTINS;
use crate::code_memory::CodeMemory;
use crate::code_memory::tests::artifact_of;
use crate::host_func::VMHostFuncContext;
use crate::imports::{Imports, OwnedImports};
use crate::instance::{InstanceEnv, VMExport};
use crate::traps::{TrapReason, catch_host};
use crate::vmcontext::{VMContext, VMOpaqueContext};

/// What a limiter was asked, and what it is to answer.
#[derive(Default)]
pub(crate) struct Limiter {
    pub(crate) asked: Vec<(usize, usize, Option<usize>)>,
    failed: usize,
    pub(crate) deny: bool,
    /// The most bytes that are allowed, if set.
    pub(crate) limit: Option<usize>,
    pub(crate) error: bool,
}

impl Limiter {
    fn growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.asked.push((current, desired, maximum));
        anyhow::ensure!(!self.error, "the limiter failed");
        Ok(!self.deny && self.limit.is_none_or(|limit| desired <= limit))
    }
}

pub(crate) struct TestStore {
    pub(crate) core: StoreCore,
    pub(crate) limiter: Limiter,
    instances_limit: usize,
    /// References that the test holds on to.
    pub(crate) roots: Vec<VMGcRef>,
}

impl VMStore for TestStore {
    fn core(&self) -> &StoreCore {
        &self.core
    }
    fn core_mut(&mut self) -> &mut StoreCore {
        &mut self.core
    }
    fn memory_growing(&mut self, a: usize, b: usize, max: Option<usize>) -> Result<bool> {
        self.limiter.growing(a, b, max)
    }
    fn memory_grow_failed(&mut self, _error: anyhow::Error) -> Result<()> {
        self.limiter.failed += 1;
        Ok(())
    }
    fn table_growing(&mut self, a: usize, b: usize, max: Option<usize>) -> Result<bool> {
        self.limiter.growing(a, b, max)
    }
    fn table_grow_failed(&mut self, _error: anyhow::Error) -> Result<()> {
        self.limiter.failed += 1;
        Ok(())
    }
    fn out_of_fuel(&mut self) -> Result<()> {
        anyhow::bail!(Trap::OutOfFuel)
    }
    fn new_epoch(&mut self) -> Result<()> {
        anyhow::bail!(Trap::Interrupt)
    }
    fn instances_limit(&self) -> usize {
        self.instances_limit
    }
    fn memories_limit(&self) -> usize {
        10
    }
    fn tables_limit(&self) -> usize {
        10
    }
    fn trace_host_roots(&mut self, visit: &mut dyn FnMut(&mut VMGcRef)) {
        self.roots.iter_mut().for_each(visit);
    }
}

/// A store whose builtins and test use it through one pointer.
pub(crate) struct Owned(NonNull<TestStore>);

impl Owned {
    pub(crate) fn new(tunables: &Tunables) -> Owned {
        Owned::with_gc(tunables, GcOptions::default())
    }

    pub(crate) fn with_gc(tunables: &Tunables, gc_options: GcOptions) -> Owned {
        let registry = Arc::new(TypeRegistry::new());
        let options = EntryOptions {
            max_wasm_stack: 1 << 20,
            backtraces: true,
        };
        let mut store = NonNull::from(Box::leak(Box::new(TestStore {
            core: StoreCore::new(
                &registry,
                tunables,
                options,
                gc_options,
                &Arc::default(),
                &Arc::default(),
            ),
            limiter: Limiter::default(),
            instances_limit: 10,
            roots: Vec::new(),
        })));
        let this: NonNull<dyn VMStore> = store;
        // SAFETY: the store stays where it is until it is dropped, and is used by one thread.
        unsafe { store.as_mut().core.set_self(this) };
        Owned(store)
    }
}

impl std::ops::Deref for Owned {
    type Target = TestStore;
    fn deref(&self) -> &TestStore {
        // SAFETY: the store is owned.
        unsafe { self.0.as_ref() }
    }
}

impl std::ops::DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut TestStore {
        // SAFETY: the store is owned.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the store is owned, and came from a box.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

fn small_tunables() -> Tunables {
    Tunables {
        memory_reservation: 0,
        memory_guard_size: 0x1_0000,
        memory_reservation_for_growth: 0,
        ..Tunables::default()
    }
}

fn memory_type(min: u64, max: Option<u64>) -> Memory {
    Memory {
        idx_type: IndexType::I32,
        limits: Limits { min, max },
        shared: false,
        page_size_log2: 16,
    }
}

fn table_type(ref_type: WasmRefType, min: u64, max: Option<u64>) -> Table {
    Table {
        idx_type: IndexType::I32,
        limits: Limits { min, max },
        ref_type,
    }
}

fn i32_const(value: i32) -> ConstExpr {
    ConstExpr::single(ConstOp::I32Const(value))
}

fn func(index: usize) -> FuncIndex {
    FuncIndex::new(index)
}

fn m0() -> DefinedMemoryIndex {
    DefinedMemoryIndex::new(0)
}

fn t0() -> DefinedTableIndex {
    DefinedTableIndex::new(0)
}

fn void_type() -> WasmSubType {
    WasmSubType::func(WasmFuncType::new([], []))
}

/// Loads a module with the type of functions without parameters and results, and these data. Its
/// functions, all of them in references, return at once.
fn load(
    store: &TestStore,
    module: Module,
    imported_funcs: usize,
    data: &[u8],
) -> Arc<LoadedModule> {
    load_with_types(store, module, &[], imported_funcs, data)
}

/// As [`load`], with further types, each in a group of its own.
fn load_with_types(
    store: &TestStore,
    mut module: Module,
    further_types: &[WasmSubType],
    imported_funcs: usize,
    data: &[u8],
) -> Arc<LoadedModule> {
    let mut types = ModuleTypes::default();
    for ty in [&void_type()].into_iter().chain(further_types) {
        let index = types.types.push(ty.clone());
        types.rec_groups.push(index..types.types.next_key());
    }
    let ty = ModuleTypeIndex::new(0);
    module.num_imported_functions = imported_funcs;
    let mut table = FunctionTableBuilder::default();
    let mut facts = PrimaryMap::new();
    for i in 0..module.num_functions {
        let defined = i.checked_sub(imported_funcs);
        if let Some(defined) = defined {
            let start = defined as u32 * 16;
            table.code.push(FunctionLoc { start, length: 16 });
        }
        facts.push(FunctionFacts {
            signature: ty,
            func_ref: defined.map(FuncRefIndex::new),
        });
    }
    let defined = module.num_functions - imported_funcs;
    module.num_escaped_funcs = defined;
    let trampoline = FunctionLoc {
        start: defined as u32 * 16,
        length: 16,
    };
    table.array_to_wasm.push((ty, trampoline));
    table.wasm_to_array.push((ty, trampoline));
    // Every function and trampoline returns true.
    let code: &[u8] = match cfg!(target_arch = "x86_64") {
        // mov eax, 1; ret
        true => &[0xb8, 1, 0, 0, 0, 0xc3],
        // mov w0, #1; ret
        false => &[0x20, 0, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6],
    };
    let mut text = vec![0; (defined + 1) * 16];
    for piece in text.chunks_mut(16) {
        piece[..code.len()].copy_from_slice(code);
    }
    let bytes = artifact_of(&text, &[], &table.finish(&facts), data);
    let code = CodeMemory::from_bytes(&bytes).unwrap();
    // SAFETY: the code is for this machine, and does nothing but return.
    let code = unsafe { code.publish(false).unwrap() };
    let info = ArtifactInfo {
        module,
        types,
        dispatch_tables: Vec::new(),
    };
    LoadedModule::new(code, info, store.core.type_registry(), false).unwrap()
}

fn link(
    store: &mut TestStore,
    module: &Arc<LoadedModule>,
    imports: Imports<'_>,
) -> Result<InstanceId> {
    // SAFETY: the tests import items of the same store and of the right types.
    unsafe { instantiate(store, module, imports) }
}

fn read(store: &TestStore, instance: InstanceId, at: usize) -> u8 {
    let memory = store.core.instance(instance).memory(m0());
    assert!(at < memory.byte_size());
    // SAFETY: the byte is within the memory.
    unsafe { memory.base().add(at).read() }
}

fn write(store: &TestStore, instance: InstanceId, at: usize, byte: u8) {
    let memory = store.core.instance(instance).memory(m0());
    assert!(at < memory.byte_size());
    // SAFETY: the byte is within the memory.
    unsafe { memory.base().add(at).write(byte) };
}

fn get(store: &mut TestStore, instance: InstanceId, index: u64) -> TableElement {
    store
        .core
        .instance_mut(instance)
        .table_get(t0(), index)
        .unwrap()
}

/// What is in a table; `None` for an element that is to be filled when it is used.
fn filled(store: &TestStore, instance: InstanceId, index: u64) -> Option<TableElement> {
    store
        .core
        .instance(instance)
        .table(t0())
        .get(index)
        .unwrap()
}

fn defined_func(store: &TestStore, instance: InstanceId, index: usize) -> TableElement {
    let func = store.core.instance(instance).func_ref(func(index));
    assert!(func.is_some());
    TableElement::FuncRef(func)
}

#[test]
fn what_threads_share_may_be_shared() {
    fn shareable<T: Send + Sync>() {}
    shareable::<LoadedModule>();
    shareable::<TypeRegistry>();
    shareable::<HostFunc>();
    shareable::<StoreCore>();
    shareable::<OwnedImports>();
}

#[test]
fn growth_asks_the_limiter() {
    let mut store = Owned::new(&small_tunables());
    let (owner, index) = create_host_memory(&mut *store, &memory_type(1, Some(3))).unwrap();
    assert_eq!(store.limiter.asked, [(0, 0x1_0000, Some(0x3_0000))]);
    write(&store, owner, 9, 7);
    let base = store.core.instance(owner).memory(index).base();
    assert_eq!(memory_grow(&mut *store, owner, index, 1).unwrap(), Some(1));
    assert_eq!(store.limiter.asked[1], (0x1_0000, 0x2_0000, Some(0x3_0000)));
    // There was no room to grow in place, and generated code is told of the new place.
    assert_ne!(store.core.instance(owner).memory(index).base(), base);
    assert_eq!(read(&store, owner, 9), 7);
    let definition = store.core.instance(owner).defined_memory(index).from;
    // SAFETY: the instance is alive.
    let definition = unsafe { definition.as_ref() };
    assert_eq!(
        definition.base,
        store.core.instance(owner).memory(index).base()
    );
    assert_eq!(definition.current_length.load(Relaxed), 0x2_0000);

    assert_eq!(memory_grow(&mut *store, owner, index, 2).unwrap(), None);
    assert_eq!(store.limiter.failed, 1);
    assert_eq!(
        memory_grow(&mut *store, owner, index, u64::MAX).unwrap(),
        None
    );
    store.limiter.deny = true;
    assert_eq!(memory_grow(&mut *store, owner, index, 1).unwrap(), None);
    assert_eq!(memory_grow(&mut *store, owner, index, 0).unwrap(), Some(2));
    assert_eq!(store.limiter.failed, 2);
    store.limiter.error = true;
    assert!(memory_grow(&mut *store, owner, index, 1).is_err());
    assert!(create_host_memory(&mut *store, &memory_type(0, None)).is_err());
    store.limiter.error = false;
    let error = create_host_memory(&mut *store, &memory_type(5, None)).unwrap_err();
    assert!(
        error.to_string().contains("memory minimum size of 5 pages"),
        "{error}"
    );
}

#[test]
fn tables_of_the_host_grow_and_are_copied() {
    let mut store = Owned::new(&Tunables::default());
    let mut gc_ref = |value: u32| {
        let reference = crate::alloc_extern(&mut *store, Box::new(value))
            .unwrap()
            .ok()
            .unwrap();
        TableElement::GcRef(Some(reference))
    };
    let (one, two) = (gc_ref(1), gc_ref(2));
    let ty = table_type(WasmRefType::EXTERNREF, 2, Some(4));
    let (owner, index) = create_host_table(&mut *store, &ty, one).unwrap();
    assert_eq!(
        table_grow(&mut *store, owner, index, 1, two).unwrap(),
        Some(2)
    );
    assert_eq!(table_grow(&mut *store, owner, index, 2, two).unwrap(), None);
    let (other, _) = create_host_table(&mut *store, &ty, two).unwrap();
    table_copy(&mut store.core, (other, t0()), 0, (owner, t0()), 1, 2).unwrap();
    assert_eq!(
        [get(&mut store, other, 0), get(&mut store, other, 1)],
        [one, two]
    );
    let core = &mut store.core;
    let error = table_copy(core, (other, t0()), 1, (owner, t0()), 0, 2).unwrap_err();
    assert_eq!(error, Trap::TableOutOfBounds);
    assert_eq!(get(&mut store, other, 1), two);
    table_copy(&mut store.core, (other, t0()), 2, (owner, t0()), 3, 0).unwrap();
    let hostile = table_type(WasmRefType::FUNCREF, u64::MAX, None);
    let null = TableElement::FuncRef(None);
    assert!(create_host_table(&mut *store, &hostile, null).is_err());
}

#[test]
fn limits_count_instances_but_no_items_of_the_host() {
    let mut store = Owned::new(&small_tunables());
    for _ in 0..20 {
        create_host_memory(&mut *store, &memory_type(0, None)).unwrap();
    }
    let mut module = Module::default();
    module.memories.push(memory_type(0, None));
    let module = load(&store, module, 0, b"");
    for _ in 0..10 {
        link(&mut store, &module, Imports::default()).unwrap();
    }
    let error = link(&mut store, &module, Imports::default()).unwrap_err();
    assert!(
        error.to_string().contains("instance count too high at 11"),
        "{error}"
    );
    store.instances_limit = 20;
    let error = link(&mut store, &module, Imports::default()).unwrap_err();
    assert!(
        error.to_string().contains("memory count too high at 11"),
        "{error}"
    );
}

#[test]
fn func_refs_are_made_once() {
    let mut store = Owned::new(&Tunables::default());
    let mut module = Module {
        num_functions: 2,
        ..Module::default()
    };
    module.memories.push(memory_type(0, None));
    let module = load(&store, module, 0, b"");
    let id = link(&mut store, &module, Imports::default()).unwrap();
    let instance = store.core.instance(id);
    let first = instance.func_ref(func(0)).unwrap();
    assert_eq!(instance.func_ref(func(0)), Some(first));
    assert_ne!(instance.func_ref(func(1)), Some(first));
    // SAFETY: the reference is valid as long as the store.
    let func_ref = unsafe { first.read() };
    assert_eq!(
        func_ref.wasm_call,
        module.func_code(DefinedFuncIndex::new(0))
    );
    assert_eq!(func_ref.type_index, module.type_ids()[0]);
    // SAFETY: the function is alive.
    let context = unsafe { VMOpaqueContext::as_instance(func_ref.vmctx) };
    assert_eq!(context, Some(instance.vmctx()));
    let export = instance.export(EntityIndex::Function(func(0)));
    assert_eq!(export, Some(VMExport::Function(first)));
    // SAFETY: the function has no parameters.
    unsafe { call(&mut *store, first, &mut []).unwrap() };
    let start = module.code().text_range().start;
    assert!(Arc::ptr_eq(
        store.core.module_of_pc(start + 3).unwrap(),
        &module
    ));
    assert!(store.core.module_of_pc(start - 1).is_none());
    assert!(store.core.module_of_pc(usize::MAX).is_none());
    assert_eq!(
        module.lookup_pc(start + 17).unwrap().0,
        DefinedFuncIndex::new(1)
    );
}

#[test]
fn globals_are_evaluated_in_order() {
    let mut store = Owned::new(&Tunables::default());
    let i32_global = Global {
        wasm_ty: WasmValType::I32,
        mutability: true,
    };
    // SAFETY: the value is of the type.
    let (owner, index) =
        unsafe { create_host_global(&mut *store, &i32_global, ValRaw::i32(40)).unwrap() };
    let mut module = Module {
        num_imported_globals: 1,
        num_functions: 1,
        ..Module::default()
    };
    module.globals.push(i32_global);
    module.globals.push(i32_global);
    module.globals.push(Global {
        wasm_ty: WasmValType::Ref(WasmRefType::FUNCREF),
        mutability: false,
    });
    module.globals.push(i32_global);
    let get = |i| ConstOp::GlobalGet(GlobalIndex::new(i));
    module.global_initializers.push(ConstExpr {
        ops: [get(0), ConstOp::I32Const(2), ConstOp::I32Add]
            .into_iter()
            .collect(),
    });
    module
        .global_initializers
        .push(ConstExpr::single(ConstOp::RefFunc(func(0))));
    module.global_initializers.push(ConstExpr::single(get(1)));
    let module = load(&store, module, 0, b"");
    let globals = [store.core.instance(owner).defined_global(index)];
    let imports = Imports {
        globals: &globals,
        ..Imports::default()
    };
    let id = link(&mut store, &module, imports).unwrap();
    let instance = store.core.instance(id);
    let value = |i| instance.global_value(GlobalIndex::new(i));
    assert_eq!(
        [value(0).get_i32(), value(1).get_i32(), value(3).get_i32()],
        [40, 42, 42]
    );
    let func = instance.func_ref(func(0)).unwrap();
    assert_eq!(value(2).get_funcref(), func.as_ptr().cast());
    let export = instance.export(EntityIndex::Global(GlobalIndex::new(3)));
    let expected = VMExport::Global {
        instance: id,
        index: DefinedGlobalIndex::new(2),
    };
    assert_eq!(export, Some(expected));
    assert_eq!(
        instance.defined_global_type(DefinedGlobalIndex::new(2)),
        i32_global
    );
}

#[test]
fn values_are_kept_alive_once() {
    let mut store = Owned::new(&Tunables::default());
    let value: Arc<dyn Any + Send + Sync> = Arc::new(5);
    store.core.keep_alive(Arc::clone(&value));
    store.core.keep_alive(Arc::clone(&value));
    assert_eq!(Arc::strong_count(&value), 2);
    drop(store);
    assert_eq!(Arc::strong_count(&value), 1);
}
