//! The options of a call.
//!
//! Which file does what they say:
//!
//! | option | where |
//! |---|---|
//! | `timeout`, `within` | `sched/timeouts.rs`; an item that reports itself: `sched/replies.rs` |
//! | `retry`, `retry_on_timeout`, `backoff` | `job/mod.rs`, `sched/retry.rs` |
//! | `chunk`, `priority` | `sched/place.rs`, `sched/state/jobs.rs` |
//! | `counter` | `Job`, as results are counted |
//! | `context` | `sched/rules/contexts.rs` |
//! | `on_failed` | `sched/failed_items.rs` |
//! | `name` | [`Options::named`] |
//!
//! A new one: the field, its value in [`Options::NONE`], and a method of `ProcessCall`.
//! One that limits how much of the call runs at once: [`Job::items`](super::Job::items) has 0 while
//! nothing more may be sent, and is asked again whenever something wanted of the job ends
//! (`end_or_queue`, `sched/finish.rs`). `wanted_frames` says how many workers' frames it has. A
//! frame that nobody wants any more (`SentFrame::disown`) is not among them, although its item may
//! still run. It ends in `sched/{replies,deaths,take_back}.rs`, and the job is not asked then. Two
//! more places ask how much waits: `workers_for_work` (`sched/rules/elastic.rs`) and `frame_size`
//! (`sched/place.rs`). One that limits which workers get its items: `roomiest` there, too.
//!
//! Tests: `tests/process/calls.rs`.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use super::failed_item::OnFailedItem;
use crate::loom::atomic::AtomicU64;
use crate::task::{Late, Task, TaskError};

/// The options of a call, which all its jobs share. Without any it takes no memory; changing one
/// copies them if they are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallOptions(Option<Arc<Options>>);

impl Deref for CallOptions {
    type Target = Options;

    fn deref(&self) -> &Options {
        self.0.as_deref().unwrap_or(const { &Options::NONE })
    }
}

impl CallOptions {
    /// The options of a call that begins now.
    pub(crate) fn starting_now(&self) -> Self {
        let mut options = self.clone();
        if let Some(within) = options.within {
            // (A time that cannot be represented never comes.)
            options.until = Instant::now().checked_add(within);
        }
        options
    }
}

impl DerefMut for CallOptions {
    fn deref_mut(&mut self) -> &mut Options {
        Arc::make_mut(self.0.get_or_insert_with(|| Arc::new(Options::NONE)))
    }
}

/// What the options of a call are.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How long one item may run.
    pub(crate) timeout: Option<Duration>,
    /// How long the whole call may take, waiting included.
    pub(crate) within: Option<Duration>,
    /// When that is over, once the call has begun.
    pub(crate) until: Option<Instant>,
    /// How many more times an item is started after its worker has died.
    pub(crate) retry: u32,
    /// Whether an item that has run for too long is retried, too.
    pub(crate) retry_on_timeout: bool,
    /// How long the first pause before a retry is; each is twice as long as the one before.
    pub(crate) backoff: Duration,
    /// How many items go into a frame, if the caller has set that.
    pub(crate) chunk: Option<usize>,
    pub(crate) name: Option<String>,
    /// How many items have ended, for those who ask.
    pub(crate) counter: Option<Arc<AtomicU64>>,
    /// Items with a higher priority run sooner.
    pub(crate) priority: i32,
    /// What the function borrows for each item.
    pub(crate) context: Option<Arc<Context>>,
    /// Gets items that have failed, in place of the pool's hook.
    pub(crate) on_failed: Option<OnFailedItem>,
}

impl Options {
    const NONE: Self = Self {
        timeout: None,
        within: None,
        until: None,
        retry: 0,
        retry_on_timeout: false,
        backoff: Duration::ZERO,
        chunk: None,
        name: None,
        counter: None,
        priority: 0,
        context: None,
        on_failed: None,
    };

    /// The error of a call whose whole time is over; `item`: how long its one item has run, and
    /// where, if it runs or is known not to have begun.
    pub(crate) fn too_late(&self, item: Option<(Duration, Option<u32>)>) -> TaskError {
        let limit = self.within.unwrap_or_default();
        TaskError::TimedOut(Late::whole(limit, item))
    }

    pub(crate) fn named<T>(&self, task: Task<T>) -> Task<T> {
        match &self.name {
            Some(name) => task.named(name.clone()),
            None => task,
        }
    }
}
