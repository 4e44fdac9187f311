//! The story in figures.
//!
//! **Job.** One row for each executor, and the tasks whose code ran longest.
//!
//! What a thread's time is called: *busy*, while a task's code or a part of a region runs; *waiting*, while that is parked in a
//! wait of ours; *asleep*, while it has nothing to do. The rest (looking for work, turning the loop) has no name. Each
//! moment counts once, for the innermost.
//!
//! Queue times are from a spawn, or a wake-up, to the moment at which the code ran; of calls to processes, from the call to the
//! first frame. They stand in the row of who ran it.
//!
//! Rejected: averages (of queue times they say little: hence median, 99th percentile and the longest).
//!
//! Tests: below, `tests/trace/`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::chrome::label;
use super::story::{Body, Owner, Story, Track};
use crate::record::{Ending, Role};

/// How many of the slowest tasks are told of.
const SLOWEST: usize = 10;

/// A recording in figures, from [`Trace::summary`](super::Trace::summary). Its `Display` form is a
/// table of several lines.
///
/// ```
/// let recording = trefoil::trace::start()?;
/// let pool = trefoil::ThreadPool::builder().threads(2).name("mill").build().unwrap();
/// for n in 0..10_u64 {
///     pool.spawn(move || n * n).join().unwrap();
/// }
/// let summary = recording.stop().summary();
/// let done: u64 = summary.executors().iter().map(|row| row.tasks()).sum();
/// assert_eq!(done, 10);
/// assert_eq!(summary.slowest().len(), 10);
/// # Ok::<_, trefoil::trace::AlreadyRecording>(())
/// ```
#[derive(Clone, Debug)]
pub struct Summary {
    length: u64,
    threads: usize,
    events: usize,
    lost: u64,
    executors: Vec<ExecutorSummary>,
    slowest: Vec<SlowTask>,
}

/// One executor, or what is done on threads that are none's.
#[derive(Clone, Debug, Default)]
pub struct ExecutorSummary {
    name: String,
    threads: usize,
    tasks: u64,
    busy: u64,
    waiting: u64,
    asleep: u64,
    queued: Vec<u64>,
}

/// A task whose code ran for long.
#[derive(Clone, Debug)]
pub struct SlowTask {
    id: u64,
    label: String,
    ran: u64,
    runs: u64,
    queued: u64,
}

/// Which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Threads(u32),
    Loop(usize),
    Processes(u32),
    Offload,
    Outside,
}

impl Row {
    fn of(role: Role, track: usize) -> Self {
        match role {
            Role::Worker { pool, .. } => Self::Threads(pool),
            Role::Loop => Self::Loop(track),
            Role::Offload => Self::Offload,
            Role::Outside | Role::Driver { .. } => Self::Outside,
        }
    }

    fn name(self, track: &Track) -> String {
        match self {
            // "name-3", without its number.
            Self::Threads(_) => {
                let (pool, _) = track.name.rsplit_once('-').unwrap_or((&track.name, ""));
                format!("thread pool {pool}")
            }
            Self::Loop(_) => format!("event loop on {}", track.name),
            Self::Processes(pool) => format!("process pool {pool}"),
            Self::Offload => "blocking calls".to_owned(),
            Self::Outside => "other threads".to_owned(),
        }
    }
}

impl Summary {
    pub(super) fn of(story: &Story) -> Self {
        let mut rows: BTreeMap<Row, (ExecutorSummary, HashSet<usize>)> = BTreeMap::new();
        for (number, track) in story.tracks.iter().enumerate() {
            for slice in &track.slices {
                let row = match slice.body {
                    Body::Frame { pool, .. } => Row::Processes(pool),
                    _ => Row::of(slice.role, number),
                };
                let (row, threads) = rows.entry(row).or_insert_with(|| {
                    let name = row.name(track);
                    let row = ExecutorSummary {
                        name,
                        ..ExecutorSummary::default()
                    };
                    (row, HashSet::new())
                });
                threads.insert(number);
                match slice.body {
                    Body::Run { how, .. } => {
                        row.busy += slice.own;
                        row.tasks +=
                            u64::from(matches!(how, Some(Ending::Done | Ending::Panicked)));
                    }
                    Body::Part(_) => row.busy += slice.own,
                    Body::Wait { .. } => row.waiting += slice.own,
                    Body::Sleep => row.asleep += slice.own,
                    Body::Frame {
                        items, ran, job, ..
                    } => {
                        row.busy += ran.unwrap_or(slice.own);
                        if job != 0 && ran.is_some() {
                            row.tasks += u64::from(items);
                        }
                    }
                }
            }
        }
        let mut first_frames = HashSet::new();
        for arrow in &story.arrows {
            let (number, at) = arrow.to;
            let track = &story.tracks[number];
            let row = match (arrow.name, track.kind) {
                ("wake thread", _) => continue,
                (_, Owner::Process { pool }) => {
                    if !first_frames.insert(arrow.from) {
                        continue;
                    }
                    Row::Processes(pool)
                }
                _ => {
                    let slices = &track.slices;
                    let begun = slices.partition_point(|slice| slice.at < at);
                    let role = slices.get(begun).map_or(Role::Outside, |slice| slice.role);
                    Row::of(role, number)
                }
            };
            if let Some((row, _)) = rows.get_mut(&row) {
                row.queued.push(at - arrow.from.1);
            }
        }
        let mut executors: Vec<ExecutorSummary> = Vec::new();
        let mut alike: HashMap<String, usize> = HashMap::new();
        for (_, (mut row, threads)) in rows {
            row.threads = threads.len();
            row.queued.sort_unstable();
            // Pools may have the same name.
            let number = alike.entry(row.name.clone()).or_default();
            *number += 1;
            if *number > 1 {
                row.name = format!("{} ({number})", row.name);
            }
            executors.push(row);
        }
        let threads = story.tracks.iter();
        let threads = threads.filter(|track| matches!(track.kind, Owner::Thread(_)));
        Self {
            length: story.length,
            threads: threads.count(),
            events: story.events,
            lost: story.lost,
            executors,
            slowest: slowest(story),
        }
    }

