//! What the driver leaves to other threads, and when one more of them is started.
//!
//! A [`Reading`] keeps the bytes, their attachments, and the memory that they refer to, until it is
//! done. `readers` says which thread does it, and when.
//!
//! Tests: `tests/process/callers.rs`.

use crate::process::job::job_id::JobId;
use crate::process::job::slot_id::SlotId;
use std::any::TypeId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::failed_item::FailedItem;
#[cfg(feature = "backtrace")]
use super::item_id::ItemId;
use super::results::{DecodingThread, Read, Taken, Values};
use crate::loom::Mutex;
use crate::process::limits::{MORE_READERS_AFTER, MOST_READERS};
use crate::process::value::attachments::{Arrivals, Descriptors};
use crate::process::value::chunk::Piece;
use crate::process::value::copies::Copies;
use crate::process::value::depth_limit;
use crate::process::value::lent_arrays::{Lending, View};
use crate::process::value::scope::{self, Decoding};
use crate::process::wire::ForkAnswer;
#[cfg(feature = "backtrace")]
use crate::task::TaskError;
use crate::task::panic;

/// A chore that the driver must not do itself, because it may take long or run user code.
pub(crate) enum Chore {
    Read(Reading),
    /// End this job, which has results of a type.
    Finish(TypeId, JobId),
    /// Call the hook that gets an item that has failed.
    Fail(Box<FailedItem>),
    /// Wait for the names in the error of an item.
    #[cfg(feature = "backtrace")]
    Name(Naming),
    /// Drop these values of results of a type, which are not wanted any more.
    Drop(TypeId, Values),
}

impl Chore {
    /// The type of the results.
    fn result_type(&self) -> TypeId {
        match self {
            Self::Read(reading) => reading.result_type,
            Self::Finish(result_type, _) | Self::Drop(result_type, _) => *result_type,
            // These have no results.
            Self::Fail(_) => TypeId::of::<FailedItem>(),
            #[cfg(feature = "backtrace")]
            Self::Name(_) => TypeId::of::<Naming>(),
        }
    }

    /// The job whose caller may carry it out.
    pub(crate) fn caller(&self) -> Option<JobId> {
        match self {
            Self::Read(reading) => (!reading.is_deep).then_some(reading.job),
            Self::Finish(_, job) => Some(*job),
            Self::Fail(_) | Self::Drop(..) => None,
            #[cfg(feature = "backtrace")]
            Self::Name(_) => None,
        }
    }

    /// No thread can carry it out but one that may not wait.
    pub(crate) fn give_up(&mut self) {
        match self {
            Self::Fail(failed) => failed.is_given_up = true,
            #[cfg(feature = "backtrace")]
            Self::Name(naming) => naming.is_given_up = true,
            Self::Read(_) | Self::Finish(..) | Self::Drop(..) => {}
        }
    }
}

/// An item that has failed, whose error is held back until the names in it are known.
#[cfg(feature = "backtrace")]
pub(crate) struct Naming {
    pub(crate) item: ItemId,
    pub(crate) error: TaskError,
    /// No thread can wait for the names.
    pub(crate) is_given_up: bool,
}

#[cfg(feature = "backtrace")]
impl Naming {
    pub(crate) fn wait(self) -> TaskError {
        if !self.is_given_up {
            self.error.wait_for_names();
        }
        self.error
    }
}

/// What accompanies a worker's records: descriptors, and lent memory.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) arrivals: Arrivals,
    /// What was sent ahead of the next value.
    pub(crate) copies: Copies,
    /// The attachments of the next value.
    pub(crate) descriptors: Descriptors,
    /// The lent numbers of the next value. (A plain worker lends nothing.)
    pub(crate) lending: Lending,
    /// Passes its events on.
    #[cfg(feature = "tracing")]
    pub(crate) events: Option<crate::process::observe::forward_events::WorkerEvents>,
    /// The worker itself has the other end of the stream.
    pub(crate) is_direct: bool,
    /// The tree of its own tasks: text, and JSON.
    #[cfg(feature = "inspect")]
    pub(crate) tree: Option<(Box<str>, Box<str>)>,
    /// What a fork server has answered.
    pub(crate) forked: Vec<ForkAnswer>,
    /// Held by other threads while they decode from memory that the worker has lent.
    pub(crate) hold: Arc<()>,
}

