//! Sorting compared with std's sorts; and the items after a panic in the comparison.

use std::cell::Cell;
use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use trefoil::prelude::*;

use crate::{everywhere, mixed};

const LENGTHS: [usize; 8] = [0, 1, 2, 20, 2048, 2049, 10_000, 30_001];

/// Sequences that are hard, or easy, to sort.
fn shapes(n: usize) -> Vec<Vec<u64>> {
    let numbers = || mixed(n as u64).take(n);
    let rising: Vec<u64> = (0..n as u64).collect();
    let mut nearly = rising.clone();
    if n > 50 {
        nearly.swap(7, 49);
    }
    vec![
        numbers().collect(),
        numbers().map(|x| x % 4).collect(),
        vec![5; n],
        rising.iter().rev().copied().collect(),
        rising.iter().map(|x| x % 1000).collect(),
        rising
            .iter()
            .map(|x| x.min(&(n as u64 - x)).to_owned())
            .collect(),
        nearly,
        rising,
    ]
}

#[test]
fn in_place() {
    let cases: Arc<[_]> = LENGTHS
        .into_iter()
        .flat_map(shapes)
        .map(|items| {
            let (mut rising, mut falling) = (items.clone(), items.clone());
            rising.sort_unstable();
            falling.sort_unstable_by(|a, b| b.cmp(a));
            (items, rising, falling)
        })
        .collect();
    everywhere(move || {
        for (items, rising, falling) in &*cases {
            let mut given = items.clone();
            given.par_sort_unstable();
            assert_eq!(given, *rising);
            given.clone_from(items);
            given.par_sort_unstable_by_key(|x| u64::MAX - x);
            assert_eq!(given, *falling);
            given.clone_from(items);
            given.par_sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(given, *falling);
        }
    });
}

#[test]
fn equal_items_keep_their_order() {
    let cases: Arc<[_]> = LENGTHS
        .into_iter()
        .flat_map(shapes)
        .map(|items| {
            let items: Vec<(u64, usize)> = items.into_iter().map(|x| x % 100).zip(0..).collect();
            let (mut by_key, mut by_text, mut whole) =
                (items.clone(), items.clone(), items.clone());
            by_key.sort_by_key(|item| item.0);
            by_text.sort_by_cached_key(|item| item.0.to_string());
            whole.sort();
            (items, by_key, by_text, whole)
        })
        .collect();
    everywhere(move || {
        for (items, by_key, by_text, whole) in &*cases {
            let mut given = items.clone();
            given.par_sort_by_key(|item| item.0);
            assert_eq!(given, *by_key);
            given.clone_from(items);
            given.par_sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(given, *by_key);
            given.clone_from(items);
            given.par_sort_by_cached_key(|item| item.0.to_string());
            assert_eq!(given, *by_text);
            given.clone_from(items);
            given.par_sort();
            assert_eq!(given, *whole);
        }
    });
}

