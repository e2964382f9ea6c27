//! The functions `fd_*`.

use super::WasiP1Ctx;
use super::memory::GuestMemory;
use super::table::{Descriptor, Kind, uninterrupted};
use super::types::{Advice, Errno, FdFlags, FileStat, NewTime, Rights, Whence, flags};
use crate::ctx::{DirPerms, FilePerms};
use crate::sys;
use std::io::{Seek, SeekFrom};

pub(crate) fn fd_read(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    nread: u32,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get_mut(fd)?;
    memory.check(nread, 4)?;
    let count = memory.with_input(iovs, iovs_len, |buffers| descriptor.read(buffers))??;
    memory.put_u32(nread, count as u32)
}

pub(crate) fn fd_write(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    nwritten: u32,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get_mut(fd)?;
    memory.check(nwritten, 4)?;
    let count = memory.with_output(iovs, iovs_len, |buffers| descriptor.write(buffers))??;
    memory.put_u32(nwritten, count as u32)
}

pub(crate) fn fd_pread(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nread: u32,
) -> Result<(), Errno> {
    let open = ctx.table.get(fd)?.file(Rights::FD_READ)?;
    let offset = file_offset(offset)?;
    memory.check(nread, 4)?;
    let count = memory.with_input(iovs, iovs_len, |buffers| {
        uninterrupted(|| sys::read_at(&open.file, buffers, offset))
    })??;
    memory.put_u32(nread, count as u32)
}

pub(crate) fn fd_pwrite(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nwritten: u32,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get(fd)?;
    let open = descriptor.file(Rights::FD_WRITE)?;
    let offset = file_offset(offset)?;
    memory.check(nwritten, 4)?;
    let count = memory.with_output(iovs, iovs_len, |buffers| {
        uninterrupted(|| sys::write_at(&open.file, buffers, offset))
    })??;
    open.settle(descriptor.flags)?;
    memory.put_u32(nwritten, count as u32)
}

/// Systems count positions in files with signed numbers.
fn file_offset(offset: u64) -> Result<u64, Errno> {
    i64::try_from(offset).map_err(|_| Errno::Inval)?;
    Ok(offset)
}

pub(crate) fn fd_seek(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    new_offset: u32,
) -> Result<(), Errno> {
    let whence = match whence {
        0 => Whence::Set,
        1 => Whence::Cur,
        2 => Whence::End,
        _ => return Err(Errno::Inval),
    };
    seek(ctx, memory, fd, offset, whence, new_offset)
}

pub(super) fn seek(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: i64,
    whence: Whence,
    new_offset: u32,
) -> Result<(), Errno> {
    let (target, rights) = match (whence, offset) {
        (Whence::Set, offset) => {
            let offset = u64::try_from(offset).map_err(|_| Errno::Inval)?;
            (SeekFrom::Start(offset), Rights::FD_SEEK)
        }
        (Whence::Cur, 0) => (SeekFrom::Current(0), Rights::FD_TELL),
        (Whence::Cur, offset) => (SeekFrom::Current(offset), Rights::FD_SEEK),
        (Whence::End, offset) => (SeekFrom::End(offset), Rights::FD_SEEK),
    };
    let mut file = &ctx.table.get(fd)?.file(rights)?.file;
    memory.check(new_offset, 8)?;
    let position = file.seek(target)?;
    memory.put_u64(new_offset, position)
}

pub(crate) fn fd_tell(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    offset: u32,
) -> Result<(), Errno> {
    let mut file = &ctx.table.get(fd)?.file(Rights::FD_TELL)?.file;
    let position = file.stream_position()?;
    memory.put_u64(offset, position)
}

pub(crate) fn fd_close(ctx: &mut WasiP1Ctx, fd: u32) -> Result<(), Errno> {
    ctx.table.remove(fd).map(drop)
}

pub(crate) fn fd_renumber(ctx: &mut WasiP1Ctx, fd: u32, to: u32) -> Result<(), Errno> {
    ctx.table.renumber(fd, to)
}

pub(crate) fn fd_sync(ctx: &mut WasiP1Ctx, fd: u32) -> Result<(), Errno> {
    synchronise(ctx.table.get_mut(fd)?, Rights::FD_SYNC)
}

pub(crate) fn fd_datasync(ctx: &mut WasiP1Ctx, fd: u32) -> Result<(), Errno> {
    synchronise(ctx.table.get_mut(fd)?, Rights::FD_DATASYNC)
}

