//! Where the results of a job go: into a task when all are there ([`One`], [`Collect`]), or to an
//! `imap` as they come ([`Each`]).
//!
//! Tests: below; `tests/process/pool.rs`, `tests/process/imap.rs`.

use std::collections::BTreeMap;

use super::decoder::{Values, own};
use crate::sync::channel::Sender;
use crate::sys::large_pages;
use crate::task::{Completer, TaskError, TaskReport, panic};

/// Takes the results of one job.
pub(crate) trait Sink: Send {
    /// Takes the results of the items from `index` on. Returns those that are no longer wanted.
    fn put(&mut self, index: usize, values: Values) -> Option<Values>;

    /// Whether it holds values.
    fn holds(&self) -> bool {
        false
    }

    /// The item at `index` has ended in `error`. Called only if items have their own results.
    fn error(&mut self, index: usize, error: TaskError) {
        let _ = index;
        panic::contain(|| drop(error));
    }

    /// Before it is cancelled with its pool: the report of that, if nobody else learns of it.
    fn lost(&self) -> Option<TaskReport> {
        None
    }

    /// All items are settled, or `failure` is the error of the lowest index. Returns the values
    /// that are not part of the result.
    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values>;
}

/// The result of one `spawn`, as it came.
pub(crate) struct One<R>(Completer<R>, Option<Values>);

impl<R> One<R> {
    pub(crate) fn new(completer: Completer<R>) -> Self {
        Self(completer, None)
    }
}

impl<R: Send + 'static> Sink for One<R> {
    fn put(&mut self, _: usize, values: Values) -> Option<Values> {
        self.1.replace(values)
    }

    fn holds(&self) -> bool {
        self.1.is_some()
    }

    fn lost(&self) -> Option<TaskReport> {
        self.0.lost()
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        let Self(completer, values) = *self;
        let (result, unwanted) = match failure {
            Some(error) => (Err(error), values),
            None => {
                let value = values.and_then(|values| own(values).pop());
                (value.ok_or(TaskError::Closed), None)
            }
        };
        completer.complete(result);
        unwanted
    }
}

/// All results of one `map`, in order: those without a gap before them, and runs of others, keyed
/// by the index of the first. (As they came, so that the map is compiled once.)
pub(crate) struct Collect<R> {
    completer: Completer<Vec<R>>,
    front: Vec<R>,
    behind: BTreeMap<usize, Values>,
}

/// How many bytes are allocated in advance for results.
const ADVANCE: usize = 128 << 20;

impl<R> Collect<R> {
    /// The results of about `count` items.
    pub(crate) fn new(completer: Completer<Vec<R>>, count: usize) -> Self {
        let mut front = Vec::new();
        // Memory that is not used yet costs nothing; and if it is refused, it may not be needed.
        let _ = front.try_reserve(count.min(ADVANCE / size_of::<R>().max(1)));
        large_pages::advise(&mut front);
        Self {
            completer,
            front,
            behind: BTreeMap::new(),
        }
    }
}

impl<R: Send + 'static> Sink for Collect<R> {
    fn put(&mut self, index: usize, values: Values) -> Option<Values> {
        if index != self.front.len() {
            drop(self.behind.insert(index, values));
            return None;
        }
        let mut next = Some(values);
        while let Some(run) = next {
            self.front.append(&mut own(run));
            next = self.behind.remove(&self.front.len());
        }
        None
    }

    fn holds(&self) -> bool {
        !(self.front.is_empty() && self.behind.is_empty())
    }

    fn lost(&self) -> Option<TaskReport> {
        self.completer.lost()
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        let all = *self;
        if failure.is_none() && all.behind.is_empty() {
            all.completer.complete(Ok(all.front));
            return None;
        }
        let holds = all.holds(); // (Otherwise it is not worth another thread.)
        all.completer
            .complete(Err(failure.unwrap_or(TaskError::Closed)));
        holds.then(|| Box::new((all.front, all.behind)) as Values)
    }
}

/// Results of an `imap`, or why there are no more.
pub(crate) enum Run<R> {
    /// The results of the items from an index on.
    Answers(usize, Vec<Result<R, TaskError>>),
    End(TaskError),
}

/// The results of one `imap`, as they come. Dropping it ends the `imap`.
pub(crate) struct Each<R>(pub(crate) Sender<Run<R>>);

impl<R: Send + 'static> Each<R> {
    /// Returns the run if the `imap` is gone.
    fn send(&self, run: Run<R>) -> Option<Values> {
        let mut unwanted = None;
        // Sending may wake a task, and wakers are user code.
        panic::contain(|| unwanted = self.0.try_send(run).err());
        Some(Box::new(unwanted?))
    }
}

impl<R: Send + 'static> Sink for Each<R> {
    fn put(&mut self, index: usize, values: Values) -> Option<Values> {
        let answers = own(values).into_iter().map(Ok);
        self.send(Run::Answers(index, answers.collect()))
    }

    fn error(&mut self, index: usize, error: TaskError) {
        let unwanted = self.send(Run::Answers(index, vec![Err(error)]));
        panic::contain(|| drop(unwanted));
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        self.send(Run::End(failure?))
    }
}

impl<R> Drop for Each<R> {
    fn drop(&mut self) {
        panic::contain(|| {
            self.0.close();
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_a_result_leaves_nothing_to_drop() {
        for has_come in [false, true] {
            let mut sink = Box::new(One::new(Completer::<String>::new().0));
            if has_come {
                assert!(sink.put(0, Box::new(vec![String::new()])).is_none());
            }
            assert_eq!(sink.finish(Some(TaskError::Cancelled)).is_some(), has_come);
        }
    }
}