/// Sorts by each stable method, and each unstable one, with a comparison that is counted. Returns
/// the numbers of comparisons, and whether an item was compared outside the slice.
fn counted(items: &[u64], sorts: &[fn(&mut [u64], &Compare<'_>)]) -> Vec<(usize, bool)> {
    let count = |sort: &fn(&mut [u64], &Compare<'_>)| {
        let (mut given, calls) = (items.to_vec(), AtomicUsize::new(0));
        let (inside, moved) = (given.as_ptr_range(), AtomicUsize::new(0));
        let inside = inside.start.addr()..inside.end.addr();
        sort(&mut given, &|a, b| {
            calls.fetch_add(1, Relaxed);
            let away = |item| !inside.contains(&std::ptr::from_ref::<u64>(item).addr());
            moved.fetch_add(usize::from(away(a) || away(b)), Relaxed);
            a.cmp(b)
        });
        assert!(given.is_sorted());
        (calls.into_inner(), moved.into_inner() > 0)
    };
    sorts.iter().map(count).collect()
}

type Compare<'a> = dyn Fn(&u64, &u64) -> Ordering + Sync + 'a;

#[test]
fn what_is_in_order_is_compared_once_and_not_moved() {
    const N: u64 = 100_000;
    everywhere(|| {
        let ours: [fn(&mut [u64], &Compare<'_>); 2] = [
            |items, by| items.par_sort_by(by),
            |items, by| items.par_sort_unstable_by(by),
        ];
        let stds: [fn(&mut [u64], &Compare<'_>); 1] = [|items, by| items.sort_by(by)];
        let rising: Vec<u64> = (0..N).collect();
        for items in [
            rising.clone(),
            vec![5; N as usize],
            rising.iter().map(|x| x / 1000).collect(),
            rising.iter().rev().copied().collect(),
        ] {
            for (calls, moved) in counted(&items, &ours) {
                assert!(calls < N as usize + 100 && !moved, "{calls} comparisons");
            }
        }
        // A few items in other places: of the stable sort little more than std's.
        for distance in [1, 100, N as usize / 2] {
            let mut nearly = rising.clone();
            (0..5).for_each(|at| nearly.swap(at * 10_007, at * 10_007 + distance));
            let (ours, stds) = (
                counted(&nearly, &ours[..1])[0].0,
                counted(&nearly, &stds)[0].0,
            );
            assert!(
                ours < stds + 2 * N as usize,
                "{ours} comparisons, std {stds}"
            );
        }
        // The key that is computed once, by a sort of the keys.
        let keys = AtomicUsize::new(0);
        let mut cached = rising.clone();
        cached.par_sort_by_cached_key(|x| (keys.fetch_add(1, Relaxed), *x).1);
        assert_eq!((keys.into_inner(), cached == rising), (N as usize, true));
    });
}

#[test]
fn items_with_memory_and_items_of_nothing() {
    everywhere(|| {
        let mut given: Vec<String> = mixed(3)
            .take(20_000)
            .map(|n| (n % 1000).to_string())
            .collect();
        let mut expected = given.clone();
        expected.sort();
        let mut other = given.clone();
        given.par_sort();
        other.par_sort_unstable();
        assert!(given == expected && other == expected);
        let mut nothing = vec![(); 10_000];
        nothing.par_sort();
        nothing.par_sort_unstable();
    });
}

/// Counts its drops; comparisons change it, which is allowed.
struct Item {
    value: u64,
    compared: Cell<u32>,
    dropped: Arc<Vec<AtomicUsize>>,
    at: usize,
    heap: Cell<Option<Box<u32>>>,
}

impl Drop for Item {
    fn drop(&mut self) {
        self.dropped[self.at].fetch_add(1, Relaxed);
    }
}

/// Sorts with a comparison that panics after some calls. Afterwards each item is there once.
fn panics_after(
    calls: usize,
    n: usize,
    sort: impl Fn(&mut [Item], &(dyn Fn(&Item, &Item) -> Ordering + Sync)),
) -> bool {
    let dropped = Arc::new((0..n).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
    let mut items: Vec<Item> = mixed(calls as u64)
        .take(n)
        .enumerate()
        .map(|(at, value)| Item {
            value,
            compared: Cell::new(0),
            dropped: Arc::clone(&dropped),
            at,
            heap: Cell::new(None),
        })
        .collect();
    let left = AtomicUsize::new(calls);
    let compare = |a: &Item, b: &Item| {
        if left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_err()
        {
            panic!("a bad comparison");
        }
        for item in [a, b] {
            let count = item.compared.get() + 1;
            item.compared.set(count);
            assert!(
                item.heap
                    .replace(Some(Box::new(count)))
                    .is_none_or(|was| *was + 1 == count)
            );
        }
        a.value.cmp(&b.value)
    };
    let ended = catch_unwind(AssertUnwindSafe(|| sort(&mut items, &compare))).is_ok();
    assert!(!ended || items.is_sorted_by_key(|item| item.value));
    let mut places: Vec<usize> = items.iter().map(|item| item.at).collect();
    places.sort_unstable();
    assert!(
        places.into_iter().eq(0..n),
        "an item is lost, or there twice"
    );
    for item in &items {
        assert_eq!(
            item.heap.take().map_or(0, |count| *count),
            item.compared.get(),
            "an old copy came back"
        );
    }
    assert!(dropped.iter().all(|count| count.load(Relaxed) == 0));
    drop(items);
    assert!(dropped.iter().all(|count| count.load(Relaxed) == 1));
    ended
}

#[test]
fn a_panic_leaves_every_item_there_once() {
    everywhere(|| {
        let n = 5_000;
        for sort in [
            |items: &mut [Item], by: &(dyn Fn(&Item, &Item) -> Ordering + Sync)| {
                items.par_sort_by(by)
            },
            |items: &mut [Item], by: &(dyn Fn(&Item, &Item) -> Ordering + Sync)| {
                items.par_sort_unstable_by(by)
            },
        ] {
            let mut calls = 1;
            let mut panics = 0;
            while !panics_after(calls, n, sort) {
                panics += 1;
                calls += 1 + calls / 10 + n / 7;
            }
            assert!(panics > 20, "{panics}");
        }
    });
}

#[test]
fn an_order_that_is_none_harms_nothing() {
    everywhere(|| {
        let mut items: Vec<u64> = mixed(5).take(50_000).collect();
        let mut expected = items.clone();
        expected.sort_unstable();
        let odd = |a: &u64, b: &u64| {
            if (a ^ b) % 3 == 0 {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        };
        _ = catch_unwind(AssertUnwindSafe(|| items.par_sort_unstable_by(odd)));
        _ = catch_unwind(AssertUnwindSafe(|| items.par_sort_by(odd)));
        items.sort_unstable();
        assert_eq!(items, expected);
    });
}
