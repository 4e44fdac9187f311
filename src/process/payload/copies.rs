//! Memory that never changes, as bytes in a stream: to plain workers, and from them.
//!
//! **Job.** A [`Shared`](crate::process::Shared) stands for memory that others map where a
//! descriptor can travel. No descriptor can be sent to a plain worker, but a copy is equivalent,
//! because nothing writes to the memory.
//!
//! **Protocol.**
//! 1. The sender says `Copy`, part by part ([`parts`]), under the number of the attachment. Then
//!    comes what brings it along, behind the list of the numbers (`Descriptors`) as ever.
//! 2. The receiver makes memory of its own of the parts ([`Copies::part`]), and finds it by the
//!    number ([`Copies::find`]).
//! 3. A worker keeps what it got until its parent says `Release`: as soon as the memory is gone in
//!    the parent ([`Watcher`]), or when that has sent many others or large ones since ([`Sent`]).
//!    So each worker gets a copy once, not with each item. A parent keeps what it got for one
//!    value.
//!
//! A receiver that has no memory for it, or no descriptor, goes on, and says so when it is asked
//! for it: that is an item's error.
//!
//! Tests: below; `tests/process/shared.rs`, `tests/process/plain.rs`.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};

use super::attachments::{Attachment, Descriptors, MAX_DESCRIPTORS, Watcher};
use super::mapped::Mapped;
use super::raw_plain::MappedSlice;
use crate::sys::segment::Filling;

/// How many bytes are sent at once: neither side needs much memory beside the copy.
const PART: usize = 256 << 10;

/// How many copies a worker keeps, if not all belong to one frame: each has a descriptor there.
const KEPT: usize = 64;
/// And how many bytes of them.
const KEPT_BYTES: u64 = 512 << 20;

/// One part of what is copied.
#[derive(Clone)]
pub(crate) struct Part {
    memory: MappedSlice<u8>,
    from: usize,
}

impl Part {
    pub(crate) fn bytes(&self) -> &[u8] {
        let rest = &self.memory.elements()[self.from..];
        &rest[..rest.len().min(PART)]
    }

    /// How long the whole is.
    pub(crate) fn length(&self) -> u64 {
        self.memory.elements().len() as u64
    }
}

/// What to send of `attachment`, in order.
pub(crate) fn parts(attachment: &Arc<Attachment>) -> io::Result<impl Iterator<Item = Part>> {
    let mapped = Mapped::open(attachment.clone(), 0)?;
    let length = mapped.mapping().length();
    let memory = MappedSlice::<u8>::fixed(mapped, length as u64).map_err(io::Error::other)?;
    let part = move |from| Part {
        memory: memory.clone(),
        from,
    };
    Ok((0..length).step_by(PART).map(part))
}

/// Some memory that was copied, or is being copied.
#[derive(Debug)]
enum Copy {
    Part(Filling),
    Whole(Arc<Attachment>),
    Refused(String),
}

/// What has come, with the sender's numbers. (A few, or as many as one value can bring along.)
#[derive(Debug, Default)]
pub(crate) struct Copies(Vec<(u64, Copy)>);

impl Copies {
    /// The next bytes of what has the number `id`, and `length` bytes in all.
    pub(crate) fn part(&mut self, id: u64, length: u64, bytes: &[u8]) {
        let begin = || Filling::new(usize::try_from(length).unwrap_or(usize::MAX));
        let before = match self.take(id) {
            None => begin(),
            Some(Copy::Part(filling)) => Ok(filling),
            Some(over) => return self.0.push((id, over)),
        };
        let now = before.and_then(|mut filling| {
            filling.push(bytes)?;
            Ok(match filling.is_full() {
                true => Copy::Whole(Attachment::new(filling.seal()?)),
                false => Copy::Part(filling),
            })
        });
        let refused = |error| {
            let words = format!("there was no memory for a copy of it: {error}");
            Copy::Refused(words)
        };
        self.0.push((id, now.unwrap_or_else(refused)));
    }

    fn take(&mut self, id: u64) -> Option<Copy> {
        let at = self.0.iter().position(|(own, _)| *own == id)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Those that have these numbers.
    pub(crate) fn find(&self, numbers: &[u64]) -> Descriptors {
        let (mut found, mut lost) = (Vec::new(), None);
        for (id, copy) in &self.0 {
            match copy {
                _ if !numbers.contains(id) => {}
                Copy::Whole(attachment) => found.push((*id, attachment.clone())),
                Copy::Refused(why) => lost = Some(why.clone()),
                Copy::Part(_) => {}
            }
        }
        Descriptors::new(found, lost)
    }

    /// These will not be asked for any more.
    pub(crate) fn release(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|id| drop(self.take(*id)));
    }

