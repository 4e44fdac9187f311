//! The sequential model: tasks as a list of records, with which the real tasks are compared.
//!
//! Every task of a test is a promise, a mapped promise or ready from birth, so
//! an event has all its consequences at once: the model follows them in the same order as the
//! crate does, and each end gets the next number of a clock.

use crate::probe::{MAPPED, Out};

/// What owns the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The test, or a combinator: it will ask.
    Handle,
    /// Nothing.
    Dropped,
    /// `Task::map` made that task of it, with a function that panics or not.
    Map(usize, bool),
    /// `Task::on_done`.
    Callback,
    /// `Task::shared`; the number of the record.
    Shared(usize),
}

/// One task.
#[derive(Debug)]
pub(crate) struct Record {
    /// How and when it ended.
    pub(crate) end: Option<(Out, u64)>,
    /// Its result was taken.
    pub(crate) taken: bool,
    pub(crate) owner: Owner,
    /// The task that it was mapped from.
    source: Option<usize>,
    /// Its end was a cancellation.
    pub(crate) cancelled: bool,
}

/// One task that many have.
#[derive(Debug)]
pub(crate) struct SharedRecord {
    pub(crate) task: usize,
    pub(crate) result: Option<Out>,
    pub(crate) handles: usize,
    pub(crate) observed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) tasks: Vec<Record>,
    pub(crate) shared: Vec<SharedRecord>,
    clock: u64,
    /// Failures that must have reached the hook.
    pub(crate) reports: Vec<(usize, Out)>,
    /// Results that callbacks must have seen.
    pub(crate) calls: Vec<(usize, Out)>,
}

impl Model {
    pub(crate) fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(crate) fn task(&mut self, ready: Option<Out>, source: Option<usize>) -> usize {
        let now = self.now();
        self.tasks.push(Record {
            end: ready.map(|out| (out, now)),
            taken: false,
            owner: Owner::Handle,
            source,
            cancelled: false,
        });
        self.tasks.len() - 1
    }

    pub(crate) fn ended(&self, task: usize) -> bool {
        self.tasks[task].end.is_some()
    }

    /// When its end became known to a waiter that began to wait at `since`.
    pub(crate) fn known(&self, task: usize, since: u64) -> Option<u64> {
        self.tasks[task].end.map(|(_, at)| at.max(since))
    }

    /// What taking the result would give.
    pub(crate) fn peek(&self, task: usize) -> Out {
        let record = &self.tasks[task];
        match record.end {
            Some((out, _)) if !record.taken => out,
            Some(_) => Out::Closed,
            None => panic!("task {task} has not ended"),
        }
    }

    pub(crate) fn take(&mut self, task: usize) -> Out {
        let out = self.peek(task);
        self.tasks[task].taken = true;
        out
    }

    /// The producer's end.
    pub(crate) fn finish(&mut self, task: usize, out: Out) {
        if !self.ended(task) {
            let now = self.now();
            self.tasks[task].end = Some((out, now));
            self.deliver(task);
        }
    }

    pub(crate) fn cancel(&mut self, task: usize) -> bool {
        if self.ended(task) {
            return false;
        }
        self.tasks[task].cancelled = true;
        self.finish(task, Out::Cancelled);
        if let Some(source) = self.tasks[task].source {
            self.cancel(source);
        }
        true
    }

    /// Gives it another owner.
    pub(crate) fn give(&mut self, task: usize, owner: Owner) {
        self.tasks[task].owner = owner;
        if self.ended(task) {
            self.deliver(task);
        }
    }

    /// The handle is dropped.
    pub(crate) fn drop_handle(&mut self, task: usize) {
        self.give(task, Owner::Dropped);
    }

    fn deliver(&mut self, task: usize) {
        match self.tasks[task].owner {
            Owner::Handle => {}
            Owner::Dropped => {
                if !self.tasks[task].taken {
                    let out = self.take(task);
                    self.report(task, out);
                }
            }
            Owner::Map(mapped, panics) => {
                let out = match self.take(task) {
                    Out::Value(_) if panics => Out::Panicked,
                    Out::Value(key) => Out::Value(key + MAPPED),
                    failure => failure,
                };
                self.finish(mapped, out);
            }
            Owner::Callback => {
                let out = self.take(task);
                self.calls.push((task, out));
            }
            Owner::Shared(record) => {
                let out = self.take(task);
                self.shared[record].result = Some(out);
                self.settle_shared(record);
            }
        }
    }

    fn report(&mut self, task: usize, out: Out) {
        if out.failed() && out != Out::Cancelled {
            self.reports.push((task, out));
        }
    }

    pub(crate) fn share(&mut self, task: usize) -> usize {
        self.shared.push(SharedRecord {
            task,
            result: None,
            handles: 1,
            observed: false,
        });
        let record = self.shared.len() - 1;
        self.give(task, Owner::Shared(record));
        record
    }

    pub(crate) fn drop_shared(&mut self, record: usize) {
        self.shared[record].handles -= 1;
        self.settle_shared(record);
    }

    fn settle_shared(&mut self, record: usize) {
        let SharedRecord {
            task,
            result,
            handles,
            observed,
        } = self.shared[record];
        if let Some(out) = result
            && handles == 0
            && !observed
        {
            self.report(task, out);
        }
    }
}
