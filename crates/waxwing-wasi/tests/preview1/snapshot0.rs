//! What is different in `wasi_unstable`.

use crate::guest::*;
use std::time::{Duration, Instant};
use waxwing_wasi::pipe::{MemoryInputPipe, MemoryOutputPipe};
use waxwing_wasi::preview1::Errno;
use waxwing_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

fn guest() -> (tempfile::TempDir, Guest) {
    let temporary = scratch();
    std::fs::write(temporary.path().join("file"), "0123456789").unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder
        .preopened_dir(temporary.path(), "/", DirPerms::all(), FilePerms::all())
        .unwrap();
    let guest = Guest::importing("wasi_unstable", &mut builder);
    (temporary, guest)
}

#[test]
fn whence_has_other_numbers() {
    let (_temporary, mut guest) = guest();
    let fd = guest.open(3, "file", &Open::READ).unwrap();
    assert_eq!(guest.fd_seek(fd, 4, 2), Ok(4));
    assert_eq!(guest.fd_seek(fd, 2, 0), Ok(6));
    assert_eq!(guest.fd_seek(fd, -1, 1), Ok(9));
    assert_eq!(guest.fd_seek(fd, 0, 3), Err(Errno::Inval));
}

#[test]
fn filestat_is_smaller() {
    let (temporary, mut guest) = guest();
    std::fs::hard_link(temporary.path().join("file"), temporary.path().join("link")).unwrap();
    let fd = guest.open(3, "file", &Open::READ).unwrap();
    guest.write(0, &[0xaa; 128]);
    guest.write(256, b"file");
    guest.call("fd_filestat_get", &[fd.into(), 0]).unwrap();
    guest
        .call("path_filestat_get", &[3, 0, 256, 4, 64])
        .unwrap();
    assert_eq!(guest.read(0, 56), guest.read(64, 56));
    assert_eq!(guest.read(16, 1), [FILETYPE_REGULAR_FILE]);
    assert_eq!(guest.u32(20), 2);
    assert_eq!(guest.u64(24), 10);
    assert!(guest.u64(40) > 1_000_000_000_000_000_000);
    assert_eq!(guest.read(56, 8), [0xaa; 8]);
}

#[test]
fn subscriptions_are_larger() {
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(MemoryInputPipe::new("abc"));
    let mut guest = Guest::importing("wasi_unstable", &mut builder);
    // A clock: userdata, tag, identifier, id, timeout, precision, flags.
    let mut clock = [0; 56];
    clock[0] = 7;
    clock[16..24].fill(0xff);
    clock[24] = 1;
    clock[32..40].copy_from_slice(&20_000_000_u64.to_le_bytes());
    guest.write(0, &clock);
    let start = Instant::now();
    guest.call("poll_oneoff", &[0, 256, 1, 512]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert_eq!((guest.u32(512), guest.u64(256)), (1, 7));

    let mut reader = [0; 56];
    reader[0] = 9;
    reader[8] = 1;
    clock[32..40].fill(0xff);
    guest.write(0, &clock);
    guest.write(56, &reader);
    guest.call("poll_oneoff", &[0, 256, 2, 512]).unwrap();
    assert_eq!((guest.u32(512), guest.u64(256), guest.u64(272)), (1, 9, 3));
    let outside = [i64::from(MEMORY) - 55, 256, 1, 512];
    assert_eq!(guest.call("poll_oneoff", &outside), Err(Errno::Fault));
}

#[test]
fn the_other_functions_are_there() {
    let output = MemoryOutputPipe::new(100);
    let mut builder = WasiCtxBuilder::new();
    builder.stdout(output.clone()).arg("name");
    let mut guest = Guest::importing("wasi_unstable", &mut builder);
    assert_eq!(guest.fd_write(1, b"text"), Ok(4));
    assert_eq!(output.contents(), b"text");
    guest.call("args_sizes_get", &[0, 4]).unwrap();
    assert_eq!((guest.u32(0), guest.u32(4)), (1, 5));
    assert!(guest.try_call("proc_exit", &[3]).is_err());
}