impl Extras {
    pub(crate) fn new(view: Option<View>) -> Self {
        let mut extras = Self::default();
        extras.lending.view = view.map(Arc::new);
        extras
    }

    /// The next value has the attachments with these numbers.
    pub(crate) fn claim(&mut self, numbers: &[u64]) {
        // (A plain worker has sent copies of them. Another sends arrays ahead, and no memory.)
        self.descriptors = if self.copies.has_memory() {
            self.copies.find(numbers)
        } else {
            self.arrivals.claim(numbers)
        };
        self.copies.release(numbers);
    }

    /// Drops the attachments and the arrays, after the value that they belong to.
    #[inline]
    pub(crate) fn forget(&mut self) {
        self.descriptors = Descriptors::default();
        self.lending.list.clear();
        if !self.copies.is_empty() {
            self.copies = Copies::default();
        }
    }

    /// Takes the attachments and the arrays for the thread that decodes the value in `bytes`.
    pub(crate) fn decoding(&mut self, bytes: &[u8]) -> Option<Box<Decoding>> {
        let missing = self.lending.missing(bytes, &mut self.copies);
        Decoding::new(std::mem::take(&mut self.descriptors), missing)
    }
}

/// Values that are to be decoded.
pub(crate) struct Reading {
    pub(crate) job: JobId,
    /// The type of the values.
    pub(crate) result_type: TypeId,
    /// A value nests more deeply than a caller's stack allows.
    pub(crate) is_deep: bool,
    /// The index of the first item, and how many there are.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// How many of them have been decoded.
    pub(crate) done: usize,
    pub(crate) read: Read,
    /// Contains the values, from `at` on, and perhaps other values after them.
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) at: usize,
    /// What accompanied the first of them.
    pub(crate) decoding: Option<Box<Decoding>>,
    /// The worker that sent them, and its `Extras::hold`.
    pub(crate) sender: Option<(SlotId, Arc<()>)>,
    /// The items of their frame, if a hook gets those that fail.
    pub(crate) piece: Option<Piece>,
}

/// A decoded part of a reading.
pub(crate) struct DecodedPart {
    pub(crate) first: usize,
    pub(crate) taken: Taken,
    pub(crate) values: Values,
}

impl Reading {
    pub(crate) fn is_over(&self) -> bool {
        self.done == self.count
    }

    /// Decodes the next part. `None`: one of its values nests more deeply than the stack of this
    /// thread, a caller's, allows.
    pub(crate) fn next(&mut self, is_caller: bool) -> Option<DecodedPart> {
        let (bytes, most) = (&self.bytes[self.at..], self.count - self.done);
        let read = || (self.read)(bytes, most, DecodingThread::Other);
        depth_limit::was_reached(); // by something else
        let (taken, values) = scope::decoding(&mut self.decoding, read);
        if is_caller && taken.error.is_some() && depth_limit::was_reached() {
            panic::contain(|| drop((taken, values)));
            self.is_deep = true;
            return None;
        }
        let first = self.first + self.done;
        self.at += taken.used;
        self.done += taken.count;
        Some(DecodedPart {
            first,
            taken,
            values,
        })
    }
}

/// The readers of a pool, the chores that wait for them, and the callers that wait for chores.
#[derive(Default)]
pub(crate) struct Readers(pub(crate) Mutex<ReaderState>);

#[derive(Default)]
pub(crate) struct ReaderState {
    /// The chores that wait, by the type of the results.
    queues: HashMap<TypeId, ReaderQueue>,
    /// Those that a caller may carry out, by their jobs.
    of_callers: HashMap<JobId, VecDeque<Chore>>,
    /// The callers that sleep until their job ends.
    asleep: HashMap<JobId, Waker>,
}

