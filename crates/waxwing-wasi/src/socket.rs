//! Sockets that an embedder opens for a guest.

use crate::sys;
use std::net::{TcpListener, TcpStream};

/// A listening or connected socket to hand to a guest with
/// [`WasiCtxBuilder::preopened_socket`](crate::WasiCtxBuilder::preopened_socket).
///
/// Made with `From` out of the standard library's `TcpListener` and
/// `TcpStream`, and on Unix also out of `UnixListener` and `UnixStream`.
#[derive(Debug)]
pub struct Socket(pub(crate) sys::Socket);

impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Self {
        Self(listener.into())
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(stream.into())
    }
}
