//! One end of a channel, without types: bytes in, bytes out, and when to wait.
//!
//! ```text
//!   Sender ──record──► pipe ──record──► Receiver
//!     │   └─payload──► file ──payload──┘   │
//!     └───────────── credits ◄─────────────┘
//! ```
//!
//! 1. An item is encoded. One that does not fit into a record goes into the file, into pages that
//!    no other item gets.
//! 2. The sender takes a credit from the semaphore (an `eventfd`, which begins with the capacity),
//!    or waits until there is one, and writes the record, which the kernel takes and hands out in
//!    one piece.
//! 3. A receiver reads a record, releases a credit, and takes the item out of the file, whose pages
//!    are freed.
//!
//! **Ends.** The pipe's write end is only in senders, its read end only in receivers. So the kernel
//! reports when all peers are gone, however they ended. A write to a pipe without readers also
//! raises a signal, which may kill the process; it is suppressed (`sys::broken_pipe`) if it could
//! do so when the end was made. No process keeps an end that it does not use (W25, W26).
//!
//! **Deaths.** A process that is killed between the two steps of 2 or of 3 takes a credit along. A
//! sender that has found none for a second, while the number of items stayed the same and below the
//! capacity, writes its record without one (one sender at a time); the receiver gives a credit for
//! it as for any other. If the process was only stopped, there is a credit too many: a sender that
//! takes one while the channel is full drops it. Payload pages of the dead are freed with the
//! channel.
//!
//! **Invariants.**
//! - **W21** A record is written and read by one system call each, and its size divides a page:
//!   readers never see parts of two.
//! - **W22** Nothing from the pipe or the file is trusted: lengths and offsets are checked against
//!   the file before they are used, and undecodable data is an error.
//!
//! Tests: `tests/process/channel.rs`. Rejected: `docs/DESIGN.md`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::alarm::Interest;
use crate::loom::Mutex;
use crate::process::payload::attachments::Attachment;
use crate::process::payload::scope;
use crate::sys::descriptor::OwnedFile;
use crate::sys::poll::poll;
use crate::sys::{broken_pipe, conduit, ends, files};

/// Large items begin at multiples of this in the file.
const PAGE: usize = 4096;

/// How long a record is, and how long in a channel of very many (W21).
const LONG: usize = 64;
const SHORT: usize = 16;

/// The first byte of a record whose item is in the file.
const ELSEWHERE: u8 = 0xff;

/// The pipe that every user may have: a mebibyte. The kernel frees no page before all of it was
/// read, so a page more is needed than the records take.
const COMMON: usize = 1 << 20;
/// The largest that the kernel makes.
const LARGEST: usize = 1 << 31;

/// How long a channel must stand still until its missing credits count as lost, and how many looks
/// at least must have found it so.
const STILL: Duration = Duration::from_secs(1);
const STILL_LOOKS: u32 = 3;
/// How often a waiting sender checks whether the channel stands still.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// The length of the records of a channel with this capacity.
fn record_length(capacity: usize) -> usize {
    match capacity <= (COMMON - PAGE) / LONG {
        true => LONG,
        false => SHORT,
    }
}

/// Which end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Sends,
    Receives,
}

/// One end.
#[derive(Debug)]
pub(super) struct Pipe {
    side: Side,
    pipe: Arc<Attachment>,
    /// The file for large items. Its position, which all ends share, is where the next one begins.
    file: Arc<Attachment>,
    /// A semaphore: how many items may be sent now.
    credits: Arc<Attachment>,
    capacity: usize,
    /// When this end was made, a write without a receiver would have ended this process.
    is_deadly: bool,
    standstill: Mutex<Option<Standstill>>,
}

/// The state in which there is no credit, although the channel is not full.
#[derive(Debug)]
struct Standstill {
    /// How many items there were, at all looks.
    length: usize,
    since: Instant,
    /// Between two looks that are far apart anything may have happened.
    last: Instant,
    looks: u32,
}

/// Why nothing can be sent or received now.
#[derive(Debug)]
pub(super) enum Refused {
    /// The caller has to wait.
    Wait,
    /// All peers are gone.
    Closed,
    /// This item cannot be sent, or is invalid; the reason.
    Broken(String),
}

/// What is written into the pipe: the item itself, or its place in the file.
pub(super) type Record = [u8; LONG];

