//! Which process made the other end of a Unix socket; the system has noted it.
//!
//! - **Y46** `getsockopt` takes any open descriptor and fills in a local variable, up to the length
//!   that it is given, or returns an error. All fields are numbers, and zero is valid for each.
//!
//! Tests: not run yet.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, socklen_t, xucred};

use crate::sys::refused::refused;

/// A process with its user and its group.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its number.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The level of `getsockopt` for Unix sockets.
const LOCAL: c_int = 0;

/// The process that made the other end of `socket`.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let user = option::<xucred>(&socket, libc::LOCAL_PEERCRED)?;
    Ok(Peer {
        pid: pid(&socket, &user)?,
        uid: user.cr_uid,
        gid: user.cr_groups[0],
    })
}

#[cfg(target_vendor = "apple")]
fn pid(socket: &impl AsFd, _: &xucred) -> io::Result<i32> {
    option(socket, libc::LOCAL_PEERPID)
}

#[cfg(target_os = "freebsd")]
fn pid(_: &impl AsFd, user: &xucred) -> io::Result<i32> {
    // SAFETY: Y46: the other member of this union is a pointer, which can hold any number.
    Ok(unsafe { user.cr_pid__c_anonymous_union.cr_pid })
}

fn option<T>(socket: &impl AsFd, name: c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: Y46: an open descriptor, and a local of this length.
    let error =
        unsafe { libc::getsockopt(fd, LOCAL, name, value.as_mut_ptr().cast(), &raw mut length) };
    if error != 0 {
        return Err(refused("getsockopt")(io::Error::last_os_error()));
    }
    // SAFETY: Y46: it holds zeros or what the system has written.
    Ok(unsafe { value.assume_init() })
}
