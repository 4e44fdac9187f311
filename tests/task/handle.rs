//! The stem as its users see it, with promises for producers: no executor needed.
//!
//! The loom models in `tests/trefoil-checks/` cover races; these tests cover what each method
//! means. Everything that could hang has a deadline.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use crate::deadline;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deadline::within_deadline;
use trefoil::{Completer, Task, TaskError, join_all, race, timeout};

const LONG: Duration = Duration::from_secs(20);

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn one_pointer_and_the_right_auto_traits() {
    assert_eq!(size_of::<Task<[u64; 9]>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Task<String>>>(), size_of::<usize>());
    fn send_sync_unpin<
        T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe,
    >() {
    }
    send_sync_unpin::<Task<std::cell::Cell<u8>>>();
    send_sync_unpin::<Task<u8>>();
    fn send<T: Send + Sync + Copy + Eq + std::hash::Hash + std::fmt::Debug>() {}
    send::<trefoil::TaskId>();
}

#[test]
fn a_ready_task_gives_its_value_once() {
    let mut task = Task::ready("x".to_owned());
    assert!(task.is_finished());
    assert!(!task.cancel(), "too late");
    assert_eq!(task.try_join().unwrap().unwrap(), "x");
    assert!(matches!(task.try_join(), Some(Err(TaskError::Closed))));
    assert!(matches!(
        task.join_timeout(Duration::ZERO),
        Err(TaskError::Closed)
    ));
    assert!(matches!(
        poll(&mut task),
        Poll::Ready(Err(TaskError::Closed))
    ));
    assert!(matches!(task.join(), Err(TaskError::Closed)));
}

#[test]
fn join_waits_for_another_thread() {
    within_deadline(|| {
        let (completer, task) = Completer::new();
        thread::spawn(move || completer.complete(Ok(7)));
        assert_eq!(task.join().unwrap(), 7);
    });
}

#[test]
fn join_timeout_leaves_the_task_joinable() {
    within_deadline(|| {
        let (completer, mut task) = Completer::new();
        let start = Instant::now();
        assert!(matches!(
            task.join_timeout(Duration::from_millis(20)),
            Err(TaskError::TimedOut(_))
        ));
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(
            task.try_join().is_none(),
            "the time-out was the wait's, not the task's"
        );
        completer.complete(Ok(1));
        assert_eq!(task.join_timeout(Duration::MAX).unwrap(), 1);
    });
}

#[test]
fn a_task_that_ended_in_timed_out_can_be_told_from_a_wait_that_did() {
    let (completer, mut task) = Completer::<u8>::new();
    completer.complete(Err(TaskError::timed_out()));
    assert!(matches!(
        task.join_timeout(LONG),
        Err(TaskError::TimedOut(_))
    ));
    assert!(matches!(task.try_join(), Some(Err(TaskError::Closed))));
}

