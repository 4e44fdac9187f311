//! The sources of parallel iterators.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use trefoil::prelude::*;

use crate::everywhere;

#[test]
fn ranges() {
    everywhere(|| {
        macro_rules! same {
            ($($range:expr),* $(,)?) => {$(
                let expected: Vec<_> = $range.collect();
                assert_eq!($range.into_par_iter().collect::<Vec<_>>(), expected);
                let back: Vec<_> = $range.rev().collect();
                assert_eq!($range.into_par_iter().rev().collect::<Vec<_>>(), back);
            )*};
        }
        #[allow(clippy::reversed_empty_ranges)]
        {
            same!(
                0..1000_u32,
                0..=255_u8,
                -100..100_i8,
                5..5,
                7..3,
                7..=3,
                -5..=5_i128,
                250..=255_u8,
                usize::MAX - 10..usize::MAX,
                u64::MAX - 5..=u64::MAX,
                'a'..'z',
                '\0'..'\u{E100}',
                'x'..='z',
            );
        }
        assert_eq!(
            ('\0'..=char::MAX).into_par_iter().count(),
            0x11_0000 - 0x800
        );
    });
}

#[test]
fn slices() {
    everywhere(|| {
        for n in [0_usize, 1, 6, 7, 8, 1000] {
            let mut items: Vec<usize> = (0..n).collect();
            let expected = items.clone();
            macro_rules! same {
                ($($method:ident, $std:ident;)*) => {$(
                    let given: Vec<Vec<usize>> = items.$method(7).map(|part| part.to_vec()).collect();
                    let parts: Vec<_> = expected.$std(7).collect();
                    assert_eq!(given, parts);
                    let back: Vec<Vec<usize>> = items.$method(7).rev().map(|part| part.to_vec()).collect();
                    assert_eq!(back, parts.into_iter().rev().collect::<Vec<_>>());
                    assert_eq!(items.$method(7).len(), expected.$std(7).len());
                )*};
            }
            same!(
                par_chunks, chunks; par_chunks_exact, chunks_exact; par_windows, windows;
                par_chunks_mut, chunks; par_chunks_exact_mut, chunks_exact;
            );
            items.par_iter_mut().for_each(|item| *item += 1);
            assert!(items.iter().copied().eq(1..=n));
            items
                .par_chunks_mut(3)
                .enumerate()
                .for_each(|(at, chunk)| chunk.fill(at));
            assert!(items.iter().enumerate().all(|(at, item)| *item == at / 3));
        }
    });
}

#[test]
fn strings() {
    everywhere(|| {
        let long: String = (0..3000)
            .map(|i| ["wört ", "\n", "x\r\n", "日本語", "\u{2003}", "a"][i * i % 6])
            .collect();
        for text in [
            "",
            "a",
            "\n",
            "a\n\nb",
            "日本語",
            " ",
            "no end of line",
            &long,
        ] {
            assert_eq!(text.par_chars().collect::<String>(), text);
            assert!(
                text.par_chars()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .eq(text.chars())
            );
            assert!(
                text.par_bytes()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .eq(text.bytes())
            );
            assert!(
                text.par_lines()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .eq(text.lines())
            );
            assert!(
                text.par_split_whitespace()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .eq(text.split_whitespace())
            );
        }
        let one_line = "x".repeat(100_000);
        assert_eq!(one_line.par_lines().count(), 1);
        assert_eq!(one_line.par_split_whitespace().count(), 1);
    });
}

