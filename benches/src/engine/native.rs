//! No engine: the programs as the machine's own code, from the same sources.

use std::env::consts::DLL_EXTENSION;
use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::{Engine, Role, Sample, Session};
use crate::benchmarks::{self, Benchmark, Place, Size, Work};

pub struct Native;

impl Engine for Native {
    fn name(&self) -> &str {
        "native"
    }

    fn version(&self) -> &str {
        "as programs/run/build compiles it"
    }

    fn role(&self) -> Role {
        Role::Peer
    }

    fn takes(&self, benchmark: &Benchmark) -> bool {
        matches!(
            benchmark.work,
            Work::Run {
                size: Size::Full,
                ..
            }
        )
    }

    fn session<'e>(&'e self, benchmark: &Benchmark, _wasm: &[u8]) -> Result<Box<dyn Session + 'e>> {
        let Work::Run { n, .. } = benchmark.work else {
            bail!("this is not done in machine code");
        };
        let file = benchmarks::folder(Place::Built).join(benchmark.program);
        let run = symbol(&file.with_extension(DLL_EXTENSION), c"run")?;
        // SAFETY: the function of this name is `int64_t run(int32_t)` in each of the programs.
        let run =
            unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(i32) -> i64>(run) };
        Ok(Box::new(Function { run, n }))
    }
}

/// A function of a library, which stays loaded.
fn symbol(library: &Path, name: &CStr) -> Result<*mut c_void> {
    let path = CString::new(library.as_os_str().as_encoded_bytes())
        .context("the library's path has a zero")?;
    // SAFETY: what the library does when it is loaded is the business of its compiler's runtime.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    ensure!(!handle.is_null(), "cannot load {}", library.display());
    // SAFETY: the handle is one of `dlopen`, and never closed.
    let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
    ensure!(!symbol.is_null(), "{} has no {name:?}", library.display());
    Ok(symbol)
}

struct Function {
    run: unsafe extern "C" fn(i32) -> i64,
    n: i32,
}

impl Session for Function {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        // SAFETY: the programs take any number; they are called on one thread.
        let checksum = unsafe { (self.run)(self.n) };
        Ok(Sample::new(start.elapsed(), checksum))
    }
}
