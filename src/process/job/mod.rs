//! One call of `spawn`, `map` or `imap`, as the scheduler sees it, and which failure is its own.
//!
//! **Job.** Keeps the items that wait to be sent and the number of frames that were sent, and
//! decides what a failure means. There are two kinds of jobs ([`Work::each`]):
//!
//! - In a `map` the error of the lowest index is the whole job's. The items below that index still
//!   run, because one of them may fail with an index lower yet; the items above are of no interest.
//! - In an `imap` every item has its own result; an error is handed over like a value. Only a job
//!   that is cancelled as a whole has a failure, at index 0.
//!
//! A job ends when no item that matters waits or is in a sent frame.
//!
//! How often an item runs again, and after what pause: `attempted`, `pause` here; when,
//! `sched::retry`. The options of a call: `options`.
//!
//! **Invariants.**
//! - **W2** An item is in exactly one place: not yet fed, in one piece of `waiting`, in one frame
//!   that was sent, paused, or settled. Pieces move between the first two and frames by value; a
//!   frame gives back exactly the items that its gate says were recalled.
//!
//! Tests: `src/process/sched/simulated.rs`.

pub(super) mod encoded;
pub(super) mod failed_item;
pub(super) mod item_id;
pub(super) mod job_id;
mod options;
pub(super) mod reading;
pub(super) mod results;
pub(super) mod running_hook;
pub(super) mod slot_id;

use std::any::TypeId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::value::chunk::{Chunk, Piece};
use super::value::portable::Portable;
use super::wire::CodeRef;
use crate::chaos;
use crate::events::Items;
use crate::loom::atomic::Ordering;
use crate::task::{TaskError, panic};
use results::{CallTypes, Sink, Values};
use running_hook::RunningHook;

pub(crate) use options::CallOptions;

/// A call that every new worker makes before all others.
#[derive(Clone, Debug)]
pub(crate) struct Initializer {
    pub(crate) code: CodeRef,
    /// Its one argument.
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) type_name: &'static str,
}

/// What `map_with` sends to a worker before its first item.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The encoded context, as one item.
    pub(crate) piece: Piece,
    pub(crate) type_name: &'static str,
}

/// The work of a job, and its options.
pub(crate) struct Work {
    pub(crate) code: CodeRef,
    pub(crate) types: &'static CallTypes,
    pub(crate) sink: Box<dyn Sink>,
    /// Every item has its own result.
    pub(crate) each: bool,
    /// It has many items, and an error has the index of its item.
    pub(crate) numbered: bool,
    pub(crate) options: CallOptions,
    /// A hook may get its items that fail.
    pub(crate) is_reported: bool,
    /// Counts the items of a `map` or an `imap` for those who look at it.
    pub(crate) items: Option<Items>,
}

impl Work {
    /// The work of calls from `A` to `R`.
    pub(crate) fn new<A, R: Portable>(
        code: CodeRef,
        sink: Box<dyn Sink>,
        options: CallOptions,
    ) -> Self {
        Self {
            code,
            types: CallTypes::of::<A, R>(),
            sink,
            each: false,
            numbered: false,
            options,
            is_reported: RunningHook::here().is_none(),
            items: None,
        }
    }

    /// The call's name, or else its function's type.
    #[cfg(feature = "tracing")]
    pub(crate) fn label(&self) -> std::borrow::Cow<'_, str> {
        match (&self.options.name, (self.types.names)()) {
            (Some(name), _) => name.into(),
            (None, (argument, result)) => format!("fn({argument}) -> {result}").into(),
        }
    }

    pub(crate) fn context(&self) -> Option<&Context> {
        self.options.context.as_deref()
    }
}

/// One call of `spawn`, `map` or `imap`.
pub(crate) struct Job {
    pub(crate) work: Work,
    waiting: Waiting,
    /// How many sent frames have results that matter. (What runs, wanted or not, is in the frames
    /// of the workers.)
    pub(crate) wanted_frames: u32,
    /// The index after the last item that has been fed.
    pub(crate) fed: usize,
    /// How many items have been fed and have not ended.
    pub(crate) pending: u64,
    /// Nothing more will be fed.
    pub(crate) sealed: bool,
    /// It is in the scheduler's queue.
    pub(crate) queued: bool,
    /// Its failure is that all of it was cancelled. (Many may be at once: it takes no memory.)
    cancelled: bool,
    unusual: Option<Box<Unusual>>,
    /// Its number, for accidents on purpose.
    pub(crate) chaos: chaos::Number,
}

