//! A small executor of futures on several threads.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};

/// Threads that poll futures which are ready to go on.
pub struct Executor {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue {
    ready: Mutex<(VecDeque<Arc<Task>>, bool)>,
    wake: Condvar,
    alive: AtomicUsize,
}

struct Task {
    queue: Arc<Queue>,
    /// Whether it is in the queue.
    queued: AtomicBool,
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.queue.push(self.clone());
        }
    }
}

impl Queue {
    fn push(&self, task: Arc<Task>) {
        let ready = self.ready.lock();
        let mut ready = ready.unwrap_or_else(PoisonError::into_inner);
        ready.0.push_back(task);
        drop(ready);
        self.wake.notify_one();
    }

    /// The next task, or nothing if there will be none.
    fn pop(&self) -> Option<Arc<Task>> {
        let ready = self.ready.lock();
        let mut ready = ready.unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(task) = ready.0.pop_front() {
                return Some(task);
            }
            if ready.1 {
                return None;
            }
            let woken = self.wake.wait(ready);
            ready = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        while let Some(task) = self.pop() {
            // Whoever wakes it from here on has it polled again.
            task.queued.store(false, Ordering::SeqCst);
            let future = task.future.lock();
            let mut slot = future.unwrap_or_else(PoisonError::into_inner);
            let Some(future) = slot.as_mut() else {
                continue;
            };
            let waker = Waker::from(task.clone());
            if let Poll::Ready(()) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                *slot = None;
                self.alive.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

impl Executor {
    pub fn new(threads: usize) -> Executor {
        let queue = Arc::new(Queue {
            ready: Mutex::default(),
            wake: Condvar::new(),
            alive: AtomicUsize::new(0),
        });
        let work = |queue: Arc<Queue>| thread::spawn(move || queue.work());
        let threads = (0..threads.max(1)).map(|_| work(queue.clone())).collect();
        Executor { queue, threads }
    }

    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.queue.alive.fetch_add(1, Ordering::SeqCst);
        self.queue.push(Arc::new(Task {
            queue: self.queue.clone(),
            queued: AtomicBool::new(true),
            future: Mutex::new(Some(Box::pin(future))),
        }));
    }

    /// How many futures have not ended.
    pub fn alive(&self) -> usize {
        self.queue.alive.load(Ordering::SeqCst)
    }

    /// Ends the threads when nothing is ready to go on.
    pub fn finish(self) -> Result<()> {
        let ready = self.queue.ready.lock();
        ready.unwrap_or_else(PoisonError::into_inner).1 = true;
        self.queue.wake.notify_all();
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a thread panicked"))?;
        }
        Ok(())
    }
}
