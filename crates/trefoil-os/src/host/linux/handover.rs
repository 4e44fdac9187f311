//! Sends and receives bytes through a Unix socket, and descriptors with them (`SCM_RIGHTS`).
//!
//! Tests: `process::value::attachments`.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, StatxFlags, fcntl_get_seals, statx};
use rustix::io::{Errno, Result, fcntl_dupfd_cloexec};
use rustix::net::sockopt::{set_socket_linger, socket_linger};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::pipe::fcntl_getpipe_size;

/// Whether descriptors travel with bytes. They do, so workers need not be plain.
pub const CARRIES: bool = true;

/// How many descriptors one message can carry: the kernel's limit.
pub const MOST_DESCRIPTORS: usize = 253;

/// What was received in one call.
#[derive(Debug)]
pub struct Received {
    /// How many bytes.
    pub bytes: usize,
    /// The descriptors that came with them.
    pub descriptors: Vec<OwnedFd>,
    /// Whether some descriptors were lost.
    pub lost: bool,
}

/// The least number of a descriptor that is handed out: those below are the standard streams.
const FIRST: i32 = 3;

/// It, or a copy with another number if it has that of a standard stream, which this process has
/// closed: what is printed later must not go there.
fn no_standard_stream(descriptor: OwnedFd) -> Result<OwnedFd> {
    if descriptor.as_raw_fd() < FIRST {
        return fcntl_dupfd_cloexec(descriptor, FIRST);
    }
    Ok(descriptor)
}

/// Receives bytes into `buffer`, and the descriptors that come with them.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut parts, &mut control, flags)?;
    let mut descriptors = Vec::new();
    let mut lost = received.flags.contains(ReturnFlags::CTRUNC);
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            for descriptor in some {
                match no_standard_stream(descriptor) {
                    Ok(descriptor) => descriptors.push(descriptor),
                    Err(_) => lost = true, // there are no more
                }
            }
        }
    }
    Ok(Received {
        bytes: received.bytes,
        descriptors,
        lost,
    })
}

/// Whether closing it cannot wait, whatever process has sent it: memory, a pipe and an `eventfd`
/// are closed at once; a socket may linger, and other file systems may do something first. (These
/// questions are answered from memory: none asks another file system, or waits for a process.
/// Without `/proc`, whatever has no file type counts as an `eventfd`.)
pub fn closes_at_once(descriptor: impl AsFd) -> bool {
    let descriptor = descriptor.as_fd();
    let is_eventfd = || {
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        match std::fs::read_link(path) {
            Ok(name) => name.starts_with("anon_inode:[eventfd]"),
            Err(_) => {
                let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
                let answer = statx(descriptor, c"", flags, StatxFlags::TYPE);
                answer.is_ok_and(|answer| answer.stx_mode & 0o170_000 == 0)
            }
        }
    };
    fcntl_get_seals(descriptor).is_ok() || fcntl_getpipe_size(descriptor).is_ok() || is_eventfd()
}

/// Closes a descriptor for which [`closes_at_once`] is false. A socket's lingering is switched off
/// first, unless that does not wait (a connection that is to be reset). It may wait all the same.
pub fn close_slow(descriptor: OwnedFd) {
    if socket_linger(&descriptor).is_ok_and(|linger| linger.is_some_and(|time| !time.is_zero())) {
        let _ = set_socket_linger(&descriptor, None);
    }
    drop(descriptor);
}

/// Sends some of `parts`, and `descriptors` with the first byte.
pub fn send(
    socket: impl AsFd,
    parts: &[IoSlice<'_>],
    descriptors: &[impl AsFd],
    flags: SendFlags,
) -> Result<usize> {
    if descriptors.is_empty() {
        let mut control = SendAncillaryBuffer::default();
        return sendmsg(socket, parts, &mut control, flags);
    }
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    sendmsg(socket, parts, &mut control, flags)
}
