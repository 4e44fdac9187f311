//! Descriptors that travel with arguments and results.
//!
//! **Job.** A value may stand for something that only a descriptor can name: memory, a pipe. Its
//! `Serialize` attaches the descriptor to what is being encoded
//! ([`scope::attach`](super::scope::attach)) and writes the number that it got; its `Deserialize`
//! reads the number and asks for the descriptor ([`scope::attached`](super::scope::attached)). This
//! file moves descriptors from one process to another. (How many a value may have, and that some
//! workers can have none: `value/scope.rs`.)
//!
//! **Protocol.**
//! 1. Both directions of the socket have a message `Descriptors` ([`wire`](crate::process::wire))
//!    with the numbers of some descriptors. The kernel delivers the descriptors themselves with the
//!    message's first byte (`SCM_RIGHTS`), even if the sender has died. They belong to the frame
//!    or value right after the message. Such values bypass the ledger, which
//!    cannot hold descriptors.
//! 2. The receiver collects descriptors in the order of arrival ([`Arrivals`]). The kernel hands
//!    over at most one message's descriptors at a time, with bytes that end no later than that
//!    message does. That message gives them their numbers ([`Arrivals::claim`]).
//!
//! Descriptors for which no `Deserialize` asks are closed once the value has been decoded. Those
//! that no message claims are closed once all bytes that came before and with them have been used
//! ([`Arrivals::used`]). A number does not say what kind of descriptor it stands for: the code that
//! uses the descriptor checks.
//!
//! **Bounds.** [`MOST_ARRIVALS`], and `held_descriptors`. A descriptor from a worker whose close
//! may wait is closed on a thread for that ([`SlowClose`]), and counts as held until then, or until
//! the program takes it. If too many are held, nothing more is received from that worker.
//!
//! **Ends.** When the last copy of a channel's end is closed, the other side wakes. So no process
//! may keep a copy that it does not use.
//! - **W25** While an item runs, its process has no ends but those that the item or its job's
//!   context has brought, and what the program itself keeps. So an item with ends travels alone and
//!   to an idle worker only, and a worker forgets a context with ends before it gets another job's
//!   item.
//! - **W26** While an item runs, the parent keeps no copies of its ends, unless the item may be
//!   retried: a worker sends `Taken` when it has decoded such an item.
//!
//! Tests: below; `tests/process/shared.rs`, `tests/process/memory.rs`.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::slow_close::SlowClose;
use crate::loom::Mutex;
use crate::sys::descriptor::{OwnedFile, any_descriptor};
use trefoil_os::host::handover;
pub(crate) use trefoil_os::host::handover::send;
use trefoil_os::host::held_descriptors::HeldDescriptors;

/// How many messages' descriptors may have arrived without the message that claims them: those of
/// one that has arrived in part, and those of the next.
const MOST_ARRIVALS: usize = 2;

/// A descriptor that can travel, shared by all values that contain it.
#[derive(Debug)]
pub(crate) struct AttachedFile {
    pub(crate) id: u64,
    pub(crate) descriptor: SlowClose,
    /// It is an end of a channel, which one process has at a time.
    end: OnceLock<()>,
    /// It is memory that never changes, so a copy can replace it.
    fixed: OnceLock<()>,
    watchers: Watchers,
}

/// A pool, which learns through this what the process no longer needs.
pub(crate) trait Watcher: Send + Sync {
    /// An attachment that it watches was dropped. Called on any thread; must be short.
    fn gone(&self);
}

/// Those that are notified when this is dropped.
#[derive(Debug, Default)]
struct Watchers(Mutex<Vec<Weak<dyn Watcher>>>);

impl Drop for Watchers {
    fn drop(&mut self) {
        let watchers = std::mem::take(&mut *self.0.lock());
        let watchers = watchers.iter().filter_map(Weak::upgrade);
        watchers.for_each(|watcher| watcher.gone());
    }
}

impl AttachedFile {
    /// A descriptor of this process.
    pub(crate) fn new(descriptor: OwnedFile) -> Arc<Self> {
        Self::of(SlowClose::never(descriptor))
    }

    fn of(descriptor: SlowClose) -> Arc<Self> {
        Arc::new(Self {
            id: Self::number(),
            descriptor,
            end: OnceLock::new(),
            fixed: OnceLock::new(),
            watchers: Watchers::default(),
        })
    }

