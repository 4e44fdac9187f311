//! What the page shows each second: one copy of counters, made without a walk over tasks.
//!
//! Rates are the differences between two snapshots, which the page takes: so nothing is kept here.

use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::pulse::PulseView;

/// How many worker processes of a pool, or threads of the program, are shown.
pub(crate) const SHOWN: usize = 256;

/// The counters of one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    /// Milliseconds since 1970.
    pub(crate) time_ms: u64,
    pub(crate) program: ProgramView,
    pub(crate) executors: Vec<ExecutorView>,
    #[serde(flatten)]
    pub(crate) pulse: PulseView,
    /// How many threads and processes have no line.
    pub(crate) not_shown: usize,
    /// How long it took to make this.
    pub(crate) cost_us: u64,
}

/// The program itself.
#[derive(Debug, Serialize)]
pub(crate) struct ProgramView {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) processors: usize,
    /// Since the dashboard has been opened.
    pub(crate) watched_ms: u64,
    pub(crate) process: Option<ProcessView>,
    pub(crate) threads: Vec<ThreadView>,
}

/// A thread of the program, where the system reports them.
#[derive(Debug, Serialize)]
pub(crate) struct ThreadView {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) processor_ms: u64,
}

/// A process, as the system reports it.
#[derive(Debug, Serialize)]
pub(crate) struct ProcessView {
    pub(crate) state: String,
    pub(crate) memory: u64,
    /// The most that it has ever had, where the system says that.
    pub(crate) peak: Option<u64>,
    pub(crate) processor_ms: u64,
    pub(crate) age_s: u64,
}

/// One executor that is watched.
#[derive(Debug, Serialize)]
pub(crate) struct ExecutorView {
    pub(crate) id: u64,
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) kind: KindView,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum KindView {
    Threads {
        threads: usize,
        busy: usize,
        waiting: usize,
        queued: usize,
        taken: u64,
        delay: DelayView,
    },
    Processes {
        counts: CountsView,
        workers: Vec<WorkerView>,
    },
    Loop {
        delay: DelayView,
    },
}

/// How long what is spawned waits until it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct DelayView {
    /// The latest that is known.
    pub(crate) last_us: Option<u64>,
    /// How long one that has not begun has waited.
    pub(crate) waiting_us: Option<u64>,
    /// Why it takes no task, if so.
    pub(crate) refused: Option<&'static str>,
}

/// The counters of `trefoil::ProcessStats`.
#[derive(Debug, Serialize)]
pub(crate) struct CountsView {
    pub(crate) workers: usize,
    pub(crate) busy: usize,
    pub(crate) pending: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    pub(crate) timed_out: u64,
    pub(crate) started: u64,
    pub(crate) died: u64,
}

/// A worker process.
#[derive(Debug, Serialize)]
pub(crate) struct WorkerView {
    pub(crate) pid: u32,
    /// Unknown if it is not a child of this program, but runs on another machine, for example.
    pub(crate) process: Option<ProcessView>,
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

pub(crate) fn micros_since(start: Instant) -> u64 {
    micros(start.elapsed())
}
