//! Ten thousand guests at once in one engine with a pool, each waiting in the host; then requests for all of them, of which
//! some never end by themselves.

mod executor;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use waxwing::{
    AsContextMut, Config, Engine, InstancePre, Linker, Module, PoolingAllocationConfig, Store,
    UpdateDeadline,
};

use executor::Executor;

/// Runs many guests of Waxwing at once.
#[derive(Parser)]
#[command(name = "benches/run load", version, max_term_width = 100)]
struct Options {
    /// How many guests live at once.
    #[arg(long, default_value_t = 10_000)]
    guests: usize,
    /// How many requests there are, for all guests together.
    #[arg(long, default_value_t = 200_000)]
    requests: usize,
    /// Of so many guests one loops for ever, once.
    #[arg(long, default_value_t = 10)]
    one_in: usize,
    /// Milliseconds between two epochs.
    #[arg(long, default_value_t = 5)]
    epoch: u64,
    /// How often all of it is done.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Threads that run guests; as many as the machine has by default.
    #[arg(long)]
    threads: Option<usize>,
}

/// The request that ends a guest.
const END: i32 = -1;
/// The request that makes it loop for ever.
const LOOP: i32 = -2;
/// How often a guest may see that its deadline has passed, until it is stopped.
const EPOCHS: u32 = 2;

/// What the guest computes.
fn expected(request: i32) -> i32 {
    let table =
        b"a table that the guest came with, and reads: 0123456789abcdefghijklmnopqrstuvwxyz";
    table[..64].iter().fold(request, |x, byte| {
        x.wrapping_mul(31).wrapping_add(i32::from(*byte))
    })
}

/// What a guest receives.
#[derive(Default)]
struct Mailbox(Mutex<(VecDeque<i32>, Option<Waker>)>);

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, (VecDeque<i32>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, request: i32) {
        let mut this = self.lock();
        this.0.push_back(request);
        let waker = this.1.take();
        drop(this);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What all guests did.
#[derive(Default)]
struct Counts {
    /// How many wait for a request that is not there yet.
    waiting: AtomicUsize,
    replies: AtomicUsize,
    /// Replies that are not as expected.
    wrong: AtomicUsize,
    stopped: AtomicUsize,
    /// Errors but those of guests that were stopped.
    failed: AtomicUsize,
    ended: AtomicUsize,
    /// How often guests saw that their deadline had passed, and could go on.
    yields: AtomicUsize,
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::SeqCst);
}

fn get(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

/// What is in a guest's store.
struct Guest {
    mailbox: Arc<Mailbox>,
    counts: Arc<Counts>,
    /// How often the deadline of the request has passed.
    epochs: u32,
    looping: bool,
}

/// Why a guest was stopped.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the guest used up its epochs")
    }
}

impl std::error::Error for Stopped {}

fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap_async(
        "host",
        "recv",
        |mut caller: waxwing::Caller<'_, Guest>, (): ()| {
            Box::new(async move {
                let (mailbox, counts) = {
                    let guest = caller.data();
                    (guest.mailbox.clone(), guest.counts.clone())
                };
                let mut waits = false;
                let request = poll_fn(|context| {
                    let mut mailbox = mailbox.lock();
                    match mailbox.0.pop_front() {
                        Some(request) => {
                            if waits {
                                counts.waiting.fetch_sub(1, Ordering::SeqCst);
                            }
                            Poll::Ready(request)
                        }
                        None => {
                            if !waits {
                                waits = true;
                                add(&counts.waiting);
                            }
                            mailbox.1 = Some(context.waker().clone());
                            Poll::Pending
                        }
                    }
                })
                .await;
                let guest = caller.data_mut();
                guest.epochs = 0;
                guest.looping = request == LOOP;
                caller.as_context_mut().set_epoch_deadline(1);
                request
            })
        },
    )?;
    linker.func_wrap(
        "host",
        "reply",
        |caller: waxwing::Caller<'_, Guest>, request: i32, reply: i32| {
            let counts = &caller.data().counts;
            add(&counts.replies);
            if reply != expected(request) {
                add(&counts.wrong);
            }
        },
    )?;
    Ok(linker)
}

/// Serves what is in the mailbox to the end, by a new instance whenever one was stopped.
async fn guest(instance: InstancePre<Guest>, mailbox: Arc<Mailbox>, counts: Arc<Counts>) {
    loop {
        let guest = Guest {
            mailbox: mailbox.clone(),
            counts: counts.clone(),
            epochs: 0,
            looping: false,
        };
        let mut store = Store::new(instance.module().engine(), guest);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let guest = store.data_mut();
            guest.epochs += 1;
            if guest.epochs >= EPOCHS && guest.looping {
                return Err(Stopped.into());
            }
            add(&guest.counts.yields);
            Ok(UpdateDeadline::Yield(1))
        });
        let result = async {
            let instance = instance.instantiate_async(&mut store).await?;
            let serve = instance.get_typed_func::<(), ()>(&mut store, "serve")?;
            serve.call_async(&mut store, ()).await
        };
        match result.await {
            Ok(()) => break add(&counts.ended),
            Err(error) if error.is::<Stopped>() => add(&counts.stopped),
            Err(error) => {
                eprintln!("{error:?}");
                break add(&counts.failed);
            }
        }
    }
}

