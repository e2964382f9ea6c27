//! Tables and memories with their segments and images.

use super::*;

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
    assert_eq!(filled(&store, owner, 1), None);
    // SAFETY: the context is a live one, and nobody has references to its store.
    unsafe { (BUILTINS.table_lazy_init_func_ref)(vmctx, 0, 1) };
    assert_eq!(filled(&store, owner, 1), Some(expected));
    // SAFETY: as above.
    unsafe { (BUILTINS.table_lazy_init_func_ref)(vmctx, 0, 0) };
    assert_eq!(filled(&store, owner, 0), Some(TableElement::FuncRef(None)));

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

    let table = TableIndex::new(0);
    let init = |store: &mut TestStore, elem, dst, src, len| {
        let mut env = InstanceEnv {
            store,
            instance: id,
        };
        let result = env.table_init(table, ElemIndex::new(elem), dst, src, len);
        result.map_err(|reason| match reason {
            TrapReason::Wasm(trap) => trap,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(init(&mut store, 0, 3, 0, 2), Err(Trap::TableOutOfBounds));
    assert_eq!(init(&mut store, 0, 0, 1, 2), Err(Trap::TableOutOfBounds));
    assert_eq!(
        init(&mut store, 0, 0, u64::MAX, 2),
        Err(Trap::TableOutOfBounds)
    );
    assert_eq!(init(&mut store, 1, 0, 0, 1), Err(Trap::TableOutOfBounds));
    assert_eq!(init(&mut store, 1, 4, 0, 0), Ok(()));
    assert_eq!(init(&mut store, 0, 0, 0, 2), Ok(()));
    assert_eq!(get(&mut store, id, 0), defined_func(&store, id, 1));
    assert_eq!(get(&mut store, id, 1), TableElement::FuncRef(None));
    let instance = id;
    InstanceEnv {
        store: &mut *store,
        instance,
    }
    .elem_drop(ElemIndex::new(0));
    assert_eq!(init(&mut store, 0, 0, 0, 1), Err(Trap::TableOutOfBounds));
    assert_eq!(init(&mut store, 0, 0, 0, 0), Ok(()));

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
