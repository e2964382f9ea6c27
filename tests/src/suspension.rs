//! Random lives of asynchronous calls: functions of the host that wait, call back, give up or forget calls, throw, fail
//! and collect garbage, in calls that are polled on several threads and dropped at any time.
//!
//! Whatever they do: frames keep their references, what functions of the host own is dropped once, no
//! WebAssembly runs in a call that was dropped, and the store can be used afterwards.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use arbitrary::Unstructured;
use waxwing::{
    AsContextMut, Caller, Collector, Config, Engine, ExnRef, ExnRefPre, ExnType, Extern, ExternRef,
    Linker, Module, RootScope, Store, ThrownException, Trap, TypedFunc, Val,
};

/// How deep calls by functions of the host are nested.
const MAX_DEPTH: u32 = 5;

/// The most polls of one call.
const MAX_POLLS: usize = 200;

const MODULE: &str = r#"(module
    (import "host" "act" (func $act (param i32) (result i32)))
    (import "host" "resumed" (func $resumed))
    (tag $tag (export "tag") (param i32))
    (type $s (struct (field i32) (field externref)))
    (func $frame (param $n i32) (param $x externref) (result i32)
        (local $s (ref null $s)) (local $result i32)
        (local.set $s (struct.new $s (local.get $n) (local.get $x)))
        (local.set $result
            (if (result i32) (i32.and (local.get $n) (i32.const 3))
                (then (call $frame (i32.sub (local.get $n) (i32.const 1)) (local.get $x)))
                (else (call $act (local.get $n)))))
        (call $resumed)
        (if (i32.ne (struct.get $s 0 (local.get $s)) (local.get $n)) (then unreachable))
        (if (i32.ne (ref.is_null (struct.get $s 1 (local.get $s))) (ref.is_null (local.get $x)))
            (then unreachable))
        (local.get $result))
    (func (export "go") (param $n i32) (param $x externref) (result externref)
        (block $caught
            (try_table (catch_all $caught)
                (drop (call $frame (local.get $n) (local.get $x)))
                (drop (call $frame (i32.add (local.get $n) (i32.const 1)) (local.get $x)))))
        (call $resumed)
        (local.get $x)))"#;

/// What calls did.
#[derive(Debug, Default)]
pub struct Summary {
    /// How often a call was pending.
    pub pending: u64,
    /// How many calls were dropped before they were ready.
    pub dropped: u64,
    /// How many calls within others were begun.
    pub nested: u64,
}

#[derive(Default)]
struct Counts {
    made: AtomicU64,
    dropped: AtomicU64,
    resumed: AtomicU64,
    nested: AtomicU64,
}

struct Data {
    script: VecDeque<u8>,
    depth: u32,
    counts: Arc<Counts>,
    has_forgotten: bool,
}

impl Data {
    fn next(&mut self) -> u8 {
        self.script.pop_front().unwrap_or(0)
    }
}

/// What a function of the host owns.
struct Owned(Arc<Counts>);

impl Owned {
    fn new(counts: &Arc<Counts>) -> Owned {
        counts.made.fetch_add(1, Relaxed);
        Owned(Arc::clone(counts))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Relaxed);
    }
}

/// Pending so many times.
struct Pend(u8);

impl Future for Pend {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        match self.0 {
            0 => Poll::Ready(()),
            _ => {
                self.0 -= 1;
                Poll::Pending
            }
        }
    }
}

type Go = TypedFunc<(i32, Option<waxwing::Rooted<ExternRef>>), Option<waxwing::Rooted<ExternRef>>>;

fn go(caller: &mut Caller<'_, Data>) -> Result<Go> {
    let go = caller.get_export("go").and_then(Extern::into_func);
    go.context("exported")?.typed(caller)
}

