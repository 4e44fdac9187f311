//! Threads run ahead of the sequential iterator. What it would not have reached does not show.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use trefoil::ThreadPool;
use trefoil::prelude::*;

use crate::deadline::{sample, within_deadline};
use crate::mixed;

/// Item 0 matches, or fails; item 1 panics before item 0 has ended.
struct Race(AtomicBool);

impl Race {
    fn matches(&self, item: i32) -> bool {
        if item == 1 {
            self.0.store(true, SeqCst);
            panic!("not reached in sequence");
        }
        while !self.0.load(SeqCst) {
            thread::yield_now();
        }
        true
    }

    fn fails(&self, item: i32) -> Result<(), i32> {
        match self.matches(item) {
            true => Err(item),
            false => Ok(()),
        }
    }
}

/// Both items at once, each on a thread of its own.
fn race<R: Send + 'static>(f: impl FnOnce(&Race) -> R + Send + 'static) -> R {
    within_deadline(|| {
        let race = Race(AtomicBool::new(false));
        ThreadPool::with_threads(2).install(|| f(&race))
    })
}

fn two() -> impl IndexedParallelIterator<Item = i32> {
    (0..2).into_par_iter().with_max_len(1)
}

#[test]
fn a_panic_behind_the_first_match_is_not_resumed() {
    assert_eq!(race(|r| two().find_first(|i| r.matches(*i))), Some(0));
    assert_eq!(
        race(|r| two().find_map_first(|i| r.matches(i).then_some(i))),
        Some(0)
    );
    assert_eq!(race(|r| two().position_first(|i| r.matches(i))), Some(0));
    assert!(race(|r| two().any(|i| r.matches(i))));
    assert!(!race(|r| two().all(|i| !r.matches(i))));
    assert_eq!(race(|r| two().find_any(|i| r.matches(*i))), Some(0));
    assert_eq!(race(|r| two().position_any(|i| r.matches(i))), Some(0));
    assert_eq!(
        race(|r| two().find_map_any(|i| r.matches(i).then_some(i))),
        Some(0)
    );
    // The panic may also be in an adaptor.
    let inspected = |r: &Race| two().inspect(|i| _ = r.matches(*i)).find_first(|_| true);
    assert_eq!(race(inspected), Some(0));
}

#[test]
fn a_panic_behind_the_first_failure_is_not_resumed() {
    assert_eq!(race(|r| two().try_for_each(|i| r.fails(i))), Err(0));
    assert_eq!(race(|r| two().try_for_each(|i| r.fails(i).ok())), None);
    let breaks = |r: &Race, i| match r.fails(i) {
        Ok(()) => ControlFlow::Continue(()),
        Err(i) => ControlFlow::Break(i),
    };
    assert_eq!(
        race(move |r| two().try_for_each(|i| breaks(r, i))),
        ControlFlow::Break(0)
    );
    assert_eq!(
        race(|r| two().map(|i| r.fails(i)).try_reduce(|| (), |(), ()| Ok(()))),
        Err(0)
    );
    assert_eq!(
        race(|r| two().map(|i| r.fails(i)).try_reduce_with(|(), ()| Ok(()))),
        Some(Err(0))
    );
    assert_eq!(
        race(|r| two().map(|i| r.fails(i)).collect::<Result<Vec<_>, _>>()),
        Err(0)
    );
    assert_eq!(
        race(|r| two().map(|i| r.fails(i).ok()).collect::<Option<Vec<_>>>()),
        None
    );
    let pool = ThreadPool::with_threads(2);
    assert_eq!(race(move |r| pool.try_map(two(), |i| r.fails(i))), Err(0));
}

/// What an item does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Passes,
    Matches,
    Panics,
}

/// A program's items, and how many threads are ahead of others in a round of it.
struct Items {
    what: Vec<What>,
    /// How often an item yields, so that later ones may overtake it.
    yields: Vec<usize>,
    panicked: AtomicUsize,
}

