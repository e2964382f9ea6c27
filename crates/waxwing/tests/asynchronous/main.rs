//! Asynchronous calls: WebAssembly that waits, and goes on, or does not.

mod calls;
mod cancellation;
mod failures;
mod garbage;
mod interruption;
mod limits;
mod misuse;
mod stacks;
mod threads;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use waxwing::*;

fn config() -> Config {
    let mut config = Config::new();
    config
        .async_support(true)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true);
    config
}

fn engine() -> Engine {
    Engine::new(&config()).unwrap()
}

/// Engines of all kinds of code.
fn engines() -> Vec<Engine> {
    let mut engines = vec![engine()];
    if cfg!(feature = "pulley") {
        engines.push(Engine::new(config().target("pulley64").unwrap()).unwrap());
    }
    engines
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future until it is ready. Returns how often it was pending, too.
fn run_counted<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    for pending in 0..100_000 {
        if let Poll::Ready(result) = poll(future.as_mut()) {
            return (result, pending);
        }
    }
    panic!("it is never ready");
}

fn run<F: Future>(future: F) -> F::Output {
    run_counted(future).0
}

/// Ready when it has been polled once more than so many times.
struct Pend(usize);

impl Future for Pend {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0 {
            0 => Poll::Ready(()),
            _ => {
                self.0 -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts when it is dropped.
struct Drops(Arc<AtomicUsize>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What host functions of the tests may use.
#[derive(Default)]
struct Host {
    log: Vec<i32>,
    drops: Arc<AtomicUsize>,
}

impl Host {
    fn drops(&self) -> usize {
        self.drops.load(Ordering::Relaxed)
    }
}

/// A linker with functions of the module `host`:
/// - `wait`: is pending as often as its parameter says, and returns it; what it holds meanwhile is counted when it is dropped;
/// - `log`: never waits;
/// - `fail`: fails after it has waited as often as its parameter says.
fn linker(engine: &Engine) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap_async(
            "host",
            "wait",
            |caller: Caller<'_, Host>, (times,): (i32,)| {
                let drops = Drops(Arc::clone(&caller.data().drops));
                Box::new(async move {
                    Pend(times as usize).await;
                    drop(drops);
                    times
                })
            },
        )
        .unwrap();
    linker
        .func_wrap("host", "log", |mut caller: Caller<'_, Host>, value: i32| {
            caller.data_mut().log.push(value)
        })
        .unwrap();
    linker
        .func_wrap_async(
            "host",
            "fail",
            |_: Caller<'_, Host>,
             (times,): (i32,)|
             -> Box<dyn Future<Output = Result<()>> + Send> {
                Box::new(async move {
                    Pend(times as usize).await;
                    Err(Error::msg("the host fails"))
                })
            },
        )
        .unwrap();
    linker
}

/// The beginning of a module that imports the functions of [`linker`].
const IMPORTS: &str = r#"
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (import "host" "log" (func $log (param i32)))
    (import "host" "fail" (func $fail (param i32)))
"#;

/// A store with an instance of a module of these fields.
fn instantiate(engine: &Engine, fields: &str) -> (Store<Host>, Instance) {
    let mut store = Store::new(engine, Host::default());
    let module = Module::new(engine, format!("(module {IMPORTS} {fields})")).unwrap();
    let instance = run(linker(engine).instantiate_async(&mut store, &module)).unwrap();
    (store, instance)
}

fn typed<P: WasmParams, R: WasmResults>(
    store: &mut Store<Host>,
    instance: Instance,
    name: &str,
) -> TypedFunc<P, R> {
    instance.get_typed_func(store, name).unwrap()
}
