//! One end of a channel, without types: bytes in, bytes out, when to wait, and what deaths leave.
//!
//! ```text
//!   Sender ──record──► pipe ──record──► Receiver
//!     │   └─payload──► file ──payload──┘   │
//!     └───────────── credits ◄─────────────┘
//! ```
//!
//! 1. An item is encoded. One that does not fit into a record goes into the file, into pages that
//!    no other item gets ([`PageNumbers`]). The record has its checksum.
//! 2. The sender takes a credit from the semaphore (an `eventfd`, which begins with the capacity),
//!    or waits until there is one, and writes the record, which the kernel takes and hands out in
//!    one piece.
//! 3. A receiver reads a record, releases a credit, takes the item out of the file, whose pages are
//!    freed, and compares the checksum.
//!
//! **Ends.** The pipe's write end is only in senders, its read end only in receivers. So the kernel
//! reports when all peers are gone, however they ended. A write to a pipe without readers also
//! raises a signal, which may kill the process; it is suppressed (`host::broken_pipe`) if it could
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
//! - **W23** An item that is received is the one that was sent with its record, or an error: the
//!   checksum says so. It rests neither on W21 nor on whose pages are whose.
//!
//! Tests: `tests/process/channel.rs`. Rejected: `docs/internals/decisions/channel-room.md`.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::loom::Mutex;
use crate::process::pages::checksum::checksum;
use crate::process::pages::page_numbers::{PAGE, PageNumbers};
use crate::process::value::attachments::AttachedFile;
use crate::process::value::reason;
use crate::process::value::scope;
use crate::sys::descriptor::OwnedFile;
use crate::sys::files;
use crate::sys::large_pages;
use crate::sys::poll::poll;
use crate::timer::WatchedFds;
use trefoil_os::host::{broken_pipe, channel_files, ends, free_memory};

/// How long a record may be (W21). A channel has the longest ones that its pipe has room for.
const LENGTHS: [usize; 4] = [LONG, 64, 32, SHORT];
const LONG: usize = 128;
const SHORT: usize = 16;

/// The first byte of a record whose item is in the file: the number of its first page and its
/// length follow the checksum, in [`POSITION`] and [`LENGTH`]. The first byte of another record is
/// the item's length, and the item follows the checksum.
const ELSEWHERE: u8 = 0xff;

/// Where in a record the checksum is, and what follows it.
const CHECKSUM: Range<usize> = 1..5;
const POSITION: Range<usize> = 5..11;
const LENGTH: Range<usize> = 11..16;

/// The pipe that every user may have: a mebibyte. The kernel frees no page before all of it was
/// read, so a page more is needed than the records take.
const COMMON: usize = 1 << 20;
/// The largest pipe that the kernel makes.
const LARGEST: usize = 1 << 31;

/// How long a channel must stand still until its missing credits count as lost, and how many checks
/// at least must have found it so.
const STILL: Duration = Duration::from_secs(1);
const STILL_LOOKS: u32 = 3;
/// How often a waiting sender checks whether the channel stands still.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// Which end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Sends,
    Receives,
}

/// One end of a channel.
#[derive(Debug)]
pub(super) struct ChannelPipe {
    side: Side,
    pipe: Arc<AttachedFile>,
    /// The file for large items.
    file: Arc<AttachedFile>,
    /// The room in it, for an end that sends.
    page_numbers: Option<PageNumbers>,
    /// A semaphore: how many items may be sent now.
    credits: Arc<AttachedFile>,
    capacity: usize,
    /// How long its records are: one of [`LENGTHS`].
    length: usize,
    /// When this end was made, a write without a receiver would have ended this process.
    is_deadly: bool,
    standstill: Mutex<Option<Standstill>>,
}

/// The state in which there is no credit, although the channel is not full.
#[derive(Debug)]
struct Standstill {
    /// How many items there were, at every check.
    length: usize,
    since: Instant,
    /// The last check: between two checks that are far apart anything may have happened.
    last: Instant,
    looks: u32,
}

/// Why nothing can be sent or received now.
#[derive(Debug)]
pub(super) enum PipeError {
    /// The caller has to wait.
    Wait,
    /// All peers are gone.
    Closed,
    /// This item cannot be sent, or is invalid; the reason.
    Broken(String),
}

