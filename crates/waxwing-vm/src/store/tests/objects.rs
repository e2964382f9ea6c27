//! Objects of modules: constant expressions, element segments, and builtins over arrays.

use std::sync::atomic::AtomicU32;

use waxwing_environ::gc::GC_REF_I31_BIT;
use waxwing_environ::{
    GcCollector, WasmCompositeType, WasmFieldType, WasmHeapType, WasmStorageType,
};

use super::host::{Context, FAILED};
use super::*;

const ANYREF: WasmValType = WasmValType::Ref(WasmRefType {
    nullable: true,
    heap_type: WasmHeapType::Any,
});

fn field(element_type: WasmStorageType) -> WasmFieldType {
    WasmFieldType {
        element_type,
        mutable: true,
    }
}

fn ty(index: usize) -> ModuleTypeIndex {
    ModuleTypeIndex::new(index)
}

fn expr(ops: &[ConstOp]) -> ConstExpr {
    ConstExpr {
        ops: ops.iter().copied().collect(),
    }
}

const STRUCT: usize = 1;
const REFERENCES: usize = 2;
const SHORTS: usize = 3;
const FUNCTIONS: usize = 4;

/// A module with types of objects, and globals, a table and segments that are made of objects.
fn module() -> (Module, Vec<WasmSubType>) {
    use ConstOp as O;
    let of_value = |ty| field(WasmStorageType::Val(ty));
    let types = [
        WasmCompositeType::Struct([of_value(ANYREF), of_value(WasmValType::I64)].into()),
        WasmCompositeType::Array(of_value(ANYREF)),
        WasmCompositeType::Array(field(WasmStorageType::I16)),
        WasmCompositeType::Array(of_value(WasmValType::Ref(WasmRefType::FUNCREF))),
    ];
    let types = types.map(|composite| WasmSubType {
        is_final: true,
        supertype: None,
        composite,
    });
    let mut module = Module {
        needs_gc_heap: true,
        num_functions: 2,
        ..Module::default()
    };
    let get = |i| O::GlobalGet(GlobalIndex::new(i));
    for ops in [
        &[O::I32Const(7), O::RefI31][..],
        &[get(0), O::I64Const(5), O::StructNew(ty(STRUCT))],
        &[
            get(1),
            O::StructNewDefault(ty(STRUCT)),
            O::RefNull(WasmHeapType::Any),
            O::ArrayNewFixed(ty(REFERENCES), 3),
        ],
        &[get(1), O::I32Const(4), O::ArrayNew(ty(REFERENCES))],
        &[O::I32Const(9), O::ArrayNewDefault(ty(SHORTS))],
    ] {
        module.globals.push(Global {
            wasm_ty: ANYREF,
            mutability: false,
        });
        module.global_initializers.push(expr(ops));
    }
    let WasmValType::Ref(anyref) = ANYREF else {
        unreachable!("it is a reference")
    };
    module.tables.push(table_type(anyref, 3, None));
    let initial = expr(&[get(1), O::I64Const(8), O::StructNew(ty(STRUCT))]);
    module
        .table_initial_values
        .push(TableInitialValue::Expr(initial));
    let elements = [expr(&[O::StructNewDefault(ty(STRUCT))]), expr(&[get(1)])];
    module
        .passive_elements
        .push(Some(ElementSegment::Expressions(ANYREF, elements.into())));
    let functions = [func(1), func(0)];
    module
        .passive_elements
        .push(Some(ElementSegment::Functions(functions.into())));
    module.passive_data.push(Some(0..5));
    (module, types.into())
}

fn each_collector(test: impl Fn(&mut Owned, InstanceId)) {
    for collector in [
        GcCollector::Null,
        GcCollector::DeferredReferenceCounting,
        GcCollector::Copying,
    ] {
        let tunables = Tunables {
            collector: Some(collector),
            ..Tunables::default()
        };
        let mut store = Owned::with_gc(&tunables, GcOptions { stress: true });
        let (module, types) = module();
        let module = load_with_types(&store, module, &types, 0, b"hello");
        let id = link(&mut store, &module, Imports::default()).unwrap();
        test(&mut store, id);
    }
}

fn global(store: &Owned, id: InstanceId, index: usize) -> VMGcRef {
    let value = store
        .core
        .instance(id)
        .global_value(GlobalIndex::new(index));
    VMGcRef::new(value.get_anyref()).expect("not null")
}