/// What waits in a queue.
enum Waiting {
    /// One of this job, unless its caller has taken it.
    Of(JobId),
    Chore(Chore),
}

/// The chores of one type of result.
struct ReaderQueue {
    waiting: VecDeque<Waiting>,
    readers: u32,
    /// When a chore was last taken, or a reader was last started, or could not be.
    since: Instant,
}

impl ReaderQueue {
    /// When another reader should be started; `None`: it should not.
    fn due(&self) -> Option<Instant> {
        let waits = !self.waiting.is_empty() && self.readers < MOST_READERS;
        waits.then(|| self.since + MORE_READERS_AFTER * self.readers)
    }
}

impl ReaderState {
    /// Adds a chore. Returns the waker of the caller that must carry it out, if that sleeps.
    pub(crate) fn add(&mut self, chore: Chore, now: Instant) -> Option<Waker> {
        let result_type = chore.result_type();
        let waiting = match chore.caller() {
            Some(job) => {
                self.of_callers.entry(job).or_default().push_back(chore);
                if let Some(caller) = self.asleep.remove(&job) {
                    return Some(caller);
                }
                Waiting::Of(job)
            }
            None => Waiting::Chore(chore),
        };
        let new = || ReaderQueue {
            waiting: VecDeque::new(),
            readers: 0,
            since: now,
        };
        let queue = self.queues.entry(result_type).or_insert_with(new);
        queue.waiting.push_back(waiting);
        None
    }

    /// Takes a chore that the job's caller may carry out.
    pub(crate) fn take(&mut self, job: JobId) -> Option<Chore> {
        let own = self.of_callers.get_mut(&job)?;
        let chore = own.pop_front();
        if own.is_empty() {
            self.of_callers.remove(&job);
        }
        chore
    }

    /// A caller sleeps until its job ends, or has a chore.
    pub(crate) fn sleeps(&mut self, job: JobId, caller: Waker) {
        self.asleep.insert(job, caller);
    }

    /// The caller does not wait any more. Its chores wait for readers.
    pub(crate) fn stops_waiting(&mut self, job: JobId) -> Vec<Chore> {
        self.asleep.remove(&job);
        let mut left = Vec::new();
        while let Some(chore) = self.take(job) {
            left.push(chore);
        }
        left
    }

    /// For a reader of this type: takes the next chore. `None`: there is none, and the reader ends.
    pub(crate) fn next(&mut self, result_type: TypeId, now: Instant) -> Option<Chore> {
        while let Some(queue) = self.queues.get_mut(&result_type)
            && let Some(waiting) = queue.waiting.pop_front()
        {
            queue.since = now;
            let chore = match waiting {
                Waiting::Chore(chore) => Some(chore),
                Waiting::Of(job) => self.take(job),
            };
            if chore.is_some() {
                return chore;
            }
        }
        let queue = self.queues.get_mut(&result_type)?;
        queue.readers -= 1;
        if queue.readers == 0 {
            self.queues.remove(&result_type);
        }
        None
    }

    /// The types that should get another reader now; they count as having it.
    pub(crate) fn more(&mut self, now: Instant) -> Vec<TypeId> {
        let mut more = Vec::new();
        for (result_type, queue) in &mut self.queues {
            if queue.due().is_some_and(|due| due <= now) {
                queue.since = now;
                queue.readers += 1;
                more.push(*result_type);
            }
        }
        more
    }

    /// The reader that this type was to get could not be started. If it would have been the only
    /// one, returns a chore that the caller must carry out.
    pub(crate) fn gives_up(&mut self, result_type: TypeId, now: Instant) -> Option<Chore> {
        let queue = self.queues.get_mut(&result_type)?;
        queue.readers -= 1;
        if queue.readers > 0 {
            return None;
        }
        queue.readers = 1;
        let chore = self.next(result_type, now)?;
        if let Some(queue) = self.queues.get_mut(&result_type) {
            queue.readers = 0;
        }
        Some(chore)
    }

    /// When another reader should be started, and the driver should check that.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.queues.values().filter_map(ReaderQueue::due).min()
    }
}
