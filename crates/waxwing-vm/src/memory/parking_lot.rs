//! Threads that wait at addresses of shared memories, and who wakes them.
//!
//! Waiters are found by the address in the host's address space, which is the same for all stores that
//! use a memory and no other memory has. The addresses are hashed to a fixed number of shards, each a
//! queue behind a lock of its own, so that threads meet only when they wait at the same address or are
//! unlucky. A lock is held to look at the value and to enter or leave the queue, never while a thread
//! sleeps: each sleeps on a [`Parker`] of its own.
//!
//! A waiter that is taken off its queue *is* notified: it returns [`WaitResult::Ok`] even if its time
//! runs out before it hears of it, so that the number that [`notify`] returns is exact.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use smallvec::SmallVec;

use super::WaitResult;

/// As many as make it unlikely that threads of one process meet in one.
const SHARDS: usize = 256;

static LOT: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];

/// The waiters at some of all addresses, each on cache lines of its own.
#[repr(align(128))]
struct Shard {
    /// How many threads are in the queue or about to enter it.
    waiting: AtomicUsize,
    /// In the order in which they came.
    queue: Mutex<VecDeque<Waiter>>,
}

struct Waiter {
    address: usize,
    parker: Arc<Parker>,
}

/// Where one thread sleeps.
#[derive(Default)]
struct Parker {
    notified: Mutex<bool>,
    wake: Condvar,
}

thread_local! {
    /// The thread's parker while it does not wait. Shared, as who wakes it may still hold the parker when
    /// the thread has gone on, or ended.
    static IDLE: Cell<Option<Arc<Parker>>> = const { Cell::new(None) };
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    const fn new() -> Shard {
        Shard {
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(VecDeque::new()),
        }
    }

    fn of(address: usize) -> &'static Shard {
        // Multiplication spreads to the high bits what differs in the low ones.
        let hash = (address as u64 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &LOT[(hash >> (u64::BITS - SHARDS.ilog2())) as usize]
    }
}

impl Parker {
    /// The calling thread's own, not notified.
    fn take() -> Arc<Parker> {
        let idle = IDLE.try_with(Cell::take).ok().flatten();
        let parker = idle.unwrap_or_default();
        *lock(&parker.notified) = false;
        parker
    }

    fn put_back(self: Arc<Parker>) {
        // Dropped if the thread is ending.
        let _ = IDLE.try_with(|idle| idle.set(Some(self)));
    }

