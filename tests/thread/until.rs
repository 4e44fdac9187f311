//! `ThreadPool::until`: no item begins after a cancel, and every item that has begun is ended.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use deadline::within_deadline;
use trefoil::{CancelToken, TaskError, ThreadPool};

#[track_caller]
fn is_cancelled<T>(result: Result<T, TaskError>) {
    assert!(matches!(result, Err(TaskError::Cancelled)));
}

/// Pools of several widths.
fn everywhere(f: impl Fn(&ThreadPool) + Send + 'static) {
    within_deadline(move || {
        for threads in [1, 2, 5] {
            f(&ThreadPool::with_threads(threads));
        }
    });
}

#[test]
fn without_a_cancel_the_results_are_those_of_the_pool() {
    everywhere(|pool| {
        let token = CancelToken::new();
        for len in [0, 1, 2, 9, 100, 5000] {
            let items: Vec<usize> = (0..len).collect();
            let twice = |n: &usize| n * 2;
            let until = pool.until(&token);
            assert_eq!(until.map(&items, twice).unwrap(), pool.map(&items, twice));
            let text = |n: &usize| n.to_string();
            let all = until.map_reduce(&items, text, String::new, |a, b| a + &b);
            let expected: String = items.iter().map(text).collect();
            assert_eq!(all.unwrap(), expected);
            let mut items = items;
            until.for_each(&mut items, |n| *n += 1).unwrap();
            assert_eq!(items, (1..=len).collect::<Vec<_>>());
        }
    });
}

#[test]
fn cancelled_before_it_begins_nothing_and_drops_the_items() {
    everywhere(|pool| {
        let (cancelled, late) = (CancelToken::new(), CancelToken::new());
        cancelled.cancel();
        let late = late.with_deadline(Instant::now());
        for token in [&cancelled, &cancelled.child(), &late] {
            let item = Arc::new(());
            let items = || vec![Arc::clone(&item); 100];
            let never = |_| -> u32 { unreachable!("an item has begun") };
            is_cancelled(pool.until(token).map(items(), never));
            is_cancelled(pool.until(token).for_each(items(), |item| _ = never(item)));
            is_cancelled(
                pool.until(token)
                    .map_reduce(items(), never, || 0, |a, b| a + b),
            );
            assert_eq!(Arc::strong_count(&item), 1);
            // No item is left out of none.
            assert_eq!(pool.until(token).map(Vec::new(), never).unwrap(), []);
        }
    });
}

#[test]
fn on_one_thread_exactly_the_items_up_to_the_cancel_begin() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        for (at, how) in (0..3).flat_map(|how| [0, 1, 7, 500, 1022].map(|at| (at, how))) {
            let (token, begun) = (CancelToken::new(), AtomicUsize::new(0));
            let cancels = |n: usize| {
                if begun.fetch_add(1, SeqCst) == at {
                    token.cancel();
                }
                n
            };
            pool.install(|| {
                let until = pool.until(&token);
                match how {
                    0 => is_cancelled(until.map(0..1024, cancels)),
                    1 => is_cancelled(until.for_each(0..1024, |n| _ = cancels(n))),
                    _ => is_cancelled(until.map_reduce(0..1024, cancels, || 0, |a, b| a + b)),
                }
            });
            assert_eq!(begun.into_inner(), at + 1);
        }
    });
}

#[test]
fn cancelled_from_elsewhere_what_has_begun_ends_and_nothing_else_begins() {
    everywhere(|pool| {
        let token = CancelToken::new();
        let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let item = Arc::new(());
        let items = vec![Arc::clone(&item); 10_000];
        std::thread::scope(|scope| {
            let result = scope.spawn(|| {
                pool.until(&token).map(items, |item| {
                    begun.fetch_add(1, SeqCst);
                    while !token.is_cancelled() {
                        std::thread::yield_now();
                    }
                    ended.fetch_add(1, SeqCst);
                    item
                })
            });
            while begun.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            token.cancel();
            is_cancelled(result.join().unwrap());
        });
        let begun = begun.into_inner();
        assert_eq!(begun, ended.into_inner());
        assert!(begun <= pool.num_threads() + 1, "{begun}"); // the caller takes part
        assert_eq!(Arc::strong_count(&item), 1, "items and results are dropped");
    });
}

