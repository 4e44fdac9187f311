//! A snapshot of a loop: its tasks at one moment.
//!
//! A [`Snapshot`] is a copy: taking it costs a walk over the tasks, keeping it costs the loop
//! nothing. `shared_table` describes how another thread gets it from a running loop.
//!
//! It prints as a tree, parents above the tasks that they have spawned. The walk uses an explicit
//! stack, and lines are indented at most [`DEEPEST`] levels, because chains of tasks that spawn
//! tasks can be long.
//!
//! Checked by `tests/event_loop/snapshot.rs`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::task_table::{PollRecord, READ, TIMER, TaskEntry, TaskTable, WRITE};
use crate::task::{TaskId, TaskRef};
use crate::trace_log::Printable;

/// The deepest indentation.
const DEEPEST: usize = 24;

/// The tasks of an event loop at one moment: returned by
/// [`LoopHandle::snapshot`](crate::LoopHandle::snapshot).
///
/// Both `Display` and `Debug` draw the tree.
///
/// ```
/// use trefoil::{LoopHandle, spawn, yield_now};
///
/// trefoil::run(async {
///     let waiting = spawn(std::future::pending::<()>()).named("waits forever");
///     yield_now().await;
///     let snapshot = LoopHandle::current().snapshot();
///     assert_eq!(snapshot.tasks().len(), 1);
///     let task = &snapshot.tasks()[0];
///     assert_eq!((task.id, task.polls), (waiting.id(), 1));
///     assert_eq!(task.name.as_deref(), Some("waits forever"));
///     assert!(snapshot.to_string().contains("waits forever"));
/// });
/// ```
#[derive(Clone)]
pub struct Snapshot {
    root: Option<TaskInfo>,
    tasks: Vec<TaskInfo>,
    complete: bool,
}

/// One task in a [`Snapshot`].
///
/// ```
/// # use trefoil::{LoopHandle, spawn, yield_now};
/// use std::time::Duration;
/// use trefoil::event_loop::TaskState;
///
/// trefoil::run(async {
///     spawn(trefoil::time::sleep(Duration::from_secs(60))).detach();
///     yield_now().await;
///     let snapshot = LoopHandle::current().snapshot();
///     let sleeper = &snapshot.tasks()[0];
///     assert_eq!(sleeper.state, TaskState::Waiting);
///     assert!(sleeper.waits_for.timer);
///     assert_eq!(sleeper.parent, None); // the root future is not a task
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The id of the task.
    pub id: TaskId,
    /// The name that the task was given.
    pub name: Option<Box<str>>,
    /// The task that spawned it, on any executor; `None`: no task spawned it.
    pub parent: Option<TaskId>,
    /// Where the task was spawned; for the root future, where the loop was started.
    pub spawned_at: &'static Location<'static>,
    /// What the task was doing.
    pub state: TaskState,
    /// What the task waited for at its last poll (even if it is queued again).
    pub waits_for: WaitsFor,
    /// How often the task was polled and had to wait (counted up to 2³²).
    pub polls: u64,
    /// How long the task's polls took in total; `None` on a loop without
    /// [`slow_poll`](crate::EventLoopBuilder::slow_poll), which reads no clock for this.
    pub time_in_polls: Option<Duration>,
}

/// What a task in a [`Snapshot`] was doing.
///
/// ```
/// assert_eq!(trefoil::event_loop::TaskState::Waiting.to_string(), "waits");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// The task was in the loop's queue.
    Queued,
    /// The task's code was running.
    Running,
    /// The task waited to be woken.
    Waiting,
    /// The task was cancelled, and its future was not yet dropped.
    Cancelled,
}

/// What a task waited for, as far as the loop saw it at the task's last poll.
///
/// If all are unset, it waited for something outside the loop: a channel, a lock, a future of
/// another crate.
///
/// ```
/// use trefoil::event_loop::WaitsFor;
///
/// assert_eq!(WaitsFor::default().to_string(), "something else");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitsFor {
    /// The task whose end it waited for, which may be on another executor; if it waited for
    /// several, the one polled last.
    pub task: Option<TaskId>,
    /// Whether it waited for a timer.
    pub timer: bool,
    /// Whether it waited for data to read, or for a connection to accept.
    pub read: bool,
    /// Whether it waited for room to write, or for a connection to be made.
    pub write: bool,
}

impl Snapshot {
    /// A snapshot of a table, whose lock or cell the caller has. `running`: the tag of the running
    /// task; 0 is the root future.
    pub(super) fn of(table: &TaskTable, running: Option<u32>) -> Self {
        let tasks = table.tasks();
        let mut tasks: Vec<TaskInfo> = tasks
            .filter_map(|task| TaskInfo::of(table, task.tag(), running))
            .collect();
        tasks.sort_by_key(|task| task.id);
        Self {
            root: TaskInfo::of(table, 0, running),
            tasks,
            complete: true,
        }
    }

