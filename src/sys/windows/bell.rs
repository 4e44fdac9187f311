//! A socket that any thread makes ready: of datagrams, on the loopback interface, connected to
//! itself.
//!
//! Rejected: an event object, which a wait for sockets (`WSAPoll`) does not take.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::windows::io::{AsSocket, BorrowedSocket};

/// The call that makes one.
pub(crate) const CALL: &str = "socket";

/// It is ready once it was rung, until it is silenced. Each ring is an edge.
#[derive(Debug)]
pub(crate) struct Bell(UdpSocket);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(socket.local_addr()?)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// (One that cannot take more is ringing.)
    pub(crate) fn ring(&self) {
        let _ = self.0.send(&[1]);
    }

    pub(crate) fn silence(&self) {
        while self.0.recv(&mut [0; 8]).is_ok() {}
    }
}

impl AsSocket for Bell {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.0.as_socket()
    }
}
