//! Many futures that one task polls, each when it was woken.
//!
//! Each future has a waker of its own, which puts its number into a ready queue; so a wake-up costs
//! the same however many there are. This is for futures that are no tasks. Tasks run by themselves,
//! and only their ends are waited for.
//!
//! Tests: `tests/task/futures.rs`.

use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use crate::loom::Arc;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::task::raw::{ReadyQueue, ReadyShared};

pub(super) struct Together<F: Future> {
    /// The futures. `None`: it has ended.
    futures: Vec<Option<Pin<Box<F>>>>,
    wakers: Vec<Arc<OneWaker>>,
    woken: ReadyQueue,
    left: usize,
    /// The outputs that are kept until all futures have ended.
    outputs: Vec<Option<F::Output>>,
}

/// The waker of the future with this number.
struct OneWaker {
    number: usize,
    /// Whether the number is in the queue.
    queued: AtomicBool,
    queue: Arc<ReadyShared>,
}

impl Wake for OneWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.queue.push(self.number);
        }
    }
}

impl<F: Future> Together<F> {
    /// Makes them of `futures` at the first poll.
    pub(super) fn begun<'a>(others: &'a mut Option<Self>, futures: &mut Vec<F>) -> &'a mut Self {
        others.get_or_insert_with(|| Self::of(std::mem::take(futures)))
    }

    fn of(futures: Vec<F>) -> Self {
        let boxed = |future| Some(Box::pin(future));
        let futures: Vec<_> = futures.into_iter().map(boxed).collect();
        let woken = ReadyQueue::default();
        let queue = woken.shared();
        let waker = |number| {
            let (queued, queue) = (AtomicBool::new(false), queue.clone());
            let waker = Arc::new(OneWaker {
                number,
                queued,
                queue,
            });
            waker.wake_by_ref(); // this asks for the first poll
            waker
        };
        Self {
            wakers: (0..futures.len()).map(waker).collect(),
            left: futures.len(),
            outputs: futures.iter().map(|_| None).collect(),
            futures,
            woken,
        }
    }

    /// Waits for the next future to end; returns its number and its output. `None`: all have ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // Polls each future at most once, and looks once more: futures that wake themselves must
        // not keep this thread busy.
        for _ in 0..=self.left {
            let Poll::Ready(number) = self.woken.poll_next(cx) else {
                return Poll::Pending;
            };
            let one = &self.wakers[number];
            // This comes before the poll: a wake-up from now on asks for another one.
            one.queued.store(false, Ordering::SeqCst);
            let Some(future) = &mut self.futures[number] else {
                continue; // it was woken after its end
            };
            let waker = Waker::from(one.clone());
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.futures[number] = None;
                self.left -= 1;
                return Poll::Ready(Some((number, output)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn keep(&mut self, number: usize, output: F::Output) {
        self.outputs[number] = Some(output);
    }

    /// The outputs that were kept, in the order of the futures.
    pub(super) fn kept(&mut self) -> impl Iterator<Item = F::Output> {
        std::mem::take(&mut self.outputs).into_iter().flatten()
    }
}
