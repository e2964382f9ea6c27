//! Code for objects of the GC heap.

use super::{Target, compile, explicit_traps, first_function, host, target};
use waxwing_environ::compile::{CompiledFunction, RelocTarget};
use waxwing_environ::{BuiltinFunctionIndex as B, GcCollector, Tunables};

const COLLECTORS: [GcCollector; 3] = [
    GcCollector::Null,
    GcCollector::Copying,
    GcCollector::DeferredReferenceCounting,
];

fn with_collector(collector: GcCollector) -> Target {
    let tunables = Tunables {
        collector: Some(collector),
        ..Tunables::default()
    };
    target(&format!("{collector:?}"), None, &[], tunables)
}

/// Configurations that take different ways through the translation of GC instructions.
fn gc_targets() -> Vec<Target> {
    let mut triples = vec![None];
    if cfg!(feature = "all-arch") {
        triples.push(Some("aarch64-unknown-linux-gnu"));
        triples.push(Some("s390x-unknown-linux-gnu"));
    }
    let mut targets = Vec::new();
    for triple in triples {
        for collector in COLLECTORS {
            for (how, settings, tunables) in [
                ("default", &[][..], Tunables::default()),
                ("unoptimized", &[("opt_level", "none")], Tunables::default()),
                ("explicit traps", &[], explicit_traps()),
            ] {
                let name = format!("{triple:?}, {collector:?}, {how}");
                let tunables = Tunables {
                    collector: Some(collector),
                    ..tunables
                };
                targets.push(target(&name, triple, settings, tunables));
            }
        }
    }
    targets
}

fn compiles_everywhere(wat: &str) {
    for target in gc_targets() {
        if let Err(error) = compile(&target, wat) {
            panic!("{}: {error}\n{wat}", target.name);
        }
    }
}

fn builtins(function: &CompiledFunction) -> Vec<B> {
    let targets = function.relocations.iter().map(|reloc| reloc.target);
    targets
        .filter_map(|target| match target {
            RelocTarget::Builtin(builtin) => Some(builtin),
            RelocTarget::Function(_) => None,
        })
        .collect()
}

fn clif(target: &Target, wat: &str) -> String {
    first_function(target, wat).clif.unwrap()
}

/// Types of all kinds of fields; `$open` has a subtype.
const TYPES: &str = r#"
  (rec
    (type $all (struct (field (mut i8)) (field (mut i16)) (field (mut i32)) (field (mut i64))
      (field (mut f32)) (field (mut f64)) (field (mut v128)) (field (mut (ref null $all)))
      (field (mut anyref)) (field (mut funcref)) (field (mut externref)) (field i31ref)
      (field (ref $f)))))
  (type $f (func))
  (type $open (sub (struct (field (mut i32)))))
  (type $leaf (sub final $open (struct (field (mut i32)) (field (mut anyref)))))
  (type $g (sub (func (param i32))))
"#;

fn module(functions: &str) -> String {
    let types = TYPES.replace("(type $f (func))", "");
    let types = types.replace("(rec\n", "(type $f (func)) (rec\n");
    format!("(module {types} {functions})")
}

#[test]
fn structs() {
    let kinds = [
        "i32",
        "i32",
        "i32",
        "i64",
        "f32",
        "f64",
        "v128",
        "(ref null $all)",
        "anyref",
        "funcref",
        "externref",
        "i31ref",
        "(ref $f)",
    ];
    let params: String = kinds.iter().map(|ty| format!("(param {ty})")).collect();
    let gets: String = (0..kinds.len())
        .map(|i| format!("(local.get {i})"))
        .collect();
    let mut functions = format!("(func {params} (result (ref $all)) (struct.new $all {gets}))");
    for null in ["null", ""] {
        for (i, ty) in kinds.iter().enumerate() {
            let packed = ["_s", "_u"]
                .into_iter()
                .filter(|_| i < 2)
                .collect::<Vec<_>>();
            let ways = if i < 2 { packed } else { vec![""] };
            for way in ways {
                functions += &format!(
                    "(func (param (ref {null} $all)) (result {ty})
                       (struct.get{way} $all {i} (local.get 0)))"
                );
            }
            if i < 11 {
                functions += &format!(
                    "(func (param (ref {null} $all) {ty})
                       (struct.set $all {i} (local.get 0) (local.get 1)))"
                );
            }
        }
    }
    functions += "(func (result (ref $leaf)) (struct.new_default $leaf))";
    compiles_everywhere(&module(&functions));
}

