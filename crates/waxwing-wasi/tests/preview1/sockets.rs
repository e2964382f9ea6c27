//! Sockets that the embedder opens for the guest.

use crate::guest::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use waxwing_wasi::preview1::Errno;
use waxwing_wasi::{Socket, WasiCtxBuilder};

fn with_socket(socket: impl Into<Socket>) -> Guest {
    Guest::new(WasiCtxBuilder::new().preopened_socket(socket))
}

/// A guest with a connected stream as descriptor 3, and its other end.
fn connected() -> (Guest, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (with_socket(near), far)
}

fn accept(guest: &mut Guest, flags: u16) -> Outcome<u32> {
    guest.call("sock_accept", &[3, flags.into(), 0])?;
    Ok(guest.u32(0))
}

#[test]
fn connections_are_accepted_from_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut guest = with_socket(listener);
    let stat = guest.fdstat(3).unwrap();
    assert_eq!(stat.file_type, FILETYPE_SOCKET_STREAM);
    assert_eq!(guest.call("fd_prestat_get", &[3, 0]), Err(Errno::Badf));

    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"ping").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    });
    let fd = accept(&mut guest, 0).unwrap();
    assert_eq!(fd, 4);
    assert_eq!(guest.fdstat(fd).unwrap().file_type, FILETYPE_SOCKET_STREAM);
    assert_eq!(
        guest.fd_filestat(fd).unwrap().file_type,
        FILETYPE_SOCKET_STREAM
    );
    assert_eq!(guest.fd_read(fd, 100), Ok(b"ping".to_vec()));
    assert_eq!(guest.fd_write(fd, b"pong"), Ok(4));
    assert_eq!(guest.call("sock_shutdown", &[fd.into(), 2]), Ok(()));
    assert_eq!(client.join().unwrap(), "pong");
    assert_eq!(guest.fd_read(fd, 100), Ok(vec![]));
    assert_eq!(guest.close(fd), Ok(()));
}

#[test]
fn a_nonblocking_listener_does_not_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut guest = with_socket(listener);
    assert_eq!(guest.fdstat(3).unwrap().flags, 0);
    let flags = i64::from(NONBLOCK);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[3, flags]), Ok(()));
    assert_eq!(guest.fdstat(3).unwrap().flags, NONBLOCK);
    assert_eq!(accept(&mut guest, 0), Err(Errno::Again));

    let _client = TcpStream::connect(address).unwrap();
    let fd = accept(&mut guest, NONBLOCK).unwrap();
    assert_eq!(guest.fdstat(fd).unwrap().flags, NONBLOCK);
    assert_eq!(guest.fd_read(fd, 1), Err(Errno::Again));
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), 0]), Ok(()));
    assert_eq!(accept(&mut guest, APPEND), Err(Errno::Inval));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(with_socket(listener).fdstat(3).unwrap().flags, NONBLOCK);
}

fn receive(guest: &mut Guest, length: u32, flags: i64) -> Outcome<Vec<u8>> {
    let (list, count) = guest.buffers(&[(1024, length)]);
    guest.call("sock_recv", &[3, list, count, flags, 0, 4])?;
    let count = guest.u32(0);
    assert_eq!(guest.u16(4), 0);
    Ok(guest.read(1024, count))
}

#[test]
fn data_is_received() {
    let (mut guest, mut far) = connected();
    far.write_all(b"hello").unwrap();
    assert_eq!(receive(&mut guest, 3, 1), Ok(b"hel".to_vec()));
    assert_eq!(receive(&mut guest, 3, 0), Ok(b"hel".to_vec()));
    far.write_all(b" you").unwrap();
    assert_eq!(receive(&mut guest, 6, 2), Ok(b"lo you".to_vec()));
    assert_eq!(receive(&mut guest, 6, 4), Err(Errno::Inval));
    drop(far);
    assert_eq!(receive(&mut guest, 6, 0), Ok(vec![]));
}

#[test]
fn data_is_sent() {
    let (mut guest, mut far) = connected();
    guest.write(1024, b"hello world");
    let (list, count) = guest.buffers(&[(1024, 6), (1030, 5)]);
    assert_eq!(guest.call("sock_send", &[3, list, count, 0, 0]), Ok(()));
    assert_eq!(guest.u32(0), 11);
    assert_eq!(
        guest.call("sock_send", &[3, list, count, 1, 0]),
        Err(Errno::Inval)
    );
    let mut received = [0; 11];
    far.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"hello world");
    drop(far);
    assert_eq!(
        guest.call("sock_send", &[3, list, count, 0, 0]),
        Err(Errno::Pipe)
    );
}

#[test]
fn either_direction_is_shut_down() {
    let (mut guest, mut far) = connected();
    assert_eq!(guest.call("sock_shutdown", &[3, 0]), Err(Errno::Inval));
    assert_eq!(guest.call("sock_shutdown", &[3, 4]), Err(Errno::Inval));
    assert_eq!(guest.call("sock_shutdown", &[3, 2]), Ok(()));
    assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(guest.fd_write(3, b"x"), Err(Errno::Pipe));
    far.write_all(b"x").unwrap();
    assert_eq!(guest.fd_read(3, 8), Ok(b"x".to_vec()));
    assert_eq!(guest.call("sock_shutdown", &[3, 3]), Ok(()));
    assert_eq!(guest.fd_read(3, 8), Ok(vec![]));
}

#[test]
fn sockets_are_neither_files_nor_directories() {
    let (mut guest, _far) = connected();
    assert_eq!(guest.fd_seek(3, 0, 0), Err(Errno::Spipe));
    assert_eq!(guest.fd_pread(3, 1, 0), Err(Errno::Spipe));
    assert_eq!(guest.open(3, "x", &Open::READ), Err(Errno::Notdir));
    assert_eq!(guest.call("fd_sync", &[3]), Err(Errno::Inval));
    assert_eq!(accept(&mut guest, 0), Err(Errno::Notcapable));
    assert_eq!(
        guest.call("fd_fdstat_set_flags", &[3, APPEND.into()]),
        Err(Errno::Inval)
    );
    for (name, arguments) in [
        ("sock_recv", &[0, 0, 0, 0, 0, 0][..]),
        ("sock_send", &[1, 0, 0, 0, 0]),
        ("sock_accept", &[0, 0, 0]),
    ] {
        assert_eq!(guest.call(name, arguments), Err(Errno::Notsock), "{name}");
    }
}

#[test]
fn a_listener_carries_no_data() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut guest = with_socket(listener);
    assert_eq!(guest.fd_read(3, 1), Err(Errno::Notconn));
    assert_eq!(guest.fd_write(3, b"x"), Err(Errno::Notcapable));
    assert_eq!(guest.call("sock_shutdown", &[3, 3]), Err(Errno::Notconn));
}

#[test]
fn bad_pointers_are_found_before_anything_happens() {
    let (mut guest, mut far) = connected();
    far.write_all(b"data").unwrap();
    let end = i64::from(MEMORY);
    let (list, count) = guest.buffers(&[(1024, 4)]);
    assert_eq!(
        guest.call("sock_recv", &[3, list, count, 0, end - 3, 0]),
        Err(Errno::Fault)
    );
    assert_eq!(
        guest.call("sock_recv", &[3, list, count, 0, 0, end - 1]),
        Err(Errno::Fault)
    );
    assert_eq!(
        guest.call("sock_send", &[3, list, count, 0, end]),
        Err(Errno::Fault)
    );
    assert_eq!(receive(&mut guest, 100, 0), Ok(b"data".to_vec()));
}
