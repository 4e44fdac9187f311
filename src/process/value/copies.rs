//! Copies of memory that never changes, sent as bytes to and from plain workers.
//!
//! **Job.** A [`Shared`](crate::process::Shared) stands for memory that others map where a
//! descriptor can travel. No descriptor can be sent to a plain worker, but a copy is equivalent,
//! because nothing writes to the memory.
//!
//! **Protocol.**
//! 1. The sender sends `Copy`, part by part ([`parts`]), with the number of the attachment. Then
//!    come the list of numbers (`Descriptors`) and the value that has the attachment, as on the
//!    fast path.
//! 2. The receiver puts the parts into memory of its own ([`Copies::part`]), and finds that by the
//!    number ([`Copies::find`]).
//! 3. A worker keeps a copy until its parent sends `Release` (`sent_memory`). So each worker gets a
//!    copy once, not with each item. A parent keeps the copies that it gets for one value only.
//!
//! If a receiver has no memory or descriptor for a copy, it continues; the item that asks for the
//! copy then gets an error.
//!
//! Tests: below; `tests/process/shared.rs`, `tests/process/plain.rs`.

use std::io;
use std::sync::Arc;

use super::attachments::{Attachment, Descriptors, MAX_DESCRIPTORS, TOO_MANY_COPIES};
use super::in_hand::InHand;
use super::mapped::Mapped;
use super::raw_plain::MappedSlice;
use crate::process::host::segment::Filling;

/// How many bytes one part has, so that neither side needs much memory beside the copy.
const PART: usize = 256 << 10;

/// One part of a copy.
#[derive(Clone)]
pub(crate) struct CopyPart {
    memory: MappedSlice<u8>,
    from: usize,
}

impl CopyPart {
    pub(crate) fn bytes(&self) -> &[u8] {
        let rest = &self.memory.elements()[self.from..];
        &rest[..rest.len().min(PART)]
    }

    /// How many bytes the whole copy has.
    pub(crate) fn length(&self) -> u64 {
        self.memory.elements().len() as u64
    }
}

/// The parts of `attachment`'s memory, in order.
pub(crate) fn parts(attachment: &Arc<Attachment>) -> io::Result<impl Iterator<Item = CopyPart>> {
    let mapped = Mapped::open(attachment.clone(), 0)?;
    let length = mapped.mapping.length();
    let memory = MappedSlice::<u8>::fixed(mapped, length as u64).map_err(io::Error::other)?;
    let part = move |from| CopyPart {
        memory: memory.clone(),
        from,
    };
    Ok((0..length).step_by(PART).map(part))
}

/// Memory that was copied, or is being copied.
#[derive(Debug)]
enum Copy {
    Part(Filling, InHand),
    /// (The count is there for its drop.)
    Whole(Arc<Attachment>, #[allow(dead_code)] InHand),
    Refused(String),
}

/// The received copies, with the sender's numbers. There are only a few, or as many as one value
/// can have.
#[derive(Debug, Default)]
pub(crate) struct Copies(Vec<(u64, Copy)>);

impl Copies {
    /// Adds the next bytes of the copy with the number `id`, which has `length` bytes in all.
    pub(crate) fn part(&mut self, id: u64, length: u64, bytes: &[u8]) {
        let begin = || -> io::Result<_> {
            let in_hand = InHand::take(1).ok_or_else(|| io::Error::other(TOO_MANY_COPIES))?;
            let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
            Ok((Filling::new(length)?, in_hand))
        };
        let before = match self.take(id) {
            None => begin(),
            Some(Copy::Part(filling, in_hand)) => Ok((filling, in_hand)),
            Some(over) => return self.0.push((id, over)),
        };
        let now = before.and_then(|(mut filling, in_hand)| {
            filling.push(bytes)?;
            Ok(match filling.is_full() {
                true => Copy::Whole(Attachment::new(filling.seal()?), in_hand),
                false => Copy::Part(filling, in_hand),
            })
        });
        let refused = |error: io::Error| {
            let words = format!("there was no memory for a copy of it: {error}");
            Copy::Refused(words)
        };
        self.0.push((id, now.unwrap_or_else(refused)));
    }

    fn take(&mut self, id: u64) -> Option<Copy> {
        let at = self.0.iter().position(|(own, _)| *own == id)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The copies with these numbers.
    pub(crate) fn find(&self, numbers: &[u64]) -> Descriptors {
        let mut found = Descriptors::default();
        for (id, copy) in &self.0 {
            match copy {
                _ if !numbers.contains(id) => {}
                Copy::Whole(attachment, _) => found.attachments.push((*id, attachment.clone())),
                Copy::Refused(why) => found.lost = Some(why.clone()),
                Copy::Part(..) => {}
            }
        }
        found.count();
        found
    }

    /// Drops the copies with these numbers.
    pub(crate) fn release(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|id| drop(self.take(*id)));
    }

    /// Whether there are more than any value could have, or more than one that is not whole: they
    /// are sent one after the other.
    pub(crate) fn are_too_many(&self) -> bool {
        let parts = self
            .0
            .iter()
            .filter(|(_, copy)| matches!(copy, Copy::Part(..)));
        self.0.len() > MAX_DESCRIPTORS || parts.count() > 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

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
            for part in parts(&original.attachment).unwrap() {
                assert!(copies.find(&[7]).find(7).is_err(), "it is not whole");
                copies.part(7, part.length(), part.bytes());
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
    fn refused_or_invalid_copies_are_errors_of_their_user() {
        let mut copies = Copies::default();
        copies.part(1, u64::MAX, b"x");
        copies.part(2, 3, b"four");
        for id in [1, 2] {
            let found = copies.find(&[id]);
            assert!(
                found.find(id).unwrap_err().contains("no memory"),
                "{found:?}"
            );
        }
        copies.part(3, 2, b"ab");
        copies.part(3, 2, b"more");
        assert!(copies.find(&[3]).find(3).is_ok());
        assert!(
            copies
                .find(&[4])
                .find(4)
                .unwrap_err()
                .contains("come along")
        );
        (0..MAX_DESCRIPTORS as u64).for_each(|id| copies.part(id, 1, b"x"));
        assert!(!copies.are_too_many());
        copies.part(999, 1, b"x");
        assert!(copies.are_too_many());
        copies.release(&[998, 999]);
        copies.release(&[0]);
        copies.part(0, 9, b"");
        assert!(!copies.are_too_many());
        copies.release(&[1]);
        copies.part(1, 9, b"");
        assert!(copies.are_too_many(), "the one before is not whole");
    }
}
