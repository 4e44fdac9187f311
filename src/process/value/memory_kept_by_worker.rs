//! In the parent: which shared memory one worker keeps between frames, and until when.
//!
//! **Job.** Memory that never changes ([`Shared`](crate::process::Shared)) is often needed again:
//! by the next item, or by the next `map_with` of a loop. A plain worker keeps the copy that it has
//! got (`copies`). Any worker keeps the mapping (`worker::serve`), because most of what it costs to
//! map memory is that each page is then touched for the first time.
//!
//! **Protocol.** The parent decides, and the worker believes it.
//! 1. `Keep`, after a frame's `Descriptors`, has the numbers of those that the worker is to keep.
//! 2. `Release` has the numbers that it is to keep no longer: memory that was freed in this process
//!    ([`Watcher`]), or to which [`KEPT_MEMORIES`] others have been sent since. It is sent at once.
//!    A worker that runs an item reads it afterwards.
//!
//! A number stands for one memory only, forever, so what is kept is never another's.
//!
//! Tests: below; `tests/process/shared.rs`, `tests/process/plain.rs`.

use std::sync::{Arc, Weak};

use super::attachments::{AttachedFile, Watcher};
use crate::process::limits::{KEPT_BYTES, KEPT_MEMORIES};
use crate::sys::files;

/// Mapping less memory than this again takes no longer than keeping it and releasing it.
const WORTH: u64 = 256 << 10;

/// The memory that one worker keeps, the latest last.
pub(crate) struct MemoryKeptByWorker {
    kept: Vec<Sent>,
    /// The worker has copies of it, instead of mappings of the same memory.
    is_copied: bool,
    /// Notified when some of it is freed in this process, so that it can be released.
    watcher: Option<Weak<dyn Watcher>>,
}

struct Sent {
    id: u64,
    memory: Weak<AttachedFile>,
    bytes: u64,
}

impl MemoryKeptByWorker {
    pub(crate) fn new(is_copied: bool) -> Self {
        Self {
            kept: Vec::new(),
            is_copied,
            watcher: None,
        }
    }

    /// From now on `watcher` is notified when some of the memory is freed in this process.
    pub(crate) fn watched_by(&mut self, watcher: Weak<dyn Watcher>) {
        self.watcher = Some(watcher);
    }

    /// For a frame with these attachments: returns the memory that the worker does not have yet and
    /// is to keep, and the numbers of what it need not keep any more.
    pub(crate) fn send(
        &mut self,
        attachments: &[Arc<AttachedFile>],
    ) -> (Vec<Arc<AttachedFile>>, Vec<u64>) {
        if attachments.is_empty() && self.kept.is_empty() {
            return Default::default();
        }
        let mut new = Vec::new();
        let mut needed = 0;
        for attachment in attachments {
            let known = self.kept.iter().position(|own| own.id == attachment.id);
            let own = known.map(|at| self.kept.remove(at));
            let Some(own) = own.or_else(|| self.first(attachment, &mut new)) else {
                continue;
            };
            needed += own.bytes;
            self.kept.push(own);
        }
        // The memory of this frame comes last in the list.
        let own = self.is_copied.then(|| KEPT_BYTES.max(needed));
        let most_bytes = own.unwrap_or(u64::MAX); // or it exists once, here
        let most = KEPT_MEMORIES.max(attachments.len());
        let mut count = self.kept.len();
        let mut bytes: u64 = self.kept.iter().map(|own| own.bytes).sum();
        let mut over = Vec::new();
        self.kept.retain(|own| {
            let goes = count > most || bytes > most_bytes || own.memory.strong_count() == 0;
            if goes {
                (count, bytes) = (count - 1, bytes - own.bytes);
                over.push(own.id);
            }
            !goes
        });
        (new, over)
    }

