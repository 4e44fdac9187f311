//! The watchdog: reports a task while it blocks its loop.
//!
//! A long poll delays every other task of its loop, and a poll that never ends makes a program hang
//! without a message. So another thread reports it:
//!
//! 1. For each poll, a watched loop notes which task it is, and since when, where the watchdog can
//!    read it ([`Watched`]).
//! 2. The watchdog, a separate thread of the loop, reads it. During a poll it sleeps until that
//!    poll would be too long, and looks again. So it wakes at most once per threshold. When it
//!    finds the *same* poll, it calls the hook, once.
//! 3. Between polls it parks, and the next poll wakes it: an idle loop has an idle watchdog.
//! 4. A loop that ends also ends its watchdog, and waits until the thread has ended.
//!
//! - **L8** Under the lock no user code runs. The watchdog has no reference to a task; so a future
//!   is dropped on the loop's thread (L6).
//!
//! What is too long has no default: it is the first argument of `EventLoopBuilder::slow_poll`
//! (`builder.rs`), without which a loop has no watchdog.
//!
//! Cost: nothing for loops without it; with it, two uncontended locks and two readings of the clock
//! for each poll.
//!
//! Rejected: a report after the poll has ended (a poll that never ends matters most); the timer
//! thread as watchdog (a slow hook would delay every deadline of the process).
//!
//! Tests: `tests/event_loop/slow_poll.rs`.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::events::{self, Trouble};
use crate::loom::thread::{Builder, JoinHandle};
use crate::loom::{Condvar, Mutex};
use crate::printable::Printable;
use crate::task::panic::contain;
use crate::task::{TaskId, TaskRef};

/// The argument of a [`slow_poll`](crate::EventLoopBuilder::slow_poll) hook: a task that blocks its
/// loop.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// let (sender, receiver) = mpsc::channel();
/// let event_loop = trefoil::EventLoop::builder()
///     .slow_poll(Duration::from_millis(5), move |slow| { let _ = sender.send(slow.to_string()); })
///     .build()?;
/// event_loop.block_on(async {
///     let stuck = trefoil::spawn(async move {
///         // It blocks the loop until the hook has been called.
///         receiver.recv_timeout(Duration::from_secs(30)).unwrap()
///     });
///     let report = stuck.named("greedy").await.unwrap();
///     assert!(report.contains("greedy") && report.contains(".rs:"), "{report}");
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlowPoll {
    /// The task. (The root future also has an id, which no task has.)
    pub task: TaskInfo,
    /// Whether it is the future passed to `run` or `block_on`.
    pub is_root: bool,
    /// How long this poll has taken so far.
    pub elapsed: Duration,
}

/// The task that a [`SlowPoll`] is about.
///
/// ```
/// use std::time::Duration;
///
/// let event_loop = trefoil::EventLoop::builder()
///     .slow_poll(Duration::from_millis(50), |slow| {
///         let trefoil::event_loop::TaskInfo { id, spawned_at, .. } = slow.task;
///         eprintln!("{id} at {spawned_at} takes {:?}", slow.elapsed);
///     })
///     .build()?;
/// # drop(event_loop);
/// # Ok::<(), std::io::Error>(())
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
}

impl TaskInfo {
    pub(super) fn of(task: &TaskRef) -> Self {
        Self {
            name: task.name().map(Box::from),
            parent: task.parent(),
            ..Self::of_root(Root {
                id: task.id(),
                site: task.spawned_at(),
            })
        }
    }

    pub(super) fn of_root(root: Root) -> Self {
        Self {
            id: root.id,
            name: None,
            parent: None,
            spawned_at: root.site,
        }
    }
}

impl fmt::Display for SlowPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = &self.task;
        if self.is_root {
            write!(f, "the root future, started at {}", task.spawned_at)?;
        } else {
            write!(f, "task {}", task.id)?;
            if let Some(name) = &task.name {
                write!(f, " `{}`", Printable(name))?;
            }
            write!(f, ", spawned at {}", task.spawned_at)?;
        }
        write!(
            f,
            ", has blocked its event loop for {:?} in one poll",
            self.elapsed
        )
    }
}

/// What the loop and its watchdog share.
#[derive(Default)]
pub(super) struct Watched {
    state: Mutex<WatchState>,
    /// Notified when a poll has begun or the loop has ended.
    begun: Condvar,
}

#[derive(Default)]
struct WatchState {
    now: Option<CurrentPoll>,
    /// Whether the watchdog waits for a poll to begin.
    parked: bool,
    ended: bool,
}

/// The future that `block_on` was given.
#[derive(Clone, Copy)]
pub(super) struct Root {
    pub(super) id: TaskId,
    pub(super) site: &'static Location<'static>,
}

/// A poll that has not ended.
struct CurrentPoll {
    is_root: bool,
    /// (Not a reference to the task: who counts those finds tasks that nothing can wake.)
    task: Option<TaskInfo>,
    since: Instant,
    reported: bool,
}

impl Watched {
    /// The loop begins a poll of this task, or of the root future.
    pub(super) fn poll_begins(&self, is_root: bool, task: Option<TaskInfo>) {
        let mut state = self.state.lock();
        state.now = Some(CurrentPoll {
            is_root,
            task,
            since: Instant::now(),
            reported: false,
        });
        if std::mem::take(&mut state.parked) {
            self.begun.notify_one();
        }
    }

    /// The poll has ended.
    pub(super) fn poll_ends(&self) {
        self.state.lock().now = None;
    }
}

/// The type of a hook for long polls.
pub(super) type SlowHook = Box<dyn Fn(&SlowPoll) + Send + Sync>;

/// The watchdog of a loop. Dropping it ends its thread, and waits until the thread has ended.
pub(super) struct Watchdog {
    /// What it shares with the loop.
    pub(super) watched: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(super) fn start(threshold: Duration, hook: SlowHook) -> io::Result<Self> {
        let watched = Arc::<Watched>::default();
        let ours = watched.clone();
        let work: Box<dyn FnOnce() + Send> =
            Box::new(move || report_slow_polls(&ours, threshold, &hook));
        let thread = Some(Builder::new().name("trefoil-watch".into()).spawn(work)?);
        Ok(Self { watched, thread })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watched.state.lock().ended = true;
        self.watched.begun.notify_one();
        let _ = self.thread.take().map(JoinHandle::join); // the thread does not panic
    }
}

fn report_slow_polls(watched: &Watched, threshold: Duration, hook: &SlowHook) {
    let mut state = watched.state.lock();
    while !state.ended {
        let due = match &state.now {
            // If the time is beyond the clock's range, the watchdog waits without a limit.
            Some(poll) if !poll.reported => poll.since.checked_add(threshold),
            // The poll was reported already. The watchdog waits until it ends and another begins.
            _ => None,
        };
        let now = Instant::now();
        match due {
            Some(due) if now < due => (state, _) = watched.begun.wait_until(state, due),
            Some(_) => {
                let poll = state.now.as_mut().expect("it is due");
                poll.reported = true;
                let (is_root, task) = (poll.is_root, poll.task.take());
                let elapsed = now.saturating_duration_since(poll.since);
                drop(state);
                if let Some(task) = task {
                    events::noticed(Trouble::SlowPoll);
                    let report = SlowPoll {
                        task,
                        is_root,
                        elapsed,
                    };
                    contain(|| hook(&report)); // see L8
                }
                state = watched.state.lock();
            }
            None => {
                state.parked = true;
                state = watched.begun.wait(state);
            }
        }
    }
}
