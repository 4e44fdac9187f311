//! `join_all`, `try_join_all` and `race` over futures that are not tasks, beside those over tasks.

use std::cell::{Cell, RefCell};
use std::future::{Ready, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::deadline::{eventually, within_deadline};
use trefoil::{
    CancelOnDrop, Completer, Task, TaskError, ThreadPool, join_all, race, try_join_all, yield_now,
};

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
    assert!(matches!(poll(race(all)), Poll::Ready(Ok(1))));
    let (dropped, task) = Completer::new();
    let both: [Boxed; 2] = [Box::pin(task.cancel_on_drop()), Box::pin(ready(Ok(3)))];
    assert!(poll(race(both)).is_ready() && dropped.is_cancelled());
}

#[test]
fn tasks_are_awaited_as_tasks_whatever_they_give() {
    within_deadline(|| {
        let (slow, losing) = Completer::<Cell<u8>>::new();
        let (fast, winning) = Completer::new();
        fast.complete(Ok(Cell::new(2)));
        let winner = poll(race(vec![losing, winning]));
        assert!(matches!(winner, Poll::Ready(Ok(two)) if two.get() == 2));
        assert!(slow.is_cancelled());

        let (pending, never) = Completer::<Cell<u8>>::new();
        let (failing, failed) = Completer::new();
        failing.complete(Err(TaskError::TimedOut));
        let first = poll(try_join_all([never, failed]));
        assert!(matches!(first, Poll::Ready(Err(TaskError::TimedOut))));
        assert!(pending.is_cancelled());

        let closed = poll(race(Vec::<Task<Rc<u8>>>::new()));
        assert!(matches!(closed, Poll::Ready(Err(TaskError::Closed))));
    });
}

/// A result that was not returned counts as not taken: a failure is reported.
#[test]
fn a_dropped_join_all_leaves_results_in_their_tasks() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let pool = ThreadPool::builder().threads(1).on_unobserved(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let pool = pool.build().unwrap();
    let (_never, pending) = Completer::<()>::new();
    let failing = pool.spawn(|| panic!("on purpose"));
    eventually("it ends", || failing.is_finished());
    assert!(poll(join_all([failing, pending])).is_pending());
    assert_eq!(told.load(Ordering::SeqCst), 1);
}

#[test]
fn futures_that_hold_tasks_are_no_tasks() {
    struct Own(Task<u8>);

    impl Future for Own {
        type Output = Result<u8, TaskError>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            Pin::new(&mut self.0).poll(cx)
        }
    }

    let pair = || {
        let (completer, task) = Completer::new();
        (completer, [task, Task::ready(1)])
    };
    let (detached, tasks) = pair();
    assert!(poll(race(tasks.map(Own))).is_ready() && !detached.is_cancelled());
    let (detached, tasks) = pair();
    assert!(poll(race(tasks.map(async |task| task.await))).is_ready() && !detached.is_cancelled());
    let (cancelled, tasks) = pair();
    let tied: [CancelOnDrop<u8>; 2] = tasks.map(Task::cancel_on_drop);
    assert!(poll(race(tied)).is_ready() && cancelled.is_cancelled());
    let (kept, mut tasks) = pair();
    assert!(poll(race(&mut tasks)).is_ready() && !kept.is_cancelled());
    kept.complete(Ok(2));
    let [task, _] = tasks;
    assert_eq!(task.join().unwrap(), 2);
}

#[test]
#[should_panic(expected = "a race of no futures never ends")]
fn a_race_of_no_futures_is_refused() {
    let _race = race(Vec::<Ready<u8>>::new());
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Otherwise the time for many futures would grow with the square of their number.
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
