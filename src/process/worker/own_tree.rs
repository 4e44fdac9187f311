//! In the worker: its own tree of tasks, for the parent that asks for it.
//!
//! The thread that watches the parent answers, so that it does not matter what the items do.
//!
//! Tests: `tests/process/trees.rs`.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fd::AsFd;
use rustix::io::Errno;

use crate::events;
use crate::process::wire::Record;
use crate::sys::poll::poll_patiently;
use crate::sys::transfer::transmit;
use crate::task::panic;

/// How long to wait for room in the socket: the parent gives up as soon.
const PATIENCE: Duration = Duration::from_millis(100);

/// The answer.
pub(super) fn record() -> Vec<u8> {
    let (text, json) = panic::catch(events::answer).unwrap_or_default();
    let (text, json) = (&*text, &*json);
    Record::Tree { text, json }.bytes()
}

/// Sends the answer through the bell. (The parent has taken the one before it.)
pub(super) fn answer_to(bell: &impl AsFd) {
    let record = record();
    let (mut rest, end) = (&record[..], Instant::now() + PATIENCE);
    while !rest.is_empty() && Instant::now() < end {
        match transmit(bell.as_fd(), true, &[IoSlice::new(rest)]) {
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut room = [PollFd::new(bell, PollFlags::OUT)];
                poll_patiently(&mut room, Some(PATIENCE));
            }
            Err(_) => return, // the parent is gone
        }
    }
}
