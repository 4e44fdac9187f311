//! Every number of a process pool that a user notices: times, sizes and counts, with what one sees.
//!
//! The mechanisms refer to these. A number that only makes something a little faster stands beside
//! its mechanism, and the numbers of what is shared with the kernel are in
//! `crates/trefoil-os/src/host/`: how long callers and workers poll before they sleep
//! (`poll_policy`), how much a worker can lend (`ledger`, `arena`), and the longest frame in shared
//! pages (`shared_ring`). Those of a channel are in `process/channel/pipe.rs`; from what size a
//! worker keeps a `Shared`, in `process/value/memory_kept_by_worker.rs`. How much standard error is
//! kept for a slow reader is in `blocking_threads/standard_error.rs`.
//!
//! Tests: those of the mechanisms.

use std::time::Duration;

use trefoil_os::host::handover;

// ---- how many workers, and their start ---------------------------------

/// The number of workers, if it is not set: one for each of the `slots` (processors, or what a
/// launcher offers) except those that are to be left free, and at least one.
pub(crate) fn workers_by_default(slots: usize, left_free: usize) -> usize {
    slots.saturating_sub(left_free).max(1)
}

/// The most workers of a pool; `build` refuses more. They are a mistake: descriptors would run out
/// first.
pub(crate) const MOST_WORKERS: usize = 1 << 16;

/// How deep workers may make pools of their own; deeper ones are refused as a recursion.
pub(crate) const DEEPEST: u32 = 20;

/// How long a new worker may take until it says hello, including the code before `init()` in
/// `main`. Then it is killed, and its error says that it takes too long.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// How many seconds a worker may compute before `init`, until it is given up with an error that
/// says so.
pub(crate) const STARTUP_SECONDS: u64 = 10;

/// How often it is checked whether a worker waits before `init`.
pub(crate) const STUCK_CHECK: Duration = Duration::from_secs(1);
/// A process counts as stuck after this many equal checks in a row: five seconds, where a start
/// takes a few milliseconds.
pub(crate) const STUCK_CHECKS: u32 = 5;

/// After fruitless deaths with this total weight in a row a slot is given up until there is work;
/// when all are, waiting calls fail.
pub(crate) const GIVE_UP: u32 = 100;
/// The weight of a fruitless death: large if the worker ended by itself (five in a row are enough),
/// small if it was killed from outside, which may stop at some time.
pub(crate) const ENDED_WEIGHT: u32 = 20;
pub(crate) const KILLED_WEIGHT: u32 = 1;
/// The weight of a worker that never reached `init`: the next would probably take as long again.
pub(crate) const LATE_WEIGHT: u32 = 50;
/// The longest pause, in milliseconds, before a slot is filled again after fruitless deaths; and
/// after kills. It begins with 4 ms, and each pause is four times as long as the one before.
pub(crate) const LONGEST_PAUSE: u64 = 1000;
pub(crate) const LONGEST_PAUSE_AFTER_KILLS: u64 = 50;

/// In a pool whose size follows the work: for how much waiting work another worker is started, and
/// after which time without progress, in nanoseconds: about what starting it takes. The docs of
/// `trefoil-machines` state it.
pub(crate) const ONE_MORE_WORKER: f64 = 300e6;
/// The least of workers that are children of this process; with slow initializers it is more.
pub(crate) const ONE_MORE_WORKER_HERE: f64 = 5e6;
/// How long a worker above the minimum is idle before it leaves, unless the builder says otherwise.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a fork server waits for a thread that an initializer has left, and that may be about to
/// end, until the pool fails with an error that names it.
pub(crate) const ALONE_WITHIN: Duration = Duration::from_secs(2);

// ---- how long an end may take -------------------------------------------

/// How long an item may still run after it was cancelled or timed out, until its worker is killed:
/// the default of `grace`. Long enough to look at a token, too short to be noticed.
pub(crate) const GRACE: Duration = Duration::from_millis(20);

/// How long a plain worker of this machine may take to answer how far it got, and any worker to end
/// a frame that it has answered. One that takes longer was stopped (`SIGSTOP`), or an item speaks
/// for it, and is killed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The same for a launcher's worker. (Bytes count as taken when they have been sent, and may be on
/// their way for some seconds.)
pub(crate) const PATIENCE_ELSEWHERE: Duration = Duration::from_secs(30);
/// Other workers are asked after this time, whatever the worker's own limit is.
pub(crate) const ASK_OTHERS_AFTER: Duration = Duration::from_secs(1);

