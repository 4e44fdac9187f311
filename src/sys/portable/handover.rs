//! Bytes through a socket, and nothing else: a descriptor that comes along is closed by the system.
//!
//! Tests: `tests/process/plain.rs`.

use std::io::IoSlice;

use rustix::fd::AsFd;
use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags, recv};

use crate::sys::descriptor::OwnedFile;
use crate::sys::transfer::send_several;

/// No descriptors travel: all workers are plain.
pub(crate) const CARRIES: bool = false;

/// How many descriptors a value may bring along: copies of what they stand for travel.
pub(crate) const MOST: usize = 253;

/// What was received.
pub(crate) struct Received {
    pub(crate) bytes: usize,
    pub(crate) descriptors: Vec<OwnedFile>,
    /// There were more.
    pub(crate) lost: bool,
}

/// Receives bytes into `buffer`.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> Result<Received> {
    let (bytes, _) = recv(socket, buffer, flags)?;
    Ok(Received {
        bytes,
        descriptors: Vec::new(),
        lost: false,
    })
}

/// Sends some of `parts`; `descriptors` are refused.
pub(crate) fn send(
    socket: impl AsFd,
    parts: &[IoSlice<'_>],
    descriptors: &[impl AsFd],
    flags: SendFlags,
) -> Result<usize> {
    match descriptors {
        [] => send_several(socket.as_fd(), parts, flags),
        _ => Err(Errno::OPNOTSUPP),
    }
}
