//! The functions over many tasks: order, linear cost, cancellation, refused waits.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use crate::deadline;

use std::pin::Pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deadline::within_deadline;
use trefoil::{
    Completer, Task, TaskError, TaskGroup, Until, as_completed, race, try_join_all, wait,
};

fn promises(n: usize) -> (Vec<Completer<usize>>, Vec<Task<usize>>) {
    (0..n).map(|_| Completer::new()).unzip()
}

/// A seeded shuffle of 0..n.
fn shuffled(n: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..n).collect();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    for i in (1..n).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        order.swap(i, (seed % (i as u64 + 1)) as usize);
    }
    order
}

#[test]
fn as_completed_gives_results_in_the_order_of_completion() {
    within_deadline(|| {
        let (completers, tasks) = promises(1000);
        let order = shuffled(1000);
        let results = as_completed(tasks);
        let mut completers: Vec<_> = completers.into_iter().map(Some).collect();
        for &i in &order {
            completers[i].take().unwrap().complete(Ok(i));
        }
        let seen: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(seen, order);
    });
}

#[test]
fn as_completed_follows_completions_one_by_one() {
    within_deadline(|| {
        let (completers, tasks) = promises(50);
        let mut results = as_completed(tasks).into_iter();
        assert_eq!(results.len(), 50);
        for (i, completer) in completers.into_iter().enumerate().rev() {
            let other = thread::spawn(move || completer.complete(Ok(i)));
            assert_eq!(results.next().unwrap().unwrap(), i);
            other.join().unwrap();
        }
        assert!(results.next().is_none());
    });
}

/// All tasks at once take about as long as a tenth of them ten times: a quadratic time would be ten
/// times as long.
#[cfg(target_os = "linux")]
#[test]
fn as_completed_is_linear() {
    let time = |parts: usize| {
        let n = 400_000 / parts;
        let start = deadline::processor_time();
        for _ in 0..parts {
            let (completers, tasks) = promises(n);
            let results = as_completed(tasks);
            for (i, completer) in completers.into_iter().enumerate() {
                completer.complete(Ok(i));
            }
            assert_eq!(results.into_iter().filter(Result::is_ok).count(), n);
        }
        deadline::processor_time() - start
    };
    within_deadline(move || {
        let (few, many) = (time(10), time(1));
        assert!(
            many < few * 4,
            "{few:?} for 40,000 ten times, {many:?} for 400,000 once"
        );
    });
}

#[test]
fn a_dropped_as_completed_detaches_and_its_wakers_outlive_it() {
    let (completers, tasks) = promises(40);
    let mut results = as_completed(tasks).into_iter();
    let mut completers = completers.into_iter();
    completers.next().unwrap().complete(Ok(0));
    assert_eq!(results.next().unwrap().unwrap(), 0);
    drop(results);
    for completer in completers {
        assert!(!completer.is_cancelled());
        completer.complete(Ok(1));
    }
}

#[test]
fn the_first_failure_in_time_cancels_the_rest() {
    within_deadline(|| {
        let (mut completers, tasks) = promises(10);
        let failing = completers.remove(7);
        completers.remove(0).complete(Ok(0));
        let failure = thread::spawn(move || failing.complete(Err(TaskError::timed_out())));
        assert!(matches!(
            try_join_all(tasks).join(),
            Err(TaskError::TimedOut(_))
        ));
        failure.join().unwrap();
        assert!(completers.iter().all(Completer::is_cancelled));
    });
}

#[test]
fn try_join_all_keeps_the_order_of_the_tasks() {
    within_deadline(|| {
        let (completers, tasks) = promises(100);
        let mut completers: Vec<_> = completers.into_iter().map(Some).collect();
        let finishing = thread::spawn(move || {
            for i in shuffled(100) {
                completers[i].take().unwrap().complete(Ok(i));
            }
        });
        assert_eq!(
            try_join_all(tasks).join().unwrap(),
            (0..100).collect::<Vec<_>>()
        );
        finishing.join().unwrap();
    });
}