#[test]
fn arrays() {
    let mut functions = String::new();
    let mut types = String::new();
    let kinds = [
        ("i8", "i32"),
        ("i16", "i32"),
        ("i32", "i32"),
        ("i64", "i64"),
        ("f32", "f32"),
        ("f64", "f64"),
        ("v128", "v128"),
        ("anyref", "anyref"),
        ("funcref", "funcref"),
        ("(ref null $open)", "(ref null $open)"),
    ];
    for (storage, ty) in kinds {
        let array = format!("$a{}", types.matches("(type").count());
        types += &format!("(type {array} (array (mut {storage})))");
        functions += &format!(
            "(func (param {ty} i32) (result (ref {array}))
               (array.new {array} (local.get 0) (local.get 1)))
             (func (param i32) (result (ref {array})) (array.new_default {array} (local.get 0)))
             (func (param {ty}) (result (ref {array}))
               (array.new_fixed {array} 2 (local.get 0) (local.get 0)))
             (func (param (ref {array}) i32 {ty})
               (array.set {array} (local.get 0) (local.get 1) (local.get 2))
               (array.fill {array} (local.get 0) (local.get 1) (local.get 2) (i32.const 7))
               (array.copy {array} {array} (local.get 0) (i32.const 1) (local.get 0)
                 (i32.const 2) (i32.const 3)))"
        );
        for way in if ty == storage {
            vec![""]
        } else {
            vec!["_s", "_u"]
        } {
            functions += &format!(
                "(func (param (ref null {array}) i32) (result {ty})
                   (array.get{way} {array} (local.get 0) (local.get 1)))"
            );
        }
    }
    functions += r#"
      (data $d "abc")
      (elem $e (ref null $open) (ref.null $open))
      (func (param arrayref) (result i32) (array.len (local.get 0)))
      (func (param i32) (result (ref $a0)) (array.new_data $a0 $d (local.get 0) (i32.const 1)))
      (func (param i32) (result (ref $a9)) (array.new_elem $a9 $e (local.get 0) (i32.const 1)))
      (func (param (ref $a0) (ref null $a9))
        (array.init_data $a0 $d (local.get 0) (i32.const 0) (i32.const 1) (i32.const 2))
        (array.init_elem $a9 $e (local.get 1) (i32.const 0) (i32.const 1) (i32.const 2)))"#;
    compiles_everywhere(&module(&(types + &functions)));
}

#[test]
fn casts() {
    let hierarchies: [(&[&str], &[&str]); 4] = [
        (
            &["any", "eq", "struct", "$open"],
            &[
                "any", "eq", "i31", "struct", "array", "none", "$open", "$leaf",
            ],
        ),
        (&["func", "$g", "$f"], &["func", "nofunc", "$f", "$g"]),
        (&["extern"], &["extern", "noextern"]),
        (&["exn"], &["exn", "noexn"]),
    ];
    let mut functions = String::new();
    for (from, to) in hierarchies {
        let top = to[0];
        for from in from {
            for from_null in ["null", ""] {
                for to in to {
                    for to_null in ["null", ""] {
                        functions += &format!(
                            "(func (param (ref {from_null} {from})) (result i32)
                               (ref.test (ref {to_null} {to}) (local.get 0)))
                             (func (param (ref {from_null} {from})) (result (ref null {top}))
                               (ref.cast (ref {to_null} {to}) (local.get 0)))"
                        );
                        // Branches are from a type to a subtype.
                        if *from != top || (from_null.is_empty() && !to_null.is_empty()) {
                            continue;
                        }
                        for on in ["", "_fail"] {
                            functions += &format!(
                                "(func (param (ref {from_null} {from})) (result (ref null {top}))
                                   (br_on_cast{on} 0 (ref {from_null} {from}) (ref {to_null} {to})
                                     (local.get 0))
                                   (drop) (ref.null {top}))"
                            );
                        }
                    }
                }
            }
        }
    }
    compiles_everywhere(&module(&functions));
}

