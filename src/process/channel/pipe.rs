//! One end of a channel, without types: bytes in, bytes out, and who has to wait.
//!
//! The protocol, and what happens when somebody dies in it, is told in the module above.
//!
//! Tests: `tests/process_channel.rs`.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, FileType, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::super::baggage::{self, Parcel};
use super::watch::Interest;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::sys::tally::{PAGE, Tally};

/// How long a record is (W21).
pub(super) const RECORD: usize = 64;

/// How many bytes of an item fit into a record.
const INLINE: usize = RECORD - 1;
/// The first byte of a record whose item is in the file.
const ELSEWHERE: u8 = 0xff;

/// The records of one page of the pipe. The kernel frees no page before all of it was read, so there is one
/// more than the capacity asks for.
const SPARE: usize = PAGE / RECORD;

/// The most items that a channel holds: a pipe of a mebibyte.
const MOST: usize = (1 << 20) / RECORD - SPARE;

/// Who has not moved for so long between two system calls is dead.
pub(super) const QUIET: Duration = Duration::from_millis(10);
/// How long who waits for a place sleeps at most until he looks again.
const LONGEST: Duration = Duration::from_millis(500);

/// The counters of the file's first page.
const RESERVED: usize = 0;
const RECEIVED: usize = 1;
/// Where the next payload goes, behind the first page.
const TAIL: usize = 2;
/// How many wait for a place; more than do, if some were killed.
const WAITING: usize = 3;

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
    pipe: Arc<Parcel>,
    file: Arc<Parcel>,
    bell: Arc<Parcel>,
    tally: Tally,
    capacity: u64,
    /// The counters as they were when they first did not fit the pipe, and when that was.
    suspicion: Mutex<Option<(u64, u64, Instant)>>,
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

/// An item on its way into the pipe.
#[derive(Debug)]
pub(super) struct Outgoing {
    record: [u8; RECORD],
}

