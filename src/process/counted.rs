//! How many items of a job have ended, for whoever wants to watch it.
//!
//! **Job.** [`Counted`] stands in front of a job's [`Sink`] and adds up what passes. The driver's thread
//! only adds to a number: to show it is the watcher's business, who looks at it when he likes. So
//! no terminal that does not take its output can hold up a pool.
//!
//! An item that ends in an error that is the whole job's is not counted.
//!
//! Tests: `tests/progress.rs`.

use super::job::{Read, Sink, Taken, Values, Work};
use super::loan::Lending;
use crate::loom::Arc;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::task::TaskError;

/// How many items have ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    /// How many by now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The same work, counted.
    pub(crate) fn watch(&self, work: Work) -> Work {
        let (sink, counter) = (work.sink, self.clone());
        Work {
            sink: Box::new(Counted { sink, counter }),
            ..work
        }
    }

    fn add(&self, items: usize) {
        self.0.fetch_add(items as u64, Ordering::Relaxed);
    }
}

/// A sink whose items are counted.
struct Counted {
    sink: Box<dyn Sink>,
    counter: Counter,
}

impl Sink for Counted {
    fn values(&mut self, index: usize, bytes: &[u8], most: usize) -> Taken {
        let taken = self.sink.values(index, bytes, most);
        self.counter.add(taken.count);
        taken
    }

    fn reader(&self, bytes: &[u8], lent: &Lending<'_>) -> Option<Read> {
        self.sink.reader(bytes, lent)
    }

    fn take(&mut self, index: usize, values: Values, count: usize) -> Option<Values> {
        self.counter.add(count);
        self.sink.take(index, values, count)
    }

    fn holds(&self) -> bool {
        self.sink.holds()
    }

    fn error(&mut self, index: usize, error: TaskError) {
        self.sink.error(index, error);
        self.counter.add(1);
    }

    fn types(&self) -> (&'static str, &'static str) {
        self.sink.types()
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        self.sink.finish(failure)
    }
}
