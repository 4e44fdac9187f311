//! Memory and large arrays that are sent ahead of the value that they belong to, as bytes.
//!
//! **Job.** A [`Shared`](crate::process::Shared) stands for memory that others map where a
//! descriptor can travel. No descriptor can be sent to a plain worker, but a copy is equivalent,
//! because nothing writes to the memory. A large array (`Bulk`) that is not lent would be in memory
//! twice on each side as a part of an encoded value. Sent ahead, it is there once: it is sent from
//! its own vector, and received into the vector of the decoded value.
//!
//! **Protocol.**
//! 1. The sender sends `Copy`, part by part ([`CopySource::parts`]), with the number of the
//!    attachment or the array. Then come the list of numbers (`Descriptors` for attachments, the
//!    list of lent arrays for arrays: [`LentList`](super::lent_arrays::LentList)) and the value.
//! 2. The receiver puts the parts into memory of its own ([`Copies::part`]), and finds that by the
//!    number ([`Copies::find`], [`Copies::claim`]).
//! 3. A worker keeps a copy of memory until its parent sends `Release` (`memory_kept_by_worker`).
//!    So each worker gets a copy once, not with each item. An array belongs to the next frame or
//!    value, and is moved into it. A parent keeps neither for more than one value.
//!
//! If a receiver has no memory or descriptor for a copy, it continues; the item that asks for the
//! copy then gets an error. An array takes memory as it arrives, whatever length is announced.
//!
//! Tests: below; `tests/process/bulk.rs`, `tests/process/shared.rs`, `tests/process/plain.rs`,
//! `tests/process/hostile.rs`.

use std::io;
use std::sync::Arc;

use super::attachments::{AttachedFile, Descriptors, TOO_MANY_COPIES};
use super::raw_plain::{Array, MappedSlice, array};
use crate::process::limits::MAX_DESCRIPTORS;
use crate::process::wire::{CopyHead, MOST_LENT};
use trefoil_os::host::free_memory;
use trefoil_os::host::held_descriptors::HeldDescriptors;
use trefoil_os::host::segment::Filling;

/// How many bytes one part has, so that neither side needs much memory besides the copy.
const PART: usize = 256 << 10;

/// What is sent.
#[derive(Clone)]
pub(crate) enum CopySource {
    Memory(MappedSlice<u8>),
    Array(Arc<dyn Array>),
}

/// Some of them, with their numbers.
pub(crate) type Sources = Vec<(u64, CopySource)>;

impl CopySource {
    /// The memory of an attachment.
    pub(crate) fn of(attachment: &Arc<AttachedFile>) -> io::Result<Self> {
        MappedSlice::of(attachment.clone()).map(Self::Memory)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Memory(memory) => memory.elements(),
            Self::Array(array) => array.bytes(),
        }
    }

    /// What its messages say of it, under this number.
    pub(crate) fn head(&self, id: u64) -> CopyHead {
        let kind = match self {
            Self::Memory(_) => MEMORY,
            Self::Array(array) => array.kind(),
        };
        let length = self.bytes().len() as u64;
        CopyHead { id, length, kind }
    }

    /// Its parts, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = CopyPart> {
        let part = |from| CopyPart {
            source: self.clone(),
            from,
        };
        (0..self.bytes().len()).step_by(PART).map(part)
    }
}

/// One part of a copy.
pub(crate) struct CopyPart {
    source: CopySource,
    from: usize,
}

impl CopyPart {
    pub(crate) fn bytes(&self) -> &[u8] {
        let rest = &self.source.bytes()[self.from..];
        &rest[..rest.len().min(PART)]
    }
}

/// The kind of memory, which is not an array.
const MEMORY: u8 = 0;

/// What was received, or is being received.
enum IncomingCopy {
    Part(Filling, HeldDescriptors),
    /// The memory, and its count, which ends with it.
    Whole {
        memory: Arc<AttachedFile>,
        _held: HeldDescriptors,
    },
    /// An array, and how many of its bytes are missing.
    Array(Box<dyn Array>, usize),
    /// The kind, and why it was refused.
    Refused(u8, String),
}

