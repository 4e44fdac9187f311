//! Pages that both processes map: what they add to the stream on one machine.
//!
//! Gates that both sides see (`sched::peer`); results that can be read before they are sent, and
//! after a death; frames that need no system call (`shared_ring`); large arrays in shared memory
//! (`lent_arrays`); a bell, a pipe for events and a lifeline; and the knowledge of which item has
//! written what to standard error. Descriptors are sent only to workers that have pages.
//!
//! Tests: `tests/process/speed.rs`, `tests/process/shared_ring.rs`.

use std::io;
use std::sync::Arc;

use rustix::fd::BorrowedFd;

use super::worker_stream::{Body, WorkerStream};
use crate::loom::atomic::{Ordering, fence};
use crate::process::pages::raw_ledger::Ledger;
use crate::process::pages::shared_ring::{Posted, SharedRing};
use crate::process::value::chunk::Piece;
use crate::process::value::lent_arrays::{View, took};
use crate::process::wire::Frame;
use crate::sys::descriptor::waitable;
use crate::sys::refused::failed;
#[cfg(feature = "backtrace")]
use crate::task::backtrace::Backtrace;
#[cfg(feature = "backtrace")]
use trefoil_os::host::crash_handler;
#[cfg(feature = "backtrace")]
use trefoil_os::host::crash_notes::CrashPages;
use trefoil_os::host::worker_bell::{self, WorkerBell};

/// The pages, beside the stream.
pub(super) struct Pages {
    pub(super) ledger: Arc<Ledger>,
    /// Rung to make the worker look at its gates.
    pub(super) bell: WorkerBell,
    /// The position of the next frame in the shared ring.
    tail: u64,
    /// The descriptor of the pool's home was sent, or is queued.
    has_home: bool,
    /// It sleeps on a word of the ledger. (A fork server does not.)
    sleeps_on_word: bool,
}

impl Pages {
    pub(super) fn new(sleeps_on_word: bool) -> io::Result<Self> {
        let ledger = Ledger::new()?;
        SharedRing::new(ledger.ring()).clear();
        let bell = WorkerBell::new();
        Ok(Self {
            ledger: Arc::new(ledger),
            bell: bell.map_err(failed(worker_bell::CALL))?,
            tail: 0,
            has_home: false,
            sleeps_on_word,
        })
    }

    /// The descriptors that the worker needs.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![waitable(self.ledger.memory())];
        all.extend(self.bell.theirs());
        all
    }

    /// Puts a frame into the shared ring, where the worker looks, or into the queue for the socket,
    /// with a nudge if that must wake the worker. What goes ahead of it is queued.
    pub(super) fn post(
        &mut self,
        stream: &mut WorkerStream,
        mut head: Vec<u8>,
        items: Option<Piece>,
    ) {
        if let Some(piece) = items.as_ref().filter(|piece| piece.is_accompanied()) {
            if !self.has_home
                && let Some(home) = piece.home()
            {
                self.has_home = true;
                stream.wait(vec![home.clone()], Frame::Home.head(0), Body::Nothing);
            }
            stream.go_ahead(piece, true);
        }
        let mut body = items.map_or(Body::Nothing, Body::Items);
        if !stream.is_sending() {
            let ring = SharedRing::new(self.ledger.ring());
            match ring.post(&mut self.tail, stream.sent_bytes, [&head, body.bytes()]) {
                Posted::Yes => return,
                Posted::Asleep if self.sleeps_on_word => return self.ledger.wake_worker(),
                Posted::Asleep => (head, body) = (Frame::Nudge.head(0), Body::Nothing),
                Posted::No => {}
            }
        }
        stream.wait(Vec::new(), head, body);
    }

    /// Something was sent through the socket.
    pub(super) fn has_sent(&self) {
        self.ledger.sent();
        if self.sleeps_on_word {
            self.ledger.wake_worker();
        }
    }

    /// Shows the worker once more where the next frame in the ring begins: it may have overwritten
    /// that.
    pub(super) fn remind(&self) {
        SharedRing::new(self.ledger.ring()).remind(self.tail);
    }

    /// Reads the records that the worker has finished and not yet sent into `rest`: those after the
    /// first `known` bytes, which afterwards includes these.
    pub(super) fn records_ahead(&self, known: &mut u64, rest: &mut Vec<u8>) {
        self.ledger.rest(*known, rest);
        *known += rest.len() as u64;
        self.ledger.set_known(*known);
    }

    /// How the worker's large results are read, if it can lend them.
    pub(super) fn view(&self) -> Option<View> {
        let (mapping, area) = self.ledger.lent()?;
        Some(View::Mapped(mapping, area.start))
    }

    /// Returns the memory to the worker that it has lent with the first `known` bytes of records.
    /// Nothing reads there any more.
    pub(super) fn release(&self, known: u64) {
        if let Some(taken) = self.ledger.taken() {
            // Pairs with the drop of the last other `hold`: its copies were made before the worker
            // writes there again.
            fence(Ordering::Acquire);
            took(taken, known);
        }
    }

    /// Where the worker, which has died by `signal`, has crashed, as far as it has noted that.
    #[cfg(feature = "backtrace")]
    pub(super) fn backtrace(&self, signal: Option<i32>) -> Option<Backtrace> {
        let signal = signal.filter(|signal| crash_handler::is_noted(*signal))?;
        let position = self.ledger.position();
        let noted = self.ledger.crash_notes().read(signal, position);
        let is_wild_jump = noted.first().is_some_and(|first| first.is_wild);
        let places = noted.into_iter().map(|place| (place.module, place.offset));
        Backtrace::new(places.collect(), is_wild_jump)
    }
}
