//! A frame that was sent to a worker, and the gate that says how much of it has begun.
//!
//! A worker may write to its gates what it likes. So what the parent has seen itself wins: an item
//! that has been seen to run has begun, whatever the gate says later ([`SentFrame::begun`]), and it
//! began after the frame was sent and no later than it was seen ([`SentFrame::started`]).
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/hostile.rs`.

use crate::process::job::job_id::JobId;
use std::cell::Cell;
use std::ops::Deref;
use std::time::{Duration, Instant};

use crate::process::job::Job;
use crate::process::job::item_id::ItemId;
use crate::process::pages::gate::Gate;
use crate::process::pages::raw_ledger::Front;
use crate::process::value::chunk::Piece;
use crate::process::wire::CodeRef;
use trefoil_os::host::shared_clock::Epoch;

/// The assumed cost of a frame of unknown cost: an hour.
pub(super) const UNKNOWN_COST: u64 = 3_600_000_000_000;

/// Whether a plain worker was asked to begin no more items of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recall {
    NotAsked,
    /// Until when the worker should answer how far it got.
    Asked(Instant),
    /// The worker has answered, and the frame's `end` is the answer. Until when the worker should
    /// report the items that it has just begun.
    Answered(Instant),
}

impl Recall {
    pub(super) fn was_asked(&self) -> bool {
        !matches!(self, Self::NotAsked)
    }

    /// Until when the worker's next report should come.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::NotAsked => None,
            Self::Asked(by) | Self::Answered(by) => Some(*by),
        }
    }

    /// Gives the worker time until `then`, if it was asked and has less.
    pub(super) fn extend(&mut self, then: Instant) {
        if let Self::Asked(by) | Self::Answered(by) = self {
            *by = then.max(*by);
        }
    }
}

/// What is known of a frame. All may read it; once it was sent, [`SentFrame`] alone changes it.
pub(crate) struct FrameFacts {
    pub(super) sequence: u64,
    pub(super) job: JobId,
    pub(super) code: CodeRef,
    /// Its items, perhaps without their bytes.
    pub(super) piece: Piece,
    /// How many results have come.
    pub(super) done: u32,
    /// How many items the frame has, without those taken back.
    pub(super) end: u32,
    /// Since when nothing of it is left to be answered.
    pub(super) answered_at: Option<Instant>,
    /// How many nanoseconds the frame should take; [`UNKNOWN_COST`] if that is not known.
    pub(super) cost: u64,
    /// Whether the worker may begin this frame before it sends earlier results.
    pub(super) brief: bool,
    /// Whether the results are wanted; then the frame counts in `Job::wanted_frames`.
    pub(super) wanted: bool,
    /// Whether each result is waited for separately.
    pub(super) each: bool,
    /// Whether its one item, or the context, has ends of channels (`ends`).
    pub(super) goes_alone: bool,
    /// How many nanoseconds each item may take, which the worker measures; 0: nothing is measured.
    pub(super) limit: u64,
    pub(super) recall: Recall,
    pub(super) sent: Instant,
    pub(super) watch: Watch,
}

impl FrameFacts {
    /// A frame with these items that is sent now, and whose results nobody wants. What it costs is
    /// not known.
    pub(super) fn new(job: JobId, code: CodeRef, piece: Piece, now: Instant) -> Self {
        Self {
            sequence: 0,
            job,
            code,
            end: piece.len() as u32,
            piece,
            done: 0,
            answered_at: None,
            cost: UNKNOWN_COST,
            brief: false,
            wanted: false,
            each: false,
            goes_alone: false,
            limit: 0,
            recall: Recall::NotAsked,
            sent: now,
            watch: Watch::default(),
        }
    }
}

/// A frame that has been sent and whose `End` has not come.
pub(crate) struct SentFrame {
    facts: FrameFacts,
    /// The gates of its worker.
    gates: Front,
    /// The seal of its gate.
    seal: u64,
    /// How many items have been seen to have begun.
    seen: Cell<u32>,
}

/// What checks of a frame's time have shown (`timeouts`).
#[derive(Default)]
pub(super) struct Watch {
    /// The last check: how many results had come, whether the next item had begun, and since when
    /// both have been so, as far as checks have shown.
    stands: Option<(u32, bool, Instant)>,
    /// Since when the worker should have been killed because of this frame.
    pub(super) overdue: Option<Instant>,
    /// When to check whether an item has run for too long.
    pub(super) check_at: Option<Instant>,
    /// By how much the time of the whole call was extended, because the item reports a panic.
    pub(super) reported: Duration,
    /// An item that has timed out, to be retried when the frame has ended.
    pub(super) again: Option<Piece>,
}

/// How long this many bytes may take to arrive.
pub(super) fn travels(bytes: usize) -> Duration {
    Duration::from_nanos(10 * bytes as u64)
}

impl Deref for SentFrame {
    type Target = FrameFacts;

    fn deref(&self) -> &FrameFacts {
        &self.facts
    }
}

impl SentFrame {
    /// The frame, for the worker with these gates.
    pub(super) fn new(facts: FrameFacts, gates: Front, seal: u64) -> Self {
        Self {
            facts,
            gates,
            seal,
            seen: Cell::new(0),
        }
    }

    /// Opens its gate, just before it is sent.
    pub(super) fn open(&self) {
        self.gate().open(self.end, self.seal);
    }

    pub(super) fn gate(&self) -> &Gate {
        self.gates.gate(self.sequence as usize)
    }

    /// The index in the job of the item whose result comes next.
    pub(super) fn next_index(&self) -> usize {
        self.piece.first() + self.done as usize
    }

    /// The item whose result comes next; `None`: all have come.
    pub(super) fn next_item(&self) -> Option<ItemId> {
        let (job, at) = (self.job, self.next_index());
        (self.done < self.end).then_some(ItemId { job, at })
    }

    /// Its results are not wanted any more by `job`. False: they were not before.
    pub(super) fn disown(&mut self, job: &mut Job) -> bool {
        let was_wanted = std::mem::take(&mut self.facts.wanted);
        job.wanted_frames -= u32::from(was_wanted);
        was_wanted
    }

    /// How many items the worker has begun.
    pub(super) fn begun(&self) -> u32 {
        self.at_least(self.gate().taken(self.seal))
    }

    /// So many items have been seen to have begun.
    pub(super) fn has_seen(&self, begun: u32) {
        self.seen.set(begun);
    }

    /// `begun` items, but no fewer than have been seen to have begun or have ended, and no more
    /// than there are.
    fn at_least(&self, begun: u32) -> u32 {
        let begun = begun.max(self.seen.get()).max(self.done).min(self.end);
        self.seen.set(begun);
        begun
    }

    /// How long it takes to arrive.
    pub(super) fn travels(&self) -> Duration {
        travels(self.piece.span().len() + self.piece.ahead_bytes())
    }

    /// Since when the next item has been in its present state: it has begun, or has not.
    pub(super) fn stands_since(&mut self, now: Instant) -> Instant {
        let (done, runs) = (self.done, self.runs());
        match self.watch.stands {
            Some((before, ran, since)) if before == done && ran == runs => since,
            _ => {
                self.facts.watch.stands = Some((done, runs, now));
                now
            }
        }
    }

    /// When the running item has begun, as its worker has noted, but not before it was sent.
    pub(super) fn noted(&self, epoch: &Epoch) -> Instant {
        let noted = epoch.instant(self.gate().started());
        noted.map_or(self.sent, |at| at.max(self.sent))
    }

    /// When the running item has begun: as its worker has `noted`, but not before it was sent, and
    /// no later than it was `seen` to run.
    pub(super) fn started(&self, noted: Option<Instant>, seen: Instant) -> Instant {
        noted.unwrap_or(seen).max(self.sent).min(seen)
    }

    /// A plain worker has begun the next `count` items. False: there are not so many.
    pub(super) fn begins(&self, count: usize, nanos: u64) -> bool {
        let gate = self.gate();
        gate.starts(nanos);
        (0..count).all(|_| gate.pass().is_some())
    }

    /// Whether an item has begun whose result has not come.
    pub(super) fn runs(&self) -> bool {
        self.done < self.begun()
    }

    /// Until when its worker should answer how far it got, if it was asked and has not answered.
    pub(super) fn answer_due(&self) -> Option<Instant> {
        match self.recall {
            Recall::Asked(by) if self.done < self.end => Some(by),
            _ => None,
        }
    }

    /// The results of the next `count` items have come.
    pub(super) fn advance(&mut self, count: u32, now: Instant) {
        self.facts.done += count;
        self.note_answer(now);
    }

    fn note_answer(&mut self, now: Instant) {
        if self.done == self.end {
            self.facts.answered_at.get_or_insert(now);
        }
    }

    /// A plain worker has answered that it begins no more than the first `end` items: the others.
    pub(super) fn answered(&mut self, end: u32, is_first: bool, now: Instant) -> Piece {
        let piece = self.rest(end, is_first);
        self.facts.end = self.gate().recall(end, self.seal);
        self.note_answer(now);
        piece
    }

    /// A plain worker was asked to begin no more items, and should answer `by` then. False: it was
    /// asked before.
    pub(super) fn is_asked(&mut self, by: Instant) -> bool {
        let is_first = !self.recall.was_asked();
        if is_first {
            self.facts.recall = Recall::Asked(by);
        }
        is_first
    }

    /// The answer has come, and until `by` the worker should report what it has just begun. False:
    /// it was not asked.
    pub(super) fn is_answered(&mut self, by: Instant) -> bool {
        let was_asked = self.recall.was_asked();
        if was_asked {
            self.facts.recall = Recall::Answered(by);
        }
        was_asked
    }

    /// What it was asked may still be on its way, so it has time until `by`.
    pub(super) fn has_until(&mut self, by: Instant) {
        self.facts.recall.extend(by);
    }

    /// What checks of its time have shown.
    pub(super) fn watch(&mut self) -> &mut Watch {
        &mut self.facts.watch
    }

    /// How many items another worker may take over.
    pub(super) fn can_give(&self) -> u32 {
        let is_free = self.wanted && !self.recall.was_asked();
        if is_free { self.end - self.begun() } else { 0 }
    }

    /// Takes back the items from `from` on that have not begun. (Not from a plain worker.)
    /// `is_first`: it is the worker's first frame.
    pub(super) fn take_back(&mut self, from: u32, is_first: bool, now: Instant) -> Option<Piece> {
        let begun = self.begun();
        let end = self.gate().recall(from.max(begun), self.seal);
        let end = end.max(begun).min(self.end);
        let piece = (end < self.end).then(|| self.rest(end, is_first));
        if from < end {
            self.has_seen(end); // the gate has said so
        }
        self.facts.end = end;
        self.note_answer(now);
        piece
    }

    /// The items from `end` on, for another worker.
    fn rest(&self, end: u32, is_first: bool) -> Piece {
        let mut piece = self.piece.part(end as usize, self.end as usize);
        piece.moves = piece.moves.saturating_add(u32::from(is_first && end == 0));
        piece
    }
}