fn synchronise(descriptor: &mut Descriptor, right: Rights) -> Result<(), Errno> {
    if let Kind::Input(_) | Kind::Socket(_) = descriptor.kind {
        return Err(Errno::Inval);
    }
    descriptor.require(right)?;
    let file = match &mut descriptor.kind {
        Kind::File(open) => &open.file,
        Kind::Directory(open) => open.reader.file(&open.dir)?,
        Kind::Output(stream) => return Ok(stream.flush()?),
        Kind::Input(_) | Kind::Socket(_) => return Err(Errno::Inval),
    };
    if right == Rights::FD_SYNC {
        Ok(file.sync_all()?)
    } else {
        Ok(file.sync_data()?)
    }
}

pub(crate) fn fd_advise(
    ctx: &mut WasiP1Ctx,
    fd: u32,
    offset: u64,
    length: u64,
    advice: u32,
) -> Result<(), Errno> {
    let advice = Advice::try_from(advice)?;
    let open = ctx.table.get(fd)?.file(Rights::FD_ADVISE)?;
    let (offset, length) = (file_offset(offset)?, file_offset(length)?);
    Ok(sys::advise(&open.file, offset, length, advice)?)
}

pub(crate) fn fd_allocate(
    ctx: &mut WasiP1Ctx,
    fd: u32,
    offset: u64,
    length: u64,
) -> Result<(), Errno> {
    let open = ctx.table.get(fd)?.file(Rights::FD_ALLOCATE)?;
    let (offset, length) = (file_offset(offset)?, file_offset(length)?);
    if length == 0 {
        return Err(Errno::Inval);
    }
    uninterrupted(|| sys::allocate(&open.file, offset, length))
}

pub(crate) fn fd_fdstat_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    stat: u32,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get(fd)?;
    let mut bytes = [0; 24];
    bytes[0] = descriptor.file_type() as u8;
    bytes[2..4].copy_from_slice(&descriptor.flags.bits().to_le_bytes());
    bytes[8..16].copy_from_slice(&descriptor.rights.bits().to_le_bytes());
    bytes[16..24].copy_from_slice(&descriptor.inheriting.bits().to_le_bytes());
    memory.put(stat, &bytes)
}

pub(crate) fn fd_fdstat_set_flags(
    ctx: &mut WasiP1Ctx,
    fd: u32,
    fd_flags: u32,
) -> Result<(), Errno> {
    let fd_flags: FdFlags = flags(fd_flags)?;
    let descriptor = ctx.table.get_mut(fd)?;
    descriptor.require(Rights::FD_FDSTAT_SET_FLAGS)?;
    let nonblock = fd_flags.contains(FdFlags::NONBLOCK);
    match &descriptor.kind {
        Kind::File(open) => {
            let append = fd_flags.contains(FdFlags::APPEND);
            sys::set_status_flags(&open.file, append, nonblock)?;
        }
        Kind::Socket(socket) => {
            if fd_flags - FdFlags::NONBLOCK != FdFlags::empty() {
                return Err(Errno::Inval);
            }
            socket.set_nonblocking(nonblock)?;
        }
        // The standard streams are shared with the host: their descriptors
        // stay as they are, and not to block is up to reads and writes here.
        Kind::Input(_) | Kind::Output(_) | Kind::Directory(_) => {}
    }
    descriptor.flags = fd_flags;
    Ok(())
}

pub(crate) fn fd_fdstat_set_rights(
    ctx: &mut WasiP1Ctx,
    fd: u32,
    base: u64,
    inheriting: u64,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get_mut(fd)?;
    let given = |bits, has: Rights| {
        Rights::from_bits(bits)
            .filter(|&rights| has.contains(rights))
            .ok_or(Errno::Notcapable)
    };
    let base = given(base, descriptor.rights)?;
    let inheriting = given(inheriting, descriptor.inheriting)?;
    (descriptor.rights, descriptor.inheriting) = (base, inheriting);
    Ok(())
}

/// The layouts of `filestat`.
pub(crate) fn store_filestat(
    memory: &mut GuestMemory<'_>,
    pointer: u32,
    stat: &FileStat,
) -> Result<(), Errno> {
    let mut bytes = [0; 64];
    bytes[0..8].copy_from_slice(&stat.device.to_le_bytes());
    bytes[8..16].copy_from_slice(&stat.inode.to_le_bytes());
    bytes[16] = stat.file_type as u8;
    bytes[24..32].copy_from_slice(&stat.links.to_le_bytes());
    bytes[32..40].copy_from_slice(&stat.size.to_le_bytes());
    bytes[40..48].copy_from_slice(&stat.accessed.to_le_bytes());
    bytes[48..56].copy_from_slice(&stat.modified.to_le_bytes());
    bytes[56..64].copy_from_slice(&stat.changed.to_le_bytes());
    memory.put(pointer, &bytes)
}

pub(crate) fn fd_filestat_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    stat: u32,
) -> Result<(), Errno> {
    let found = filestat(ctx, fd)?;
    store_filestat(memory, stat, &found)
}