impl Pipe {
    /// Both ends of a new channel.
    pub(super) fn pair(capacity: usize) -> io::Result<(Arc<Self>, Arc<Self>)> {
        let capacity = capacity.max(1);
        let needed = capacity
            .saturating_mul(record_length(capacity))
            .saturating_add(PAGE);
        let too_large = || {
            let words = format!(
                "the system has no room for {capacity} items in a channel between processes"
            );
            io::Error::new(io::ErrorKind::InvalidInput, words)
        };
        if needed > LARGEST {
            return Err(too_large());
        }
        let (read, write) = conduit::pipe(needed)?.ok_or_else(too_large)?;
        let file = Attachment::new(conduit::file()?);
        let credits = Attachment::new(conduit::credits(capacity as u32)?);
        let end = |side, pipe| {
            let (file, credits) = (file.clone(), credits.clone());
            Self::new(side, Attachment::new(pipe), file, credits, capacity)
        };
        Ok((end(Side::Sends, write), end(Side::Receives, read)))
    }

    fn new(
        side: Side,
        pipe: Arc<Attachment>,
        file: Arc<Attachment>,
        credits: Arc<Attachment>,
        capacity: usize,
    ) -> Arc<Self> {
        pipe.set_end();
        Arc::new(Self {
            side,
            pipe,
            file,
            credits,
            capacity,
            is_deadly: side == Side::Sends && broken_pipe::is_deadly(),
            standstill: Mutex::new(None),
        })
    }

    /// Attaches it to the value that is being encoded. Returns the numbers that name it there.
    pub(super) fn load(&self) -> Result<(u64, u64, u64, u64), String> {
        let [pipe, file, credits] = [&self.pipe, &self.file, &self.credits].map(scope::attach);
        Ok((pipe?, file?, credits?, self.capacity as u64))
    }

    /// The end that came with a value under these `names`. Nothing of it is trusted.
    pub(super) fn unload(side: Side, names: (u64, u64, u64, u64)) -> Result<Arc<Self>, String> {
        let [pipe, file, credits] = [names.0, names.1, names.2].map(scope::attached);
        let (pipe, file, credits) = (pipe?, file?, credits?);
        let wrong = || scope::said("what came along is no end of a channel");
        if ends::is_pipe(&pipe, side == Side::Sends) != Ok(true) {
            return Err(wrong());
        }
        for quick in [&pipe, &credits] {
            ends::unblock(quick).map_err(|_| wrong())?;
        }
        let capacity = names.3.clamp(1, LARGEST as u64) as usize;
        Ok(Self::new(side, pipe, file, credits, capacity))
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many records there are.
    pub(super) fn length(&self) -> usize {
        let bytes = ends::waiting(&self.pipe);
        bytes as usize / record_length(self.capacity)
    }

    /// Whether all peers are gone.
    fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.pipe, PollFlags::empty())];
        let now = Timespec::default();
        poll(&mut fds, Some(&now)).is_ok() && !fds[0].revents().is_empty()
    }
}

// Sending.
impl Pipe {
    /// Why nothing could be sent now, if so.
    pub(super) fn refuses(&self) -> Option<Refused> {
        if self.is_hung_up() {
            return Some(Refused::Closed);
        }
        (self.length() >= self.capacity).then_some(Refused::Wait)
    }

    /// Puts the bytes of an item into a record, or into the file.
    pub(super) fn pack(&self, item: &[u8]) -> Result<Record, Refused> {
        let mut record = [0; LONG];
        if item.len() < record_length(self.capacity) {
            record[0] = item.len() as u8;
            record[1..][..item.len()].copy_from_slice(item);
            return Ok(record);
        }
        let no_memory =
            |why: io::Error| Refused::Broken(format!("there is no memory for it: {why}"));
        let room = item.len().next_multiple_of(PAGE) as u64;
        let end = ends::advance(&self.file, room);
        let offset = end.map_err(|error| no_memory(error.into()))? - room;
        let page = offset / PAGE as u64;
        record[..8].copy_from_slice(&(page << 8 | u64::from(ELSEWHERE)).to_le_bytes());
        record[8..16].copy_from_slice(&(item.len() as u64).to_le_bytes());
        if let Err(why) = files::write_all_at(&self.file.descriptor, item, offset) {
            self.discard(&record);
            return Err(no_memory(why));
        }
        Ok(record)
    }

