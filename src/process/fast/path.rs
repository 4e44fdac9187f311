//! The parent's side of the fast path to one worker: pages that both map, and a bell.
//!
//! Without it a worker is plain: nothing but a framed stream of bytes. Whether there is one is
//! decided when the worker is started (`Settings::plain`). It adds to the stream: gates that both
//! sides see, so that the parent takes back items that have not begun without asking; results that
//! can be read before they are sent, and after a death; frames that need no system call (`tray`);
//! and the knowledge of which item has written what to standard error.

use std::io;
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd};

pub(crate) use super::tray::Posted;
use super::tray::Tray;
use crate::process::payload::shared_buffer::View;
use crate::sys::bell::{self, Bell};
use crate::sys::descriptor::waitable;
pub(crate) use crate::sys::ledger::Ledger;
use crate::sys::refused::refused;

/// The parent's part of the fast path to one worker.
#[derive(Debug)]
pub(crate) struct FastPath {
    pub(crate) ledger: Arc<Ledger>,
    /// Rung to make the worker look at its gates.
    pub(crate) bell: Bell,
    /// Where the next frame begins in the tray.
    tail: u64,
}

impl FastPath {
    pub(crate) fn new() -> io::Result<Self> {
        let ledger = Ledger::new()?;
        Tray::new(ledger.tray()).clear();
        let bell = Bell::new();
        Ok(Self {
            ledger: Arc::new(ledger),
            bell: bell.map_err(refused(bell::CALL))?,
            tail: 0,
        })
    }

    /// The descriptors that the worker needs.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [waitable(self.ledger.memory()), self.bell.as_fd()]
    }

    /// How the worker's large results are read, if it can lend them.
    pub(crate) fn view(&self) -> Option<View> {
        let (mapping, area) = self.ledger.lent()?;
        Some(View::Mapped(mapping, area.start))
    }

    /// Puts a frame, in two parts, into the tray, to be read after `position` bytes of the socket.
    pub(crate) fn post(&mut self, position: u64, parts: [&[u8]; 2]) -> Posted {
        Tray::new(self.ledger.tray()).post(&mut self.tail, position, parts)
    }

    /// Called before the worker is woken because it may sleep although it claims to be awake.
    pub(crate) fn remind(&self) {
        Tray::new(self.ledger.tray()).remind(self.tail);
    }
}
