//! `poll_oneoff`: waiting for clocks and descriptors.

use super::WasiP1Ctx;
use super::memory::GuestMemory;
use super::process::Clock;
use super::table::ASK_AGAIN;
use super::types::Errno;
use crate::streams::Readiness;
use crate::sys::{Interest, PollSet, Polled};
use std::time::{Duration, Instant};

/// The most subscriptions that a guest may pass to one call.
const MAX_SUBSCRIPTIONS: u32 = 1 << 16;

/// The size of `event`.
const EVENT_SIZE: u32 = 32;

/// Where the parts of `subscription` are; they moved after snapshot 0.
pub(super) struct Layout {
    pub size: u32,
    pub clock: usize,
    pub timeout: usize,
    pub clock_flags: usize,
    pub fd: usize,
}

const PREVIEW1: Layout = Layout {
    size: 48,
    clock: 16,
    timeout: 24,
    clock_flags: 40,
    fd: 16,
};

/// `eventtype`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum EventType {
    Clock = 0,
    FdRead = 1,
    FdWrite = 2,
}

/// What a guest waits for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Clock { id: u32, timeout: u64, flags: u16 },
    Descriptor { fd: u32, interest: Interest },
}

struct Subscription {
    userdata: u64,
    source: Source,
}

impl Subscription {
    fn parse(bytes: &[u8], layout: &Layout) -> Result<Self, Errno> {
        let u64_at = |at| {
            let bytes: &[u8; 8] = bytes[at..].first_chunk().expect("inside of the layout");
            u64::from_le_bytes(*bytes)
        };
        // The parts that are smaller are followed by others, or by padding.
        let u32_at = |at| u64_at(at) as u32;
        let source = match bytes[8] {
            0 => Source::Clock {
                id: u32_at(layout.clock),
                timeout: u64_at(layout.timeout),
                flags: u64_at(layout.clock_flags) as u16,
            },
            1 => Source::Descriptor {
                fd: u32_at(layout.fd),
                interest: Interest::Read,
            },
            2 => Source::Descriptor {
                fd: u32_at(layout.fd),
                interest: Interest::Write,
            },
            _ => return Err(Errno::Inval),
        };
        Ok(Self {
            userdata: u64_at(0),
            source,
        })
    }

    fn event_type(&self) -> EventType {
        match self.source {
            Source::Clock { .. } => EventType::Clock,
            Source::Descriptor {
                interest: Interest::Read,
                ..
            } => EventType::FdRead,
            Source::Descriptor {
                interest: Interest::Write,
                ..
            } => EventType::FdWrite,
        }
    }

    fn event(&self, outcome: Result<Polled, Errno>) -> [u8; EVENT_SIZE as usize] {
        let mut bytes = [0; EVENT_SIZE as usize];
        bytes[0..8].copy_from_slice(&self.userdata.to_le_bytes());
        bytes[10] = self.event_type() as u8;
        match outcome {
            Ok(polled) => {
                bytes[16..24].copy_from_slice(&polled.bytes.to_le_bytes());
                bytes[24] = polled.hangup.into();
            }
            Err(errno) => bytes[8..10].copy_from_slice(&(errno as u16).to_le_bytes()),
        }
        bytes
    }
}

/// How far a subscription is.
#[derive(Debug, Clone, Copy)]
enum State {
    Done(Result<Polled, Errno>),
    /// A clock that comes to its time this long after the call began.
    After(Duration),
    /// A handle, by its index in the poll set.
    Polled(usize),
    /// A stream that has to be asked again.
    Asked {
        fd: u32,
        interest: Interest,
    },
}

pub(crate) fn poll_oneoff(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    stored: u32,
) -> Result<(), Errno> {
    poll(ctx, memory, subscriptions, events, count, stored, &PREVIEW1)
}

