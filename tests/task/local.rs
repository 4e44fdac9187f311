//! Task-locals: which code sees a value.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::deadline::within_deadline;
use trefoil::{ThreadPool, spawn, task_local, yield_now};

task_local! {
    static NUMBER: u32;
    pub(crate) static TEXT: String
}

fn number() -> Option<u32> {
    NUMBER.try_with(|n| *n).ok()
}

#[test]
fn a_scope_has_its_value_and_the_innermost_counts() {
    assert_eq!(number(), None);
    let inner = NUMBER.sync_scope(1, || {
        assert_eq!(NUMBER.get(), 1);
        let inner = NUMBER.sync_scope(2, || NUMBER.with(|n| *n));
        assert_eq!(number(), Some(1));
        TEXT.sync_scope("text".to_owned(), || assert_eq!(TEXT.get(), "text"));
        assert!(TEXT.try_with(|_| ()).is_err());
        inner
    });
    assert_eq!((inner, number()), (2, None));
    let panicked = std::panic::catch_unwind(|| NUMBER.sync_scope(1, || panic!("on purpose")));
    assert!(panicked.is_err() && number().is_none());
    // Code that looks at a value may enter another scope.
    let both = NUMBER.sync_scope(1, || {
        NUMBER.with(|n| NUMBER.sync_scope(2, || n + NUMBER.get()))
    });
    assert_eq!(both, 3);
}

#[test]
fn each_task_has_its_own_between_its_polls_and_on_every_executor() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let turns = |n| async move {
            for _ in 0..10 {
                assert_eq!(number(), Some(n));
                yield_now().await;
            }
            n
        };
        trefoil::run(async {
            let tasks = (0..20_u32).map(|n| match n % 2 {
                0 => spawn(NUMBER.scope(n, turns(n))),
                _ => pool.spawn_async(NUMBER.scope(n, turns(n))),
            });
            let seen = trefoil::try_join_all(tasks).await.unwrap();
            assert_eq!(seen, (0..20).collect::<Vec<_>>());
            assert_eq!(number(), None);
        });
        // On another runtime, which knows nothing of our tasks.
        assert_eq!(futures::executor::block_on(NUMBER.scope(5, turns(5))), 5);
    });
}

/// Also if the waiting thread runs the task itself, inside the scope.
#[test]
fn what_is_spawned_has_no_value_unless_it_inherits_it() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let both = || {
            let without = pool.spawn(number).join().unwrap();
            (
                without,
                pool.spawn(NUMBER.inherit_sync(number)).join().unwrap(),
            )
        };
        assert_eq!(both(), (None, None));
        assert_eq!(NUMBER.sync_scope(1, both), (None, Some(1)));
        // A worker that waits for its own task claims it.
        let nested = |from: &ThreadPool| {
            let inner = from.spawn(number);
            (number(), inner.join().unwrap())
        };
        let worker = pool.install(|| NUMBER.sync_scope(2, || nested(&pool)));
        assert_eq!(worker, (Some(2), None));

        let future = NUMBER.sync_scope(3, || NUMBER.inherit(async { number() }));
        assert_eq!(pool.spawn_async(future).join().unwrap(), Some(3));
    });
}

/// A scope inside another task's scope restores the previous value, whatever is polled first.
#[test]
fn scopes_that_are_polled_in_turn_do_not_mix() {
    let mut cx = Context::from_waker(Waker::noop());
    let mut one = pin!(NUMBER.scope(1, async { yield_twice(1).await }));
    let mut two = pin!(NUMBER.scope(2, async { yield_twice(2).await }));
    for _ in 0..2 {
        assert!(one.as_mut().poll(&mut cx).is_pending());
        assert!(two.as_mut().poll(&mut cx).is_pending());
        assert_eq!(number(), None);
    }
    assert!(one.as_mut().poll(&mut cx).is_ready() && two.as_mut().poll(&mut cx).is_ready());
}

async fn yield_twice(n: u32) {
    let left = Cell::new(2_u32);
    std::future::poll_fn(|_| {
        assert_eq!(number(), Some(n));
        match left.replace(left.get().saturating_sub(1)) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
}

#[test]
fn destructors_of_what_ran_in_a_scope_see_the_value() {
    struct Seen<'a>(&'a Cell<Option<u32>>);
    impl Drop for Seen<'_> {
        fn drop(&mut self) {
            self.0.set(number());
        }
    }
    let seen = Cell::new(None);
    let kept = Seen(&seen);
    drop(NUMBER.scope(4, async move {
        drop(kept);
    }));
    assert_eq!(seen.take(), Some(4));
    // A task that has ended: its captures were dropped with its last poll.
    let kept = Seen(&seen);
    let mut ended = Box::pin(NUMBER.scope(
        5,
        std::future::poll_fn(|_| {
            let _captured = &kept;
            Poll::Ready(())
        }),
    ));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut ended).poll(&mut cx).is_ready());
    drop(ended);
    drop(kept);
    assert_eq!(seen.take(), None);
}

#[test]
#[should_panic(expected = "this task-local has no value here")]
fn a_look_outside_says_what_to_do() {
    NUMBER.get();
}