impl Pipe {
    /// Both ends of a new one.
    pub(super) fn pair(capacity: usize) -> io::Result<(Arc<Self>, Arc<Self>)> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (read, write) = rustix::pipe::pipe_with(flags)?;
        let wanted = capacity.clamp(1, MOST);
        let mut size = rustix::pipe::fcntl_getpipe_size(&write)?;
        let bytes = (wanted + SPARE) * RECORD;
        if size < bytes {
            // Refused to a user who has very many pipes: then it holds less.
            let _ = rustix::pipe::fcntl_setpipe_size(&write, bytes);
            size = rustix::pipe::fcntl_getpipe_size(&write)?;
        }
        let capacity = wanted.min((size / RECORD).saturating_sub(SPARE)).max(1) as u64;
        let (file, _) = Tally::new()?;
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (file, bell) = (Parcel::new(file), Parcel::new(bell));
        let end = |side, pipe| {
            Self::new(
                side,
                Parcel::new(pipe),
                file.clone(),
                bell.clone(),
                capacity,
            )
        };
        Ok((end(Side::Sends, write)?, end(Side::Receives, read)?))
    }

    fn new(
        side: Side,
        pipe: Arc<Parcel>,
        file: Arc<Parcel>,
        bell: Arc<Parcel>,
        capacity: u64,
    ) -> io::Result<Arc<Self>> {
        let tally = Tally::open(file.as_fd())?;
        pipe.set_end();
        Ok(Arc::new(Self {
            side,
            pipe,
            file,
            bell,
            tally,
            capacity,
            suspicion: Mutex::new(None),
        }))
    }

    /// Takes it along with what is being encoded; how it is called there.
    pub(super) fn load(&self) -> Result<(u64, u64, u64, u64), String> {
        let [pipe, file, bell] = [&self.pipe, &self.file, &self.bell].map(baggage::load);
        Ok((pipe?, file?, bell?, self.capacity))
    }

    /// The end that came along as `names`. Nothing is believed of it.
    pub(super) fn unload(side: Side, names: (u64, u64, u64, u64)) -> Result<Arc<Self>, String> {
        let [pipe, file, bell] = [names.0, names.1, names.2].map(baggage::unload);
        let (pipe, file, bell) = (pipe?, file?, bell?);
        let wrong = || baggage::said("what came along is no end of a channel");
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
        Self::new(side, pipe, file, bell, names.3.clamp(1, MOST as u64)).map_err(|_| wrong())
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
        bytes as usize / RECORD
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.tally.words()[index]
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
    /// There is no place, by the counters.
    fn seems_full(&self) -> bool {
        let reserved = self.word(RESERVED).load(Ordering::SeqCst);
        let received = self.word(RECEIVED).load(Ordering::SeqCst);
        reserved.saturating_sub(received) >= self.capacity
    }

    /// Nothing could be sent now: why.
    pub(super) fn refuses(&self) -> Option<Refused> {
        if self.is_hung_up() {
            return Some(Refused::Closed);
        }
        (self.seems_full() && !self.mend()).then_some(Refused::Wait)
    }

    /// Puts the bytes of an item where receivers will find them.
    pub(super) fn pack(&self, item: &[u8]) -> Result<Outgoing, Refused> {
        let mut record = [0; RECORD];
        if item.len() <= INLINE {
            record[0] = item.len() as u8;
            record[1..][..item.len()].copy_from_slice(item);
            return Ok(Outgoing { record });
        }
        let pages = item.len().next_multiple_of(PAGE) as u64;
        let place = self.word(TAIL).fetch_add(pages, Ordering::SeqCst);
        let place = place.wrapping_add(PAGE as u64) & (i64::MAX as u64);
        record[0] = ELSEWHERE;
        record[8..16].copy_from_slice(&place.to_le_bytes());
        record[16..24].copy_from_slice(&(item.len() as u64).to_le_bytes());
        let outgoing = Outgoing { record };
        let mut at = 0;
        while at < item.len() {
            match rustix::io::pwrite(&self.file, &item[at..], place + at as u64) {
                Ok(count) if count > 0 => at += count,
                Err(Errno::INTR) => {}
                result => {
                    self.discard(&outgoing);
                    let why = result.err().unwrap_or(Errno::NOSPC);
                    return Err(Refused::Broken(format!("there is no memory for it: {why}")));
                }
            }
        }
        Ok(outgoing)
    }

    /// An item that will not be sent: gives its memory back.
    pub(super) fn discard(&self, outgoing: &Outgoing) {
        if outgoing.record[0] == ELSEWHERE {
            let (place, length) = elsewhere(&outgoing.record);
            self.release(place, length);
        }
    }

    fn release(&self, place: u64, length: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let pages = length.next_multiple_of(PAGE as u64);
        let _ = rustix::fs::fallocate(&self.file, flags, place, pages);
    }

    /// Sends an item if there is a place.
    pub(super) fn send(&self, outgoing: &Outgoing) -> Result<(), Refused> {
        let taken = self.reserve() || self.mend() && self.reserve();
        if !taken {
            return Err(match self.is_hung_up() {
                true => Refused::Closed,
                false => Refused::Wait,
            });
        }
        let written = loop {
            match rustix::io::write(&self.pipe, &outgoing.record) {
                Err(Errno::INTR) => {}
                result => break result,
            }
        };
        if written.is_ok() {
            if self.word(WAITING).load(Ordering::SeqCst) > 0 && !self.seems_full() {
                self.ring(); // there is another place, and the bell rang for both
            }
            return Ok(());
        }
        let reserved = self.word(RESERVED);
        let less = |count: u64| count.checked_sub(1);
        let _ = reserved.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        Err(match written {
            Err(Errno::AGAIN) => Refused::Wait,
            _ => Refused::Closed,
        })
    }

    /// Takes a place.
    fn reserve(&self) -> bool {
        let received = self.word(RECEIVED);
        let take = |reserved: u64| {
            let items = reserved.saturating_sub(received.load(Ordering::SeqCst));
            (items < self.capacity).then(|| reserved.wrapping_add(1))
        };
        let reserved = self.word(RESERVED);
        reserved
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
    }

    /// There is no place, by the counters. Puts them right if the dead have left them
    /// wrong; true if there may be a place now.
    fn mend(&self) -> bool {
        let reserved = self.word(RESERVED).load(Ordering::SeqCst);
        let received = self.word(RECEIVED).load(Ordering::SeqCst);
        let records = self.length() as u64;
        let mut suspicion = self.suspicion.lock();
        if records >= reserved.saturating_sub(received) {
            *suspicion = None;
            return false;
        }
        match *suspicion {
            Some((then, there, since)) if (then, there) == (reserved, received) => {
                if since.elapsed() < QUIET {
                    return false;
                }
            }
            _ => {
                *suspicion = Some((reserved, received, Instant::now()));
                return false;
            }
        }
        *suspicion = None;
        let (from, to) = (received, reserved.saturating_sub(records));
        let word = self.word(RECEIVED);
        let order = Ordering::SeqCst;
        word.compare_exchange(from, to, order, order).is_ok()
    }

    /// Counts as waiting until it is dropped; the bell will ring for what happens from now on.
    pub(super) fn wait_for_place(&self) -> WaitsForPlace<'_> {
        self.word(WAITING).fetch_add(1, Ordering::SeqCst);
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        WaitsForPlace(self)
    }

    /// How long to sleep before the next look, the `round`th.
    pub(super) fn patience(round: u32) -> Duration {
        LONGEST.min(QUIET * 2u32.saturating_pow(round.min(10)))
    }
}

