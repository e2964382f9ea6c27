//! `poll_oneoff`.

use crate::guest::*;
use std::io::{self, IoSliceMut};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};
use waxwing_wasi::pipe::{ClosedInputStream, MemoryInputPipe, MemoryOutputPipe};
use waxwing_wasi::preview1::Errno;
use waxwing_wasi::{InputStream, Readiness, WasiCtxBuilder};

const EVENTS: u32 = 0x8000;
const STORED: u32 = 0xf000;

/// The event of a clock.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    userdata: u64,
    error: u16,
    kind: u8,
    bytes: u64,
    flags: u16,
}

impl Event {
    fn new(userdata: u64, kind: u8, bytes: u64) -> Self {
        Self {
            userdata,
            error: 0,
            kind,
            bytes,
            flags: 0,
        }
    }

    fn failed(userdata: u64, kind: u8, errno: Errno) -> Self {
        let error = errno as u16;
        Self {
            error,
            ..Self::new(userdata, kind, 0)
        }
    }
}

fn clock(userdata: u64, id: u32, timeout: u64, flags: u16) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[0..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[16..20].copy_from_slice(&id.to_le_bytes());
    bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
    bytes[40..42].copy_from_slice(&flags.to_le_bytes());
    bytes
}

fn descriptor(userdata: u64, kind: u8, fd: u32) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[0..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = kind;
    bytes[16..20].copy_from_slice(&fd.to_le_bytes());
    bytes
}

fn poll(guest: &mut Guest, subscriptions: &[[u8; 48]]) -> Outcome<Vec<Event>> {
    guest.write(0, subscriptions.as_flattened());
    let count = subscriptions.len() as i64;
    guest.call("poll_oneoff", &[0, EVENTS.into(), count, STORED.into()])?;
    let stored = guest.u32(STORED);
    let events = (0..stored).map(|index| {
        let at = EVENTS + 32 * index;
        Event {
            userdata: guest.u64(at),
            error: guest.u16(at + 8),
            kind: guest.read(at + 10, 1)[0],
            bytes: guest.u64(at + 16),
            flags: guest.u16(at + 24),
        }
    });
    Ok(events.collect())
}

#[test]
fn a_clock_sleeps() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let start = Instant::now();
    for id in [0, 1] {
        let events = poll(&mut guest, &[clock(7, id, 20_000_000, 0)]);
        assert_eq!(events, Ok(vec![Event::new(7, CLOCK, 0)]));
    }
    assert!(start.elapsed() >= Duration::from_millis(40));
}

#[test]
fn a_clock_waits_for_a_time() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let start = Instant::now();
    guest.call("clock_time_get", &[1, 0, 0]).unwrap();
    let monotonic = guest.u64(0);
    let realtime = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    for (id, now) in [(1, monotonic), (0, realtime.as_nanos() as u64)] {
        let events = poll(&mut guest, &[clock(7, id, now + 30_000_000, 1)]);
        assert_eq!(events, Ok(vec![Event::new(7, CLOCK, 0)]));
        assert!(start.elapsed() >= Duration::from_millis(29));
    }
    let start = Instant::now();
    let events = poll(&mut guest, &[clock(7, 0, 1, 1)]);
    assert_eq!(events, Ok(vec![Event::new(7, CLOCK, 0)]));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_first_of_several_clocks_ends_the_wait() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let subscriptions = [
        clock(1, 1, u64::MAX, 0),
        clock(2, 1, 5_000_000, 0),
        clock(3, 0, 3_600_000_000_000, 0),
    ];
    let events = poll(&mut guest, &subscriptions);
    assert_eq!(events, Ok(vec![Event::new(2, CLOCK, 0)]));
}

