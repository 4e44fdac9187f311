//! Results that are decoded where they hold up nobody.
//!
//! **Job.** A `Deserialize` is anybody's code: it may take seconds, or for ever, and so may the destructor of what it has
//! made. The driver runs neither. What takes no time and is nobody's code it decodes itself (`sink::reader` says what that
//! is); of everything else it keeps the bytes, as a [`Reading`], and goes on.
//!
//! **Protocol.**
//! 1. The scheduler takes values for its items as ever, and notes a reading; the job does not end before that is done,
//!    unless it has failed, and then nobody waits for it. What has come along with the bytes, and the memory that they refer
//!    to, stays the reading's until then ([`Speaker`]).
//! 2. A caller that looks for its own result (`shortcut`) does its own readings, on its own thread. All others go to the
//!    pool's *readers*, helper threads that are there while there is something to decode.
//! 3. There is one reader, and so things stay in order, unless it is at one chore for longer than [`PATIENCE`]: then another is started
//!    beside it, with twice as much patience. The driver looks, when it hands over more, and by its clock while something waits ([`Readers::due`]).
//! 4. Whoever has decoded something takes the engine's lock to hand it over, in slices of a millisecond, and lets go of it
//!    before the task is told: that runs callbacks, and destructors if nobody wants the result.
//!
//! A task whose result is being decoded has neither ended nor is it run: a timeout is no limit for it. If it is cancelled, or the
//! pool is killed, it ends at once, and what its reading gives is dropped. Nobody waits for a reader but a `Shutdown::Wait` without a
//! limit.
//!
//! A value may nest as deeply as a reader's stack allows, and so may its destructor. What has no owner any more is dropped here, or
//! on the driver's thread, which has as much; what a `Task` or an `Imap` holds is dropped by whoever drops these, on a stack of any size.
//!
//! **Rejected.** Types that are known to be quick because they were so far: the next may not be. Decoding when the task is
//! joined: it has callbacks, and other tasks that are made of it, which want the value.
//!
//! Tests: `tests/process/callers.rs`, `tests/process/deep.rs`, `tests/process/pool.rs`.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attachments::Bag;
use super::driver::{Deputy, Shared};
use super::job::{Read, Values};
use super::scope;
use super::shared_buffer::Lending;
use crate::helper;
use crate::loom::Mutex;
use crate::sys::ledger::Ledger;
use crate::task::{TaskError, panic};

/// How long one reader may be at a chore until another is started beside it; the second twice as long until there is a
/// third, and so on: so there are as many as the logarithm of the time that they are held up.
const PATIENCE: Duration = Duration::from_millis(5);

/// What is not the driver's to do.
pub(crate) enum Chore {
    Read(Reading),
    /// Nobody wants these.
    Drop(Values),
}

/// Values that are to be decoded.
pub(crate) struct Reading {
    pub(crate) job: u64,
    /// The index of the first item, and how many there are.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// How many of them have been decoded.
    done: usize,
    read: Read,
    /// Where they were found; `bytes` has them once they are kept.
    pub(crate) place: Range<usize>,
    bytes: Vec<u8>,
    at: usize,
    /// What came along with the first of them.
    pub(crate) bag: Bag,
    /// What is missing in the first of them, and lies in what its worker lends.
    pub(crate) lent: Vec<u64>,
    pub(crate) speaker: Option<Speaker>,
}

/// The worker that has said it.
pub(crate) struct Speaker {
    pub(crate) worker: usize,
    pub(crate) ledger: Arc<Ledger>,
    /// While it is there the worker keeps what it has lent.
    pub(crate) hold: Arc<()>,
}

/// Some of a reading, decoded.
pub(crate) struct Part {
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) values: Values,
    /// Why the last of them is none.
    pub(crate) error: Option<TaskError>,
}

/// Where these bytes are.
pub(crate) fn place(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr().addr();
    start..start + bytes.len()
}

impl Reading {
    /// Of no values yet.
    pub(crate) fn new(job: u64, first: usize, read: Read) -> Self {
        Self {
            job,
            first,
            count: 0,
            done: 0,
            read,
            place: 0..0,
            bytes: Vec::new(),
            at: 0,
            bag: Bag::default(),
            lent: Vec::new(),
            speaker: None,
        }
    }

