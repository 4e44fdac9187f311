//! Every item, and every value made from one, is dropped once, whatever happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use trefoil::prelude::*;

use crate::everywhere;

/// How often each item was dropped.
#[derive(Clone)]
struct Counts(Arc<Vec<AtomicUsize>>);

/// The item at this index.
struct Counted(Counts, usize);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0[self.1].fetch_add(1, Relaxed);
    }
}

/// Passes a thousand items to `f`. Afterwards, even after a panic, each was dropped once.
#[track_caller]
fn each_once(f: impl Fn(Vec<Counted>)) {
    let counts = Counts(Arc::new((0..1000).map(|_| AtomicUsize::new(0)).collect()));
    let items = (0..1000).map(|at| Counted(counts.clone(), at)).collect();
    _ = catch_unwind(AssertUnwindSafe(|| f(items)));
    let count = |at: usize| counts.0[at].load(Relaxed);
    let wrong: Vec<usize> = (0..1000).filter(|at| count(*at) != 1).collect();
    assert!(wrong.is_empty(), "not dropped once: {wrong:?}");
}

#[test]
fn items_are_dropped_once() {
    everywhere(|| {
        each_once(drop);
        each_once(|items| drop(items.into_par_iter()));
        each_once(|items| drop(items.into_par_iter().map(|_| 1)));
        each_once(|items| items.into_par_iter().for_each(drop));
        each_once(|items| assert_eq!(items.into_par_iter().rev().count(), 1000));
        each_once(|items| assert_eq!(items.into_par_iter().take(10).count(), 10));
        each_once(|items| {
            assert_eq!(
                items.into_par_iter().skip(10).collect::<Vec<_>>().len(),
                990
            )
        });
        each_once(|items| assert_eq!(items.into_par_iter().step_by(7).rev().count(), 143));
        each_once(|items| assert_eq!(items.into_par_iter().zip(0..10).count(), 10));
        each_once(|items| assert_eq!(items.into_par_iter().chunks(7).rev().count(), 143));
        each_once(|items| assert!(items.into_par_iter().any(|item| item.1 == 500)));
        each_once(|items| {
            assert_eq!(
                items
                    .into_par_iter()
                    .find_first(|item| item.1 > 20)
                    .unwrap()
                    .1,
                21
            )
        });
        each_once(|items| {
            assert_eq!(
                items
                    .into_par_iter()
                    .filter(|item| item.1 % 2 == 0)
                    .collect::<Vec<_>>()
                    .len(),
                500
            )
        });
        each_once(|items| {
            assert_eq!(
                items.into_par_iter().max_by_key(|item| item.1).unwrap().1,
                999
            )
        });
        each_once(|items| assert_eq!(items.into_par_iter().reduce_with(|a, _| a).unwrap().1, 0));
        each_once(|mut items| drop(items.par_drain(100..200)));
        each_once(|items| {
            assert_eq!(
                items
                    .into_par_iter()
                    .chain(vec![])
                    .partition::<Vec<_>, Vec<_>, _>(|item| item.1 < 9)
                    .0
                    .len(),
                9
            )
        });
        each_once(|items| {
            let failed: Result<Vec<Counted>, Counted> = items
                .into_par_iter()
                .map(|item| {
                    if item.1 % 300 == 299 {
                        Err(item)
                    } else {
                        Ok(item)
                    }
                })
                .collect();
            assert_eq!(failed.err().unwrap().1, 299);
        });
    });
}

/// Panics at one of a thousand items.
fn fails(item: &Counted) {
    assert_ne!(item.1, 617, "this one");
}

