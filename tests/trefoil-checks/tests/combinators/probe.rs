//! Instruments of the tests: values that count their drops, wakers that count their wake-ups, and
//! the failures that reached the hook.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Wake, Waker};

use trefoil::{TaskError, TaskId};

/// How a task ends, without the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Out {
    Value(u32),
    Cancelled,
    Closed,
    Late,
    Panicked,
}

impl Out {
    pub(crate) fn failed(self) -> bool {
        !matches!(self, Out::Value(_))
    }

    /// It failed, and was not cancelled.
    pub(crate) fn failed_by_itself(self) -> bool {
        !matches!(self, Out::Value(_) | Out::Cancelled)
    }

    pub(crate) fn of_error(error: &TaskError) -> Self {
        match error {
            TaskError::Cancelled => Out::Cancelled,
            TaskError::Closed => Out::Closed,
            TaskError::TimedOut(_) => Out::Late,
            TaskError::Panicked(_) => Out::Panicked,
            other => panic!("no test makes this: {other:?}"),
        }
    }

    pub(crate) fn of(result: &Result<Probe, TaskError>) -> Self {
        match result {
            Ok(probe) => Out::Value(probe.key),
            Err(error) => Self::of_error(error),
        }
    }

    /// The result that a producer gives so that the task ends like this.
    pub(crate) fn make(self, ledger: &Arc<Ledger>) -> Result<Probe, TaskError> {
        match self {
            Out::Value(key) => Ok(ledger.probe(key)),
            Out::Cancelled => Err(TaskError::Cancelled),
            Out::Closed | Out::Panicked => Err(TaskError::Closed),
            Out::Late => Err(TaskError::timed_out()),
        }
    }
}

/// Records for every value how often it was dropped.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Vec<u32>>);

/// A value that is entered in a ledger.
pub(crate) struct Probe {
    pub(crate) key: u32,
    entry: usize,
    ledger: Arc<Ledger>,
}

impl Ledger {
    pub(crate) fn probe(self: &Arc<Self>, key: u32) -> Probe {
        let mut entries = self.0.lock().unwrap();
        entries.push(0);
        Probe {
            key,
            entry: entries.len() - 1,
            ledger: self.clone(),
        }
    }

    /// Each value was dropped once.
    pub(crate) fn settle(&self) {
        let entries = self.0.lock().unwrap();
        for (entry, drops) in entries.iter().enumerate() {
            assert_eq!(*drops, 1, "value {entry} was dropped {drops} times");
        }
    }
}

impl Probe {
    /// What `Task::map` makes of it.
    pub(crate) fn mapped(self) -> Probe {
        self.ledger.probe(self.key + MAPPED)
    }
}

/// What mapping adds to the key.
pub(crate) const MAPPED: u32 = 1000;

impl Clone for Probe {
    fn clone(&self) -> Self {
        self.ledger.probe(self.key)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.ledger.0.lock().unwrap()[self.entry] += 1;
    }
}

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The waker of a poller whose last poll was pending.
#[derive(Default)]
pub(crate) struct Waiting {
    count: Option<Arc<Count>>,
    at_poll: usize,
    pending: bool,
}

impl Waiting {
    /// Polls with a new waker, or with the one before again.
    pub(crate) fn poll<R>(
        &mut self,
        fresh: bool,
        poll: impl FnOnce(&mut Context<'_>) -> std::task::Poll<R>,
    ) -> std::task::Poll<R> {
        let before = self.count.take();
        let count = match &before {
            Some(before) if !fresh => before.clone(),
            _ => Arc::new(Count::default()),
        };
        self.at_poll = count.0.load(Ordering::SeqCst);
        let result = poll(&mut Context::from_waker(&Waker::from(count.clone())));
        self.pending = result.is_pending();
        if let Some(before) = before
            && fresh
        {
            // A look that gives a result may leave the waker of an earlier one behind.
            let kept = self.pending && Arc::strong_count(&before) > 1;
            assert!(!kept, "the waker of an earlier poll is kept");
            OLD.with_borrow_mut(|old| old.push(before));
        }
        self.count = Some(count);
        result
    }

    /// It has been woken since it was told to wait, if it was.
    pub(crate) fn woken_or_idle(&self) -> bool {
        !self.pending
            || self
                .count
                .as_ref()
                .is_some_and(|count| count.0.load(Ordering::SeqCst) > self.at_poll)
    }

    /// What was polled is gone, and its waker with it.
    pub(crate) fn over(self) {
        if let Some(count) = self.count {
            assert_eq!(Arc::strong_count(&count), 1, "a waker is kept");
        }
    }
}

/// Checks that none of the wakers of this thread's tests is kept.
pub(crate) fn no_waker_is_kept() {
    for waker in OLD.take() {
        assert_eq!(Arc::strong_count(&waker), 1, "a waker is kept to the end");
    }
}

thread_local! {
    static OLD: RefCell<Vec<Arc<Count>>> = const { RefCell::new(Vec::new()) };
    static HERE: RefCell<Vec<(TaskId, Out)>> = const { RefCell::new(Vec::new()) };
}

static EVERYWHERE: Mutex<Option<HashMap<TaskId, usize>>> = Mutex::new(None);

/// Records failures that were not taken.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        trefoil::on_unobserved(|report| {
            let out = Out::of_error(report.error());
            HERE.with_borrow_mut(|here| here.push((report.id(), out)));
            let mut everywhere = EVERYWHERE.lock().unwrap();
            let times = everywhere.get_or_insert_default().entry(report.id());
            *times.or_default() += 1;
        });
    });
}

/// Begins anew, after a case that failed too.
pub(crate) fn reset() {
    OLD.take();
    HERE.take();
}

/// The failures that were reported on this thread since the last call.
pub(crate) fn reported_here() -> Vec<(TaskId, Out)> {
    HERE.take()
}

/// How often the failure of this task was reported, on any thread.
pub(crate) fn reported(id: TaskId) -> usize {
    let everywhere = EVERYWHERE.lock().unwrap();
    everywhere
        .as_ref()
        .and_then(|times| times.get(&id).copied())
        .unwrap_or(0)
}