    /// A new number, also for what is sent ahead in place of an attachment (`copies`).
    pub(crate) fn number() -> u64 {
        // A counter: no protocol to model.
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// `watcher` is notified when this attachment is dropped.
    pub(crate) fn watch(&self, watcher: Weak<dyn Watcher>) {
        let mut watchers = self.watchers.0.lock();
        watchers.retain(|known| known.strong_count() > 0);
        if !watchers.iter().any(|known| known.ptr_eq(&watcher)) {
            watchers.push(watcher);
        }
    }

    /// Declares it an end of a channel: the other side waits until all copies of it are closed.
    pub(crate) fn set_end(&self) {
        let _ = self.end.set(());
    }

    pub(crate) fn is_end(&self) -> bool {
        self.end.get().is_some()
    }

    /// Declares it memory that never changes, so that a copy of it is equivalent (`copies`).
    pub(crate) fn set_fixed(&self) {
        let _ = self.fixed.set(());
    }

    pub(crate) fn is_fixed(&self) -> bool {
        self.fixed.get().is_some()
    }
}

any_descriptor! { AttachedFile, descriptor }

/// The attachments that came with some bytes, by the sender's numbers.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    pub(super) attachments: Vec<(u64, Arc<AttachedFile>)>,
    /// What was taken out of them.
    taken: Vec<Taken>,
    /// Why some are missing: this process could not receive them.
    pub(super) lost: Option<String>,
    /// They are counted as long as this exists.
    _held: HeldDescriptors,
}

/// A descriptor that was taken out: the number that it has had here, and the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken(u64, u64);

/// Why a descriptor has not arrived.
const TOO_MANY: &str = "its descriptor has not arrived: this process has reached its limit of open files \
     (RLIMIT_NOFILE)";

/// Why there is no copy.
pub(super) const TOO_MANY_COPIES: &str = "too many other values wait to be decoded: this process has reached its limit of open files \
     (RLIMIT_NOFILE)";

impl Descriptors {
    /// Counts them as held (`held_descriptors`), except those that count themselves; if they are
    /// too many, drops them.
    pub(super) fn count(&mut self) {
        let is_uncounted = |(_, one): &&(u64, Arc<AttachedFile>)| !one.descriptor.waits();
        match HeldDescriptors::count(self.attachments.iter().filter(is_uncounted).count()) {
            Some(held) => self._held = held,
            None => {
                self.attachments.clear();
                self.lost.get_or_insert_with(|| TOO_MANY.to_owned());
            }
        }
    }

    /// Takes out the descriptor that the sender calls `id`.
    pub(super) fn take(&mut self, id: u64) -> Result<(SlowClose, Taken), &str> {
        let at = self
            .attachments
            .iter()
            .position(|(number, _)| *number == id);
        let found = at.map(|at| self.attachments.swap_remove(at).1);
        match found.and_then(Arc::into_inner) {
            Some(attachment) => {
                let taken = Taken(attachment.id, id);
                self.taken.push(taken);
                Ok((attachment.descriptor, taken))
            }
            None => Err(self.missing()),
        }
    }

    /// Puts back a descriptor that was taken out. One of other bytes is closed.
    pub(super) fn give_back(&mut self, taken: Taken, file: SlowClose) {
        if let Some(at) = self.taken.iter().position(|own| *own == taken) {
            self.taken.swap_remove(at);
            self.attachments.push((taken.1, AttachedFile::of(file)));
        }
    }

    fn missing(&self) -> &str {
        self.lost
            .as_deref()
            .unwrap_or("its descriptor did not come with it")
    }

    /// The attachment that the sender calls `id`.
    pub(crate) fn find(&self, id: u64) -> Result<Arc<AttachedFile>, &str> {
        match self.attachments.iter().find(|(number, _)| *number == id) {
            Some((_, attachment)) => Ok(attachment.clone()),
            None => Err(self.missing()),
        }
    }
}

/// The descriptors that have arrived at one end of a socket, and have no numbers yet.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// For each message: its descriptors, without numbers; and how many bytes had been received
    /// when it had come.
    queue: VecDeque<(Descriptors, u64)>,
    /// How many bytes have been received.
    pub(crate) received: u64,
    /// More has come than a peer sends.
    is_broken: bool,
}

