//! Byte streams that stand in for a guest's standard input and output.

use crate::sys;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, IsTerminal, Read, Write};

/// A handle of the operating system that can be waited for: a borrowed file
/// descriptor on Unix, a borrowed handle on Windows.
pub type PollHandle<'a> = sys::PollHandle<'a>;

/// How `poll_oneoff` finds out whether a stream can be used without blocking.
#[derive(Debug)]
pub enum Readiness<'a> {
    /// The stream can be used at once.
    Ready {
        /// How many bytes can be read or written without blocking.
        bytes: u64,
        /// Whether the other end is gone.
        hangup: bool,
    },
    /// The stream would block. It is asked again about every millisecond.
    Pending,
    /// The operating system knows: the handle is polled.
    Handle(PollHandle<'a>),
}

impl Readiness<'_> {
    /// The stream can be used at once, without saying for how many bytes.
    pub const READY: Self = Readiness::Ready {
        bytes: 1,
        hangup: false,
    };
}

/// A stream of bytes that a guest reads.
pub trait InputStream: Send + 'static {
    /// Reads into the first buffers that have room, and says how many bytes
    /// were read. Zero means the end of the stream.
    ///
    /// # Errors
    ///
    /// The error's kind, or its operating system code, decides the guest's errno.
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Whether a read would block. Always ready unless overridden.
    fn readiness(&self) -> Readiness<'_> {
        Readiness::READY
    }

    /// Whether the stream is a terminal, which the guest's `isatty` reports.
    fn is_terminal(&self) -> bool {
        false
    }
}

/// A stream of bytes that a guest writes.
pub trait OutputStream: Send + 'static {
    /// Writes bytes from the buffers in order, and says how many were written.
    ///
    /// # Errors
    ///
    /// The error's kind, or its operating system code, decides the guest's errno.
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Passes on what the stream holds back, for `fd_sync` and `fd_datasync`.
    ///
    /// # Errors
    ///
    /// When bytes that were accepted earlier cannot be passed on.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether a write would block. Always ready unless overridden.
    fn readiness(&self) -> Readiness<'_> {
        Readiness::READY
    }

    /// Whether the stream is a terminal, which the guest's `isatty` reports.
    fn is_terminal(&self) -> bool {
        false
    }
}

/// The standard input of this process; see [`stdin`].
#[derive(Debug, Clone, Copy)]
pub struct Stdin(());

/// The standard output of this process; see [`stdout`].
#[derive(Debug, Clone, Copy)]
pub struct Stdout(());

/// The standard error of this process; see [`stderr`].
#[derive(Debug, Clone, Copy)]
pub struct Stderr(());

/// The standard input of this process, read without a buffer in between.
///
/// Bytes that the process has already drawn into `std::io::stdin()`'s buffer
/// are not seen by the guest.
pub fn stdin() -> Stdin {
    Stdin(())
}

/// The standard output of this process, written without a buffer in between.
///
/// What the process itself has printed before is flushed first, so that lines
/// keep their order.
pub fn stdout() -> Stdout {
    Stdout(())
}

/// The standard error of this process, written without a buffer in between.
pub fn stderr() -> Stderr {
    Stderr(())
}

impl InputStream for Stdin {
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        sys::read_stdin(buffers)
    }

    fn readiness(&self) -> Readiness<'_> {
        sys::stdin_readiness()
    }

    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }
}

impl OutputStream for Stdout {
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut host = io::stdout().lock();
        host.flush()?;
        sys::write_stdout(&mut host, buffers)
    }

    fn readiness(&self) -> Readiness<'_> {
        sys::stdout_readiness()
    }

    fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }
}

impl OutputStream for Stderr {
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        sys::write_stderr(&mut io::stderr().lock(), buffers)
    }

    fn readiness(&self) -> Readiness<'_> {
        sys::stderr_readiness()
    }

    fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }
}

/// An open file (or pipe, or device) as a stream that a guest reads.
#[derive(Debug)]
pub struct InputFile {
    file: File,
}

impl InputFile {
    /// Reads from `file`, starting where it is positioned.
    pub fn new(file: File) -> Self {
        Self { file }
    }
}

impl InputStream for InputFile {
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.file.read_vectored(buffers)
    }

    fn readiness(&self) -> Readiness<'_> {
        sys::file_readiness(&self.file)
    }

    fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }
}

/// An open file (or pipe, or device) as a stream that a guest writes.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
}

impl OutputFile {
    /// Writes to `file`, starting where it is positioned.
    pub fn new(file: File) -> Self {
        Self { file }
    }
}

impl OutputStream for OutputFile {
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn readiness(&self) -> Readiness<'_> {
        sys::file_readiness(&self.file)
    }

    fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }
}

/// Any [`Read`] as a stream that a guest reads; it counts as always ready.
#[derive(Debug)]
pub struct ReaderStream<R>(R);

impl<R: Read + Send + 'static> ReaderStream<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self(reader)
    }
}

impl<R: Read + Send + 'static> InputStream for ReaderStream<R> {
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(buffers)
    }
}

/// Any [`Write`] as a stream that a guest writes; it counts as always ready.
#[derive(Debug)]
pub struct WriterStream<W>(W);

impl<W: Write + Send + 'static> WriterStream<W> {
    /// Writes to `writer`.
    pub fn new(writer: W) -> Self {
        Self(writer)
    }
}

impl<W: Write + Send + 'static> OutputStream for WriterStream<W> {
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