#[test]
fn an_endless_map_ends() {
    everywhere(|pool| {
        let token = CancelToken::new();
        let cancels = |n: u64| {
            if n % 1000 == 999 {
                token.cancel();
            }
            n
        };
        is_cancelled(pool.until(&token).for_each(0..u64::MAX, |n| _ = cancels(n)));
        let token = token.clone();
        is_cancelled(
            pool.until(&token)
                .map_reduce(0..u64::MAX, cancels, || 0, u64::max),
        );
    });
}

#[test]
fn a_cancel_after_the_last_item_has_begun_changes_nothing() {
    everywhere(|pool| {
        let cancels_last = |token: &CancelToken, begun: &AtomicUsize| {
            if begun.fetch_add(1, SeqCst) == 99 {
                token.cancel();
            }
        };
        let (token, begun) = (CancelToken::new(), AtomicUsize::new(0));
        let all = pool.until(&token).map(0..100, |n| {
            cancels_last(&token, &begun);
            n
        });
        assert_eq!(all.unwrap(), (0..100).collect::<Vec<_>>());
        let (token, begun) = (CancelToken::new(), AtomicUsize::new(0));
        let one = |_| {
            cancels_last(&token, &begun);
            1
        };
        let sum = pool
            .until(&token)
            .map_reduce(0..100, one, || 0, |a, b| a + b);
        assert_eq!(sum.unwrap(), 100);
        is_cancelled(pool.until(&token).for_each(0..100, |_| ()));
    });
}

#[test]
fn nested_and_in_a_task_of_the_same_pool() {
    everywhere(|pool| {
        let (token, inner_pool) = (CancelToken::new(), pool.clone());
        let task = pool.spawn(move || {
            let ran = AtomicUsize::new(0);
            let outer = inner_pool.until(&token).map(0..1000, |n| {
                let inner = inner_pool.until(&token).map(0..100, |m| {
                    ran.fetch_add(1, SeqCst);
                    if (n, m) == (0, 50) {
                        token.cancel();
                    }
                });
                inner.is_ok()
            });
            (outer, ran.into_inner())
        });
        let (outer, ran) = task.join().unwrap();
        is_cancelled(outer);
        assert!(ran < 100_000);
        // A child ends the inner map alone.
        let token = CancelToken::new();
        let outer = pool.until(&token).map(0..10, |n| {
            let child = token.child();
            let inner = pool.until(&child).for_each(0..100, |m| {
                if n == 5 && m == 0 {
                    child.cancel();
                }
            });
            inner.is_ok()
        });
        let expected: Vec<bool> = (0..10).map(|n| n != 5).collect();
        assert_eq!(outer.unwrap(), expected);
    });
}

#[test]
fn a_panic_is_resumed_also_after_a_cancel() {
    everywhere(|pool| {
        let token = CancelToken::new();
        let item = Arc::new(());
        for cancels in [false, true] {
            let items = vec![Arc::clone(&item); 100];
            let panics = |kept| {
                if cancels {
                    token.cancel();
                }
                drop(kept);
                panic!("an item's");
            };
            let result = catch_unwind(AssertUnwindSafe(|| pool.until(&token).map(items, panics)));
            assert_eq!(result.unwrap_err().downcast_ref(), Some(&"an item's"));
            assert_eq!(Arc::strong_count(&item), 1);
        }
    });
}

#[test]
fn check_is_an_error_once_cancelled() {
    let all = CancelToken::new();
    let one = all.child();
    assert!(one.check().is_ok());
    all.cancel();
    is_cancelled(one.check());
    is_cancelled(CancelToken::new().with_deadline(Instant::now()).check());
}
