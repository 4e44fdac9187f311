//! One end of a channel, without types: bytes in, bytes out, and when to wait.
//!
//! The module above describes the protocol, and what happens when a process dies in the middle of it.
//!
//! - **W21** A record is written and read by one system call each, and its size divides a page: readers
//!   never see parts of two.
//! - **W22** Nothing that comes out of the pipe or the file is believed: lengths and places are checked
//!   against the file before they are used, and what cannot be decoded is an error.
//!
//! Tests: `tests/process/channel.rs`.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{FallocateFlags, FileType, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::places::{Count, Places, TAIL, WORDS};
use crate::alarm::Interest;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::process::payload::attachments::Attachment;
use crate::process::payload::scope;
use crate::sys::broken_pipe;
use crate::sys::mapping::{self, Access, Mapping};
use crate::sys::poll::poll;

/// The counters have so many bytes at the beginning of the file (`places`); behind them lie large items.
const PAGE: usize = 4096;

/// How long a record is, and how long in a channel of very many (W21).
const LONG: usize = 64;
const SHORT: usize = 16;

/// The first byte of a record whose item is in the file.
const ELSEWHERE: u8 = 0xff;

/// The pipe that everybody may have: a mebibyte. The kernel frees no page before all of it was read, so a
/// page more is needed than the records take.
const COMMON: usize = 1 << 20;
/// The largest that anybody may have.
const LARGEST: usize = 1 << 31;

/// How long counters that do not fit the pipe must stand still until the process that was to change them is taken for dead.
const STILL: Duration = Duration::from_secs(1);
/// How long a sender that waits for a place sleeps at first, and at most, until it looks again.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);

/// How long the records of such a channel are.
fn record_length(capacity: u64) -> usize {
    match capacity <= ((COMMON - PAGE) / LONG) as u64 {
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
    file: Arc<Attachment>,
    bell: Arc<Attachment>,
    /// The first page of the file.
    counters: Mapping,
    capacity: u64,
    /// A write that nobody can read would end this process, when this end was made.
    is_deadly: bool,
    suspicion: Mutex<Option<Suspicion>>,
}

/// More places are taken than there are records.
#[derive(Debug)]
struct Suspicion {
    /// The counters, which have not moved `since`.
    count: Count,
    since: Instant,
    /// How many places too many, at all looks.
    lost: u64,
}

/// Why there is nothing now.
#[derive(Debug)]
pub(super) enum Refused {
    /// It has to wait.
    Wait,
    /// It need not.
    Closed,
    /// This item cannot be sent, or is none: why.
    Broken(String),
}

/// An item on its way into the pipe: itself, or where in the file it is.
pub(super) type Record = [u8; LONG];

impl Pipe {
    /// Both ends of a new one.
    pub(super) fn pair(capacity: usize) -> io::Result<(Arc<Self>, Arc<Self>)> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (read, write) = rustix::pipe::pipe_with(flags)?;
        let capacity = capacity.max(1) as u64;
        let record = record_length(capacity) as u64;
        let needed = capacity.saturating_mul(record).saturating_add(PAGE as u64);
        let too_large = || {
            let words = format!(
                "the system has no room for {capacity} items in a channel between processes"
            );
            io::Error::new(io::ErrorKind::InvalidInput, words)
        };
        let needed = usize::try_from(needed).map_err(|_| too_large())?;
        let has = || rustix::pipe::fcntl_getpipe_size(&write);
        if needed > LARGEST
            || has()? < needed && {
                // Refused to a user who asks for more than the system's limit, or has very many pipes.
                let _ = rustix::pipe::fcntl_setpipe_size(&write, needed);
                has()? < needed
            }
        {
            return Err(too_large());
        }
        let file = mapping::create("trefoil-channel", PAGE)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, PAGE as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL)?;
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (file, bell) = (Attachment::new(file), Attachment::new(bell));
        let end = |side, pipe| {
            Self::new(
                side,
                Attachment::new(pipe),
                file.clone(),
                bell.clone(),
                capacity,
            )
        };
        Ok((end(Side::Sends, write)?, end(Side::Receives, read)?))
    }

    fn new(
        side: Side,
        pipe: Arc<Attachment>,
        file: Arc<Attachment>,
        bell: Arc<Attachment>,
        capacity: u64,
    ) -> io::Result<Arc<Self>> {
        let counters = Mapping::new(file.as_fd(), 0..PAGE, Access::Write)?;
        pipe.set_end();
        Ok(Arc::new(Self {
            side,
            pipe,
            file,
            bell,
            counters,
            capacity,
            is_deadly: side == Side::Sends && broken_pipe::is_deadly(),
            suspicion: Mutex::new(None),
        }))
    }

    /// Takes it along with what is being encoded; how it is called there.
    pub(super) fn load(&self) -> Result<(u64, u64, u64, u64), String> {
        let [pipe, file, bell] = [&self.pipe, &self.file, &self.bell].map(scope::attach);
        Ok((pipe?, file?, bell?, self.capacity))
    }

    /// The end that came along as `names`. Nothing is believed of it.
    pub(super) fn unload(side: Side, names: (u64, u64, u64, u64)) -> Result<Arc<Self>, String> {
        let [pipe, file, bell] = [names.0, names.1, names.2].map(scope::attached);
        let (pipe, file, bell) = (pipe?, file?, bell?);
        let wrong = || scope::said("what came along is no end of a channel");
        let mode = match side {
            Side::Sends => OFlags::WRONLY,
            Side::Receives => OFlags::RDONLY,
        };
        let stat = rustix::fs::fstat(&pipe).map_err(|_| wrong())?;
        let flags = rustix::fs::fcntl_getfl(&pipe).map_err(|_| wrong())?;
        let is_pipe = FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
        if !is_pipe || flags & OFlags::ACCMODE != mode {
            return Err(wrong());
        }
        for quick in [&pipe, &bell] {
            let flags = rustix::fs::fcntl_getfl(quick).map_err(|_| wrong())?;
            rustix::fs::fcntl_setfl(quick, flags | OFlags::NONBLOCK).map_err(|_| wrong())?;
        }
        let capacity = names.3.clamp(1, LARGEST as u64);
        Self::new(side, pipe, file, bell, capacity).map_err(|_| wrong())
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        let key =
            |pipe: &Self| rustix::fs::fstat(&pipe.file).map(|stat| (stat.st_dev, stat.st_ino));
        key(self).is_ok_and(|own| key(other) == Ok(own))
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// How many records there are.
    pub(super) fn length(&self) -> usize {
        let bytes = rustix::io::ioctl_fionread(&self.pipe).unwrap_or(0);
        bytes as usize / record_length(self.capacity)
    }

    fn words(&self) -> &[AtomicU64] {
        self.counters.words(0, 8 * WORDS).unwrap_or_default()
    }

    fn places(&self) -> Places<'_> {
        Places::new(self.words(), self.capacity)
    }

    fn ring(&self) {
        // A counter that is full rings, too.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// All peers are gone.
    fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.pipe, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).is_ok() && !fds[0].revents().is_empty()
    }
}

