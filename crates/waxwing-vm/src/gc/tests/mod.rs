//! The collectors, and what they work on.

mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use waxwing_environ::{
    Tunables, WasmCompositeType, WasmFieldType, WasmHeapType, WasmRefType, WasmStorageType,
    WasmSubType, WasmValType,
};

use super::*;
use crate::store::tests::Owned;
use crate::val_raw::ValRaw;

const COLLECTORS: [GcCollector; 3] = [
    GcCollector::Null,
    GcCollector::DeferredReferenceCounting,
    GcCollector::Copying,
];

const ANYREF: WasmRefType = WasmRefType {
    nullable: true,
    heap_type: WasmHeapType::Any,
};

fn store(collector: GcCollector, stress: bool) -> Owned {
    let tunables = Tunables {
        collector: Some(collector),
        ..Tunables::default()
    };
    Owned::with_gc(&tunables, GcOptions { stress })
}

fn field(ty: WasmValType) -> WasmFieldType {
    WasmFieldType {
        element_type: WasmStorageType::Val(ty),
        mutable: true,
    }
}

fn register(store: &Owned, composite: WasmCompositeType) -> RegisteredType {
    store.core.type_registry().register(WasmSubType {
        is_final: true,
        supertype: None,
        composite,
    })
}

/// A struct with the object's number and three references.
fn struct_type(store: &Owned) -> RegisteredType {
    let reference = field(WasmValType::Ref(ANYREF));
    let fields = [reference, field(WasmValType::I64), reference, reference];
    register(store, WasmCompositeType::Struct(fields.into()))
}

fn array_type(store: &Owned, element: WasmStorageType) -> RegisteredType {
    let element = WasmFieldType {
        element_type: element,
        mutable: true,
    };
    register(store, WasmCompositeType::Array(element))
}

/// Makes a list of `len` structs, that a single root keeps.
fn list(store: &mut Owned, ty: &RegisteredType, len: usize) -> usize {
    for made in 0..len {
        let Some(object) = alloc_struct(&mut **store, ty).unwrap() else {
            return made;
        };
        if let Some(head) = store.roots.pop() {
            let gc = store.core.gc_mut();
            gc.set_field(object, 0, ValRaw::anyref(head.get()));
        }
        store.roots.push(object);
    }
    len
}

#[test]
fn heaps_stay_within_their_limit() {
    for collector in COLLECTORS {
        for limit in [400 << 10, 3 << 20, 24 << 20] {
            let mut store = store(collector, false);
            store.limiter.limit = Some(limit);
            let ty = struct_type(&store);
            let made = list(&mut store, &ty, usize::MAX);
            assert!(store.core.gc().capacity() <= limit);
            // An object has 32 bytes; copying needs as much again, and a nursery.
            let least = match collector {
                GcCollector::Copying => limit / 32 / 4,
                _ => limit / 32 / 10 * 9,
            };
            assert!(
                made > least,
                "{collector:?}: {made} objects in {limit} bytes"
            );
            assert!(alloc_struct(&mut *store, &ty).unwrap().is_none());
            // What is not in use any more makes room.
            store.roots.clear();
            if collector != GcCollector::Null {
                for _ in 0..3 {
                    let again = list(&mut store, &ty, made);
                    assert_eq!(again, made, "{collector:?}");
                    store.roots.clear();
                }
            }
        }
    }
}

/// What an object whose number is in its second field has there.
fn number(store: &Owned, object: u32) -> u64 {
    let object = VMGcRef::new(object).expect("not null");
    store.core.gc().field(object, 1).get_u64()
}

