//! Many futures that are polled by one task, each when it was woken.
//!
//! Each has a waker of its own, which puts its number into a ready queue; so a wake-up costs the
//! same however many there are. For futures that are no tasks: those go on by themselves, and only
//! their ends are waited for.
//!
//! Tests: `tests/task/futures.rs`.

use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use crate::loom::Arc;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::task::raw::{ReadyQueue, ReadyShared};

pub(super) struct Together<F: Future> {
    /// `None`: it has ended.
    futures: Vec<Option<Pin<Box<F>>>>,
    wakers: Vec<Arc<OneWaker>>,
    woken: ReadyQueue,
    left: usize,
    /// Those that are kept until all are there.
    outputs: Vec<Option<F::Output>>,
}

/// The waker of the future with this number.
struct OneWaker {
    number: usize,
    /// The number is in the queue.
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
    /// Those that `futures` were before the first poll.
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
            waker.wake_by_ref(); // to be polled for the first time
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

    /// Waits for the next one to end: its number and its output. `None`: all have ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // All of them once, and a look: futures that wake themselves must not keep this thread.
        for _ in 0..=self.left {
            let Poll::Ready(number) = self.woken.poll_next(cx) else {
                return Poll::Pending;
            };
            let one = &self.wakers[number];
            // Before the poll: a wake-up from now on asks for another one.
            one.queued.store(false, Ordering::SeqCst);
            let Some(future) = &mut self.futures[number] else {
                continue; // woken after its end
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

    /// What was kept, in the order of the futures.
    pub(super) fn kept(&mut self) -> impl Iterator<Item = F::Output> {
        std::mem::take(&mut self.outputs).into_iter().flatten()
    }
}
