//! The watchdog: reports a task while it blocks its loop.
//!
//! A long poll delays every other task of its loop, and one that never ends leaves a program that
//! hangs without a message. So another thread reports it:
//!
//! 1. During a poll, a watched loop puts its [table](super::shared_table) where others can read it,
//!    with the poll's task and start.
//! 2. The watchdog, a separate thread of the loop, reads it. During a poll it sleeps until that
//!    poll would be too long, and looks again: so it wakes at most once per threshold, and when it
//!    finds the *same* poll it calls the hook, once.
//! 3. Without a poll it parks, and the next poll wakes it: an idle loop has an idle watchdog.
//! 4. The loop's end ends it, and waits for it.
//!
//! Cost: nothing without it; with it two uncontended locks and two looks at the clock
//! for each poll.
//!
//! Rejected: a report after the poll has ended (a poll that never ends matters most); the timer
//! thread as watchdog (a slow hook would delay every deadline of the process).
//!
//! Checked by `tests/event_loop/slow_poll.rs`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::shared_table::Inner;
use super::snapshot::TaskInfo;
use crate::loom::thread::{Builder, JoinHandle};
use crate::task::panic::contain;

/// The argument of a [`slow_poll`](crate::EventLoopBuilder::slow_poll) hook: a task that blocks its
/// loop.
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// let (tell, told) = mpsc::channel();
/// let event_loop = trefoil::EventLoop::builder()
///     .slow_poll(Duration::from_millis(5), move |slow| { let _ = tell.send(slow.to_string()); })
///     .build()?;
/// event_loop.block_on(async {
///     let stuck = trefoil::spawn(async move {
///         // It blocks the loop until it was told of.
///         told.recv_timeout(Duration::from_secs(30)).unwrap()
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

impl SlowPoll {
    /// Of the poll that goes on.
    fn of(inner: &Inner, tag: u32, elapsed: Duration) -> Option<Self> {
        Some(Self {
            task: TaskInfo::of(&inner.table, tag, Some(tag))?,
            is_root: tag == 0,
            elapsed,
        })
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
                write!(f, " `{name}`")?;
            }
            write!(f, ", spawned at {}", task.spawned_at)?;
        }
        write!(
            f,
            ", has kept its event loop to itself for {:?}, in one poll",
            self.elapsed
        )
    }
}

/// What is called with a report.
pub(super) type SlowHook = Box<dyn Fn(&SlowPoll) + Send + Sync>;

/// The watchdog of a loop. Dropping it ends its thread, and waits for that.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(super) fn start(
        shared: &Arc<Shared>,
        threshold: Duration,
        hook: SlowHook,
    ) -> io::Result<Self> {
        let shared = shared.clone();
        let watched = shared.clone();
        let thread = Builder::new()
            .name("trefoil-watch".into())
            .spawn(move || watch(&watched, threshold, &hook))?;
        let thread = Some(thread);
        Ok(Self { shared, thread })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.table.lock().ended = true;
        self.shared.table.begun.notify_one();
        let _ = self.thread.take().map(JoinHandle::join); // it does not panic
    }
}

fn watch(shared: &Shared, threshold: Duration, hook: &SlowHook) {
    let table = &shared.table;
    let mut inner = table.lock();
    while !inner.ended {
        let due = match &inner.now {
            // Beyond the clock's range: never.
            Some(poll) if !poll.reported => poll.since.checked_add(threshold),
            // One that was reported: it ends some day, and another begins.
            _ => None,
        };
        let now = Instant::now();
        match due {
            Some(due) if now < due => (inner, _) = table.begun.wait_until(inner, due),
            Some(_) => {
                let poll = inner.now.as_mut().expect("it is due");
                poll.reported = true;
                let (tag, elapsed) = (poll.tag, now.saturating_duration_since(poll.since));
                let report = SlowPoll::of(&inner, tag, elapsed);
                drop(inner);
                if let Some(report) = report {
                    contain(|| hook(&report)); // L8
                }
                inner = table.lock();
            }
            None => {
                inner.parked = true;
                inner = table.begun.wait(inner);
            }
        }
    }
}
