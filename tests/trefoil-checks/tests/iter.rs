//! Parallel iterators compared with rayon's: the same calls with either prelude, on random numbers.
#![cfg(not(loom))]

use proptest::prelude::*;
use trefoil::ThreadPool;

/// The results of the same calls, with whichever prelude is in scope.
macro_rules! calls {
    ($items:ident, $n:ident) => {{
        let items: &Vec<u32> = $items;
        let n: usize = $n;
        let odd = |x: &&u32| **x % 2 == 1;
        let text: String = items
            .iter()
            .map(|x| char::from_u32(32 + x % 300).unwrap_or(' '))
            .collect();
        let mut stable: Vec<(u32, usize)> = items.iter().map(|x| x % 10).zip(0..).collect();
        stable.par_sort_by_key(|pair| pair.0);
        let mut sorted = items.clone();
        sorted.par_sort_unstable();
        let mut cached = items.clone();
        cached.par_sort_by_cached_key(|x| x.to_string());
        let mut places = items.clone();
        places
            .par_chunks_mut(n)
            .enumerate()
            .for_each(|(at, chunk)| chunk.reverse_with(at));
        let mut extended = vec![1];
        extended.par_extend(items.par_iter().copied().filter(|x| x % 3 == 0));
        let numbers: Vec<Vec<u32>> = vec![
            items.par_iter().map(|x| x ^ 7).collect(),
            items
                .par_iter()
                .copied()
                .rev()
                .filter(|x| x % 3 == 0)
                .collect(),
            items
                .par_iter()
                .skip(n)
                .take(2 * n)
                .step_by(n)
                .copied()
                .collect(),
            items
                .par_iter()
                .zip(items.par_iter().rev())
                .map(|(a, b)| a ^ b)
                .collect(),
            items
                .par_iter()
                .chain(items)
                .copied()
                .enumerate()
                .map(|(i, x)| x ^ i as u32)
                .rev()
                .collect(),
            items.par_iter().flat_map_iter(|x| 0..x % 4).collect(),
            items
                .par_iter()
                .flat_map(|x| (0..x % 4).into_par_iter())
                .collect(),
            items
                .par_chunks(n)
                .map(|chunk| chunk.iter().fold(0, |a, b| a ^ b))
                .collect(),
            items
                .par_windows(n)
                .map(|window| window[0] ^ window[n - 1])
                .collect(),
            items
                .par_iter()
                .copied()
                .chunks(n)
                .map(|chunk| chunk[0])
                .collect(),
            (0..n as u32 * 100)
                .into_par_iter()
                .with_min_len(n)
                .map_init(|| 1, |one, x| x + *one)
                .collect(),
            text.par_chars().map(u32::from).collect(),
            text.par_split_whitespace()
                .map(|word| word.len() as u32)
                .collect(),
            items
                .par_iter()
                .positions(|x| x % 5 == 0)
                .map(|at| at as u32)
                .collect(),
            sorted,
            cached,
            places,
            extended,
        ];
        let (left, right): (Vec<u32>, Vec<u32>) =
            items.par_iter().copied().partition(|x| x % 2 == 0);
        let (a, b): (Vec<u32>, Vec<u32>) = items.par_iter().map(|x| (x / 2, x % 2)).unzip();
        let ends = (
            items.par_iter().map(|x| u64::from(*x)).sum::<u64>(),
            items.par_iter().copied().min(),
            items.par_iter().copied().max(),
            items.par_iter().filter(odd).count(),
            items.par_iter().copied().reduce(|| 0, |a, b| a ^ b),
            items
                .par_iter()
                .fold(|| 0, |a, b| a ^ b)
                .reduce(|| 0, |a, b| a ^ b),
            items.par_iter().any(|x| x % 64 == 0),
            items.par_iter().all(|x| x % 64 != 0),
            items.par_iter().copied().find_first(|x| x % 7 == 0),
            items.par_iter().copied().find_last(|x| x % 7 == 0),
            items.par_iter().position_first(|x| x % 7 == 0),
        );
        let fails = (
            items
                .par_iter()
                .map(|x| (x % 64 > 0).then_some(*x))
                .collect::<Option<Vec<u32>>>(),
            items
                .par_iter()
                .try_for_each(|x| if x % 64 > 0 { Ok(()) } else { Err(()) }),
            items
                .par_iter()
                .map(|x| (x % 64 > 0).then_some(*x))
                .try_reduce(|| 0, |a, b| Some(a ^ b)),
            items
                .par_iter()
                .map(|x| x % 100)
                .collect::<std::collections::BTreeSet<u32>>(),
        );
        (
            numbers,
            stable,
            (left, right, a, b),
            ends,
            fails,
            text.par_lines().collect::<String>(),
        )
    }};
}

