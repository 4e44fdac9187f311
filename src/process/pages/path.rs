//! The parent's side of the fast path to one worker: pages that both map, and a bell.
//!
//! Without it a worker is plain: nothing but a framed stream of bytes. Whether there is one is
//! decided when the worker is started (`Settings::plain`). It adds to the stream: gates that both
//! sides see, so that the parent takes back items that have not begun without asking; results that
//! can be read before they are sent, and after a death; frames that need no system call
//! (`shared_ring`); and the knowledge of which item has written what to standard error.

use std::io;
use std::sync::Arc;

use rustix::fd::BorrowedFd;

pub(crate) use super::shared_ring::Posted;
use super::shared_ring::SharedRing;
use super::worker_bell::{self, WorkerBell};
pub(crate) use crate::process::host::ledger::Ledger;
use crate::process::value::shared_buffer::View;
use crate::sys::descriptor::waitable;
use crate::sys::refused::refused;

/// The parent's part of the fast path to one worker.
#[derive(Debug)]
pub(crate) struct FastPath {
    pub(crate) ledger: Arc<Ledger>,
    /// Rung to make the worker look at its gates.
    pub(crate) bell: WorkerBell,
    /// The position of the next frame in the shared ring.
    tail: u64,
}

impl FastPath {
    pub(crate) fn new() -> io::Result<Self> {
        let ledger = Ledger::new()?;
        SharedRing::new(ledger.ring()).clear();
        let bell = WorkerBell::new();
        Ok(Self {
            ledger: Arc::new(ledger),
            bell: bell.map_err(refused(worker_bell::CALL))?,
            tail: 0,
        })
    }

    /// The descriptors that the worker needs.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let memory = waitable(self.ledger.memory());
        std::iter::once(memory).chain(self.bell.theirs())
    }

    /// The worker has the descriptors.
    pub(crate) fn is_handed_over(&mut self) {
        self.bell.is_handed_over();
    }

    /// How the worker's large results are read, if it can lend them.
    pub(crate) fn view(&self) -> Option<View> {
        let (mapping, area) = self.ledger.lent()?;
        Some(View::Mapped(mapping, area.start))
    }

    /// Puts a frame, in two parts, into the shared ring, to be read after `position` bytes of the
    /// socket.
    pub(crate) fn post(&mut self, position: u64, parts: [&[u8]; 2]) -> Posted {
        SharedRing::new(self.ledger.ring()).post(&mut self.tail, position, parts)
    }

    /// Called before the worker is woken because it may sleep although it claims to be awake.
    pub(crate) fn remind(&self) {
        SharedRing::new(self.ledger.ring()).remind(self.tail);
    }
}
