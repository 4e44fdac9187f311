//! `trefoil::future`: lists of futures that are no tasks.

use std::cell::{Cell, RefCell};
use std::future::{Ready, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::deadline::within_deadline;
use trefoil::future::{join_all, race, try_join_all};
use trefoil::{Completer, TaskError, ThreadPool, yield_now};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn outputs_come_in_order_from_futures_that_borrow_and_from_tasks() {
    within_deadline(|| {
        let words = ["one", "three", "seven"].map(String::from);
        let ended = RefCell::new(Vec::new());
        let later = |n: usize| {
            let (words, ended) = (&words, &ended);
            async move {
                for _ in n..3 {
                    yield_now().await;
                }
                ended.borrow_mut().push(n);
                words[n].as_str()
            }
        };
        let pool = ThreadPool::with_threads(1);
        trefoil::run(async {
            assert_eq!(join_all((0..3).map(later)).await, ["one", "three", "seven"]);
            assert_eq!(*ended.borrow(), [2, 1, 0]);
            let tasks = (0..3).map(|n| pool.spawn(move || n));
            assert_eq!(try_join_all(tasks).await.unwrap(), [0, 1, 2]);
            assert!(join_all(Vec::<Ready<u8>>::new()).await.is_empty());
        });
    });
}

#[test]
fn the_first_error_ends_it_and_the_others_are_dropped() {
    let alive = Rc::new(());
    let (failing, failed) = Completer::<u8>::new();
    let kept = alive.clone();
    let pending: Pin<Box<dyn Future<Output = _>>> = Box::pin(async move {
        pending::<()>().await;
        drop(kept);
        Ok(0)
    });
    let mut all = Box::pin(try_join_all([pending, Box::pin(failed)]));
    assert!(poll(all.as_mut()).is_pending());
    failing.complete(Err(TaskError::TimedOut));
    assert!(matches!(
        poll(all.as_mut()),
        Poll::Ready(Err(TaskError::TimedOut))
    ));
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn the_first_to_end_wins_and_the_others_are_dropped() {
    type Boxed = Pin<Box<dyn Future<Output = Result<u8, TaskError>>>>;
    let (_never, task) = Completer::new();
    let all: [Boxed; 3] = [
        Box::pin(task),
        Box::pin(ready(Ok(1))),
        Box::pin(ready(Ok(2))),
    ];
    assert!(matches!(poll(race(all)), Poll::Ready(Some(Ok(1)))));
    let (dropped, task) = Completer::new();
    let both: [Boxed; 2] = [Box::pin(task.cancel_on_drop()), Box::pin(ready(Ok(3)))];
    assert!(poll(race(both)).is_ready() && dropped.is_cancelled());
    assert_eq!(poll(race(Vec::<Ready<u8>>::new())), Poll::Ready(None));
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Else many futures take a time that grows with the square of their number.
#[test]
fn only_what_was_woken_is_polled() {
    let polls = Cell::new(0);
    let (completers, tasks): (Vec<_>, Vec<_>) = (0..1000).map(|_| Completer::new()).unzip();
    let counted = tasks.into_iter().map(|mut task| {
        let polls = &polls;
        poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            Pin::new(&mut task).poll(cx)
        })
    });
    let mut all = pin!(join_all(counted));
    let wakes = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(all.as_mut().poll(&mut cx).is_pending());
    assert_eq!(polls.get(), 1000);
    let mut before = wakes.0.load(Ordering::SeqCst);
    for (n, completer) in completers.into_iter().enumerate() {
        completer.complete(Ok(n));
        assert!(wakes.0.load(Ordering::SeqCst) > before);
        before = wakes.0.load(Ordering::SeqCst);
        assert_eq!(all.as_mut().poll(&mut cx).is_ready(), n == 999);
    }
    assert_eq!(polls.get(), 2000);
}

/// A future that wakes itself in each poll leaves the thread to others.
#[test]
fn a_poll_ends_although_a_future_wakes_itself() {
    within_deadline(|| {
        let stop = Rc::new(Cell::new(false));
        let stopped = stop.clone();
        let restless = poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            match stopped.get() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        trefoil::run(async move {
            let stopping = trefoil::spawn(async move { stop.set(true) });
            join_all([restless]).await;
            stopping.await.unwrap();
        });
    });
}
