//! Which process made the other end of a socket, as the kernel noted it.
//!
//! - **Y38** `getsockopt` with `SO_PEERCRED` takes any descriptor that is open, and fills in a
//!   `ucred`, three numbers, or is an error.
//!
//! Rejected: rustix's call, which cannot return the process 0. The kernel reports 0 if the other
//! process is in a process namespace that this one does not see, and for sockets that have no other
//! process (TCP).
//!
//! Tests: below; `tests/process/host.rs`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_void, socklen_t, ucred};

use crate::sys::refused::refused;

/// The process that made the other end of `socket` (or both, if it is a pair), and its user and
/// group.
pub fn peer(socket: impl AsFd) -> io::Result<ucred> {
    let mut peer = ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut size = size_of::<ucred>() as socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    let place = (&raw mut peer).cast::<c_void>();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: Y38: it is borrowed, so it is open; the place is a local of that type and size.
    let result = unsafe { libc::getsockopt(socket, level, option, place, &raw mut size) };
    match result {
        0 => Ok(peer),
        _ => Err(refused("getsockopt")(io::Error::last_os_error())),
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_pair_is_its_makers_and_tcp_has_no_process() {
        let (one, other) = UnixStream::pair().unwrap();
        for end in [&one, &other] {
            let peer = peer(end).unwrap();
            assert_eq!(peer.pid.cast_unsigned(), std::process::id());
            assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(peer(&stream).unwrap().pid, 0);
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(
            peer(&file).unwrap_err().raw_os_error(),
            Some(libc::ENOTSOCK)
        );
    }
}
