//! Sends and receives bytes through a socket, and no descriptors: the system closes any that come
//! with them.
//!
//! Tests: `tests/process/plain.rs`.

use std::io::IoSlice;

use rustix::fd::AsFd;
use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags, recv};

use crate::sys::descriptor::OwnedFile;
use crate::sys::transfer::send_several;

/// Whether descriptors travel with bytes. They do not, so all workers are plain.
pub const CARRIES: bool = false;

/// How many descriptors a value may contain. Copies of their content are sent instead of them.
pub const MOST_DESCRIPTORS: usize = 253;

/// What was received in one call.
#[derive(Debug)]
pub struct Received {
    /// How many bytes.
    pub bytes: usize,
    /// The descriptors that came with them: none.
    pub descriptors: Vec<OwnedFile>,
    /// Whether there were more descriptors than fit.
    pub lost: bool,
}

/// Receives bytes into `buffer`.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> Result<Received> {
    let (bytes, _) = recv(socket, buffer, flags)?;
    Ok(Received {
        bytes,
        descriptors: Vec::new(),
        lost: false,
    })
}

/// Whether closing it cannot wait: no other process has sent it, so it never waits.
pub fn closes_at_once<T>(_file: &T) -> bool {
    true
}

/// Closes a descriptor that came from another process: there is none.
pub fn close_slow(descriptor: OwnedFile) {
    drop(descriptor);
}

/// Sends some of `parts`; `descriptors` must be empty.
pub fn send(
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
