//! `RangeMut`: a part of a shared array, for one item.
//!
//! **Job.** It has the numbers of its range in memory of its own, from when they are first
//! borrowed, and writes them to the array when it is dropped. `lent_ranges` has the protocol. In an
//! argument it is encoded as the number of the array's descriptor, and where its numbers and its
//! mark are.
//!
//! Tests: `tests/process/shared_mut.rs`.

use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, OnceLock};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lent_ranges::Round;
use super::raw_plain::Plain;
use super::reason;
use super::scope;
use crate::task::CancelToken;

/// A range of a [`SharedMut`](crate::SharedMut): the argument, or a part of the argument, of the
/// item that writes it.
///
/// It can be used as a `&mut [T]`. When it is dropped, its numbers are written to the array, and
/// the range counts as written. That does not happen
///
/// - if it was never borrowed as a slice, or was [discarded](Self::discard),
/// - if its item panics, or was cancelled or has timed out when it is dropped,
/// - if the array has been looked at since it was given.
///
/// Borrow it once, not for each number: `for x in part.iter_mut()`, or `let part = &mut *part;`.
///
/// It is an argument for worker processes, and can be used in the same way on the threads of the
/// process that has the array, in a [`ThreadPool`](crate::ThreadPool) for example. Drop it in its
/// call: what is left behind in a worker has not been written.
///
/// ```
/// use trefoil::{ProcessPool, RangeMut, SharedMut};
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(1)?;
/// let mut numbers = SharedMut::<u32>::new(6)?;
/// procs.map(numbers.chunks(3)?, |mut part: RangeMut<u32>| {
///     let first = part.range().start as u32;
///     part.fill(first);
/// })?;
/// assert_eq!(numbers[..], [0, 0, 0, 3, 3, 3]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
/// The first borrow copies the range into memory of this process; the drop copies it back, if it
/// was borrowed mutably. That is about as fast as copying memory. Only the item's own range is in
/// memory twice, while the item runs.
///
/// # Panics
/// The first borrow panics if there is no memory for the numbers, or if an earlier attempt at the
/// same item ([`retry`](crate::ProcessCall::retry)) has begun to write them. The drop panics if the
/// numbers cannot be written because there is no memory.
///
/// # Errors
/// It can be sent in the argument of a call only, once, and before it is borrowed mutably:
/// everything else is an error of the call, also a `map` with [`hedge`](crate::ProcessCall::hedge), and
/// [plain workers](crate::ProcessPoolBuilder::plain_workers).
pub struct RangeMut<T: Plain> {
    round: Arc<Round>,
    range: Range<usize>,
    mark: u64,
    /// Its numbers, once they have been borrowed.
    numbers: OnceLock<Vec<T>>,
    has_changed: bool,
    /// It was sent: another process has it.
    sent: OnceLock<()>,
}

impl<T: Plain> RangeMut<T> {
    pub(super) fn new(round: Arc<Round>, range: Range<usize>, mark: u64) -> Self {
        Self {
            round,
            range,
            mark,
            numbers: OnceLock::new(),
            has_changed: false,
            sent: OnceLock::new(),
        }
    }

    /// Where in the array it is, in elements.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Drops it without writing anything: the range counts as not written.
    pub fn discard(mut self) {
        let _ = self.sent.set(());
        self.numbers.take();
    }

    /// Reads its numbers, if that has not been done.
    #[track_caller]
    fn read(&self) {
        if self.numbers.get().is_none() {
            match self.round.read(&self.range, self.mark) {
                Ok(numbers) => drop(self.numbers.set(numbers)),
                Err(error) => panic!("cannot read a range of a `SharedMut`: {error}"),
            }
        }
    }
}

impl<T: Plain> Deref for RangeMut<T> {
    type Target = [T];

    #[track_caller]
    fn deref(&self) -> &[T] {
        self.read();
        self.numbers.get().map_or(&[], Vec::as_slice)
    }
}

impl<T: Plain> DerefMut for RangeMut<T> {
    #[track_caller]
    fn deref_mut(&mut self) -> &mut [T] {
        self.read();
        self.has_changed = true;
        self.numbers.get_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

impl<T: Plain> Drop for RangeMut<T> {
    fn drop(&mut self) {
        if self.sent.get().is_some() || self.round.is_foreign() {
            return;
        }
        let Some(numbers) = self.numbers.get() else {
            return self.round.give_back(&self.range);
        };
        if std::thread::panicking() || CancelToken::current().is_cancelled() {
            return;
        }
        let place = (self.range.start, self.mark);
        match self.round.write(place, numbers, self.has_changed) {
            // The array has been looked at, and has this range in its list.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => panic!("cannot write a range of a `SharedMut`: {error}"),
            Ok(()) => {}
        }
    }
}

impl<T: Plain> Serialize for RangeMut<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = scope::attach_for_one(&self.round.attachment).map_err(S::Error::custom)?;
        if self.has_changed || self.sent.set(()).is_err() {
            return Err(S::Error::custom(reason::set(
                "a `RangeMut` can be sent once, and not after it has been borrowed mutably",
            )));
        }
        let Range { start, end } = self.range;
        (id, self.round.marks, start, end, self.mark).serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for RangeMut<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, marks, start, end, mark): (u64, u64, usize, usize, u64) =
            Deserialize::deserialize(deserializer)?;
        let round = Round::arrived(id, marks).map_err(D::Error::custom)?;
        Ok(Self::new(round, start..end, mark))
    }
}

debug!(impl<T: Plain> RangeMut<T>, self, range = self.range);
