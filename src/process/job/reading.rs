//! Values that are not decoded by the thread that receives them, and other chores that the driver
//! must not do.
//!
//! A [`Reading`] keeps the bytes, their attachments, and the memory that they refer to, until it is
//! done. `readers` says which thread does it, and when.
//!
//! Tests: `tests/process/callers.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decoder::{DecodingThread, Read, Taken, Values};
use crate::loom::Mutex;
use crate::process::payload::attachments::{Arrivals, Descriptors};
use crate::process::payload::copies::Copies;
use crate::process::payload::depth;
use crate::process::payload::scope::{self, Decoding};
use crate::process::payload::shared_buffer::{Lending, View};
use crate::process::wire::Died;
use crate::task::panic;

/// A chore that the driver must not do itself, because it may take long or run user code.
pub(crate) enum Chore {
    Read(Reading),
    /// Drop these values, which are not wanted any more.
    Drop(Values),
}

/// What accompanies a worker's records: descriptors, and lent memory.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) arrivals: Arrivals,
    /// The copies that a plain worker sends instead of descriptors.
    pub(crate) copies: Copies,
    /// The attachments of the next value.
    pub(crate) descriptors: Descriptors,
    /// The lent numbers of the next value. (A plain worker lends nothing.)
    pub(crate) lending: Lending,
    /// How the worker has ended, if there is no process on this machine whose status tells.
    pub(crate) died: Option<Box<Died>>,
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
        self.descriptors = match self.copies.is_empty() {
            true => self.arrivals.claim(numbers),
            false => self.copies.find(numbers),
        };
        self.copies.release(numbers);
    }

    /// Drops the attachments and the lent numbers, after the value that they belong to.
    #[inline]
    pub(crate) fn forget(&mut self) {
        self.descriptors = Descriptors::default();
        self.lending.list.clear();
    }

    /// Takes the attachments and the lent numbers for the thread that decodes the value in `bytes`.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<Box<Decoding>> {
        let missing = self.lending.missing(bytes);
        Decoding::new(std::mem::take(&mut self.descriptors), missing)
    }
}

/// Values that are to be decoded.
pub(crate) struct Reading {
    pub(crate) job: u64,
    /// The index of the first item, and how many there are.
    pub(crate) first: usize,
    count: usize,
    /// How many of them have been decoded.
    done: usize,
    read: Read,
    /// Contains the values, from `at` on, and perhaps other values after them.
    bytes: Arc<Vec<u8>>,
    at: usize,
    /// What accompanied the first of them.
    beside: Option<Box<Decoding>>,
    /// The worker that sent them, and its `Extras::hold`.
    pub(crate) sender: Option<(usize, Arc<()>)>,
}

/// A decoded part of a reading.
pub(crate) struct DecodedPart {
    pub(crate) first: usize,
    pub(crate) taken: Taken,
    pub(crate) values: Values,
}

impl Reading {
    /// A reading of `count` values in `bytes` from `at` on.
    pub(crate) fn new(
        job: u64,
        first: usize,
        count: usize,
        read: Read,
        bytes: Arc<Vec<u8>>,
        at: usize,
    ) -> Self {
        Self {
            job,
            first,
            count,
            done: 0,
            read,
            bytes,
            at,
            beside: None,
            sender: None,
        }
    }

    /// Sets the worker that sent the values; `extras` accompanied the first of them.
    pub(crate) fn with(mut self, worker: usize, extras: &mut Extras) -> Self {
        self.beside = extras.take(&self.bytes[self.at..]);
        self.sender = Some((worker, extras.hold.clone()));
        self
    }

    pub(crate) fn is_over(&self) -> bool {
        self.done == self.count
    }

    /// Decodes the next part. `None`: one of its values nests more deeply than the stack of this
    /// thread, a caller's, allows.
    pub(crate) fn next(&mut self, is_caller: bool) -> Option<DecodedPart> {
        let (bytes, most) = (&self.bytes[self.at..], self.count - self.done);
        let read = || (self.read)(bytes, most, DecodingThread::Other);
        depth::was_reached(); // by something else
        let (taken, values) = scope::decoding(&mut self.beside, read);
        if is_caller && taken.error.is_some() && depth::was_reached() {
            panic::contain(|| drop((taken, values)));
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

/// How long a chore may wait for a reader before another reader is started; with two readers twice
/// as long, with three four times, and so on: so their number grows with the logarithm of the time
/// that they are blocked.
const MORE_READERS_AFTER: Duration = Duration::from_millis(5);

/// The readers of a pool, and the chores that wait for them.
#[derive(Default)]
pub(crate) struct Readers(pub(crate) Mutex<ReaderState>);

#[derive(Default)]
pub(crate) struct ReaderState {
    pub(crate) waiting: VecDeque<Chore>,
    pub(crate) readers: u32,
    /// When a chore was last taken, or a reader was last started, or could not be.
    pub(crate) since: Option<Instant>,
}

impl ReaderState {
    /// When another reader should be started, and the driver should check that; `None`: no chore
    /// waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        let patience = MORE_READERS_AFTER * (1 << self.readers.saturating_sub(1).min(16));
        let due = self.since? + patience;
        (!self.waiting.is_empty()).then_some(due)
    }
}
