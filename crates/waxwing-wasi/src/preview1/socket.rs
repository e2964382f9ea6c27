//! The functions `sock_*`.

use super::WasiP1Ctx;
use super::memory::GuestMemory;
use super::table::{Descriptor, uninterrupted};
use super::types::{Errno, FdFlags, RiFlags, Rights, SdFlags, flags};
use std::net::Shutdown;

pub(crate) fn sock_accept(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    fd_flags: u32,
    accepted: u32,
) -> Result<(), Errno> {
    let fd_flags: FdFlags = flags(fd_flags)?;
    if fd_flags - FdFlags::NONBLOCK != FdFlags::empty() {
        return Err(Errno::Inval);
    }
    let listener = ctx.table.get(fd)?;
    let socket = listener.as_socket(Rights::SOCK_ACCEPT)?;
    if !socket.is_listening() {
        return Err(Errno::Inval);
    }
    memory.check(accepted, 4)?;
    let socket = uninterrupted(|| socket.accept())?;
    socket.set_nonblocking(fd_flags.contains(FdFlags::NONBLOCK))?;
    let mut descriptor = Descriptor::socket(socket);
    descriptor.rights &= listener.inheriting;
    descriptor.flags = fd_flags;
    let number = ctx.table.insert(descriptor)?;
    memory.put_u32(accepted, number)
}

#[expect(clippy::too_many_arguments, reason = "the specification's signature")]
pub(crate) fn sock_recv(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buffers: u32,
    buffers_len: u32,
    ri_flags: u32,
    received: u32,
    ro_flags: u32,
) -> Result<(), Errno> {
    let ri_flags: RiFlags = flags(ri_flags)?;
    let socket = ctx.table.get(fd)?.as_socket(Rights::FD_READ)?;
    memory.check(received, 4)?;
    memory.check(ro_flags, 2)?;
    let peek = ri_flags.contains(RiFlags::RECV_PEEK);
    let wait_all = ri_flags.contains(RiFlags::RECV_WAITALL);
    let (count, truncated) = memory.with_input(buffers, buffers_len, |buffers| {
        uninterrupted(|| socket.receive(buffers, peek, wait_all))
    })??;
    memory.put_u32(received, count as u32)?;
    memory.put(ro_flags, &u16::from(truncated).to_le_bytes())
}

pub(crate) fn sock_send(
    ctx: &mut WasiP1Ctx,
    memory: &mut GuestMemory<'_>,
    fd: u32,
    buffers: u32,
    buffers_len: u32,
    si_flags: u32,
    sent: u32,
) -> Result<(), Errno> {
    if si_flags != 0 {
        return Err(Errno::Inval);
    }
    let socket = ctx.table.get(fd)?.as_socket(Rights::FD_WRITE)?;
    memory.check(sent, 4)?;
    let count = memory.with_output(buffers, buffers_len, |buffers| {
        uninterrupted(|| socket.send(buffers))
    })??;
    memory.put_u32(sent, count as u32)
}

pub(crate) fn sock_shutdown(ctx: &mut WasiP1Ctx, fd: u32, how: u32) -> Result<(), Errno> {
    let how: SdFlags = flags(how)?;
    let socket = ctx.table.get(fd)?.as_socket(Rights::empty())?;
    if socket.is_listening() {
        return Err(Errno::Notconn);
    }
    ctx.table.get(fd)?.require(Rights::SOCK_SHUTDOWN)?;
    let how = match (how.contains(SdFlags::RD), how.contains(SdFlags::WR)) {
        (true, true) => Shutdown::Both,
        (true, false) => Shutdown::Read,
        (false, true) => Shutdown::Write,
        (false, false) => return Err(Errno::Inval),
    };
    Ok(socket.shutdown(how)?)
}
