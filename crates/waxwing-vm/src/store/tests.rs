//! Stores and instances of hand-made modules.

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
use crate::instance::VMExport;
use crate::traps::{TrapReason, catch_host};
use crate::vmcontext::{VMContext, VMOpaqueContext};

/// What a limiter was asked, and what it is to answer.
#[derive(Default)]
struct Limiter {
    asked: Vec<(usize, usize, Option<usize>)>,
    failed: usize,
    deny: bool,
    error: bool,
}

impl Limiter {
    fn growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        self.asked.push((current, desired, maximum));
        anyhow::ensure!(!self.error, "the limiter failed");
        Ok(!self.deny)
    }
}

struct TestStore {
    core: StoreCore,
    limiter: Limiter,
    instances_limit: usize,
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
    fn instances_limit(&self) -> usize {
        self.instances_limit
    }
    fn memories_limit(&self) -> usize {
        10
    }
    fn tables_limit(&self) -> usize {
        10
    }
}

/// A store whose builtins and test use it through one pointer.
struct Owned(NonNull<TestStore>);

impl Owned {
    fn new(tunables: &Tunables) -> Owned {
        let registry = Arc::new(TypeRegistry::new());
        let options = EntryOptions {
            max_wasm_stack: 1 << 20,
            backtraces: true,
        };
        let mut store = NonNull::from(Box::leak(Box::new(TestStore {
            core: StoreCore::new(&registry, tunables, options),
            limiter: Limiter::default(),
            instances_limit: 10,
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
    mut module: Module,
    imported_funcs: usize,
    data: &[u8],
) -> Arc<LoadedModule> {
    let mut types = ModuleTypes::default();
    let ty = types.types.push(void_type());
    types.rec_groups.push(ty..ModuleTypeIndex::new(1));
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
    let info = ArtifactInfo { module, types };
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
        let reference = store
            .core
            .extern_refs_mut()
            .insert(Box::new(value))
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

/// A module of two functions and a table of four, the second and third of which they are.
fn module_with_table() -> Module {
    let mut module = Module {
        num_functions: 2,
        ..Module::default()
    };
    module
        .tables
        .push(table_type(WasmRefType::FUNCREF, 4, None));
    let precomputed = [FuncIndex::reserved_value(), func(0), func(1)];
    module.table_initial_values.push(TableInitialValue::Null {
        precomputed: precomputed.into(),
    });
    module
}

/// A module that imports a table of functions.
fn module_importing_table() -> Module {
    let mut module = Module {
        num_imported_tables: 1,
        num_functions: 1,
        ..Module::default()
    };
    module
        .tables
        .push(table_type(WasmRefType::FUNCREF, 1, None));
    module
}

#[test]
fn tables_are_filled_lazily_or_eagerly() {
    for table_lazy_init in [true, false] {
        let mut store = Owned::new(&Tunables {
            table_lazy_init,
            ..Tunables::default()
        });
        let module = load(&store, module_with_table(), 0, b"");
        let id = link(&mut store, &module, Imports::default()).unwrap();
        let raw = store.core.instance(id).table(t0()).get(1).unwrap();
        assert_eq!(raw.is_none(), table_lazy_init);
        let expected = [
            TableElement::FuncRef(None),
            defined_func(&store, id, 0),
            defined_func(&store, id, 1),
            TableElement::FuncRef(None),
        ];
        for (i, expected) in expected.into_iter().enumerate() {
            assert_eq!(get(&mut store, id, i as u64), expected, "element {i}");
        }
        let grown = table_grow(&mut *store, id, t0(), 2, expected[1]).unwrap();
        assert_eq!(grown, Some(4));
        assert_eq!(get(&mut store, id, 5), expected[1]);
    }
}

#[test]
fn elements_are_made_by_the_owner_of_a_table() {
    let mut store = Owned::new(&Tunables::default());
    let module = load(&store, module_with_table(), 0, b"");
    let owner = link(&mut store, &module, Imports::default()).unwrap();
    let import = store.core.instance(owner).defined_table(t0());
    let importing = load(&store, module_importing_table(), 0, b"");
    let imports = Imports {
        tables: &[import],
        ..Imports::default()
    };
    let importer = link(&mut store, &importing, imports).unwrap();
    let export = store
        .core
        .instance(importer)
        .export(EntityIndex::Table(TableIndex::new(0)));
    let expected = VMExport::Table {
        instance: owner,
        index: t0(),
    };
    assert_eq!(export, Some(expected));

    let expected = defined_func(&store, owner, 0);
    let vmctx = store.core.instance(importer).vmctx();
    // SAFETY: the context is a live one, and nobody has references to its store.
    let func = unsafe { (BUILTINS.table_get_lazy_init_func_ref)(vmctx, 0, 1) };
    assert_eq!(TableElement::FuncRef(NonNull::new(func.cast())), expected);
    // SAFETY: as above.
    let null = unsafe { (BUILTINS.table_get_lazy_init_func_ref)(vmctx, 0, 0) };
    assert!(null.is_null());

    // Copies take what the source would have become.
    let ty = table_type(WasmRefType::FUNCREF, 2, None);
    let null = TableElement::FuncRef(None);
    let (copy, _) = create_host_table(&mut *store, &ty, null).unwrap();
    table_copy(&mut store.core, (copy, t0()), 0, (owner, t0()), 2, 2).unwrap();
    assert_eq!(get(&mut store, copy, 0), defined_func(&store, owner, 1));
    assert_eq!(get(&mut store, copy, 1), null);
    table_copy(&mut store.core, (owner, t0()), 1, (owner, t0()), 0, 3).unwrap();
    assert_eq!(get(&mut store, owner, 1), null);
    assert_eq!(get(&mut store, owner, 2), expected);
}

#[test]
fn element_segments_apply_in_order_up_to_the_first_out_of_bounds() {
    let mut store = Owned::new(&Tunables::default());
    let module = load(&store, module_with_table(), 0, b"");
    let owner = link(&mut store, &module, Imports::default()).unwrap();
    let before = get(&mut store, owner, 2);
    let imports = [store.core.instance(owner).defined_table(t0())];
    let mut importing = module_importing_table();
    let segment = |offset: i32, functions: &[FuncIndex]| TableSegment {
        table: TableIndex::new(0),
        offset: i32_const(offset),
        elements: ElementSegment::Functions(functions.into()),
    };
    importing.table_segments = vec![
        segment(0, &[func(0), func(0)]),
        segment(4, &[]),
        segment(3, &[func(0), func(0)]),
        segment(2, &[func(0)]),
    ];
    let importing = load(&store, importing, 0, b"");
    let imports = Imports {
        tables: &imports,
        ..Imports::default()
    };
    let error = link(&mut store, &importing, imports).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::TableOutOfBounds));
    let failed = store.core.instances().last().unwrap();
    // The function of the failed instance is alive, as others refer to it.
    assert_eq!(get(&mut store, owner, 1), defined_func(&store, failed, 0));
    assert_eq!(get(&mut store, owner, 2), before);
    let TableElement::FuncRef(Some(func)) = get(&mut store, owner, 0) else {
        panic!("a function")
    };
    // SAFETY: the function has no parameters.
    unsafe { call(&mut *store, func, &mut []).unwrap() };
}

#[test]
fn passive_segments_are_there_until_they_are_dropped() {
    let mut store = Owned::new(&small_tunables());
    let mut module = module_with_table();
    let reference = WasmValType::Ref(WasmRefType::FUNCREF);
    let expressions = [
        ConstExpr::single(ConstOp::RefFunc(func(1))),
        ConstExpr::single(ConstOp::RefNull(waxwing_environ::WasmHeapType::Func)),
    ];
    let segment = ElementSegment::Expressions(reference, expressions.into());
    module.passive_elements.push(Some(segment));
    module.passive_elements.push(None);
    module.memories.push(memory_type(1, None));
    module.passive_data.push(Some(1..4));
    module.passive_data.push(None);
    let module = load(&store, module, 0, b"datum");
    let id = link(&mut store, &module, Imports::default()).unwrap();
    let pointer = store.core.instances[id].as_ptr();

    let table = TableIndex::new(0);
    let init = |elem, dst, src, len| {
        // SAFETY: nobody has references to the store's instances.
        let result =
            unsafe { Instance::table_init(pointer, table, ElemIndex::new(elem), dst, src, len) };
        result.map_err(|reason| match reason {
            TrapReason::Wasm(trap) => trap,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(init(0, 3, 0, 2), Err(Trap::TableOutOfBounds));
    assert_eq!(init(0, 0, 1, 2), Err(Trap::TableOutOfBounds));
    assert_eq!(init(0, 0, u64::MAX, 2), Err(Trap::TableOutOfBounds));
    assert_eq!(init(1, 0, 0, 1), Err(Trap::TableOutOfBounds));
    assert_eq!(init(1, 4, 0, 0), Ok(()));
    assert_eq!(init(0, 0, 0, 2), Ok(()));
    assert_eq!(get(&mut store, id, 0), defined_func(&store, id, 1));
    assert_eq!(get(&mut store, id, 1), TableElement::FuncRef(None));
    store.core.instance_mut(id).elem_drop(ElemIndex::new(0));
    assert_eq!(init(0, 0, 0, 1), Err(Trap::TableOutOfBounds));
    assert_eq!(init(0, 0, 0, 0), Ok(()));

    let memory = MemoryIndex::new(0);
    let init = |store: &TestStore, data, dst, src, len| {
        let instance = store.core.instance(id);
        let result = instance.memory_init(memory, DataIndex::new(data), dst, src, len);
        result.map_err(|reason| match reason {
            TrapReason::Wasm(trap) => trap,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(init(&store, 0, 0xfffe, 0, 3), Err(Trap::MemoryOutOfBounds));
    assert_eq!(init(&store, 0, 0, 2, 2), Err(Trap::MemoryOutOfBounds));
    assert_eq!(
        init(&store, 0, 0, u32::MAX, u32::MAX),
        Err(Trap::MemoryOutOfBounds)
    );
    assert_eq!(read(&store, id, 0xfffe), 0);
    assert_eq!(init(&store, 0, 5, 1, 2), Ok(()));
    assert_eq!((read(&store, id, 5), read(&store, id, 6)), (b't', b'u'));
    store.core.instance_mut(id).data_drop(DataIndex::new(0));
    assert_eq!(init(&store, 0, 5, 0, 1), Err(Trap::MemoryOutOfBounds));
    assert_eq!(init(&store, 0, 0x1_0000, 0, 0), Ok(()));
    assert_eq!(init(&store, 1, 0, 0, 1), Err(Trap::MemoryOutOfBounds));
}

#[test]
fn data_segments_apply_in_order_up_to_the_first_out_of_bounds() {
    let mut store = Owned::new(&small_tunables());
    let (owner, index) = create_host_memory(&mut *store, &memory_type(1, None)).unwrap();
    let mut module = Module {
        num_imported_memories: 1,
        ..Module::default()
    };
    module.memories.push(memory_type(1, None));
    let segment = |offset: i32| DataSegment {
        memory: MemoryIndex::new(0),
        offset: i32_const(offset),
        data: 0..4,
    };
    let segments = vec![segment(0), segment(0xfffc), segment(-1), segment(8)];
    module.memory_initialization = MemoryInitialization::Segmented(segments);
    let module = load(&store, module, 0, b"data");
    let memories = [store.core.instance(owner).defined_memory(index)];
    let imports = Imports {
        memories: &memories,
        ..Imports::default()
    };
    let error = link(&mut store, &module, imports).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    assert_eq!(read(&store, owner, 0xffff), b'a');
    assert_eq!((read(&store, owner, 0), read(&store, owner, 8)), (b'd', 0));
    let error = link(&mut store, &module, Imports::default()).unwrap_err();
    assert!(error.to_string().contains("imports 1 memories"), "{error}");
}

#[test]
fn images_are_put_in_place_for_each_instance() {
    let mut store = Owned::new(&small_tunables());
    let mut module = Module::default();
    let memory = module.memories.push(memory_type(2, None));
    let mut images = PrimaryMap::new();
    images.push(Some(MemoryImageFacts {
        offset: 0x1_0000,
        data: 0..0x1_0000,
    }));
    module.memory_initialization = MemoryInitialization::Static(images);
    let mut data = vec![0; 0x1_0000];
    data[..5].copy_from_slice(b"image");
    let module = load(&store, module, 0, &data);
    assert_eq!(memory, MemoryIndex::new(0));
    let [one, two] = [(); 2].map(|()| link(&mut store, &module, Imports::default()).unwrap());
    assert_eq!(
        (read(&store, one, 0), read(&store, one, 0x1_0000)),
        (0, b'i')
    );
    write(&store, one, 0x1_0000, b'I');
    assert_eq!(read(&store, two, 0x1_0000), b'i');
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
struct Context(NonNull<VMContext>);

// SAFETY: the tests use it on their own thread alone.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Runs `body` with the context as generated code would, within an entry.
    fn run(
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
    static FAILED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
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