#[test]
fn references_of_other_kinds() {
    compiles_everywhere(&module(
        r#"
      (table $t 1 anyref)
      (table $f 1 funcref)
      (global $g (mut anyref) (ref.null any))
      (global $h (export "h") externref (ref.null extern))
      (func (param i32) (result i31ref) (ref.i31 (local.get 0)))
      (func (param i31ref (ref i31)) (result i32)
        (i32.add (i31.get_s (local.get 0)) (i31.get_u (local.get 1))))
      (func (param eqref eqref) (result i32) (ref.eq (local.get 0) (local.get 1)))
      (func (param externref) (result externref)
        (extern.convert_any (any.convert_extern (local.get 0))))
      (func (param anyref) (global.set $g (local.get 0)))
      (func (result anyref externref) (global.get $g) (global.get $h))
      (func (param i32 anyref) (result anyref)
        (table.set $t (local.get 0) (local.get 1)) (table.get $t (local.get 0)))
      (func (param i32) (call_indirect $f (type $g) (i32.const 1) (local.get 0)))
      (func $callee (export "e"))
      (func (result funcref) (ref.func $callee))
      (func (param (ref $f) (ref null $g))
        (call_ref $f (local.get 0)) (return_call_ref $g (i32.const 1) (local.get 1)))
      (func (param anyref i32) (result anyref)
        (select (result anyref) (local.get 0) (ref.i31 (local.get 1)) (local.get 1)))"#,
    ));
}

#[test]
fn types_of_a_rec_group_refer_to_later_ones() {
    compiles_everywhere(
        "(module (rec
           (type $a (struct (field (ref null $b)) (field (ref null $c))))
           (type $b (array (mut (ref null $a))))
           (type $c (sub (func (param (ref null $b)) (result (ref null $a))))))
         (func (type $c) (array.get $b (local.get 0) (i32.const 0)))
         (func (param (ref $a)) (result (ref null $b)) (struct.get $a 0 (local.get 0))))",
    );
}

#[test]
fn objects_are_made_in_line_but_by_counting() {
    let wat = module("(func (result (ref $leaf)) (struct.new_default $leaf))");
    for collector in COLLECTORS {
        let target = with_collector(collector);
        let function = first_function(&target, &wat);
        assert_eq!(builtins(&function), [B::gc_alloc_struct], "{collector:?}");
        let clif = function.clif.unwrap();
        let in_line = clif.contains("isub");
        let counts = collector == GcCollector::DeferredReferenceCounting;
        assert_eq!(in_line, !counts, "{clif}");
        // The header is one store.
        assert_eq!(
            clif.matches("store").count(),
            if counts { 0 } else { 2 },
            "{clif}"
        );
    }
}

