//! The least that runs WebAssembly: loads an artifact of `waxwing compile` and calls a function of it. It has no compiler.
//!
//! ```sh
//! cargo build --profile small -p waxwing --example min-runtime --no-default-features --features runtime
//! ```
//!
//! Without the features `gc` and `threads` the engine has the proposals that need them switched off, and so must have who compiled the
//! artifact: `waxwing compile -W gc-support=n,gc=n,exceptions=n,function-references=n,reference-types=n,threads=n`.
//!
//! `.ci/size` prints how large it is.

use std::process::ExitCode;
use waxwing::{Config, Engine, Instance, Module, Result, Store};

fn run(artifact: &str, function: &str) -> Result<i32> {
    let engine = Engine::new(&Config::new())?;
    // SAFETY: whoever names the artifact vouches for it.
    let module = unsafe { Module::deserialize_file(&engine, artifact)? };
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let function = instance.get_typed_func::<(), i32>(&mut store, function)?;
    function.call(&mut store, ())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, artifact, function] = &arguments[..] else {
        eprintln!("usage: min-runtime ARTIFACT FUNCTION");
        return ExitCode::FAILURE;
    };
    match run(artifact, function) {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
