//! Consumers: reductions, searches, comparisons.

use std::ops::ControlFlow;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use trefoil::ThreadPool;
use trefoil::prelude::*;

use crate::deadline::within_deadline;
use crate::{everywhere, mixed};

const LENGTHS: [usize; 7] = [0, 1, 2, 7, 64, 1000, 5000];

#[test]
fn reductions() {
    everywhere(|| {
        for n in LENGTHS {
            let items: Vec<u64> = mixed(n as u64).take(n).collect();
            let par = || items.par_iter();
            let seq = || items.iter();
            assert_eq!(par().sum::<u64>(), seq().sum());
            let small = |n: &&u64| **n % 3;
            let signs = |n: &u64| if n % 5 == 0 { -1 } else { 1 };
            assert_eq!(
                par().map(signs).product::<i32>(),
                seq().map(signs).product()
            );
            assert_eq!(par().count(), n);
            assert_eq!(
                par().filter(|n| **n % 2 == 0).count(),
                seq().filter(|n| **n % 2 == 0).count()
            );
            assert_eq!(par().min(), seq().min());
            assert_eq!(par().max(), seq().max());
            // Of equal items the first, and the last, as in std.
            let place = |item: Option<&u64>| item.map(|item| std::ptr::from_ref(item));
            assert_eq!(
                place(par().min_by_key(small)),
                place(seq().min_by_key(small))
            );
            assert_eq!(
                place(par().max_by_key(small)),
                place(seq().max_by_key(small))
            );
            let by = |a: &&u64, b: &&u64| (*a % 7).cmp(&(*b % 7));
            assert_eq!(place(par().min_by(by)), place(seq().min_by(by)));
            assert_eq!(place(par().max_by(by)), place(seq().max_by(by)));
            let text = par()
                .map(|n| n.to_string())
                .reduce(String::new, |a, b| a + &b);
            assert_eq!(text, seq().map(u64::to_string).collect::<String>());
            let folded: String = par()
                .fold(String::new, |a, n| a + &n.to_string())
                .reduce(String::new, |a, b| a + &b);
            assert_eq!(folded, text);
            let folded: Vec<String> = par()
                .fold_with(String::new(), |a, n| a + &n.to_string())
                .collect();
            assert_eq!(folded.concat(), text);
            let first = par().copied().reduce_with(|a, _| a);
            assert_eq!(first.as_ref(), items.first());
        }
    });
}

#[test]
fn a_sum_of_floats_has_the_same_bits_on_every_pool() {
    within_deadline(|| {
        let items: Vec<f64> = mixed(1)
            .take(100_000)
            .map(|n| 1.0 / (n as f64 + 1.0))
            .collect();
        let sums = || {
            let all: f64 = items.par_iter().sum();
            let some: f64 = items
                .par_iter()
                .filter(|x| **x > 1e-14)
                .map(|x| x * 1.1)
                .sum();
            let folded: f64 = items.par_iter().fold(|| 0.0, |a, b| a + b).sum();
            let product: f64 = items.par_iter().map(|x| x * 3e14).product();
            let few: f64 = items[..900].par_iter().sum();
            let reduced = items[..900]
                .par_iter()
                .copied()
                .reduce(|| 0.0, |a, b| a + b);
            [all, some, folded, product, few, reduced].map(f64::to_bits)
        };
        let expected = ThreadPool::with_threads(1).install(sums);
        for threads in [2, 3, 8] {
            let pool = ThreadPool::with_threads(threads);
            for _ in 0..20 {
                assert_eq!(pool.install(sums), expected);
            }
        }
        assert_eq!(sums(), expected);
    });
}

/// The first item, the middle one and the last wait for one another, so three threads share the
/// others.
#[test]
fn runs_that_are_shared_are_reduced_from_left_to_right() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(3);
        for n in [3, 7, 8, 9, 100, 1000, 1024, 2000] {
            let items: Vec<f64> = mixed(n as u64)
                .take(n)
                .map(|n| 1.0 / (n as f64 + 1.0))
                .collect();
            let all = || items.par_iter().enumerate();
            let meeting = Barrier::new(3);
            let meet = |(at, x): (usize, &f64)| {
                if [0, n / 2, n - 1].contains(&at) {
                    meeting.wait();
                }
                *x
            };
            let alone = ThreadPool::with_threads(1).install(|| items.par_iter().sum::<f64>());
            let sequential: f64 = items.iter().sum();
            assert!(n > 1024 || alone.to_bits() == sequential.to_bits());
            let expected: String = items.iter().map(f64::to_string).collect();
            for _ in 0..10 {
                let sum = pool.install(|| all().map(meet).sum::<f64>());
                assert_eq!(sum.to_bits(), alone.to_bits());
                let texts = || all().map(|item| meet(item).to_string());
                let text = pool.install(|| texts().reduce(String::new, |a, b| a + &b));
                assert_eq!(text, expected);
            }
        }
    });
}

#[test]
fn items_of_a_short_reduction_occupy_all_workers() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(4);
        let tiny: f64 = pool.install(|| (0..100).into_par_iter().map(f64::from).sum());
        assert_eq!(tiny, 4950.0);
        for _ in 0..10 {
            let all = Barrier::new(4);
            let meet = |n| {
                all.wait();
                f64::from(n)
            };
            let items = || (0..4).into_par_iter().map(meet);
            assert_eq!(pool.install(|| items().sum::<f64>()), 6.0);
            assert_eq!(pool.install(|| items().reduce(|| 1.0, f64::max)), 3.0);
        }
    });
}

