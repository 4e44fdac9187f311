//! Functions over futures of any kind, which are polled where they are awaited.
//!
//! [`join_all`](crate::join_all), [`try_join_all`](crate::try_join_all) and [`race`](crate::race) take tasks, which go on by
//! themselves, on whatever executor. These three, of the same names, take whatever is [`IntoFuture`]: nothing is spawned, so the
//! futures may borrow, need not be `Send`, and stop when they are dropped. Outputs come as they are, without a `Result` around
//! them. For a few futures of different types there are [`join!`](crate::join!) and [`select!`](crate::select!).
//!
//! ```
//! use trefoil::future;
//!
//! let words = ["one", "three", "seven"].map(String::from);
//! let lengths = trefoil::run(future::join_all(words.iter().map(async |word| {
//!     trefoil::yield_now().await;
//!     word.len()
//! })));
//! assert_eq!(lengths, [3, 5, 5]);
//! ```

// Each future has a waker of its own, which puts its number into a ready queue; so a wake-up costs the same however many there are.
//
// Tests: `tests/task/futures.rs`.

use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};

use super::raw::{ReadyQueue, ReadyShared};
use crate::loom::Arc;
use crate::loom::atomic::{AtomicBool, Ordering};

/// Waits for all `futures`, polling them in the task that awaits this; gives every output, in their order.
///
/// # Cancel safety
/// Dropping it drops the futures, and outputs that are there.
pub fn join_all<F: IntoFuture>(
    futures: impl IntoIterator<Item = F>,
) -> impl Future<Output = Vec<F::Output>> {
    let mut together = Together::of(futures);
    async move {
        let mut outputs: Vec<_> = together.futures.iter().map(|_| None).collect();
        while let Some((number, output)) = together.next().await {
            outputs[number] = Some(output);
        }
        outputs.into_iter().flatten().collect()
    }
}

/// Waits for all `futures`, polling them in the task that awaits this; gives their values, in their order, or the first
/// error, and then drops the other futures.
///
/// # Errors
/// The first in time.
///
/// # Cancel safety
/// Dropping it drops the futures, and values that are there.
pub fn try_join_all<F, T, E>(
    futures: impl IntoIterator<Item = F>,
) -> impl Future<Output = Result<Vec<T>, E>>
where
    F: IntoFuture<Output = Result<T, E>>,
{
    let mut together = Together::of(futures);
    async move {
        let mut values: Vec<_> = together.futures.iter().map(|_| None).collect();
        while let Some((number, output)) = together.next().await {
            values[number] = Some(output?);
        }
        Ok(values.into_iter().flatten().collect())
    }
}

/// Waits for the first of `futures` to end, polling them in the task that awaits this; gives its output, and drops the
/// others. Of several that are ready at once, the first in order wins; later, the one that was woken first. `None`: there are
/// no futures.
///
/// # Cancel safety
/// Dropping it drops the futures.
pub fn race<F: IntoFuture>(
    futures: impl IntoIterator<Item = F>,
) -> impl Future<Output = Option<F::Output>> {
    let mut together = Together::of(futures);
    async move { Some(together.next().await?.1) }
}

/// Futures that are polled by one task, each when it was woken.
struct Together<F: Future> {
    /// `None`: it has ended.
    futures: Vec<Option<Pin<Box<F>>>>,
    wakers: Vec<Arc<OneWaker>>,
    woken: ReadyQueue,
    left: usize,
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
    fn of(futures: impl IntoIterator<Item: IntoFuture<IntoFuture = F>>) -> Self {
        let futures = futures.into_iter().map(IntoFuture::into_future);
        let futures: Vec<_> = futures.map(|future| Some(Box::pin(future))).collect();
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
            futures,
            woken,
        }
    }

    /// The next one to end: its number and its output.
    async fn next(&mut self) -> Option<(usize, F::Output)> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
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
}
