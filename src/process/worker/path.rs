//! In the worker: what it shares with its parent beside the stream.
//!
//! **Job.** Hides the difference between plain workers and the fast path from the rest of the
//! worker, as `fast::path` does in the parent. A *plain* worker shares no memory with its parent:
//! it has its own gates, results wait in its own memory until they are sent, and it reports each
//! item that it begins. The *fast* path is pages that both processes map (`sys::ledger`): there a
//! result counts as soon as it is committed, and the parent sees at once which items have begun.
//!
//! In either case all records go through the stream. Methods that concern only the fast path have
//! an answer for a plain worker, too: the parent reads no results from pages, and nothing is lent.
//!
//! Tests: `tests/process/pool.rs`, with plain workers and with others; `tests/process/plain.rs`.

use std::sync::Arc;

use crate::loom::{Mutex, MutexGuard};
use crate::process::fast::path::Pages;
use crate::process::payload::shared_buffer::SharedBuffer;
use crate::process::sched::sent_frame::{Gated, ToldGates};
use crate::sys::gate::Gate;

/// How many bytes of results may wait until they are sent.
pub(crate) const ROOM: usize = crate::sys::ledger::ROOM;

/// What this worker shares with its parent beside the stream.
#[derive(Debug)]
pub(crate) enum Path {
    Plain(Plain),
    Fast(Pages),
}

/// What a plain worker has in place of the shared pages: its own memory.
#[derive(Debug)]
pub(crate) struct Plain {
    gates: Arc<ToldGates>,
    room: Vec<u8>,
    /// A thread that sends a record holds this until the record is whole, because two threads send:
    /// the main thread, and the one that reads.
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

    /// Whether there is only the stream, so that the worker must report what it begins.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Until this is dropped no other thread sends anything.
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

    /// The room, and a guard that keeps other threads from sending.
    pub(crate) fn waiting(&mut self) -> (&[u8], Option<MutexGuard<'_, ()>>) {
        match self {
            Self::Plain(plain) => (&plain.room, Some(plain.whole.lock())),
            Self::Fast(pages) => (pages.room(), None),
        }
    }

    /// The first `length` bytes of the room are whole records: on the fast path they count from now
    /// on, even if this process dies.
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

    /// The shared pages, if there are any.
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