    /// Frees the memory of an item that will not be sent.
    pub(super) fn discard(&self, record: &Record) {
        if record[0] == ELSEWHERE {
            let (offset, length) = elsewhere(record);
            self.release(offset, length);
        }
    }

    fn release(&self, offset: u64, length: u64) {
        conduit::release(&self.file, offset, length.next_multiple_of(PAGE as u64));
    }

    /// Sends an item if there is a credit for it.
    pub(super) fn send(&self, record: &Record) -> Result<(), Refused> {
        let has_credit = ends::read(&self.credits, &mut [0; 8]) == Ok(8);
        let length = self.length();
        // A credit beyond the capacity is one too many, and is not given back.
        let sent = if length >= self.capacity {
            Err(Errno::AGAIN)
        } else if has_credit {
            self.write(record)
        } else {
            self.write_without_credit(record, length)
        };
        if has_credit || length >= self.capacity {
            *self.standstill.lock() = None;
        }
        match sent {
            Ok(()) => Ok(()),
            Err(Errno::AGAIN) if !self.is_hung_up() => Err(Refused::Wait),
            Err(_) => Err(Refused::Closed),
        }
    }

    fn write(&self, record: &Record) -> Result<(), Errno> {
        let record = &record[..record_length(self.capacity)];
        let write = || ends::write(&self.pipe, record);
        match self.is_deadly {
            true => broken_pipe::quietly(write),
            false => write(),
        }
        .map(drop)
    }

    /// Called with `length` items, fewer than the capacity, and no credit. If it has been so for
    /// long, killed processes have taken credits along, and an item is sent without one: its
    /// receiver gives a credit for it, as for any other.
    fn write_without_credit(&self, record: &Record, length: usize) -> Result<(), Errno> {
        if !self.stands_still(length) {
            return Err(Errno::AGAIN);
        }
        let _only = self.only_one().map_err(|_| Errno::AGAIN)?; // another sender has it, or the system refuses it now
        match self.length() == length {
            true => self.write(record),
            false => Err(Errno::AGAIN), // another sender was faster
        }
    }

    /// Whether this look, which has found no credit and `length` items, is one of many that found
    /// the same for some time.
    fn stands_still(&self, length: usize) -> bool {
        let now = Instant::now();
        let mut standstill = self.standstill.lock();
        let (since, looks) = match &*standstill {
            Some(before) if before.length == length && now < before.last + 2 * LOOK => {
                (before.since, before.looks + 1)
            }
            _ => (now, 1),
        };
        *standstill = Some(Standstill {
            length,
            since,
            last: now,
            looks,
        });
        looks >= STILL_LOOKS && now >= since + STILL
    }

    /// A lock that only one sender can hold at a time. If its process dies, the kernel releases it.
    fn only_one(&self) -> Result<OwnedFile, Errno> {
        conduit::only_one(&self.file)
    }
}

// Receiving.
impl Pipe {
    /// The bytes of the next item.
    pub(super) fn receive(&self) -> Result<Vec<u8>, Refused> {
        let mut record = [0; LONG];
        let length = record_length(self.capacity);
        let count = match ends::read(&self.pipe, &mut record[..length]) {
            Ok(count @ 1..) => count,
            Err(Errno::AGAIN) => return Err(Refused::Wait),
            Ok(0) | Err(_) => return Err(Refused::Closed),
        };
        let _ = ends::write(&self.credits, &1u64.to_ne_bytes());
        let broken = |what: &str| Refused::Broken(format!("what arrived is no item: {what}"));
        if count != length {
            return Err(broken("it is not whole"));
        }
        if record[0] != ELSEWHERE {
            let item = record[1..length].get(..usize::from(record[0]));
            return item
                .map(<[u8]>::to_vec)
                .ok_or_else(|| broken("its length is wrong"));
        }
        let (offset, length) = elsewhere(&record);
        let size = ends::length(&self.file);
        let inside = offset.checked_add(length).is_some_and(|end| end <= size);
        if !inside {
            return Err(broken("it lies nowhere"));
        }
        let item = self.read(offset, length);
        self.release(offset, length);
        item
    }

    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Refused> {
        let broken = |why: String| Refused::Broken(format!("it cannot be read: {why}"));
        let (mut item, length) = (Vec::new(), length as usize);
        item.try_reserve_exact(length)
            .map_err(|error| broken(error.to_string()))?;
        item.resize(length, 0);
        let read = ends::read_exact_at(&self.file.descriptor, &mut item, offset);
        read.map_err(|error| broken(error.to_string()))?;
        Ok(item)
    }
}