impl Arrivals {
    /// Receives bytes from the parent into `buffer`, and the descriptors that come with them. The
    /// error `TOOMANYREFS` means that the peer sends too many descriptors without claiming them.
    pub(crate) fn receive(
        &mut self,
        socket: impl AsFd,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> rustix::io::Result<usize> {
        self.receive_as(|file| Some(SlowClose::never(file)), socket, buffer, flags)
    }

    /// The same, from a worker. The error means also that too many descriptors whose close may wait
    /// are held. Nothing more is received after it.
    pub(crate) fn receive_from_worker(
        &mut self,
        socket: impl AsFd,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> rustix::io::Result<usize> {
        self.receive_as(SlowClose::of_worker, socket, buffer, flags)
    }

    fn receive_as(
        &mut self,
        owned: fn(OwnedFile) -> Option<SlowClose>,
        socket: impl AsFd,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> rustix::io::Result<usize> {
        if self.is_broken {
            return Err(Errno::TOOMANYREFS);
        }
        let handover::Received {
            bytes,
            descriptors,
            lost,
        } = handover::receive(socket, buffer, flags)?;
        self.received += bytes as u64;
        if lost || !descriptors.is_empty() {
            let mut arrived = Descriptors {
                lost: lost.then(|| TOO_MANY.to_owned()),
                ..Descriptors::default()
            };
            for descriptor in descriptors {
                match owned(descriptor) {
                    Some(file) => arrived.attachments.push((0, AttachedFile::of(file))),
                    None => self.is_broken = true,
                }
            }
            arrived.count();
            self.queue.push_back((arrived, self.received));
            self.is_broken |= self.queue.len() > MOST_ARRIVALS;
        }
        if self.is_broken {
            self.queue.clear();
            return Err(Errno::TOOMANYREFS);
        }
        Ok(bytes)
    }

    /// Handles the message `Descriptors` with these numbers: its descriptors are the first that
    /// have not been claimed.
    pub(crate) fn claim(&mut self, numbers: &[u64]) -> Descriptors {
        let (mut arrived, _) = self.queue.pop_front().unwrap_or_default();
        let count = arrived.attachments.len().min(numbers.len());
        arrived.attachments.truncate(count);
        for (own, number) in arrived.attachments.iter_mut().zip(numbers) {
            own.0 = *number;
        }
        arrived
    }

    /// All bytes that were received have been used, except the last `left`: descriptors that came
    /// with the others will not be claimed any more.
    pub(crate) fn used(&mut self, left: usize) {
        let used = self.received.saturating_sub(left as u64);
        while self.queue.front().is_some_and(|(_, at)| *at <= used) {
            self.queue.pop_front();
        }
    }
}

#[cfg(all(test, target_os = "linux", not(trefoil_port)))]
mod tests {
    use std::io::{self, IoSlice};
    use std::os::unix::net::UnixStream;

    use rustix::net::SendFlags;

    use super::*;

    #[test]
    fn descriptors_come_with_their_message_and_are_closed_if_unclaimed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (kept, dropped) = (io::pipe().unwrap(), io::pipe().unwrap());
        let flags = SendFlags::empty();
        let mut arrivals = Arrivals::default();
        let mut buffer = [0; 64];
        for (bytes, descriptor) in [(b"abc", kept.1), (b"def", dropped.1)] {
            let attachment = [AttachedFile::new(descriptor.into())];
            let sent = send(&ours, &[IoSlice::new(bytes)], &attachment, flags);
            assert_eq!(sent, Ok(3));
        }
        let nothing: &[OwnedFile] = &[];
        send(&ours, &[IoSlice::new(b"ghi")], nothing, flags).unwrap();
        let mut have = 0;
        while have < 9 {
            let some = arrivals.receive(&theirs, &mut buffer[have..], RecvFlags::empty());
            have += some.unwrap();
        }
        assert_eq!(&buffer[..9], b"abcdefghi");
        let descriptors = arrivals.claim(&[7, 8]);
        let found = descriptors.find(7).map_err(str::to_owned);
        assert!(descriptors.find(8).is_err() && found.is_ok());
        drop(descriptors);
        arrivals.used(9);
        assert_eq!(arrivals.queue.len(), 1, "nothing has been used");
        arrivals.used(3);
        assert_eq!(arrivals.queue.len(), 0);
        let end = |pipe: &io::PipeReader| {
            rustix::io::ioctl_fionbio(pipe, true).unwrap();
            rustix::io::read(pipe, &mut [0u8; 1][..])
        };
        assert_eq!(end(&dropped.0), Ok(0));
        assert_eq!(end(&kept.0), Err(Errno::AGAIN));
        drop(found);
        assert_eq!(end(&kept.0), Ok(0));
    }
}