#[test]
fn searches() {
    everywhere(|| {
        for n in LENGTHS {
            let par = || (0..n).into_par_iter();
            assert_eq!(par().any(|i| i == 60), n > 60);
            assert_eq!(par().all(|i| i < 60), n <= 60);
            assert_eq!(par().find_any(|i| *i == 60), (n > 60).then_some(60));
            assert_eq!(par().find_first(|i| i % 9 == 8), (n > 8).then_some(8));
            assert_eq!(
                par().find_last(|i| i % 9 == 8),
                (0..n).rev().find(|i| i % 9 == 8)
            );
            assert_eq!(
                par().find_map_first(|i| (i > 5).then(|| i.to_string())),
                (n > 6).then(|| "6".into())
            );
            assert_eq!(
                par().find_map_last(|i| (i > 5).then(|| i.to_string())),
                (n > 6).then(|| (n - 1).to_string())
            );
            assert_eq!(
                par().find_map_any(|i| (i == 6).then_some('x')),
                (n > 6).then_some('x')
            );
            assert_eq!(par().position_first(|i| i % 5 == 4), (n > 4).then_some(4));
            assert_eq!(par().position_any(|i| i == 6), (n > 6).then_some(6));
        }
    });
}

#[test]
fn a_search_stops() {
    everywhere(|| {
        let seen = AtomicUsize::new(0);
        let count = |_: &usize| _ = seen.fetch_add(1, Relaxed);
        let all = || (0..usize::MAX).into_par_iter().inspect(count);
        assert!(all().any(|i| i == 5));
        assert_eq!(all().find_first(|i| *i >= 5), Some(5));
        assert_eq!(
            all().try_for_each(|i| if i < 5 { Ok(()) } else { Err(i) }),
            Err(5)
        );
        let endless = (0..).par_bridge().inspect(count);
        assert!(endless.any(|i| i == 1000));
    });
}

#[test]
fn what_may_fail() {
    everywhere(|| {
        for n in LENGTHS {
            let par = || (0..n).into_par_iter();
            let below = |limit| move |i| if i < limit { Ok(()) } else { Err(i) };
            assert_eq!(par().try_for_each(below(n)), Ok(()));
            assert_eq!(
                par().try_for_each(below(60)),
                if n > 60 { Err(60) } else { Ok(()) }
            );
            let flow = |i| {
                if i < 60 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(i)
                }
            };
            assert_eq!(par().try_for_each(flow).is_break(), n > 60);
            let sum = |a: usize, b| a.checked_add(b);
            assert_eq!(par().map(Some).try_reduce(|| 0, sum), Some((0..n).sum()));
            assert_eq!(
                par()
                    .map(|i| (i != 60).then_some(i))
                    .try_reduce(|| 0, sum)
                    .is_none(),
                n > 60
            );
            let first = par()
                .map(|i| if i % 60 == 59 { Err(i) } else { Ok(i) })
                .try_reduce(|| 0, |a, b| Ok(a + b));
            assert_eq!(first.err(), (n > 59).then_some(59));
            assert_eq!(par().map(Some).try_reduce_with(sum).is_some(), n > 0);
        }
    });
}

#[test]
fn ends_inside_of_ends() {
    everywhere(|| {
        let sum: u64 = (0..50_u64)
            .into_par_iter()
            .map(|i| {
                (0..i)
                    .into_par_iter()
                    .map(|j| (0..j).into_par_iter().sum::<u64>())
                    .sum::<u64>()
            })
            .sum();
        let expected: u64 = (0..50_u64)
            .map(|i| (0..i).map(|j| (0..j).sum::<u64>()).sum::<u64>())
            .sum();
        assert_eq!(sum, expected);
    });
}

/// Each of these would take for ever if a piece were processed to its end.
#[test]
fn what_is_not_needed_any_more_is_left() {
    everywhere(|| {
        let all = || (0..usize::MAX).into_par_iter();
        assert_eq!(
            all()
                .map_init(|| 1, |one, i| i / *one)
                .find_any(|i| *i == 5),
            Some(5)
        );
        assert_eq!(all().with_min_len(1 << 60).find_any(|i| *i == 5), Some(5));
        assert_eq!(
            all()
                .map_init(|| (), |(), i| i)
                .try_for_each(|i| (i < 5).then_some(())),
            None
        );
        assert_eq!(
            all()
                .map(|i| (i < 5).then_some(1_u64))
                .try_reduce(|| 0, |a, b| Some(a.wrapping_add(b))),
            None
        );
        // A bridge has no fixed order, so the first failure ends everything.
        let turns = || (0..).par_bridge();
        assert_eq!(
            turns().find_first(|i| *i > 1000).map(|i| i > 1000),
            Some(true)
        );
        assert!(
            turns()
                .try_for_each(|i| if i < 100 { Ok(()) } else { Err(i) })
                .is_err()
        );
        let failed: Result<Vec<u64>, u64> = turns()
            .map(|i| if i < 100 { Ok(i) } else { Err(i) })
            .collect();
        assert!(failed.is_err());
        assert_eq!((0..10).par_bridge().chain(vec![1, 2]).count(), 12);
        // If no item failed, there would be more results than any memory can hold.
        let failed: Option<Vec<u64>> = (0..1_u64 << 42)
            .into_par_iter()
            .map(|i| (i < 5).then_some(i))
            .collect();
        assert_eq!(failed, None);
        let options = [Some(1), None, Some(3)];
        assert_eq!(options.par_iter().flatten().sum::<i32>(), 4);
        let mapped = options.par_iter().map(|n| n.is_some());
        assert_eq!(mapped.clone().count(), mapped.filter(|is| *is).count() + 1);
        assert_eq!(vec![(); 9].par_windows(4).count(), 6);
    });
}