// Sending.
impl Pipe {
    /// Nothing could be sent now: why.
    pub(super) fn refuses(&self) -> Option<Refused> {
        if self.is_hung_up() {
            return Some(Refused::Closed);
        }
        (self.places().seem_full() && !self.mend()).then_some(Refused::Wait)
    }

    /// Puts the bytes of an item where receivers will find them.
    pub(super) fn pack(&self, item: &[u8]) -> Result<Record, Refused> {
        let mut record = [0; LONG];
        if item.len() < record_length(self.capacity) {
            record[0] = item.len() as u8;
            record[1..][..item.len()].copy_from_slice(item);
            return Ok(record);
        }
        let pages = item.len().div_ceil(PAGE) as u64;
        let page = self.words()[TAIL].fetch_add(pages, Ordering::Relaxed);
        let page = page.wrapping_add(1) % (i64::MAX as u64 / PAGE as u64);
        let place = page * PAGE as u64;
        record[..8].copy_from_slice(&(page << 8 | u64::from(ELSEWHERE)).to_le_bytes());
        record[8..16].copy_from_slice(&(item.len() as u64).to_le_bytes());
        if let Err(why) = self.file.file().write_all_at(item, place) {
            self.discard(&record);
            return Err(Refused::Broken(format!("there is no memory for it: {why}")));
        }
        Ok(record)
    }

    /// An item that will not be sent: gives its memory back.
    pub(super) fn discard(&self, record: &Record) {
        if record[0] == ELSEWHERE {
            let (place, length) = elsewhere(record);
            self.release(place, length);
        }
    }

    fn release(&self, place: u64, length: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let pages = length.next_multiple_of(PAGE as u64);
        let _ = rustix::fs::fallocate(&self.file, flags, place, pages);
    }