    /// Copies its part of `bytes`, in which it was found.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        let start = self.place.start - place(bytes).start;
        self.bytes = bytes[start..][..self.place.len()].to_vec();
    }

    /// The same for large ones, without the copy; they were at `start`.
    pub(crate) fn keep_all(&mut self, start: usize, bytes: Vec<u8>) {
        self.at = self.place.start - start;
        self.bytes = bytes;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.done == self.count
    }

    /// Decodes some more.
    fn next(&mut self) -> Part {
        let (bytes, most) = (&self.bytes[self.at..], self.count - self.done);
        // (Behind it there may be others' bytes: `most` is the end.)
        let (bag, lent) = (
            std::mem::take(&mut self.bag),
            std::mem::take(&mut self.lent),
        );
        let ledger = self.speaker.as_ref().map(|speaker| &speaker.ledger);
        let list = &lent;
        let missing = Lending { list, ledger }.missing(bytes);
        let ((taken, values), bag) = scope::decoding(bag, missing, || (self.read)(bytes, most));
        self.bag = bag;
        let first = self.first + self.done;
        self.at += taken.used;
        self.done += taken.count;
        Part {
            first,
            count: taken.count,
            values,
            error: taken.error,
        }
    }
}

/// The readers of a pool, and what waits for them.
#[derive(Default)]
pub(crate) struct Readers(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Chore>,
    /// Who is at work, by number, and since when at the same chore.
    busy: Vec<(u64, Instant)>,
    numbers: u64,
    /// When a reader was last started, or could not be.
    asked: Option<Instant>,
}

impl State {
    /// How long all that are at work may be held up.
    fn patience(&self) -> Duration {
        PATIENCE * (1 << self.busy.len().saturating_sub(1).min(16))
    }
}

impl Readers {
    /// When the driver should look again.
    pub(crate) fn due(&self) -> Option<Instant> {
        let state = self.0.lock();
        if state.waiting.is_empty() {
            return None;
        }
        // Nobody is at work: none could be started, and nobody announces when one can.
        let last = state.busy.iter().map(|(_, since)| *since).max();
        Some(last.max(state.asked).unwrap_or_else(Instant::now) + state.patience())
    }
}

impl Shared {
    /// Gives `chores` to the readers, and sees that there are enough of these. (Without the engine's lock.)
    pub(crate) fn add(self: &Arc<Self>, chores: Vec<Chore>) {
        let mut state = self.readers.0.lock();
        state.waiting.extend(chores);
        let now = Instant::now();
        let patience = state.patience();
        let held_up = |(_, since): &(u64, Instant)| now - *since >= patience;
        if state.waiting.is_empty() || !state.busy.iter().all(held_up) {
            return;
        }
        state.asked = Some(now);
        let (theirs, number) = (self.clone(), state.numbers);
        if helper::start(move || theirs.serve(number)).is_ok() {
            state.numbers += 1;
            state.busy.push((number, now)); // it comes
        } else if state.busy.is_empty() {
            // Better late than never, and here than by nobody.
            let chore = state.waiting.pop_front();
            drop(state);
            chore.into_iter().for_each(|chore| self.carry_out(chore));
        }
    }

    /// Does what waits, as the reader of this number.
    fn serve(&self, number: u64) {
        let _deputy = Deputy::new();
        loop {
            let mut state = self.readers.0.lock();
            state.busy.retain(|(other, _)| *other != number);
            let Some(chore) = state.waiting.pop_front() else {
                return;
            };
            state.busy.push((number, Instant::now()));
            drop(state);
            self.carry_out(chore);
        }
    }

    fn carry_out(&self, chore: Chore) {
        match chore {
            Chore::Read(reading) => self.read(reading),
            Chore::Drop(values) => panic::contain(|| drop(values)),
        }
    }

    /// Decodes, and hands over. (Without the engine's lock.)
    pub(crate) fn read(&self, mut reading: Reading) {
        loop {
            let part = reading.next();
            let mut engine = self.engine.lock();
            let handed = match engine.as_mut() {
                Some(engine) => engine.hand_over(&mut reading, part),
                None => (Some(part.values), None, true),
            };
            drop(engine);
            let (unwanted, ended, over) = handed;
            panic::contain(|| drop(unwanted));
            if let Some(ended) = ended {
                // (It may have been decoded by a reader, and this be a caller with less stack.)
                let mut unwanted = ended.finish();
                if let Some(engine) = &mut *self.engine.lock() {
                    engine.told(unwanted.take());
                }
                panic::contain(|| drop(unwanted));
            }
            if over {
                return;
            }
        }
    }
}
