//! `until`: the items of a parallel iterator, until a token is cancelled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use trefoil::prelude::*;
use trefoil::{CancelToken, TaskError, ThreadPool};

use crate::{everywhere, within_deadline};

#[test]
fn without_a_cancel_the_results_are_those_of_the_iterator() {
    everywhere(|| {
        let token = CancelToken::new();
        for len in [0, 1, 9, 100, 5000_u64] {
            let items = || (0..len).into_par_iter();
            let all: Vec<u64> = items().until(&token).with(|items| items.collect()).unwrap();
            assert_eq!(all, (0..len).collect::<Vec<_>>());
            let sum = items()
                .until(&token)
                .with(|items| items.map(|n| n * 2).sum::<u64>());
            assert_eq!(sum.unwrap(), (0..len).map(|n| n * 2).sum());
            let odd = |n: &u64| n % 2 == 1;
            let rest = items()
                .map(|n| n + 1)
                .until(&token)
                .with(|items| items.filter(odd).count());
            assert_eq!(rest.unwrap(), (1..=len).filter(odd).count());
            let first = items()
                .until(&token)
                .with(|items| items.find_first(|n| *n > 7));
            assert_eq!(first.unwrap(), (0..len).find(|n| *n > 7));
            let nested = items().until(&token).with(|items| {
                items
                    .flat_map_iter(|n| [n, n])
                    .fold(|| 0, |a, b| a + b)
                    .sum::<u64>()
            });
            assert_eq!(nested.unwrap(), (0..len).sum::<u64>() * 2);
            let bits = |n: u64| 1.0 / (n + 1) as f64;
            let harmonic = items()
                .until(&token)
                .with(|items| items.map(bits).sum::<f64>());
            assert_eq!(
                harmonic.unwrap().to_bits(),
                items().map(bits).sum::<f64>().to_bits()
            );
        }
        let seen = (0..100)
            .par_bridge()
            .until(&token)
            .with(|items| items.collect::<BTreeSet<_>>());
        assert_eq!(seen.unwrap(), (0..100).collect::<BTreeSet<_>>());
        let text = "leaf by leaf"
            .par_chars()
            .until(&token)
            .with(|chars| chars.collect::<String>());
        assert_eq!(text.unwrap(), "leaf by leaf".to_owned());
    });
}

#[test]
fn after_a_cancel_no_item_passes_and_all_are_dropped() {
    everywhere(|| {
        let item = Arc::new(());
        let items = || vec![Arc::clone(&item); 5000].into_par_iter();
        let stops = |consume: &dyn Fn(&CancelToken, &AtomicUsize) -> Result<(), TaskError>| {
            let (token, passed) = (CancelToken::new(), AtomicUsize::new(0));
            let result = consume(&token, &passed);
            assert!(matches!(result, Err(TaskError::Cancelled)));
            assert!(passed.into_inner() < 4000);
            assert_eq!(Arc::strong_count(&item), 1);
        };
        let cancels = |token: &CancelToken, passed: &AtomicUsize| {
            // Each that has passed waits until no other will.
            if passed.fetch_add(1, SeqCst) == 100 {
                token.cancel();
            }
            while passed.load(SeqCst) > 100 && !token.is_cancelled() {
                std::thread::yield_now();
            }
        };
        stops(&|token, passed| {
            let pass = |item| {
                cancels(token, passed);
                item
            };
            let all = items()
                .until(token)
                .with(|items| items.map(pass).collect::<Vec<_>>());
            all.map(drop)
        });
        stops(&|token, passed| {
            let pass = |_: &Arc<()>| {
                cancels(token, passed);
                false
            };
            items()
                .until(token)
                .with(|items| items.filter(pass).for_each(drop))
        });
        stops(&|token, passed| {
            let pass = |first, _| {
                cancels(token, passed);
                first
            };
            items()
                .until(token)
                .with(|items| drop(items.reduce_with(pass)))
        });
        stops(&|token, passed| {
            let pass = |item: &Arc<()>| {
                cancels(token, passed);
                Arc::strong_count(item) == 0
            };
            items()
                .until(token)
                .with(|items| drop(items.find_any(pass)))
        });
        stops(&|token, passed| {
            let bridge = vec![Arc::clone(&item); 5000].into_iter().par_bridge();
            bridge
                .until(token)
                .with(|items| items.for_each(|_| cancels(token, passed)))
        });
        stops(&|token, _| {
            token.cancel();
            items()
                .until(token)
                .with(|items| items.for_each(|_| unreachable!()))
        });
    });
}

#[test]
fn on_one_thread_nothing_is_called_after_the_cancel() {
    within_deadline(|| {
        ThreadPool::with_threads(1).install(|| {
            let (token, inside, before) =
                (CancelToken::new(), AtomicUsize::new(0), AtomicUsize::new(0));
            let count = |_: &u32| _ = before.fetch_add(1, SeqCst);
            let cancels = |n: u32| {
                if inside.fetch_add(1, SeqCst) == 200 {
                    token.cancel();
                }
                n
            };
            let items = (0..1000_u32).into_par_iter().inspect(count);
            let sum = items
                .until(&token)
                .with(|items| items.map(cancels).sum::<u32>());
            assert!(matches!(sum, Err(TaskError::Cancelled)));
            assert_eq!(inside.into_inner(), 201);
            assert!((201..=202).contains(&before.into_inner())); // one more has been made
        });
    });
}