/// Where the item is, and how long.
fn elsewhere(record: &Record) -> (u64, u64) {
    let (words, _) = record.as_chunks();
    let [place, length] = [words[0], words[1]].map(u64::from_le_bytes);
    ((place >> 8).saturating_mul(PAGE as u64), length)
}

// Waiting.
impl Pipe {
    /// The event to wait for: an item, or a credit; and the end in any case.
    pub(super) fn interest(&self) -> Interest {
        let pipe = self.pipe.clone();
        match self.side {
            Side::Receives => Interest([Some((pipe, PollFlags::IN)), None]),
            Side::Sends => {
                let credits = self.credits.clone();
                Interest([
                    Some((credits, PollFlags::IN)),
                    Some((pipe, PollFlags::empty())),
                ])
            }
        }
    }

    /// Blocks this thread until something may have happened, or it is late. False: it is late.
    pub(super) fn block(&self, until: Option<Instant>) -> bool {
        let limit = until.map(|until| until.saturating_duration_since(Instant::now()));
        if limit == Some(Duration::ZERO) {
            return false;
        }
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let interest = self.interest();
        let mut fds: Vec<PollFd<'_>> = interest.fds().collect();
        poll(&mut fds, limit.as_ref()) != Ok(0)
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, trefoil_port))))]
mod tests {
    use super::*;

    const ITEM: Record = [1; LONG];

    fn sends(pipe: &Pipe) -> bool {
        match pipe.send(&ITEM) {
            Ok(()) => true,
            Err(Refused::Wait) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn fill(pipe: &Pipe) -> usize {
        std::iter::repeat_with(|| sends(pipe))
            .take_while(|sent| *sent)
            .count()
    }

    #[test]
    fn a_lost_credit_is_made_up_for_after_a_second() {
        let (tx, rx) = Pipe::pair(2).unwrap();
        // As a sender does that is killed now.
        assert_eq!(rustix::io::read(&tx.credits, &mut [0; 8]), Ok(8));
        assert_eq!(fill(&tx), 1);
        let begin = Instant::now();
        while !sends(&tx) {
            assert_eq!(tx.length(), 1);
            assert!(begin.elapsed() < 60 * STILL, "it is lost for good");
            std::thread::yield_now();
        }
        assert!(begin.elapsed() >= STILL);
        assert_eq!((fill(&tx), tx.length()), (0, 2), "and no more than one");
        (0..2).for_each(|_| drop(rx.receive().unwrap()));
        assert_eq!((fill(&tx), tx.length()), (2, 2));
    }

    #[test]
    fn only_one_sender_makes_up_for_it() {
        let (tx, _rx) = Pipe::pair(3).unwrap();
        assert_eq!(fill(&tx), 3);
        let first = tx.only_one().unwrap();
        assert_eq!(tx.only_one().unwrap_err(), Errno::AGAIN);
        drop(first);
        assert!(tx.only_one().is_ok());
        // A sender that was behind finds another length than it has seen.
        for _ in 0..STILL_LOOKS {
            assert!(!tx.stands_still(2), "not before a second is over");
        }
        tx.standstill.lock().as_mut().unwrap().since -= STILL;
        assert_eq!(tx.write_without_credit(&ITEM, 2), Err(Errno::AGAIN));
        assert_eq!(tx.length(), 3);
    }

    #[test]
    fn what_moves_does_not_stand_still() {
        let (tx, _rx) = Pipe::pair(3).unwrap();
        for length in [0, 1, 0, 1, 0] {
            assert!(!tx.stands_still(length));
            tx.standstill.lock().as_mut().unwrap().since -= STILL;
        }
        assert!(!tx.stands_still(0), "two looks are not enough");
        assert!(tx.stands_still(0));
    }

    #[test]
    fn a_credit_too_many_is_dropped() {
        let (tx, rx) = Pipe::pair(2).unwrap();
        rustix::io::write(&tx.credits, &1u64.to_ne_bytes()).unwrap();
        assert_eq!((fill(&tx), tx.length()), (2, 2));
        drop(rx.receive().unwrap());
        assert_eq!((fill(&tx), tx.length()), (1, 2));
    }
}