/// Bytes of memory that the process has.
fn resident() -> Result<usize> {
    // SAFETY: it changes nothing that is in use.
    unsafe { libc::malloc_trim(0) };
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm
        .split(' ')
        .nth(1)
        .context("no second field in statm")?;
    Ok(pages.parse::<usize>()? * 4096)
}

/// How many mappings the process has.
fn mappings() -> Result<usize> {
    Ok(fs::read_to_string("/proc/self/maps")?.lines().count())
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Waits until `count` is `goal`.
fn wait(what: &str, count: impl Fn() -> usize, goal: usize) -> Result<()> {
    let start = Instant::now();
    while count() != goal {
        ensure!(
            start.elapsed() < Duration::from_secs(300),
            "{what}: {} of {goal} after five minutes",
            count()
        );
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    let Options {
        guests,
        requests,
        one_in,
        ..
    } = options;
    ensure!(guests > 0 && one_in > 0, "there are no guests");
    let slots = u32::try_from(guests).context("too many guests")?;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots)
        .total_memories(slots)
        .total_tables(slots)
        .total_stacks(slots)
        .max_memory_size(16 << 20)
        .table_elements(100)
        // The memory of stacks goes back to the system.
        .async_stack_zeroing(true);
    let mut config = Config::new();
    config
        .async_support(true)
        .epoch_interruption(true)
        .allocation_strategy(pool);
    let engine = Engine::new(&config)?;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/load/server.wat");
    let module = Module::new(&engine, wat::parse_file(path)?)?;
    let instance = linker(&engine)?.instantiate_pre(&module)?;
    let threads = options
        .threads
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let executor = Executor::new(threads);

    let done = Arc::new(AtomicBool::new(false));
    let ticker = {
        let (engine, done, epoch) = (engine.clone(), done.clone(), options.epoch);
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(epoch));
                engine.increment_epoch();
            }
        })
    };

    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    println!(
        "{guests} guests, {requests} requests, {threads} threads, an epoch each {} ms; at most {} mappings",
        options.epoch,
        limit.trim()
    );
    let before = resident()?;
    let mut peaks = Vec::new();
    for round in 1..=options.rounds {
        println!("round {round}:");
        let counts = Arc::new(Counts::default());
        let mailboxes: Vec<Arc<Mailbox>> = (0..guests).map(|_| Arc::default()).collect();

        let start = Instant::now();
        for mailbox in &mailboxes {
            executor.spawn(guest(instance.clone(), mailbox.clone(), counts.clone()));
        }
        wait(
            "guests that wait",
            || get(&counts.waiting) + get(&counts.failed),
            guests,
        )?;
        let time = start.elapsed();
        let peak = resident()?;
        println!(
            "  {guests} guests wait in the host after {time:.2?}: {:.1} MiB resident, {:.1} KiB each; {} mappings",
            mib(peak),
            (peak - before) as f64 / 1024.0 / guests as f64,
            mappings()?
        );
        peaks.push(peak);
        ensure!(get(&counts.failed) == 0, "guests failed");

        let start = Instant::now();
        let mut loops = 0;
        for request in 0..requests {
            let (turn, guest) = (request / guests, request % guests);
            let mailbox = &mailboxes[guest];
            // In the middle of its requests.
            if guest.is_multiple_of(one_in) && turn == requests / guests / 2 {
                mailbox.send(LOOP);
                loops += 1;
            }
            mailbox.send(request as i32);
        }
        wait(
            "replies",
            || get(&counts.replies) + get(&counts.failed),
            requests,
        )?;
        let time = start.elapsed();
        println!(
            "  {} replies and {} guests stopped, of {loops} that looped for ever, after {time:.2?}; {} times a guest let others go first",
            get(&counts.replies),
            get(&counts.stopped),
            get(&counts.yields),
        );
        ensure!(
            get(&counts.wrong) == 0,
            "{} replies are wrong",
            get(&counts.wrong)
        );
        ensure!(
            get(&counts.stopped) == loops,
            "not all that looped were stopped"
        );
        wait(
            "guests that wait again",
            || get(&counts.waiting) + get(&counts.failed),
            guests,
        )?;

        for mailbox in &mailboxes {
            mailbox.send(END);
        }
        wait(
            "guests that ended",
            || get(&counts.ended) + get(&counts.failed),
            guests,
        )?;
        wait("futures that are left", || executor.alive(), 0)?;
        drop(mailboxes);
        ensure!(get(&counts.failed) == 0, "guests failed");
        let after = resident()?;
        println!(
            "  all have ended: {:.1} MiB resident, {:.1} MiB before the first round; {} mappings",
            mib(after),
            mib(before),
            mappings()?
        );
        let kept = after.saturating_sub(before) as f64 / (peak - before) as f64;
        ensure!(
            kept < 0.2,
            "{:.0}% of the memory of the guests is still there",
            kept * 100.0
        );
    }
    let grown = peaks
        .last()
        .zip(peaks.first())
        .map(|(last, first)| *last as f64 / *first as f64);
    ensure!(
        grown.is_none_or(|grown| grown < 1.1),
        "later rounds need more memory than the first: {peaks:?} bytes"
    );
    done.store(true, Ordering::Relaxed);
    ticker.join().map_err(|_| anyhow!("the ticker panicked"))?;
    executor.finish()
}
