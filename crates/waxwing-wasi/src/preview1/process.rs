//! Arguments, environment, clocks, random numbers, and the process itself.

use super::WasiP1Ctx;
use super::memory::GuestMemory;
use super::types::Errno;
use crate::clocks::nanoseconds;
use crate::exit::I32Exit;
use crate::sys;

/// Strings as the guest gets them: each followed by NUL, one after the other.
pub(crate) struct StringList {
    bytes: Vec<u8>,
    /// Where each string starts.
    starts: Vec<usize>,
}

impl StringList {
    pub(crate) fn new(strings: impl Iterator<Item = impl AsRef<str>>) -> Self {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for string in strings {
            starts.push(bytes.len());
            bytes.extend_from_slice(string.as_ref().as_bytes());
            bytes.push(0);
        }
        Self { bytes, starts }
    }

    fn sizes(&self, memory: &mut GuestMemory<'_>, count: u32, length: u32) -> Result<(), Errno> {
        let size = |size| u32::try_from(size).map_err(|_| Errno::Overflow);
        memory.put_u32(count, size(self.starts.len())?)?;
        memory.put_u32(length, size(self.bytes.len())?)
    }

    fn store(&self, memory: &mut GuestMemory<'_>, pointers: u32, buffer: u32) -> Result<(), Errno> {
        memory.put(buffer, &self.bytes)?;
        let count = u32::try_from(self.starts.len()).map_err(|_| Errno::Overflow)?;
        let (pointers, _) = memory.array_mut(pointers, count, 4)?.as_chunks_mut();
        for (pointer, start) in pointers.iter_mut().zip(&self.starts) {
            // The string at `start` is inside of the memory, so this is exact.
            *pointer = buffer.wrapping_add(*start as u32).to_le_bytes();
        }
        Ok(())
    }
}

pub(crate) fn args_sizes_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    argc: u32,
    argv_buf_size: u32,
) -> Result<(), Errno> {
    ctx.args.sizes(memory, argc, argv_buf_size)
}

pub(crate) fn args_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    argv: u32,
    argv_buf: u32,
) -> Result<(), Errno> {
    ctx.args.store(memory, argv, argv_buf)
}

pub(crate) fn environ_sizes_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    environc: u32,
    environ_buf_size: u32,
) -> Result<(), Errno> {
    ctx.environ.sizes(memory, environc, environ_buf_size)
}

pub(crate) fn environ_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    environ: u32,
    environ_buf: u32,
) -> Result<(), Errno> {
    ctx.environ.store(memory, environ, environ_buf)
}

/// `clockid`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Realtime,
    Monotonic,
    ProcessCpuTime,
    ThreadCpuTime,
}

impl TryFrom<u32> for Clock {
    type Error = Errno;

    fn try_from(id: u32) -> Result<Self, Errno> {
        Ok(match id {
            0 => Clock::Realtime,
            1 => Clock::Monotonic,
            2 => Clock::ProcessCpuTime,
            3 => Clock::ThreadCpuTime,
            _ => return Err(Errno::Inval),
        })
    }
}

impl Clock {
    /// The time on the clock, in nanoseconds.
    pub(super) fn now(self, ctx: &WasiP1Ctx) -> Result<u64, Errno> {
        match self {
            Clock::Realtime => Ok(nanoseconds(ctx.wall_clock.now())),
            Clock::Monotonic => Ok(ctx.monotonic_clock.now()),
            Clock::ProcessCpuTime | Clock::ThreadCpuTime => self.cpu_time().map(|(now, _)| now),
        }
    }

    fn resolution(self, ctx: &WasiP1Ctx) -> Result<u64, Errno> {
        match self {
            Clock::Realtime => Ok(nanoseconds(ctx.wall_clock.resolution())),
            Clock::Monotonic => Ok(ctx.monotonic_clock.resolution()),
            Clock::ProcessCpuTime | Clock::ThreadCpuTime => self.cpu_time().map(|(_, step)| step),
        }
    }

    fn cpu_time(self) -> Result<(u64, u64), Errno> {
        let (now, resolution) =
            sys::cpu_clock(self == Clock::ThreadCpuTime).ok_or(Errno::Notsup)?;
        Ok((nanoseconds(now), nanoseconds(resolution)))
    }
}

pub(crate) fn clock_res_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    id: u32,
    resolution: u32,
) -> Result<(), Errno> {
    let value = Clock::try_from(id)?.resolution(ctx)?;
    memory.put_u64(resolution, value)
}

pub(crate) fn clock_time_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    id: u32,
    _precision: u64,
    time: u32,
) -> Result<(), Errno> {
    let value = Clock::try_from(id)?.now(ctx)?;
    memory.put_u64(time, value)
}

pub(crate) fn random_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    buffer: u32,
    length: u32,
) -> Result<(), Errno> {
    ctx.random.fill_bytes(memory.slice_mut(buffer, length)?);
    Ok(())
}

pub(crate) fn sched_yield(_ctx: &mut WasiP1Ctx) -> Result<(), Errno> {
    std::thread::yield_now();
    Ok(())
}

/// What becomes of a guest that raises a signal against itself, by the
/// signal's default action: it ends as a shell reports it, goes on, or would
/// have to be stopped.
pub(super) fn proc_raise(signal: u32) -> anyhow::Result<Result<(), Errno>> {
    Ok(match signal {
        // none; chld, cont, urg, winch are ignored
        0 | 16 | 17 | 22 | 27 => Ok(()),
        // stop, tstp, ttin, ttou
        18..=21 => Err(Errno::Notsup),
        1..=30 => return Err(I32Exit(128 + signal as i32).into()),
        _ => Err(Errno::Inval),
    })
}
