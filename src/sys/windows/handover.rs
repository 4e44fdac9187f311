//! Bytes through a socket, and nothing else.
//!
//! Tests: `tests/process/plain.rs`.

use std::io::IoSlice;

use rustix::fd::AsFd;
use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags, recv, send as send_one};

use super::descriptor::OwnedFile;

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

/// Sends some of the first of `parts` that is not empty; `descriptors` are refused.
pub(crate) fn send(
    socket: impl AsFd,
    parts: &[IoSlice<'_>],
    descriptors: &[impl AsFd],
    flags: SendFlags,
) -> Result<usize> {
    if !descriptors.is_empty() {
        return Err(Errno::OPNOTSUPP);
    }
    match parts.iter().find(|part| !part.is_empty()) {
        Some(part) => send_one(socket, part, flags),
        None => Ok(0),
    }
}
