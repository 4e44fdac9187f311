//! Collecting items into collections.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use trefoil::prelude::*;

use crate::everywhere;

#[test]
fn every_collection() {
    everywhere(|| {
        for n in [0_u32, 1, 100, 5000] {
            let (all, some) = (|| (0..n).into_par_iter(), |i: &u32| i % 3 == 0);
            macro_rules! same {
                ($($type:ty),* $(,)?) => {$(
                    assert_eq!(all().collect::<$type>(), (0..n).collect::<$type>());
                    assert_eq!(all().filter(some).collect::<$type>(), (0..n).filter(some).collect::<$type>());
                )*};
            }
            same!(
                Vec<u32>,
                VecDeque<u32>,
                LinkedList<u32>,
                BTreeSet<u32>,
                HashSet<u32>,
                Box<[u32]>,
                Arc<[u32]>,
                Rc<[u32]>,
                Cow<'_, [u32]>,
            );
            assert_eq!(
                all().collect::<BinaryHeap<_>>().into_sorted_vec(),
                (0..n).collect::<Vec<_>>()
            );
            let pair = |i| (i % 50, i);
            // Of equal keys the last one stays.
            assert_eq!(
                all().map(pair).collect::<BTreeMap<_, _>>(),
                (0..n).map(pair).collect()
            );
            assert_eq!(
                all().map(pair).collect::<HashMap<_, _>>(),
                (0..n).map(pair).collect()
            );
            let pairs: (Vec<u32>, BTreeSet<u32>) = all().map(pair).collect();
            assert_eq!(pairs, ((0..n).map(|i| i % 50).collect(), (0..n).collect()));
            all().map(drop).collect::<()>();
        }
    });
}

/// Equal if the numbers are; the second one names the item.
#[derive(Clone, Copy, Debug)]
struct Named(u32, u32);

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Named {}
impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Named {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl std::hash::Hash for Named {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.0.hash(hasher);
    }
}

/// The keys and values, with their names.
fn names<T: std::fmt::Debug>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut names: Vec<String> = items.into_iter().map(|item| format!("{item:?}")).collect();
    names.sort();
    names
}

#[test]
fn of_equal_keys_the_one_that_std_keeps() {
    everywhere(|| {
        let items: Vec<Named> = (0..3000).map(|n| Named(n % 70, n)).collect();
        let pairs: Vec<(Named, u32)> = items.iter().map(|item| (*item, item.1)).collect();
        macro_rules! same {
            ($items:ident: $($type:ty),*) => {$(
                let all = || $items.par_iter().copied();
                let expected: $type = $items.iter().copied().collect();
                assert_eq!(names(all().collect::<$type>()), names(expected.clone()));
                assert_eq!(names(all().filter(|_| true).collect::<$type>()), names(expected.clone()));
                let some = all().map(Some).collect::<Option<$type>>().unwrap();
                assert_eq!(names(some), names(expected));
                let mut given: $type = $items[..100].iter().copied().collect();
                let mut extended = given.clone();
                given.par_extend(all());
                extended.extend($items.iter().copied());
                assert_eq!(names(given), names(extended));
                let (given, none): ($type, $type) = all().partition(|_| true);
                let (expected, _): ($type, $type) = $items.iter().copied().partition(|_| true);
                assert_eq!((names(given), none.len()), (names(expected), 0));
            )*};
        }
        same!(items: BTreeSet<Named>, HashSet<Named>);
        same!(pairs: BTreeMap<Named, u32>, HashMap<Named, u32>);
    });
}

#[test]
fn strings() {
    everywhere(|| {
        let text: String = (0..5000)
            .map(|i| char::from_u32(0xC0 + i % 300).unwrap())
            .collect();
        let chars: Vec<char> = text.chars().collect();
        assert_eq!(text.par_chars().collect::<String>(), text);
        assert_eq!(chars.par_iter().collect::<String>(), text);
        assert_eq!(
            chars.par_iter().map(char::to_string).collect::<String>(),
            text
        );
        assert_eq!(
            chars
                .par_iter()
                .map(|c| Cow::Owned(c.to_string()))
                .collect::<String>(),
            text
        );
        assert_eq!(
            chars
                .par_iter()
                .map(|c| c.to_string().into_boxed_str())
                .collect::<String>(),
            text
        );
        let parts: Vec<String> = chars.chunks(7).map(|part| part.iter().collect()).collect();
        assert_eq!(
            parts.par_iter().map(String::as_str).collect::<String>(),
            text
        );
        assert_eq!(Vec::<char>::new().into_par_iter().collect::<String>(), "");
    });
}

