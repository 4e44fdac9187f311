//! The watchdog: reports a task while it blocks its loop.
//!
//! A long poll delays every other task of its loop, and a poll that never ends makes a program hang
//! without a message. So another thread reports it:
//!
//! 1. During a poll, a watched loop puts its [table](super::shared_table) where others can read it,
//!    with the poll's task and start.
//! 2. The watchdog, a separate thread of the loop, reads it. During a poll it sleeps until that
//!    poll would be too long, and looks again. So it wakes at most once per threshold. When it
//!    finds the *same* poll, it calls the hook, once.
//! 3. Between polls it parks, and the next poll wakes it: an idle loop has an idle watchdog.
//! 4. A loop that ends also ends its watchdog, and waits until the thread has ended.
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
//! Checked by `tests/event_loop/slow_poll.rs`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::SharedLoop;
use super::shared_table::TableState;
use super::snapshot::TaskInfo;
use crate::loom::thread::{Builder, JoinHandle};
use crate::task::panic::contain;
use crate::trace_log::Printable;
use crate::trace_log::trouble::{self, Trouble};

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

impl SlowPoll {
    /// A report about the present poll.
    fn of(inner: &TableState, tag: u32, elapsed: Duration) -> Option<Self> {
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

/// The type of a hook for long polls.
pub(super) type SlowHook = Box<dyn Fn(&SlowPoll) + Send + Sync>;

/// The watchdog of a loop. Dropping it ends its thread, and waits until the thread has ended.
pub(super) struct Watchdog {
    shared: Arc<SharedLoop>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(super) fn start(
        shared: &Arc<SharedLoop>,
        threshold: Duration,
        hook: SlowHook,
    ) -> io::Result<Self> {
        let shared = shared.clone();
        let watched = shared.clone();
        let thread = Builder::new()
            .name("trefoil-watch".into())
            .spawn(move || report_slow_polls(&watched, threshold, &hook))?;
        let thread = Some(thread);
        Ok(Self { shared, thread })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.table.lock().ended = true;
        self.shared.table.begun.notify_one();
        let _ = self.thread.take().map(JoinHandle::join); // the thread does not panic
    }
}

fn report_slow_polls(shared: &SharedLoop, threshold: Duration, hook: &SlowHook) {
    let table = &shared.table;
    let mut inner = table.lock();
    while !inner.ended {
        let due = match &inner.now {
            // If the time is beyond the clock's range, the watchdog waits without a limit.
            Some(poll) if !poll.reported => poll.since.checked_add(threshold),
            // The poll was reported already. The watchdog waits until it ends and another begins.
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
                    trouble::noticed(Trouble::SlowPoll);
                    contain(|| hook(&report)); // see L8
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
