//! Windows, by the means of the standard library.

use super::{Interest, Polled};
use crate::preview1::{Advice, Errno, NewTime};
use crate::streams::Readiness;
use cap_std::fs::{Dir, Metadata};
use std::fs::{File, FileTimes};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::windows::fs::FileExt;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::time::{Duration, SystemTime};

pub(crate) type PollHandle<'a> = BorrowedHandle<'a>;

/// The kinds of errors that the standard library knows are enough: codes of
/// this system have no counterparts of their own in preview 1, but for these.
pub(crate) fn errno(raw: i32) -> Option<Errno> {
    Some(match raw {
        // ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION
        5 | 32 => Errno::Acces,
        // ERROR_INVALID_NAME
        123 => Errno::Noent,
        // ERROR_PRIVILEGE_NOT_HELD
        1314 => Errno::Perm,
        // ERROR_CANT_RESOLVE_FILENAME
        1921 => Errno::Loop,
        // ERROR_FILENAME_EXCED_RANGE
        206 => Errno::Nametoolong,
        // ERROR_TOO_MANY_OPEN_FILES
        4 => Errno::Mfile,
        _ => return None,
    })
}

// Clocks.

/// The system clock counts steps of 100 nanoseconds.
pub(crate) fn wall_clock_resolution() -> Duration {
    Duration::from_nanos(100)
}

pub(crate) fn monotonic_clock_resolution() -> Duration {
    Duration::from_nanos(100)
}

pub(crate) fn cpu_clock(_of_thread: bool) -> Option<(Duration, Duration)> {
    None
}

// Files.

pub(crate) fn read_at(
    file: &File,
    buffers: &mut [IoSliceMut<'_>],
    offset: u64,
) -> io::Result<usize> {
    match buffers.iter_mut().find(|buffer| !buffer.is_empty()) {
        Some(buffer) => restoring_position(file, |file| file.seek_read(buffer, offset)),
        None => Ok(0),
    }
}

pub(crate) fn write_at(file: &File, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    match buffers.iter().find(|buffer| !buffer.is_empty()) {
        Some(buffer) => restoring_position(file, |file| file.seek_write(buffer, offset)),
        None => Ok(0),
    }
}

/// Access at an offset moves the position on this system.
fn restoring_position<R>(
    mut file: &File,
    access: impl FnOnce(&File) -> io::Result<R>,
) -> io::Result<R> {
    use std::io::{Seek, SeekFrom};
    let position = file.stream_position()?;
    let result = access(file);
    file.seek(SeekFrom::Start(position))?;
    result
}

/// The access mode of an open handle cannot be changed.
pub(crate) fn set_status_flags(_file: &File, append: bool, nonblock: bool) -> io::Result<()> {
    if append || nonblock {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Advice may be ignored, and this system does not take it.
pub(crate) fn advise(_file: &File, _offset: u64, _length: u64, _advice: Advice) -> io::Result<()> {
    Ok(())
}

pub(crate) fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let end = offset.saturating_add(length);
    if end > file.metadata()?.len() {
        file.set_len(end)?;
    }
    Ok(())
}

pub(crate) fn set_file_times(file: &File, accessed: NewTime, modified: NewTime) -> io::Result<()> {
    let time = |time| match time {
        NewTime::Keep => None,
        NewTime::Now => Some(SystemTime::now()),
        NewTime::At(nanoseconds) => {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
        }
    };
    let mut times = FileTimes::new();
    if let Some(accessed) = time(accessed) {
        times = times.set_accessed(accessed);
    }
    if let Some(modified) = time(modified) {
        times = times.set_modified(modified);
    }
    file.set_times(times)
}

pub(crate) fn set_directory_times(
    dir: &Dir,
    accessed: NewTime,
    modified: NewTime,
) -> io::Result<()> {
    let file = dir.try_clone()?.into_std_file();
    set_file_times(&file, accessed, modified)
}

/// This system does not tell.
pub(crate) fn changed_time(_metadata: &Metadata) -> u64 {
    0
}

// Standard streams.

pub(crate) fn read_stdin(buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    io::stdin().lock().read_vectored(buffers)
}

pub(crate) fn write_stdout(
    host: &mut io::StdoutLock<'_>,
    buffers: &[IoSlice<'_>],
) -> io::Result<usize> {
    let written = host.write_vectored(buffers)?;
    host.flush()?;
    Ok(written)
}

pub(crate) fn write_stderr(
    host: &mut io::StderrLock<'_>,
    buffers: &[IoSlice<'_>],
) -> io::Result<usize> {
    host.write_vectored(buffers)
}

pub(crate) fn stdin_readiness() -> Readiness<'static> {
    Readiness::READY
}

pub(crate) fn stdout_readiness() -> Readiness<'static> {
    Readiness::READY
}

pub(crate) fn stderr_readiness() -> Readiness<'static> {
    Readiness::READY
}

pub(crate) fn file_readiness(file: &File) -> Readiness<'_> {
    Readiness::Handle(file.as_handle())
}