impl Items {
    /// The items of the program with this number.
    fn of(seed: u64) -> Self {
        let mut numbers = mixed(seed);
        let mut next = |below: u64| numbers.next().unwrap() % below;
        let (len, rare) = (next(40), 1 + next(30));
        let what = (0..len).map(|_| match next(rare + 2) {
            0 => What::Matches,
            1 => What::Panics,
            _ => What::Passes,
        });
        let what: Vec<What> = what.collect();
        let yields = what.iter().map(|_| next(4) as usize * 10).collect();
        Self {
            what,
            yields,
            panicked: AtomicUsize::new(0),
        }
    }

    /// Whether it matches.
    fn visit(&self, at: usize) -> bool {
        for _ in 0..self.yields[at] {
            if self.panicked.load(SeqCst) > 0 {
                break;
            }
            thread::yield_now();
        }
        if self.what[at] == What::Panics {
            self.panicked.fetch_add(1, SeqCst);
            panic_any(at);
        }
        self.what[at] == What::Matches
    }

    fn fails(&self, at: usize) -> Result<usize, usize> {
        match self.visit(at) {
            true => Err(at),
            false => Ok(at),
        }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.what.len()).collect()
    }
}

/// What a consumer returns, or the item that has panicked.
fn outcome<R>(f: impl FnOnce() -> R) -> Result<R, usize> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| *payload.downcast::<usize>().unwrap())
}

/// Compares consumers on the same items, parallel and sequential.
macro_rules! compare {
    ($items:ident, $seed:ident: $($consumer:expr, $standard:expr;)*) => {$(
        $items.panicked.store(0, SeqCst);
        let parallel = outcome(|| $consumer);
        $items.panicked.store(0, SeqCst);
        let standard = outcome(|| $standard);
        assert_eq!(parallel, standard, "{} of program {}: {:?}", stringify!($consumer), $seed, $items.what);
    )*};
}

#[test]
fn outcomes_are_those_of_the_sequential_program() {
    let programs = sample(240) as u64;
    for threads in [1, 2, 3] {
        let pool = ThreadPool::with_threads(threads);
        for seed in 0..programs {
            let pool = pool.clone();
            // (Each has its time: where others compute, a yield takes milliseconds.)
            within_deadline(move || {
                let items = Items::of(seed);
                let longest = [1, 3, usize::MAX][seed as usize % 3];
                pool.install(|| compare_all(&items, longest, seed));
                pool.install(|| compare_any(&items, longest, seed));
                compare! { items, seed:
                    pool.try_map(items.all(), |at| items.fails(at)),
                    items.all().into_iter().map(|at| items.fails(at)).collect::<Result<Vec<_>, _>>();
                    pool.map(items.all(), |at| items.visit(at)),
                    items.all().into_iter().map(|at| items.visit(at)).collect::<Vec<_>>();
                }
            });
        }
    }
}