pub(super) fn poll(
    ctx: &WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    stored: u32,
    layout: &Layout,
) -> Result<(), Errno> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval);
    }
    memory.check(stored, 4)?;
    memory.check(events, count * EVENT_SIZE)?;
    let subscriptions = memory
        .array(subscriptions, count, layout.size)?
        .chunks_exact(layout.size as usize)
        .map(|bytes| Subscription::parse(bytes, layout))
        .collect::<Result<Vec<_>, _>>()?;

    let outcomes = wait(ctx, &subscriptions)?;

    let mut written = 0;
    for (subscription, outcome) in subscriptions.iter().zip(outcomes) {
        if let Some(outcome) = outcome {
            let event = subscription.event(outcome);
            memory.put(events + written * EVENT_SIZE, &event)?;
            written += 1;
        }
    }
    memory.put_u32(stored, written)
}

/// Waits until at least one subscription has an outcome, and gives the
/// outcomes of all of them.
fn wait(
    ctx: &WasiP1Ctx,
    subscriptions: &[Subscription],
) -> Result<Vec<Option<Result<Polled, Errno>>>, Errno> {
    let start = Instant::now();
    let mut handles = PollSet::default();
    let mut states: Vec<_> = subscriptions
        .iter()
        .map(|subscription| match subscription.source {
            Source::Clock { id, timeout, flags } => match remaining(ctx, id, timeout, flags) {
                Ok(time) => State::After(time),
                Err(errno) => State::Done(Err(errno)),
            },
            Source::Descriptor { fd, interest } => ask(ctx, fd, interest, &mut handles),
        })
        .collect();

    loop {
        let mut done = false;
        let mut asked = false;
        let mut timeout: Option<Duration> = None;
        let passed = start.elapsed();
        for state in &mut states {
            match *state {
                State::Done(_) => done = true,
                State::After(time) => {
                    let left = time.saturating_sub(passed);
                    done |= left.is_zero();
                    timeout = Some(timeout.map_or(left, |other| other.min(left)));
                }
                State::Polled(_) => {}
                State::Asked { fd, interest } => {
                    if let Readiness::Ready { bytes, hangup } =
                        ctx.table.get(fd)?.readiness(interest)?
                    {
                        *state = State::Done(Ok(Polled { bytes, hangup }));
                        done = true;
                    }
                    asked = true;
                }
            }
        }
        if done {
            timeout = Some(Duration::ZERO);
        } else if asked {
            timeout = Some(timeout.map_or(ASK_AGAIN, |time| time.min(ASK_AGAIN)));
        }
        if !handles.is_empty() {
            handles.wait(timeout)?;
        } else if let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero()) {
            std::thread::sleep(timeout);
        }

        let passed = start.elapsed();
        let outcome = |state: &State| match *state {
            State::Done(outcome) => Some(outcome),
            State::After(time) => (passed >= time).then_some(Ok(Polled {
                bytes: 0,
                hangup: false,
            })),
            State::Polled(index) => handles.result(index),
            State::Asked { .. } => None,
        };
        let outcomes: Vec<_> = states.iter().map(outcome).collect();
        if outcomes.iter().any(Option::is_some) {
            return Ok(outcomes);
        }
    }
}

/// How long it takes the clock to come to its time.
fn remaining(ctx: &WasiP1Ctx, id: u32, timeout: u64, flags: u16) -> Result<Duration, Errno> {
    const ABSOLUTE: u16 = 1;
    let clock = Clock::try_from(id)?;
    if let Clock::ProcessCpuTime | Clock::ThreadCpuTime = clock {
        return Err(Errno::Notsup);
    }
    let nanoseconds = match flags {
        0 => timeout,
        ABSOLUTE => timeout.saturating_sub(clock.now(ctx)?),
        _ => return Err(Errno::Inval),
    };
    Ok(Duration::from_nanos(nanoseconds))
}

fn ask<'a>(ctx: &'a WasiP1Ctx, fd: u32, interest: Interest, handles: &mut PollSet<'a>) -> State {
    let readiness = ctx
        .table
        .get(fd)
        .and_then(|found| found.readiness(interest));
    match readiness {
        Ok(Readiness::Ready { bytes, hangup }) => State::Done(Ok(Polled { bytes, hangup })),
        Ok(Readiness::Pending) => State::Asked { fd, interest },
        Ok(Readiness::Handle(handle)) => State::Polled(handles.push(handle, interest)),
        Err(errno) => State::Done(Err(errno)),
    }
}