#[test]
fn a_panic_leaves_nothing() {
    everywhere(|| {
        each_once(|items| items.into_par_iter().for_each(|item| fails(&item)));
        each_once(|items| drop(items.into_par_iter().inspect(fails).collect::<Vec<_>>()));
        each_once(|items| {
            drop(
                items
                    .into_par_iter()
                    .rev()
                    .inspect(fails)
                    .collect::<Vec<_>>(),
            )
        });
        each_once(|items| {
            drop(
                items
                    .into_par_iter()
                    .inspect(fails)
                    .filter(|_| true)
                    .collect::<Vec<_>>(),
            )
        });
        each_once(|items| {
            drop(
                items
                    .into_par_iter()
                    .inspect(fails)
                    .map(|item| (item.1, item))
                    .unzip::<_, _, Vec<_>, Vec<_>>(),
            )
        });
        each_once(|items| drop(items.into_par_iter().inspect(fails).reduce_with(|a, _| a)));
        each_once(|items| {
            drop(
                items
                    .into_par_iter()
                    .inspect(fails)
                    .chunks(10)
                    .map(Ok::<_, ()>)
                    .collect::<Result<Vec<_>, _>>(),
            )
        });
        each_once(|items| {
            drop(
                items
                    .into_par_iter()
                    .inspect(fails)
                    .fold(Vec::new, |mut all, item| {
                        all.push(item);
                        all
                    })
                    .collect::<Vec<_>>(),
            )
        });
        each_once(|items| {
            drop(
                items
                    .into_iter()
                    .par_bridge()
                    .inspect(fails)
                    .collect::<Vec<_>>(),
            )
        });
        each_once(|items| {
            let mut vec = Vec::new();
            let end = catch_unwind(AssertUnwindSafe(|| {
                vec.par_extend(items.into_par_iter().inspect(fails))
            }));
            assert!(end.is_err() && vec.is_empty());
        });
    });
}

#[test]
fn the_panic_of_the_lowest_item_comes_out_whole() {
    everywhere(|| {
        for _ in 0..20 {
            let caught = catch_unwind(|| {
                (0..1000).into_par_iter().for_each(|i| {
                    if i >= 100 {
                        std::panic::panic_any(i);
                    }
                });
            });
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&100));
            let caught = catch_unwind(|| {
                let sum = (0..1000_usize)
                    .into_par_iter()
                    .map(|i| if i < 100 { i } else { std::panic::panic_any(i) });
                sum.sum::<usize>()
            });
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&100_usize));
        }
    });
}

#[test]
fn a_panic_ends_the_rest() {
    everywhere(|| {
        let done = AtomicUsize::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            (0..u64::MAX >> 8).into_par_iter().for_each(|i| {
                assert!(i < 10);
                done.fetch_add(1, Relaxed);
            });
        }));
        assert!(caught.is_err());
    });
}

/// An item whose destructor may panic.
struct Grenade(Counted, usize);

impl Drop for Grenade {
    fn drop(&mut self) {
        assert_ne!(self.0.1, self.1, "in a destructor, on purpose");
    }
}

impl Grenade {
    fn at(&self) -> usize {
        self.0.1
    }
}

/// Passes a thousand items to `f`, in several rounds: in each the destructor of another item
/// panics. Afterwards each was dropped once.
#[track_caller]
fn with_a_grenade(f: impl Fn(Vec<Grenade>)) {
    for live in [0, 1, 2, 17, 300, 301, 617, 998, 999] {
        each_once(|items| {
            let arm = |item: Counted| Grenade(item, live);
            f(items.into_iter().map(arm).collect());
        });
    }
}

/// What stays of two items.
fn lower(a: Grenade, b: Grenade) -> Grenade {
    let (keeps, goes) = if a.at() < b.at() { (a, b) } else { (b, a) };
    drop(goes);
    keeps
}