impl IncomingCopy {
    /// A copy of `length` bytes, none of which have arrived.
    fn new(length: u64, kind: u8) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if kind == MEMORY {
            let held =
                HeldDescriptors::count(1).ok_or_else(|| io::Error::other(TOO_MANY_COPIES))?;
            return Ok(Self::Part(Filling::new(length)?, held));
        }
        free_memory::check(length)?;
        let array = array(kind).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self::Array(array, length))
    }

    fn with(self, bytes: &[u8]) -> io::Result<Self> {
        Ok(match self {
            Self::Part(mut filling, held) => {
                filling.push(bytes)?;
                if filling.is_full() {
                    Self::Whole {
                        memory: AttachedFile::new(filling.seal()?),
                        _held: held,
                    }
                } else {
                    Self::Part(filling, held)
                }
            }
            Self::Array(mut array, missing) if bytes.len() <= missing => {
                let length = array.bytes().len() + missing;
                array.fill(bytes, length)?;
                Self::Array(array, missing - bytes.len())
            }
            Self::Array(..) => return Err(io::ErrorKind::InvalidData.into()),
            over => over,
        })
    }

    fn is_partial(&self) -> bool {
        #[cfg(all(test, not(loom)))]
        tests::looks();
        match self {
            Self::Part(..) => true,
            Self::Array(_, missing) => *missing > 0,
            Self::Whole { .. } | Self::Refused(..) => false,
        }
    }

    fn is_memory(&self) -> bool {
        match self {
            Self::Part(..) | Self::Whole { .. } => true,
            Self::Array(..) => false,
            Self::Refused(kind, _) => *kind == MEMORY,
        }
    }
}

/// The received copies, with the sender's numbers. There are only a few, or as many as one value
/// can have.
#[derive(Default)]
pub(crate) struct Copies {
    all: Vec<(u64, IncomingCopy)>,
    /// How many of them are memory, and how many are incomplete: asked for each part.
    memory: usize,
    partial: usize,
}

impl Copies {
    /// Adds the next bytes of the copy with the number `id`, which has `length` bytes in all.
    pub(crate) fn part(&mut self, CopyHead { id, length, kind }: CopyHead, bytes: &[u8]) {
        let before = match self.take(id) {
            None => IncomingCopy::new(length, kind),
            Some(before) => Ok(before),
        };
        let refused = |error: io::Error| {
            let message = format!("a copy of it could not be received: {error}");
            IncomingCopy::Refused(kind, message)
        };
        let now = before.and_then(|before| before.with(bytes));
        let now = now.unwrap_or_else(refused);
        self.memory += usize::from(now.is_memory());
        self.partial += usize::from(now.is_partial());
        self.all.push((id, now));
    }

    fn take(&mut self, id: u64) -> Option<IncomingCopy> {
        let at = self.all.iter().rposition(|(own, _)| *own == id)?;
        let (_, copy) = self.all.swap_remove(at);
        self.memory -= usize::from(copy.is_memory());
        self.partial -= usize::from(copy.is_partial());
        Some(copy)
    }

    /// Moves out the array with this number.
    pub(crate) fn claim(&mut self, id: u64) -> Result<Box<dyn Array>, String> {
        match self.take(id) {
            Some(IncomingCopy::Array(array, 0)) => Ok(array),
            Some(IncomingCopy::Refused(_, why)) => Err(why),
            _ => Err("its numbers have not arrived".to_owned()),
        }
    }

    /// The copies with these numbers.
    pub(crate) fn find(&self, numbers: &[u64]) -> Descriptors {
        let mut found = Descriptors::default();
        for (id, copy) in &self.all {
            match copy {
                _ if !numbers.contains(id) => {}
                IncomingCopy::Whole { memory, .. } => found.attachments.push((*id, memory.clone())),
                IncomingCopy::Refused(_, why) => found.lost = Some(why.clone()),
                IncomingCopy::Part(..) | IncomingCopy::Array(..) => {}
            }
        }
        found.count();
        found
    }

