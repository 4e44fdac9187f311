//! A datagram socket on the loopback interface that is connected to itself: any thread makes it
//! ready.
//!
//! Rejected: an event object, because `WSAPoll`, which waits for sockets, does not take one.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::windows::io::{AsSocket, BorrowedSocket};

/// The system call that makes a bell.
pub const CALL: &str = "socket";

/// A socket that becomes readable when it is rung, and stays so until it is silenced. Each ring is
/// an edge.
#[derive(Debug)]
pub struct Bell(UdpSocket);

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(socket.local_addr()?)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Makes the bell readable. (A send that fails for want of room needs nothing: the bell is
    /// already ringing.)
    #[inline]
    pub fn ring(&self) {
        let _ = self.0.send(&[1]);
    }

    /// Takes all rings back.
    #[inline]
    pub fn silence(&self) {
        while self.0.recv(&mut [0; 8]).is_ok() {}
    }
}

impl AsSocket for Bell {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.0.as_socket()
    }
}