#[test]
fn streams_in_memory_are_ready() {
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdin(MemoryInputPipe::new("abc"))
        .stdout(MemoryOutputPipe::new(10));
    let mut guest = Guest::new(&mut builder);
    let subscriptions = [
        clock(1, 1, u64::MAX, 0),
        descriptor(2, FD_READ, 0),
        descriptor(3, FD_WRITE, 1),
    ];
    let expected = vec![Event::new(2, FD_READ, 3), Event::new(3, FD_WRITE, 10)];
    assert_eq!(poll(&mut guest, &subscriptions), Ok(expected));
}

#[test]
fn the_end_of_a_stream_is_a_hangup() {
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(ClosedInputStream));
    let events = poll(&mut guest, &[descriptor(2, FD_READ, 0)]);
    assert_eq!(
        events,
        Ok(vec![Event {
            flags: 1,
            ..Event::new(2, FD_READ, 0)
        }])
    );
}

#[test]
fn files_are_ready() {
    let temporary = scratch();
    std::fs::write(temporary.path().join("file"), "0123456789").unwrap();
    let mut guest = Guest::with_dir(temporary.path());
    let fd = guest.open(3, "file", &Open::READ_WRITE).unwrap();
    guest.fd_read(fd, 4).unwrap();
    let subscriptions = [descriptor(1, FD_READ, fd), descriptor(2, FD_WRITE, fd)];
    let expected = vec![Event::new(1, FD_READ, 6), Event::new(2, FD_WRITE, 1)];
    assert_eq!(poll(&mut guest, &subscriptions), Ok(expected));
}

#[test]
fn what_cannot_be_waited_for_is_an_event_with_an_error() {
    let temporary = scratch();
    let mut guest = Guest::with_dir(temporary.path());
    let subscriptions = [
        clock(1, 9, 0, 0),
        clock(2, 2, 0, 0),
        clock(3, 1, 0, 2),
        descriptor(4, FD_READ, 99),
        descriptor(5, FD_READ, 3),
        descriptor(6, FD_READ, 1),
        descriptor(7, FD_WRITE, 0),
        clock(8, 1, u64::MAX, 0),
    ];
    let expected = vec![
        Event::failed(1, CLOCK, Errno::Inval),
        Event::failed(2, CLOCK, Errno::Notsup),
        Event::failed(3, CLOCK, Errno::Inval),
        Event::failed(4, FD_READ, Errno::Badf),
        Event::failed(5, FD_READ, Errno::Badf),
        Event::failed(6, FD_READ, Errno::Badf),
        Event::failed(7, FD_WRITE, Errno::Badf),
    ];
    assert_eq!(poll(&mut guest, &subscriptions), Ok(expected));
}

#[test]
fn senseless_calls_are_refused() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let call = |guest: &mut Guest, arguments: [i64; 4]| guest.call("poll_oneoff", &arguments);
    let stored = i64::from(STORED);
    assert_eq!(call(&mut guest, [0, 0, 0, stored]), Err(Errno::Inval));
    assert_eq!(call(&mut guest, [0, 0, -1, stored]), Err(Errno::Inval));
    assert_eq!(
        call(&mut guest, [0, 0, 0x7fff_ffff, stored]),
        Err(Errno::Inval)
    );
    assert_eq!(call(&mut guest, [0, 0, 65536, stored]), Err(Errno::Fault));
    let end = i64::from(MEMORY);
    assert_eq!(
        call(&mut guest, [end - 47, 0, 1, stored]),
        Err(Errno::Fault)
    );
    assert_eq!(
        call(&mut guest, [0, end - 31, 1, stored]),
        Err(Errno::Fault)
    );
    assert_eq!(call(&mut guest, [0, 0, 1, end - 3]), Err(Errno::Fault));
    guest.write(8, &[3]);
    assert_eq!(call(&mut guest, [0, 0, 1, stored]), Err(Errno::Inval));
}

#[test]
fn events_may_overwrite_the_subscriptions() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    let subscriptions = [descriptor(5, FD_WRITE, 1), descriptor(6, FD_WRITE, 2)];
    guest.write(0, subscriptions.as_flattened());
    guest
        .call("poll_oneoff", &[0, 0, 2, STORED.into()])
        .unwrap();
    assert_eq!((guest.u32(STORED), guest.u64(0), guest.u64(32)), (2, 5, 6));
}

