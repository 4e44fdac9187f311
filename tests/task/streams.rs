//! Results as they come, with keys; and `next` on every stream, without another crate.

use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::deadline::within_deadline;
use trefoil::{Completer, Task, TaskError, ThreadPool, as_completed, as_completed_keyed};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn keys_come_with_their_results_in_the_order_of_completion() {
    within_deadline(|| {
        let (completers, tasks): (Vec<_>, Vec<_>) = (0..100).map(|_| Completer::new()).unzip();
        let names = (0..100).map(|n| format!("task {n}"));
        let mut results = as_completed_keyed(names.zip(tasks)).into_iter();
        assert_eq!(results.len(), 100);
        for (n, completer) in completers.into_iter().enumerate().rev() {
            let completing = thread::spawn(move || completer.complete(Ok(n)));
            let (name, result) = results.next().unwrap();
            completing.join().unwrap();
            assert_eq!((name, result.unwrap()), (format!("task {n}"), n));
        }
        assert!(results.next().is_none());
    });
}

#[test]
fn a_failure_has_its_key_and_alike_keys_are_kept_apart() {
    within_deadline(|| {
        let (failing, failed) = Completer::<u8>::new();
        failing.complete(Err(TaskError::timed_out()));
        let pairs = [("a", Task::ready(1)), ("b", failed), ("a", Task::ready(2))];
        let results: Vec<_> = as_completed_keyed(pairs).into_iter().collect();
        assert!(matches!(
            results[..],
            [
                ("a", Ok(1)),
                ("b", Err(TaskError::TimedOut(_))),
                ("a", Ok(2))
            ]
        ));
        let none = as_completed_keyed(Vec::<(u8, Task<u8>)>::new());
        assert!(none.into_iter().next().is_none());
    });
}

/// A key needs no traits: not `Clone`, not `Hash`, not `Unpin`.
#[test]
fn on_a_loop_each_key_comes_once_blocking_or_not() {
    struct Key(u8, std::marker::PhantomPinned);
    within_deadline(|| {
        trefoil::run(async {
            let key = |n| Key(n, std::marker::PhantomPinned);
            let (_never, pending) = Completer::<u8>::new();
            let pairs = [(key(0), pending), (key(1), Task::ready(7))];
            let results: Vec<_> = as_completed_keyed(pairs).into_iter().collect();
            assert!(matches!(
                results[..],
                [(Key(1, _), Ok(7)), (Key(0, _), Err(TaskError::WouldBlock))]
            ));

            let (completer, later) = Completer::new();
            let mut results = as_completed_keyed([(key(0), later), (key(1), Task::ready(7))]);
            assert!(matches!(results.next().await, Some((Key(1, _), Ok(7)))));
            assert!(poll(results.next()).is_pending());
            completer.complete(Ok(8));
            assert!(matches!(results.next().await, Some((Key(0, _), Ok(8)))));
            assert!(results.next().await.is_none());
        });
    });
}

#[test]
fn every_stream_has_a_next_and_dropping_it_loses_nothing() {
    within_deadline(|| {
        trefoil::run(async {
            let (completer, task) = Completer::new();
            let mut results = as_completed([task]);
            assert!(poll(results.next()).is_pending());
            completer.complete(Ok(1));
            assert_eq!(results.next().await.unwrap().unwrap(), 1);
            assert!(results.next().await.is_none());

            let pool = ThreadPool::with_threads(2);
            let mut squares = pool.imap(0..3_u64, |n| n * n).stream();
            let mut seen = Vec::new();
            while let Some(square) = squares.next().await {
                seen.push(square);
            }
            assert_eq!(seen, [0, 1, 4]);
        });
    });
}

/// Even if `next` of the crate `futures` is imported, no call is ambiguous.
#[test]
fn next_is_ours_where_both_are_imported() {
    use futures::StreamExt;
    within_deadline(|| {
        trefoil::run(async {
            let mut results = as_completed([Task::ready(1), Task::ready(2)]);
            assert_eq!(results.next().await.unwrap().unwrap(), 1);
            let rest: HashMap<_, _> = results.enumerate().collect().await;
            assert!(matches!(rest[&0], Ok(2)));
        });
    });
}
