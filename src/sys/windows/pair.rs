//! Two connected sockets: of TCP, on the loopback interface.
//!
//! Another process of this machine may connect to the listener first. So what was accepted must
//! come from the socket that was connected; anything else is dropped.
//!
//! What is accepted would be inherited by children, which `std` says of no other socket. That is
//! changed at once; but a child that another thread starts just then has it. So whoever has that
//! end shuts it down, and does not only close it.
//!
//! - **Y64** The socket is open, and a handle of the system's own kind, which every socket of TCP
//!   is.
//!
//! Rejected: Unix sockets, which Windows has since 2017 without a call for a pair, and Wine not at
//! all; named pipes, on which `poll` cannot wait, and which read ahead (`pipe_end`).

#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, FromRawSocket};
use std::ptr::null;

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, INVALID_SOCKET, IPPROTO_TCP, SOCK_STREAM, WSA_FLAG_NO_HANDLE_INHERIT, WSASocketW,
};

/// How many strangers may come first.
const STRANGERS: usize = 64;

/// Both block, and send at once what is written. The second was accepted.
pub(crate) fn pair() -> io::Result<(TcpStream, TcpStream)> {
    pair_by(TcpStream::connect)
}

/// The same, and the first may be written to as a file, by several threads and processes at a time.
/// (`std` makes sockets on which the system does not wait: whoever writes waits for the end of a
/// write, and may take another's for its own. Then `std` ends the program.)
pub(crate) fn pair_for_files() -> io::Result<(TcpStream, TcpStream)> {
    pair_by(|address| {
        let (family, kind) = (i32::from(AF_INET), SOCK_STREAM);
        let flags = WSA_FLAG_NO_HANDLE_INHERIT; // and not WSA_FLAG_OVERLAPPED
        // SAFETY: Y64: numbers alone. (`std`'s listener has started the library.)
        let number = unsafe { WSASocketW(family, kind, IPPROTO_TCP, null(), 0, flags) };
        if number == INVALID_SOCKET {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: Y64: it was made just now.
        let socket = unsafe { TcpStream::from_raw_socket(number as u64) };
        rustix::net::connect(&socket, &address)?;
        Ok(socket)
    })
}

/// No child inherits it.
pub(super) fn stays(socket: &impl AsRawSocket) -> io::Result<()> {
    let handle = std::ptr::with_exposed_provenance_mut(socket.as_raw_socket() as usize);
    // SAFETY: Y64.
    match unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn pair_by(
    connect: impl FnOnce(SocketAddr) -> io::Result<TcpStream>,
) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = connect(listener.local_addr()?)?;
    for _ in 0..STRANGERS {
        let (far, peer) = listener.accept()?;
        if peer == near.local_addr()? {
            stays(&far)?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            return Ok((near, far));
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "other processes connect to every socket that this program listens on",
    ))
}
