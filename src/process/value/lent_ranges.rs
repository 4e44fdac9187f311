//! Which ranges of a shared array are out, which are written, and the memory that they are in.
//!
//! **Job.** A round is a memory file: the numbers of an array, and behind them one byte for each
//! range that is out, its *mark*. Its holders read and write the file; none of them maps it. The
//! process that made it also has the list of the ranges.
//!
//! **Protocol.**
//! 1. A range is [given](Round::give) if it overlaps no other that is out. It is out until its mark
//!    is [`WRITTEN`].
//! 2. The holder copies the numbers out of the file, once, if the mark is [`GIVEN`]. So every
//!    attempt at an item begins with the same numbers, or fails. Then the holder works on its copy.
//! 3. The holder writes [`WRITING`], the numbers, and `WRITTEN`. A process that reads
//!    `WRITTEN` finds the numbers: what is read after a write shows it (POSIX).
//! 4. The round [ends](Round::end): the file is sealed. The kernel refuses every later write, by
//!    any process, however it got the descriptor. What is not marked as written by then never will
//!    be.
//!
//! So nothing needs to be known about a holder that was killed, is late, or is hostile: nobody
//! waits for its end. The kernel refuses the seal while somebody has mapped the file for writing,
//! which only hostile code does; then the numbers are copied instead (`shared_mut`).
//!
//! **Rejected.** To map the range in the worker: a thread that an item has left behind, or another
//! process, could write to what is borrowed there as `&mut [T]`; and an item whose worker died in
//! the middle would begin its retry with numbers that are half changed.
//!
//! Tests: `tests/process/shared_mut.rs`.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::attachments::Attachment;
use super::raw_plain::{Plain, bytes_of, bytes_of_mut};
use super::scope;
use crate::loom::Mutex;
use crate::process::host::{free_memory, memory_file, segment};
use crate::sys::{files, fork};

/// The marks of a range that has not been written, of one whose holder is writing it, and of one
/// that was written.
const GIVEN: u8 = 0;
const WRITING: u8 = 1;
const WRITTEN: u8 = 2;

/// The memory of an array while ranges of it are out.
#[derive(Debug)]
pub(crate) struct Round {
    pub(super) attachment: Arc<Attachment>,
    /// Where the marks begin: behind the numbers.
    pub(super) marks: u64,
    given: Mutex<Given>,
    /// The process that has this; see `sys::fork`.
    born: u32,
}

#[derive(Debug, Default)]
struct Given {
    is_over: bool,
    /// The ranges that were given, by their beginnings. They do not overlap. (A list: most are
    /// given at once, or in order.)
    ranges: Vec<Entry>,
    /// How many marks have been used, and those that can be used again.
    marks: u64,
    free: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    end: usize,
    mark: u64,
    /// Its index in the list with which it was given.
    item: usize,
    /// Its holder has dropped it unused.
    is_free: bool,
}

/// What has not been written.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    pub(super) unwritten: Vec<Range<usize>>,
    /// Those of them whose holder was stopped while it wrote.
    pub(super) torn: Vec<Range<usize>>,
}