#[test]
fn wait_gives_the_tasks_back() {
    within_deadline(|| {
        let (mut completers, tasks) = promises(3);
        completers.remove(1).complete(Ok(1));
        let (mut done, pending) = wait(tasks, Until::First, None).join();
        assert_eq!((done.len(), pending.len()), (1, 2));
        assert_eq!(done[0].try_join().unwrap().unwrap(), 1);

        let start = Instant::now();
        let time = Duration::from_millis(10);
        let (done, pending) = wait(pending, Until::All, Some(time)).join();
        assert!(start.elapsed() >= time);
        assert_eq!((done.len(), pending.len()), (0, 2));

        let rest = thread::spawn(move || {
            let last = completers.pop().unwrap();
            completers.pop().unwrap().complete(Ok(0));
            last.complete(Err(TaskError::Cancelled));
        });
        let (done, pending) = wait(pending, Until::FirstError, None).join();
        rest.join().unwrap();
        assert!(pending.is_empty(), "the failing one was the last");
        let results: Vec<_> = done.into_iter().map(Task::join).collect();
        assert!(
            matches!(results[..], [Ok(0), Err(TaskError::Cancelled)]),
            "{results:?}"
        );
        // A cancelled task does not count as an error, as in Python.
        for late in [false, true] {
            let (mut completers, tasks) = promises(3);
            if !late {
                assert!(tasks[0].cancel());
            }
            let mut waiting = wait(tasks, Until::FirstError, None);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut waiting).poll(&mut cx).is_pending());
            if late {
                completers.remove(0).complete(Err(TaskError::Cancelled));
                assert!(Pin::new(&mut waiting).poll(&mut cx).is_pending());
            }
            completers
                .pop()
                .unwrap()
                .complete(Err(TaskError::timed_out()));
            let (done, pending) = waiting.join();
            assert_eq!((done.len(), pending.len()), (2, 1));
        }
        let (done, pending) = wait(Vec::<Task<u8>>::new(), Until::First, None).join();
        assert!(done.is_empty() && pending.is_empty());
    });
}

#[test]
fn what_wait_gave_back_can_be_awaited_anew() {
    within_deadline(|| {
        let (completers, tasks) = promises(2);
        let (_, pending) = wait(tasks, Until::All, Some(Duration::ZERO)).join();
        let finishing = thread::spawn(move || {
            for completer in completers {
                completer.complete(Ok(5));
            }
        });
        assert_eq!(try_join_all(pending).join().unwrap(), [5, 5]);
        finishing.join().unwrap();
    });
}

/// A result whose destructor panics, or one that has none.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "on purpose");
    }
}

#[test]
fn untaken_results_whose_destructors_panic_do_not_prevent_cancellation() {
    within_deadline(|| {
        let made = |first: Result<Bomb, TaskError>| {
            let (completers, tasks): (Vec<_>, Vec<_>) = (0..4).map(|_| Completer::new()).unzip();
            let mut completers = completers.into_iter();
            completers.next().unwrap().complete(first);
            completers.next().unwrap().complete(Ok(Bomb(true)));
            completers.next().unwrap().complete(Ok(Bomb(true)));
            (tasks, completers.next().unwrap())
        };
        let (tasks, last) = made(Ok(Bomb(false)));
        assert!(!race(tasks).join().unwrap().0);
        assert!(last.is_cancelled());

        let (tasks, last) = made(Err(TaskError::timed_out()));
        let failed = try_join_all(tasks).join();
        assert!(matches!(failed, Err(TaskError::TimedOut(_))));
        assert!(last.is_cancelled());

        let (tasks, last) = made(Err(TaskError::timed_out()));
        let mut group = TaskGroup::new();
        for task in tasks {
            group.add(task);
        }
        let error = group.try_join_all().join().err().unwrap();
        assert!(matches!(error.errors(), [(_, TaskError::TimedOut(_))]));
        assert!(last.is_cancelled());

        let (tasks, last) = made(Ok(Bomb(true)));
        let group = TaskGroup::new();
        for task in tasks {
            group.add(task);
        }
        drop(group);
        assert!(last.is_cancelled());
    });
}