/// The items that have not been sent, in the order in which they will be. (Most jobs have one
/// piece, and many of them may wait.)
#[derive(Default)]
struct Waiting {
    first: Option<Piece>,
    #[expect(
        clippy::box_collection,
        reason = "most jobs have one piece: eight bytes for thirty-two"
    )]
    others: Option<Box<VecDeque<Piece>>>,
}

impl Waiting {
    fn iter(&self) -> impl Iterator<Item = &Piece> {
        let others = self.others.as_deref().map(VecDeque::iter);
        self.first.iter().chain(others.unwrap_or_default())
    }

    fn push_back(&mut self, piece: Piece) {
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.others.get_or_insert_default().push_back(piece);
        }
    }

    fn push_front(&mut self, piece: Piece) {
        if let Some(second) = self.first.replace(piece) {
            self.others.get_or_insert_default().push_front(second);
        }
    }

    fn pop_front(&mut self) -> Option<Piece> {
        let next = self.others.as_mut().and_then(|others| others.pop_front());
        std::mem::replace(&mut self.first, next)
    }

    /// Drops the items from `limit` on.
    fn cut_off(&mut self, limit: usize) {
        let mut before = std::mem::take(self);
        while let Some(piece) = before.pop_front() {
            if let Some(piece) = below(piece, limit) {
                self.push_back(piece);
            }
        }
    }
}

/// The items of `piece` before `limit`.
fn below(piece: Piece, limit: usize) -> Option<Piece> {
    let count = limit.saturating_sub(piece.first()).min(piece.len());
    (count > 0).then(|| piece.part(0, count))
}

/// What most jobs never have.
#[derive(Default)]
struct Unusual {
    failure: Option<(usize, TaskError)>,
    /// The first indices of the readings that are being decoded, and the items that have failed
    /// and whose errors are not complete.
    readings: Vec<usize>,
    /// How many of these have failed.
    failing: u64,
    /// A thread is to end it that may drop its values.
    is_handed_over: bool,
    /// Items that pause before they run again, and are kept elsewhere (`sched::retry`).
    paused: Vec<usize>,
    /// How often items were started that have cost a worker, or too much time.
    starts: HashMap<usize, u32>,
}

impl Job {
    /// (In a box: it is moved often, and many may wait, in messages and in a table with free room.)
    pub(crate) fn new(work: Work) -> Box<Self> {
        Box::new(Self {
            work,
            waiting: Waiting::default(),
            wanted_frames: 0,
            fed: 0,
            pending: 0,
            sealed: false,
            queued: false,
            cancelled: false,
            unusual: None,
            chaos: chaos::next_call(),
        })
    }

    /// Whether it is one call of one item.
    pub(crate) fn is_one(&self) -> bool {
        !self.work.numbered && !self.work.each
    }

    /// The `error` of the item at `index`, which it names if there are several, and which knows how
    /// often the item was started in vain.
    pub(crate) fn error_of(&self, index: usize, mut error: TaskError) -> TaskError {
        if let TaskError::WorkerDied(exit) = &mut error {
            exit.attempts = exit.attempts.max(self.starts(index));
        }
        if self.is_one() {
            error
        } else {
            error.with_item(index)
        }
    }

    /// The items from this index on are of no interest.
    pub(crate) fn limit(&self) -> usize {
        self.failure().map_or(usize::MAX, |failure| failure.0)
    }

    fn failure(&self) -> Option<(usize, &TaskError)> {
        if self.cancelled {
            return Some((0, &TaskError::Cancelled));
        }
        let (index, error) = self.unusual.as_ref()?.failure.as_ref()?;
        Some((*index, error))
    }

