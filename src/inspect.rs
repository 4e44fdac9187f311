//! Looks into a running program: the tree of its tasks, deadlocks, what runs now (feature
//! `inspect`).
//!
//! | question | answer |
//! |---|---|
//! | which tasks are there, and what does each wait for? | [`tasks`], in parts: [`task_parts`] |
//! | which code can never continue? | [`on_stuck`], [`watch_stuck`] |
//! | what runs now? | [`activity`] |
//! | how do I cancel a task that I see there? | [`find_task`] |
//!
//! Tasks are kept track of from the first of these calls on, from a signal on
//! ([`track_tasks_on_signal`]), or from the first executor on, if the variable `TREFOIL_TASKS` or
//! `TREFOIL_STUCK` is set.
//!
//! # Cost
//!
//! Without the feature: nothing. With it, while nobody has asked: a load and a branch for each
//! event of a task, each guard of a lock, and each sleep; a few words in each lock and guard. From
//! the first question on: 40 to 70 ns for a task, 20 to 35 ns for a poll and 100 ns for one that
//! another task has woken, and 150 ns for a lock that is taken; and 384 KiB for some thousand tasks
//! at once, up to 24 MiB for 262,144 (more are only counted). So a program turns the feature on,
//! not a library, whose users would all pay.
//!
//! ```
//! # use trefoil::ThreadPool;
//! use trefoil::inspect;
//!
//! let _awake = inspect::tasks(); // from now on, tasks are kept track of
//! let pool = ThreadPool::with_threads(1);
//! let task = pool.spawn(|| inspect::tasks().to_string()).named("looks");
//! assert!(task.join()?.contains("`looks`"));
//! # Ok::<_, trefoil::TaskError>(())
//! ```

pub use crate::task::handle::find_task;
#[doc(inline)]
pub use trefoil_trace::live::{
    Activity, LiveCall, LiveHolder, LiveLock, LiveMap, LiveStep, LiveTask, LiveThread, LiveWait,
    LiveWorker, OutsideThread, Stuck, StuckKind, StuckWaiter, StuckWatch, TaskParts, TaskPhase,
    TaskTree, activity, on_stuck, task_parts, tasks, track_tasks_on_signal, watch_stuck,
};
