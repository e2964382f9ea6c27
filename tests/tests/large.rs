//! Modules at and beyond the limits: each compiles or is refused, and never ends the process.

use std::fmt::Write;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function,
    FunctionSection, Instruction, MemorySection, MemoryType, TypeSection, ValType,
};
use waxwing::{Engine, Instance, Linker, Module, Store};
use waxwing_tests::{engines, guest};

fn engine() -> Engine {
    let mut config = engines::config();
    config.parallel_compilation(true);
    Engine::new(&config).expect("the engine can be made")
}

/// A module of one function `f` with these types and locals.
fn one_function(
    params: &[ValType],
    results: &[ValType],
    locals: &[(u32, ValType)],
    body: impl FnOnce(&mut Function),
) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function(params.to_vec(), results.to_vec());
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("f", ExportKind::Func, 0);
    let mut function = Function::new(locals.to_vec());
    body(&mut function);
    function.instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&function);
    let mut module = wasm_encoder::Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&exports)
        .section(&code);
    module.finish()
}

fn instantiate(module: &Module) -> (Store<()>, Instance) {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[]).expect("the module instantiates");
    (store, instance)
}

#[track_caller]
fn call<P: waxwing::WasmParams>(module: &Module, params: P) -> i32 {
    let (mut store, instance) = instantiate(module);
    instance
        .get_typed_func::<P, i32>(&mut store, "f")
        .expect("`f` has this type")
        .call(&mut store, params)
        .expect("`f` does not trap")
}

#[test]
fn a_hundred_thousand_empty_functions() {
    const COUNT: u32 = 100_000;
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    let mut empty = Function::new([]);
    empty.instruction(&Instruction::End);
    for index in 0..COUNT {
        functions.function(0);
        code.function(&empty);
        if index % 10 == 0 {
            exports.export(&format!("f{index}"), ExportKind::Func, index);
        }
    }
    let mut module = wasm_encoder::Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&exports)
        .section(&code);
    let module = Module::from_binary(&engine(), &module.finish()).expect("the module compiles");

    assert_eq!(module.exports().len(), 10_000);
    let (mut store, instance) = instantiate(&module);
    for name in ["f0", "f50000", "f99990"] {
        instance
            .get_typed_func::<(), ()>(&mut store, name)
            .expect("it is exported")
            .call(&mut store, ())
            .expect("it does nothing");
    }
    assert!(instance.get_func(&mut store, "f99991").is_none());
}

#[test]
fn deeply_nested_blocks() {
    const DEPTH: u32 = 20_000;
    let wasm = one_function(&[ValType::I32], &[ValType::I32], &[], |function| {
        for _ in 0..DEPTH {
            function.instruction(&Instruction::Block(BlockType::Empty));
        }
        // Out of all of them at once.
        function
            .instruction(&Instruction::LocalGet(0))
            .instruction(&Instruction::BrIf(DEPTH - 1));
        for _ in 0..DEPTH {
            function.instruction(&Instruction::End);
        }
        function.instruction(&Instruction::I32Const(7));
    });
    let module = Module::from_binary(&engine(), &wasm).expect("the module compiles");
    assert_eq!(call(&module, 1), 7);
    assert_eq!(call(&module, 0), 7);
}

#[test]
fn deeply_nested_ifs_and_loops() {
    const DEPTH: u32 = 2_000;
    let wasm = one_function(&[ValType::I32], &[ValType::I32], &[], |function| {
        for _ in 0..DEPTH {
            function
                .instruction(&Instruction::Loop(BlockType::Empty))
                .instruction(&Instruction::LocalGet(0))
                .instruction(&Instruction::If(BlockType::Empty));
        }
        for _ in 0..DEPTH {
            function
                .instruction(&Instruction::Else)
                .instruction(&Instruction::End)
                .instruction(&Instruction::End);
        }
        function.instruction(&Instruction::LocalGet(0));
    });
    let module = Module::from_binary(&engine(), &wasm).expect("the module compiles");
    assert_eq!(call(&module, 3), 3);
}