    /// The item at this index has failed, and a thread completes its error.
    pub(crate) fn begins_to_fail(&mut self, at: usize) {
        self.reads(at);
        self.unusual.get_or_insert_default().failing += 1;
    }

    /// It has done that.
    pub(crate) fn has_failed_at(&mut self, at: usize) {
        self.has_read(at);
        if let Some(unusual) = &mut self.unusual {
            unusual.failing = unusual.failing.saturating_sub(1);
        }
    }

    /// Whether all that has not ended of it are items that have failed.
    pub(crate) fn only_fails(&self) -> bool {
        let failing = self.unusual.as_ref().map_or(0, |own| own.failing);
        failing > 0 && self.sealed && self.pending <= failing
    }

    /// A thread decodes the values of the items from `first` on.
    pub(crate) fn reads(&mut self, first: usize) {
        self.unusual.get_or_insert_default().readings.push(first);
    }

    /// It has done that.
    pub(crate) fn has_read(&mut self, first: usize) {
        if let Some(unusual) = &mut self.unusual
            && let Some(one) = unusual.readings.iter().position(|at| *at == first)
        {
            unusual.readings.swap_remove(one);
        }
    }

    /// Whether a thread does that for some item.
    pub(crate) fn is_read(&self) -> bool {
        (self.unusual.as_ref()).is_some_and(|own| !own.readings.is_empty())
    }

    /// Whether a thread is to end it that may drop its values.
    pub(crate) fn hand_over(&mut self, is_handed_over: bool) {
        self.unusual.get_or_insert_default().is_handed_over = is_handed_over;
    }

    /// Adds items that were not sent before.
    pub(crate) fn feed(&mut self, piece: Piece) {
        self.fed = piece.first() + piece.len();
        self.pending += piece.len() as u64;
        if let Some(piece) = self.wanted(piece) {
            self.waiting.push_back(piece);
        }
    }

    /// How many items wait, but at most `most`, so that not all pieces need to be counted.
    pub(crate) fn items(&self, most: usize) -> usize {
        let mut items = 0;
        for piece in self.waiting.iter() {
            items += piece.len();
            if items >= most {
                return most;
            }
        }
        items
    }

    /// Puts back items that were sent and did not run.
    pub(crate) fn put_back(&mut self, piece: Piece) {
        if let Some(piece) = self.wanted(piece) {
            self.waiting.push_front(piece);
        }
    }

    /// The item at `index` was running when its worker died, or it has timed out. Whether it may be
    /// started again.
    pub(crate) fn attempted(&mut self, index: usize) -> bool {
        let most = self.work.options.retry;
        if most == 0 {
            return false;
        }
        let starts = &mut self.unusual.get_or_insert_default().starts;
        let starts = starts.entry(index).or_default();
        *starts = starts.saturating_add(1);
        *starts <= most
    }

    /// How often the item at `index` was started in vain, if it may be started again.
    pub(crate) fn starts(&self, index: usize) -> u32 {
        let starts = self.unusual.as_ref().and_then(|own| own.starts.get(&index));
        starts.copied().unwrap_or(0)
    }

    /// The item at `index` will be retried. Returns the pause before that.
    pub(crate) fn pause(&mut self, index: usize) -> Duration {
        let before = self.starts(index).saturating_sub(1);
        let paused = &mut self.unusual.get_or_insert_default().paused;
        if !paused.contains(&index) {
            paused.push(index);
        }
        let times = 1u32.checked_shl(before).unwrap_or(u32::MAX);
        self.work.options.backoff.saturating_mul(times)
    }

    /// The pause of an item is over.
    pub(crate) fn resume(&mut self, piece: Piece) {
        if let Some(unusual) = &mut self.unusual {
            unusual.paused.retain(|at| *at != piece.first());
        }
        self.put_back(piece);
    }

    fn wanted(&self, piece: Piece) -> Option<Piece> {
        below(piece, self.limit())
    }

    /// Counts items that have ended, in a value or in an error of their own.
    pub(crate) fn answer(&mut self, items: u64) {
        self.pending = self.pending.saturating_sub(items);
        if let Some(counter) = &self.work.options.counter {
            counter.fetch_add(items, Ordering::Relaxed);
        }
        if let Some(counted) = &self.work.items {
            counted.add(items as usize);
        }
    }

