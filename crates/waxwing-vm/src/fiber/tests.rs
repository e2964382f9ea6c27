use std::backtrace::Backtrace;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use anyhow::{Result, bail};

use super::*;

/// The context of a store that has nothing else.
struct Store(NonNull<VMStoreContext>);

impl Store {
    fn new() -> Store {
        Store(NonNull::from(Box::leak(Box::default())))
    }

    /// Runs `func` on a fiber; it gets the store to wait with.
    fn run<R, F>(&mut self, func: F) -> OnFiber<impl FnOnce() -> Result<R> + use<R, F>, R>
    where
        F: FnOnce(InFiber) -> Result<R>,
    {
        let fiber = InFiber(self.0);
        let stack = FiberStack::own(1 << 17).unwrap();
        // SAFETY: the tests use a store for one thing at a time, and drop it last.
        unsafe { OnFiber::new(self.0, stack, move || func(fiber)) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: from a box, and the tests do not use it any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

#[derive(Clone, Copy)]
struct InFiber(NonNull<VMStoreContext>);

// SAFETY: an address.
unsafe impl Send for InFiber {}

impl InFiber {
    fn wait<R>(self, future: impl Future<Output = R>) -> Result<R> {
        // SAFETY: called on the fiber of the store.
        unsafe { block_on(self.0, pin!(future)) }
    }

    fn yield_now(self) -> Result<()> {
        // SAFETY: called on the fiber of the store.
        unsafe { yield_now(self.0) }
    }
}

/// Ready when it has been polled so many times.
struct After(usize);

impl Future for After {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<usize> {
        self.0 = self.0.wrapping_sub(1);
        match self.0 {
            0 => Poll::Ready(7),
            _ => Poll::Pending,
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sets a flag when it is dropped.
struct Sets<'a>(&'a Cell<bool>);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn what_never_waits_is_ready_at_once() {
    let mut store = Store::new();
    let mut future = pin!(store.run(|_| Ok(String::from("result"))));
    match poll(future.as_mut()) {
        Poll::Ready(result) => assert_eq!(result.unwrap(), "result"),
        Poll::Pending => panic!("it does not wait"),
    }
    let again = panic::catch_unwind(AssertUnwindSafe(|| poll(future)));
    assert!(again.is_err());
}

#[test]
fn waiting_suspends_and_each_poll_goes_on() {
    let mut store = Store::new();
    let steps = Cell::new(0);
    let mut future = pin!(store.run(|fiber| {
        for _ in 0..10 {
            assert_eq!(fiber.wait(After(3))?, 7);
            steps.set(steps.get() + 1);
        }
        Ok(steps.get())
    }));
    for polls in 0..20 {
        assert!(poll(future.as_mut()).is_pending());
        assert_eq!(steps.get(), polls / 2);
    }
    assert!(matches!(poll(future), Poll::Ready(Ok(10))));
}

#[test]
fn yielding_wakes_once() {
    let mut store = Store::new();
    let counter = Arc::new(Counter(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&counter));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(store.run(|fiber| fiber.yield_now()));
    assert!(future.as_mut().poll(&mut cx).is_pending());
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    assert!(future.as_mut().poll(&mut cx).is_ready());
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_fiber_goes_on_on_another_thread() {
    let mut store = Store::new();
    let mut future = Box::pin(store.run(|fiber| {
        let before = thread::current().id();
        fiber.wait(After(2))?;
        Ok(before != thread::current().id())
    }));
    assert!(poll(future.as_mut()).is_pending());
    let moved = thread::scope(|scope| {
        let polled = scope.spawn(|| match poll(future.as_mut()) {
            Poll::Ready(moved) => moved.unwrap(),
            Poll::Pending => panic!("it is ready"),
        });
        polled.join().unwrap()
    });
    assert!(moved);
}

#[test]
fn panics_go_on_in_whoever_polls() {
    let mut store = Store::new();
    let dropped = Cell::new(false);
    let mut future = pin!(store.run(|fiber| -> Result<()> {
        let _sets = Sets(&dropped);
        fiber.wait(After(2))?;
        panic::resume_unwind(Box::new("a panic"));
    }));
    assert!(poll(future.as_mut()).is_pending());
    assert!(!dropped.get());
    let payload = panic::catch_unwind(AssertUnwindSafe(|| poll(future))).err();
    assert_eq!(payload.unwrap().downcast_ref(), Some(&"a panic"));
    assert!(dropped.get());
}

#[test]
fn a_dropped_future_ends_what_waits() {
    let mut store = Store::new();
    let (dropped, went_on, waited) = (Cell::new(false), Cell::new(false), Cell::new(false));
    let mut future = Box::pin(store.run(|fiber| {
        let _sets = Sets(&dropped);
        let first = fiber.wait(After(2));
        assert!(first.unwrap_err().is::<Cancelled>());
        went_on.set(true);
        // It can do what it likes, but not wait.
        let second = fiber.wait(async { waited.set(true) });
        assert!(second.unwrap_err().is::<Cancelled>());
        assert!(fiber.yield_now().unwrap_err().is::<Cancelled>());
        Ok(())
    }));
    assert!(poll(future.as_mut()).is_pending());
    drop(future);
    assert!(dropped.get() && went_on.get() && !waited.get());
}

#[test]
fn a_panic_while_it_is_ended_goes_on_in_drop() {
    let mut store = Store::new();
    let mut future = Box::pin(store.run(|fiber| -> Result<()> {
        fiber.wait(After(2)).ok();
        panic::resume_unwind(Box::new(1));
    }));
    assert!(poll(future.as_mut()).is_pending());
    assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(future))).is_err());

    // The panic that there is already goes on.
    let mut future = Box::pin(store.run(|fiber| -> Result<()> {
        fiber.wait(After(2)).ok();
        panic::resume_unwind(Box::new(1));
    }));
    assert!(poll(future.as_mut()).is_pending());
    let payload = panic::catch_unwind(AssertUnwindSafe(move || {
        let _future = future;
        panic::resume_unwind(Box::new(2));
    }));
    assert_eq!(payload.unwrap_err().downcast_ref(), Some(&2));
}

#[test]
fn what_never_started_is_only_dropped() {
    let mut store = Store::new();
    let dropped = Cell::new(false);
    let sets = Sets(&dropped);
    drop(store.run(move |_| -> Result<()> {
        let _sets = sets;
        bail!("runs")
    }));
    assert!(dropped.get());
}

#[test]
fn fibers_of_several_stores_nest_and_interleave() {
    let (mut outer, mut first, mut second) = (Store::new(), Store::new(), Store::new());
    let mut future = pin!(outer.run(|fiber| {
        let mut first = pin!(first.run(|fiber| fiber.wait(After(3))));
        let mut second = pin!(second.run(|fiber| fiber.wait(After(2))));
        let mut sum = 0;
        fiber.wait(std::future::poll_fn(|cx| {
            for future in [
                first.as_mut() as Pin<&mut dyn Future<Output = Result<usize>>>,
                second.as_mut(),
            ] {
                if sum < 14
                    && let Poll::Ready(result) = future.poll(cx)
                {
                    sum += result.unwrap();
                }
            }
            match sum {
                7.. => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }))?;
        Ok(sum)
    }));
    assert!(poll(future.as_mut()).is_pending());
    assert!(matches!(poll(future), Poll::Ready(Ok(7))));
}

#[test]
fn waiting_takes_a_fiber_that_does_not_wait_yet() {
    let mut store = Store::new();
    let outside = InFiber(store.0);
    assert!(outside.wait(After(1)).is_err());
    let mut future = pin!(store.run(|fiber| {
        fiber.wait(async {
            assert!(fiber.wait(After(1)).is_err());
        })?;
        fiber.wait(After(1))
    }));
    assert!(matches!(poll(future.as_mut()), Poll::Ready(Ok(7))));
}

#[test]
fn frames_of_a_fiber_can_be_walked_to_their_end() {
    let mut store = Store::new();
    let mut future = pin!(store.run(|fiber| {
        fiber.wait(After(2))?;
        Ok(Backtrace::force_capture().to_string())
    }));
    assert!(poll(future.as_mut()).is_pending());
    let Poll::Ready(Ok(backtrace)) = poll(future) else {
        panic!("it is ready");
    };
    if cfg!(target_os = "linux") {
        assert!(backtrace.contains("frames_of_a_fiber"), "{backtrace}");
        assert!(!backtrace.contains("lang_start"), "{backtrace}");
        assert!(backtrace.lines().count() < 60, "{backtrace}");
    }
}

#[test]
fn stacks_are_used_again() {
    let mut store = Store::new();
    let mut used = Vec::new();
    for _ in 0..3 {
        let mut future = pin!(store.run(|_| {
            let here = 0_u8;
            Ok(&raw const here as usize)
        }));
        if let Poll::Ready(Ok(address)) = poll(future.as_mut()) {
            used.push(address);
        }
    }
    assert_eq!(used.len(), 3);
    assert!(used.iter().all(|address| *address == used[0]), "{used:x?}");
}