/// The numbers of an end's files where it travels, and its capacity and the length of a record.
type Names = ([u64; 3], [u64; 2]);

/// What is written into the pipe: the item itself, or its place in the file.
pub(super) type PipeRecord = [u8; LONG];

impl ChannelPipe {
    /// Both ends of a new channel.
    pub(super) fn pair(capacity: usize) -> io::Result<(Arc<Self>, Arc<Self>)> {
        let capacity = capacity.max(1);
        let Some((length, (read, write))) = Self::pipe(capacity)? else {
            let message = format!(
                "the system has no room for a channel of {capacity} items between processes"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let file = AttachedFile::new(channel_files::file(PAGE)?);
        let credits = AttachedFile::new(channel_files::credits(capacity as u32)?);
        let end = |side, pipe| {
            let (file, credits) = (file.clone(), credits.clone());
            Self::new(
                side,
                [AttachedFile::new(pipe), file, credits],
                capacity,
                length,
            )
        };
        Ok((end(Side::Sends, write)?, end(Side::Receives, read)?))
    }

    /// A pipe for `capacity` records, and how long they are. `None`: the system has no room for
    /// them.
    fn pipe(capacity: usize) -> io::Result<Option<(usize, (OwnedFile, OwnedFile))>> {
        for length in LENGTHS {
            let needed = capacity.saturating_mul(length).saturating_add(PAGE);
            let most = if length == SHORT { LARGEST } else { COMMON };
            if needed <= most
                && let Some(pipe) = channel_files::pipe(needed)?
            {
                return Ok(Some((length, pipe)));
            }
        }
        Ok(None)
    }

    fn new(
        side: Side,
        [pipe, file, credits]: [Arc<AttachedFile>; 3],
        capacity: usize,
        length: usize,
    ) -> io::Result<Arc<Self>> {
        pipe.set_end();
        let page_numbers = (side == Side::Sends)
            .then(|| PageNumbers::of(&*file))
            .transpose()?;
        Ok(Arc::new(Self {
            side,
            pipe,
            file,
            page_numbers,
            credits,
            capacity,
            length,
            is_deadly: side == Side::Sends && broken_pipe::is_deadly(),
            standstill: Mutex::new(None),
        }))
    }

    /// Attaches it to the value that is being encoded. Returns the numbers that name it there.
    pub(super) fn load(&self) -> Result<Names, String> {
        let (pipe, file) = (scope::attach(&self.pipe)?, scope::attach(&self.file)?);
        let credits = scope::attach(&self.credits)?;
        let numbers = [self.capacity as u64, self.length as u64];
        Ok(([pipe, file, credits], numbers))
    }

    /// The end that came with a value under these `names`. Nothing of it is trusted.
    pub(super) fn unload(
        side: Side,
        ([pipe, file, credits], numbers): Names,
    ) -> Result<Arc<Self>, String> {
        let (pipe, file) = (scope::attached(pipe)?, scope::attached(file)?);
        let credits = scope::attached(credits)?;
        let wrong = || reason::set("the descriptor that came with it is not the end of a channel");
        let count = |number: u64| number.clamp(1, LARGEST as u64) as usize;
        let (capacity, length) = (count(numbers[0]), count(numbers[1]));
        if ends::is_pipe(&pipe, side == Side::Sends) != Ok(true) || !LENGTHS.contains(&length) {
            return Err(wrong());
        }
        for quick in [&pipe, &credits] {
            ends::unblock(quick).map_err(|_| wrong())?;
        }
        Self::new(side, [pipe, file, credits], capacity, length).map_err(|_| wrong())
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many records there are.
    pub(super) fn length(&self) -> usize {
        let bytes = ends::waiting(&self.pipe);
        bytes as usize / self.length
    }

    /// Whether all peers are gone.
    fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.pipe, PollFlags::empty())];
        let now = Timespec::default();
        poll(&mut fds, Some(&now)).is_ok() && !fds[0].revents().is_empty()
    }
}

// Sending.
impl ChannelPipe {
    /// Why nothing could be sent now, if so.
    pub(super) fn refuses(&self) -> Option<PipeError> {
        if self.is_hung_up() {
            return Some(PipeError::Closed);
        }
        (self.length() >= self.capacity).then_some(PipeError::Wait)
    }

