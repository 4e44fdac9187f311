//! Values that are decoded elsewhere than where they were received, and what else is not the driver's to do.
//!
//! A [`Reading`] keeps the bytes, what has come along with them, and the memory that they refer to, until it is done.
//! Who does it, and when, is told in `readers`.
//!
//! Tests: `tests/process/callers.rs`.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decoder::{Place, Read, Values};
use crate::loom::Mutex;
use crate::process::payload::attachments::Bag;
use crate::process::payload::scope;
use crate::process::payload::shared_buffer::Lending;
use crate::sys::ledger::Ledger;
use crate::task::TaskError;

/// What is not the driver's to do.
pub(crate) enum Chore {
    Read(Reading),
    /// Nobody wants these.
    Drop(Values),
}

/// Values that are to be decoded.
pub(crate) struct Reading {
    pub(crate) job: u64,
    /// The index of the first item, and how many there are.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// How many of them have been decoded.
    done: usize,
    read: Read,
    /// Where they were found; `bytes` has them once they are kept.
    pub(crate) place: Range<usize>,
    bytes: Vec<u8>,
    at: usize,
    /// What came along with the first of them.
    pub(crate) bag: Bag,
    /// What is missing in the first of them, and lies in what its worker lends.
    pub(crate) lent: Vec<u64>,
    pub(crate) speaker: Option<Speaker>,
}

/// The worker that has said it.
pub(crate) struct Speaker {
    pub(crate) worker: usize,
    pub(crate) ledger: Arc<Ledger>,
    /// While it is there the worker keeps what it has lent.
    pub(crate) hold: Arc<()>,
}

/// Some of a reading, decoded.
pub(crate) struct Part {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) values: Values,
    /// Why the last of them is none.
    pub(crate) error: Option<TaskError>,
}

/// Where these bytes are.
pub(crate) fn place(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
}

impl Reading {
    /// Of no values yet.
    pub(crate) fn new(job: u64, first: usize, read: Read) -> Self {
        Self {
            job,
            first,
            count: 0,
            done: 0,
            read,
            place: 0..0,
            bytes: Vec::new(),
            at: 0,
            bag: Bag::default(),
            lent: Vec::new(),
            speaker: None,
        }
    }

    /// Copies its part of `bytes`, in which it was found.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        let start = self.place.start - place(bytes).start;
        self.bytes = bytes[start..][..self.place.len()].to_vec();
    }

    /// The same for large ones, without the copy; they were at `start`.
    pub(crate) fn keep_all(&mut self, start: usize, bytes: Vec<u8>) {
        self.at = self.place.start - start;
        self.bytes = bytes;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.done == self.count
    }

    /// Decodes some more.
    pub(crate) fn next(&mut self) -> Part {
        let (bytes, most) = (&self.bytes[self.at..], self.count - self.done);
        // (Behind it there may be others' bytes: `most` is the end.)
        let (bag, lent) = (
            std::mem::take(&mut self.bag),
            std::mem::take(&mut self.lent),
        );
        let ledger = self.speaker.as_ref().map(|speaker| &speaker.ledger);
        let list = &lent;
        let missing = Lending { list, ledger }.missing(bytes);
        let read = || (self.read)(bytes, most, Place::Elsewhere);
        let ((taken, values), bag) = scope::decoding(bag, missing, read);
        self.bag = bag;
        let first = self.first + self.done;
        self.at += taken.used;
        self.done += taken.count;
        Part {
            first,
            count: taken.count,
            values,
            error: taken.error,
        }
    }
}

/// How long a chore may wait that no reader takes until another reader is started; with two readers twice as long, with three
/// four times, and so on: so there are as many as the logarithm of the time that they are held up.
const PATIENCE: Duration = Duration::from_millis(5);

/// The readers of a pool, and what waits for them.
#[derive(Default)]
pub(crate) struct Readers(pub(crate) Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) waiting: VecDeque<Chore>,
    pub(crate) readers: u32,
    /// When a chore was last taken, or a reader was last started, or could not be.
    pub(crate) since: Option<Instant>,
}

impl State {
    /// When there should be one reader more, if what waits still does.
    pub(crate) fn due(&self) -> Option<Instant> {
        let patience = PATIENCE * (1 << self.readers.saturating_sub(1).min(16));
        Some(self.since? + patience)
    }
}

impl Readers {
    /// When the driver should look again.
    pub(crate) fn due(&self) -> Option<Instant> {
        let state = self.0.lock();
        state.due().filter(|_| !state.waiting.is_empty())
    }
}
