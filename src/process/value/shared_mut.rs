//! `SharedMut`: an array that worker processes write where it is.
//!
//! **Job.** The numbers are in one of three places: in a vector of this process; in a memory file
//! that others write to (`lent_ranges`), and that nobody borrows; or in the same file, once it is
//! sealed, and mapped here for reading. [`look`](SharedMut::look) is the step from the second to
//! the third, [`open`](SharedMut::open) the one back, for which the numbers are copied to another
//! file.
//!
//! **What is borrowed here never changes.** Either it is a vector, or a mapping of a file that is
//! sealed for ever against writing, like that of a [`Shared`] (H61). There is no moment at which a
//! worker could write to what is borrowed, whatever it does.
//!
//! Which ranges overlap, and which are unwritten or torn: `lent_ranges`. When an item writes its
//! range: `range_mut`.
//!
//! Tests: `tests/process/shared_mut.rs`.

use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, OnceLock};

use super::lent_ranges::{Gaps, Round, invalid};
use super::mapped::Mapped;
use super::range_mut::RangeMut;
use super::raw_plain::{MappedSlice, Plain};
use super::shared::{Shared, Storage};

/// An array of [plain numbers](crate::process::Plain) that worker processes write in place.
///
/// Each item of a call gets a range of it ([`RangeMut`]), by [`chunks`](Self::chunks),
/// [`rows`](Self::rows), [`ranges`](Self::ranges) or [`range`](Self::range). No two ranges that are
/// out overlap, which is checked before anything is sent. The workers write the numbers to their
/// place in shared memory; results of calls are not needed for that, and the numbers pass through
/// no socket. Afterwards this process has the array without a copy.
///
/// ```
/// use trefoil::{ProcessPool, RangeMut, SharedMut};
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// let mut squares = SharedMut::<u64>::new(10_000)?;
/// procs.map(squares.chunks(1000)?, |mut part: RangeMut<u64>| {
///     let first = part.range().start as u64;
///     for (n, square) in (first..).zip(part.iter_mut()) {
///         *square = n * n;
///     }
/// })?;
/// assert_eq!(squares[77], 5929);
/// assert!(squares.unwritten().is_empty());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Looking ends it
/// To borrow the numbers, as a slice or by any method of slices, is to *look*, and so is to ask for
/// the [`unwritten`](Self::unwritten) or [`torn`](Self::torn) ranges. From then on nobody
/// writes to the array: the kernel refuses it. A range that has not been written by then stays as
/// it was, and is in the list of [`unwritten`](Self::unwritten) ranges; the item that has it may
/// end well, but writes nothing. So look when the call has ended. Then it can be given out again.
/// No look waits for anybody.
///
/// # What a failure leaves
/// An item writes its whole range when it drops its [`RangeMut`], not before. So if before that its
/// worker dies, or the item panics, is cancelled or runs out of time, the range has the numbers
/// that it had before, and is `unwritten`. (A worker that is killed at the very moment at which it
/// writes leaves some of both: [`torn`](Self::torn) lists such ranges.)
///
/// For the same reason each attempt of an item with [`retry`](crate::ProcessCall::retry) begins
/// with the numbers that were there when the range was given, even if it changes them in place. If
/// an attempt has begun to write before its worker died, the next one fails instead.
///
/// # Cost
/// A worker copies its range out of the array and back. To give out ranges after a look copies the
/// whole array once, because what was looked at can never change again; several calls without a
/// look between them copy nothing. [`from`](Self::from) copies the vector when the first range is
/// given. An array takes one descriptor, and a byte for each range that is out.
///
/// # Where it works
/// With worker processes on this machine, on Linux. With
/// [plain workers](crate::ProcessPoolBuilder::plain_workers), those on other machines and systems
/// included, the call fails with [`TaskError::Codec`](crate::TaskError::Codec), because only bytes
/// can be sent to them: send a [`Bulk`](crate::Bulk), and return it. On threads of this process it
/// works everywhere. The array itself cannot be sent; `Shared::from(array)` can, and is no copy.
pub struct SharedMut<T: Plain> {
    len: usize,
    /// Where the numbers are, if `seen` is empty.
    round: Option<Arc<Round>>,
    seen: OnceLock<Seen<T>>,
}

/// The numbers, as this process sees them; and what has not been written of what was given out.
struct Seen<T> {
    numbers: Storage<T>,
    missing: Gaps,
}

