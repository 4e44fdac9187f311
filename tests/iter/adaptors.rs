//! Adaptors, one by one and on top of one another.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use trefoil::prelude::*;

use crate::everywhere;

/// Compares the parallel with the sequential iterator, for lengths around the limits.
macro_rules! same {
    (|$n:ident| $($par:expr => $seq:expr;)*) => {
        everywhere(|| for $n in [0_usize, 1, 2, 7, 64, 1000, 5000] {$(
            let expected: Vec<_> = $seq.collect();
            let given: Vec<_> = $par.collect();
            assert_eq!(given, expected, "{} of {}", stringify!($par), $n);
        )*});
    };
}

#[test]
fn items_one_by_one() {
    same!(|n|
        (0..n).into_par_iter().map(|i| i * 3) => (0..n).map(|i| i * 3);
        (0..n).into_par_iter().map(|i| i.to_string()) => (0..n).map(|i| i.to_string());
        (0..n).into_par_iter().filter(|i| i % 3 == 0) => (0..n).filter(|i| i % 3 == 0);
        (0..n).into_par_iter().filter_map(|i| (i % 3 == 0).then(|| i.to_string()))
            => (0..n).filter_map(|i| (i % 3 == 0).then(|| i.to_string()));
        (0..n).into_par_iter().flat_map_iter(|i| 0..i % 5) => (0..n).flat_map(|i| 0..i % 5);
        (0..n).into_par_iter().flat_map(|i| 0..i % 5) => (0..n).flat_map(|i| 0..i % 5);
        (0..n).into_par_iter().map(|i| vec![i; i % 3]).flatten() => (0..n).flat_map(|i| vec![i; i % 3]);
        (0..n).into_par_iter().map(|i| (i % 2 == 0).then_some(i)).flatten_iter() => (0..n).step_by(2);
        (0..n).into_par_iter().update(|i| *i += 1) => 1..=n;
        (0..n).collect::<Vec<_>>().par_iter().cloned() => 0..n;
        (0..n).collect::<Vec<_>>().par_iter().copied() => 0..n;
        (0..n).into_par_iter().map_with(7, |seven, i| *seven + i) => 7..n + 7;
        (0..n).into_par_iter().map_init(|| 7, |seven, i| *seven + i) => 7..n + 7;
    );
}

#[test]
fn items_where_they_stand() {
    same!(|n|
        (0..n).into_par_iter().map(|i| i * 3).enumerate() => (0..n).map(|i| i * 3).enumerate();
        (0..n).into_par_iter().rev() => (0..n).rev();
        (0..n).into_par_iter().map(|i| i + 1).rev().enumerate() => (1..=n).rev().enumerate();
        (0..n).into_par_iter().enumerate().rev() => (0..n).enumerate().rev();
        (0..n).into_par_iter().zip(5..n + 9) => (0..n).zip(5..);
        (0..n).into_par_iter().zip(vec!['a'; 50]).rev() => (0..n).zip(vec!['a'; 50]).rev();
        (0..n).into_par_iter().chain(3..9) => (0..n).chain(3..9);
        (0..n).into_par_iter().chain(3..9).rev() => (0..n).chain(3..9).rev();
        (0..n).into_par_iter().chain(3..9).enumerate().rev() => (0..n).chain(3..9).collect::<Vec<_>>().into_iter().enumerate().rev();
        (0..n).into_par_iter().filter(|i| i % 2 == 0).chain(3..9) => (0..n).step_by(2).chain(3..9);
        (0..n).into_par_iter().take(60) => (0..n).take(60);
        (0..n).into_par_iter().skip(60) => (0..n).skip(60);
        (0..n).into_par_iter().skip(5).take(7).rev() => (0..n).skip(5).take(7).rev();
        (0..n).into_par_iter().step_by(7) => (0..n).step_by(7);
        (0..n).into_par_iter().step_by(7).rev() => (0..n).step_by(7).rev();
        (0..n).into_par_iter().step_by(1).step_by(3).enumerate() => (0..n).step_by(3).enumerate();
        (0..n).into_par_iter().chunks(7) => (0..n).collect::<Vec<_>>().chunks(7).map(<[usize]>::to_vec);
        (0..n).into_par_iter().chunks(7).rev() => (0..n).collect::<Vec<_>>().chunks(7).rev().map(<[usize]>::to_vec);
        (0..n).into_par_iter().with_min_len(100).with_max_len(3).map(|i| i) => 0..n;
        (0..n).into_par_iter().map_init(|| 1, |one, i| i + *one).with_max_len(1).enumerate().rev() => (0..n).map(|i| (i, i + 1)).rev();
        (0..n).into_par_iter().positions(|i| i % 4 == 1) => (1..n).step_by(4);
    );
}

