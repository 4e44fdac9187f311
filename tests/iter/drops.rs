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
fn each_once(f: impl Fn(Vec<Counted>)) {
    let counts = Counts(Arc::new((0..1000).map(|_| AtomicUsize::new(0)).collect()));
    let items = (0..1000).map(|at| Counted(counts.clone(), at)).collect();
    _ = catch_unwind(AssertUnwindSafe(|| f(items)));
    assert!(counts.0.iter().all(|count| count.load(Relaxed) == 1));
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
