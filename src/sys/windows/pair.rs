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
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::windows::io::AsRawSocket;

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

/// How many strangers may come first.
const STRANGERS: usize = 64;

/// Both block, and send at once what is written. The second was accepted.
pub(crate) fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    for _ in 0..STRANGERS {
        let (far, peer) = listener.accept()?;
        if peer == near.local_addr()? {
            let handle = std::ptr::with_exposed_provenance_mut(far.as_raw_socket() as usize);
            // SAFETY: Y64.
            if unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) } == 0 {
                return Err(io::Error::last_os_error());
            }
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