    /// Sends an item if there is a place.
    pub(super) fn send(&self, record: &Record) -> Result<(), Refused> {
        let mut sent = self.put(record);
        if sent.is_none() && self.mend() {
            sent = self.put(record);
        }
        match sent {
            Some(Ok(())) => {}
            Some(Err(Errno::AGAIN)) => return Err(Refused::Wait),
            Some(Err(_)) => return Err(Refused::Closed),
            None if self.is_hung_up() => return Err(Refused::Closed),
            None => return Err(Refused::Wait),
        }
        let places = self.places();
        if places.are_awaited() && !places.seem_full() {
            self.ring(); // there is another place, and the bell rang for both
        }
        Ok(())
    }

    fn put(&self, record: &Record) -> Option<Result<(), Errno>> {
        let record = &record[..record_length(self.capacity)];
        let write = || {
            loop {
                match rustix::io::write(&self.pipe, record) {
                    Err(Errno::INTR) => {}
                    result => return result.map(drop),
                }
            }
        };
        self.places().send(|| match self.is_deadly {
            true => broken_pipe::quietly(write),
            false => write(),
        })
    }

    /// There is no place, by the counters. Puts them right if the dead have left them
    /// wrong; true if there is a place now.
    fn mend(&self) -> bool {
        let places = self.places();
        let count = places.count();
        let lost = count.held().saturating_sub(self.length() as u64);
        let now = Instant::now();
        let mut suspicion = self.suspicion.lock();
        let (since, lost) = match &*suspicion {
            // (A process that has been between two steps since then is missing at both looks.)
            Some(before) if before.count == count => (before.since, lost.min(before.lost)),
            _ => (now, lost),
        };
        *suspicion = (lost > 0).then_some(Suspicion { count, since, lost });
        lost > 0 && now >= since + STILL && places.mend(count, lost)
    }

    /// Counts as waiting until it is dropped; the bell will ring for what happens from now on.
    pub(super) fn wait_for_place(&self) -> WaitsForPlace<'_> {
        self.places().wait();
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        WaitsForPlace(self)
    }

    /// How long to sleep before the next look, the `round`th.
    pub(super) fn patience(round: u32) -> Duration {
        LONGEST.min(SHORTEST * 2u32.saturating_pow(round.min(10)))
    }
}

/// A sender that waits for a place.
#[derive(Debug)]
pub(super) struct WaitsForPlace<'a>(&'a Pipe);

impl Drop for WaitsForPlace<'_> {
    fn drop(&mut self) {
        let places = self.0.places();
        places.end_wait();
        // The bell may have rung for this one.
        if places.are_awaited() && !places.seem_full() {
            self.0.ring();
        }
    }
}

// Receiving.
impl Pipe {
    /// The bytes of the next item.
    pub(super) fn receive(&self) -> Result<Vec<u8>, Refused> {
        let mut record = [0; LONG];
        let length = record_length(self.capacity);
        let mut read = || {
            loop {
                match rustix::io::read(&self.pipe, &mut record[..length]) {
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Err(Refused::Wait),
                    Err(_) | Ok(0) => return Err(Refused::Closed),
                    Ok(count) => return Ok(count),
                }
            }
        };
        let places = self.places();
        let count = read()?;
        places.give_back();
        if places.are_awaited() {
            self.ring();
        }
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
        let (place, length) = elsewhere(&record);
        let size = rustix::fs::fstat(&self.file).map_or(0, |stat| stat.st_size as u64);
        let inside = place.checked_add(length).is_some_and(|end| end <= size);
        if !inside || place < PAGE as u64 || place % PAGE as u64 != 0 {
            return Err(broken("it lies nowhere"));
        }
        let item = self.read(place, length);
        self.release(place, length);
        item
    }

    fn read(&self, place: u64, length: u64) -> Result<Vec<u8>, Refused> {
        let broken = |why: String| Refused::Broken(format!("it cannot be read: {why}"));
        let (mut item, length) = (Vec::new(), length as usize);
        item.try_reserve_exact(length)
            .map_err(|error| broken(error.to_string()))?;
        item.resize(length, 0);
        let read = self.file.file().read_exact_at(&mut item, place);
        read.map_err(|error| broken(error.to_string()))?;
        Ok(item)
    }
}

/// Where the item is, and how long.
fn elsewhere(record: &Record) -> (u64, u64) {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&record[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let place = (number(0) >> 8).saturating_mul(PAGE as u64);
    (place, number(8))
}

// Waiting.
impl Pipe {
    /// What to wait for: an item, or a place; the end in any case.
    pub(super) fn interest(&self) -> Interest {
        let pipe = self.pipe.clone();
        match self.side {
            Side::Receives => Interest([Some((pipe, PollFlags::IN)), None]),
            Side::Sends => {
                let bell = self.bell.clone();
                Interest([
                    Some((bell, PollFlags::IN)),
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