    /// There are more than any value could bring along.
    pub(crate) fn are_too_many(&self) -> bool {
        self.0.len() > MAX_DESCRIPTORS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a worker has been sent and keeps, the latest last.
#[derive(Default)]
pub(crate) struct Sent {
    kept: VecDeque<Kept>,
    /// Hears when one of them is gone here: then there is something to release.
    watcher: Option<Weak<dyn Watcher>>,
}

struct Kept {
    id: u64,
    memory: Weak<Attachment>,
    bytes: u64,
}

impl Sent {
    /// From now on `watcher` hears when one of them is gone here.
    pub(crate) fn watched_by(&mut self, watcher: Weak<dyn Watcher>) {
        self.watcher = Some(watcher);
    }

    /// A frame brings these along: which of them the worker does not have, and which others it need
    /// not keep.
    pub(crate) fn send(
        &mut self,
        attachments: &[Arc<Attachment>],
    ) -> (Vec<Arc<Attachment>>, Vec<u64>) {
        if attachments.is_empty() && self.kept.is_empty() {
            return Default::default();
        }
        let mut new = Vec::new();
        let mut needed = 0;
        for attachment in attachments {
            let known = self.kept.iter().position(|own| own.id == attachment.id());
            let own = known
                .and_then(|at| self.kept.remove(at))
                .unwrap_or_else(|| {
                    new.push(attachment.clone());
                    if let Some(watcher) = &self.watcher {
                        attachment.watch(watcher.clone());
                    }
                    Kept {
                        id: attachment.id(),
                        memory: Arc::downgrade(attachment),
                        bytes: attachment.file().metadata().map_or(0, |file| file.len()),
                    }
                });
            needed += own.bytes;
            self.kept.push_back(own);
        }
        // Those of this frame are the last.
        let most = (KEPT.max(attachments.len()), KEPT_BYTES.max(needed));
        let mut count = self.kept.len();
        let mut bytes: u64 = self.kept.iter().map(|own| own.bytes).sum();
        let mut over = Vec::new();
        self.kept.retain(|own| {
            let goes = count > most.0 || bytes > most.1 || own.memory.strong_count() == 0;
            if goes {
                (count, bytes) = (count - 1, bytes - own.bytes);
                over.push(own.id);
            }
            !goes
        });
        (new, over)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    // A count: no protocol.
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::fs::MemfdFlags;

    use super::*;

    fn memory(bytes: usize) -> Arc<Mapped> {
        let bytes: Vec<u8> = (0..bytes).map(|n| (n / 3) as u8).collect();
        Mapped::fixed(&bytes).unwrap()
    }

    fn bytes(mapped: Arc<Mapped>) -> Vec<u8> {
        let length = mapped.mapping().length() as u64;
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
            for part in parts(original.attachment()).unwrap() {
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
        (0..MAX_DESCRIPTORS as u64).for_each(|id| copies.part(id, 9, b""));
        assert!(!copies.are_too_many());
        copies.part(999, 9, b"");
        assert!(copies.are_too_many());
    }

    #[test]
    fn a_worker_gets_each_once_and_keeps_what_is_still_there() {
        let all: Vec<_> = (0..2 * KEPT).map(|_| memory(1)).collect();
        let own: Vec<_> = all.iter().map(|one| one.attachment().clone()).collect();
        let ids: Vec<u64> = own.iter().map(|one| one.id()).collect();
        let mut sent = Sent::default();
        let mut send = |some: &[Arc<Attachment>]| {
            let (new, over) = sent.send(some);
            (new.len(), over)
        };
        assert_eq!(send(&own[..1]), (1, vec![]));
        assert_eq!(send(&own[..KEPT]), (KEPT - 1, vec![]), "it has one");
        assert_eq!(send(&own[..KEPT]), (0, vec![]));
        assert_eq!(send(&own[KEPT..KEPT + 2]), (2, ids[..2].to_vec()));
        assert_eq!(send(&own), (KEPT, vec![]), "all of one frame");
        drop((own, all));
        assert_eq!(send(&[]), (0, ids));
        assert_eq!(send(&[]), (0, vec![]));
    }

    struct Counts(AtomicUsize);

    impl Watcher for Counts {
        fn gone(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_worker_keeps_so_many_bytes_and_its_parent_hears_what_is_gone() {
        let file = |length: u64| {
            let file = rustix::fs::memfd_create("sparse", MemfdFlags::CLOEXEC).unwrap();
            rustix::fs::ftruncate(&file, length).unwrap();
            Attachment::new(file)
        };
        let mut all: Vec<_> = [KEPT_BYTES / 2, KEPT_BYTES / 2, 1, 2 * KEPT_BYTES]
            .map(file)
            .into();
        let ids: Vec<u64> = all.iter().map(|one| one.id()).collect();
        let counts = Arc::new(Counts(AtomicUsize::new(0)));
        let gone = || counts.0.load(Ordering::Relaxed);
        let mut sent = Sent::default();
        let watcher: Weak<Counts> = Arc::downgrade(&counts);
        sent.watched_by(watcher);
        let mut send = |some: &[Arc<Attachment>]| {
            let (new, over) = sent.send(some);
            (new.len(), over)
        };
        assert_eq!(send(&all[..2]), (2, vec![]));
        assert_eq!(
            send(&all[2..3]),
            (1, ids[..1].to_vec()),
            "the first is the oldest"
        );
        assert_eq!(send(&all[..1]), (1, ids[1..2].to_vec()));
        assert_eq!(
            send(&all[3..]),
            (1, vec![ids[2], ids[0]]),
            "it needs all there is"
        );
        assert_eq!(send(&all[3..]), (0, vec![]));
        drop(all.pop());
        assert_eq!((gone(), send(&[])), (1, (0, ids[3..].to_vec())));
        drop(all);
        assert_eq!(gone(), 4, "each once");
    }
}