/// How long a worker may take to exit, or to die before it is killed again.
pub(crate) const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// How long a killed worker may take to die, if it neither uses processor time meanwhile nor waits
/// for a processor: then it is given up, and its items fail or run elsewhere. (It waits for a disk,
/// say.)
pub(crate) const DEATH_LIMIT: Duration = Duration::from_secs(2);
/// The same if it does: to free much memory takes long, and so does a turn on a busy machine.
pub(crate) const LONGEST_DEATH: Duration = Duration::from_secs(30);

/// How long tasks may still run when a pool is dropped; then its workers are killed.
pub(crate) const DROP_LIMIT: Duration = Duration::from_secs(1);

/// How long a worker may keep the ends of channels of items that were taken back, until it is
/// killed: other processes wait for them to be closed.
pub(crate) const ENDS_LIMIT: Duration = Duration::from_secs(1);

// ---- how items are shared out -------------------------------------------

/// How much work a frame should hold, in nanoseconds: as much as makes its cost small, and no more,
/// so that all workers end together.
pub(crate) const FRAME_TIME: f64 = 1e6;
/// The most items that a frame may hold, and about how many bytes.
pub(crate) const FRAME_ITEMS: usize = 1 << 16;
pub(crate) const FRAME_BYTES: usize = 1 << 20;

/// How long a worker may run a frame before idle workers take over its other items. Also how soon
/// it is checked again whether a worker must be killed.
pub(crate) const TAKE_OVER_AFTER: Duration = Duration::from_millis(1);
/// Each move of an unbegun item multiplies that time by eight, at most this often (33 s).
pub(crate) const MOST_MOVES: u32 = 5;

/// How long finished results may wait for the end of the frame before them.
pub(crate) const RESULTS_WAIT: Duration = Duration::from_millis(2);

/// How long a worker may take to begin its first frame before it is nudged: it may sleep although
/// it claims to be awake. Then the time is doubled.
pub(crate) const NUDGE_AFTER: Duration = Duration::from_millis(10);

/// How often what forwards the stream of a busy worker gets something to pass on: it may have lost
/// the worker, and see it only then.
pub(crate) const FORWARDER_CHECK: Duration = Duration::from_secs(2);

/// How many chunks of arguments a `map` encodes ahead of `width` workers. The items of one chunk
/// may take long, so each worker can hold back some chunks, and there is still room for all others.
pub(crate) fn chunks_ahead(width: usize) -> usize {
    4 + 4 * width
}

/// How many items `map_each` takes ahead of their results, at most.
pub(crate) const EACH_AHEAD: usize = 1 << 14;

/// How many items an `imap` whose buffer was not set takes ahead of its consumer at first.
pub(crate) fn imap_buffer(width: usize) -> usize {
    4 * width
}

/// How far that buffer grows: twofold each time a whole buffer passes in less than this time.
pub(crate) const IMAP_BUFFER: usize = 512;
pub(crate) const IMAP_TURNOVER: Duration = Duration::from_millis(4);

// ---- data ----------------------------------------------------------------

/// From so many bytes on, an array (a `Bulk`, or a `Vec` of numbers that is the whole argument or
/// result) does not travel in the bytes, and is lent in shared memory.
pub(crate) const LEND_FROM: usize = 16 << 10;
/// From so many bytes on, one that cannot be lent is sent ahead of the other bytes. It costs little
/// to copy shorter ones once more.
pub(crate) const AHEAD_FROM: usize = 1 << 20;

/// The most descriptors of one argument or result; more are an error of the item.
pub(crate) const MAX_DESCRIPTORS: usize = handover::MOST_DESCRIPTORS;

/// How many `Shared` a worker keeps from one frame to the next, unless one frame needs more: each
/// takes a descriptor there.
pub(crate) const KEPT_MEMORIES: usize = 64;
/// How many bytes of copies of them a plain worker keeps, unless one frame needs more.
pub(crate) const KEPT_BYTES: u64 = 512 << 20;

/// Longer results are decoded by another thread than the pool's, whatever their type. So that one
/// decodes for a few milliseconds at most.
pub(crate) const DECODED_ELSEWHERE: usize = 64 << 10;
/// How long a result may wait for a reader of its type before another one is started; with two
/// readers twice as long, with three three times, and so on. So a few results that hang delay
/// others of their type a little, and results that only take long do not start a thread each.
pub(crate) const MORE_READERS_AFTER: Duration = Duration::from_millis(5);
/// How many readers one type of result can have.
pub(crate) const MOST_READERS: u32 = 64;

/// A result of so many bytes or more is received only if there is memory for it; otherwise its item
/// fails, with an error that says so.
pub(crate) const CHECKED_FROM: usize = 16 << 20;

/// How many bytes of the end of a worker's standard error are kept for the error of its death.
pub(crate) const STDERR_TAIL: usize = 4096;

/// The most permits of one `Permits`: who looks for a free one looks at all of them.
pub(crate) const MOST_PERMITS: usize = 1 << 16;
