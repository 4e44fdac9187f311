//! A trace in figures.
//!
//! **Job.** One row for each executor, and the tasks whose code ran longest.
//!
//! A thread is *busy* while a task's code or a part of a region runs; *waiting* while that code is
//! parked in one of this crate's waits; *asleep* while it has nothing to do. The rest (looking for
//! work, turning the loop) is not counted. Each moment counts once, for the innermost slice.
//!
//! Queue times are from a spawn or a wake-up until the code runs; for calls to processes, from the
//! call to the first frame. They are in the row of the executor that ran the code.
//!
//! Rejected: averages (of queue times they say little: hence median, 99th percentile and the
//! longest).
//!
//! Tests: `tests/trace/main.rs::a_task_is_spawned_runs_and_ends`,
//! `tests/trace/odd.rs::a_pool_whose_name_begins_another_has_its_own`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::limits::SLOWEST;
use super::story::{Slice, Story, Track};
use crate::event::{Ending, Role, What};
use crate::printable::Printable;

/// A recording in figures, from [`Trace::summary`](super::Trace::summary). Its `Display` form is a
/// table of several lines, in which names are without what a terminal would obey.
///
/// ```
/// let recording = trefoil::trace::start()?;
/// let pool = trefoil::ThreadPool::builder().threads(2).name("mill").build().unwrap();
/// for n in 0..10_u64 {
///     pool.spawn(move || n * n).join().unwrap();
/// }
/// let summary = recording.stop().summary();
/// let done: u64 = summary.executors.iter().map(|row| row.tasks).sum();
/// assert_eq!(done, 10);
/// assert_eq!(summary.slowest.len(), 10);
/// # Ok::<_, trefoil::trace::AlreadyRecording>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    length: Duration,
    threads: usize,
    events: usize,
    lost: u64,
    /// The executors that have run anything, and "other threads": threads outside all pools that
    /// take part in a pool's regions or run a task they wait for.
    pub executors: Vec<ExecutorSummary>,
    /// The tasks whose code ran longest, ten at most, the slowest first.
    pub slowest: Vec<SlowTask>,
}

/// One executor in figures, or all threads that belong to none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExecutorSummary {
    /// The kind of executor, and the name of its threads.
    pub name: String,
    /// How many threads (worker processes) ran something or went to sleep.
    pub threads: usize,
    /// How many tasks have ended here, after their code ran; for processes, how many items were
    /// answered.
    pub tasks: u64,
    /// How long tasks ran, on all threads together.
    pub busy: Duration,
    /// How long tasks were parked in blocking waits of this crate.
    pub waiting: Duration,
    /// How long threads slept because there was nothing to do.
    pub asleep: Duration,
    queued: Vec<Duration>,
}

/// A task whose code ran for long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlowTask {
    /// The number of its `TaskId`.
    pub id: u64,
    /// Its name, or the file and line where it was spawned.
    pub label: String,
    /// How long its code ran, including waits inside it.
    pub ran: Duration,
    /// How often its code ran: once for a closure, a future's polls, a call's frames.
    pub runs: u64,
    /// How long it was queued in all.
    pub queued: Duration,
}

/// The row that a slice counts for; rows are shown in this order.
fn row(slice: &Slice, track: usize) -> (u8, usize) {
    match slice.role {
        Role::Worker { pool, .. } => (0, pool as usize),
        Role::Loop => (1, track),
        Role::Process { pool } => (2, pool as usize),
        Role::BlockingCalls => (3, 0),
        Role::Outside | Role::Driver { .. } => (4, 0),
    }
}

/// The name of the row.
fn row_name(slice: &Slice, track: &Track) -> String {
    match slice.role {
        // "name-3", without its number.
        Role::Worker { .. } => {
            let (pool, _) = track.name.rsplit_once('-').unwrap_or((&track.name, ""));
            format!("thread pool {pool}")
        }
        Role::Loop => format!("event loop on {}", track.name),
        Role::Process { pool } => format!("process pool {pool}"),
        Role::BlockingCalls => "blocking calls".to_owned(),
        Role::Outside | Role::Driver { .. } => "other threads".to_owned(),
    }
}

impl ExecutorSummary {
    fn add(&mut self, slice: &Slice) {
        let own = Duration::from_nanos(slice.length().saturating_sub(slice.inside));
        match slice.what {
            What::Begun { .. } | What::Ended { .. } => {
                self.busy += own;
                if let Some(What::Ended { how, .. }) = slice.end {
                    self.tasks += u64::from(how != Ending::Pending);
                }
            }
            What::Sent(frame) => {
                self.busy += Duration::from_nanos(slice.ran());
                if frame.job != 0 && matches!(slice.end, Some(What::Answered { .. })) {
                    self.tasks += u64::from(frame.items);
                }
            }
            What::Awaits { .. } | What::Waited => self.waiting += own,
            What::Sleeps | What::Slept => self.asleep += own,
            _ => self.busy += own,
        }
        self.queued.extend(slice.queued.map(Duration::from_nanos));
    }

