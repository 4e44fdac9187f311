//! Which process has written to a socket, whatever it says of itself: the kernel adds its number,
//! as this process knows it (`SCM_CREDENTIALS`).
//!
//! Tests: `tests/sandbox/sandbox.rs`.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// From now on, what arrives here comes with its sender.
pub(crate) fn ask(socket: impl AsFd) -> io::Result<()> {
    Ok(set_socket_passcred(socket, true)?)
}

/// Waits for a byte, as long as the socket's timeout, and returns the number of the process that
/// has written it. `None`: the other end is closed.
pub(crate) fn sender(socket: impl AsFd) -> io::Result<Option<i32>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let sender = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_nonzero().get()),
        _ => None,
    });
    sender
        .map(Some)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}