#[test]
fn cancel_ends_a_promise_at_once_and_tells_its_producer() {
    let (completer, task) = Completer::<u8>::new();
    let (id, count) = (task.id(), Arc::new(Count::default()));
    assert_eq!(completer.id(), id);
    assert!(!completer.is_cancelled());
    {
        let mut told = pin!(completer.cancelled());
        let waker = Waker::from(count.clone());
        assert!(
            told.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert!(task.cancel());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(told.poll(&mut Context::from_waker(&waker)).is_ready());
    }
    assert!(completer.is_cancelled());
    assert!(task.is_finished());
    assert!(!task.cancel(), "it has ended already");
    completer.complete(Ok(1)); // too late: dropped
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
}

#[test]
fn a_dropped_completer_closes_its_task() {
    let (completer, task) = Completer::<u8>::new();
    drop(completer);
    assert!(matches!(task.join(), Err(TaskError::Closed)));
}

#[test]
fn dropping_detaches_and_cancel_on_drop_cancels() {
    let (completer, task) = Completer::<u8>::new();
    task.detach();
    assert!(!completer.is_cancelled());
    completer.complete(Ok(1));

    let (completer, task) = Completer::<u8>::new();
    let guard = task.cancel_on_drop();
    assert!(!guard.is_finished());
    drop(guard);
    assert!(completer.is_cancelled());

    let (completer, task) = Completer::<u8>::new();
    completer.complete(Ok(3));
    assert_eq!(task.cancel_on_drop().join().unwrap(), 3);
}

#[test]
fn an_abort_handle_cancels_from_elsewhere_and_takes_no_part() {
    fn everywhere<T: Send + Sync + Clone + std::fmt::Debug + 'static>(_: &T) {}
    within_deadline(|| {
        // A result that is not `Send`.
        everywhere(&Task::ready(std::rc::Rc::new(1)).abort_handle());

        let (completer, task) = Completer::<u32>::new();
        let abort = task.abort_handle();
        assert!(abort.id() == task.id() && !abort.is_finished());
        drop(task); // detached, not cancelled
        assert!(!completer.is_cancelled() && !abort.is_finished());
        let cancelling = thread::spawn({
            let abort = abort.clone();
            move || abort.cancel()
        });
        assert!(cancelling.join().unwrap());
        assert!(completer.is_cancelled() && abort.is_finished() && !abort.cancel());

        let (completer, task) = Completer::new();
        drop(task.abort_handle());
        completer.complete(Ok(1));
        assert_eq!(task.join().unwrap(), 1);
    });
}

#[test]
fn an_untaken_result_is_dropped_once() {
    struct Drops(Arc<AtomicUsize>);
    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let value = || Drops(drops.clone());

    let (completer, task) = Completer::new();
    completer.complete(Ok(value())); // completed, then dropped by the handle
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    drop(task);
    assert_eq!(drops.load(Ordering::SeqCst), 1);

    let (completer, task) = Completer::new();
    drop(task); // detached, then dropped by the completer
    completer.complete(Ok(value()));
    assert_eq!(drops.load(Ordering::SeqCst), 2);

    let (completer, task) = Completer::new();
    completer.complete(Ok(value())); // taken
    let taken = task.join().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 2);
    drop(taken);
    assert_eq!(drops.load(Ordering::SeqCst), 3);

    drop(Task::ready(value()));
    assert_eq!(drops.load(Ordering::SeqCst), 4);
}

#[test]
fn on_done_runs_at_once_or_on_the_completing_thread() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |seen: &Arc<Mutex<Vec<_>>>| {
        let seen = seen.clone();
        move |result: Result<u8, TaskError>| {
            seen.lock()
                .unwrap()
                .push((thread::current().id(), result.ok()));
        }
    };
    Task::ready(1).on_done(note(&seen));
    assert_eq!(*seen.lock().unwrap(), [(thread::current().id(), Some(1))]);

    let (completer, task) = Completer::new();
    task.on_done(note(&seen));
    let completing = thread::spawn(move || {
        completer.complete(Ok(2));
        thread::current().id()
    });
    let completing = completing.join().unwrap();
    assert_eq!(seen.lock().unwrap()[1], (completing, Some(2)));
}

#[test]
fn a_panic_in_a_callback_stays_there() {
    let (completer, task) = Completer::<u8>::new();
    task.on_done(|_| panic!("in the callback (this message is expected)"));
    completer.complete(Ok(1)); // does not unwind
}

#[test]
fn only_the_last_waker_is_woken() {
    let (completer, mut task) = Completer::new();
    let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
    for count in [&first, &first, &second] {
        let waker = Waker::from(count.clone());
        assert!(
            Pin::new(&mut task)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(
        Arc::strong_count(&first),
        1,
        "a replaced waker is dropped at once"
    );
    completer.complete(Ok(5));
    assert_eq!(
        (
            first.0.load(Ordering::SeqCst),
            second.0.load(Ordering::SeqCst)
        ),
        (0, 1)
    );
    assert_eq!(Arc::strong_count(&second), 1);
    assert_eq!(task.try_join().unwrap().unwrap(), 5);
}

#[test]
fn names_where_and_by_whom() {
    let (_completer, task) = Completer::<u8>::new();
    let line = line!() - 1;
    assert_eq!(
        (task.spawned_at().file(), task.spawned_at().line()),
        (file!(), line)
    );
    assert_eq!(task.parent(), None);
    let text = format!("{task:?}");
    assert!(
        text.contains("handle.rs") && text.contains("HANDLE"),
        "{text}"
    );
}

#[test]
fn ids_are_unique_across_threads() {
    let ids = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..10_000)
                        .map(|_| Task::ready(()).id())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect::<Vec<_>>()
    });
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), 40_000);
}