/// What the function `act` of the host does, as its script says.
async fn act(mut caller: Caller<'_, Data>, n: i32) -> Result<i32> {
    let _owned = Owned::new(&caller.data().counts);
    loop {
        let step = caller.data_mut().next();
        let operand = step >> 4;
        let can_nest = caller.data().depth < MAX_DEPTH;
        match step & 15 {
            1..=3 => Pend(operand & 3).await,
            4 => caller.gc_async().await,
            5 => drop(ExternRef::new(&mut caller, n)?),
            6 | 7 if can_nest => {
                caller.data().counts.nested.fetch_add(1, Relaxed);
                caller.data_mut().depth += 1;
                let go = go(&mut caller)?;
                let x = ExternRef::new(&mut caller, n)?;
                let result = go.call_async(&mut caller, (n, Some(x))).await;
                caller.data_mut().depth -= 1;
                check(result.map(drop))?;
            }
            8 | 9 if can_nest => {
                caller.data().counts.nested.fetch_add(1, Relaxed);
                let depth = caller.data().depth;
                caller.data_mut().depth += 1;
                let go = go(&mut caller)?;
                let counts = Arc::clone(&caller.data().counts);
                {
                    let mut nested = Box::pin(go.call_async(&mut caller, (n, None)));
                    let mut is_ready = false;
                    for _ in 0..=operand {
                        is_ready = is_ready
                            || std::future::poll_fn(|cx| Poll::Ready(nested.as_mut().poll(cx)))
                                .await
                                .is_ready();
                    }
                    let resumed = counts.resumed.load(Relaxed);
                    drop(nested);
                    ensure!(
                        counts.resumed.load(Relaxed) == resumed,
                        "WebAssembly ran in a call that was dropped"
                    );
                }
                // Calls that were given up do not tell.
                caller.data_mut().depth = depth;
            }
            10 if can_nest && operand == 0 => {
                let go = go(&mut caller)?;
                let depth = caller.data().depth;
                let mut nested = Box::pin(go.call_async(&mut caller, (n, None)));
                let polled = std::future::poll_fn(|cx| Poll::Ready(nested.as_mut().poll(cx))).await;
                match polled {
                    Poll::Ready(result) => {
                        drop(nested);
                        check(result.map(drop))?;
                    }
                    Poll::Pending => {
                        std::mem::forget(nested);
                        caller.data_mut().has_forgotten = true;
                    }
                }
                caller.data_mut().depth = depth;
            }
            11 => {
                let tag = caller.get_export("tag").and_then(Extern::into_tag);
                let tag = tag.context("exported")?;
                let ty = ExnType::from_tag_type(&tag.ty(&caller))?;
                let pre = ExnRefPre::new(&mut caller, ty);
                let exception = ExnRef::new(&mut caller, &pre, &tag, &[Val::I32(n)])?;
                return caller.throw(exception);
            }
            12 if operand == 0 => bail!("the host fails"),
            13 => {
                let fuel = caller.get_fuel()?;
                caller.set_fuel(fuel + u64::from(operand))?;
                caller.fuel_async_yield_interval(Some(1 + u64::from(operand)))?;
            }
            _ => return Ok(n),
        }
    }
}

/// Fails if a call ended as it must not.
fn check(result: Result<()>) -> Result<()> {
    let Err(error) = result else { return Ok(()) };
    let is_fine = error.is::<ThrownException>()
        || error.downcast_ref() == Some(&Trap::OutOfFuel)
        || error.root_cause().to_string() == "the host fails"
        || error.root_cause().to_string().contains("GC heap");
    match is_fine {
        true => Ok(()),
        false => Err(error),
    }
}

fn engine(collector: Collector, stress: bool) -> Result<Engine> {
    let mut config = Config::new();
    config
        .async_support(true)
        .async_stack_size(256 << 10)
        .max_wasm_stack(128 << 10)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .consume_fuel(true)
        .parallel_compilation(false)
        .collector(collector)
        .gc_stress(stress);
    Engine::new(&config)
}