    /// The executors that have done anything, and "other threads": those from outside, which help in a
    /// pool's regions or run what they wait for.
    #[must_use]
    pub fn executors(&self) -> &[ExecutorSummary] {
        &self.executors
    }

    /// The tasks whose code ran longest, ten at most, the slowest first.
    #[must_use]
    pub fn slowest(&self) -> &[SlowTask] {
        &self.slowest
    }
}

fn slowest(story: &Story) -> Vec<SlowTask> {
    let mut tasks: Vec<(u64, u64)> = story
        .tasks
        .iter()
        .filter(|(_, task)| task.runs > 0)
        .map(|(id, task)| (task.ran, *id))
        .collect();
    // The younger of two later, so that the same story gives the same list.
    tasks.sort_unstable_by_key(|(ran, id)| (std::cmp::Reverse(*ran), *id));
    tasks.truncate(SLOWEST);
    let slow = |(ran, id): (u64, u64)| {
        let task = story.tasks.get(&id)?;
        let call = if task.is_call { " (in processes)" } else { "" };
        Some(SlowTask {
            id,
            label: format!("{}{call}", label(id, Some(task))),
            ran,
            runs: task.runs,
            queued: task.queued,
        })
    };
    tasks.into_iter().filter_map(slow).collect()
}

impl ExecutorSummary {
    /// What it is, and what its threads are called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many threads (worker processes) were seen at work, or going to sleep.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How many tasks have ended here, after their code ran; for processes, how many items were answered.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// How long tasks ran, on all threads together.
    #[must_use]
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy)
    }

    /// How long tasks were parked in blocking waits of this crate.
    #[must_use]
    pub fn waiting(&self) -> Duration {
        Duration::from_nanos(self.waiting)
    }

    /// How long threads slept because there was nothing to do.
    #[must_use]
    pub fn asleep(&self) -> Duration {
        Duration::from_nanos(self.asleep)
    }

    /// What this part of all queue times did not exceed: `queued(0.5)` is the median, `queued(1.0)` the longest.
    /// `None`: nothing was queued.
    #[must_use]
    pub fn queued(&self, part: f64) -> Option<Duration> {
        let last = self.queued.len().checked_sub(1)?;
        let place = (part.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.queued.get(place).copied().map(Duration::from_nanos)
    }
}

impl SlowTask {
    /// Its [`TaskId`](crate::TaskId)'s number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its name, or the file and line where it was spawned.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How long its code ran, waits inside of it included.
    #[must_use]
    pub fn ran(&self) -> Duration {
        Duration::from_nanos(self.ran)
    }

    /// How often: once for a closure, a future's polls, a call's frames.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// How long it was queued, all together.
    #[must_use]
    pub fn queued(&self) -> Duration {
        Duration::from_nanos(self.queued)
    }
}

/// A time with three digits and a unit.
struct Short(u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            0..1_000 => return f.pad(&format!("{} ns", self.0)),
            nanos @ 0..1_000_000 => (nanos as f64 / 1e3, "µs"),
            nanos @ 0..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
            nanos => (nanos as f64 / 1e9, "s"),
        };
        let decimals = match value {
            value if value < 9.995 => 2,
            value if value < 99.95 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.decimals$} {unit}"))
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
            "{} recorded: {} threads, {} events, {lost}",
            Short(self.length),
            self.threads,
            self.events
        )?;
        writeln!(
            f,
            "\n{:<28} {:>7} {:>9} {:>15} {:>9} {:>9} {:>31}",
            "executor",
            "threads",
            "tasks",
            "busy",
            "waiting",
            "asleep",
            "queued: median, 99 %, longest"
        )?;
        for row in &self.executors {
            let whole = self.length.saturating_mul(row.threads as u64).max(1);
            let part = row.busy as f64 * 100.0 / whole as f64;
            let busy = format!("{} {part:>3.0} %", Short(row.busy));
            let queued = |part| {
                let time = row.queued(part);
                time.map_or_else(
                    || "-".to_owned(),
                    |time| Short(time.as_nanos() as u64).to_string(),
                )
            };
            writeln!(
                f,
                "{:<28} {:>7} {:>9} {:>15} {:>9} {:>9} {:>11} {:>9} {:>9}",
                row.name,
                row.threads,
                row.tasks,
                busy,
                Short(row.waiting),
                Short(row.asleep),
                queued(0.5),
                queued(0.99),
                queued(1.0)
            )?;
        }
        if self.slowest.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:<36} {:>9} {:>9} {:>9} {:>9}",
            "slowest tasks", "id", "ran", "runs", "queued"
        )?;
        for task in &self.slowest {
            writeln!(
                f,
                "{:<36} {:>9} {:>9} {:>9} {:>9}",
                task.label,
                format!("#{}", task.id),
                Short(task.ran),
                task.runs,
                Short(task.queued)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let shown = |nanos| Short(nanos).to_string();
        assert_eq!(shown(999), "999 ns");
        assert_eq!(shown(1_234), "1.23 µs");
        assert_eq!(shown(12_345_678), "12.3 ms");
        assert_eq!(shown(123_456_789_000), "123 s");
    }
}