    /// Drops the copies with these numbers.
    pub(crate) fn release(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|id| drop(self.take(*id)));
    }

    /// Whether there are more than any value could have, or more than one that is incomplete: they
    /// are sent one after the other.
    pub(crate) fn are_too_many(&self) -> bool {
        let arrays = self.all.len() - self.memory;
        self.memory > MAX_DESCRIPTORS || arrays > MOST_LENT || self.partial > 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether there is memory among them, even if it was refused.
    pub(crate) fn has_memory(&self) -> bool {
        self.memory > 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::loom::per_thread;
    use crate::process::value::mapped::Mapped;
    use crate::process::value::raw_plain::{bytes_of, numbers_in};
    use std::cell::Cell;

    per_thread! {
        /// How often an incomplete copy was looked for.
        static LOOKS: Cell<usize> = Cell::new(0);
    }

    pub(super) fn looks() {
        LOOKS.with(|looks| looks.set(looks.get() + 1));
    }

    impl Copies {
        fn arrives(&mut self, id: u64, length: u64, kind: u8, bytes: &[u8]) {
            self.part(CopyHead { id, length, kind }, bytes);
        }
    }

    fn memory(bytes: usize) -> Arc<Mapped> {
        let bytes: Vec<u8> = (0..bytes).map(|n| (n / 3) as u8).collect();
        Mapped::fixed(&bytes).unwrap()
    }

    fn bytes(mapped: Arc<Mapped>) -> Vec<u8> {
        let length = mapped.mapping.length() as u64;
        MappedSlice::fixed(mapped, length)
            .unwrap()
            .elements()
            .to_vec()
    }

    #[test]
    fn a_copy_of_any_length_is_like_the_original() {
        for length in [1, 7, PART - 1, PART, PART + 1, 3 * PART + 5] {
            let original = memory(length);
            let mut copies = Copies::default();
            let mut count = 0;
            let source = CopySource::of(&original.attachment).unwrap();
            for part in source.parts() {
                assert!(copies.find(&[7]).find(7).is_err(), "it is not whole");
                copies.arrives(7, length as u64, MEMORY, part.bytes());
                count += 1;
            }
            assert_eq!(count, length.div_ceil(PART));
            let found = copies.find(&[7]).find(7).unwrap();
            assert_eq!(bytes(Mapped::open(found, 0).unwrap()), bytes(original));
            copies.release(&[7]);
            assert!(copies.is_empty());
        }
    }

    #[test]
    fn a_part_costs_the_same_however_many_copies_there_are() {
        let numbers: Vec<f64> = (0..500_000).map(f64::from).collect();
        let source = CopySource::Array(Arc::new(numbers));
        let CopyHead { length, kind, .. } = source.head(0);
        let looks = |others: u64| {
            let mut copies = Copies::default();
            (1..=others).for_each(|id| copies.arrives(id, 0, kind, &[]));
            let before = LOOKS.with(Cell::get);
            for part in source.parts() {
                copies.arrives(0, length, kind, part.bytes());
                assert!(!copies.are_too_many() && !copies.has_memory());
            }
            assert!(copies.claim(0).is_ok());
            LOOKS.with(Cell::get) - before
        };
        assert_eq!(looks(0), looks(500));
    }

    #[test]
    fn an_array_is_filled_where_its_value_has_it() {
        let numbers: Vec<f64> = (0..500_000).map(f64::from).collect();
        let source = CopySource::Array(Arc::new(numbers.clone()));
        let CopyHead { length, kind, .. } = source.head(5);
        let mut copies = Copies::default();
        for part in source.parts() {
            copies.arrives(5, length, kind, part.bytes());
            assert!(!copies.are_too_many());
        }
        copies.arrives(6, length, kind, &[]);
        let array = copies.claim(5).unwrap();
        assert!(copies.claim(5).is_err() && copies.claim(6).is_err() && copies.is_empty());
        let place = array.bytes().as_ptr();
        let same = numbers_in::<f64>(array).unwrap();
        assert!(same == numbers && bytes_of(&same).as_ptr() == place);
    }

    #[test]
    fn refused_or_invalid_copies_are_errors_of_their_user() {
        let mut copies = Copies::default();
        copies.arrives(1, u64::MAX, MEMORY, b"x");
        copies.arrives(2, 3, MEMORY, b"four");
        for id in [1, 2] {
            let found = copies.find(&[id]);
            assert!(
                found.find(id).unwrap_err().contains("not be received"),
                "{found:?}"
            );
        }
        copies.arrives(3, 2, MEMORY, b"ab");
        copies.arrives(3, 2, MEMORY, b"more");
        assert!(copies.find(&[3]).find(3).is_ok());
        assert!(
            copies
                .find(&[4])
                .find(4)
                .unwrap_err()
                .contains("come with it")
        );
        (0..MAX_DESCRIPTORS as u64).for_each(|id| copies.arrives(id, 1, MEMORY, b"x"));
        assert!(!copies.are_too_many());
        copies.arrives(999, 1, MEMORY, b"x");
        assert!(copies.are_too_many());
        copies.release(&[998, 999]);
        copies.release(&[0]);
        copies.arrives(0, 9, MEMORY, b"");
        assert!(!copies.are_too_many());
        copies.release(&[1]);
        copies.arrives(1, 9, MEMORY, b"");
        assert!(copies.are_too_many(), "the one before is not whole");
    }

    #[test]
    fn refused_arrays_are_as_many_as_any_arrays() {
        let kind = Array::kind(&vec![0u8]);
        let mut copies = Copies::default();
        (0..MOST_LENT as u64).for_each(|id| copies.arrives(id, u64::MAX, kind, b"x"));
        assert!(copies.claim(7).unwrap_err().contains("not be received"));
        assert!(!copies.are_too_many() && !copies.has_memory());
        copies.arrives(7, u64::MAX, MEMORY, b"x");
        copies.arrives(MOST_LENT as u64, u64::MAX, kind, b"x");
        assert!(!copies.are_too_many() && copies.has_memory());
        copies.arrives(MOST_LENT as u64 + 1, u64::MAX, kind, b"x");
        assert!(copies.are_too_many());
    }
}