    /// Takes out all items that wait: they will not be sent.
    pub(crate) fn abandon(&mut self) -> Vec<Piece> {
        std::iter::from_fn(|| self.waiting.pop_front()).collect()
    }

    /// Takes out the items for the next frame.
    pub(crate) fn cut(&mut self, most: usize, most_bytes: usize) -> Option<Piece> {
        let front = self.waiting.first.as_mut()?;
        let piece = front.cut(most, most_bytes);
        if front.len() == 0 {
            self.waiting.pop_front();
        }
        Some(piece)
    }

    /// Whether `items` have ends of channels, or the context has.
    pub(crate) fn has_ends(&self, items: Option<&Piece>) -> bool {
        let context = self.work.context().map(|context| &context.piece);
        context.into_iter().chain(items).any(Piece::has_ends)
    }

    /// The items that are sent next.
    pub(crate) fn next_piece(&self) -> Option<&Piece> {
        self.waiting.first.as_ref()
    }

    /// Whether the next waiting item is larger than `most` bytes, or has attachments, or its
    /// context has and its worker does not have that.
    pub(crate) fn is_heavy(&self, has_context: bool, most: usize) -> bool {
        let context = self.work.context().filter(|_| !has_context);
        let pieces = context.map(|context| &context.piece);
        let mut pieces = pieces.into_iter().chain(self.waiting.first.as_ref());
        pieces.any(|piece| piece.is_heavy(most))
    }

    /// The lowest index that waits, has not been fed yet, or will be retried.
    pub(crate) fn first_missing(&self) -> Option<usize> {
        let mut first = if self.sealed { usize::MAX } else { self.fed };
        for piece in self.waiting.iter() {
            first = first.min(piece.first());
        }
        for at in self.unusual.iter().flat_map(|own| &own.paused) {
            first = first.min(*at);
        }
        (first < usize::MAX).then_some(first)
    }

    /// The item at `index` has ended in `error`. True if that lowered the limit.
    pub(crate) fn fail(&mut self, index: usize, error: TaskError) -> bool {
        if index >= self.limit() {
            panic::contain(|| drop(error));
            return false;
        }
        self.cancelled = index == 0 && matches!(error, TaskError::Cancelled);
        let before = if self.cancelled {
            let unusual = self.unusual.as_mut();
            unusual.and_then(|unusual| unusual.failure.take())
        } else {
            let unusual = self.unusual.get_or_insert_default();
            unusual.failure.replace((index, error))
        };
        self.waiting.cut_off(index);
        // The payload of a panic while a result was decoded may have a destructor.
        panic::contain(|| drop(before));
        true
    }

    /// Whether every result that matters has arrived.
    pub(crate) fn is_settled(&self) -> bool {
        let (limit, unusual) = (self.limit(), self.unusual.as_deref());
        let is_handed_over = unusual.is_some_and(|own| own.is_handed_over);
        let comes = |own: &Unusual| own.readings.iter().chain(&own.paused).any(|at| *at < limit);
        self.wanted_frames == 0
            && self.waiting.first.is_none()
            && (self.sealed && !is_handed_over || self.has_failed())
            && !unusual.is_some_and(comes)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.failure(), Some((_, TaskError::Cancelled)))
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// The type of its results.
    pub(crate) fn result_type(&self) -> TypeId {
        (self.work.types.result_type)()
    }

    /// Whether it holds values, whose destructors are user code.
    pub(crate) fn holds(&self) -> bool {
        !self.work.types.is_quick && self.work.sink.holds()
    }

    /// Ends the task. Returns the values that are not part of the result, whose destructors are
    /// user code.
    pub(crate) fn finish(self) -> Option<Values> {
        let cancelled = self.cancelled.then_some(TaskError::Cancelled);
        let failure = cancelled.or_else(|| Some(self.unusual?.failure?.1));
        let mut unwanted = None;
        panic::contain(|| unwanted = self.work.sink.finish(failure));
        unwanted
    }
}
