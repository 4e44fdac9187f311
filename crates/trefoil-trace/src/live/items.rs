//! What runs now, without a walk over tasks: threads, worker processes, and each `map` and `imap`.
//!
//! **Job.** The engines register a `map` or an `imap` when it begins ([`begin`]) and count the
//! items that have ended ([`Items::add`]); [`activity`] copies that for the user.
//!
//! Tests: `tests/tasks/activity.rs`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64; // counters: no protocol
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::running_map::RunningMap;
use super::store::{self, Store};
use super::tree::{LiveCall, LiveTask, describe};
use crate::loom::thread;

/// Counts the items of a `map` or an `imap`, which runs until this is dropped. Returned by
/// [`trace_log::items`](crate::trace_log::items).
pub struct Items(Arc<RunningMap>);

/// A `map` or an `imap` begins here. `task`: the one that gets its results; 0: that of the caller.
pub(crate) fn begin(
    store: &'static Store,
    kind: &'static str,
    task: u64,
    total: Option<usize>,
) -> Items {
    let task = match task {
        0 => store.current().unwrap_or(0),
        task => task,
    };
    let running = Arc::new(RunningMap {
        kind,
        task,
        caller: thread::current().name().unwrap_or_default().to_owned(),
        total: total.map(|total| total as u64),
        ended: AtomicU64::new(0),
        since: store.clock.now(),
    });
    store.running.lock().push(Arc::clone(&running));
    Items(running)
}

impl Items {
    /// So many more items have ended.
    #[inline]
    pub fn add(&self, items: usize) {
        self.0.ended.fetch_add(items as u64, Relaxed);
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        // (A forked child has another store, or none, without the maps of its parent.)
        if let Some(store) = store::made() {
            let mut running = store.running.lock();
            let ours = |map: &Arc<RunningMap>| Arc::ptr_eq(map, &self.0);
            if let Some(at) = running.iter().rposition(ours) {
                running.remove(at);
            }
        }
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Items")
    }
}

/// What this process does at one moment; from [`activity`].
///
/// ```
/// let now = trefoil::inspect::activity();
/// for thread in now.threads.iter().filter(|thread| thread.task.is_some()) {
///     println!("{} runs {:?}", thread.name, thread.task);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Activity {
    /// The threads that have run a task since tasks are kept track of, and have not ended.
    pub threads: Vec<LiveThread>,
    /// What worker processes have got and have not answered: by process, the oldest first, which is
    /// what a process runs now.
    pub calls: Vec<LiveCall>,
    /// Each `map` and `imap` that has not ended, the oldest first.
    pub maps: Vec<LiveMap>,
}

/// A thread in an [`Activity`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveThread {
    /// What it is, and its name, as in [`LiveTask::runs_on`].
    pub name: String,
    /// The number of the task whose code it runs; of several on top of one another, the innermost.
    pub runs: Option<u64>,
    /// That task, if its details are kept.
    pub task: Option<LiveTask>,
    /// How often a task's code has begun on it: closures, and polls of futures.
    pub begun: u64,
}

/// A `map` or an `imap` in an [`Activity`]: on threads also what is like a `map`, such as
/// `for_each` and the consumers of parallel iterators. In processes a `map_each` counts as an
/// `imap`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveMap {
    /// "map on threads", "map in processes", "imap on threads" or "imap in processes".
    pub kind: &'static str,
    /// The task that gets its results, or else the one whose code has called it.
    pub task: Option<LiveTask>,
    /// The name of the thread that has called it.
    pub caller: String,
    /// How many items it has at most, if that is known.
    pub total: Option<u64>,
    /// How many of them have ended. On threads they are counted some at a time.
    pub ended: u64,
    /// For how long it has run.
    pub since: Duration,
}

/// Keeps track of tasks from its first call on, as [`tasks`](super::tasks) does, and returns what
/// runs at this moment: on each thread, in each worker process, and how far each `map` and `imap`
/// is.
///
/// It walks over threads, processes and maps, not over tasks, so that it may be asked often. A
/// `map` that is older than the first call is not in it.
///
/// ```
/// use trefoil::ThreadPool;
///
/// let before = trefoil::inspect::activity(); // the first call: tasks are kept track of
/// assert!(before.maps.is_empty());
/// let pool = ThreadPool::with_threads(2);
/// pool.for_each(0..100, |n| {
///     if n == 50 {
///         let maps = trefoil::inspect::activity().maps;
///         assert_eq!((maps[0].kind, maps[0].total), ("map on threads", Some(100)));
///     }
/// });
/// assert!(trefoil::inspect::activity().maps.is_empty());
/// ```
#[must_use]
pub fn activity() -> Activity {
    let store = store::wake();
    let seats = store.seats();
    let threads = seats.iter().map(|seat| {
        let runs = Some(seat.runs.load(Relaxed)).filter(|id| *id != 0);
        LiveThread {
            name: seat.info.to_string(),
            runs,
            task: runs.and_then(|id| describe(store, id)),
            begun: seat.begun.load(Relaxed),
        }
    });
    let threads = threads.collect();
    let running = store.running.lock().clone();
    let sent = store.sent_items();
    let (now, nanos) = store.clock.elapsed();
    let since = |at: u64| Duration::from_nanos(now.saturating_sub(nanos(at)));
    let calls = sent
        .into_iter()
        .map(|(pid, items, task)| LiveCall::new(store, pid, &items, task));
    let maps = running.iter().map(|map| LiveMap {
        kind: map.kind,
        task: describe(store, map.task),
        caller: map.caller.clone(),
        total: map.total,
        ended: map.ended.load(Relaxed),
        since: since(map.since),
    });
    Activity {
        threads,
        calls: calls.collect(),
        maps: maps.collect(),
    }
}
