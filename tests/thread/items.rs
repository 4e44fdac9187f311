//! What `map` and its siblings take beside collections.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::panic::catch_unwind;
use std::sync::Arc;

use deadline::within_deadline;
use trefoil::ThreadPool;

#[test]
fn iterators_over_memory_and_their_adaptors() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(3);
        let mut numbers: Vec<u32> = (0..1000).collect();
        let text = "three leaves\non one\n\nstem";
        macro_rules! same {
            ($($items:expr),* $(,)?) => {$(
                let expected: Vec<String> = $items.map(|item| format!("{item:?}")).collect();
                assert!(!expected.is_empty());
                assert_eq!(pool.map($items, |item| format!("{item:?}")), expected);
            )*};
        }
        same!(
            numbers.iter(),
            numbers.iter_mut(),
            numbers.clone().into_iter(),
            numbers.chunks(3),
            numbers.chunks_mut(3),
            numbers.chunks_exact(3),
            numbers.chunks_exact_mut(3),
            numbers.windows(7),
            numbers.clone().drain(2..),
            text.lines(),
            text.split(' '),
            text.chars(),
            text.bytes(),
            text.split_whitespace(),
            numbers.iter().rev(),
            (0..100).rev(),
            (0..100).step_by(7),
            (0..=100_u8).skip(3),
            (0..).take(100),
            numbers.iter().zip(text.lines()),
            (1..).zip(text.lines()),
            text.lines().enumerate(),
            numbers.chunks_mut(10).enumerate(),
            numbers.iter().chain(&[7, 8]),
            numbers.iter().cloned(),
            numbers.iter().copied().rev().enumerate().skip(1),
            numbers.iter().map(|n| n * 2),
        );
        let sorted: BTreeMap<_, _> = (0..50).map(|n| (n, n * n)).collect();
        let mut hashed: HashMap<_, _> = sorted.clone().into_iter().collect();
        same!(sorted.keys(), sorted.values(), sorted.clone().values_mut());
        same!(hashed.keys(), hashed.values(), hashed.values_mut());
        same!(sorted.iter(), sorted.clone().iter_mut());
        same!(hashed.iter(), hashed.iter_mut());
        let mut deque: VecDeque<u32> = numbers.iter().copied().collect();
        same!(deque.iter(), deque.iter_mut());
        let ordered: BTreeSet<u32> = numbers.iter().copied().collect();
        let set: HashSet<u32> = numbers.iter().copied().collect();
        same!(ordered.iter(), set.iter());
    });
}

#[test]
fn what_is_borrowed_mutably_is_changed_in_place() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(3);
        let mut pixels = vec![0; 1000];
        pool.for_each(pixels.chunks_mut(10).enumerate(), |(row, pixels)| {
            pixels.fill(row);
        });
        assert!(pixels.iter().enumerate().all(|(at, &row)| row == at / 10));
        pool.for_each(pixels.iter_mut().zip(0..), |(pixel, at)| *pixel = at);
        assert!(pixels.iter().enumerate().all(|(at, &pixel)| pixel == at));
        let sum = pool.map_reduce(pixels.windows(2), |w| w[1] - w[0], || 0, |a, b| a + b);
        assert_eq!(sum, 999);
        let odd = pool.try_map(
            pixels.iter().rev(),
            |&n| if n < 1000 { Ok(n) } else { Err(n) },
        );
        assert_eq!(odd.unwrap()[0], 999);
    });
}

#[test]
fn what_a_collected_iterator_does_not_give_out_is_dropped() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(3);
        let token = Arc::new(());
        let tokens = vec![Arc::clone(&token); 100];
        let failed = pool.try_map(tokens.into_iter().enumerate(), |(at, _)| {
            if at == 5 { Err(at) } else { Ok(at) }
        });
        assert_eq!(failed, Err(5));
        assert_eq!(Arc::strong_count(&token), 1);
    });
}

#[test]
fn an_iterator_without_an_end_is_refused_in_words() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let step = if cfg!(target_pointer_width = "64") {
            1000
        } else {
            2
        };
        let refused = |endless: &dyn Fn()| {
            let payload = catch_unwind(std::panic::AssertUnwindSafe(endless)).unwrap_err();
            let said = payload.downcast_ref::<&str>().unwrap();
            assert!(said.contains("imap"), "{said}");
        };
        refused(&|| pool.for_each((0_u64..).enumerate(), |_| ()));
        refused(&|| pool.for_each((0_u64..).step_by(step), |_| ()));
    });
}