// Waiting.

/// Handles to wait for together. Handles of files cannot be waited for on this
/// system, so each counts as ready.
#[derive(Default)]
pub(crate) struct PollSet<'a> {
    entries: Vec<PollHandle<'a>>,
}

impl<'a> PollSet<'a> {
    pub(crate) fn push(&mut self, handle: PollHandle<'a>, _interest: Interest) -> usize {
        self.entries.push(handle);
        self.entries.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn wait(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn result(&self, _index: usize) -> Option<Result<Polled, Errno>> {
        Some(Ok(Polled {
            bytes: 1,
            hangup: false,
        }))
    }
}

pub(crate) fn is_ready(_handle: PollHandle<'_>, _interest: Interest) -> io::Result<bool> {
    Ok(true)
}

// Sockets.

/// A stream socket, listening or connected.
#[derive(Debug)]
pub(crate) enum Socket {
    Listener(TcpListener),
    Stream(TcpStream),
}

impl Socket {
    pub(crate) fn is_listening(&self) -> bool {
        matches!(self, Socket::Listener(_))
    }

    pub(crate) fn handle(&self) -> PollHandle<'_> {
        use std::os::windows::io::{AsRawSocket, RawHandle};
        let raw = match self {
            Socket::Listener(listener) => listener.as_raw_socket(),
            Socket::Stream(stream) => stream.as_raw_socket(),
        };
        // SAFETY: a socket of this system is a handle, open for as long as
        // `self` is borrowed.
        unsafe { BorrowedHandle::borrow_raw(raw as RawHandle) }
    }

    pub(crate) fn is_nonblocking(&self) -> io::Result<bool> {
        Ok(false)
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Socket::Listener(listener) => listener.set_nonblocking(nonblocking),
            Socket::Stream(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    pub(crate) fn accept(&self) -> io::Result<Socket> {
        match self {
            Socket::Listener(listener) => Ok(listener.accept()?.0.into()),
            Socket::Stream(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        match self {
            Socket::Stream(stream) => Ok(stream),
            Socket::Listener(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        peek: bool,
        wait_all: bool,
    ) -> io::Result<(usize, bool)> {
        let mut stream = self.stream()?;
        let received = if wait_all {
            return Err(io::ErrorKind::Unsupported.into());
        } else if peek {
            match buffers.iter_mut().find(|buffer| !buffer.is_empty()) {
                Some(buffer) => stream.peek(buffer)?,
                None => 0,
            }
        } else {
            stream.read_vectored(buffers)?
        };
        Ok((received, false))
    }

    pub(crate) fn send(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream()?.write_vectored(buffers)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream()?.shutdown(how)
    }
}

impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Self {
        Socket::Listener(listener)
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Socket::Stream(stream)
    }
}