#[test]
fn collections() {
    everywhere(|| {
        fn sum<C>(items: C) -> u64
        where
            C: Clone
                + IntoParallelIterator<Item = u64>
                + for<'a> IntoParallelRefIterator<'a, Item = &'a u64>,
        {
            assert_eq!(items.par_iter().sum::<u64>(), 4950);
            items.into_par_iter().sum()
        }
        let all = || 0..100_u64;
        assert_eq!(sum(all().collect::<Vec<_>>()), 4950);
        assert_eq!(sum(all().collect::<VecDeque<_>>()), 4950);
        assert_eq!(sum(all().collect::<LinkedList<_>>()), 4950);
        assert_eq!(sum(all().collect::<BinaryHeap<_>>()), 4950);
        assert_eq!(sum(all().collect::<BTreeSet<_>>()), 4950);
        assert_eq!(sum(all().collect::<HashSet<_>>()), 4950);
        assert_eq!(sum(all().collect::<Box<[_]>>()), 4950);
        let mut map: BTreeMap<u64, u64> = all().map(|n| (n, n)).collect();
        map.par_iter_mut().for_each(|(_, value)| *value *= 2);
        assert_eq!(
            map.par_iter().map(|(key, value)| key + value).sum::<u64>(),
            3 * 4950
        );
        let mut map: HashMap<u64, u64> = map.into_par_iter().collect();
        map.par_iter_mut().for_each(|(_, value)| *value /= 2);
        assert_eq!(
            map.into_par_iter()
                .map(|(key, value)| key + value)
                .sum::<u64>(),
            2 * 4950
        );
        assert_eq!(Some(3).into_par_iter().sum::<u32>(), 3);
        assert_eq!(Err::<u32, _>("no").into_par_iter().count(), 0);
        assert_eq!([4, 5].into_par_iter().rev().collect::<Vec<_>>(), [5, 4]);
        let mut array = [1, 2];
        array.par_iter_mut().for_each(|n| *n += 1);
        assert_eq!(array, [2, 3]);
        let mut some: Vec<u32> = (0..100).collect();
        assert_eq!(
            some.par_drain(10..).collect::<Vec<_>>(),
            (10..100).collect::<Vec<_>>()
        );
        assert_eq!(some.len(), 10);
    });
}

#[test]
fn any_iterator() {
    everywhere(|| {
        for n in [0_u64, 1, 5000] {
            let mut all: Vec<u64> = (0..n).par_bridge().collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..n));
            assert_eq!(
                (0..n).par_bridge().map(|i| i * i).sum::<u64>(),
                (0..n).map(|i| i * i).sum()
            );
        }
        // `next` is not called again after it has returned `None`.
        let asked = AtomicUsize::new(0);
        let items = std::iter::from_fn(|| (asked.fetch_add(1, Relaxed) < 100).then_some(1));
        assert_eq!(items.par_bridge().count(), 100);
        assert_eq!(asked.load(Relaxed), 101);
        // Nor after a panic.
        asked.store(0, Relaxed);
        let items = std::iter::from_fn(|| match asked.fetch_add(1, Relaxed) {
            50 => panic!("a bad iterator"),
            _ => Some(1),
        });
        let caught = catch_unwind(AssertUnwindSafe(|| items.par_bridge().count()));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"a bad iterator"));
        assert_eq!(asked.load(Relaxed), 51);
    });
}

/// Bridges that end while others cut what is behind and before them.
#[test]
fn any_iterator_in_a_chain() {
    everywhere(|| {
        let slice: Vec<u64> = (1000..1003).collect();
        let expected: Vec<u64> = (0..20).chain(1000..1003).collect();
        for _ in 0..300 {
            let bridge = || (0..20_u64).par_bridge();
            let sorted = |mut items: Vec<u64>| {
                items.sort_unstable();
                items
            };
            let all = bridge().chain(slice.par_iter().copied());
            assert_eq!(sorted(all.collect()), expected);
            assert_eq!(
                sorted((1000..1003).into_par_iter().chain(bridge()).collect()),
                expected
            );
            assert_eq!(
                bridge().chain(1000..1003_u64).filter(|n| *n < 2000).count(),
                23
            );
            let strange = bridge()
                .chain(1000..1003_u64)
                .find_any(|n| !expected.contains(n));
            assert_eq!(strange, None);
        }
    });
}