#[test]
fn a_destructor_that_panics_costs_no_other_item_its_own() {
    everywhere(|| {
        with_a_grenade(|items| drop(items.into_par_iter().find_first(|item| item.at() > 20)));
        with_a_grenade(|items| drop(items.into_par_iter().find_last(|item| item.at() < 900)));
        with_a_grenade(|items| drop(items.into_par_iter().find_any(|item| item.at() > 20)));
        with_a_grenade(|items| {
            let odd = |item: Grenade| (item.at() % 2 == 1).then_some(item);
            drop(items.into_par_iter().find_map_last(odd));
        });
        with_a_grenade(|items| drop(items.into_par_iter().min_by_key(Grenade::at)));
        with_a_grenade(|items| drop(items.into_par_iter().max_by_key(Grenade::at)));
        with_a_grenade(|items| drop(items.into_par_iter().min_by(|a, b| a.at().cmp(&b.at()))));
        with_a_grenade(|items| drop(items.into_par_iter().max_by(|a, b| b.at().cmp(&a.at()))));
        with_a_grenade(|items| drop(items.into_par_iter().reduce_with(lower)));
        with_a_grenade(|items| drop(items.into_par_iter().take(500).collect::<Vec<_>>()));
        with_a_grenade(|items| drop(items.into_par_iter().zip(0..500).collect::<Vec<_>>()));
        with_a_grenade(|items| drop(items.into_par_iter().step_by(3).rev().collect::<Vec<_>>()));
        with_a_grenade(|items| {
            let even = |item: &Grenade| item.at() % 2 == 0;
            drop(items.into_par_iter().filter(even).collect::<Vec<_>>());
        });
        with_a_grenade(|items| {
            let low = |item: &Grenade| item.at() < 9;
            drop(items.into_par_iter().partition::<Vec<_>, Vec<_>, _>(low));
        });
        for fails in [300, 301, 999] {
            let fail = move |item: Grenade| match item.at() < fails {
                true => Ok(item),
                false => Err(item),
            };
            with_a_grenade(|items| {
                drop(
                    items
                        .into_par_iter()
                        .map(fail)
                        .collect::<Result<Vec<_>, _>>(),
                );
            });
            with_a_grenade(|items| {
                let keep = |item: &Grenade| item.at() != 7;
                let some = items.into_par_iter().filter(keep).map(fail);
                drop(some.collect::<Result<Vec<_>, _>>());
            });
            with_a_grenade(|items| {
                let all = items.into_par_iter().map(fail);
                drop(all.try_reduce_with(|a, b| Ok(lower(a, b))));
            });
            with_a_grenade(|items| {
                let all = items.into_par_iter();
                drop(all.try_for_each(|item| fail(item).map(drop)));
            });
            with_a_grenade(|items| {
                let all = items.into_par_iter().map_init(|| (), |(), item| fail(item));
                drop(all.collect::<Result<Vec<_>, _>>());
            });
        }
    });
}

#[test]
fn a_closure_whose_destructor_panics_costs_no_item_its_own() {
    /// What the closure has captured.
    struct Captured;

    impl Drop for Captured {
        fn drop(&mut self) {
            panic!("in a destructor, on purpose");
        }
    }

    /// Calls `f` with a captured value, which is dropped with the closure.
    fn owning<A, R>(f: impl Fn(A) -> R + Sync + Send) -> impl Fn(A) -> R + Sync + Send {
        let captured = Captured;
        move |argument| {
            let _ = &captured;
            f(argument)
        }
    }

    fn test(f: impl Fn(Vec<Counted>)) {
        each_once(|items| {
            let end = catch_unwind(AssertUnwindSafe(|| f(items)));
            assert!(end.is_err());
        });
    }

    everywhere(|| {
        let pool = trefoil::ThreadPool::with_threads(2);
        test(|items| drop(pool.map(items, owning(|item| item))));
        test(|items| drop(pool.map_each(items, owning(|item| item))));
        test(|items| drop(pool.try_map(items, owning(Ok::<Counted, Counted>))));
        test(|items| drop(pool.try_map(items, owning(Err::<Counted, Counted>))));
        test(|items| {
            drop(
                items
                    .into_par_iter()
                    .map(owning(|item| item))
                    .collect::<Vec<_>>(),
            )
        });
        test(|items| {
            let all = items.into_par_iter().map(owning(|item: Counted| item));
            drop(all.max_by_key(|item| item.1));
        });
        test(|items| {
            let all = items.into_par_iter().map(owning(|item: Counted| item));
            drop(all.reduce_with(|a, _| a));
        });
        test(|items| {
            let all = items.into_par_iter().filter_map(owning(Some));
            drop(all.collect::<Vec<_>>());
        });
        test(|items| {
            let all = items.into_par_iter().map(owning(Ok::<Counted, Counted>));
            drop(all.try_reduce_with(|a, _| Ok(a)));
        });
        test(|items| drop(items.into_par_iter().find_map_first(owning(Some))));
        test(|items| drop(items.into_par_iter().find_map_any(owning(Some))));
        test(|items| drop(items.into_par_iter().find_map_last(owning(Some))));
        test(|items| {
            let init = || Captured;
            let all = items.into_par_iter().map_init(init, |_, item| item);
            drop(all.reduce_with(|a, _| a));
        });
    });
}