impl<T> From<Vec<T>> for Seen<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self {
            numbers: Storage::Own(Arc::new(numbers)),
            missing: Gaps::default(),
        }
    }
}

impl<T: Plain> SharedMut<T> {
    /// An array of `len` zeros. It takes no memory until something is written.
    ///
    /// # Errors
    /// If this machine does not have so much memory, or the process no descriptor.
    pub fn new(len: usize) -> io::Result<Self> {
        Ok(Self {
            len,
            round: Some(Arc::new(Round::new::<T>(len)?)),
            seen: OnceLock::new(),
        })
    }

    /// How many numbers it has. (This is not a look, unlike the methods of the slice.)
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives out the whole array in ranges of `size` numbers, each for an item; the last one may be
    /// shorter.
    ///
    /// # Errors
    /// As [`ranges`](Self::ranges); and if `size` is 0.
    pub fn chunks(&mut self, size: usize) -> io::Result<Vec<RangeMut<T>>> {
        if size == 0 {
            return Err(invalid("a range of 0 numbers has no end".to_owned()));
        }
        let end = |start: usize| start.saturating_add(size).min(self.len);
        let all: Vec<_> = (0..self.len).step_by(size).map(|at| at..end(at)).collect();
        self.ranges(all)
    }

    /// Gives out the whole array in rows of `width` numbers, each for an item.
    ///
    /// # Errors
    /// As [`ranges`](Self::ranges); and if the array is not a whole number of rows.
    pub fn rows(&mut self, width: usize) -> io::Result<Vec<RangeMut<T>>> {
        if !self.len.is_multiple_of(width) {
            let message = format!("{} numbers are no rows of {width}", self.len);
            return Err(invalid(message));
        }
        self.chunks(width)
    }

    /// Gives out these ranges, each for an item.
    ///
    /// A range is out until it has been written, or its [`RangeMut`] was dropped without having
    /// been sent, borrowed or discarded, or until the next look.
    ///
    /// ```
    /// use trefoil::SharedMut;
    ///
    /// let mut array = SharedMut::<u8>::new(100)?;
    /// let _out = array.ranges([0..10, 20..30])?;
    /// let error = array.ranges([90..100, 5..8]).unwrap_err();
    /// assert!(error.to_string().contains("item 1 (5..8) overlaps 0..10, item 0 of an earlier list"));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// If two of the ranges overlap, or one overlaps another that is out, or is not in the array:
    /// then none is given. If the array has been looked at, it is copied, for which there must be
    /// memory and a descriptor.
    pub fn ranges(
        &mut self,
        ranges: impl IntoIterator<Item = Range<usize>>,
    ) -> io::Result<Vec<RangeMut<T>>> {
        let ranges: Vec<_> = ranges.into_iter().collect();
        let (round, marks) = self.give(&ranges)?;
        let given = ranges.into_iter().zip(marks);
        let range = |(range, mark)| RangeMut::new(round.clone(), range, mark);
        Ok(given.map(range).collect())
    }

    /// Gives out one range.
    ///
    /// # Errors
    /// As [`ranges`](Self::ranges).
    pub fn range(&mut self, range: Range<usize>) -> io::Result<RangeMut<T>> {
        let (round, marks) = self.give(std::slice::from_ref(&range))?;
        Ok(RangeMut::new(round, range, marks[0]))
    }

    fn give(&mut self, ranges: &[Range<usize>]) -> io::Result<(Arc<Round>, Vec<u64>)> {
        for (item, range) in ranges.iter().enumerate() {
            if range.start > range.end || range.end > self.len {
                let message = format!("item {item} ({range:?}) is not in 0..{}", self.len);
                return Err(invalid(message));
            }
        }
        let round = self.open()?;
        let marks = round.give(ranges)?;
        Ok((round, marks))
    }

    /// The ranges that were given out and have not been written, in order, without those of which a
    /// part was given out again. The list is the same until ranges are given out again; then a new
    /// one begins. Asking for it is a look: see above.
    ///
    /// They have the numbers that they had before, except those that are [`torn`](Self::torn). To
    /// have them written after all, give them out again:
    ///
    /// ```
    /// use trefoil::{ProcessPool, RangeMut, SharedMut};
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let mut array = SharedMut::<f64>::new(400)?;
    /// let failed = procs.map_each(array.rows(100)?, |mut row: RangeMut<f64>| {
    ///     row.fill(1.0);
    ///     assert_ne!(row.range().start, 200, "unlucky");
    /// });
    /// assert!(failed[2].is_err());
    /// assert_eq!(array.unwritten(), [200..300]);
    /// let again = array.unwritten().to_vec();
    /// procs.map(array.ranges(again)?, |mut row: RangeMut<f64>| row.fill(2.0))?;
    /// assert_eq!(array.iter().sum::<f64>(), 500.0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// As borrowing the numbers does.
    #[must_use]
    pub fn unwritten(&self) -> &[Range<usize>] {
        &self.seen().missing.unwritten
    }

