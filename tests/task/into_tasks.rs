//! What the functions over tasks take: tasks, tasks that are cancelled when dropped, and whatever
//! becomes a task.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::deadline::{eventually, within_deadline};
use trefoil::{
    CancelOnDrop, Completer, Task, TaskError, TaskGroup, ThreadPool, Until, as_completed, join_all,
    race, try_join_all, wait,
};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn tasks_of_any_type_are_awaited_and_cancelled() {
    within_deadline(|| {
        let (slow, losing) = Completer::<Cell<u8>>::new();
        let (fast, winning) = Completer::new();
        fast.complete(Ok(Cell::new(2)));
        let winner = poll(race(vec![losing, winning]));
        assert!(matches!(winner, Poll::Ready(Ok(two)) if two.get() == 2));
        assert!(slow.is_cancelled());

        let (pending, never) = Completer::<Cell<u8>>::new();
        let (failing, failed) = Completer::new();
        failing.complete(Err(TaskError::timed_out()));
        let first = poll(try_join_all([never, failed]));
        assert!(matches!(first, Poll::Ready(Err(TaskError::TimedOut(_)))));
        assert!(pending.is_cancelled());

        let closed = poll(race(Vec::<Task<Rc<u8>>>::new()));
        assert!(matches!(closed, Poll::Ready(Err(TaskError::Closed))));
        assert!(poll(join_all(Vec::<Task<Rc<u8>>>::new())).is_ready());
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

/// Two tasks that never end, tied to their handles or not.
fn two<T: From<CancelOnDrop<u8>>>() -> ([Completer<u8>; 2], [T; 2]) {
    let (one, first) = Completer::new();
    let (other, second) = Completer::new();
    let tied = [first, second].map(|task: Task<u8>| T::from(task.cancel_on_drop()));
    ([one, other], tied)
}

/// Whatever drops the tasks cancels those that are `cancel_on_drop`, and detaches the others.
#[test]
fn a_dropped_wait_cancels_what_is_tied() {
    within_deadline(|| {
        let both =
            |completers: [Completer<u8>; 2]| completers.each_ref().map(Completer::is_cancelled);
        let (ends, tasks) = two::<CancelOnDrop<u8>>();
        assert!(poll(join_all(tasks)).is_pending());
        assert_eq!(both(ends), [true; 2]);
        let (ends, tasks) = two::<CancelOnDrop<u8>>();
        assert!(poll(try_join_all(tasks)).is_pending());
        assert_eq!(both(ends), [true; 2]);
        let (ends, tasks) = two::<CancelOnDrop<u8>>();
        assert!(poll(race(tasks)).is_pending());
        assert_eq!(both(ends), [true; 2]);
        let (ends, tasks) = two::<CancelOnDrop<u8>>();
        drop(as_completed(tasks));
        assert_eq!(both(ends), [true; 2]);
        // As a task it is still tied, until `detach`, through whatever returns it.
        let (ends, tasks) = two::<Task<u8>>();
        let (_, pending) = wait(tasks, Until::All, Some(std::time::Duration::ZERO)).join();
        let [first, second] = pending.try_into().unwrap();
        first.detach();
        drop(second.named("second").map(u16::from));
        assert_eq!(both(ends), [false, true]);
        let (ends, [tied, loose]) = two::<Task<u8>>();
        drop(tied.shared());
        loose
            .cancel_on_drop()
            .join_timeout(std::time::Duration::ZERO)
            .unwrap_err();
        assert_eq!(both(ends), [true; 2]);
        // A wait that is refused on a loop's thread drops them, too.
        let (ends, tasks) = two::<CancelOnDrop<u8>>();
        trefoil::run(async {
            let results = join_all(tasks).join();
            assert!(matches!(
                results[..],
                [Err(TaskError::WouldBlock), Err(TaskError::WouldBlock)]
            ));
        });
        assert_eq!(both(ends), [true; 2]);
    });
}

/// A type of the user's, in each place that takes a task.
#[test]
fn whatever_becomes_a_task_is_taken() {
    struct Job(u8);

    impl From<Job> for Task<u8> {
        fn from(job: Job) -> Self {
            Task::ready(job.0)
        }
    }

    within_deadline(|| {
        assert_eq!(try_join_all([Job(1), Job(2)]).join().unwrap(), [1, 2]);
        assert_eq!(join_all([Job(1)]).join().len(), 1);
        assert_eq!(race([Job(7)]).join().unwrap(), 7);
        assert_eq!(
            as_completed([Job(3)]).into_iter().next().unwrap().unwrap(),
            3
        );
        let mut group = TaskGroup::new();
        group.add(Job(4));
        group.handle().add(Job(5));
        assert_eq!(group.try_join_all().join().unwrap(), [4, 5]);
    });
}

#[test]
fn an_error_of_ones_own_is_a_failure() {
    within_deadline(|| {
        let parse = |text: &str| Task::ready(text.parse::<u8>()).flatten();
        assert_eq!(parse("7").join().unwrap(), 7);
        let (pending, never) = Completer::<u8>::new();
        let error = try_join_all([never, parse("x")]).join().unwrap_err();
        assert!(pending.is_cancelled());
        let TaskError::Failed(failure) = &error else {
            panic!("{error:?}")
        };
        assert!(failure.downcast_ref::<std::num::ParseIntError>().is_some());
        assert!(failure.downcast_ref::<std::io::Error>().is_none());
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), error.to_string());
        assert_eq!(
            error.to_string(),
            "x".parse::<u8>().unwrap_err().to_string()
        );

        let (pending, never) = Completer::<u8>::new();
        let mut group = TaskGroup::new();
        group.add(never);
        group.add(parse("y"));
        let error = group.try_join_all().join().unwrap_err();
        assert!(pending.is_cancelled() && matches!(error.errors(), [(_, TaskError::Failed(_))]));

        // Cancelling it cancels its source; a failure of the source passes through.
        let (source, task) = Completer::<Result<u8, String>>::new();
        assert!(task.flatten().cancel() && source.is_cancelled());
        let (source, task) = Completer::<Result<u8, String>>::new();
        drop(source);
        assert!(matches!(task.flatten().join(), Err(TaskError::Closed)));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = std::io::Error::from(TaskError::failed(refused));
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

/// An error of one's own that has another task's in it.
#[derive(Debug)]
struct Own(TaskError);

impl std::fmt::Display for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a part has failed")
    }
}

impl std::error::Error for Own {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Whoever awaits it with `?`, and however often.
#[test]
fn a_tasks_error_stays_itself() {
    within_deadline(|| {
        let error = trefoil::run(async {
            let (first, mut last) = Completer::<u32>::new();
            for n in 0..1000 {
                let before = last;
                last = match n % 2 {
                    0 => trefoil::spawn(async { Ok::<_, TaskError>(before.await? + 1) }).flatten(),
                    _ => trefoil::spawn(async { std::io::Result::Ok(before.await? + 1) }).flatten(),
                };
            }
            drop(first);
            last.await.unwrap_err()
        });
        assert!(matches!(error, TaskError::Closed), "{error:?}");

        let late = || Task::ready(Err::<u8, _>(TaskError::timed_out())).flatten();
        let error = try_join_all([late()]).join().unwrap_err();
        assert!(matches!(error, TaskError::TimedOut(_)));
        let error = late().map(|n| n + 1).join().unwrap_err();
        assert!(matches!(error, TaskError::TimedOut(_)));
        let mut group = TaskGroup::new();
        group.add(late());
        let error = group.try_join_all().join().unwrap_err();
        assert!(matches!(error.errors(), [(_, TaskError::TimedOut(_))]));
        let other = std::io::Error::other(TaskError::failed("mine"));
        let error = TaskError::failed(other);
        assert!(matches!(&error, TaskError::Failed(failure) if failure.to_string() == "mine"));
    });
}

#[test]
fn an_error_that_has_others_in_it_to_any_depth_can_be_dropped() {
    within_deadline(|| {
        let levels = crate::deadline::sample(1_000_000);
        let mut error = TaskError::Cancelled;
        for _ in 0..levels {
            error = TaskError::failed(Own(error));
        }
        let mut depth = 0;
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            depth += 1;
            source = inner.source();
        }
        assert!(depth >= levels);
        drop(error);
    });
}
