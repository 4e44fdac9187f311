//! In the worker: what it has beside its stream.
//!
//! **Job.** The seam between a plain worker and the fast path, as `fast::path` is the parent's. A
//! *plain* worker has nothing that its parent sees: its gates are its own, results wait in its own
//! memory until they are said, and it says what it begins. The *fast* path is pages that both see
//! (`sys::ledger`): there a result counts as soon as it is committed, and what has begun is seen at
//! once.
//!
//! All that a worker says goes through the stream in either case. What is asked here of the fast
//! path alone has an answer for a plain worker, too: the parent does not read there, and nothing is
//! lent.
//!
//! Tests: `tests/process/pool.rs`, with plain workers and with others; `tests/process/plain.rs`.

use std::sync::Arc;

use crate::loom::{Mutex, MutexGuard};
use crate::process::fast::path::Pages;
use crate::process::payload::shared_buffer::SharedBuffer;
use crate::process::sched::sent_frame::{Gated, ToldGates};
use crate::sys::gate::Gate;

/// How many bytes of results wait until they are sent, at most.
pub(crate) const ROOM: usize = crate::sys::ledger::ROOM;

/// What this worker has beside its stream.
#[derive(Debug)]
pub(crate) enum Path {
    Plain(Plain),
    Fast(Pages),
}

/// Nothing but the worker's own memory.
#[derive(Debug)]
pub(crate) struct Plain {
    gates: Arc<ToldGates>,
    room: Vec<u8>,
    /// A thread that says something holds this until it is whole: the reader says something, too.
    whole: Arc<Mutex<()>>,
}

impl Plain {
    pub(crate) fn new(gates: Arc<ToldGates>, whole: Arc<Mutex<()>>) -> Self {
        let room = vec![0; ROOM];
        Self { gates, room, whole }
    }
}

impl Path {
    #[inline]
    pub(crate) fn gate(&self, index: usize) -> &Gate {
        match self {
            Self::Plain(plain) => plain.gates.gate(index),
            Self::Fast(pages) => pages.gate(index),
        }
    }

    /// Nothing but the stream: what begins is said.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Until this is dropped no other thread says anything.
    pub(crate) fn whole(&self) -> Option<MutexGuard<'_, ()>> {
        match self {
            Self::Plain(plain) => Some(plain.whole.lock()),
            Self::Fast(_) => None,
        }
    }

    /// Where results wait: [`ROOM`] bytes.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        match self {
            Self::Plain(plain) => &mut plain.room,
            Self::Fast(pages) => pages.room(),
        }
    }

    /// The room, and what keeps other threads from saying something as long as it is there.
    pub(crate) fn waiting(&mut self) -> (&[u8], Option<MutexGuard<'_, ()>>) {
        match self {
            Self::Plain(plain) => (&plain.room, Some(plain.whole.lock())),
            Self::Fast(pages) => (pages.room(), None),
        }
    }

    /// The first `length` bytes of the room are whole records, from now on even if this process
    /// dies.
    #[inline]
    pub(crate) fn commit(&self, length: usize) {
        if let Self::Fast(pages) = self {
            pages.commit(length);
        }
    }

    /// `bytes` more have been sent, and nothing is committed now.
    pub(crate) fn sent(&self, bytes: u64) {
        if let Self::Fast(pages) = self {
            pages.sent(bytes);
        }
    }

    /// What has the pages, if there are any.
    #[inline]
    pub(crate) fn pages(&self) -> Option<&Pages> {
        match self {
            Self::Plain(_) => None,
            Self::Fast(pages) => Some(pages),
        }
    }

    /// Where large results are lent. `None`: they travel with the other bytes.
    pub(crate) fn lender(&self) -> Option<Arc<SharedBuffer>> {
        let pages = self.pages()?;
        Some(Arc::new(SharedBuffer::over(pages.arena())))
    }
}