#[test]
fn join_all_keeps_order_and_every_result() {
    within_deadline(|| {
        let (late, last) = Completer::new();
        let (failing, failed) = Completer::new();
        let tasks = [last, Task::ready(2), failed];
        thread::spawn(move || {
            failing.complete(Err(TaskError::Cancelled));
            late.complete(Ok(1));
        });
        let results = join_all(tasks).join();
        assert!(
            matches!(results[..], [Ok(1), Ok(2), Err(TaskError::Cancelled)]),
            "{results:?}"
        );
        assert!(join_all(Vec::<Task<u8>>::new()).join().is_empty());
    });
}

#[test]
fn a_dropped_join_all_detaches() {
    let (completer, task) = Completer::<u8>::new();
    let mut all = join_all([Task::ready(1), task]);
    assert!(poll(&mut all).is_pending());
    drop(all);
    assert!(!completer.is_cancelled());
    completer.complete(Ok(1));
}

#[test]
fn race_gives_the_first_and_cancels_the_rest() {
    within_deadline(|| {
        let (slow, losing) = Completer::<u8>::new();
        let (fast, winning) = Completer::new();
        let winner = thread::spawn(move || fast.complete(Err(TaskError::timed_out())));
        // An error wins as well.
        assert!(matches!(
            race([losing, winning]).join(),
            Err(TaskError::TimedOut(_))
        ));
        winner.join().unwrap();
        assert!(slow.is_cancelled());
        assert!(matches!(
            race(Vec::<Task<u8>>::new()).join(),
            Err(TaskError::Closed)
        ));
        assert_eq!(race([Task::ready(1), Task::ready(2)]).join().unwrap(), 1);
    });
}

#[test]
fn timeout_needs_no_loop() {
    within_deadline(|| {
        assert_eq!(timeout(LONG, Task::ready(7)).join().unwrap().unwrap(), 7);
        // Nothing is lost at a deadline in the past.
        assert_eq!(timeout(Duration::ZERO, async { 8 }).join().unwrap(), 8);
        let start = Instant::now();
        let (completer, task) = Completer::<u8>::new();
        let late = timeout(Duration::from_millis(15), task).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))));
        assert!(start.elapsed() >= Duration::from_millis(15));
        assert!(!completer.is_cancelled(), "a timed-out task is detached");

        let (completer, task) = Completer::<u8>::new();
        let late = timeout(Duration::from_millis(1), task.cancel_on_drop()).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))));
        assert!(completer.is_cancelled(), "unless it is tied to its handle");

        let (completer, task) = Completer::new();
        thread::spawn(move || completer.complete(Ok(9)));
        assert_eq!(timeout(Duration::MAX, task).join().unwrap().unwrap(), 9);
    });
}

#[test]
fn a_wait_inside_a_poll_does_not_swallow_the_outer_wakeup() {
    within_deadline(|| {
        // The outer wait's waker is woken while an inner wait parks the same thread.
        let (outer, outer_task) = Completer::new();
        let (inner, inner_task) = Completer::new();
        let mut inner_task = Some(inner_task);
        let mut outer_task = outer_task;
        let mut completers = Some((outer, inner));
        let both = std::future::poll_fn(move |cx| {
            let first = Pin::new(&mut outer_task).poll(cx);
            if let (Some((outer, inner)), Some(inner_task)) = (completers.take(), inner_task.take())
            {
                thread::spawn(move || {
                    outer.complete(Ok(1));
                    inner.complete(Ok(2));
                });
                assert_eq!(inner_task.join().unwrap(), 2);
            }
            first
        });
        assert_eq!(timeout(Duration::MAX, both).join().unwrap().unwrap(), 1);
    });
}

#[test]
fn errors_speak_and_convert() {
    assert!(TaskError::WouldBlock.to_string().contains("await"));
    let printed = format!("{:?}", TaskError::WouldBlock);
    assert!(printed.starts_with("WouldBlock(") && printed.contains("await"));
    assert_eq!(
        io::Error::from(TaskError::WouldBlock).kind(),
        io::ErrorKind::WouldBlock
    );
    let error: Box<dyn std::error::Error + Send + Sync> = TaskError::Closed.into();
    assert!(error.to_string().contains("closed"));
}
