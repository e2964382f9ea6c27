//! Tests of type descriptors.

use super::*;
use crate::{Config, Engine, Module};

fn func(engine: &Engine, params: &[ValType], results: &[ValType]) -> FuncType {
    FuncType::new(engine, params.iter().cloned(), results.iter().cloned())
}

#[test]
fn function_types_are_interned() {
    let engine = Engine::default();
    let a = func(&engine, &[ValType::I32, ValType::FUNCREF], &[ValType::V128]);
    let b = func(&engine, &[ValType::I32, ValType::FUNCREF], &[ValType::V128]);
    let c = func(&engine, &[], &[]);
    assert!(FuncType::eq(&a, &b) && a.matches(&b));
    assert!(!FuncType::eq(&a, &c) && !a.matches(&c));
    assert_eq!(a.params().len(), 2);
    assert!(a.param(0).unwrap().is_i32() && a.param(1).unwrap().is_funcref());
    assert!(a.result(0).unwrap().is_v128() && a.result(1).is_none());
    assert_eq!(a.to_string(), "(func (param i32 funcref) (result v128))");
    assert_eq!(c.to_string(), "(func)");
    assert!(a.finality().is_final() && a.supertype().is_none());
}

#[test]
fn supertypes_are_checked() {
    let engine = Engine::default();
    let new = |finality, supertype, param: ValType| {
        FuncType::with_finality_and_supertype(&engine, finality, supertype, [param], [])
    };
    let base = new(Finality::NonFinal, None, ValType::NULLFUNCREF).unwrap();
    let sub = new(Finality::Final, Some(&base), ValType::FUNCREF).unwrap();
    assert!(sub.matches(&base) && !base.matches(&sub));
    assert!(FuncType::eq(&sub.supertype().unwrap(), &base));
    let error = new(Finality::Final, Some(&sub), ValType::FUNCREF).unwrap_err();
    assert!(error.to_string().contains("final"));
    let error = new(Finality::Final, Some(&base), ValType::I32).unwrap_err();
    assert!(error.to_string().contains("does not match"), "{error}");
    let concrete = HeapType::from(sub.clone());
    assert!(concrete.matches(&HeapType::from(base)) && concrete.matches(&HeapType::Func));
    assert!(HeapType::NoFunc.matches(&concrete) && !HeapType::Func.matches(&concrete));
    assert!(concrete.is_concrete() && !concrete.is_abstract() && concrete.is_concrete_func());
    assert!(concrete.top().is_func() && concrete.bottom().is_no_func());
}

#[test]
fn structs_and_arrays_are_described() {
    let engine = Engine::default();
    let byte = FieldType::new(Mutability::Var, StorageType::I8);
    let number = FieldType::new(Mutability::Const, ValType::F64.into());
    let pair = StructType::new(&engine, [byte.clone(), number.clone()]).unwrap();
    assert_eq!(pair.to_string(), "(struct (field (mut i8)) (field f64))");
    assert_eq!(pair.fields().len(), 2);
    assert!(FieldType::eq(&pair.field(0).unwrap(), &byte) && pair.field(2).is_none());
    assert!(byte.element_type().unpack().is_i32());
    let bytes = ArrayType::new(&engine, byte);
    assert_eq!(bytes.to_string(), "(array (mut i8))");
    assert!(bytes.mutability().is_var() && bytes.element_type().is_i8());
    let reference = ValType::from(RefType::new(false, bytes.into()));
    assert!(reference.matches(&ValType::ARRAYREF) && reference.matches(&ValType::EQREF));
    assert!(!ValType::ARRAYREF.matches(&reference));
    let many = vec![number; 10_001];
    assert!(StructType::new(&engine, many).is_err());
}

#[test]
fn references_are_displayed_as_in_the_text_format() {
    assert_eq!(ValType::EXTERNREF.to_string(), "externref");
    assert_eq!(ValType::NULLREF.to_string(), "nullref");
    assert_eq!(RefType::new(false, HeapType::Any).to_string(), "(ref any)");
    assert_eq!(RefType::new(true, HeapType::Exn).to_string(), "exnref");
    assert_eq!(format!("{:?}", ValType::I64), "i64");
    let engine = Engine::default();
    let concrete = RefType::new(true, func(&engine, &[], &[]).into());
    assert_eq!(concrete.to_string(), "(ref null (concrete (func)))");
}

#[test]
fn types_that_refer_to_themselves_are_displayed() {
    let engine = Engine::new(Config::new().wasm_function_references(true).wasm_gc(true)).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
            (rec
                (type $list (struct (field (mut (ref null $list)))))
                (type $visit (func (param (ref $list)) (result (ref null $visit)))))
            (global (export "list") (ref null $list) (ref.null none))
            (func (export "visit") (type $visit) (unreachable)))"#,
    )
    .unwrap();
    let ty = |name| module.get_export(name).unwrap();
    let (list, visit) = (ty("list"), ty("visit"));
    assert_eq!(
        list.unwrap_global().content().to_string(),
        "(ref null (concrete (struct (field (mut (ref null (concrete struct)))))))"
    );
    let visit = visit.unwrap_func();
    assert_eq!(
        visit.to_string(),
        "(func (param (ref (concrete struct))) (result (ref null (concrete func))))"
    );
    assert_eq!(
        format!("{:?}", visit.param(0).unwrap()),
        "(ref (concrete (struct (field (mut (ref null (concrete struct)))))))"
    );
}

#[test]
fn types_survive_their_parts() {
    let engine = Engine::default();
    let outer = {
        let inner = func(&engine, &[ValType::I64], &[]);
        func(&engine, &[RefType::new(true, inner.into()).into()], &[])
    };
    let param = outer.param(0).unwrap();
    let inner = param
        .unwrap_ref()
        .heap_type()
        .unwrap_concrete_func()
        .clone();
    assert_eq!(inner.to_string(), "(func (param i64))");
    drop(outer);
    assert!(inner.param(0).unwrap().is_i64());
}

#[test]
fn tables_and_globals_are_described() {
    let table = TableType::new(RefType::FUNCREF, 1, Some(2));
    assert_eq!((table.minimum(), table.maximum()), (1, Some(2)));
    assert!(!table.is_64() && TableType::new64(RefType::FUNCREF, 0, None).is_64());
    let global = GlobalType::new(ValType::I32, Mutability::Var);
    assert!(global.content().is_i32() && global.mutability().is_var());
    let ty = ExternType::from(global);
    assert!(ty.global().is_some() && ty.func().is_none());
}
