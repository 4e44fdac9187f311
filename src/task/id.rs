//! Task ids: no other task of the process has the same number.
//!
//! Each thread takes blocks of ids from one counter, so spawning touches no shared cache line. Ids
//! are therefore unique, but not ordered between threads.
//!
//! A task that was made before this process was forked has an id below a limit, which is set in the
//! child at the fork. If it belongs to a pool, no thread will run it: the pool's threads are the
//! parent's.
//!
//! Tests: `tests/task/handle.rs`, `tests/forks/thread.rs`.

use std::cell::Cell;
use std::fmt;
use std::num::{NonZeroU64, TryFromIntError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering}; // counters and a flag: no protocol

use crate::loom::per_thread;
use crate::sys::fork;

/// Identifies a task for as long as the process lives.
///
/// ```
/// let a = trefoil::Task::ready(1);
/// let b = trefoil::Task::ready(2);
/// assert_ne!(a.id(), b.id());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    /// The next id of this thread's block. Cost: about a nanosecond.
    #[inline]
    pub(crate) fn next() -> Self {
        Self(next_number())
    }

    /// Whether the task was made before this process was forked.
    #[inline]
    pub(super) fn is_of_parent_process(self) -> bool {
        self.get() < BORDER.load(Ordering::Relaxed)
    }

    /// The bare number, for messages between processes.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// The id with this number: none has the number 0.
impl TryFrom<u64> for TaskId {
    type Error = TryFromIntError;

    fn try_from(number: u64) -> Result<Self, TryFromIntError> {
        NonZeroU64::try_from(number).map(Self)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

per_thread! {
    /// The next number to give out, and the end of the block.
    static IDS: (Cell<u64>, Cell<u64>) = (Cell::new(0), Cell::new(0));
}

/// How many ids a thread takes at once.
const BLOCK: u64 = 1 << 12;

#[inline]
fn next_number() -> NonZeroU64 {
    let id = IDS
        .try_with(|(next, end)| {
            let id = next.get();
            if id == end.get() {
                let id = take_block(BLOCK);
                next.set(id + 1);
                end.set(id + BLOCK);
                return id;
            }
            next.set(id + 1);
            id
        })
        .unwrap_or_else(|_| take_block(1));
    // Ids begin at 1 and 2^64 of them do not run out.
    NonZeroU64::new(id).unwrap_or(NonZeroU64::MIN)
}

/// The first id that no thread has taken yet: a counter, no protocol.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Tasks with smaller ids belong to a parent process; it changes only while there is one thread.
static BORDER: AtomicU64 = AtomicU64::new(0);

/// Takes a block of `count` ids from the counter of the process.
#[cold]
fn take_block(count: u64) -> u64 {
    NEXT.fetch_add(count, Ordering::Relaxed)
}

/// Makes forked children distinguish their parent's tasks from their own, from now on.
pub(crate) fn register_fork_handler() {
    // The second caller may continue before the first has finished: no protocol.
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if cfg!(not(loom)) && !REGISTERED.swap(true, Ordering::Relaxed) {
        fork::in_child(draw_border);
    }
}

/// Runs in a forked child. It changes only plain words (Y30). The rest of this thread's block is
/// above the limit, too.
extern "C" fn draw_border() {
    BORDER.store(NEXT.load(Ordering::Relaxed), Ordering::Relaxed);
    let _ = IDS.try_with(|(next, end)| {
        next.set(0);
        end.set(0);
    });
}