#[test]
fn constant_expressions_make_objects() {
    each_collector(|store, id| {
        let gc = store.core.gc();
        let number = 7 << 1 | GC_REF_I31_BIT;
        assert_eq!(global(store, id, 0).get(), number);
        let object = global(store, id, 1);
        assert_eq!(gc.field(object, 0).get_anyref(), number);
        assert_eq!(gc.field(object, 1).get_i64(), 5);
        let fixed = global(store, id, 2);
        assert_eq!(gc.array_len(fixed), 3);
        assert_eq!(gc.element(fixed, 0).get_anyref(), object.get());
        let inner = VMGcRef::new(gc.element(fixed, 1).get_anyref()).unwrap();
        assert_eq!(gc.field(inner, 0).get_anyref(), 0);
        assert_eq!(gc.element(fixed, 2).get_anyref(), 0);
        let filled = global(store, id, 3);
        assert_eq!(gc.array_len(filled), 4);
        for i in 0..4 {
            assert_eq!(gc.element(filled, i).get_anyref(), object.get());
        }
        assert_eq!(gc.array_len(global(store, id, 4)), 9);
        // Every element of the table is the same object.
        let first = get(store, id, 0);
        assert_eq!([get(store, id, 1), get(store, id, 2)], [first, first]);
        let TableElement::GcRef(Some(first)) = first else {
            panic!("{first:?}")
        };
        let gc = store.core.gc();
        assert_eq!(gc.field(first, 0).get_anyref(), object.get());
        assert_eq!(gc.field(first, 1).get_i64(), 8);
    });
}

/// A call of a builtin with these arguments behind the context.
macro_rules! builtin {
    ($name:ident($($argument:expr),*)) => {
        move |vmctx: NonNull<VMContext>| {
            // SAFETY: the context is a live one, and nobody has references to its store.
            unsafe { (BUILTINS.$name)(vmctx, $($argument),*) }
        }
    };
}

/// Calls a builtin in the place of generated code, which returns a reference.
fn make(
    store: &mut Owned,
    id: InstanceId,
    builtin: impl Fn(NonNull<VMContext>) -> u32 + Send + Sync + 'static,
) -> Result<VMGcRef, Trap> {
    let result = Arc::new(AtomicU32::new(0));
    let to = Arc::clone(&result);
    let context = Context(store.core.instance(id).vmctx());
    let trap = context.run(store, move |vmctx| {
        let reference = builtin(vmctx);
        FAILED.set(reference == -2i32 as u32);
        to.store(reference, Relaxed);
    });
    match trap {
        Some(trap) => Err(trap),
        None => Ok(VMGcRef::new(result.load(Relaxed)).expect("not null")),
    }
}

/// As [`make`], for builtins that only succeed or fail.
fn run(
    store: &mut Owned,
    id: InstanceId,
    builtin: impl Fn(NonNull<VMContext>) -> bool + Send + Sync + 'static,
) -> Result<(), Trap> {
    let ok = move |vmctx| if builtin(vmctx) { 1 } else { -2i32 as u32 };
    make(store, id, ok).map(drop)
}

#[test]
fn elements_of_segments_are_the_same_objects_each_time() {
    each_collector(|store, id| {
        let new_elem = |elem, src, len| builtin!(array_new_elem(REFERENCES as u32, elem, src, len));
        for _ in 0..2 {
            let array = make(store, id, new_elem(0, 0, 2)).unwrap();
            store.roots.push(array);
        }
        let gc = store.core.gc();
        let elements = |array, i| gc.element(array, i).get_anyref();
        let [one, two] = store.roots[..] else {
            panic!("two roots")
        };
        assert_ne!(one, two);
        for i in 0..2 {
            assert_eq!(elements(one, i), elements(two, i));
        }
        assert_eq!(elements(one, 1), global(store, id, 1).get());
        assert_eq!(
            make(store, id, new_elem(0, 1, 2)),
            Err(Trap::TableOutOfBounds)
        );
        let table_init = builtin!(table_init(0, 0, 1, 0, 2));
        run(store, id, table_init).unwrap();
        let one = store.roots[0];
        let element = store.core.gc().element(one, 0).get_anyref();
        assert_eq!(
            get(store, id, 1),
            TableElement::GcRef(VMGcRef::new(element))
        );
        run(store, id, |vmctx| {
            builtin!(elem_drop(0))(vmctx);
            true
        })
        .unwrap();
        assert_eq!(
            make(store, id, new_elem(0, 0, 1)),
            Err(Trap::TableOutOfBounds)
        );
        assert_eq!(run(store, id, table_init), Err(Trap::TableOutOfBounds));

        let functions = make(
            store,
            id,
            builtin!(array_new_elem(FUNCTIONS as u32, 1, 0, 2)),
        );
        let functions = functions.unwrap();
        for i in 0..2 {
            let found = store.core.gc().element(functions, i).get_funcref();
            let expected = store.core.instance(id).func_ref(func(1 - i as usize));
            assert_eq!(NonNull::new(found.cast()), expected);
        }
    });
}

