//! A pair of connected sockets: TCP on the loopback interface.
//!
//! Another process of this machine may connect to the listener first. So the address of an accepted
//! connection must be that of the socket that was connected here; other connections are dropped.
//!
//! Children inherit an accepted socket, unlike other sockets of `std`. The flag is cleared at once,
//! but a child that another thread starts in between has inherited the socket. Closing it here
//! would then not end the connection. The owner therefore shuts the socket down before it closes
//! it.
//!
//! - **Y64** The socket is open, and every TCP socket is a handle of the system.
//!
//! Rejected: Unix sockets: Windows has them since 2017, but no call that makes a pair, and Wine has
//! none; named pipes: `poll` cannot wait for them, and mio's read ahead (`pipe_end`).
//!
//! Tests: `tests/io/child_processes.rs`, `tests/process/everywhere.rs`, under Wine.

#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::windows::io::AsRawSocket;

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

/// How many connections of other processes are dropped before this is an error.
const STRANGERS: usize = 64;

/// Ensures that no child inherits the socket.
pub(super) fn stays(socket: &impl AsRawSocket) -> io::Result<()> {
    let handle = std::ptr::with_exposed_provenance_mut(socket.as_raw_socket() as usize);
    // SAFETY: Y64.
    match unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Both sockets block, and send without delay. The second is the accepted one.
pub(crate) fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
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
