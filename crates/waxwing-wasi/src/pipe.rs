//! Streams that end in memory, or nowhere.

use crate::streams::{InputStream, OutputStream, Readiness};
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes in memory that a guest reads as a stream.
///
/// Clones share one reading position.
#[derive(Debug, Clone)]
pub struct MemoryInputPipe {
    shared: Arc<Mutex<Input>>,
}

#[derive(Debug)]
struct Input {
    bytes: Vec<u8>,
    position: usize,
}

impl MemoryInputPipe {
    /// A stream of `bytes`, followed by the end of the stream.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Input {
                bytes: bytes.into(),
                position: 0,
            })),
        }
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        let input = lock(&self.shared);
        input.position == input.bytes.len()
    }

    /// The bytes that were not read yet, unless a clone is still in use.
    pub fn try_into_inner(self) -> Option<Vec<u8>> {
        let mut input = Arc::into_inner(self.shared)?
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        input.bytes.drain(..input.position);
        Some(input.bytes)
    }
}

impl InputStream for MemoryInputPipe {
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut input = lock(&self.shared);
        let Input { bytes, position } = &mut *input;
        let start = *position;
        for buffer in buffers {
            let rest = &bytes[*position..];
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            *position += count;
        }
        Ok(*position - start)
    }

    fn readiness(&self) -> Readiness<'_> {
        let input = lock(&self.shared);
        let bytes = (input.bytes.len() - input.position) as u64;
        Readiness::Ready {
            bytes,
            hangup: bytes == 0,
        }
    }
}

/// A buffer in memory that collects what a guest writes, up to a capacity.
///
/// Clones share one buffer: give one to the guest and keep the other.
#[derive(Debug, Clone)]
pub struct MemoryOutputPipe {
    capacity: usize,
    shared: Arc<Mutex<Vec<u8>>>,
}

impl MemoryOutputPipe {
    /// A buffer that holds at most `capacity` bytes. It grows as it fills.
    ///
    /// When it is full, writes fail and the guest sees
    /// [`Errno::Nospc`](crate::preview1::Errno::Nospc).
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            shared: Arc::default(),
        }
    }

    /// A copy of everything written so far.
    pub fn contents(&self) -> Vec<u8> {
        lock(&self.shared).clone()
    }

    /// Everything written, unless a clone is still in use (a `Store` keeps
    /// its clone until it is dropped).
    pub fn try_into_inner(self) -> Option<Vec<u8>> {
        Some(
            Arc::into_inner(self.shared)?
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl OutputStream for MemoryOutputPipe {
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = lock(&self.shared);
        let start = bytes.len();
        let mut wanted = false;
        for buffer in buffers {
            let count = buffer.len().min(self.capacity - bytes.len());
            bytes.extend_from_slice(&buffer[..count]);
            wanted |= !buffer.is_empty();
        }
        let written = bytes.len() - start;
        if wanted && written == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(written)
    }

    fn readiness(&self) -> Readiness<'_> {
        Readiness::Ready {
            bytes: (self.capacity - lock(&self.shared).len()) as u64,
            hangup: false,
        }
    }
}

/// An input stream that is at its end from the start.
#[derive(Debug, Clone, Copy)]
pub struct ClosedInputStream;

impl InputStream for ClosedInputStream {
    fn read_vectored(&mut self, _buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(0)
    }

    fn readiness(&self) -> Readiness<'_> {
        Readiness::Ready {
            bytes: 0,
            hangup: true,
        }
    }
}

/// An output stream whose reader is gone: writes fail and the guest sees
/// [`Errno::Pipe`](crate::preview1::Errno::Pipe).
#[derive(Debug, Clone, Copy)]
pub struct ClosedOutputStream;

impl OutputStream for ClosedOutputStream {
    fn write_vectored(&mut self, _buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn readiness(&self) -> Readiness<'_> {
        Readiness::Ready {
            bytes: 0,
            hangup: true,
        }
    }
}

/// An output stream that accepts everything and keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct SinkOutputStream;

impl OutputStream for SinkOutputStream {
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(buffers.iter().map(|buffer| buffer.len()).sum())
    }
}

/// A pipe's bytes stay valid when a thread panicked while it held the lock:
/// every update is a copy into a slice or an append.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