/// Input that arrives some time after it is first asked for, which no handle
/// of the system announces.
#[derive(Default)]
struct Slow(OnceLock<Instant>);

const ARRIVAL: Duration = Duration::from_millis(200);

impl InputStream for Slow {
    fn read_vectored(&mut self, _buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(0)
    }

    fn readiness(&self) -> Readiness<'_> {
        if self.0.get_or_init(Instant::now).elapsed() < ARRIVAL {
            Readiness::Pending
        } else {
            Readiness::Ready {
                bytes: 5,
                hangup: false,
            }
        }
    }
}

#[test]
fn streams_of_the_embedder_are_asked_until_they_are_ready() {
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(Slow::default()));
    let start = Instant::now();
    let early = [descriptor(1, FD_READ, 0), clock(2, 1, 1_000_000, 0)];
    assert_eq!(poll(&mut guest, &early), Ok(vec![Event::new(2, CLOCK, 0)]));
    let late = [descriptor(1, FD_READ, 0), clock(2, 1, 60_000_000_000, 0)];
    assert_eq!(poll(&mut guest, &late), Ok(vec![Event::new(1, FD_READ, 5)]));
    assert!(start.elapsed() >= ARRIVAL);
}

#[cfg(unix)]
mod handles {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use waxwing_wasi::InputFile;

    /// A stream that the guest reads, and its other end.
    fn connected() -> (Guest, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let input = InputFile::new(File::from(OwnedFd::from(near)));
        (Guest::new(WasiCtxBuilder::new().stdin(input)), far)
    }

    #[test]
    fn a_handle_is_ready_when_data_arrives() {
        let (mut guest, mut far) = connected();
        let subscriptions = [descriptor(1, FD_READ, 0), clock(2, 1, 5_000_000, 0)];
        assert_eq!(
            poll(&mut guest, &subscriptions),
            Ok(vec![Event::new(2, CLOCK, 0)])
        );
        let subscriptions = [descriptor(1, FD_READ, 0), clock(2, 1, u64::MAX, 0)];
        far.write_all(b"hello").unwrap();
        assert_eq!(
            poll(&mut guest, &subscriptions),
            Ok(vec![Event::new(1, FD_READ, 5)])
        );
        guest.fd_read(0, 5).unwrap();
        drop(far);
        let hangup = Event {
            flags: 1,
            ..Event::new(1, FD_READ, 0)
        };
        assert_eq!(poll(&mut guest, &subscriptions), Ok(vec![hangup]));
    }

    #[test]
    fn waiting_ends_when_data_arrives() {
        let (mut guest, mut far) = connected();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            far.write_all(b"x").unwrap();
            far
        });
        let events = poll(&mut guest, &[descriptor(1, FD_READ, 0)]);
        assert_eq!(events, Ok(vec![Event::new(1, FD_READ, 1)]));
        writer.join().unwrap();
    }

    #[test]
    fn a_read_blocks_although_the_host_made_the_handle_nonblocking() {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let input = InputFile::new(File::from(OwnedFd::from(near)));
        let mut guest = Guest::new(WasiCtxBuilder::new().stdin(input));
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            far.write_all(b"late").unwrap();
        });
        assert_eq!(guest.fd_read(0, 10), Ok(b"late".to_vec()));
        writer.join().unwrap();
    }

    #[test]
    fn a_read_that_must_not_block_says_again() {
        let (mut guest, mut far) = connected();
        let flags = i64::from(NONBLOCK);
        guest.call("fd_fdstat_set_flags", &[0, flags]).unwrap();
        assert_eq!(guest.fd_read(0, 1), Err(Errno::Again));
        far.write_all(b"x").unwrap();
        assert_eq!(guest.fd_read(0, 1), Ok(b"x".to_vec()));
    }
}
