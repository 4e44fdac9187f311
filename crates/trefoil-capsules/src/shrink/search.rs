//! Which candidates are tried, in which order.
//!
//! The best tree so far is walked from its root. Each part is replaced by something smaller, the
//! most that can go first: by nothing, by a part of itself, by half of itself. What a candidate
//! is worth is decided elsewhere ([`Judge`]); whichever first ends the same way is the best from
//! then on, and the walk goes on in it.
//!
//! **It ends.** A candidate is lighter ([`Weight`](crate::tree::Weight)) than the best, and none is
//! tried twice.
//!
//! **Patience.** A row of which every element is needed would cost a run for each. So after
//! [`PATIENCE`] failures in a row a walk goes on elsewhere; the next walk has four times the
//! patience. The last one has given up nowhere and found nothing.
//!
//! Tests: below; the thirty faults of `crates/trefoil-capsules/tests/shrink/faults.rs`.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;

use crate::tree::{Holds, Integer, Tree, Variant, Variants, Weight};

/// After how many failures in a row the first walk leaves a part.
const PATIENCE: usize = 16;

/// How many descendants are tried in a part's place.
const DESCENDANTS: usize = 4096;

/// Decides what candidates are worth.
pub(super) trait Judge {
    /// The value that a tree stands for, if it is one of the type.
    fn value_of(&mut self, tree: &Tree, known: &mut Variants) -> Option<Tree>;

    /// Which of these end the same way.
    fn judge(&mut self, candidates: &[Tree]) -> io::Result<Vec<bool>>;

    /// One of the last ones is the best from now on.
    fn keep(&mut self, at: usize, best: &Tree);

    /// How many can be judged at once; none when the budget is spent.
    fn room(&self) -> usize;
}

pub(super) struct Search<'a, J> {
    judge: &'a mut J,
    pub(super) best: Tree,
    weight: Weight,
    known: Variants,
    tried: HashSet<u64>,
    hasher: RandomState,
    patience: usize,
    gave_up: bool,
}

/// What happens to the parts of a row.
#[derive(Clone, Copy)]
enum Change {
    Cut,
    MakePlain,
}

impl<'a, J: Judge> Search<'a, J> {
    /// `known`: the enums of the value.
    pub(super) fn new(judge: &'a mut J, best: Tree, known: Variants) -> Self {
        Self {
            judge,
            weight: best.weight(),
            best,
            known,
            tried: HashSet::new(),
            hasher: RandomState::new(),
            patience: PATIENCE,
            gave_up: false,
        }
    }

    /// Makes the value as small as the budget allows.
    pub(super) fn run(&mut self) -> io::Result<()> {
        loop {
            let before = self.weight;
            self.gave_up = false;
            self.reduce(&mut Vec::new())?;
            let found = self.weight < before;
            if self.judge.room() == 0 || (!found && !self.gave_up) {
                return Ok(());
            }
            self.patience = self.patience.saturating_mul(4);
        }
    }