/// What folds of no items give, with whichever prelude is in scope.
macro_rules! nothing {
    () => {{
        let none = || Vec::<u32>::new().into_par_iter();
        let add = |a: u32, b: u32| a + b;
        let slices: &[&[u32]] = &[&[], &[]];
        (
            none().fold(|| 7, add).collect::<Vec<_>>(),
            none().fold(|| 7, add).sum::<u32>(),
            none().fold(|| 7, add).reduce(|| 0, add),
            none().fold(|| 7, add).max(),
            none().fold_with(7, add).count(),
            none()
                .map(|x| x + 1)
                .filter(|x| *x > 3)
                .fold(|| 7, add)
                .collect::<Vec<_>>(),
            (0..0_u32)
                .into_par_iter()
                .fold(|| 7, add)
                .collect::<Vec<_>>(),
            "".par_chars().fold(|| 7, |a, _| a).collect::<Vec<_>>(),
            (
                none().fold(|| 7, add).find_first(|x| *x == 7),
                none()
                    .fold(|| 7, add)
                    .map(Some)
                    .try_reduce(|| 0, |a, b| Some(a + b)),
                (none().sum::<u32>(), none().max(), none().reduce(|| 3, add)),
                (
                    none().count(),
                    none().map_init(|| 1, |_, x| x).collect::<Vec<_>>(),
                ),
                slices
                    .par_iter()
                    .map(|slice| slice.par_iter().copied().fold(|| 7, add).sum::<u32>())
                    .collect::<Vec<_>>(),
            ),
        )
    }};
}

trait ReverseWith {
    fn reverse_with(&mut self, at: usize);
}

impl ReverseWith for [u32] {
    fn reverse_with(&mut self, at: usize) {
        self.reverse();
        self[0] ^= at as u32;
    }
}

mod here {
    use super::ReverseWith;
    use trefoil::prelude::*;

    pub(crate) fn calls(
        items: &Vec<u32>,
        n: usize,
    ) -> impl PartialEq + std::fmt::Debug + Send + use<> {
        Some(Box::new(calls!(items, n)))
    }

    pub(crate) fn nothing() -> impl PartialEq + std::fmt::Debug + Send {
        nothing!()
    }
}

mod theirs {
    use super::ReverseWith;
    use rayon::prelude::*;

    pub(crate) fn calls(
        items: &Vec<u32>,
        n: usize,
    ) -> impl PartialEq + std::fmt::Debug + Send + use<> {
        Some(Box::new(calls!(items, n)))
    }

    pub(crate) fn nothing() -> impl PartialEq + std::fmt::Debug + Send {
        nothing!()
    }
}

#[test]
fn of_nothing_there_is_what_rayon_gives() {
    for threads in 1..4 {
        let ours = ThreadPool::with_threads(threads).install(here::nothing);
        assert_eq!(format!("{ours:?}"), format!("{:?}", theirs::nothing()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn results_are_rayons(items in prop::collection::vec(any::<u32>(), 0..6000), n in 1_usize..40, threads in 1_usize..5) {
        let pool = ThreadPool::with_threads(threads);
        let ours = pool.install(|| here::calls(&items, n));
        prop_assert_eq!(format!("{ours:?}"), format!("{:?}", theirs::calls(&items, n)));
    }
}
