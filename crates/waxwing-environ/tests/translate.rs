//! Facts that translation draws from modules.

use wasmparser::WasmFeatures;
use waxwing_environ::compile::{CompileError, ModuleTranslation};
use waxwing_environ::{
    EntityRef, FuncIndex, MemoryIndex, MemoryInitialization, ModuleTypeIndex, ReservedValue,
    TableInitialValue, Tunables, TypeRef, WasmCompositeType, WasmHeapType, WasmStorageType,
    WasmValType,
};

fn with_translation(wat: &str, check: impl FnOnce(ModuleTranslation<'_>)) {
    let bytes = wat::parse_str(wat).unwrap();
    let tunables = Tunables {
        page_align: 0x1000,
        ..Tunables::default()
    };
    check(ModuleTranslation::new(&bytes, WasmFeatures::default(), &tunables).unwrap());
}

#[test]
fn equal_types_are_interned_once() {
    let wat = r#"(module
        (type (func (param i32)))
        (type (func (param i32)))
        (type (func (result i64))))"#;
    with_translation(wat, |translation| {
        let by_index: Vec<usize> = translation
            .types
            .by_index
            .values()
            .map(|i| i.index())
            .collect();
        assert_eq!(by_index, [0, 0, 1]);
        assert_eq!(translation.types.types.len(), 2);
    });
}

#[test]
fn only_escaping_functions_get_a_func_ref() {
    let wat = r#"(module
        (import "" "" (func $import))
        (func $hidden)
        (func $exported (export "e"))
        (func $in_table)
        (table 1 funcref)
        (elem (i32.const 0) $in_table)
        (export "i" (func $import)))"#;
    with_translation(wat, |translation| {
        let slots: Vec<_> = translation
            .functions
            .values()
            .map(|facts| facts.func_ref.map(|slot| slot.index()))
            .collect();
        assert_eq!(slots, [None, None, Some(0), Some(1)]);
        assert_eq!(translation.module.num_escaped_funcs, 2);
    });
}

#[test]
fn leading_constant_segments_become_the_initial_table() {
    let wat = r#"(module
        (func $f) (func $g)
        (table 4 funcref)
        (elem (i32.const 1) $f $g)
        (elem (i32.const 9) $f)
        (elem (i32.const 0) $g))"#;
    with_translation(wat, |translation| {
        let values: Vec<_> = translation.module.table_initial_values.values().collect();
        let [TableInitialValue::Null { precomputed }] = values[..] else {
            panic!("one table of nulls, not {values:?}");
        };
        let null = FuncIndex::reserved_value();
        assert_eq!(**precomputed, [null, FuncIndex::new(0), FuncIndex::new(1)]);
        assert_eq!(
            translation.module.table_segments.len(),
            2,
            "the failing one stops"
        );
    });
}

#[test]
fn constant_segments_become_one_image() {
    let wat = r#"(module
        (memory 2)
        (data (i32.const 0x1010) "ab")
        (data (i32.const 0x1011) "c")
        (data "passive"))"#;
    with_translation(wat, |translation| {
        let MemoryInitialization::Static(images) = &translation.module.memory_initialization else {
            panic!("a static image");
        };
        let image = images[MemoryIndex::new(0)].as_ref().unwrap();
        assert_eq!(image.offset, 0x1000);
        assert_eq!(image.data, 0..0x1000);
        let data: Vec<u8> = translation.data.pieces.concat();
        assert_eq!(&data[0x10..0x13], b"ac\0");
        let passive = translation.module.passive_data.values().last().unwrap();
        let range = passive.clone().unwrap();
        assert_eq!(&data[range.start as usize..range.end as usize], b"passive");
    });
}

#[test]
fn segments_out_of_bounds_or_of_unknown_offset_stay_segments() {
    for wat in [
        r#"(module (memory 1) (data (i32.const 0xffff) "ab"))"#,
        r#"(module (import "" "" (global i32)) (memory 1) (data (global.get 0) "ab"))"#,
        r#"(module (import "" "" (memory 1)) (data (i32.const 0) "ab"))"#,
    ] {
        with_translation(wat, |translation| {
            let MemoryInitialization::Segmented(segments) =
                &translation.module.memory_initialization
            else {
                panic!("segments in {wat}");
            };
            assert_eq!(segments.len(), 1);
        });
    }
}

#[test]
fn sparse_data_makes_no_huge_image() {
    let wat = r#"(module (memory 1024)
        (data (i32.const 0) "a") (data (i32.const 0x3ff0000) "b"))"#;
    with_translation(wat, |translation| {
        assert!(translation.data.len < 100);
        assert!(matches!(
            translation.module.memory_initialization,
            MemoryInitialization::Segmented(_)
        ));
    });
}

#[test]
fn names_are_sorted_and_belong_to_functions() {
    let wat = r#"(module $mod (func $b) (func $a))"#;
    with_translation(wat, |translation| {
        assert_eq!(translation.module.name.as_deref(), Some("mod"));
        let names: Vec<_> = translation
            .function_names
            .iter()
            .map(|(_, name)| *name)
            .collect();
        assert_eq!(names, ["b", "a"]);
    });
}

#[test]
fn invalid_bytes_say_what_and_where() {
    let bytes =
        wat::parse_str("(module (func (export \"f\") (result i32) (i32.const 1)))").unwrap();
    for len in 0..bytes.len() {
        let result =
            ModuleTranslation::new(&bytes[..len], WasmFeatures::default(), &Tunables::default());
        let Err(CompileError::Invalid { message, .. }) = result else {
            assert!(
                [8, 15].contains(&len),
                "header and types alone are a module, not {len}"
            );
            continue;
        };
        assert!(!message.is_empty());
    }
}

#[test]
fn types_of_a_rec_group_can_refer_to_later_ones() {
    let group = "(rec
        (type (struct (field (ref null 1)) (field (ref null 2))))
        (type (sub (array (mut (ref null 0)))))
        (type (func (param (ref 1)))))";
    let again = group
        .replace("null 1", "null 4")
        .replace("null 2", "null 5")
        .replace("null 0", "null 3")
        .replace("(ref 1)", "(ref 4)");
    let wat = format!("(module {group} {again} (type (sub 1 (array (mut (ref null 3))))))");
    with_translation(&wat, |translation| {
        use WasmHeapType as H;
        let types = &translation.types;
        let by_index: Vec<usize> = types.by_index.values().map(|i| i.index()).collect();
        assert_eq!(by_index, [0, 1, 2, 0, 1, 2, 3]);
        let ty = |i| TypeRef::Module(ModuleTypeIndex::new(i));
        let WasmCompositeType::Struct(fields) = &types.types[ModuleTypeIndex::new(0)].composite
        else {
            panic!("the first type is a struct");
        };
        let targets: Vec<_> = fields
            .iter()
            .map(|field| match field.element_type {
                WasmStorageType::Val(WasmValType::Ref(ty)) => ty.heap_type,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(targets, [H::ConcreteArray(ty(1)), H::ConcreteFunc(ty(2))]);
        assert_eq!(types.types[ModuleTypeIndex::new(3)].supertype, Some(ty(1)));
        assert_eq!(types.rec_groups.len(), 2);
    });
}
