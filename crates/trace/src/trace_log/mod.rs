//! Records events while a recording runs (feature `trace`).
//!
//! **Job.** The executors call this module for each event: a task is made, its code begins and
//! ends, a thread waits, sleeps, steals, wakes another. While nothing is recorded that costs one
//! relaxed load and a branch; without the feature the functions below are empty, and their
//! arguments are not computed. `recording` evaluates the events.
//!
//! **Protocol.**
//! 1. `session::start` gives the recording a number and publishes it in one word.
//! 2. A thread with an event reads the word. If it is not 0, the event goes, with the time, into
//!    the thread's own log, under the log's lock, which no other thread takes before the end. A
//!    thread's first event in a recording registers its log. Room comes from a budget that all
//!    threads share. When that is used up, later events are only counted.
//! 3. `Session::stop` clears the word and takes the logs' contents. A
//!    thread that has read the word before may still write its event, which is not read.
//!
//! A thread that sees a task's end (by joining it, say) and then stops the recording gets all
//! events of the task: they are written before the end becomes visible.
//!
//! A thread's role (a worker of which pool, or a loop's thread) is kept at all times, so that a
//! recording which begins later knows it.
//!
//! A forked child does not continue its parent's recording: in the child the word is 0.
//!
//! **Rejected.** One buffer for all threads (its lock or counter would distort the recording);
//! rings that lose the oldest events (ends without beginnings); hooking into `tracing` (a
//! subscriber's cost for each event is several times that of a short task, and the pools' parks and
//! steals are not spans); an array that its thread fills without a lock while others read its
//! published part (`unsafe` and loom models, for some nanoseconds an event).
//!
//! Tests: `tests/trace/`; cost: `benches/benches/trace.rs`.

#![cfg_attr(not(feature = "trace"), allow(dead_code))] // no recording can be started without it

mod event;
pub(crate) mod session;

use session::note;

#[cfg(feature = "trace")]
pub(crate) use event::Event;
pub(crate) use event::{Done, Frame, What};
pub use event::{Ending, Kind, Role, Site};
pub use session::{Before, is_on, named, role};

/// A function for each event that is recorded as it is passed.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident($($field:ident: $type:ty),*) is $what:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name($($field: $type),*) {
            note(|| What::$what { $($field),* });
        }
    )*};
}
events! {
    /// A task is created here.
    spawned(task: u64, site: Site, kind: Kind) is Spawned;
    /// A task's code begins to run here: a closure is called, a future polled.
    begun(task: u64, site: Site, kind: Kind) is Begun;
    /// The end of the run that [`begun`] recorded.
    ended(task: u64, how: Ending) is Ended;
    /// A task has ended without running code here: it was dropped, or a promise was completed.
    settled(task: u64, how: Ending) is Settled;
    /// A future was woken, and is queued.
    woken(task: u64) is Woken;
    /// A worker stole this from the slot `from`; 0: not a task but a part of a region.
    stolen(task: u64, from: usize) is Stolen;
    /// The task that the next wait of this thread is for; 0: none.
    awaits(task: u64) is Awaits;
    /// A worker process has died, and its frames are lost.
    worker_died(pid: u32) is Fell;
}

/// This thread wakes the one in a pool's slot.
#[inline(always)]
pub fn thread_woken(pool: u32, slot: usize) {
    let slot = slot as u32;
    note(|| What::Roused { pool, slot });
}

/// A call to a process pool: `task` waits for the job.
#[inline(always)]
pub fn called(pool: u32, job: u64, task: u64) {
    let job = job as u32;
    note(|| What::Called { pool, job, task });
}

/// A frame of a job goes to a worker process; its number is one of that process's.
#[inline(always)]
pub fn sent(pool: u32, pid: u32, sequence: u64, job: u64, items: usize) {
    let (sequence, job, items) = (sequence as u32, job as u32, items as u32);
    note(|| {
        What::Sent(Frame {
            pool,
            pid,
            sequence,
            job,
            items,
        })
    });
}

/// A frame is done: the number of its items that were run, and the time in nanoseconds.
#[inline(always)]
pub fn answered(pid: u32, sequence: u64, items: u64, nanos: u64) {
    let (sequence, items) = (sequence as u32, items as u32);
    let done = Done { sequence, items };
    note(|| What::Answered { pid, done, nanos });
}

/// A span of time on this thread: it begins when the value is created and ends when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Span(What);

impl Drop for Span {
    #[inline(always)]
    fn drop(&mut self) {
        note(|| self.0);
    }
}

/// A part of a region runs here, of a `join` or a `scope` for example; this is its name in the
/// picture.
#[inline(always)]
pub fn part(part: &'static str) -> Span {
    note(|| What::PartBegun { part });
    Span(What::PartEnded { part })
}

/// This thread blocks in the middle of its work.
#[inline(always)]
pub fn waits() -> Span {
    note(|| What::Waits);
    Span(What::Waited)
}

/// This thread has nothing to do, and sleeps.
#[inline(always)]
pub fn sleeps() -> Span {
    note(|| What::Sleeps);
    Span(What::Slept)
}
