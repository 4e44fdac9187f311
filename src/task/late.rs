//! What the error of a task whose time was up says of it.
//!
//! Who notices: `combine/timeout.rs`; in a process pool `process/sched/timeouts.rs` and
//! `process/worker/batch.rs`.

use std::fmt;
use std::time::Duration;

use super::failed_item::FailedItem;

/// What is known of a task whose time was up: in
/// [`TaskError::TimedOut`](crate::TaskError::TimedOut).
///
/// ```
/// use std::time::Duration;
/// use trefoil::{ProcessPool, TaskError};
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// let endless = procs.call(|n: u32| while n == 1 { std::thread::yield_now() });
/// let limit = Duration::from_millis(20);
/// match endless.timeout(limit).map(0..3) {
///     Err(TaskError::TimedOut(late)) => {
///         assert_eq!((late.item(), late.limit()), (Some(1), Some(limit)));
///         assert!(late.ran() >= Some(limit));
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// The `Default` has no item and no times.
#[derive(Clone, Default)]
pub struct Late(Option<Box<LateFields>>);

#[derive(Clone, Default)]
struct LateFields {
    item: FailedItem,
    ran: Option<Duration>,
    limit: Option<Duration>,
    /// The limit counts from the call, and not from the item's start.
    from_call: bool,
    worker: Option<u32>,
}

impl Late {
    /// The limit of a wait was exceeded.
    pub(crate) fn after(limit: Duration) -> Self {
        Self::default().with(|known| known.limit = Some(limit))
    }

    /// A call in the worker process `worker` was stopped after `ran`.
    pub(crate) fn call(limit: Duration, ran: Duration, worker: u32) -> Self {
        Self::after(limit).with(|known| (known.ran, known.worker) = (Some(ran), Some(worker)))
    }

    /// A call has not begun, and may not any more.
    pub(crate) fn unbegun(limit: Duration) -> Self {
        Self::after(limit).with(|known| known.ran = Some(Duration::ZERO))
    }

    /// A call has not ended within `limit`, waiting included. `item`: how long its one item had
    /// run, and in which worker, if it ran then or is known not to have begun.
    pub(crate) fn whole(limit: Duration, item: Option<(Duration, Option<u32>)>) -> Self {
        Self::after(limit).with(|known| {
            known.from_call = true;
            if let Some((ran, worker)) = item {
                (known.ran, known.worker) = (Some(ran), worker);
            }
        })
    }

    pub(super) fn failed_item(&self) -> Option<&FailedItem> {
        Some(&self.0.as_ref()?.item)
    }

    pub(super) fn failed_item_mut(&mut self) -> &mut FailedItem {
        &mut self.0.get_or_insert_default().item
    }

    fn with(mut self, change: impl FnOnce(&mut LateFields)) -> Self {
        change(self.0.get_or_insert_default());
        self
    }

    /// The index of the item of a `map`, `map_each` or `imap`.
    #[must_use]
    pub fn item(&self) -> Option<usize> {
        self.0.as_ref()?.item.index
    }

    /// How long the call had run when it was stopped; zero: it has not begun, and does not. `None`
    /// for a wait that was given up: the awaited work may still be running. Also `None` where the
    /// limit of a whole call is over ([`within`](crate::ProcessCall::within)), for
    /// - a `map`, `map_each` or `imap`: some of its items have run;
    /// - a call that had run before and did not then, because it waited for a retry, or its result
    ///   was being decoded;
    /// - a call that a [plain worker](crate::ProcessPoolBuilder::plain_workers), or one on another
    ///   machine, was sent and has not answered: it may have begun, or begin until the worker
    ///   learns of it. Nobody knows.
    #[must_use]
    pub fn ran(&self) -> Option<Duration> {
        self.0.as_ref()?.ran
    }

    /// The limit that was exceeded.
    #[must_use]
    pub fn limit(&self) -> Option<Duration> {
        self.0.as_ref()?.limit
    }

    /// The process id of the worker that ran the call.
    #[must_use]
    pub fn worker(&self) -> Option<u32> {
        self.0.as_ref()?.worker
    }
}

/// The same text, with the item.
impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(item) = self.failed_item() {
            write!(f, "{item}")?;
        }
        write!(f, "{self}")
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing = LateFields::default();
        let known = self.0.as_deref().unwrap_or(&nothing);
        f.write_str("the time is up")?;
        if let Some(limit) = known.limit {
            let since = if known.from_call {
                " from the call"
            } else {
                ""
            };
            write!(f, " (limit {limit:?}{since})")?;
        }
        match known.ran {
            Some(Duration::ZERO) => f.write_str(", before it began")?,
            Some(ran) => write!(f, ", after {ran:.1?}")?,
            None => {}
        }
        if let Some(pid) = known.worker {
            write!(f, " in worker process {pid}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_knows() {
        assert_eq!(Late::default().to_string(), "the time is up");
        let limit = Duration::from_millis(20);
        assert_eq!(
            Late::after(limit).to_string(),
            "the time is up (limit 20ms)"
        );
        let mut call = Late::call(limit, Duration::from_micros(20_100), 7);
        call.failed_item_mut().index = Some(1);
        let words = "the time is up (limit 20ms), after 20.1ms in worker process 7";
        assert_eq!(call.to_string(), words);
        assert_eq!(format!("{call:?}"), format!("item 1: {words}"));
        assert_eq!((call.item(), call.worker()), (Some(1), Some(7)));
        let whole = Late::whole(limit, Some((Duration::ZERO, None)));
        let words = "the time is up (limit 20ms from the call), before it began";
        assert_eq!(whole.to_string(), words);
    }
}