    /// Puts the bytes of an item into a record, or into the file.
    pub(super) fn pack(&self, item: &[u8]) -> Result<PipeRecord, PipeError> {
        let mut record = [0; LONG];
        record[CHECKSUM].copy_from_slice(&checksum(item).to_le_bytes());
        let inside = &mut record[CHECKSUM.end..self.length];
        if let Some(inside) = inside.get_mut(..item.len()) {
            inside.copy_from_slice(item);
            record[0] = item.len() as u8;
            return Ok(record);
        }
        let no_memory =
            |why: io::Error| PipeError::Broken(format!("there is no memory for the item: {why}"));
        let room = self
            .page_numbers
            .as_ref()
            .and_then(|own| own.reserve(item.len()));
        let length = (item.len() as u64).to_le_bytes();
        let (Some(offset), [.., 0, 0, 0]) = (room, length) else {
            return Err(no_memory(io::ErrorKind::FileTooLarge.into()));
        };
        record[0] = ELSEWHERE;
        record[POSITION].copy_from_slice(&(offset / PAGE as u64).to_le_bytes()[..POSITION.len()]);
        record[LENGTH].copy_from_slice(&length[..LENGTH.len()]);
        if let Err(why) = files::write_all_at(self.file.descriptor.file(), item, offset) {
            self.discard(&record);
            return Err(no_memory(why));
        }
        Ok(record)
    }

    /// Frees the memory of an item that will not be sent.
    pub(super) fn discard(&self, record: &PipeRecord) {
        if record[0] == ELSEWHERE {
            let (offset, length) = elsewhere(record);
            self.release(offset, length);
        }
    }

    fn release(&self, offset: u64, length: u64) {
        channel_files::release(&self.file, offset, length.next_multiple_of(PAGE as u64));
    }

    /// Sends an item if there is a credit for it.
    pub(super) fn send(&self, record: &PipeRecord) -> Result<(), PipeError> {
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
            Err(Errno::AGAIN) if !self.is_hung_up() => Err(PipeError::Wait),
            Err(_) => Err(PipeError::Closed),
        }
    }

    fn write(&self, record: &PipeRecord) -> Result<(), Errno> {
        let record = &record[..self.length];
        let write = || ends::write(&self.pipe, record);
        if self.is_deadly {
            broken_pipe::quietly(write)
        } else {
            write()
        }
        .map(drop)
    }

    /// Called with `length` items, fewer than the capacity, and no credit. If it has been so for
    /// long, killed processes have taken credits with them, and an item is sent without one: its
    /// receiver gives a credit for it, as for any other.
    fn write_without_credit(&self, record: &PipeRecord, length: usize) -> Result<(), Errno> {
        if !self.stands_still(length) {
            return Err(Errno::AGAIN);
        }
        // Only one sender can hold this lock at a time; if its process dies, the kernel releases
        // it. (An error: another sender has it, or the system refuses it now.)
        let _only = channel_files::only_one(&self.file).map_err(|_| Errno::AGAIN)?;
        if self.length() != length {
            return Err(Errno::AGAIN); // another sender was faster
        }
        self.write(record)
    }

    /// Whether this check, which has found no credit and `length` items, is one of several in a row
    /// that found the same for some time.
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
}

// Receiving.
impl ChannelPipe {
    /// The bytes of the next item.
    pub(super) fn receive(&self) -> Result<Vec<u8>, PipeError> {
        let mut record = [0; LONG];
        let length = self.length;
        let count = match ends::read(&self.pipe, &mut record[..length]) {
            Ok(count @ 1..) => count,
            Err(Errno::AGAIN) => return Err(PipeError::Wait),
            Ok(0) | Err(_) => return Err(PipeError::Closed),
        };
        let _ = ends::write(&self.credits, &1u64.to_ne_bytes());
        if count != length {
            return Err(broken("it is incomplete"));
        }
        let item = match record[0] {
            ELSEWHERE => self.take_out(&record)?,
            short => {
                let inside = &record[CHECKSUM.end..length];
                let item = inside.get(..short.into());
                item.ok_or_else(|| broken("its length is wrong"))?.to_vec()
            }
        };
        if checksum(&item).to_le_bytes() == record[CHECKSUM] {
            Ok(item)
        } else {
            Err(broken("its checksum is wrong"))
        }
    }