    /// Tries candidates in order. Returns the index of the first that ends the same way, which is
    /// the best from now on.
    fn attempt(&mut self, candidates: impl Iterator<Item = Tree>) -> io::Result<Option<usize>> {
        let mut candidates = candidates.enumerate();
        let mut failures = 0;
        loop {
            let (mut indices, mut trees, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
            let room = self.judge.room();
            while trees.len() < room
                && self.judge.room() > 0 // a value may take long to decode
                && let Some((index, candidate)) = candidates.next()
            {
                let raw = self.hasher.hash_one(&candidate);
                if !self.tried.insert(raw) {
                    continue;
                }
                let value = self.judge.value_of(&candidate, &mut self.known);
                let Some(value) = value.filter(|value| value.weight() < self.weight) else {
                    continue;
                };
                let hash = self.hasher.hash_one(&value);
                if hash == raw || self.tried.insert(hash) {
                    indices.push(index);
                    trees.push(value);
                    hashes.push([raw, hash]);
                }
            }
            if trees.is_empty() {
                return Ok(None);
            }
            let same = self.judge.judge(&trees)?;
            if let Some(at) = same.iter().position(|same| *same) {
                // (The others that do are still worth trying, in what is smaller now.)
                let alive = hashes.iter().zip(&same).filter(|(_, same)| **same);
                for hash in alive.flat_map(|(hashes, _)| hashes) {
                    self.tried.remove(hash);
                }
                self.best = trees.swap_remove(at);
                self.weight = self.best.weight();
                self.judge.keep(at, &self.best);
                return Ok(Some(indices[at]));
            }
            failures += trees.len();
            if failures >= self.patience {
                self.gave_up = true;
                return Ok(None);
            }
        }
    }

    /// Tries one other part at the end of a path.
    fn replace(
        &mut self,
        path: &[usize],
        parts: impl IntoIterator<Item = Tree>,
    ) -> io::Result<bool> {
        let best = self.best.clone();
        let candidates = parts.into_iter().filter_map(|part| best.with(path, part));
        Ok(self.attempt(candidates)?.is_some())
    }

    /// Makes the part at the end of a path smaller, and then what is in it.
    fn reduce(&mut self, path: &mut Vec<usize>) -> io::Result<()> {
        let Some(part) = self.best.at(path).cloned() else {
            return Ok(());
        };
        if self.judge.room() == 0 || self.replace(path, [part.plainest()])? {
            return Ok(());
        }
        self.change_row(path, Change::Cut, 1)?;
        while self.descend(path)? {}
        self.try_variants(path)?;
        self.reduce_scalar(path)?;
        self.change_row(path, Change::MakePlain, 1)?;
        self.reduce_elements(path)?;
        // What is in it, one part after another.
        let (mut at, mut fruitless) = (0, 0);
        while self
            .best
            .at(path)
            .is_some_and(|part| part.child(at).is_some())
        {
            let before = self.weight;
            path.push(at);
            self.reduce(path)?;
            path.pop();
            fruitless = if self.weight < before {
                0
            } else {
                fruitless + 1
            };
            if fruitless >= self.patience {
                self.gave_up = true;
                break;
            }
            at += 1;
        }
        Ok(())
    }

    /// Changes more and more, and then fewer and fewer, neighbours in a row, down to so many.
    fn change_row(&mut self, path: &[usize], change: Change, least: usize) -> io::Result<()> {
        let length = self.best.at(path).map_or(0, length);
        let mut size = if length > 0 { 1 << length.ilog2() } else { 0 };
        while size >= least {
            let mut at = 0;
            loop {
                let best = self.best.clone();
                let Some(row) = best.at(path) else {
                    return Ok(());
                };
                let length = length_of(row);
                if at >= length {
                    break;
                }
                let changed = (at..length).step_by(size).map(|from| {
                    let to = length.min(from + size);
                    let other = match change {
                        Change::Cut => cut(row, from, to),
                        Change::MakePlain => make_plain(row, from, to),
                    };
                    best.with(path, other).unwrap_or(Tree::Unit)
                });
                match self.attempt(changed)? {
                    Some(chunk) => {
                        at += chunk * size;
                        if matches!(change, Change::MakePlain) {
                            at += size;
                        }
                    }
                    None => break,
                }
            }
            size /= 2;
        }
        Ok(())
    }

    /// Puts a part of its own kind in the place of a part. Whether that worked.
    fn descend(&mut self, path: &[usize]) -> io::Result<bool> {
        let best = self.best.clone();
        let Some(part) = best.at(path) else {
            return Ok(false);
        };
        if !matches!(
            part,
            Tree::Variant(_)
                | Tree::Struct(_)
                | Tree::Some(_)
                | Tree::Row(_)
                | Tree::Map(_)
                | Tree::NewType(_)
                | Tree::TupleStruct(_)
        ) {
            return Ok(false);
        }
        let (mut below, mut at, mut alike) = (vec![part], 0, Vec::new());
        while at < below.len() && below.len() < DESCENDANTS {
            below.extend(below[at].children());
            at += 1;
        }
        alike.extend(
            below
                .into_iter()
                .skip(1)
                .filter(|other| is_alike(part, other)),
        );
        // The deepest first; then those from the middle on upwards, and the nearest ones.
        let mut order: Vec<usize> = Vec::new();
        let mut index = alike.len();
        while index > 0 {
            order.push(index - 1);
            index /= 2;
        }
        order.extend(0..alike.len().min(4));
        let parts = order.into_iter().map(|at| alike[at].clone());
        self.replace(path, parts)
    }

    /// Tries the variants that come before the one that a part is.
    fn try_variants(&mut self, path: &[usize]) -> io::Result<()> {
        let Some(Tree::Variant(one)) = self.best.at(path).cloned() else {
            return Ok(());
        };
        let earlier = self.known.get(one.of).copied().unwrap_or_default();
        let earlier = earlier.iter().zip(0..one.index);
        let mut others = Vec::new();
        for (name, index) in earlier {
            for holds in [Holds::Nothing, one.holds.clone()] {
                let of = one.of;
                others.push(Tree::Variant(Box::new(Variant {
                    of,
                    index,
                    name,
                    holds,
                })));
            }
        }
        self.replace(path, others).map(drop)
    }

    fn reduce_scalar(&mut self, path: &[usize]) -> io::Result<()> {
        match self.best.at(path) {
            Some(Tree::Integer(integer)) => {
                let integer = integer.clone();
                self.reduce_integer(path, integer, &Tree::Integer)
            }
            Some(Tree::F64(n)) => {
                let n = *n;
                self.reduce_float(path, n, &Tree::F64)
            }
            Some(Tree::F32(n)) => {
                let n = f64::from(*n);
                self.reduce_float(path, n, &|n| Tree::F32(n as f32))
            }
            Some(Tree::Char(letter)) => {
                let plainer = PLAIN.into_iter().filter(|plain| plain != letter);
                let plainer: Vec<Tree> = plainer.map(Tree::Char).collect();
                self.replace(path, plainer).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Brings a number to the least that ends the same way, if all that are greater do.
    fn reduce_integer(
        &mut self,
        path: &[usize],
        mut integer: Integer,
        part: &dyn Fn(Integer) -> Tree,
    ) -> io::Result<()> {
        let (mut is_negative, mut high) = integer.parts();
        if is_negative
            && let Some(positive) = integer.with(false, high)
            && self.replace(path, [part(positive.clone())])?
        {
            (is_negative, integer) = (false, positive);
        }
        // (0 was tried with all that is plainest.) One and the bounds of types are where
        // much begins or ends; later, for what is not so in between.
        let bounds = (0..128).flat_map(|bits| [(1u128 << bits) - 1, 1 << bits]);
        let bounds = bounds.filter(|bound| match self.patience {
            PATIENCE => *bound < 3,
            _ => {
                bound.count_ones() == 1 && bound.ilog2().is_multiple_of(8) || BOUNDS.contains(bound)
            }
        });
        let bounds: Vec<u128> = bounds.filter(|bound| *bound < high).collect();
        let others = bounds.iter().map(|n| integer.with(is_negative, *n));
        let others: Vec<Tree> = others.map(|n| n.map_or(Tree::Unit, part)).collect();
        let best = self.best.clone();
        let candidates = others
            .into_iter()
            .filter_map(|other| best.with(path, other));
        let mut low = 0;
        if let Some(at) = self.attempt(candidates)? {
            high = bounds[at];
            low = at.checked_sub(1).map_or(0, |before| bounds[before]);
        }
        while high - low > 1 && self.judge.room() > 0 {
            // First the number of digits, then the digits.
            let far = high / 4 > low.max(1);
            let points: Vec<u128> = if far {
                let (from, to) = (low.max(1).ilog2(), high.ilog2());
                vec![1 << from.midpoint(to)]
            } else {
                let count = self.judge.room().clamp(1, 8) as u128;
                let step = (high - low) / (count + 1);
                match step {
                    0 => vec![low + (high - low) / 2],
                    _ => (1..=count).map(|n| low + n * step).collect(),
                }
            };
            let best = self.best.clone();
            let candidates = points.iter().map(|n| {
                let other = integer.with(is_negative, *n).map_or(Tree::Unit, part);
                best.with(path, other).unwrap_or(Tree::Unit)
            });
            match self.attempt(candidates)? {
                Some(at) => {
                    high = points[at];
                    low = at.checked_sub(1).map_or(low, |before| points[before]);
                }
                None => low = points[points.len() - 1],
            }
        }
        Ok(())
    }

    fn reduce_float(
        &mut self,
        path: &[usize],
        n: f64,
        part: &dyn Fn(f64) -> Tree,
    ) -> io::Result<()> {
        let rounded = |digits: i32| {
            let power = 10f64.powi(digits);
            (n * power).round() / power
        };
        let plainer = [
            1.0,
            -1.0,
            n.abs(),
            n.trunc(),
            n.trunc() + 1.0,
            rounded(1),
            rounded(2),
            rounded(4),
        ];
        let powers = (1..16)
            .map(|power| 1e20 * 10f64.powi(power))
            .filter(|power| power < &n);
        let parts: Vec<Tree> = plainer.into_iter().chain(powers).map(part).collect();
        self.replace(path, parts)?;
        let now = match self.best.at(path) {
            Some(Tree::F64(n)) => *n,
            Some(Tree::F32(n)) => f64::from(*n),
            _ => return Ok(()),
        };
        // An integer is searched for like one.
        if now.trunc() == now && now.abs() < 1e15 {
            let integer = Integer::I64(now as i64);
            let part = |integer: Integer| {
                let (is_negative, size) = integer.parts();
                let size = size as f64;
                part(if is_negative { -size } else { size })
            };
            self.reduce_integer(path, integer, &part)?;
        }
        Ok(())
    }

    /// Bytes and letters, one after another.
    fn reduce_elements(&mut self, path: &[usize]) -> io::Result<()> {
        let (mut at, mut fruitless) = (0, 0);
        loop {
            let before = self.weight;
            match self.best.at(path).cloned() {
                Some(row @ (Tree::Octets(_) | Tree::Bytes(_))) => {
                    let Some(byte) = octets(&row).get(at).copied() else {
                        return Ok(());
                    };
                    let part = |integer: Integer| with_byte(&row, at, integer);
                    if byte > 1 {
                        self.reduce_integer(path, Integer::U8(byte), &part)?;
                    }
                }
                Some(Tree::Text(text)) => {
                    let Some(letter) = text.chars().nth(at) else {
                        return Ok(());
                    };
                    let plainer = PLAIN.into_iter().filter(|plain| *plain != letter);
                    let with = |plain| {
                        let letters = text.chars().enumerate();
                        let letters = letters.map(|(n, old)| if n == at { plain } else { old });
                        Tree::Text(letters.collect())
                    };
                    let parts: Vec<Tree> = match letter {
                        'a' => Vec::new(),
                        _ => plainer.map(with).collect(),
                    };
                    self.replace(path, parts)?;
                }
                _ => return Ok(()),
            }
            fruitless = if self.weight < before {
                0
            } else {
                fruitless + 1
            };
            if fruitless >= self.patience || self.judge.room() == 0 {
                self.gave_up = true;
                return Ok(());
            }
            at += 1;
        }
    }
}

/// Letters that are plainer than others.
const PLAIN: [char; 4] = ['a', '0', ' ', 'A'];

/// Where numbers of some type end, and where other programs' do.
const BOUNDS: [u128; 10] = [
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    (1 << 53) - 1,
    (1 << 63) - 1,
    (1 << 64) - 1,
];

fn is_alike(one: &Tree, other: &Tree) -> bool {
    match (one, other) {
        (Tree::Variant(one), Tree::Variant(other)) => one.of == other.of,
        (Tree::Struct(one), Tree::Struct(other)) => one.0 == other.0,
        (Tree::NewType(one), Tree::NewType(other)) => one.0 == other.0,
        (Tree::TupleStruct(one), Tree::TupleStruct(other)) => one.0 == other.0,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn octets(row: &Tree) -> &[u8] {
    match row {
        Tree::Octets(bytes) | Tree::Bytes(bytes) => bytes,
        _ => &[],
    }
}

fn length(row: &Tree) -> usize {
    length_of(row)
}

/// How many parts a row has.
fn length_of(row: &Tree) -> usize {
    match row {
        Tree::Row(all) => all.len(),
        Tree::Map(all) => all.len(),
        Tree::Octets(all) | Tree::Bytes(all) => all.len(),
        Tree::Text(text) => text.chars().count(),
        _ => 0,
    }
}

/// A row without some of its parts.
fn cut(row: &Tree, from: usize, to: usize) -> Tree {
    fn without<T: Clone>(all: &[T], from: usize, to: usize) -> Vec<T> {
        [&all[..from], &all[to..]].concat()
    }
    match row {
        Tree::Row(all) => Tree::Row(without(all, from, to)),
        Tree::Map(all) => Tree::Map(without(all, from, to)),
        Tree::Octets(all) => Tree::Octets(without(all, from, to)),
        Tree::Bytes(all) => Tree::Bytes(without(all, from, to)),
        Tree::Text(text) => {
            let letters = text.chars().take(from);
            Tree::Text(letters.chain(text.chars().skip(to)).collect())
        }
        _ => row.clone(),
    }
}

/// A row in which some parts are as plain as can be.
fn make_plain(row: &Tree, from: usize, to: usize) -> Tree {
    let mut row = row.clone();
    match &mut row {
        Tree::Row(all) => {
            for part in &mut all[from..to] {
                *part = part.plainest();
            }
        }
        Tree::Map(all) => {
            for (_, value) in &mut all[from..to] {
                *value = value.plainest();
            }
        }
        Tree::Octets(all) | Tree::Bytes(all) => all[from..to].fill(0),
        Tree::Text(text) => {
            let letters = text.chars().enumerate();
            let plain = |at: usize| (from..to).contains(&at);
            let letters = letters.map(|(at, old)| if plain(at) { 'a' } else { old });
            *text = letters.collect();
        }
        _ => {}
    }
    row
}

fn with_byte(row: &Tree, at: usize, byte: Integer) -> Tree {
    let mut row = row.clone();
    if let (Tree::Octets(all) | Tree::Bytes(all), Integer::U8(byte)) = (&mut row, byte) {
        all[at] = byte;
    }
    row
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::tree;

    /// Judges by a function, as if the value were run.
    struct Here<T> {
        dies: fn(&T) -> bool,
        runs: usize,
        most: usize,
    }

    impl<T: Serialize + DeserializeOwned> Judge for Here<T> {
        fn value_of(&mut self, tree: &Tree, known: &mut Variants) -> Option<Tree> {
            tree::write(&tree::read::<T>(tree, known).ok()?).ok()
        }

        fn judge(&mut self, candidates: &[Tree]) -> io::Result<Vec<bool>> {
            self.runs += candidates.len();
            let value = |tree| tree::read(tree, &mut Variants::default()).unwrap();
            Ok(candidates
                .iter()
                .map(|tree| (self.dies)(&value(tree)))
                .collect())
        }

        fn keep(&mut self, _: usize, _: &Tree) {}

        fn room(&self) -> usize {
            self.most.saturating_sub(self.runs).min(2)
        }
    }

    /// The smallest value of which this is true, and the number of runs.
    fn smallest<T: Serialize + DeserializeOwned>(value: T, dies: fn(&T) -> bool) -> (T, usize) {
        assert!(dies(&value));
        let mut judge = Here {
            dies,
            runs: 0,
            most: 2000,
        };
        let mut known = Variants::default();
        let tree = tree::write(&value).unwrap();
        let Some(tree) = judge.value_of(&tree, &mut known) else {
            return (value, 0);
        };
        let mut search = Search::new(&mut judge, tree, known);
        search.run().unwrap();
        let best = tree::read(&search.best, &mut Variants::default()).unwrap();
        (best, judge.runs)
    }

    #[test]
    fn what_is_needed_stays() {
        let rows: Vec<String> = (0..10_000)
            .map(|n| {
                if n == 4711 {
                    "a\0b".to_owned()
                } else {
                    format!("row {n}")
                }
            })
            .collect();
        let (rows, runs) = smallest(rows, |rows| rows.iter().any(|row| row.contains('\0')));
        assert_eq!(rows, ["\0"]);
        assert!(runs < 200, "{runs}");

        let numbers: Vec<u32> = (0..10_000).collect();
        let (numbers, runs) = smallest(numbers, |all| {
            let first = all.iter().position(|n| *n == 1234);
            first.is_some_and(|at| all[at..].contains(&8765))
        });
        assert_eq!(numbers, [1234, 8765]);
        assert!(runs < 500, "{runs}");

        let (n, runs) = smallest(u64::MAX / 3, |n| *n > 123_456_789);
        assert_eq!(n, 123_456_790);
        assert!(runs < 100, "{runs}");
        assert_eq!(smallest(-5000i32, |n| *n < -17).0, -18);
        assert_eq!(smallest(-5000i32, |n| n.unsigned_abs() > 17).0, 18);
        assert_eq!(smallest(1234.567f64, |n| *n >= 3.0).0, 3.0);
        assert_eq!(
            smallest(f64::NAN, |n| n.is_nan()).0.to_bits(),
            f64::NAN.to_bits()
        );
        assert_eq!(smallest(511u16, |n| n % 256 == 255).0, 255);
    }

    #[test]
    fn a_length_alone_is_found() {
        let (row, runs) = smallest(vec![7u8; 10_000], |row| row.len() >= 5000);
        assert_eq!(row, [0; 5000]);
        assert!(runs < 1000, "{runs}");
        let text = "lorem ipsum ".repeat(1000);
        assert_eq!(smallest(text, |text| text.len() > 99).0, "a".repeat(100));
        let rows: Vec<(u8, String)> = (0..300).map(|n| (n as u8, "x".repeat(n))).collect();
        let (rows, _) = smallest(rows, |rows| rows.len() > 40);
        assert_eq!(rows, vec![(0, String::new()); 41]);
    }

    #[test]
    fn nested_values_lose_their_levels() {
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        enum Sum {
            Zero,
            Number(i64),
            Add(Box<Sum>, Box<Sum>),
            Divide(Box<Sum>, Box<Sum>),
        }
        fn divides_by_zero(sum: &Sum) -> bool {
            match sum {
                Sum::Zero | Sum::Number(_) => false,
                Sum::Add(one, other) => divides_by_zero(one) || divides_by_zero(other),
                Sum::Divide(one, other) => {
                    **other == Sum::Number(0) || divides_by_zero(one) || divides_by_zero(other)
                }
            }
        }
        let mut sum = Sum::Divide(Sum::Number(77).into(), Sum::Number(0).into());
        for n in 0..40 {
            sum = Sum::Add(sum.into(), Sum::Number(n).into());
        }
        let (sum, runs) = smallest(sum, divides_by_zero);
        assert_eq!(sum, Sum::Divide(Sum::Zero.into(), Sum::Number(0).into()));
        assert!(runs < 100, "{runs}");
    }

    #[test]
    fn a_type_that_refuses_everything_stays_as_it_is() {
        #[derive(Debug, PartialEq, serde::Serialize)]
        struct Proud(Vec<u8>);
        impl<'de> serde::Deserialize<'de> for Proud {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let row = Vec::<u8>::deserialize(from)?;
                let refused = || serde::de::Error::custom("another");
                (row == [1, 2, 3]).then_some(Self(row)).ok_or_else(refused)
            }
        }
        assert_eq!(
            smallest(Proud(vec![1, 2, 3]), |_| true),
            (Proud(vec![1, 2, 3]), 0)
        );
    }
}
