//! What goes to standard error from threads that must not wait for its reader: how much is kept,
//! and when the rest is dropped.
//!
//! **Job.** A write to standard error may take for ever: it may be a terminal that somebody has
//! stopped, or a pipe that is full. That `poll` reports room is no help, because there may be room
//! for one byte only, or others may fill it first. So what a pool's driver forwards from its
//! workers, and the default reports of failures that were never taken, go into one queue, and a
//! helper thread writes it.
//!
//! **Protocol.**
//! 1. [`push`] only appends. The thread exists while something is queued. If the system gives none,
//!    it is owed, and the next `push` asks for one, too.
//! 2. While `ROOM` bytes or more are queued, [`has_room`] says no, and rings a bell later. A
//!    driver then stops reading from its workers, which block as they would without a pool: nothing
//!    is lost.
//! 3. What cannot be held back (reports, and the last words of workers that have died) is dropped
//!    once `LIMIT` bytes are queued. A line with the number of bytes follows what was queued.
//! 4. [`settle`] waits for a limited time until all that was queued before has been written. A
//!    driver that ends does that, and so does the end of the process (`exit`, or the end of
//!    `main`), for [`LAST`]. What has not been written by then is lost with the process.
//!
//! An error of the write means that standard error is closed, or has no reader: then the bytes are
//! discarded.
//!
//! **Rejected.** Opening a terminal or a pipe again, as non-blocking: it needs `/proc` and the
//! right to do so, and does not work for files on a disk that does not answer.
//!
//! Tests: `tests/process/unread.rs`, `tests/process/pool.rs::standard_error_without_a_reader`.

#[cfg(feature = "processes")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::loom::{Condvar, Mutex};
#[cfg(not(any(loom, miri)))]
use crate::sys::at_exit::at_exit;
#[cfg(feature = "processes")]
use crate::sys::bell::Bell;
use crate::sys::fork::PerProcess;
use crate::sys::stderr;

/// While so many bytes are queued, no more should be added.
const ROOM: usize = 64 << 10;
/// While so many bytes are queued, what is added is dropped.
const LIMIT: usize = 1 << 20;
/// How long the end of a pool, and then that of the process, waits for the reader.
pub(crate) const LAST: Duration = Duration::from_secs(1);

#[derive(Default)]
struct OutputQueue {
    backlog: Mutex<Backlog>,
    written: Condvar,
}

#[derive(Default)]
struct Backlog {
    bytes: Vec<u8>,
    /// How many bytes were ever queued, and how many of them have been written or discarded.
    pushed: u64,
    done: u64,
    /// How many bytes were dropped since the last line about that.
    dropped: usize,
    has_thread: bool,
    /// A thread that was refused is owed.
    is_owed: bool,
    /// To be rung when there is room. (Only drivers wait for that.)
    #[cfg(feature = "processes")]
    bells: Vec<Arc<Bell>>,
}

static QUEUE: PerProcess<OutputQueue> = PerProcess::new();

fn queue() -> &'static OutputQueue {
    QUEUE.get_or_init(|| {
        #[cfg(not(any(loom, miri)))] // its locks exist inside a model only; Miri has no `atexit`
        at_exit(settle_last);
        OutputQueue::default()
    })
}

#[cfg(not(any(loom, miri)))]
extern "C" fn settle_last() {
    settle(LAST);
}

/// Queues `bytes`, or drops them if too much is queued. It never waits.
pub(crate) fn push(bytes: &[u8]) {
    let queue = queue();
    let mut backlog = queue.backlog.lock();
    if backlog.waiting() < LIMIT {
        backlog.add(bytes);
    } else {
        backlog.dropped += bytes.len();
    }
    backlog.has_thread = backlog.has_thread || super::start(|| queue.write()).is_ok();
    if !backlog.has_thread && !backlog.is_owed {
        backlog.is_owed = true;
        super::owe(|| queue.write_late());
    }
}

/// Whether more should be pushed now. Otherwise `bell` is rung when there is room.
#[cfg(feature = "processes")]
pub(crate) fn has_room(bell: &Arc<Bell>) -> bool {
    let mut backlog = queue().backlog.lock();
    // (Without a thread the bell would not be rung.)
    if backlog.waiting() < ROOM || !backlog.has_thread {
        return true;
    }
    backlog.bells.retain(|other| !Arc::ptr_eq(other, bell));
    backlog.bells.push(bell.clone());
    false
}

/// Waits until what has been pushed is written, at most for `limit`.
pub(crate) fn settle(limit: Duration) {
    let Some(queue) = QUEUE.get() else { return };
    let end = Instant::now() + limit;
    let mut backlog = queue.backlog.lock();
    let (all, mut late) = (backlog.pushed, false);
    while backlog.done < all && backlog.has_thread && !late {
        (backlog, late) = queue.written.wait_until(backlog, end);
    }
}

impl Backlog {
    fn waiting(&self) -> usize {
        (self.pushed - self.done) as usize
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pushed += bytes.len() as u64;
    }
}

impl OutputQueue {
    /// Writes on the thread that was owed, unless another does so since.
    fn write_late(&self) {
        let mut backlog = self.backlog.lock();
        backlog.is_owed = false;
        if !std::mem::replace(&mut backlog.has_thread, true) {
            drop(backlog);
            self.write();
        }
    }

    /// Writes what is queued, until nothing is.
    fn write(&self) {
        let mut backlog = self.backlog.lock();
        loop {
            let dropped = std::mem::take(&mut backlog.dropped);
            if dropped > 0 {
                let note = format!(
                    "\ntrefoil: {dropped} bytes for standard error were dropped, because nobody \
                     read it\n"
                );
                backlog.add(note.as_bytes());
            }
            let bytes = std::mem::take(&mut backlog.bytes);
            if bytes.is_empty() {
                backlog.has_thread = false;
                return;
            }
            drop(backlog);
            let _ = stderr::write_all(&bytes);
            backlog = self.backlog.lock();
            backlog.done += bytes.len() as u64;
            #[cfg(feature = "processes")]
            backlog.bells.drain(..).for_each(|bell| bell.ring());
            self.written.notify_all();
        }
    }
}
