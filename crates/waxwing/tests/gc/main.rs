//! Garbage-collected values through the API: making them, looking at them, keeping them alive, and
//! passing them to WebAssembly and back, with every collector.

mod arrays;
mod calls;
mod config;
mod externs;
mod memory;
mod misuse;
mod roots;
mod structs;
mod values;

use waxwing::*;

/// All settings of collectors that tests run with.
const COLLECTORS: [(Collector, bool); 5] = [
    (Collector::Auto, false),
    (Collector::Null, false),
    (Collector::DeferredReferenceCounting, false),
    (Collector::Copying, true),
    (Collector::DeferredReferenceCounting, true),
];

/// An engine with all that garbage collection offers.
fn engine(collector: Collector, stress: bool) -> Engine {
    let mut config = Config::new();
    config
        .wasm_function_references(true)
        .wasm_gc(true)
        .collector(collector)
        .gc_stress(stress);
    Engine::new(&config).unwrap()
}

/// Runs a test with every collector.
fn each_collector(test: impl Fn(Engine, Collector) -> Result<()>) -> Result<()> {
    for (collector, stress) in COLLECTORS {
        test(engine(collector, stress), collector)
            .map_err(|error| error.context(format!("{collector:?}, stress: {stress}")))?;
    }
    Ok(())
}

/// A type of structs whose fields can change.
fn struct_type(engine: &Engine, fields: impl IntoIterator<Item = StorageType>) -> StructType {
    let fields = fields.into_iter();
    StructType::new(engine, fields.map(|ty| FieldType::new(Mutability::Var, ty))).unwrap()
}

/// A type of arrays whose elements can change.
fn array_type(engine: &Engine, element: impl Into<StorageType>) -> ArrayType {
    ArrayType::new(engine, FieldType::new(Mutability::Var, element.into()))
}

/// The error's chain of messages.
fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => format!("{error:#}"),
    }
}

/// The message of a panic.
fn panic_message<T>(f: impl FnOnce() -> T) -> String {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    let Err(payload) = result else {
        panic!("expected a panic")
    };
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast::<&str>().unwrap().to_string(),
    }
}