/// Steps over what nobody could go through one by one.
#[test]
fn steps_cost_nothing_for_what_they_leave_out() {
    const END: u64 = 1 << 62;
    const STEP: usize = 1 << 57;
    everywhere(|| {
        let all = || (0..END).into_par_iter();
        let expected: Vec<u64> = (0..END).step_by(STEP).collect();
        let back: Vec<u64> = (0..END).rev().step_by(STEP).collect();
        assert_eq!(all().step_by(STEP).collect::<Vec<_>>(), expected);
        assert_eq!(all().rev().step_by(STEP).collect::<Vec<_>>(), back);
        assert_eq!(all().step_by(STEP).rev().max(), expected.last().copied());
        assert_eq!(
            all().skip(STEP).step_by(STEP).collect::<Vec<_>>(),
            expected[1..]
        );
        assert_eq!(
            all().step_by(STEP / 4).step_by(4).collect::<Vec<_>>(),
            expected
        );
        let numbered = all().enumerate().step_by(STEP);
        assert!(
            numbered
                .map(|(at, n)| (at as u64, n))
                .all(|(at, n)| at == n)
        );
        assert_eq!(all().enumerate().rev().step_by(STEP).count(), 32);
        assert_eq!(
            all()
                .zip(1..=END)
                .step_by(STEP)
                .map(|(a, _)| a)
                .collect::<Vec<_>>(),
            expected
        );
        let chained = || (0..END / 2 + 3).into_par_iter().chain(END / 2 + 3..END);
        assert_eq!(chained().step_by(STEP).collect::<Vec<_>>(), expected);
        assert_eq!(chained().rev().step_by(STEP).collect::<Vec<_>>(), back);
        assert_eq!(
            all()
                .map(|n| n + 1)
                .step_by(STEP)
                .map(|n| n - 1)
                .collect::<Vec<_>>(),
            expected
        );
        assert_eq!(all().chunks(STEP).len(), 32);
        assert_eq!((0..=u64::MAX - 1).into_par_iter().count(), usize::MAX);
        let units = vec![(); usize::MAX >> 1];
        assert_eq!(units.par_iter().copied().step_by(STEP).count(), 64);
        assert_eq!(units.into_par_iter().step_by(STEP).count(), 64);
        let (made, few) = (AtomicUsize::new(0), 1000..9000);
        let items = few
            .into_par_iter()
            .map(|n| (made.fetch_add(1, Relaxed), n).1);
        assert_eq!(
            items.step_by(1000).collect::<Vec<_>>(),
            (1000..9000).step_by(1000).collect::<Vec<_>>()
        );
        assert_eq!(made.load(Relaxed), 8);
        let characters = ('\0'..=char::MAX).into_par_iter().step_by(100_000);
        assert_eq!(
            characters.collect::<Vec<_>>(),
            ('\0'..=char::MAX).step_by(100_000).collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_generic_function_takes_any() {
    fn total(items: impl ParallelIterator<Item = u32>) -> u32 {
        items.filter(|n| n % 2 == 1).sum()
    }
    fn last<I: IndexedParallelIterator>(items: I) -> Option<(usize, I::Item)> {
        items.enumerate().rev().find_first(|_| true)
    }
    fn each<C: IntoParallelIterator<Item: ToString>>(items: C) -> Vec<String> {
        items.into_par_iter().map(|item| item.to_string()).collect()
    }
    fn borrowed<'a, C: ?Sized + IntoParallelRefIterator<'a, Item = &'a u32>>(items: &'a C) -> u32 {
        items.par_iter().copied().sum()
    }
    everywhere(|| {
        assert_eq!(total((0..10_u32).into_par_iter()), 25);
        assert_eq!(total(vec![1, 2, 3].into_par_iter().map(|n| n + 2)), 8);
        assert_eq!(last("abc".par_bytes()), Some((2, b'c')));
        assert_eq!(each(vec![1, 2]), ["1", "2"]);
        assert_eq!(each(&[1, 2]), ["1", "2"]);
        assert_eq!(borrowed(&vec![1, 2]), 3);
        assert_eq!(borrowed([1, 2].as_slice()), 3);
    });
}

#[test]
fn the_pools_own_map_takes_them_too() {
    let pool = trefoil::ThreadPool::with_threads(2);
    let even = (0..10).into_par_iter().filter(|n| n % 2 == 0);
    assert_eq!(pool.map(even, |n| n * n), [0, 4, 16, 36, 64]);
    let text = pool.map_reduce(
        "a b".par_split_whitespace(),
        str::to_owned,
        String::new,
        |a, b| a + &b,
    );
    assert_eq!(text, "ab");
}

#[test]
fn a_state_is_made_for_few_pieces() {
    everywhere(|| {
        let made = AtomicUsize::new(0);
        let init = || made.fetch_add(1, Relaxed);
        (0..100_000).into_par_iter().for_each_init(init, |_, _| ());
        // Two pieces for each thread, and those that thieves make.
        assert!((1..200).contains(&made.load(Relaxed)), "{made:?}");
        made.store(0, Relaxed);
        let sum: u64 = (0..100_000_u64)
            .into_par_iter()
            .map_init(init, |_, n| n)
            .sum();
        assert_eq!((sum, made.load(Relaxed)), (4_999_950_000, 64));
        made.store(0, Relaxed);
        (0..100)
            .into_par_iter()
            .map_init(init, |_, _| ())
            .with_max_len(1)
            .for_each(|()| ());
        assert_eq!(made.load(Relaxed), 100);
        let rc = (0..100)
            .into_par_iter()
            .map_init(|| std::rc::Rc::new(1), |one, n| n + **one);
        assert_eq!(rc.sum::<i32>(), 5050); // a state that is not `Send`
    });
}

#[test]
fn a_step_of_nothing_is_refused() {
    let refused = |f: fn()| assert!(std::panic::catch_unwind(f).is_err());
    refused(|| _ = (0..9).into_par_iter().step_by(0));
    refused(|| _ = (0..9).into_par_iter().chunks(0));
    refused(|| _ = [1].par_chunks(0));
    refused(|| _ = [1].par_windows(0));
}