    /// The first time that this memory is sent: `None`, if it is not to be kept.
    fn first(
        &self,
        attachment: &Arc<AttachedFile>,
        new: &mut Vec<Arc<AttachedFile>>,
    ) -> Option<Sent> {
        let length = || files::length(&attachment.descriptor).unwrap_or(0);
        if !self.is_copied && !attachment.is_fixed() {
            return None;
        }
        let bytes = Some(length()).filter(|bytes| self.is_copied || *bytes >= WORTH)?;
        new.push(attachment.clone());
        if let Some(watcher) = &self.watcher {
            attachment.watch(watcher.clone());
        }
        Some(Sent {
            id: attachment.id,
            memory: Arc::downgrade(attachment),
            bytes,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::mapped::Mapped;
    use super::*;

    #[test]
    fn a_worker_gets_each_once_and_keeps_what_is_still_there() {
        let all = || Mapped::fixed(&[1]).unwrap();
        let all: Vec<_> = std::iter::repeat_with(all)
            .take(2 * KEPT_MEMORIES)
            .collect();
        let own: Vec<_> = all.iter().map(|one| one.attachment.clone()).collect();
        let ids: Vec<u64> = own.iter().map(|one| one.id).collect();
        let mut sent = MemoryKeptByWorker::new(true);
        let mut send = |some: &[Arc<AttachedFile>]| {
            let (new, over) = sent.send(some);
            (new.len(), over)
        };
        assert_eq!(send(&own[..1]), (1, vec![]));
        assert_eq!(
            send(&own[..KEPT_MEMORIES]),
            (KEPT_MEMORIES - 1, vec![]),
            "it has one"
        );
        assert_eq!(send(&own[..KEPT_MEMORIES]), (0, vec![]));
        assert_eq!(
            send(&own[KEPT_MEMORIES..KEPT_MEMORIES + 2]),
            (2, ids[..2].to_vec())
        );
        assert_eq!(send(&own), (KEPT_MEMORIES, vec![]), "all of one frame");
        drop((own, all));
        assert_eq!(send(&[]), (0, ids));
        assert_eq!(send(&[]), (0, vec![]));
    }

    #[cfg(all(test, target_os = "linux"))] // sparse memory
    #[test]
    fn a_worker_keeps_so_many_bytes_and_its_parent_hears_what_is_gone() {
        use rustix::fs::MemfdFlags;
        use std::sync::atomic::{AtomicUsize, Ordering}; // a count: no protocol to model

        struct Counts(AtomicUsize);

        impl Watcher for Counts {
            fn gone(&self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        let file = |length: u64| {
            let file = rustix::fs::memfd_create("sparse", MemfdFlags::CLOEXEC).unwrap();
            rustix::fs::ftruncate(&file, length).unwrap();
            AttachedFile::new(file)
        };
        let mut all: Vec<_> = [KEPT_BYTES / 2, KEPT_BYTES / 2, 1, 2 * KEPT_BYTES]
            .map(file)
            .into();
        let ids: Vec<u64> = all.iter().map(|one| one.id).collect();
        let counts = Arc::new(Counts(AtomicUsize::new(0)));
        let gone = || counts.0.load(Ordering::Relaxed);
        let mut sent = MemoryKeptByWorker::new(true);
        let watcher: Weak<Counts> = Arc::downgrade(&counts);
        sent.watched_by(watcher);
        let mut send = |some: &[Arc<AttachedFile>]| {
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

    #[test]
    fn of_mappings_it_keeps_those_that_are_worth_it() {
        let [small, large, other] = [WORTH - 1, WORTH, WORTH]
            .map(|length| Mapped::fixed(&vec![1; length as usize]).unwrap())
            .map(|mapped| mapped.attachment.clone());
        let end = AttachedFile::new(std::fs::File::open("/dev/null").unwrap().into());
        let mut sent = MemoryKeptByWorker::new(false);
        let mut send = |some: &[Arc<AttachedFile>]| {
            let (new, over) = sent.send(some);
            (new.iter().map(|one| one.id).collect::<Vec<_>>(), over)
        };
        let (first, second) = (large.id, other.id);
        assert_eq!(send(&[small.clone(), end, large]), (vec![first], vec![]));
        assert_eq!(send(&[small]), (vec![], vec![first]), "it is gone");
        assert_eq!(send(&[other]), (vec![second], vec![]));
        assert_eq!(send(&[]), (vec![], vec![second]));
    }
}
