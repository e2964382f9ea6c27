//! Unix: everything is a file descriptor.

use super::{Interest, Polled};
use crate::preview1::{Advice, Errno, NewTime, for_each_errno};
use crate::streams::Readiness;
use cap_std::fs::{Dir, Metadata, MetadataExt};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, Timespec, Timestamps};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags};
use rustix::time::ClockId;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

pub(crate) type PollHandle<'a> = BorrowedFd<'a>;

macro_rules! define_errno_from_host {
    ($($name:ident = $number:literal, $posix:ident, $text:literal;)*) => {
        /// The preview 1 error code for an error code of this system.
        pub(crate) fn errno(raw: i32) -> Option<Errno> {
            use rustix::io::Errno as Host;
            Some(match Host::from_raw_os_error(raw) {
                $(Host::$posix => Errno::$name,)*
                #[allow(unreachable_patterns, reason = "the same as NOTSUP on some systems")]
                Host::OPNOTSUPP => Errno::Notsup,
                _ => return None,
            })
        }
    };
}
for_each_errno!(define_errno_from_host);

// Clocks.

pub(crate) fn wall_clock_resolution() -> Duration {
    clock_duration(rustix::time::clock_getres(ClockId::Realtime))
}

pub(crate) fn monotonic_clock_resolution() -> Duration {
    clock_duration(rustix::time::clock_getres(ClockId::Monotonic))
}

/// Processor time used, and the resolution of that clock: of this thread, or
/// of the whole process. `None` where the system keeps no such clock.
pub(crate) fn cpu_clock(of_thread: bool) -> Option<(Duration, Duration)> {
    let id = if of_thread {
        ClockId::ThreadCPUTime
    } else {
        ClockId::ProcessCPUTime
    };
    Some((
        clock_duration(rustix::time::clock_gettime(id)),
        clock_duration(rustix::time::clock_getres(id)),
    ))
}

fn clock_duration(time: Timespec) -> Duration {
    Duration::try_from(time).unwrap_or_default()
}

// Files.

pub(crate) fn read_at(
    file: &File,
    buffers: &mut [IoSliceMut<'_>],
    offset: u64,
) -> io::Result<usize> {
    Ok(rustix::io::preadv(file, buffers, offset)?)
}

pub(crate) fn write_at(file: &File, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pwritev(file, buffers, offset)?)
}

pub(crate) fn set_status_flags(file: &File, append: bool, nonblock: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(file)?;
    flags.set(OFlags::APPEND, append);
    flags.set(OFlags::NONBLOCK, nonblock);
    Ok(rustix::fs::fcntl_setfl(file, flags)?)
}

#[cfg(not(target_vendor = "apple"))]
pub(crate) fn advise(file: &File, offset: u64, length: u64, advice: Advice) -> io::Result<()> {
    use rustix::fs::Advice as Host;
    let advice = match advice {
        Advice::Normal => Host::Normal,
        Advice::Sequential => Host::Sequential,
        Advice::Random => Host::Random,
        Advice::WillNeed => Host::WillNeed,
        Advice::DontNeed => Host::DontNeed,
        Advice::NoReuse => Host::NoReuse,
    };
    let length = std::num::NonZeroU64::new(length);
    Ok(rustix::fs::fadvise(file, offset, length, advice)?)
}

/// Advice may be ignored, and this system does not take it.
#[cfg(target_vendor = "apple")]
pub(crate) fn advise(_file: &File, _offset: u64, _length: u64, _advice: Advice) -> io::Result<()> {
    Ok(())
}

pub(crate) fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let mode = rustix::fs::FallocateFlags::empty();
    Ok(rustix::fs::fallocate(file, mode, offset, length)?)
}

pub(crate) fn set_file_times(file: &File, accessed: NewTime, modified: NewTime) -> io::Result<()> {
    Ok(rustix::fs::futimens(file, &timestamps(accessed, modified))?)
}

pub(crate) fn set_directory_times(
    dir: &Dir,
    accessed: NewTime,
    modified: NewTime,
) -> io::Result<()> {
    let times = timestamps(accessed, modified);
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::utimensat(dir, c".", &times, flags)?)
}

fn timestamps(accessed: NewTime, modified: NewTime) -> Timestamps {
    let timespec = |time| match time {
        NewTime::Keep => Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT as _,
        },
        NewTime::Now => Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW as _,
        },
        NewTime::At(nanoseconds) => Timespec {
            tv_sec: (nanoseconds / 1_000_000_000) as _,
            tv_nsec: (nanoseconds % 1_000_000_000) as _,
        },
    };
    Timestamps {
        last_access: timespec(accessed),
        last_modification: timespec(modified),
    }
}

/// When the file or its attributes changed, in nanoseconds since 1970.
pub(crate) fn changed_time(metadata: &Metadata) -> u64 {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(metadata.ctime_nsec()).unwrap_or(0))
}

// Standard streams.

pub(crate) fn read_stdin(buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    Ok(rustix::io::readv(io::stdin(), buffers)?)
}

pub(crate) fn write_stdout(
    host: &mut io::StdoutLock<'_>,
    buffers: &[IoSlice<'_>],
) -> io::Result<usize> {
    Ok(rustix::io::writev(host, buffers)?)
}

pub(crate) fn write_stderr(
    host: &mut io::StderrLock<'_>,
    buffers: &[IoSlice<'_>],
) -> io::Result<usize> {
    Ok(rustix::io::writev(host, buffers)?)
}

pub(crate) fn stdin_readiness() -> Readiness<'static> {
    Readiness::Handle(rustix::stdio::stdin())
}

pub(crate) fn stdout_readiness() -> Readiness<'static> {
    Readiness::Handle(rustix::stdio::stdout())
}

