//! Standard streams: pipes, files, readers and writers, and the descriptors
//! that stand for them.

use crate::guest::*;
use std::fs::File;
use std::io::{self, IoSliceMut};
use waxwing_wasi::pipe::{ClosedOutputStream, MemoryInputPipe, MemoryOutputPipe};
use waxwing_wasi::preview1::Errno;
use waxwing_wasi::{
    InputFile, InputStream, OutputFile, ReaderStream, Readiness, WasiCtxBuilder, WriterStream,
};

#[test]
fn input_is_read_until_its_end() {
    let pipe = MemoryInputPipe::new("hello world");
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(pipe.clone()));
    assert_eq!(guest.fd_read(0, 5), Ok(b"hello".to_vec()));
    assert!(!pipe.is_empty());
    assert_eq!(guest.fd_read(0, 100), Ok(b" world".to_vec()));
    assert_eq!(guest.fd_read(0, 100), Ok(vec![]));
    assert!(pipe.is_empty());
    drop(guest);
    assert_eq!(pipe.try_into_inner(), Some(vec![]));
}

#[test]
fn input_scatters_over_buffers() {
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(MemoryInputPipe::new("abcdef")));
    let (list, count) = guest.buffers(&[(10, 2), (0, 0), (4, 3), (20, 100)]);
    guest.call("fd_read", &[0, list, count, 200]).unwrap();
    assert_eq!(guest.u32(200), 6);
    assert_eq!(guest.read(10, 2), b"ab");
    assert_eq!(guest.read(4, 3), b"cde");
    assert_eq!(guest.read(20, 2), b"f\0");
}

#[test]
fn output_gathers_from_buffers() {
    let output = MemoryOutputPipe::new(100);
    let errors = MemoryOutputPipe::new(100);
    let mut builder = WasiCtxBuilder::new();
    let mut guest = Guest::new(builder.stdout(output.clone()).stderr(errors.clone()));
    guest.write(0, b"world hello ");
    let (list, count) = guest.buffers(&[(6, 6), (0, 5), (0, 0)]);
    guest.call("fd_write", &[1, list, count, 200]).unwrap();
    assert_eq!(guest.u32(200), 11);
    assert_eq!(guest.fd_write(2, b"oops"), Ok(4));
    assert_eq!(output.contents(), b"hello world");
    assert_eq!(errors.clone().try_into_inner(), None);
    drop(guest);
    assert_eq!(errors.try_into_inner(), Some(b"oops".to_vec()));
}

#[test]
fn a_memory_pipe_holds_no_more_than_its_capacity() {
    let output = MemoryOutputPipe::new(6);
    let mut guest = Guest::new(WasiCtxBuilder::new().stdout(output.clone()));
    assert_eq!(guest.fd_write(1, b"1234"), Ok(4));
    assert_eq!(guest.fd_write(1, b"5678"), Ok(2));
    assert_eq!(guest.fd_write(1, b"9"), Err(Errno::Nospc));
    assert_eq!(guest.fd_write(1, b""), Ok(0));
    assert_eq!(output.contents(), b"123456");
}

#[test]
fn by_default_input_is_empty_and_output_is_swallowed() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    assert_eq!(guest.fd_read(0, 10), Ok(vec![]));
    assert_eq!(guest.fd_write(1, b"x"), Ok(1));
    assert_eq!(guest.fd_write(2, b"x"), Ok(1));
}

#[test]
fn a_closed_output_is_a_broken_pipe() {
    let mut guest = Guest::new(WasiCtxBuilder::new().stdout(ClosedOutputStream));
    assert_eq!(guest.fd_write(1, b"x"), Err(Errno::Pipe));
}

#[test]
fn files_and_readers_and_writers_can_be_streams() {
    let temporary = scratch();
    let path = temporary.path().join("file");
    std::fs::write(&path, "input").unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(InputFile::new(File::open(&path).unwrap()));
    let out = File::create(temporary.path().join("out")).unwrap();
    builder.stdout(OutputFile::new(out));
    builder.stderr(WriterStream::new(io::sink()));
    let mut guest = Guest::new(&mut builder);
    assert_eq!(guest.fd_read(0, 10), Ok(b"input".to_vec()));
    assert_eq!(guest.fd_write(1, b"output"), Ok(6));
    assert_eq!(guest.fd_write(2, b"nothing"), Ok(7));
    assert_eq!(guest.call("fd_sync", &[1]), Ok(()));
    let written = std::fs::read(temporary.path().join("out")).unwrap();
    assert_eq!(written, b"output");

    let reader = ReaderStream::new(&b"read"[..]);
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(reader));
    assert_eq!(guest.fd_read(0, 10), Ok(b"read".to_vec()));
}