#[test]
fn deeply_nested_expression() {
    const DEPTH: i32 = 5_000;
    let wasm = one_function(&[], &[ValType::I32], &[], |function| {
        for _ in 0..DEPTH {
            function.instruction(&Instruction::I32Const(1));
        }
        for _ in 1..DEPTH {
            function.instruction(&Instruction::I32Add);
        }
    });
    let module = Module::from_binary(&engine(), &wasm).expect("the module compiles");
    assert_eq!(call(&module, ()), DEPTH);
}

#[test]
fn branch_table_of_ten_thousand_targets() {
    const TARGETS: u32 = 10_000;
    let wasm = one_function(&[ValType::I32], &[ValType::I32], &[], |function| {
        function
            .instruction(&Instruction::Block(BlockType::Empty))
            .instruction(&Instruction::Block(BlockType::Empty));
        let targets: Vec<u32> = (0..TARGETS).map(|index| index % 2).collect();
        function
            .instruction(&Instruction::LocalGet(0))
            .instruction(&Instruction::BrTable(targets.into(), 1))
            .instruction(&Instruction::End)
            .instruction(&Instruction::I32Const(10))
            .instruction(&Instruction::Return)
            .instruction(&Instruction::End)
            .instruction(&Instruction::I32Const(11));
    });
    let module = Module::from_binary(&engine(), &wasm).expect("the module compiles");
    assert_eq!(call(&module, 9_998), 10);
    assert_eq!(call(&module, 9_999), 11);
    assert_eq!(call(&module, -1), 11);
}

#[test]
fn fifty_thousand_locals() {
    let locals = [(49_990, ValType::I64), (9, ValType::V128)];
    let wasm = one_function(&[ValType::I32], &[ValType::I32], &locals, |function| {
        function
            .instruction(&Instruction::LocalGet(0))
            .instruction(&Instruction::I64ExtendI32S)
            .instruction(&Instruction::LocalSet(49_990))
            .instruction(&Instruction::LocalGet(49_990))
            .instruction(&Instruction::LocalGet(25_000))
            .instruction(&Instruction::I64Add)
            .instruction(&Instruction::I32WrapI64);
    });
    let module = Module::from_binary(&engine(), &wasm).expect("the module compiles");
    assert_eq!(call(&module, 77), 77);

    let too_many = one_function(&[], &[], &[(50_001, ValType::I32)], |_| {});
    let error = Module::from_binary(&engine(), &too_many)
        .map(|_| ())
        .expect_err("the limit is 50,000");
    assert!(format!("{error:?}").contains("locals"), "{error:?}");
}

#[test]
fn a_thousand_parameters_and_results() {
    let many = [ValType::I32; 1_000];
    let wasm = one_function(&many, &many, &[], |function| {
        for index in (0..1_000).rev() {
            function.instruction(&Instruction::LocalGet(index));
        }
    });
    let module = Module::from_binary(&engine(), &wasm).expect("the module compiles");
    let (mut store, instance) = instantiate(&module);
    let f = instance.get_func(&mut store, "f").expect("it is exported");
    let params: Vec<waxwing::Val> = (0..1_000).map(waxwing::Val::I32).collect();
    let mut results = vec![waxwing::Val::I32(0); 1_000];
    f.call(&mut store, &params, &mut results)
        .expect("it does not trap");
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result.unwrap_i32(), 999 - index as i32);
    }

    let too_many = one_function(&[ValType::I32; 1_001], &[], &[], |_| {});
    let error = Module::from_binary(&engine(), &too_many)
        .map(|_| ())
        .expect_err("the limit is 1,000");
    assert!(format!("{error:?}").contains("param"), "{error:?}");
}

#[test]
fn memory_of_four_gibibytes() {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module (memory (export "m") 65536)
            (func (export "f") (result i32)
                (i32.store8 (i32.const -1) (i32.const 9))
                (i32.load8_u (i32.const -1))))"#,
    )
    .expect("the module compiles");
    let mut store = Store::new(&engine, ());
    // A system may refuse so much address space; that is an error, not a crash.
    if let Ok(instance) = Instance::new(&mut store, &module, &[]) {
        let f = instance
            .get_typed_func::<(), i32>(&mut store, "f")
            .expect("it is exported");
        assert_eq!(f.call(&mut store, ()).expect("the last byte exists"), 9);
    }
    let error = Module::new(&engine, "(module (memory 65537))")
        .map(|_| ())
        .expect_err("a memory has at most 65,536 pages");
    assert!(format!("{error:?}").contains("memory size"), "{error:?}");
}

