//! The incoming frames of a process that replays a capsule.
//!
//! Tests: `tests/process/capsules.rs`.

use std::collections::VecDeque;

use super::cancel::Canceller;
use crate::process::job::capsule::Capsule;
use crate::process::wire::{CodeRef, Frame};

/// The frames of a capsule.
pub(super) struct ReplayInlet {
    pub(super) capsule: Capsule,
    /// How many bytes of them have been read.
    pub(super) at: usize,
    /// Where the functions of its calls are, if not where it says.
    pub(super) elsewhere: VecDeque<CodeRef>,
    pub(super) canceller: Canceller,
    /// Called when the last item has returned.
    pub(super) returned: fn(),
}

impl ReplayInlet {
    /// The next frame; after the last one this process ends.
    pub(super) fn next(&mut self) -> Frame<'_> {
        let Some((mut frame, length)) = self.capsule.frame(self.at) else {
            (self.returned)();
            return Frame::Bye;
        };
        self.at += length;
        if let Frame::Batch { batch, .. } = &mut frame {
            batch.code = self.elsewhere.pop_front().unwrap_or(batch.code);
            self.canceller.open(batch.sequence, batch.count);
        }
        frame
    }
}