#[test]
fn streams_go_one_way_and_have_no_position() {
    let mut guest = Guest::new(&mut WasiCtxBuilder::new());
    assert_eq!(guest.fd_write(0, b"x"), Err(Errno::Notcapable));
    assert_eq!(guest.fd_read(1, 1), Err(Errno::Notcapable));
    for fd in 0..3 {
        let stat = guest.fdstat(fd).unwrap();
        assert_eq!(stat.file_type, FILETYPE_UNKNOWN);
        assert_eq!(stat.base & (FD_SEEK | FD_TELL), 0);
        assert_eq!(stat.base & FD_READ != 0, fd == 0);
        assert_eq!(stat.base & FD_WRITE != 0, fd != 0);
        assert_eq!(guest.fd_seek(fd, 0, 0), Err(Errno::Spipe));
        assert_eq!(guest.fd_tell(fd), Err(Errno::Spipe));
        assert_eq!(guest.fd_pread(fd, 1, 0), Err(Errno::Spipe));
        assert_eq!(guest.fd_pwrite(fd, b"x", 0), Err(Errno::Spipe));
        assert_eq!(
            guest.call("fd_advise", &[fd.into(), 0, 0, 0]),
            Err(Errno::Spipe)
        );
        assert_eq!(
            guest.call("fd_allocate", &[fd.into(), 0, 1]),
            Err(Errno::Spipe)
        );
        assert_eq!(
            guest.call("fd_filestat_set_size", &[fd.into(), 0]),
            Err(Errno::Inval)
        );
        assert_eq!(guest.fd_filestat(fd).unwrap().size, 0);
        assert_eq!(guest.readdir(fd, 100, 0), Err(Errno::Notdir));
        assert_eq!(guest.open(fd, "x", &Open::READ), Err(Errno::Notdir));
        assert_eq!(
            guest.call("fd_prestat_get", &[fd.into(), 0]),
            Err(Errno::Badf)
        );
        assert_eq!(
            guest.call("sock_shutdown", &[fd.into(), 3]),
            Err(Errno::Notsock)
        );
    }
}

#[test]
fn bad_pointers_are_found_before_anything_happens() {
    let input = MemoryInputPipe::new("abc");
    let output = MemoryOutputPipe::new(100);
    let mut builder = WasiCtxBuilder::new();
    let mut guest = Guest::new(builder.stdin(input).stdout(output.clone()));
    let end = i64::from(MEMORY);
    let (list, count) = guest.buffers(&[(0, 3)]);
    for (name, fd) in [("fd_read", 0), ("fd_write", 1)] {
        assert_eq!(
            guest.call(name, &[fd, list, count, end - 3]),
            Err(Errno::Fault)
        );
        assert_eq!(guest.call(name, &[fd, end - 7, 1, 0]), Err(Errno::Fault));
        assert_eq!(guest.call(name, &[fd, 0, -1, 0]), Err(Errno::Inval));
        assert_eq!(guest.call(name, &[fd, 0, 1025, 0]), Err(Errno::Inval));
    }
    let bad = [
        (0, u32::MAX),
        (u32::MAX, 2),
        (MEMORY - 2, 3),
        (MEMORY + 1, 0),
    ];
    for bad in bad {
        let (list, count) = guest.buffers(&[(0, 3), bad]);
        assert_eq!(
            guest.call("fd_read", &[0, list, count, 64]),
            Err(Errno::Fault)
        );
        assert_eq!(
            guest.call("fd_write", &[1, list, count, 64]),
            Err(Errno::Fault)
        );
    }
    assert_eq!(guest.fd_read(0, 10), Ok(b"abc".to_vec()));
    assert_eq!(output.contents(), b"");
}

/// Input that has not arrived.
struct Never;

impl InputStream for Never {
    fn read_vectored(&mut self, _buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::TimedOut.into())
    }

    fn readiness(&self) -> Readiness<'_> {
        Readiness::Pending
    }
}

#[test]
fn nonblocking_streams_do_not_block() {
    let mut guest = Guest::new(WasiCtxBuilder::new().stdin(Never));
    let flags = i64::from(NONBLOCK);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[0, flags]), Ok(()));
    assert_eq!(guest.fdstat(0).unwrap().flags, NONBLOCK);
    assert_eq!(guest.fd_read(0, 1), Err(Errno::Again));
    assert_eq!(
        guest.call("fd_fdstat_set_flags", &[0, 32]),
        Err(Errno::Inval)
    );
    assert_eq!(
        guest.call("fd_fdstat_set_flags", &[0, 0x10000]),
        Err(Errno::Inval)
    );
}

#[test]
fn streams_are_closed_and_renumbered_like_other_descriptors() {
    let output = MemoryOutputPipe::new(100);
    let mut guest = Guest::new(WasiCtxBuilder::new().stdout(output.clone()));
    assert_eq!(guest.call("fd_renumber", &[1, 2]), Ok(()));
    assert_eq!(guest.fd_write(1, b"x"), Err(Errno::Badf));
    assert_eq!(guest.fd_write(2, b"y"), Ok(1));
    assert_eq!(guest.close(2), Ok(()));
    assert_eq!(guest.close(2), Err(Errno::Badf));
    assert_eq!(output.try_into_inner(), Some(b"y".to_vec()));
}