#[test]
fn a_limiter_refuses_what_is_too_large() {
    let engine = engine();
    for (text, what) in [
        ("(module (memory 1000))", "memory"),
        ("(module (table 100000 funcref))", "table"),
    ] {
        let module = Module::new(&engine, text).expect("the module compiles");
        let error = guest::instantiate(&module)
            .map(|_| ())
            .expect_err("the limiter says no");
        assert!(format!("{error:?}").contains(what), "{error:?}");
    }
}

#[test]
fn enormous_table() {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module (table (export "t") 10000000 funcref)
            (func (export "f") (result i32)
                (i32.add (table.size) (ref.is_null (table.get (i32.const 9999999))))))"#,
    )
    .expect("the module compiles");
    assert_eq!(call(&module, ()), 10_000_001);
    // Nobody has the memory for this one; that is an error, not a crash.
    match Module::new(&engine, "(module (table 4294967295 funcref))") {
        Ok(module) => {
            let mut store = Store::new(&engine, ());
            let _ = Instance::new(&mut store, &module, &[]);
        }
        Err(error) => assert!(format!("{error:?}").contains("table"), "{error:?}"),
    }
}

#[test]
fn fifty_thousand_data_segments() {
    const COUNT: i32 = 50_000;
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("m", ExportKind::Memory, 0);
    let mut data = DataSection::new();
    for index in 0..COUNT {
        data.active(0, &ConstExpr::i32_const(index), [index as u8]);
    }
    let mut module = wasm_encoder::Module::new();
    module.section(&memories).section(&exports).section(&data);
    let module = Module::from_binary(&engine(), &module.finish()).expect("the module compiles");
    let (mut store, instance) = instantiate(&module);
    let memory = instance
        .get_memory(&mut store, "m")
        .expect("it is exported");
    for (index, byte) in memory.data(&store)[..COUNT as usize].iter().enumerate() {
        assert_eq!(*byte, index as u8);
    }
}

#[test]
fn data_segment_far_out_in_a_large_memory() {
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module (memory (export "m") 30000)
            (data (i32.const 0) "start") (data (i32.const 1900000000) "end"))"#,
    )
    .expect("the module compiles");
    // The image between the segments must not be written out.
    let artifact = module.serialize().expect("it can be serialized");
    assert!(artifact.len() < 1 << 20, "{} bytes", artifact.len());
    let (mut store, instance) = instantiate(&module);
    let memory = instance
        .get_memory(&mut store, "m")
        .expect("it is exported");
    assert_eq!(&memory.data(&store)[1_900_000_000..][..3], b"end");
}

#[test]
fn many_imports_and_many_types() {
    let mut text = String::from("(module\n");
    for index in 0..2_000 {
        let params = "i32 ".repeat(index % 20);
        let results = "f64 ".repeat(index % 7);
        writeln!(
            text,
            r#"(import "m" "f{index}" (func (param {params}) (result {results})))"#
        )
        .expect("writing to a string");
    }
    text.push_str(r#"(func (export "f") (result i32) i32.const 1))"#);
    let engine = engine();
    let module = Module::new(&engine, &text).expect("the module compiles");
    let mut linker = Linker::new(&engine);
    linker
        .define_unknown_imports_as_traps(&module)
        .expect("the imports can be defined");
    let mut store = Store::new(&engine, ());
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("the module instantiates");
    let f = instance
        .get_typed_func::<(), i32>(&mut store, "f")
        .expect("it is exported");
    assert_eq!(f.call(&mut store, ()).expect("it does not trap"), 1);
}

#[test]
fn long_names() {
    let name = "n".repeat(90_000);
    let text = format!(r#"(module (func (export "{name}")) (func (export "{name}2")))"#);
    let module = Module::new(&engine(), &text).expect("the module compiles");
    let (mut store, instance) = instantiate(&module);
    assert!(instance.get_func(&mut store, &name).is_some());

    let too_long = "n".repeat(100_001);
    let text = format!(r#"(module (func (export "{too_long}")))"#);
    assert!(Module::new(&engine(), &text).is_err());
}