fn compare_all(items: &Items, longest: usize, seed: u64) {
    let par = || items.all().into_par_iter().with_max_len(longest);
    let seq = || items.all().into_iter();
    let found = |at| items.visit(at).then_some(at);
    let checks = |at| items.fails(at).map(drop);
    let sum = |a: usize, b: usize| Ok::<_, usize>(a + b);
    compare! { items, seed:
        par().find_first(|at| items.visit(*at)), seq().find(|at| items.visit(*at));
        par().position_first(|at| items.visit(at)), seq().position(|at| items.visit(at));
        par().find_map_first(found), seq().find_map(found);
        par().rev().find_map_first(found), seq().rev().find_map(found);
        par().filter(|at| items.visit(*at)).find_first(|at| at % 2 == 0), seq().filter(|at| items.visit(*at)).find(|at| at % 2 == 0);
        par().map(|at| items.visit(at)).position_first(|matches| matches), seq().map(|at| items.visit(at)).position(|matches| matches);
        par().flat_map_iter(|at| [at, at]).find_map_first(found), seq().flat_map(|at| [at, at]).find_map(found);
        par().map_init(|| (), |(), at| found(at)).find_map_first(|at| at), seq().map(found).find_map(|at| at);
        par().chain(vec![]).skip(1).find_map_first(found), seq().skip(1).find_map(found);
        par().find_last(|at| items.visit(*at)), seq().filter(|at| items.visit(*at)).last();
        par().find_map_last(found), seq().filter_map(found).last();
        par().try_for_each(checks), seq().try_for_each(checks);
        par().try_for_each(|at| checks(at).ok()), seq().try_for_each(|at| checks(at).ok());
        par().map(|at| items.fails(at)).try_reduce(|| 0, sum), seq().try_fold(0, |all, at| sum(all, items.fails(at)?));
        par().map(|at| items.fails(at)).try_reduce_with(sum), try_reduce_with(seq().map(|at| items.fails(at)), sum);
        par().map(|at| items.fails(at)).collect::<Result<Vec<_>, _>>(), seq().map(|at| items.fails(at)).collect::<Result<Vec<_>, _>>();
        par().map(|at| items.fails(at).ok()).collect::<Option<BTreeSet<_>>>(), seq().map(|at| items.fails(at).ok()).collect::<Option<BTreeSet<_>>>();
        par().filter(|at| items.visit(*at)).collect::<Vec<_>>(), seq().filter(|at| items.visit(*at)).collect::<Vec<_>>();
        par().map(|at| usize::from(items.visit(at))).sum::<usize>(), seq().map(|at| usize::from(items.visit(at))).sum::<usize>();
        par().max_by_key(|at| items.visit(*at)), seq().max_by_key(|at| items.visit(*at));
        par().for_each(|at| _ = items.visit(at)), seq().for_each(|at| _ = items.visit(at));
        par().filter(|at| items.visit(*at)).count(), seq().filter(|at| items.visit(*at)).count();
    }
}

/// Std has no such method.
fn try_reduce_with<T, E>(
    mut items: impl Iterator<Item = Result<T, E>>,
    f: impl Fn(T, T) -> Result<T, E>,
) -> Option<Result<T, E>> {
    let first = items.next()?;
    Some(first.and_then(|first| items.try_fold(first, |all, item| f(all, item?))))
}

/// Of the methods with `any` in their name: a match counts wherever it is; without one the outcome
/// is the sequential one.
fn compare_any(items: &Items, longest: usize, seed: u64) {
    let par = || items.all().into_par_iter().with_max_len(longest);
    let matches = |at: &usize| items.what[*at] == What::Matches;
    let first = |what| items.what.iter().position(|other| *other == what);
    let (matched, panicked) = (first(What::Matches), first(What::Panics));
    let check = |consumer: &str, parallel: Result<Option<usize>, usize>| {
        items.panicked.store(0, SeqCst);
        let allowed = match (parallel, matched, panicked) {
            (Ok(Some(at)), ..) => matches(&at),
            (Ok(None), None, None) => true,
            (Err(at), None, Some(first)) => at == first,
            (Err(at), Some(before), Some(first)) => at == first && first < before,
            _ => false,
        };
        assert!(
            allowed,
            "{consumer} gave {parallel:?}; program {seed}: {:?}",
            items.what
        );
    };
    let any = |found: bool| found.then_some(matched.unwrap_or(usize::MAX));
    check(
        "find_any",
        outcome(|| par().find_any(|at| items.visit(*at))),
    );
    check(
        "position_any",
        outcome(|| par().position_any(|at| items.visit(at))),
    );
    let found = |at| items.visit(at).then_some(at);
    check("find_map_any", outcome(|| par().find_map_any(found)));
    check("any", outcome(|| any(par().any(|at| items.visit(at)))));
    check("all", outcome(|| any(!par().all(|at| !items.visit(at)))));
}