    /// The time that this share of all queue times did not exceed: `queued(0.5)` is the median,
    /// `queued(1.0)` the longest. `None`: nothing was queued.
    #[must_use]
    pub fn queued(&self, part: f64) -> Option<Duration> {
        let last = self.queued.len().checked_sub(1)?;
        let place = (part.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.queued.get(place).copied()
    }
}

impl Summary {
    pub(super) fn of(story: &Story) -> Self {
        let mut rows: BTreeMap<(u8, usize), ExecutorSummary> = BTreeMap::new();
        let mut tasks: HashMap<u64, SlowTask> = HashMap::new();
        for (number, track) in story.tracks.iter().enumerate() {
            let mut seen = HashSet::new();
            for slice in track.slices.iter().filter(|slice| !slice.is_mark()) {
                let place = row(slice, number);
                let row = rows.entry(place).or_insert_with(|| ExecutorSummary {
                    name: row_name(slice, track),
                    ..ExecutorSummary::default()
                });
                row.threads += usize::from(seen.insert(place));
                row.add(slice);
                if let Some(id) = story.runs(slice) {
                    let task = tasks.entry(id).or_insert_with(|| SlowTask {
                        id,
                        label: String::new(),
                        ran: Duration::ZERO,
                        runs: 0,
                        queued: Duration::ZERO,
                    });
                    task.ran += Duration::from_nanos(slice.ran());
                    task.runs += 1;
                    task.queued += Duration::from_nanos(slice.queued.unwrap_or(0));
                }
            }
        }
        let mut alike: HashMap<String, usize> = HashMap::new();
        for row in rows.values_mut() {
            row.queued.sort_unstable();
            // Pools may have the same name.
            let number = alike.entry(row.name.clone()).or_default();
            *number += 1;
            if *number > 1 {
                row.name = format!("{} ({number})", row.name);
            }
        }
        let mut slowest: Vec<SlowTask> = tasks.into_values().collect();
        // Of two equal ones the younger comes later, so that the same trace gives the same list.
        slowest.sort_unstable_by_key(|task| (Reverse(task.ran), task.id));
        slowest.truncate(SLOWEST);
        for task in &mut slowest {
            let call = story.calls.values().any(|&call| call == task.id);
            let place = if call { " (in processes)" } else { "" };
            task.label = format!("{}{place}", story.label(task.id));
        }
        let threads = story.tracks.iter();
        let threads = threads.filter(|track| track.pid == story.pid);
        Self {
            length: Duration::from_nanos(story.length),
            threads: threads.count(),
            events: story.events,
            lost: story.lost,
            executors: rows.into_values().collect(),
            slowest,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = match self.lost {
            0 => "none lost".to_owned(),
            lost => format!("{lost} LOST for want of room"),
        };
        writeln!(
            f,
            "{:.2?} recorded: {} threads, {} events, {lost}\n\n\
             executor                     threads     tasks            busy   waiting    asleep   \
             queued: median, 99 %, longest",
            self.length, self.threads, self.events
        )?;
        for row in &self.executors {
            let whole = self.length.as_secs_f64() * row.threads as f64;
            let part = row.busy.as_secs_f64() * 100.0 / whole.max(1e-9);
            let busy = format!("{:.2?} {part:>3.0} %", row.busy);
            let [median, most, longest] = [0.5, 0.99, 1.0].map(|part| {
                let time = row.queued(part);
                time.map_or_else(|| "-".to_owned(), |time| format!("{time:.2?}"))
            });
            writeln!(
                f,
                "{:<28} {:>7} {:>9} {busy:>15} {:>9.2?} {:>9.2?} {median:>11} {most:>9} {longest:>9}",
                Printable(&row.name).to_string(),
                row.threads,
                row.tasks,
                row.waiting,
                row.asleep
            )?;
        }
        if !self.slowest.is_empty() {
            writeln!(
                f,
                "\nslowest tasks                               id       ran      runs    queued"
            )?;
        }
        for task in &self.slowest {
            let id = format!("#{}", task.id);
            writeln!(
                f,
                "{:<36} {id:>9} {:>9.2?} {:>9} {:>9.2?}",
                Printable(&task.label).to_string(),
                task.ran,
                task.runs,
                task.queued
            )?;
        }
        Ok(())
    }
}
