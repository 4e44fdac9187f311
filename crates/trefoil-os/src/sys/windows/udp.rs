//! UDP sockets that behave as on other systems: a datagram that is longer than the buffer is cut
//! off without an error, and only a connected socket reports that its peer does not listen.
//!
//! - **Y80** The socket is open, and so the system's library for sockets was started. The memory
//!   that a call reads and writes is a local variable or a borrowed slice, of the length that the
//!   call is given.
//!
//! Tests: its own test, under Wine.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket as Socket};
use std::ops::Deref;
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};
use std::ptr::null_mut;

use rustix::net::SocketAddrAny;
use rustix::net::addr::SocketAddrStorage;
use windows_sys::Win32::Networking::WinSock::{
    MSG_PEEK, SIO_UDP_CONNRESET, WSAECONNREFUSED, WSAECONNRESET, WSAEMSGSIZE, WSAIoctl, recvfrom,
};
use windows_sys::core::BOOL;

/// Otherwise as `std`'s.
#[derive(Debug)]
pub struct UdpSocket(Socket);

impl From<Socket> for UdpSocket {
    fn from(socket: Socket) -> Self {
        let this = Self(socket);
        this.hears_of_refusals(this.peer_addr().is_ok());
        this
    }
}

impl Deref for UdpSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.0
    }
}

impl AsSocket for UdpSocket {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.0.as_socket()
    }
}

impl UdpSocket {
    /// As `std`'s, and refusals are reported from then on.
    pub fn connect(&self, address: SocketAddr) -> io::Result<()> {
        self.0.connect(address)?;
        self.hears_of_refusals(true);
        Ok(())
    }

    /// As `std`'s, and a datagram that does not fit is cut off.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.0.recv(buffer);
        got.or_else(|error| told(error, buffer.len()))
    }

    /// As [`recv`](Self::recv), and the datagram stays.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.0.peek(buffer);
        got.or_else(|error| told(error, buffer.len()))
    }

    /// As `std`'s, and a datagram that does not fit is cut off.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive(buffer, 0)
    }

    /// As [`recv_from`](Self::recv_from), and the datagram stays.
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.receive(buffer, MSG_PEEK)
    }

    /// `std`'s call, which does not return the sender of a datagram that does not fit.
    fn receive(&self, buffer: &mut [u8], flags: i32) -> io::Result<(usize, SocketAddr)> {
        let mut from = MaybeUninit::<SocketAddrStorage>::zeroed();
        let whole = size_of_val(&from) as u32;
        let mut length = whole.cast_signed();
        let room = i32::try_from(buffer.len()).unwrap_or(i32::MAX);
        let number = self.0.as_raw_socket() as usize;
        let (to, address) = (buffer.as_mut_ptr(), from.as_mut_ptr().cast());
        // SAFETY: Y80.
        let count = unsafe { recvfrom(number, to, room, flags, address, &raw mut length) };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) => told(io::Error::last_os_error(), buffer.len())?,
        };
        // SAFETY: Y80: it is an address, or still zero, which is none of any kind.
        let from = unsafe { SocketAddrAny::new(from, whole) };
        Ok((count, from.try_into()?))
    }

    /// Sets whether the next call fails after an undelivered datagram. (By default the system
    /// reports that to unconnected sockets, too. If it refuses the setting, it goes on to do so.)
    fn hears_of_refusals(&self, hears: bool) {
        let (number, hears) = (self.0.as_raw_socket() as usize, BOOL::from(hears));
        let (from, length) = ((&raw const hears).cast(), size_of_val(&hears) as u32);
        let (what, mut count) = (SIO_UDP_CONNRESET, 0);
        let (to, later) = (null_mut(), null_mut());
        // SAFETY: Y80.
        unsafe {
            WSAIoctl(
                number,
                what,
                from,
                length,
                to,
                0,
                &raw mut count,
                later,
                None,
            )
        };
    }
}

/// What such an error means elsewhere.
fn told(error: io::Error, room: usize) -> io::Result<usize> {
    match error.raw_os_error() {
        Some(WSAEMSGSIZE) => Ok(room),
        Some(WSAECONNRESET) => Err(io::Error::from_raw_os_error(WSAECONNREFUSED)),
        _ => Err(error),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn udp() -> UdpSocket {
        Socket::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn what_does_not_fit_is_lost_and_the_rest_comes_with_its_address() {
        let (near, far) = (udp(), udp());
        let [here, there] = [&near, &far].map(|it| it.local_addr().unwrap());
        for _ in 0..6 {
            near.send_to(b"too long", there).unwrap();
        }
        let mut room = [0; 3];
        assert_eq!(far.peek_from(&mut room).unwrap(), (3, here));
        assert_eq!(&room, b"too");
        assert_eq!(far.recv_from(&mut room).unwrap(), (3, here));
        assert_eq!(far.recv_from(&mut []).unwrap(), (0, here));
        assert_eq!(far.peek(&mut room).unwrap(), 3);
        assert_eq!(far.recv(&mut room).unwrap(), 3);
        assert_eq!(far.recv(&mut []).unwrap(), 0);
        assert_eq!(far.recv_from(&mut [0; 9]).unwrap(), (8, here));
        assert_eq!(far.recv_from(&mut [0; 8]).unwrap(), (8, here));
        far.set_nonblocking(true).unwrap();
        let none = far.recv_from(&mut room).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::WouldBlock);
    }
}