#[test]
fn old_objects_keep_young_ones_wherever_they_refer_to_them() {
    const LEN: usize = 5000;
    for stress in [false, true] {
        let mut store = store(GcCollector::Copying, stress);
        let ty = struct_type(&store);
        let arrays = array_type(&store, WasmStorageType::Val(WasmValType::Ref(ANYREF)));
        let wide = (0..LEN).map(|_| field(WasmValType::Ref(ANYREF)));
        let wide = register(&store, WasmCompositeType::Struct(wide.collect()));
        // Two of the holders are large; the small ones get from the nursery to the old space.
        for len in [LEN, 100, 1] {
            let array = alloc_array(&mut *store, &arrays, len as u32);
            store.roots.push(array.unwrap().unwrap());
        }
        let object = alloc_struct(&mut *store, &wide).unwrap().unwrap();
        store.roots.push(object);
        let mut expected = [LEN, 100, 1, LEN].map(|len| vec![None; len]);
        let young = |store: &mut Owned, number| {
            let object = alloc_struct(&mut **store, &ty).unwrap().unwrap();
            let gc = store.core.gc_mut();
            gc.set_field(object, 1, ValRaw::u64(number));
            object
        };
        for round in 0..if stress { 8 } else { 300 } {
            // Now and then a full collection puts everything elsewhere.
            collector::collect(&mut *store, [Scope::Young, Scope::All][round / 7 % 2]);
            for (holder, expected) in expected.iter_mut().enumerate() {
                for at in [round, round * 97, round * 128 + 125, LEN - 1 - round] {
                    let at = at % expected.len();
                    let number = (round * LEN + at) as u64;
                    let object = young(&mut store, number);
                    let into = store.roots[holder];
                    let gc = store.core.gc_mut();
                    let value = ValRaw::anyref(object.get());
                    match holder {
                        3 => gc.set_field(into, at as u32, value),
                        _ => gc.set_element(into, at as u32, value),
                    }
                    expected[at] = Some(number);
                }
            }
            // Instructions over ranges, of which the middle cards are marked too.
            let at = round * 37 % (LEN - 700);
            let number = (LEN * LEN + round) as u64;
            let object = young(&mut store, number);
            let array = Some(store.roots[0]);
            let gc = store.core.gc_mut();
            let value = u128::from(object.get());
            gc.array_fill(array, at as u32, value, 300).unwrap();
            expected[0][at..at + 300].fill(Some(number));
            let to = (at + 350) as u32;
            gc.array_copy(array, to, array, at as u32, 300).unwrap();
            expected[0].copy_within(at..at + 300, at + 350);
            let segment = vec![object.get(); 150];
            gc.array_init_elem(array, &segment, 0, 0, 150).unwrap();
            expected[0][..150].fill(Some(number));
            collector::collect(&mut *store, Scope::Young);
            // What was left there is overwritten.
            for _ in 0..if stress { 1 } else { 200 } {
                young(&mut store, u64::MAX);
            }
            for (holder, expected) in expected.iter().enumerate() {
                for (at, expected) in (0..).zip(expected) {
                    let (gc, holder_ref) = (store.core.gc(), store.roots[holder]);
                    let found = match holder {
                        3 => gc.field(holder_ref, at),
                        _ => gc.element(holder_ref, at),
                    };
                    let found = VMGcRef::new(found.get_anyref());
                    let found = found.map(|found| self::number(&store, found.get()));
                    assert_eq!(found, *expected, "{round}: {holder}, {at}");
                }
            }
        }
    }
}

#[test]
fn garbage_does_not_make_the_heap_grow() {
    for collector in [GcCollector::Copying, GcCollector::DeferredReferenceCounting] {
        let mut store = store(collector, false);
        let ty = struct_type(&store);
        let arrays = array_type(&store, WasmStorageType::Val(WasmValType::I64));
        for i in 0..2_000_000u32 {
            if i % 1000 == 0 {
                let len = i % 100_000;
                alloc_array(&mut *store, &arrays, len).unwrap().unwrap();
            }
            alloc_struct(&mut *store, &ty).unwrap().unwrap();
        }
        let capacity = store.core.gc().capacity();
        assert!(capacity < 32 << 20, "{collector:?}: {capacity:#x}");
    }
}

#[test]
fn objects_too_large_are_not_made() {
    for collector in COLLECTORS {
        let mut store = store(collector, false);
        let bytes = array_type(&store, WasmStorageType::I8);
        let longs = array_type(&store, WasmStorageType::Val(WasmValType::V128));
        let mut make = |ty, len| alloc_array(&mut *store, ty, len).unwrap();
        assert!(make(&longs, u32::MAX).is_none());
        assert!(make(&bytes, u32::MAX).is_none());
        assert!(make(&longs, 1 << 27).is_none());
        let array = make(&bytes, (1 << 30) - 100).unwrap();
        assert_eq!(store.core.gc().array_len(array), (1 << 30) - 100);
        drop(store);
    }
}

#[test]
fn errors_of_the_limiter_are_passed_on() {
    for collector in COLLECTORS {
        let mut store = store(collector, false);
        let ty = struct_type(&store);
        list(&mut store, &ty, 10);
        store.limiter.error = true;
        let error = loop {
            match alloc_struct(&mut *store, &ty) {
                Ok(object) => store.roots.push(object.expect("errors come first")),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "the limiter failed");
        store.limiter.error = false;
        assert_eq!(list(&mut store, &ty, 10), 10);
    }
}

#[test]
fn panics_of_destructors_are_passed_on_when_all_is_done() {
    struct Panicking(Arc<AtomicUsize>);
    impl Drop for Panicking {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
            panic::resume_unwind(Box::new("dropped"));
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut store = store(GcCollector::Copying, false);
    let ty = struct_type(&store);
    list(&mut store, &ty, 10);
    for _ in 0..3 {
        let value = Panicking(Arc::clone(&dropped));
        assert!(alloc_extern(&mut *store, Box::new(value)).unwrap().is_ok());
    }
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| collect(&mut *store)));
    assert_eq!(
        *panicked.unwrap_err().downcast::<&str>().unwrap(),
        "dropped"
    );
    assert_eq!(dropped.load(Relaxed), 3);
    collect(&mut *store);
    assert_eq!(list(&mut store, &ty, 100_000), 100_000);
}