    /// A snapshot that says that the loop did not answer.
    pub(super) fn unanswered() -> Self {
        Self {
            root: None,
            tasks: Vec::new(),
            complete: false,
        }
    }

    /// The loop's unfinished tasks, oldest id first, without the root future. Tasks that other
    /// threads have just spawned may be missing.
    #[must_use]
    pub fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    /// The future passed to `run` or `block_on`, if one runs; no task has its id, or has it as a
    /// parent.
    #[must_use]
    pub fn root(&self) -> Option<&TaskInfo> {
        self.root.as_ref()
    }

    /// False if the loop is stuck in a poll and did not answer: then the snapshot is empty. The
    /// snapshot of a loop with [`slow_poll`](crate::EventLoopBuilder::slow_poll) is always
    /// complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

impl TaskInfo {
    /// The task with this tag; tag 0 is the root future. `running`: the tag of the task whose code
    /// is running.
    pub(super) fn of(table: &TaskTable, tag: u32, running: Option<u32>) -> Option<Self> {
        let (task, id, spawned_at, noted) = if tag == 0 {
            let root = table.root.as_ref()?;
            (None, root.id, root.site, root.noted)
        } else {
            let TaskEntry { task, noted } = table.get(tag)?;
            (Some(task), task.id(), task.spawned_at(), *noted)
        };
        let state = match task {
            _ if running == Some(tag) => TaskState::Running,
            Some(task) if task.is_cancelled() => TaskState::Cancelled,
            // A task that has yielded is still marked as running.
            Some(task) if task.is_scheduled() || task.is_running() => TaskState::Queued,
            _ => TaskState::Waiting,
        };
        Some(Self {
            id,
            name: task.and_then(TaskRef::name).map(Box::from),
            parent: task.and_then(TaskRef::parent),
            spawned_at,
            state,
            waits_for: WaitsFor::of(noted, table.awaited(tag, noted)),
            polls: noted.polls.into(),
            time_in_polls: table.time(tag),
        })
    }

    fn line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, " `{}`", Printable(name))?;
        }
        write!(f, " at {}: {}", self.spawned_at, self.state)?;
        if self.state == TaskState::Waiting {
            write!(f, " for {}", self.waits_for)?;
        }
        let s = if self.polls == 1 { "" } else { "s" };
        write!(f, "; {} poll{s}", self.polls)?;
        if let Some(time) = self.time_in_polls {
            write!(f, ", {time:?} in polls")?;
        }
        Ok(())
    }
}

impl WaitsFor {
    fn of(noted: PollRecord, task: Option<TaskId>) -> Self {
        Self {
            task,
            timer: noted.waits(TIMER),
            read: noted.waits(READ),
            write: noted.waits(WRITE),
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.map(|task| format!("task {task}"));
        let timer = self.timer.then(|| "a timer".to_owned());
        let read = self.read.then(|| "input".to_owned());
        let write = self.write.then(|| "room to write".to_owned());
        let all: Vec<String> = [task, timer, read, write].into_iter().flatten().collect();
        if all.is_empty() {
            return f.write_str("something else");
        }
        f.write_str(&all.join(" or "))
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "is queued",
            Self::Running => "runs",
            Self::Waiting => "waits",
            Self::Cancelled => "is cancelled",
        })
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.complete {
            return f.write_str("event loop, stuck in a poll: it does not respond");
        }
        let s = if self.tasks.len() == 1 { "" } else { "s" };
        write!(f, "event loop, {} task{s}", self.tasks.len())?;
        if let Some(root) = &self.root {
            write!(f, "\n├─ root future")?;
            root.line(f)?;
        }
        let present: HashSet<TaskId> = self.tasks.iter().map(|task| task.id).collect();
        let mut children: HashMap<TaskId, Vec<&TaskInfo>> = HashMap::new();
        // The tasks that are still to be drawn, with their levels; the next is on top.
        let mut open: Vec<(usize, &TaskInfo)> = Vec::new();
        for task in self.tasks.iter().rev() {
            match task.parent.filter(|parent| present.contains(parent)) {
                Some(parent) => children.entry(parent).or_default().push(task),
                None => open.push((0, task)),
            }
        }
        while let Some((level, task)) = open.pop() {
            f.write_str("\n")?;
            for _ in 0..level.min(DEEPEST) {
                f.write_str("│  ")?;
            }
            f.write_str("├─ ")?;
            if level > DEEPEST {
                write!(f, "(level {level}) ")?;
            }
            write!(f, "{}", task.id)?;
            task.line(f)?;
            for child in children.remove(&task.id).unwrap_or_default() {
                open.push((level + 1, child));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