    /// Sleeps until notified, at most until `deadline`. Returns whether notified.
    fn park(&self, deadline: Option<Instant>) -> bool {
        let mut notified = lock(&self.notified);
        while !*notified {
            let Some(deadline) = deadline else {
                let woken = self.wake.wait(notified);
                notified = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.wake.wait_timeout(notified, left);
            notified = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *notified
    }

    fn unpark(&self) {
        *lock(&self.notified) = true;
        self.wake.notify_one();
    }
}

/// Waits at `address` until notified, at most until `deadline`, unless `is_expected`, which looks at the
/// value there by a sequentially consistent load, says that there is nothing to wait for.
pub(crate) fn wait(
    address: usize,
    deadline: Option<Instant>,
    is_expected: impl FnOnce() -> bool,
) -> WaitResult {
    let shard = Shard::of(address);
    // Before the value is looked at: see `notify`.
    shard.waiting.fetch_add(1, Ordering::SeqCst);
    let parker = {
        let mut queue = lock(&shard.queue);
        if !is_expected() {
            shard.waiting.fetch_sub(1, Ordering::Relaxed);
            return WaitResult::Mismatch;
        }
        let parker = Parker::take();
        queue.push_back(Waiter {
            address,
            parker: Arc::clone(&parker),
        });
        parker
    };
    let mut notified = parker.park(deadline);
    if !notified {
        let mut queue = lock(&shard.queue);
        let position = queue
            .iter()
            .position(|waiter| Arc::ptr_eq(&waiter.parker, &parker));
        match position {
            Some(position) => {
                queue.remove(position);
                shard.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            // Somebody took this waiter off the queue, and is about to say so.
            None => {
                drop(queue);
                notified = parker.park(None);
            }
        }
    }
    parker.put_back();
    if notified {
        WaitResult::Ok
    } else {
        WaitResult::TimedOut
    }
}

/// Wakes at most `count` of the threads that wait at `address`, those that came first. Returns how many.
pub(crate) fn notify(address: usize, count: u32) -> u32 {
    let shard = Shard::of(address);
    // The caller has changed the value, and a waiter first says that it is there and then looks at the
    // value. All of this is sequentially consistent, this fence making it so for whatever access changed
    // the value. So either the waiter sees the change, or it is seen here.
    fence(Ordering::SeqCst);
    if count == 0 || shard.waiting.load(Ordering::SeqCst) == 0 {
        return 0;
    }
    let mut woken = SmallVec::<[Arc<Parker>; 8]>::new();
    {
        let mut queue = lock(&shard.queue);
        let mut at = 0;
        while at < queue.len() && woken.len() < count as usize {
            if queue[at].address == address {
                woken.extend(queue.remove(at).map(|waiter| waiter.parker));
            } else {
                at += 1;
            }
        }
        shard.waiting.fetch_sub(woken.len(), Ordering::Relaxed);
    }
    for parker in &woken {
        parker.unpark();
    }
    woken.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32};
    use std::thread;
    use std::time::Duration;

    fn address_of(word: &AtomicU32) -> usize {
        std::ptr::from_ref(word).addr()
    }

    /// How many threads wait at `address`.
    fn waiters(address: usize) -> usize {
        let queue = lock(&Shard::of(address).queue);
        queue.iter().filter(|w| w.address == address).count()
    }

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    #[test]
    fn waiters_are_woken_in_order_and_counted() {
        let word = AtomicU32::new(0);
        let address = address_of(&word);
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for i in 0..5 {
                until(|| waiters(address) == i);
                let order = &order;
                scope.spawn(move || {
                    assert_eq!(wait(address, None, || true), WaitResult::Ok);
                    lock(order).push(i);
                });
            }
            until(|| waiters(address) == 5);
            assert_eq!(notify(address, 0), 0);
            assert_eq!(notify(address + 4, u32::MAX), 0);
            for woken in 1..=3 {
                assert_eq!(notify(address, 1), 1);
                until(|| lock(&order).len() == woken);
            }
            assert_eq!(*lock(&order), [0, 1, 2]);
            assert_eq!(notify(address, u32::MAX), 2);
        });
        assert_eq!(notify(address, u32::MAX), 0);
    }

    #[test]
    fn unexpected_values_and_timeouts_end_waits() {
        let word = AtomicU32::new(0);
        let address = address_of(&word);
        assert_eq!(wait(address, None, || false), WaitResult::Mismatch);
        let start = Instant::now();
        let timeout = Duration::from_millis(20);
        let result = wait(address, Some(start + timeout), || true);
        assert_eq!(result, WaitResult::TimedOut);
        assert!(start.elapsed() >= timeout);
        assert_eq!(wait(address, Some(start), || true), WaitResult::TimedOut);
        assert_eq!(waiters(address), 0);
        assert_eq!(notify(address, 1), 0);
    }

    #[test]
    fn no_notification_is_lost_or_counted_twice() {
        // Timeouts race with notifications all the time.
        let word = AtomicU32::new(0);
        let address = address_of(&word);
        let (notified, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let woken = thread::scope(|scope| {
            let sleepers: Vec<_> = (0..4u64)
                .map(|i| {
                    let notified = &notified;
                    scope.spawn(move || {
                        for round in 0..2000 {
                            let timeout = Duration::from_micros((i * 7 + round) % 40);
                            let deadline = Instant::now() + timeout;
                            if wait(address, Some(deadline), || true) == WaitResult::Ok {
                                notified.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    })
                })
                .collect();
            let waker = scope.spawn(|| {
                let mut woken = 0;
                while !done.load(Ordering::Relaxed) {
                    woken += notify(address, 1) as usize;
                }
                woken
            });
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
            waker.join().unwrap()
        });
        assert_eq!(notified.load(Ordering::Relaxed), woken);
    }

    #[test]
    fn no_wake_up_is_missed() {
        // Two threads hand a word back and forth; one that missed its wake-up would sleep forever.
        let word = AtomicU32::new(0);
        let address = address_of(&word);
        const ROUNDS: u32 = 5000;
        let play = |mine: u32| {
            for _ in 0..ROUNDS {
                loop {
                    let value = word.load(Ordering::SeqCst);
                    if value % 2 == mine {
                        break;
                    }
                    wait(address, None, || word.load(Ordering::SeqCst) == value);
                }
                word.fetch_add(1, Ordering::SeqCst);
                notify(address, 1);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| play(0));
            scope.spawn(|| play(1));
        });
        assert_eq!(word.into_inner(), 2 * ROUNDS);
    }
}