#[test]
fn what_may_fail() {
    everywhere(|| {
        for n in [0_u32, 1, 100, 5000] {
            let all = || (0..n).into_par_iter();
            let fails = |i: u32| if i % 61 == 60 { Err(i) } else { Ok(i) };
            let expected = (0..n).map(fails).collect::<Result<Vec<_>, _>>();
            assert_eq!(all().map(fails).collect::<Result<Vec<_>, _>>(), expected);
            assert_eq!(
                all()
                    .filter(|_| true)
                    .map(fails)
                    .collect::<Result<Vec<_>, _>>(),
                expected
            );
            assert_eq!(
                all().map(Ok::<_, ()>).collect::<Result<BTreeSet<_>, _>>(),
                Ok((0..n).collect())
            );
            let found: Option<Vec<u32>> = all().map(|i| fails(i).ok()).collect();
            assert_eq!(found, expected.ok());
            let nested: Result<Option<Vec<u32>>, ()> = all().map(|i| Ok(Some(i))).collect();
            assert_eq!(nested, Ok(Some((0..n).collect())));
            let nothing: Result<(), u32> = all().map(|i| fails(i).map(drop)).collect();
            assert_eq!(nothing.err(), (n > 60).then_some(60));
        }
    });
}

#[test]
fn what_is_there_already_stays() {
    everywhere(|| {
        let mut vec = vec![7];
        vec.par_extend(0..1000);
        vec.par_extend((0..1000).into_par_iter().filter(|i| i % 2 == 0));
        vec.par_extend(&[1, 2]);
        assert_eq!(
            vec,
            [7].into_iter()
                .chain(0..1000)
                .chain((0..1000).step_by(2))
                .chain([1, 2])
                .collect::<Vec<_>>()
        );
        let mut text = String::from("a");
        text.par_extend("bc".par_chars());
        assert_eq!(text, "abc");
        let mut set = BTreeSet::from([5000]);
        set.par_extend(0..1000);
        assert_eq!(set.len(), 1001);
        let mut both = (vec![1], vec!['a']);
        both.par_extend([(2, 'b'), (3, 'c')].into_par_iter());
        assert_eq!(both, (vec![1, 2, 3], vec!['a', 'b', 'c']));
    });
}

#[test]
fn in_the_vector_that_is_given() {
    everywhere(|| {
        let mut vec: Vec<u32> = Vec::with_capacity(5000);
        let place = vec.as_ptr();
        for n in [5000, 3] {
            (0..n)
                .into_par_iter()
                .map(|i| i + 1)
                .collect_into_vec(&mut vec);
            assert!(vec.iter().copied().eq(1..=n) && vec.as_ptr() == place);
        }
    });
}

#[test]
fn two_collections() {
    everywhere(|| {
        let (even, odd): (Vec<u32>, HashSet<u32>) =
            (0..5000).into_par_iter().partition(|i| i % 2 == 0);
        assert_eq!(
            (even, odd),
            (
                (0..5000).step_by(2).collect(),
                (1..5000).step_by(2).collect()
            )
        );
        let (n, text): (Vec<u32>, Vec<String>) = (0..5000)
            .into_par_iter()
            .map(|i| (i, i.to_string()))
            .unzip();
        assert!(n.iter().map(u32::to_string).eq(text));
        let ((a, b), c): ((Vec<u32>, Vec<u32>), Vec<u32>) =
            (0..50).into_par_iter().map(|i| ((i, i + 1), i + 2)).unzip();
        assert_eq!((a[49], b[49], c[49]), (49, 50, 51));
    });
}