#[test]
fn native_roots_follow_their_objects() {
    for collector in COLLECTORS {
        let mut store = store(collector, true);
        let ty = struct_type(&store);
        let object = alloc_struct(&mut *store, &ty).unwrap().unwrap();
        store.core.gc_mut().set_field(object, 1, ValRaw::u64(7));
        let mut references = [object.get(), 0, 5];
        with_roots(&mut *store, &mut references, |store| {
            for _ in 0..5 {
                alloc_struct(store, &ty).unwrap().unwrap();
            }
        });
        let [moved, 0, 5] = references else {
            panic!("{references:?}")
        };
        let object = VMGcRef::new(moved).unwrap();
        assert_eq!(store.core.gc().field(object, 1).get_u64(), 7);
        store.core.set_pending_exception(object);
        collect(&mut *store);
        let object = store.core.take_pending_exception().unwrap();
        assert_eq!(store.core.gc().field(object, 1).get_u64(), 7);
    }
}

#[test]
fn fields_hold_every_type() {
    let mut store = store(GcCollector::Copying, false);
    let packed = |element_type| WasmFieldType {
        element_type,
        mutable: true,
    };
    let fields = [
        packed(WasmStorageType::I8),
        packed(WasmStorageType::I16),
        field(WasmValType::F32),
        field(WasmValType::F64),
        field(WasmValType::V128),
        field(WasmValType::Ref(WasmRefType::FUNCREF)),
    ];
    let ty = register(&store, WasmCompositeType::Struct(fields.into()));
    let object = alloc_struct(&mut *store, &ty).unwrap().unwrap();
    let gc = store.core.gc_mut();
    assert!(gc.field(object, 5).get_funcref().is_null());
    let mut func = VMFuncRef {
        array_call: never_called,
        wasm_call: None,
        vmctx: NonNull::dangling(),
        type_index: ty.index(),
        gc_id: 0,
    };
    let pointer: *mut std::ffi::c_void = (&raw mut func).cast();
    gc.set_field(object, 0, ValRaw::i32(-2));
    gc.set_field(object, 1, ValRaw::i32(-3));
    gc.set_field(object, 2, ValRaw::f32(5));
    gc.set_field(object, 3, ValRaw::f64(6));
    gc.set_field(object, 4, ValRaw::v128(u128::MAX - 7));
    gc.set_field(object, 5, ValRaw::funcref(pointer));
    assert_eq!(gc.field(object, 0).get_u32(), 0xfe);
    assert_eq!(gc.field(object, 1).get_u32(), 0xfffd);
    assert_eq!(gc.field(object, 2).get_f32(), 5);
    assert_eq!(gc.field(object, 3).get_f64(), 6);
    assert_eq!(gc.field(object, 4).get_v128(), u128::MAX - 7);
    assert_eq!(gc.field(object, 5).get_funcref(), pointer);
    let context = store.core.vm_store_context();
    // SAFETY: the context is alive.
    let context = unsafe { context.as_ref() };
    assert_eq!(context.gc_funcs_len.get(), 2);
    // SAFETY: the table has two entries.
    let entry = unsafe { context.gc_funcs.get().add(1).read() };
    assert_eq!(entry.map(|func| func.as_ptr().cast()), Some(pointer));
}

unsafe extern "C" fn never_called(
    _callee: NonNull<VMFuncRef>,
    _caller: Option<NonNull<crate::vmcontext::VMContext>>,
    _values: NonNull<ValRaw>,
    _len: usize,
) -> bool {
    false
}

#[test]
fn subtypes_are_told_by_their_display_and_beyond() {
    let store = store(GcCollector::Copying, false);
    let registry = Arc::clone(store.core.type_registry());
    let mut chain: Vec<RegisteredType> = Vec::new();
    for _ in 0..20 {
        let supertype = chain.last().map(RegisteredType::index);
        let ty = registry.register(WasmSubType {
            is_final: false,
            supertype: supertype.map(waxwing_environ::TypeRef::Engine),
            composite: WasmCompositeType::Struct(Box::new([])),
        });
        chain.push(ty);
    }
    let mut types = GcTypes::default();
    for ty in &chain {
        types.add_registered(ty).unwrap();
    }
    let index = |i: usize| chain[i].index().as_u32();
    for sub in 0..20 {
        for sup in 0..20 {
            let is = types.is_subtype(&registry, index(sub), index(sup));
            assert_eq!(is, sup <= sub, "{sub} and {sup}");
        }
    }
    let display = &types.records()[index(4) as usize].display;
    let expected: Vec<u32> = (0..5).map(index).collect();
    assert_eq!(display[..5], expected);
    assert_eq!(display[5], u32::MAX);
}

#[test]
fn nothing_is_collected_while_the_store_waits_on_another_thread() {
    for collector in COLLECTORS {
        let mut store = store(collector, false);
        let ty = struct_type(&store);
        list(&mut store, &ty, 1);
        let context = store.core.vm_store_context();
        // SAFETY: the context is alive.
        let context = unsafe { context.as_ref() };
        // As if the store had been entered, though not on this thread.
        context.stack_limit.set(1);
        let first = store.roots[0];
        for _ in 0..200_000 {
            alloc_struct(&mut *store, &ty).unwrap().unwrap();
        }
        collect(&mut *store);
        assert_eq!(store.roots, [first]);
        assert!(store.core.gc().capacity() > 200_000 * 32);
        context.stack_limit.set(0);
        collect(&mut *store);
        assert_eq!(list(&mut store, &ty, 1000), 1000);
    }
}