    /// The bytes of an item in the file, whose pages are freed.
    fn take_out(&self, record: &PipeRecord) -> Result<Vec<u8>, PipeError> {
        let (offset, length) = elsewhere(record);
        let size = files::length(&self.file).unwrap_or(0);
        let inside = offset.checked_add(length).is_some_and(|end| end <= size);
        if !inside {
            return Err(broken("its position is outside the channel's file"));
        }
        // (The file may have holes, so its size says little about what it holds.)
        if length > channel_files::held(&self.file) {
            return Err(broken(
                "it is longer than the contents of the channel's file",
            ));
        }
        let item = self.read(offset, length);
        self.release(offset, length);
        item
    }

    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, PipeError> {
        let failed = |why: String| PipeError::Broken(format!("it cannot be read: {why}"));
        let (mut item, length) = (Vec::new(), usize::try_from(length).unwrap_or(usize::MAX));
        free_memory::check(length).map_err(|error| failed(error.to_string()))?;
        let room = item.try_reserve_exact(length);
        room.map_err(|error| failed(error.to_string()))?;
        large_pages::advise(&mut item);
        while item.len() < length {
            let at = offset + item.len() as u64;
            match ends::append_at(&self.file, &mut item, at) {
                Ok(0) => return Err(failed("it ends too early".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(failed(io::Error::from(error).to_string())),
            }
        }
        item.truncate(length); // the vector may have more room
        Ok(item)
    }
}

#[cold]
fn broken(what: &str) -> PipeError {
    PipeError::Broken(format!("a damaged item arrived: {what}"))
}

/// Where the item is, and how long.
fn elsewhere(record: &PipeRecord) -> (u64, u64) {
    let number = |at: Range<usize>| {
        let mut number = [0; 8];
        number[..at.len()].copy_from_slice(&record[at]);
        u64::from_le_bytes(number)
    };
    (number(POSITION) * PAGE as u64, number(LENGTH))
}

// Waiting.
impl ChannelPipe {
    /// The event to wait for: an item or a credit; and in any case the end of all peers.
    pub(super) fn interest(&self) -> WatchedFds {
        let pipe = self.pipe.clone();
        match self.side {
            Side::Receives => WatchedFds([Some((pipe, PollFlags::IN)), None]),
            Side::Sends => {
                let credits = self.credits.clone();
                WatchedFds([
                    Some((credits, PollFlags::IN)),
                    Some((pipe, PollFlags::empty())),
                ])
            }
        }
    }

    /// Blocks this thread until something may have happened, or until `until`. False: the time is
    /// up.
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

    fn sends(pipe: &ChannelPipe) -> bool {
        match pipe.send(&pipe.pack(b"item").unwrap()) {
            Ok(()) => true,
            Err(PipeError::Wait) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn fill(pipe: &ChannelPipe) -> usize {
        std::iter::repeat_with(|| sends(pipe))
            .take_while(|sent| *sent)
            .count()
    }

    #[test]
    fn a_lost_credit_is_made_up_for_after_a_second() {
        let (tx, rx) = ChannelPipe::pair(2).unwrap();
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
        let (tx, _rx) = ChannelPipe::pair(3).unwrap();
        assert_eq!(fill(&tx), 3);
        let first = channel_files::only_one(&tx.file).unwrap();
        assert_eq!(channel_files::only_one(&tx.file).unwrap_err(), Errno::AGAIN);
        drop(first);
        assert!(channel_files::only_one(&tx.file).is_ok());
        // A sender that was behind finds another length than it has seen.
        for _ in 0..STILL_LOOKS {
            assert!(!tx.stands_still(2), "not before a second is over");
        }
        tx.standstill.lock().as_mut().unwrap().since -= STILL;
        let record = tx.pack(b"item").unwrap();
        assert_eq!(tx.write_without_credit(&record, 2), Err(Errno::AGAIN));
        assert_eq!(tx.length(), 3);
    }

    #[test]
    fn no_two_items_get_the_same_room() {
        const EACH: usize = 20_000;
        let (tx, _rx) = ChannelPipe::pair(1).unwrap();
        let offsets = || {
            let pack = || elsewhere(&tx.pack(&[1; 200]).unwrap()).0;
            std::iter::repeat_with(pack).take(EACH).collect::<Vec<_>>()
        };
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads = [0; 4].map(|_| scope.spawn(offsets));
            threads.map(|thread| thread.join().unwrap()).concat()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4 * EACH);
    }

    #[test]
    fn what_is_not_the_item_is_an_error() {
        for (capacity, size) in [(9, 3), (9, 300), (9, 9000), (50_000, 3), (50_000, 12)] {
            let (tx, rx) = ChannelPipe::pair(capacity).unwrap();
            let item = vec![7; size];
            let damages: [fn(&ChannelPipe, &mut PipeRecord); 4] = [
                |_, _| (),
                |tx, record| tx.discard(record),
                |tx, record| {
                    let place = elsewhere(record).0 + 7;
                    files::write_all_at(tx.file.descriptor.file(), b"other", place).unwrap();
                },
                |_, record| record[CHECKSUM.end + 1] ^= 1,
            ];
            for (n, damage) in damages.iter().enumerate() {
                let mut record = tx.pack(&item).unwrap();
                if record[0] == ELSEWHERE || n == 0 || n == 3 {
                    damage(&tx, &mut record);
                    tx.send(&record).unwrap();
                    match (n, rx.receive()) {
                        (0, received) => assert_eq!(received.unwrap(), item),
                        (_, Err(PipeError::Broken(_))) => {}
                        (_, received) => panic!("{capacity} {size} {n}: {received:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_hole_is_no_item() {
        let (tx, rx) = ChannelPipe::pair(9).unwrap();
        let claimed: u64 = 64 << 20;
        let mut record = tx.pack(&[7; 300]).unwrap();
        let behind = elsewhere(&record).0 / PAGE as u64 + 1;
        let size = behind * PAGE as u64 + claimed;
        rustix::fs::ftruncate(&tx.file, size).unwrap();
        record[POSITION].copy_from_slice(&behind.to_le_bytes()[..POSITION.len()]);
        record[LENGTH].copy_from_slice(&claimed.to_le_bytes()[..LENGTH.len()]);
        // Even one whose checksum is right.
        let zeros = vec![0; claimed as usize];
        record[CHECKSUM].copy_from_slice(&checksum(&zeros).to_le_bytes());
        tx.send(&record).unwrap();
        assert!(matches!(rx.receive(), Err(PipeError::Broken(_))));
    }

    #[test]
    fn records_are_as_long_as_there_is_room() {
        for (capacity, length) in [
            (1, 128),
            (8160, 128),
            (8161, 64),
            (16_321, 32),
            (32_641, 16),
            (65_280, 16),
        ] {
            let (tx, rx) = ChannelPipe::pair(capacity).unwrap();
            assert_eq!((tx.length, rx.length), (length, length));
            for size in [length - CHECKSUM.end, length - CHECKSUM.end + 1] {
                let record = tx.pack(&vec![7; size]).unwrap();
                assert_eq!(record[0] == ELSEWHERE, size + CHECKSUM.end > length);
                tx.send(&record).unwrap();
                assert_eq!(rx.receive().unwrap(), vec![7; size]);
            }
        }
    }

    #[test]
    fn what_moves_does_not_stand_still() {
        let (tx, _rx) = ChannelPipe::pair(3).unwrap();
        for length in [0, 1, 0, 1, 0] {
            assert!(!tx.stands_still(length));
            tx.standstill.lock().as_mut().unwrap().since -= STILL;
        }
        assert!(!tx.stands_still(0), "two looks are not enough");
        assert!(tx.stands_still(0));
    }

    #[test]
    fn a_credit_too_many_is_dropped() {
        let (tx, rx) = ChannelPipe::pair(2).unwrap();
        rustix::io::write(&tx.credits, &1u64.to_ne_bytes()).unwrap();
        assert_eq!((fill(&tx), tx.length()), (2, 2));
        drop(rx.receive().unwrap());
        assert_eq!((fill(&tx), tx.length()), (1, 2));
    }
}