/// Somebody waits for a place.
#[derive(Debug)]
pub(super) struct WaitsForPlace<'a>(&'a Pipe);

impl Drop for WaitsForPlace<'_> {
    fn drop(&mut self) {
        let less = |count: u64| count.checked_sub(1);
        let waiting = self.0.word(WAITING);
        let _ = waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        // The bell may have rung for this one.
        if waiting.load(Ordering::SeqCst) > 0 && !self.0.seems_full() {
            self.0.ring();
        }
    }
}

// Receiving.
impl Pipe {
    /// The bytes of the next item.
    pub(super) fn receive(&self) -> Result<Vec<u8>, Refused> {
        let mut record = [0; RECORD];
        let count = loop {
            match rustix::io::read(&self.pipe, &mut record) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(Refused::Wait),
                Err(_) | Ok(0) => return Err(Refused::Closed),
                Ok(count) => break count,
            }
        };
        let received = self.word(RECEIVED);
        let reserved = self.word(RESERVED);
        let more = |count: u64| (count < reserved.load(Ordering::SeqCst)).then(|| count + 1);
        let _ = received.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        if self.word(WAITING).load(Ordering::SeqCst) > 0 {
            self.ring();
        }
        let broken = |what: &str| Refused::Broken(format!("what arrived is no item: {what}"));
        if count != RECORD {
            return Err(broken("it is not whole"));
        }
        if record[0] != ELSEWHERE {
            let item = record[1..].get(..usize::from(record[0]));
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
        let mut item = Vec::new();
        item.try_reserve_exact(length as usize)
            .map_err(|error| broken(error.to_string()))?;
        while item.len() < length as usize {
            let at = place + item.len() as u64;
            let room = rustix::buffer::spare_capacity(&mut item);
            match rustix::io::pread(&self.file, room, at) {
                Ok(count) if count > 0 => {}
                Err(Errno::INTR) => {}
                Err(error) => return Err(broken(error.to_string())),
                Ok(_) => return Err(broken("its file is too short".to_owned())),
            }
        }
        item.truncate(length as usize);
        Ok(item)
    }
}

fn elsewhere(record: &[u8; RECORD]) -> (u64, u64) {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&record[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    (number(8), number(16))
}

// Waiting.
impl Pipe {
    /// What to wait for: an item, or a place; the end in any case.
    pub(super) fn interest(&self) -> Interest {
        let (pipe, bell) = (self.pipe.clone(), self.bell.clone());
        match self.side {
            Side::Receives => Interest::new(pipe, None),
            Side::Sends => Interest::new(bell, Some(pipe)),
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
        let mut fds = Vec::with_capacity(2);
        interest.add_to(&mut fds);
        poll(&mut fds, limit.as_ref()) != Ok(0)
    }
}
