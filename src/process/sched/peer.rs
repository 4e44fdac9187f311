//! How the parent knows what a worker has begun, and takes back what it has not.
//!
//! There are two paths to a worker, and nothing outside of a `peer` asks on which of them it is
//! reached:
//! - *stream*, the protocol as it works everywhere: the worker reports what it begins, and gates of
//!   the parent's own follow its reports. To take items back, the parent asks (`Recall`), and the
//!   answer says how far the worker got. A worker that does not answer within
//!   [`Policy::patience`](super::Policy) must have been stopped, and is killed.
//! - *pages*, the optimisation on one machine: gates in memory that both processes map. The parent
//!   reads a gate at any moment, and closes it: from then on the worker begins no more items of
//!   that frame. So items come back at once, even from a worker that has been stopped.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/plain.rs`.

use std::time::Instant;

use super::sent_frame::SentFrame;
use crate::process::pages::raw_ledger::Front;
use crate::process::value::chunk::Piece;
use crate::process::wire::Broken;

/// How a worker learns that what it runs is unwanted.
pub(super) enum Cancel {
    NothingRuns,
    /// Its gate says so: it is made to look.
    Ring,
    /// It is asked, and reports what it has begun of its other frames.
    Ask,
}

/// A worker, as the scheduler knows it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The gates of the worker's frames.
    pub(super) gates: Front,
    has_pages: bool,
    /// On the stream: other processes may pass on what is sent, and may lose the worker.
    is_forwarded: bool,
    /// On the stream: when the socket last took some bytes, which an answer may follow.
    took_at: Option<Instant>,
}

impl Peer {
    /// A worker that is reached by a stream alone, which may be `is_forwarded`.
    pub(crate) fn on_stream(is_forwarded: bool) -> Self {
        Self {
            gates: Front::own(),
            has_pages: false,
            is_forwarded,
            took_at: None,
        }
    }

    /// A worker that has the pages with these gates, too.
    pub(crate) fn on_pages(gates: Front) -> Self {
        Self {
            gates,
            has_pages: true,
            is_forwarded: false,
            took_at: None,
        }
    }

    /// Whether items come back only after an answer. (Gates give them at any moment.)
    pub(super) fn must_be_asked(&self) -> bool {
        !self.has_pages
    }

    /// Whether it may have begun an item of which nothing is known yet. (Gates say it at once.)
    pub(super) fn may_run_unseen(&self) -> bool {
        !self.has_pages
    }

    /// Whether what forwards its stream finds out only by passing something on that it has lost the
    /// worker.
    pub(super) fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    /// Whether the worker sends each result before it begins the next item, if each is waited for
    /// separately.
    pub(super) fn sends_each_result(&self) -> bool {
        !self.has_pages
    }

    /// Whether an item goes to this worker only when it is idle, because what is queued there comes
    /// back only after an answer. `early`: another worker will be idle soon. `is_heavy`: the item
    /// would be received while another runs, which would be blamed if there were no memory.
    pub(super) fn needs_idle(&self, early: bool, is_heavy: impl FnOnce() -> bool) -> bool {
        !self.has_pages && (early || is_heavy())
    }

    /// The worker reports that it has begun the next `count` items of `frame`, its first.
    pub(super) fn begun(&self, frame: &SentFrame, count: usize, nanos: u64) -> Result<(), Broken> {
        let is_news = !self.has_pages && frame.begins(count, nanos); // or the gates say it
        is_news.then_some(()).ok_or(Broken)
    }

    /// Takes back the items of `frame` from index `from` on that have not begun. `is_first`: it is
    /// the worker's first frame. `None`: the worker must be asked, and gives all that it has not
    /// begun.
    pub(super) fn take_back(
        &self,
        frame: &mut SentFrame,
        from: u32,
        is_first: bool,
    ) -> Option<Option<Piece>> {
        self.has_pages.then(|| frame.take_back(from, is_first))
    }

    /// Marks what runs of `frame` as unwanted. (On the stream the worker may have begun any item
    /// that it has received.)
    pub(super) fn cancel(&self, frame: &SentFrame) -> Cancel {
        let (runs, then) = if self.has_pages {
            (frame.runs(), Cancel::Ring)
        } else {
            (frame.done < frame.end, Cancel::Ask)
        };
        if !runs {
            return Cancel::NothingRuns;
        }
        frame.gate().disown();
        then
    }

    /// Its socket has taken some bytes.
    pub(super) fn has_taken(&mut self, now: Instant) {
        self.took_at = (!self.has_pages).then_some(now);
    }

    /// When it last received some bytes that an answer may follow.
    pub(super) fn took_at(&self) -> Option<Instant> {
        self.took_at
    }
}
