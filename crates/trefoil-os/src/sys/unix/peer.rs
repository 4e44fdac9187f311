//! Which process made the other end of a socket, as the system noted it.
//!
//! - **Y38** `getsockopt` takes any descriptor that is open, and fills in a local variable, up to
//!   the length that it is given, or is an error. All fields are numbers, or a pointer that can
//!   hold any number, and zero is valid for each.
//!
//! Rejected: rustix's call, which cannot return the process 0. The kernel reports 0 if the other
//! process is in a process namespace that this one does not see, and for sockets that have no other
//! process (TCP).
//!
//! Tests: below;
//! `tests/process/host.rs::{a_worker_without_its_parent_is_known_by_whose_socket_it_has,
//! what_is_for_another_is_left_for_it}`. (Those of macOS and FreeBSD are not run yet.)
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

#[cfg(target_os = "linux")]
pub use libc::ucred as PeerCredentials;
use libc::{c_int, socklen_t};

use crate::sys::refused::refused;

/// A process with its user and its group.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy, Debug)]
pub struct PeerCredentials {
    /// Its number.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The process that made the other end of `socket` (or both, if it is a pair), and its user and
/// group.
#[cfg(target_os = "linux")]
pub fn peer(socket: impl AsFd) -> io::Result<PeerCredentials> {
    option(&socket, libc::SOL_SOCKET, libc::SO_PEERCRED)
}

/// The process that made the other end of `socket`.
#[cfg(not(target_os = "linux"))]
pub fn peer(socket: impl AsFd) -> io::Result<PeerCredentials> {
    /// The level of `getsockopt` for Unix sockets.
    const LOCAL: c_int = 0;
    let user: libc::xucred = option(&socket, LOCAL, libc::LOCAL_PEERCRED)?;
    #[cfg(target_vendor = "apple")]
    let pid = option(&socket, LOCAL, libc::LOCAL_PEERPID)?;
    #[cfg(target_os = "freebsd")]
    // SAFETY: Y38: the other member of this union is a pointer, which can hold any number.
    let pid = unsafe { user.cr_pid__c_anonymous_union.cr_pid };
    let (uid, gid) = (user.cr_uid, user.cr_groups[0]);
    Ok(PeerCredentials { pid, uid, gid })
}

fn option<T>(socket: &impl AsFd, level: c_int, name: c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: Y38: it is borrowed, so it is open; the place is a local of this length.
    let error =
        unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if error != 0 {
        return Err(refused("getsockopt")(io::Error::last_os_error()));
    }
    // SAFETY: Y38: it holds zeros or what the system has written.
    Ok(unsafe { value.assume_init() })
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
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
