//! Groups, shared tasks, tokens and unobserved failures.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use crate::deadline;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deadline::{alone, within_deadline};
use trefoil::{CancelToken, Completer, Task, TaskError, TaskGroup};

const LONG: Duration = Duration::from_secs(60);

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

// -------------------------------------------------------------------- groups

#[test]
fn values_come_in_the_order_of_add() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        let completers: Vec<_> = (0..100)
            .map(|_| {
                let (completer, task) = Completer::new();
                assert_eq!(group.add(task), completer.id());
                completer
            })
            .collect();
        let finishing = thread::spawn(move || {
            for (i, completer) in completers.into_iter().enumerate().rev() {
                completer.complete(Ok(i));
            }
        });
        assert_eq!(
            group.try_join_all().join().unwrap(),
            (0..100).collect::<Vec<_>>()
        );
        finishing.join().unwrap();
    });
}

#[test]
fn the_first_failure_cancels_the_rest_and_all_failures_are_told() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        let (pending, task) = Completer::<u8>::new();
        group.add(task);
        let (second, task) = Completer::<u8>::new();
        let second_id = group.add(task);
        let (first, task) = Completer::<u8>::new();
        let first_id = group.add(task);
        // Both have failed before the group looks: both are reported, in order.
        first.complete(Err(TaskError::timed_out()));
        second.complete(Err(TaskError::Closed));
        let error = group.try_join_all().join().unwrap_err();
        let ids: Vec<_> = error.errors().iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [first_id, second_id]);
        assert!(matches!(error.errors()[0].1, TaskError::TimedOut(_)));
        assert!(pending.is_cancelled());
        assert!(error.to_string().starts_with("2 tasks"), "{error}");
        let second = &error.errors()[1];
        let words = format!("GroupError({error}; {}: {})", second.0, second.1);
        assert_eq!(format!("{error:?}"), words);
    });
}

#[test]
fn a_member_cancelled_from_outside_is_a_failure() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        let (completer, task) = Completer::<u8>::new();
        group.add(task);
        completer.complete(Err(TaskError::Cancelled));
        let error = group.try_join_all().join().unwrap_err();
        assert!(matches!(error.errors()[..], [(_, TaskError::Cancelled)]));
    });
}

#[test]
fn members_add_members_while_the_group_is_awaited() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        let (completer, task) = Completer::new();
        group.add(task);
        let handle = group.handle();
        let adding = thread::spawn(move || {
            for i in 1..=10 {
                let (next, task) = Completer::new();
                handle.add(task);
                thread::spawn(move || next.complete(Ok(i)));
            }
            completer.complete(Ok(0));
        });
        assert_eq!(
            group.try_join_all().join().unwrap(),
            (0..=10).collect::<Vec<_>>()
        );
        adding.join().unwrap();
    });
}

#[test]
fn next_gives_members_as_they_end() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        let (late, task) = Completer::new();
        group.add(task);
        let early = group.add(Task::ready(1));
        assert_eq!(group.len(), 2);
        let (id, result) = group.next().join().unwrap();
        assert_eq!((id, result.unwrap()), (early, 1));
        assert!(poll(group.next()).is_pending());
        thread::spawn(move || late.complete(Err(TaskError::timed_out())));
        assert!(matches!(
            group.next().join(),
            Some((_, Err(TaskError::TimedOut(_))))
        ));
        assert!(group.next().join().is_none());
        assert!(group.is_empty());
    });
}

#[test]
fn try_next_takes_what_has_ended_and_waits_for_nothing() {
    let mut group = TaskGroup::new();
    assert!(group.try_next().is_none());
    let (completer, task) = Completer::new();
    let late = group.add(task);
    let early = group.add(Task::ready(1));
    assert!(matches!(group.try_next(), Some((id, Ok(1))) if id == early));
    assert!(group.try_next().is_none() && group.len() == 1);
    completer.complete(Err(TaskError::timed_out()));
    assert!(matches!(group.try_next(), Some((id, Err(TaskError::TimedOut(_)))) if id == late));
    assert!(group.try_next().is_none() && group.is_empty());
}

#[test]
fn cancel_and_drop_cancel_what_is_left() {
    let (completer, task) = Completer::<u8>::new();
    let mut group = TaskGroup::new();
    group.add(task);
    group.cancel();
    assert!(completer.is_cancelled());
    // Also members that are added afterwards.
    let (later, task) = Completer::<u8>::new();
    group.add(task);
    assert!(later.is_cancelled());
    let error = group.try_join_all().join().unwrap_err();
    assert!(
        error.errors().is_empty(),
        "the group itself cancelled them: {error:?}"
    );
    assert_eq!(error.to_string(), "the group was cancelled");

    let (completer, task) = Completer::<u8>::new();
    let group = TaskGroup::new();
    let handle = group.handle();
    group.add(task);
    drop(group);
    assert!(completer.is_cancelled());
    let (orphan, task) = Completer::<u8>::new();
    handle.add(task);
    assert!(orphan.is_cancelled());
}

#[test]
fn joining_twice_is_an_error_in_words() {
    let mut group = TaskGroup::new();
    group.add(Task::ready(1));
    assert_eq!(group.try_join_all().join().unwrap(), [1]);
    let error = group.try_join_all().join().unwrap_err();
    assert!(error.to_string().contains("joined before"), "{error}");
    let mut empty = TaskGroup::<u8>::default();
    assert!(empty.try_join_all().join().unwrap().is_empty());
}

