//! What `src/iter/missing.md` names instead of rayon's methods: each piece of code of its table is
//! here, compiled and run.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::iter::repeat_n;

use trefoil::prelude::*;

const PAGE: &str = include_str!("../../src/iter/missing.md");
const HERE: &str = include_str!("from_rayon.rs");

#[test]
fn each_code_of_the_table_is_below() {
    let below = HERE
        .split_once("fn rows()")
        .map(|(_, below)| squeezed(below));
    let table = PAGE
        .split_once("What to write instead:")
        .map(|(_, table)| table);
    let rows = table.unwrap().lines().skip(4);
    let (mut count, below) = (0, below.unwrap());
    for row in rows.take_while(|row| row.starts_with('|')) {
        let row = row.replace("\\|", "\u{1}");
        let instead = row.split('|').nth(2).unwrap();
        for code in instead.split('`').skip(1).step_by(2) {
            let code = squeezed(&code.replace('\u{1}', "|"));
            assert!(below.contains(&code), "no test has {code}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

fn squeezed(code: &str) -> String {
    code.split_whitespace().collect()
}

#[test]
fn rows() {
    let (a, b, c) = ([1, 2, 3], [1, 2, 4], [5, 6, 7]);
    let equal = a.len() == b.len() && a.par_iter().zip(&b).all(|(a, b)| a == b);
    let order = a
        .par_iter()
        .zip(&b)
        .map(|(a, b)| a.cmp(b))
        .find_first(|order| order.is_ne());
    assert_eq!((equal, order), (false, Some(Ordering::Less)));
    let (x, y) = ([0.0, 1.5], [-0.0, 1.0]);
    let order = x
        .par_iter()
        .zip(&y)
        .map(|(a, b)| a.partial_cmp(b))
        .find_first(|order| *order != Some(Ordering::Equal));
    assert_eq!(order, Some(Some(Ordering::Greater)));
    let sums = a.par_iter().zip(&b).zip(&c);
    let sums = sums.map(|((a, b), c)| a + b + c);
    assert_eq!(sums.collect::<Vec<_>>(), [7, 10, 14]);

    let n = 2;
    let folded = a
        .into_par_iter()
        .chunks(n)
        .map(|chunk| chunk.into_iter().fold(0, |a, b| a + b));
    assert_eq!(folded.collect::<Vec<i32>>(), [3, 3]);
    let (left, right): (Vec<_>, Vec<_>) = folded_pairs().unzip();
    assert_eq!((left, right), (vec![0, 1], vec![0, 10]));
    let f = |n: i32| if n < 2 { Ok(n) } else { Err(n) };
    let (left, right): (Vec<_>, Vec<_>) =
        a.into_par_iter().map(f).partition(|either| either.is_ok());
    assert_eq!((left.len(), right.len()), (1, 2));
    let f = |n: &i32| *n < 3;
    assert_eq!(a.par_iter().positions(f).max(), Some(1));
    let some: Vec<i32> = a.into_par_iter().skip(1).take(1).collect();
    let few: Vec<i32> = a.into_par_iter().filter(|n| *n == 2).collect();
    assert_eq!((&some, &few), (&vec![2], &vec![2]));
    let first = few
        .into_iter()
        .skip_while(|n| *n < 2)
        .take_while(|n| *n < 3);
    assert_eq!(first.count(), 1);
    let f = |n: i32| (n < 3).then_some(n);
    assert_eq!(a.into_par_iter().try_for_each(|n| f(n).map(drop)), None);
    let all = a.into_par_iter().map(f).collect::<Vec<_>>();
    let found = all.into_iter().map_while(|option| option);
    assert_eq!(found.collect::<Vec<_>>(), [1, 2]);
    let f = |n: i32| i8::try_from(n).ok();
    assert_eq!(
        a.into_par_iter().map(f).try_reduce(|| 0, i8::checked_add),
        Some(6)
    );
    let (init, f) = (
        || 1,
        |one: &mut i32, n: i32| if n > *one { Err(n) } else { Ok(()) },
    );
    assert_eq!(
        a.into_par_iter()
            .map_init(init, f)
            .try_for_each(|result| result),
        Err(2)
    );

    let mixed = a.into_par_iter().zip(b).flat_map_iter(|(a, b)| [a, b]);
    assert_eq!(mixed.collect::<Vec<_>>(), [1, 1, 2, 2, 3, 4]);
    let between = String::from(",");
    let texts = a.par_iter().map(i32::to_string);
    let texts = texts.flat_map_iter(|item| [item, between.clone()]);
    assert_eq!(texts.collect::<String>(), "1,2,3,");
    assert_eq!(a.par_iter().with_max_len(1).len(), 3);
    const N: usize = 2;
    assert_eq!(a.par_windows(N).count(), 2);
    let mut slice = a;
    assert_eq!(
        slice
            .rchunks(n)
            .into_par_iter()
            .map(<[i32]>::len)
            .collect::<Vec<_>>(),
        [2, 1]
    );
    slice
        .rchunks_mut(n)
        .into_par_iter()
        .for_each(|chunk| chunk.reverse());
    slice
        .rchunks_exact_mut(n)
        .into_par_iter()
        .for_each(|chunk| chunk.reverse());
    assert_eq!(
        slice.rchunks_exact(n).into_par_iter().collect::<Vec<_>>(),
        [[2, 3]]
    );
    assert_eq!(slice.chunks_exact(n).remainder(), [3]);
    let f = |n: &i32| *n == 2;
    assert_eq!(
        slice.split(f).collect::<Vec<_>>().into_par_iter().count(),
        2
    );
    let text = "a,b, c";
    assert_eq!(text.split(',').into_par_iter().count(), 3);
    assert_eq!(
        text.split(", ").into_par_iter().collect::<Vec<_>>(),
        ["a,b", "c"]
    );
    assert_eq!(
        text.char_indices().into_par_iter().find_last(|_| true),
        Some((5, 'c'))
    );
    assert_eq!(text.matches(',').par_bridge().count(), 2);

    let mut map = HashMap::from([(1, 2)]);
    let all = std::mem::take(&mut map).into_par_iter().collect::<Vec<_>>();
    assert_eq!((all, map.len()), (vec![(1, 2)], 0));
    let mut text = String::from("abc");
    assert_eq!(std::mem::take(&mut text).par_chars().max(), Some('c'));
    let (x, n) = (7, 3);
    assert_eq!(
        [x].into_par_iter()
            .chain(Vec::new().into_par_iter())
            .sum::<i32>(),
        7
    );
    assert_eq!(repeat_n(x, n).into_par_iter().sum::<i32>(), 21);
    let pool = trefoil::ThreadPool::with_threads(2);
    assert_eq!(pool.imap(std::iter::repeat(x), |x| x).nth(9), Some(7));
    let scoped = pool.scope(|scope| scope.spawn(|| 1).join().unwrap());
    assert_eq!(trefoil::join(|| scoped, || 2), (1, 2));
}

fn folded_pairs() -> impl ParallelIterator<Item = (u32, u32)> {
    (0..2_u32).into_par_iter().map(|n| (n, n * 10))
}
