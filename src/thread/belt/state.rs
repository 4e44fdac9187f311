//! What a belt knows: a plain value behind its lock.
//!
//! **Job.** The counts, the queue and the results, and what follows from them: is there room, is
//! there something to give, is that the end, does the consumer have to be woken. No code here runs
//! anything of the user's, or waits.
//!
//! - `taken` ≤ items whose results were given ≤ `pulled`, and `pulled - taken` never exceeds the buffer
//!   (unless that was made smaller meanwhile).
//! - In order, `results` begins with the place of item `taken`; places of items that run are empty.

use std::collections::VecDeque;
use std::task::Waker;

use super::Given;
use crate::task::{Panic, TaskRef};

pub(super) enum Source<I> {
    Here(I),
    /// The feeder has it.
    Out,
    /// It has ended, and been dropped.
    Gone,
}

pub(super) struct State<I: Iterator, R> {
    pub(super) source: Source<I>,
    pub(super) feeding: bool,
    pub(super) feeder_waits: bool,
    /// It must not wait for room: it has no thread of its own.
    pub(super) impatient: bool,
    pub(super) feeder: Option<TaskRef>,
    pub(super) buffer: u64,
    /// Items pulled, or just being pulled, and results taken.
    pub(super) pulled: u64,
    pub(super) taken: u64,
    /// Nobody has begun them.
    pub(super) queue: VecDeque<(u64, I::Item)>,
    /// In order, the first is that of item `taken`; else as they came.
    pub(super) results: VecDeque<Given<R>>,
    /// The iterator's own panic: what comes last.
    pub(super) ending: Option<Panic>,
    pub(super) helpers: usize,
    /// Those helpers that have nothing to do just now, and will look into the queue again.
    pub(super) looking: usize,
    pub(super) tickets: usize,
    /// A thread of its own runs items, because the pool does not.
    pub(super) elsewhere: bool,
    pub(super) helping: Vec<TaskRef>,
    pub(super) cancelled: bool,
    /// It looks for a moment whether it has to wait, and would run the item itself.
    pub(super) consumer_looks: bool,
    pub(super) consumer_waits: bool,
    /// It would run the item itself.
    pub(super) consumer_helps: bool,
    pub(super) waker: Option<Waker>,
}

/// What a feeder does next.
pub(super) enum Turn {
    Pull,
    /// Wait for room.
    Full,
    /// End: nobody wants more.
    Stop,
}

/// What to do after the lock has been let go.
#[must_use]
#[derive(Default)]
pub(super) struct Wake {
    pub(super) thread: bool,
    pub(super) waker: Option<Waker>,
}

impl<I: Iterator, R> State<I, R> {
    pub(super) fn room(&self) -> u64 {
        self.buffer.saturating_sub(self.pulled - self.taken)
    }

    /// There is so much room that it is worth waking somebody for it.
    pub(super) fn much_room(&self) -> bool {
        self.room() >= (self.buffer / 2).max(1)
    }

    /// What the feeder does next; a place is kept for what it pulls.
    pub(super) fn turn(&mut self) -> Turn {
        if self.cancelled {
            Turn::Stop
        } else if self.room() == 0 {
            Turn::Full
        } else {
            self.pulled += 1;
            Turn::Pull
        }
    }

    pub(super) fn can_give(&self) -> bool {
        matches!(self.results.front(), Some(Some(_)))
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.source, Source::Gone) && self.taken == self.pulled
    }

    pub(super) fn take(&mut self) -> Given<R> {
        if !self.can_give() {
            return None;
        }
        self.taken += 1;
        self.results.pop_front().flatten()
    }

    /// Gives the result back if nobody wants it.
    pub(super) fn store(&mut self, ordered: bool, at: u64, result: Result<R, Panic>) -> Given<R> {
        if self.cancelled {
            return Some(result);
        }
        let place = if ordered {
            (at - self.taken) as usize // within the buffer
        } else {
            self.results.len()
        };
        if place >= self.results.len() {
            self.results.resize_with(place + 1, || None);
        }
        self.results[place] = Some(result);
        None
    }

    /// The item that the consumer waits for is queued. Where any will do, it waits for none of
    /// them: another might end while it runs this one.
    pub(super) fn is_due(&self, ordered: bool) -> bool {
        ordered && self.queue.front().is_some_and(|&(at, _)| at == self.taken)
    }

    /// The consumer waits, and has something to come for.
    pub(super) fn wake(&mut self) -> Wake {
        if !self.can_give() && !self.is_over() {
            return Wake::default();
        }
        Wake {
            thread: std::mem::take(&mut self.consumer_waits),
            waker: self.waker.take(),
        }
    }
}