#[test]
fn builtins_check_the_bounds_of_arrays() {
    each_collector(|store, id| {
        let new_data = |src, len| builtin!(array_new_data(SHORTS as u32, 0, src, len));
        let array = make(store, id, new_data(1, 2)).unwrap();
        store.roots.push(array);
        let shorts = |store: &Owned, array| {
            let gc = store.core.gc();
            let element = |i| gc.element(array, i).get_u32().to_le_bytes();
            (0..gc.array_len(array))
                .flat_map(|i| element(i)[..2].to_vec())
                .collect::<Vec<u8>>()
        };
        assert_eq!(shorts(store, array), b"ello");
        for (src, len) in [(2, 2), (6, 0), (0, u32::MAX), (u32::MAX, 1)] {
            let made = make(store, id, new_data(src, len));
            assert_eq!(made, Err(Trap::MemoryOutOfBounds), "{src} {len}");
        }
        let array = store.roots[0].get();
        let init = |array, dst, src, len| builtin!(array_init_data(array, 0, dst, src, len));
        assert_eq!(
            run(store, id, init(array, 1, 0, 2)),
            Err(Trap::ArrayOutOfBounds)
        );
        assert_eq!(
            run(store, id, init(array, 0, 4, 1)),
            Err(Trap::MemoryOutOfBounds)
        );
        assert_eq!(run(store, id, init(0, 0, 0, 0)), Err(Trap::NullReference));
        assert_eq!(run(store, id, init(array, 1, 0, 1)), Ok(()));
        assert_eq!(shorts(store, store.roots[0]), b"elhe");

        let copy = |dst, to, src, from, len| builtin!(array_copy(dst, to, src, from, len));
        let fill = |array, at, value, len| builtin!(array_fill(array, at, value, 0, len));
        let (fixed, filled) = (global(store, id, 2).get(), global(store, id, 3).get());
        for (to, from, len) in [(2, 0, 2), (0, 3, 2), (4, 0, 0), (0, 5, 0), (1, 0, u32::MAX)] {
            assert_eq!(
                run(store, id, copy(fixed, to, filled, from, len)),
                Err(Trap::ArrayOutOfBounds),
                "{to} {from} {len}"
            );
        }
        assert_eq!(
            run(store, id, copy(fixed, 0, 0, 0, 0)),
            Err(Trap::NullReference)
        );
        assert_eq!(
            run(store, id, copy(0, 0, fixed, 0, 0)),
            Err(Trap::NullReference)
        );
        let object = global(store, id, 1).get();
        assert_eq!(run(store, id, copy(fixed, 1, filled, 2, 2)), Ok(()));
        assert_eq!(run(store, id, copy(filled, 1, fixed, 2, 1)), Ok(()));
        assert_eq!(run(store, id, fill(filled, 3, 15, 1)), Ok(()));
        assert_eq!(
            run(store, id, fill(filled, 3, 15, 2)),
            Err(Trap::ArrayOutOfBounds)
        );
        assert_eq!(run(store, id, fill(0, 0, 15, 0)), Err(Trap::NullReference));
        let gc = store.core.gc();
        let elements = |array: u32| {
            let array = VMGcRef::new(array).unwrap();
            let len = gc.array_len(array);
            (0..len)
                .map(|i| gc.element(array, i).get_anyref())
                .collect::<Vec<_>>()
        };
        assert_eq!(elements(fixed), [object; 3]);
        assert_eq!(elements(filled), [object, object, object, 15]);
    });
}