impl Round {
    /// Memory for `len` numbers of type `T`, all zero.
    pub(super) fn new<T: Plain>(len: usize) -> io::Result<Self> {
        // (Ranges that do not overlap, and are not empty, are at most `len`.)
        let bytes = len.checked_mul(size_of::<T>());
        let all = bytes.and_then(|bytes| bytes.checked_add(len));
        let (Some(bytes), Some(all)) = (bytes, all) else {
            let message = "so many numbers do not fit into memory";
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, message));
        };
        let file = segment::sealable(all.max(1), bytes)?;
        fork::register_handler();
        Ok(Self::over(Attachment::new(file), bytes as u64))
    }

    fn over(attachment: Arc<Attachment>, marks: u64) -> Self {
        Self {
            attachment,
            marks,
            given: Mutex::default(),
            born: fork::generation(),
        }
    }

    /// In a worker: the memory that has come with an argument under the number `id`.
    pub(super) fn arrived(id: u64, marks: u64) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self::over(scope::attached(id)?, marks)))
    }

    /// Whether this process was forked from the one that has the round.
    pub(super) fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    /// Gives these ranges, each for an item. Returns their marks. An error if two overlap, or if
    /// one overlaps another that is out; then none is given.
    pub(super) fn give(&self, ranges: &[Range<usize>]) -> io::Result<Vec<u64>> {
        let mut order = Vec::new();
        for (item, range) in ranges.iter().enumerate() {
            if !range.is_empty() {
                order.push((range.start, item));
            }
        }
        order.sort_unstable();
        for pair in order.windows(2) {
            let (one, other) = (pair[0].1, pair[1].1);
            if ranges[one].end > ranges[other].start {
                let [one, other] = [one.min(other), one.max(other)];
                return Err(invalid(format!(
                    "items {one} ({:?}) and {other} ({:?}) overlap",
                    ranges[one], ranges[other]
                )));
            }
        }
        let mut given = self.given.lock();
        let marks = self.read_marks(&given)?;
        for (_, item) in &order {
            let range = &ranges[*item];
            for entry in given.ranges[overlapping(&given.ranges, range)].iter().rev() {
                if !entry.is_free && marks.get(entry.mark as usize) != Some(&WRITTEN) {
                    return Err(invalid(format!(
                        "item {item} ({range:?}) overlaps {}..{}, item {} of an earlier list, \
                         which has not been written yet",
                        entry.start, entry.end, entry.item
                    )));
                }
            }
        }
        let mut found = vec![0; ranges.len()]; // (an empty range needs none)
        // From the first that changes on, the list is merged with the new ranges.
        let from = match order.first() {
            Some((_, item)) => overlapping(&given.ranges, &ranges[*item]).start,
            None => given.ranges.len(),
        };
        let before = given.ranges.split_off(from);
        let mut rest = &before[..];
        for (start, item) in order {
            let end = ranges[item].end;
            let replaced = overlapping(rest, &ranges[item]);
            given.ranges.extend_from_slice(&rest[..replaced.start]);
            for entry in &rest[replaced.clone()] {
                given.free.push(entry.mark);
            }
            rest = &rest[replaced.end..];
            let mark = match given.free.pop() {
                Some(mark) => {
                    if let Err(error) = self.write_mark(mark, GIVEN) {
                        given.ranges.extend_from_slice(rest);
                        return Err(error);
                    }
                    mark
                }
                None => {
                    given.marks += 1;
                    given.marks - 1
                }
            };
            given.ranges.push(Entry {
                start,
                end,
                mark,
                item,
                is_free: false,
            });
            found[item] = mark;
        }
        given.ranges.extend_from_slice(rest);
        Ok(found)
    }

    /// The holder of a range has dropped it unused.
    pub(super) fn give_back(&self, range: &Range<usize>) {
        let mut given = self.given.lock();
        let own = overlapping(&given.ranges, range);
        for entry in &mut given.ranges[own] {
            entry.is_free |= entry.start == range.start;
        }
    }

    /// Reads the numbers of a range with this mark.
    pub(super) fn read<T: Plain>(&self, range: &Range<usize>, mark: u64) -> io::Result<Vec<T>> {
        let mut state = [GIVEN];
        if !range.is_empty() {
            files::read_exact_at(self.file(), &mut state, self.marks + mark)?;
        }
        match state[0] {
            GIVEN => self.numbers(range),
            WRITTEN => Err(io::Error::other(format!(
                "an earlier attempt at this item wrote the range {range:?}, and then its worker died"
            ))),
            _ => Err(io::Error::other(format!(
                "an earlier attempt at this item was stopped while it wrote the range {range:?}"
            ))),
        }
    }

    /// Reads the numbers of a range.
    pub(super) fn numbers<T: Plain>(&self, range: &Range<usize>) -> io::Result<Vec<T>> {
        let from = range.start * size_of::<T>();
        free_memory::check(range.len() * size_of::<T>())?;
        let mut numbers = vec![T::default(); range.len()];
        files::read_exact_at(self.file(), bytes_of_mut(&mut numbers), from as u64)?;
        Ok(numbers)
    }

    /// Writes numbers that were not given to anyone.
    pub(super) fn fill<T: Plain>(&self, numbers: &[T]) -> io::Result<()> {
        files::write_all_at(self.file(), bytes_of(numbers), 0)
    }

    /// Writes the numbers of a range, if they have `changed`, and its mark. The error
    /// `PermissionDenied` means that the round is over.
    pub(super) fn write<T: Plain>(
        &self,
        (start, mark): (usize, u64),
        numbers: &[T],
        changed: bool,
    ) -> io::Result<()> {
        // (Held until the end, because some systems have no seals. There, all holders are here.)
        let given = self.given.lock();
        if numbers.is_empty() {
            return Ok(());
        }
        if given.is_over {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if changed {
            self.write_mark(mark, WRITING)?;
            let from = (start * size_of::<T>()) as u64;
            files::write_all_at(self.file(), bytes_of(numbers), from)?;
        }
        self.write_mark(mark, WRITTEN)
    }

    /// Ends the round. An error if somebody has mapped the file for writing: then others may still
    /// write to it.
    pub(super) fn end(&self) -> io::Result<()> {
        if self.is_foreign() {
            return Err(io::ErrorKind::PermissionDenied.into()); // it is the parent's
        }
        self.given.lock().is_over = true;
        memory_file::seal(&*self.attachment.descriptor)
    }

    /// What has not been written, now.
    pub(super) fn missing(&self) -> io::Result<Gaps> {
        let Some(given) = self.given.try_lock() else {
            return Ok(Gaps::default()); // another thread had it when this process was forked
        };
        let marks = self.read_marks(&given)?;
        let mut missing = Gaps::default();
        for entry in &given.ranges {
            let mark = marks.get(entry.mark as usize);
            if mark != Some(&WRITTEN) {
                missing.unwritten.push(entry.start..entry.end);
            }
            if mark == Some(&WRITING) {
                missing.torn.push(entry.start..entry.end);
            }
        }
        Ok(missing)
    }

    fn file(&self) -> &std::fs::File {
        self.attachment.descriptor.file()
    }

    fn read_marks(&self, given: &Given) -> io::Result<Vec<u8>> {
        let mut marks = vec![GIVEN; given.marks as usize];
        files::read_exact_at(self.file(), &mut marks, self.marks)?;
        Ok(marks)
    }

    fn write_mark(&self, mark: u64, state: u8) -> io::Result<()> {
        files::write_all_at(self.file(), &[state], self.marks + mark)
    }
}

/// Which of the ranges in the list overlap this one.
fn overlapping(list: &[Entry], range: &Range<usize>) -> Range<usize> {
    let from = list.partition_point(|entry| entry.end <= range.start);
    from..list
        .partition_point(|entry| entry.start < range.end)
        .max(from)
}

/// An error about ranges.
pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
