//! Calls of all kinds, between the host and WebAssembly and within either.

use std::future::{poll_fn, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::api::{
    Caller, Config, Engine, Func, FuncType, Instance, Module, Store, TypedFunc, Val, ValType,
};
use super::error;
use crate::benchmarks::{CALLS_TIMED_TOGETHER, Crossing};
use crate::engine::{Sample, Session};

type Binary = TypedFunc<(i64, i64), i64>;

/// Makes calls, as many as it is told, and returns the sum to which each of them adds one.
type Calls = Box<dyn FnMut(u32) -> Result<i64>>;

pub struct Crossings {
    calls: Calls,
    count: u32,
}

/// What engines for these calls are to have beyond the default.
pub fn configure(config: &mut Config, crossing: Crossing) {
    config.wasm_function_references(true);
    if crossing.is_async() {
        #[allow(deprecated, reason = "one of the two crates has nothing to be told")]
        config.async_support(true);
    }
}

impl Crossings {
    /// `module` is the program of the group that has what `crossing` needs.
    pub fn new(module: &Module, crossing: Crossing, count: u32) -> Result<Crossings> {
        ensure!(count % CALLS_TIMED_TOGETHER == 0);
        let mut store = Store::new(module.engine(), 0);
        let calls = match crossing {
            Crossing::Typed => typed(store, module)?,
            Crossing::TypedNop => typed_nop(store, module)?,
            Crossing::Untyped => untyped(store, module)?,
            Crossing::Within(export) => {
                let instance = Instance::new(&mut store, module, &[]).map_err(error)?;
                loops(store, &instance, export)?
            }
            Crossing::Wrapped => {
                let add = Func::wrap(&mut store, |a: i64, b: i64| a + b);
                importing(store, module, add)?
            }
            Crossing::WrappedWithCaller => {
                let add = |mut caller: Caller<'_, i64>, a: i64, b: i64| {
                    *caller.data_mut() = b;
                    a + b
                };
                let add = Func::wrap(&mut store, add);
                importing(store, module, add)?
            }
            Crossing::Dynamic => {
                let add = dynamic(&mut store, module.engine());
                importing(store, module, add)?
            }
            Crossing::AcrossInstances => {
                let other = r#"(module (func (export "add") (param i64 i64) (result i64)
                    (i64.add (local.get 0) (local.get 1))))"#;
                let other = Module::new(module.engine(), wat::parse_str(other)?).map_err(error)?;
                let other = Instance::new(&mut store, &other, &[]).map_err(error)?;
                let add = other.get_typed_func::<(i64, i64), i64>(&mut store, "add");
                let add = *add.map_err(error)?.func();
                importing(store, module, add)?
            }
            Crossing::Async => typed_async(store, module)?,
            Crossing::AsyncReady => {
                let add =
                    Func::wrap_async(&mut store, |_, (a, b): (i64, i64)| Box::new(ready(a + b)));
                importing_async(store, module, add)?
            }
            Crossing::AsyncSuspends => {
                let add = Func::wrap_async(&mut store, |_, (a, b): (i64, i64)| {
                    Box::new(async move {
                        suspend_once().await;
                        a + b
                    })
                });
                importing_async(store, module, add)?
            }
        };
        Ok(Crossings { calls, count })
    }
}

impl Session for Crossings {
    fn sample(&mut self) -> Result<Sample> {
        let start = Instant::now();
        let checksum = (self.calls)(self.count)?;
        let time = start.elapsed() / (self.count / CALLS_TIMED_TOGETHER);
        Ok(Sample::new(time, checksum))
    }
}

fn typed(mut store: Store<i64>, module: &Module) -> Result<Calls> {
    let instance = Instance::new(&mut store, module, &[]).map_err(error)?;
    let add: Binary = instance.get_typed_func(&mut store, "add").map_err(error)?;
    Ok(Box::new(move |count| {
        let mut sum = 0;
        for _ in 0..count {
            sum = add.call(&mut store, (sum, 1)).map_err(error)?;
        }
        Ok(sum)
    }))
}

fn typed_nop(mut store: Store<i64>, module: &Module) -> Result<Calls> {
    let instance = Instance::new(&mut store, module, &[]).map_err(error)?;
    let nop = instance.get_typed_func::<(), ()>(&mut store, "nop");
    let nop = nop.map_err(error)?;
    Ok(Box::new(move |count| {
        for _ in 0..count {
            nop.call(&mut store, ()).map_err(error)?;
        }
        Ok(count.into())
    }))
}

fn untyped(mut store: Store<i64>, module: &Module) -> Result<Calls> {
    let instance = Instance::new(&mut store, module, &[]).map_err(error)?;
    let add: Binary = instance.get_typed_func(&mut store, "add").map_err(error)?;
    let add = *add.func();
    Ok(Box::new(move |count| {
        let mut sum = [Val::I64(0)];
        for _ in 0..count {
            let arguments = [sum[0], Val::I64(1)];
            add.call(&mut store, &arguments, &mut sum).map_err(error)?;
        }
        Ok(sum[0].unwrap_i64())
    }))
}

fn dynamic(store: &mut Store<i64>, engine: &Engine) -> Func {
    let ty = FuncType::new(engine, [ValType::I64, ValType::I64], [ValType::I64]);
    Func::new(store, ty, |_, arguments, results| {
        results[0] = Val::I64(arguments[0].unwrap_i64() + arguments[1].unwrap_i64());
        Ok(())
    })
}

/// The calls that an instance makes itself.
fn loops(mut store: Store<i64>, instance: &Instance, export: &str) -> Result<Calls> {
    let run = instance.get_typed_func::<i32, i64>(&mut store, export);
    let run = run.map_err(error)?;
    Ok(Box::new(move |count| {
        run.call(&mut store, count as i32).map_err(error)
    }))
}

fn importing(mut store: Store<i64>, module: &Module, add: Func) -> Result<Calls> {
    let instance = Instance::new(&mut store, module, &[add.into()]).map_err(error)?;
    loops(store, &instance, "run")
}

fn typed_async(mut store: Store<i64>, module: &Module) -> Result<Calls> {
    let instance = block_on(Instance::new_async(&mut store, module, &[])).map_err(error)?;
    let add: Binary = instance.get_typed_func(&mut store, "add").map_err(error)?;
    Ok(Box::new(move |count| {
        let mut sum = 0;
        for _ in 0..count {
            sum = block_on(add.call_async(&mut store, (sum, 1))).map_err(error)?;
        }
        Ok(sum)
    }))
}

fn importing_async(mut store: Store<i64>, module: &Module, add: Func) -> Result<Calls> {
    let imports = [add.into()];
    let instance = block_on(Instance::new_async(&mut store, module, &imports)).map_err(error)?;
    let run = instance.get_typed_func::<i32, i64>(&mut store, "run");
    let run = run.map_err(error)?;
    Ok(Box::new(move |count| {
        block_on(run.call_async(&mut store, count as i32)).map_err(error)
    }))
}

/// What an executor does at the least: polls until the future is ready.
fn block_on<R>(future: impl Future<Output = R>) -> R {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}

async fn suspend_once() {
    let mut suspended = false;
    poll_fn(|_| match suspended {
        true => Poll::Ready(()),
        false => {
            suspended = true;
            Poll::Pending
        }
    })
    .await
}