    /// The ranges whose worker was killed while it wrote them: some of their numbers are old, and
    /// some new. [`unwritten`](Self::unwritten) has them, too. Asking for it is
    /// a look.
    ///
    /// # Panics
    /// As borrowing the numbers does.
    #[must_use]
    pub fn torn(&self) -> &[Range<usize>] {
        &self.seen().missing.torn
    }

    /// The numbers as a vector. It is a copy, unless the array was made from a vector or borrowed
    /// mutably, and no range was given out since. To borrow them as a slice costs none.
    ///
    /// # Panics
    /// As borrowing the numbers does.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        match self.into_numbers() {
            Storage::Own(numbers) => Arc::unwrap_or_clone(numbers),
            Storage::Shared(slice) => slice.elements().to_vec(),
        }
    }

    fn into_numbers(self) -> Storage<T> {
        self.seen();
        let seen = self.seen.into_inner();
        seen.map_or_else(|| Storage::Own(Arc::default()), |seen| seen.numbers)
    }

    fn seen(&self) -> &Seen<T> {
        self.seen.get_or_init(|| match &self.round {
            None => Vec::new().into(),
            Some(round) => {
                let seen = self.look(round);
                seen.unwrap_or_else(|error| panic!("cannot read a `SharedMut`: {error}"))
            }
        })
    }

    /// Ends the round.
    fn look(&self, round: &Round) -> io::Result<Seen<T>> {
        let bytes = self.len * size_of::<T>();
        let sealed = round.end();
        let mapped = sealed.and_then(|()| Mapped::open(round.attachment.clone(), 0));
        // Before the numbers: what is marked as written by now is in a copy, too.
        let missing = round.missing()?;
        let numbers = match mapped.and_then(|mapped| MappedSlice::fixed(mapped, bytes as u64)) {
            Ok(slice) => Storage::Shared(slice),
            Err(_) => Storage::Own(Arc::new(round.numbers(&(0..self.len))?)),
        };
        Ok(Seen { numbers, missing })
    }

    /// The memory in which ranges can be given: another one, if this has been looked at.
    fn open(&mut self) -> io::Result<Arc<Round>> {
        match (&self.round, self.seen.get()) {
            (Some(round), None) => Ok(round.clone()),
            _ => {
                let round = Arc::new(Round::new::<T>(self.len)?);
                round.fill(self)?;
                self.seen = OnceLock::new();
                Ok(self.round.insert(round).clone())
            }
        }
    }
}

/// A look at the numbers. Without a copy: they are mapped where the workers have written them.
/// (With one, if a worker has kept the memory open for writing, which no `RangeMut` does.)
///
/// # Panics
/// If the system has neither address space nor memory for them.
impl<T: Plain> Deref for SharedMut<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.seen().numbers
    }
}

/// A look, and a copy in memory of this process, unless it has one already.
impl<T: Plain> DerefMut for SharedMut<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.seen();
        self.round = None;
        let Some(seen) = self.seen.get_mut() else {
            return &mut [];
        };
        if let Storage::Shared(slice) = &seen.numbers {
            seen.numbers = Storage::Own(Arc::new(slice.elements().to_vec()));
        }
        match &mut seen.numbers {
            Storage::Own(numbers) => Arc::<Vec<T>>::make_mut(numbers),
            Storage::Shared(_) => &mut [],
        }
    }
}

impl<T: Plain> From<Vec<T>> for SharedMut<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self {
            len: numbers.len(),
            round: None,
            seen: OnceLock::from(Seen::from(numbers)),
        }
    }
}

/// A look. What the workers have written is not copied.
impl<T: Plain> From<SharedMut<T>> for Shared<T> {
    fn from(array: SharedMut<T>) -> Self {
        match array.into_numbers() {
            Storage::Shared(slice) => Self::over(slice),
            Storage::Own(numbers) => Arc::unwrap_or_clone(numbers).into(),
        }
    }
}

debug!(impl<T: Plain> SharedMut<T>, self, len = self.len);