/// Runs calls that the bytes describe, in one store.
///
/// # Errors
///
/// Fails if something is not as it must be.
pub fn run(bytes: &mut Unstructured<'_>) -> Result<Summary> {
    let collectors = [
        (Collector::Copying, true),
        (Collector::Copying, false),
        (Collector::DeferredReferenceCounting, true),
        (Collector::DeferredReferenceCounting, false),
    ];
    let (collector, stress) = *bytes.choose(&collectors)?;
    let engine = engine(collector, stress)?;
    let module = Module::new(&engine, MODULE)?;
    let mut linker = Linker::<Data>::new(&engine);
    linker.func_wrap_async("host", "act", |caller, (n,): (i32,)| {
        Box::new(act(caller, n))
    })?;
    linker.func_wrap("host", "resumed", |caller: Caller<'_, Data>| {
        caller.data().counts.resumed.fetch_add(1, Relaxed);
    })?;
    let counts = Arc::new(Counts::default());
    let data = Data {
        script: VecDeque::new(),
        depth: 0,
        counts: Arc::clone(&counts),
        has_forgotten: false,
    };
    let mut store = Store::new(&engine, data);
    let mut cx = Context::from_waker(Waker::noop());
    let instance = {
        let mut instance = pin!(linker.instantiate_async(&mut store, &module));
        match instance.as_mut().poll(&mut cx) {
            Poll::Ready(instance) => instance?,
            Poll::Pending => bail!("nothing waits in an instantiation"),
        }
    };
    let go: Go = instance.get_typed_func(&mut store, "go")?;
    let mut summary = Summary::default();
    for _ in 0..bytes.int_in_range(1..=8)? {
        let len = bytes.int_in_range(0..=200)?.min(bytes.len());
        store.data_mut().script = bytes.bytes(len)?.iter().copied().collect();
        store.data_mut().depth = 0;
        store.set_fuel(100_000)?;
        let interval = bytes.int_in_range(0..=20)?;
        store.fuel_async_yield_interval((interval > 0).then_some(interval))?;
        let mut scope = RootScope::new(&mut store);
        let x = match bytes.ratio(1, 2)? {
            true => Some(ExternRef::new(&mut scope, Owned::new(&counts))?),
            false => None,
        };
        let polls = match bytes.ratio(1, 2)? {
            true => bytes.int_in_range(0..=30)?,
            false => MAX_POLLS,
        };
        let mut call = Box::pin(go.call_async(&mut scope, (3, x)));
        let mut outcome = None;
        for _ in 0..polls {
            let mut poll = || call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let polled = match bytes.ratio(1, 4)? {
                false => poll(),
                true => match thread::scope(|scope| scope.spawn(poll).join()) {
                    Ok(polled) => polled,
                    Err(payload) => std::panic::resume_unwind(payload),
                },
            };
            match polled {
                Poll::Pending => summary.pending += 1,
                Poll::Ready(result) => {
                    outcome = Some(result);
                    break;
                }
            }
        }
        let resumed = counts.resumed.load(Relaxed);
        drop(call);
        ensure!(
            counts.resumed.load(Relaxed) == resumed,
            "WebAssembly ran in a call that was dropped"
        );
        match outcome {
            Some(Ok(result)) => ensure!(
                result.is_some() == x.is_some(),
                "a frame has lost its reference"
            ),
            Some(Err(error)) => check(Err(error))?,
            None => summary.dropped += 1,
        }
        scope.as_context_mut().take_pending_exception();
    }
    // The store is as good as ever, and nothing of what ended is left.
    store.data_mut().script.clear();
    store.set_fuel(100_000)?;
    store.fuel_async_yield_interval(None)?;
    {
        let mut scope = RootScope::new(&mut store);
        let mut call = pin!(go.call_async(&mut scope, (1, None)));
        match call.as_mut().poll(&mut cx) {
            Poll::Ready(result) => ensure!(result?.is_none(), "nothing comes of nothing"),
            Poll::Pending => bail!("nothing waits without a script"),
        }
    }
    let has_forgotten = store.data().has_forgotten;
    drop(store);
    let (made, dropped) = (counts.made.load(Relaxed), counts.dropped.load(Relaxed));
    ensure!(
        dropped == made || (has_forgotten && dropped < made),
        "{made} values of the host were made, and {dropped} dropped"
    );
    summary.nested = counts.nested.load(Relaxed);
    Ok(summary)
}