#[test]
fn a_join_dropped_half_way_keeps_the_members() {
    let (completer, task) = Completer::<u8>::new();
    let mut group = TaskGroup::new();
    group.add(task);
    assert!(poll(group.try_join_all()).is_pending());
    assert!(!completer.is_cancelled());
    completer.complete(Ok(4));
    assert_eq!(group.next().join().unwrap().1.unwrap(), 4);
}

// -------------------------------------------------------------- shared tasks

#[test]
fn many_wait_for_one_result() {
    within_deadline(|| {
        let (completer, task) = Completer::new();
        let shared = task.shared();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || shared.join().unwrap())
            })
            .collect();
        assert!(shared.try_join().is_none());
        completer.complete(Ok("same".to_owned()));
        for thread in waiting {
            assert_eq!(thread.join().unwrap(), "same");
        }
        assert!(matches!(poll(shared.clone()), Poll::Ready(Ok(_))));
        assert!(shared.is_finished());
    });
}

#[test]
fn cancelling_a_mapped_task_cancels_its_source() {
    let (completer, task) = Completer::<u8>::new();
    let mapped = task.map(|n| n + 1);
    assert!(mapped.cancel());
    assert!(completer.is_cancelled());
    assert!(matches!(mapped.join(), Err(TaskError::Cancelled)));

    let (completer, task) = Completer::<u8>::new();
    let mapped = task.map(|_| -> u8 { panic!("in map (this message is expected)") });
    completer.complete(Ok(1));
    let Err(TaskError::Panicked(panic)) = mapped.join() else {
        panic!("not a panic")
    };
    assert!(panic.message().starts_with("in map"));
}

// -------------------------------------------------------------------- tokens

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_token_cancels_all_below_it_and_none_above() {
    let root = CancelToken::new();
    let (left, right) = (root.child(), root.child());
    let leaf = left.child();
    left.cancel();
    assert!(left.is_cancelled() && leaf.is_cancelled());
    assert!(!root.is_cancelled() && !right.is_cancelled());
    assert!(left.child().is_cancelled(), "born cancelled");
    root.cancel();
    assert!(right.is_cancelled());
}

#[test]
fn deadlines_are_the_nearest_ancestors() {
    let soon = Instant::now() + Duration::from_millis(20);
    let parent = CancelToken::new().with_deadline(soon);
    let child = parent.with_deadline(soon + LONG);
    assert_eq!(child.deadline(), Some(soon));
    assert!(!child.is_cancelled() || Instant::now() >= soon);
    within_deadline({
        let child = child.clone();
        move || child.cancelled().join().unwrap()
    });
    assert!(Instant::now() >= soon);
    assert!(child.is_cancelled() && parent.is_cancelled());
    assert!(
        CancelToken::new()
            .with_deadline(Instant::now())
            .is_cancelled()
    );
}

#[test]
fn waiters_are_woken_and_leave_no_trace() {
    let token = CancelToken::new();
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    {
        let mut waiting = pin!(token.cancelled());
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    let mut waiting = pin!(token.child().cancelled());
    assert!(
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    token.cancel();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(poll(waiting).is_ready());
    token.cancel();
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_hundred_thousand_children_and_a_deep_chain() {
    let root = CancelToken::new();
    let children: Vec<_> = (0..100_000).map(|_| root.child()).collect();
    root.cancel();
    assert!(children.iter().all(CancelToken::is_cancelled));
    drop(children);

    let mut deep = CancelToken::new();
    let top = deep.clone();
    for _ in 0..100_000 {
        deep = deep.child();
    }
    top.cancel();
    assert!(deep.is_cancelled());
    drop(top);
    drop(deep); // by a loop, not by recursion
}

// ---------------------------------------------------------------- unobserved

/// One test, because the hook belongs to the process.
#[test]
fn failures_that_were_not_taken_reach_the_hook_once() {
    alone(
        "group::failures_that_were_not_taken_reach_the_hook_once",
        "",
        || {
            static SITES: Mutex<Vec<u32>> = Mutex::new(Vec::new());
            trefoil::on_unobserved(|report| {
                if report.spawned_at().file() == file!() {
                    SITES.lock().unwrap().push(report.spawned_at().line());
                }
                assert!(format!("{report:?}").contains("TimedOut"));
                panic!("a hook that panics does no harm (this message is expected)");
            });
            let fail = |completer: Completer<u8>| completer.complete(Err(TaskError::timed_out()));

            let (completer, task) = Completer::new();
            let detached_before = line!() - 1;
            task.detach();
            fail(completer);

            let (completer, task) = Completer::new();
            let dropped_after = line!() - 1;
            fail(completer);
            drop(task);

            let (completer, task) = Completer::new();
            fail(completer);
            let _ = task.join(); // taken

            let (completer, task) = Completer::<u8>::new();
            drop(task);
            completer.complete(Err(TaskError::Cancelled)); // no failure

            let (completer, task) = Completer::new();
            drop(task);
            completer.complete(Ok(1)); // no failure

            let (completer, task) = Completer::<u8>::new();
            let shared = line!() - 1;
            let handles = [task.shared()];
            fail(completer);
            let taken = handles[0].clone();
            drop(handles);
            drop(taken);

            assert_eq!(
                *SITES.lock().unwrap(),
                [detached_before, dropped_after, shared]
            );
        },
    );
}