pub(crate) fn stderr_readiness() -> Readiness<'static> {
    Readiness::Handle(rustix::stdio::stderr())
}

pub(crate) fn file_readiness(file: &File) -> Readiness<'_> {
    Readiness::Handle(file.as_fd())
}

// Waiting.

/// Handles to wait for together.
#[derive(Default)]
pub(crate) struct PollSet<'a> {
    entries: Vec<PollFd<'a>>,
}

impl<'a> PollSet<'a> {
    /// Adds a handle; the result is its index.
    pub(crate) fn push(&mut self, handle: PollHandle<'a>, interest: Interest) -> usize {
        let flags = match interest {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
        };
        self.entries.push(PollFd::from_borrowed_fd(handle, flags));
        self.entries.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Waits until a handle is ready, the time has passed (`None`: for ever),
    /// or a signal arrives.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // A time that does not fit is centuries away.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut self.entries, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the last wait found for the handle with this index; `None` if it
    /// is not ready.
    pub(crate) fn result(&self, index: usize) -> Option<Result<Polled, Errno>> {
        let entry = &self.entries[index];
        let events = entry.revents();
        if events.is_empty() {
            None
        } else if events.contains(PollFlags::NVAL) {
            Some(Err(Errno::Badf))
        } else if events.contains(PollFlags::ERR) && !events.intersects(READY) {
            Some(Err(Errno::Io))
        } else {
            let bytes = if events.contains(PollFlags::IN) {
                rustix::io::ioctl_fionread(entry).unwrap_or(1)
            } else {
                u64::from(events.contains(PollFlags::OUT))
            };
            let hangup = events.contains(PollFlags::HUP);
            Some(Ok(Polled { bytes, hangup }))
        }
    }
}

const READY: PollFlags = PollFlags::IN.union(PollFlags::OUT).union(PollFlags::HUP);

/// Whether the handle can be used without blocking.
pub(crate) fn is_ready(handle: PollHandle<'_>, interest: Interest) -> io::Result<bool> {
    let mut set = PollSet::default();
    let index = set.push(handle, interest);
    set.wait(Some(Duration::ZERO))?;
    Ok(set.result(index).is_some())
}

// Sockets.

/// A lost connection must not kill the process by a signal. Where the flag does
/// not exist this is left to the process, and Rust programs ignore the signal.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();

/// A stream socket, listening or connected.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    listening: bool,
}

impl Socket {
    pub(crate) fn is_listening(&self) -> bool {
        self.listening
    }

    pub(crate) fn handle(&self) -> PollHandle<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn is_nonblocking(&self) -> io::Result<bool> {
        Ok(rustix::fs::fcntl_getfl(&self.fd)?.contains(OFlags::NONBLOCK))
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.fd, nonblocking)?)
    }

    pub(crate) fn accept(&self) -> io::Result<Socket> {
        let fd = rustix::io::retry_on_intr(|| accept_close_on_exec(&self.fd))?;
        Ok(Socket {
            fd,
            listening: false,
        })
    }

    /// Receives bytes; also says whether a message was cut off.
    pub(crate) fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        peek: bool,
        wait_all: bool,
    ) -> io::Result<(usize, bool)> {
        let mut flags = RecvFlags::empty();
        flags.set(RecvFlags::PEEK, peek);
        flags.set(RecvFlags::WAITALL, wait_all);
        // Without room for ancillary data, descriptors that the other end
        // passes along are closed by the system.
        let mut control = RecvAncillaryBuffer::default();
        let message = rustix::net::recvmsg(&self.fd, buffers, &mut control, flags)?;
        Ok((message.bytes, message.flags.contains(ReturnFlags::TRUNC)))
    }

    pub(crate) fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut control = SendAncillaryBuffer::default();
        let sent = rustix::net::sendmsg(&self.fd, buffers, &mut control, SEND_FLAGS)?;
        Ok(sent)
    }

    pub(crate) fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        let how = match how {
            std::net::Shutdown::Read => rustix::net::Shutdown::Read,
            std::net::Shutdown::Write => rustix::net::Shutdown::Write,
            std::net::Shutdown::Both => rustix::net::Shutdown::Both,
        };
        Ok(rustix::net::shutdown(&self.fd, how)?)
    }
}

#[cfg(not(target_vendor = "apple"))]
fn accept_close_on_exec(fd: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    rustix::net::accept_with(fd, rustix::net::SocketFlags::CLOEXEC)
}

#[cfg(target_vendor = "apple")]
fn accept_close_on_exec(fd: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let accepted = rustix::net::accept(fd)?;
    rustix::io::ioctl_fioclex(&accepted)?;
    Ok(accepted)
}

macro_rules! socket_from {
    ($($source:ty, listening: $listening:literal;)*) => {$(
        impl From<$source> for Socket {
            fn from(socket: $source) -> Self {
                Self { fd: socket.into(), listening: $listening }
            }
        }
    )*};
}
socket_from! {
    TcpListener, listening: true;
    UnixListener, listening: true;
    TcpStream, listening: false;
    UnixStream, listening: false;
}

impl From<UnixListener> for crate::Socket {
    fn from(listener: UnixListener) -> Self {
        Self(listener.into())
    }
}

impl From<UnixStream> for crate::Socket {
    fn from(stream: UnixStream) -> Self {
        Self(stream.into())
    }
}