pub(super) fn filestat(ctx: &WasiP1Ctx, fd: u32) -> Result<FileStat, Errno> {
    let descriptor = ctx.table.get(fd)?;
    descriptor.require(Rights::FD_FILESTAT_GET)?;
    match &descriptor.kind {
        Kind::File(open) => Ok((&cap_std::fs::Metadata::from_file(&open.file)?).into()),
        Kind::Directory(open) => Ok((&open.dir.dir_metadata()?).into()),
        Kind::Input(_) | Kind::Output(_) | Kind::Socket(_) => {
            Ok(FileStat::of_type(descriptor.file_type()))
        }
    }
}

pub(crate) fn fd_filestat_set_size(ctx: &mut WasiP1Ctx, fd: u32, size: u64) -> Result<(), Errno> {
    let descriptor = ctx.table.get(fd)?;
    if let Kind::Input(_) | Kind::Output(_) | Kind::Socket(_) = descriptor.kind {
        return Err(Errno::Inval);
    }
    let open = descriptor.file(Rights::FD_FILESTAT_SET_SIZE)?;
    let size = file_offset(size)?;
    uninterrupted(|| open.file.set_len(size))
}

pub(crate) fn fd_filestat_set_times(
    ctx: &mut WasiP1Ctx,
    fd: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Result<(), Errno> {
    let (accessed, modified) = NewTime::pair(atim, mtim, fst_flags)?;
    let descriptor = ctx.table.get(fd)?;
    match &descriptor.kind {
        Kind::File(open) => {
            descriptor.require(Rights::FD_FILESTAT_SET_TIMES)?;
            if !open.perms.contains(FilePerms::WRITE) {
                return Err(Errno::Perm);
            }
            Ok(sys::set_file_times(&open.file, accessed, modified)?)
        }
        Kind::Directory(open) => {
            descriptor.require(Rights::FD_FILESTAT_SET_TIMES)?;
            if !open.perms.contains(DirPerms::MUTATE) {
                return Err(Errno::Perm);
            }
            Ok(sys::set_directory_times(&open.dir, accessed, modified)?)
        }
        Kind::Input(_) | Kind::Output(_) | Kind::Socket(_) => Err(Errno::Inval),
    }
}

/// The name under which the guest was given the directory `fd`.
fn preopened_name(ctx: &WasiP1Ctx, fd: u32) -> Result<&str, Errno> {
    match &ctx.table.get(fd)?.kind {
        Kind::Directory(open) => open.preopened_as.as_deref().ok_or(Errno::Badf),
        _ => Err(Errno::Badf),
    }
}

pub(crate) fn fd_prestat_get(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    prestat: u32,
) -> Result<(), Errno> {
    let name = preopened_name(ctx, fd)?;
    let length = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?;
    // The tag 0 stands for a directory, the only kind there is.
    let mut bytes = [0; 8];
    bytes[4..].copy_from_slice(&length.to_le_bytes());
    memory.put(prestat, &bytes)
}

pub(crate) fn fd_prestat_dir_name(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
) -> Result<(), Errno> {
    let name = preopened_name(ctx, fd)?;
    if name.len() > path_len as usize {
        return Err(Errno::Nametoolong);
    }
    memory.put(path, name.as_bytes())
}

pub(crate) fn fd_readdir(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buffer: u32,
    buffer_len: u32,
    cookie: u64,
    used: u32,
) -> Result<(), Errno> {
    let descriptor = ctx.table.get_mut(fd)?;
    let open = match &mut descriptor.kind {
        Kind::Directory(open) => open,
        _ => return Err(Errno::Notdir),
    };
    if !descriptor.rights.contains(Rights::FD_READDIR) {
        return Err(Errno::Notcapable);
    }
    if !open.perms.contains(DirPerms::READ) {
        return Err(Errno::Perm);
    }
    memory.check(used, 4)?;
    let cookie = file_offset(cookie)?;
    let mut rest = memory.slice_mut(buffer, buffer_len)?;
    open.reader.read(&open.dir, cookie, |entry| {
        let mut header = [0; 24];
        header[0..8].copy_from_slice(&entry.next.to_le_bytes());
        header[8..16].copy_from_slice(&entry.inode.to_le_bytes());
        header[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
        header[20] = entry.file_type as u8;
        // An entry that does not fit is cut off: a full buffer tells the guest
        // that there is more, one that is not full is the end.
        for bytes in [&header[..], entry.name.as_bytes()] {
            let count = bytes.len().min(rest.len());
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(count);
            part.copy_from_slice(&bytes[..count]);
            rest = tail;
        }
        !rest.is_empty()
    })?;
    let filled = buffer_len - rest.len() as u32;
    memory.put_u32(used, filled)
}