#[test]
fn barriers_are_what_the_collector_needs() {
    let set = |ty: &str| {
        module(&format!(
            "(func (param (ref $leaf) {ty}) (struct.set $leaf 1 (local.get 0) (local.get 1)))"
        ))
    };
    let called = |collector, wat: &str| {
        let mut called = builtins(&first_function(&with_collector(collector), wat));
        called.sort();
        called.dedup();
        called
    };
    let counting = GcCollector::DeferredReferenceCounting;
    assert_eq!(called(GcCollector::Null, &set("anyref")), []);
    for ty in ["anyref", "i31ref", "nullref"] {
        assert_eq!(called(GcCollector::Copying, &set(ty)), [], "{ty}");
    }
    assert_eq!(
        called(counting, &set("anyref")),
        [B::gc_list, B::gc_count_extern]
    );
    let global = module(
        "(global $g (mut (ref null $leaf)) (ref.null $leaf))
         (func (export \"f\") (param (ref $leaf)) (global.set $g (local.get 0)))",
    );
    assert_eq!(called(GcCollector::Copying, &global), []);
    assert_eq!(called(counting, &global), [B::gc_list]);
    let table = module(
        "(table 1 (ref null $leaf))
         (func (param (ref $leaf)) (table.set 0 (i32.const 0) (local.get 0)))",
    );
    assert_eq!(called(GcCollector::Copying, &table), []);
    assert_eq!(called(counting, &table), [B::gc_list]);
}

#[test]
fn stores_of_references_mark_the_card_of_their_slot() {
    let marks = |collector, wat: &str| {
        let clif = clif(&with_collector(collector), wat);
        let marks = clif.matches("-0x0080_0000").count();
        // There is nothing to be tested, nor to be read in the object.
        assert!(!clif.contains("brif"), "{clif}");
        assert!(!clif.contains("gc header"), "{clif}");
        assert_eq!(marks != 0, clif.contains("gc cards"), "{clif}");
        (marks, clif)
    };
    let set = |ty: &str| {
        module(&format!(
            "(func (param (ref $leaf) {ty}) (struct.set $leaf 1 (local.get 0) (local.get 1)))"
        ))
    };
    let (count, clif) = marks(GcCollector::Copying, &set("anyref"));
    assert_eq!(count, 1, "{clif}");
    // The field's offset comes before the shift.
    let slot = clif.find("iconst.i32 12").expect("the field's offset");
    assert!(slot < clif.find("ushr").expect("the shift"), "{clif}");
    for ty in ["i31ref", "nullref"] {
        assert_eq!(marks(GcCollector::Copying, &set(ty)).0, 0, "{ty}");
    }
    assert_eq!(marks(GcCollector::Null, &set("anyref")).0, 0);
    let element = "(module (type $a (array (mut anyref)))
         (func (param (ref $a) i32 anyref)
           (array.set $a (local.get 0) (local.get 1) (local.get 2))))";
    assert_eq!(marks(GcCollector::Copying, element).0, 1);
}

#[test]
fn new_objects_need_no_barrier() {
    let wat = module(
        "(func (param anyref) (result (ref $leaf)) (struct.new $leaf (i32.const 0) (local.get 0)))",
    );
    let function = first_function(&with_collector(GcCollector::Copying), &wat);
    assert_eq!(builtins(&function), [B::gc_alloc_struct]);
    // The header and one field: the other is zero. `gc_next`. The operand, for the stack map.
    let clif = function.clif.unwrap();
    assert_eq!(clif.matches("store").count(), 4, "{clif}");
}

#[test]
fn null_is_found_by_faults() {
    let get = |ty| {
        module(&format!(
            "(func (param (ref {ty} $leaf)) (result i32) (struct.get $leaf 0 (local.get 0)))"
        ))
    };
    let nullable = clif(&host(), &get("null"));
    assert!(!nullable.contains("trapz"), "{nullable}");
    assert!(nullable.contains("load.i32 user15"), "{nullable}");
    assert!(!clif(&host(), &get("")).contains("user15"));
    let explicit = target("explicit", None, &[], explicit_traps());
    let nullable = first_function(&explicit, &get("null"));
    assert!(builtins(&nullable).contains(&B::trap));
    let non_null = first_function(&explicit, &get(""));
    // That of the stack check.
    assert_eq!(builtins(&non_null), [B::trap]);
}

#[test]
fn casts_use_what_is_known() {
    let test = |from: &str, to: &str| {
        clif(
            &host(),
            &module(&format!(
                "(func (param (ref null {from})) (result i32)
                   (ref.test (ref {to}) (local.get 0)))"
            )),
        )
    };
    // An upcast is a test for null.
    let up = test("$leaf", "$open");
    assert!(!up.contains("brif") && up.contains("icmp"), "{up}");
    // Siblings have nothing in common.
    let aside = test("$all", "$open");
    assert!(
        !aside.contains("brif") && !aside.contains("icmp"),
        "{aside}"
    );
    // A final type is compared, another one looked up.
    let kinds = |clif: &str| clif.matches("icmp eq").count();
    assert_eq!(kinds(&test("$open", "$leaf")), 1);
    assert_eq!(kinds(&test("struct", "$open")), 2);
    // Only an object that may be something else is asked for its tag.
    assert!(!test("struct", "$open").contains("band"));
    assert!(test("any", "$open").contains("band"));
}

