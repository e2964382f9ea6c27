//! What is different in `wasi_unstable`, the snapshot before preview 1: the
//! numbers of `whence`, and the layouts of `filestat` and `subscription`.

use super::memory::GuestMemory;
use super::poll::Layout;
use super::types::{Errno, FileStat, Whence};
use super::{WasiP1Ctx, descriptor, path, poll};

pub(crate) fn fd_seek(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    new_offset: u32,
) -> Result<(), Errno> {
    let whence = match whence {
        0 => Whence::Cur,
        1 => Whence::End,
        2 => Whence::Set,
        _ => return Err(Errno::Inval),
    };
    descriptor::seek(ctx, memory, fd, offset, whence, new_offset)
}

fn store_filestat(
    memory: &mut GuestMemory<'_>,
    pointer: u32,
    stat: &FileStat,
) -> Result<(), Errno> {
    let links = u32::try_from(stat.links).unwrap_or(u32::MAX);
    let mut bytes = [0; 56];
    bytes[0..8].copy_from_slice(&stat.device.to_le_bytes());
    bytes[8..16].copy_from_slice(&stat.inode.to_le_bytes());
    bytes[16] = stat.file_type as u8;
    bytes[20..24].copy_from_slice(&links.to_le_bytes());
    bytes[24..32].copy_from_slice(&stat.size.to_le_bytes());
    bytes[32..40].copy_from_slice(&stat.accessed.to_le_bytes());
    bytes[40..48].copy_from_slice(&stat.modified.to_le_bytes());
    bytes[48..56].copy_from_slice(&stat.changed.to_le_bytes());
    memory.put(pointer, &bytes)
}

pub(crate) fn fd_filestat_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    stat: u32,
) -> Result<(), Errno> {
    let found = descriptor::filestat(ctx, fd)?;
    store_filestat(memory, stat, &found)
}

pub(crate) fn path_filestat_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    lookup_flags: u32,
    path: u32,
    path_len: u32,
    stat: u32,
) -> Result<(), Errno> {
    let found = path::filestat(ctx, memory, fd, lookup_flags, path, path_len)?;
    store_filestat(memory, stat, &found)
}

const SUBSCRIPTION: Layout = Layout {
    size: 56,
    clock: 24,
    timeout: 32,
    clock_flags: 48,
    fd: 16,
};

pub(crate) fn poll_oneoff(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    stored: u32,
) -> Result<(), Errno> {
    poll::poll(
        ctx,
        memory,
        subscriptions,
        events,
        count,
        stored,
        &SUBSCRIPTION,
    )
}