#[test]
fn references_alive_across_calls_are_in_stack_maps() {
    let wat = module(
        "(func (param (ref $leaf) i32 i31ref funcref) (result (ref $leaf) i31ref funcref)
           (local $l anyref)
           (local.set $l (struct.new_default $open))
           (call $callee)
           (drop (local.get $l))
           (local.get 0) (local.get 2) (local.get 3))
         (func $callee)",
    );
    for collector in [GcCollector::Copying, GcCollector::DeferredReferenceCounting] {
        let function = first_function(&with_collector(collector), &wat);
        // Across the allocation and the call: the first parameter, and nothing else.
        let counts: Vec<_> = function
            .stack_maps
            .iter()
            .map(|map| map.slots.len())
            .collect();
        assert_eq!(counts, [1, 1], "{collector:?}");
        let len = function.code.len() as u32;
        assert!(
            function
                .stack_maps
                .iter()
                .all(|map| map.return_offset <= len)
        );
    }
    let function = first_function(&with_collector(GcCollector::Null), &wat);
    assert!(function.stack_maps.is_empty());
    let plain = "(module (func (param i32) (result i32) (call $f) (local.get 0)) (func $f))";
    let function = first_function(&host(), plain);
    assert!(function.stack_maps.is_empty());
    assert!(!function.clif.unwrap().contains("stack_addr"));
}

#[test]
fn every_way_to_get_a_reference_is_tracked() {
    let sources = [
        "(struct.get $leaf 1 (local.get 0))",
        "(array.get $a (local.get 1) (i32.const 0))",
        "(global.get $g)",
        "(table.get $t (i32.const 0))",
        "(call $source)",
        "(call_ref $s (local.get 2))",
        "(select (result anyref) (local.get 3) (local.get 0) (i32.const 1))",
        "(block (result anyref) (local.get 3) (br_if 0 (i32.const 1)))",
        "(loop (result anyref) (local.get 3))",
        "(array.new_elem $a $e (i32.const 0) (i32.const 1))",
        "(array.new_default $a (i32.const 1))",
        "(br_on_cast 0 anyref (ref $leaf) (local.get 3))",
    ];
    for source in sources {
        let wat = module(&format!(
            "(type $a (array (mut anyref)))
             (type $s (func (result anyref)))
             (global $g (mut anyref) (ref.null any))
             (table $t 1 anyref)
             (elem $e anyref (ref.null any))
             (func (param (ref $leaf) (ref $a) (ref $s) anyref) (result anyref)
               {source} (call $callee))
             (func $source (result anyref) (ref.null any))
             (func $callee)"
        ));
        let function = first_function(&host(), &wat);
        let last = function.stack_maps.last();
        assert!(last.is_some_and(|map| !map.slots.is_empty()), "{source}");
    }
}

#[test]
fn functions_are_referred_to_without_a_call() {
    let wat = "(module (func $f (export \"f\") (result funcref) (ref.func $f)))";
    let function = first_function(&host(), wat);
    assert_eq!(builtins(&function), [B::ref_func]);
    assert!(function.clif.unwrap().contains("cold"));
    let import = "(module (import \"\" \"\" (func $f)) (elem declare func $f)
      (func (result funcref) (ref.func $f)))";
    assert_eq!(builtins(&first_function(&host(), import)), []);
}
