//! Writes the random calls of parallel iterators that `tests/iter_time.rs` runs with trefoil's
//! words and with rayon's.
//!
//! `TREFOIL_CALLS=SEED:COUNT` chooses them; the same seed gives the same ones. Each is a source,
//! up to four adaptors and an end, over elements of one type, or a sort of a shape of items.

use std::{env, fs, path::Path};

const TYPES: &[&str] = &[
    "u8",
    "u32",
    "u64",
    "i128",
    "String",
    "Box<u64>",
    "[u64; 8]",
    "(u32, u8)",
    "Unit",
];

/// Sources whose length is known. Behind `|` stands the statement that is needed before.
const EXACT: &[&str] = &[
    "items.par_iter().cloned()",
    "own.into_par_iter()|let own = items.clone();",
    "own.par_iter_mut().map(|item| item.clone())|let mut own = items.clone();",
    "own.par_drain(..)|let mut own = items.clone();",
    "(0..items.len()).into_par_iter().map(|n| T::of(n as u64))",
    "(0..items.len() as u32).into_par_iter().map(|n| T::of(n.into()))",
    "items.par_chunks(n).map(|chunk| chunk[0].clone())",
    "items.par_chunks_exact(n).map(|chunk| chunk[0].clone())",
    "own.par_chunks_mut(n).map(|chunk| chunk[0].clone())|let mut own = items.clone();",
    "items.par_windows(n).map(|window| window[0].clone())",
    "deque.par_iter().cloned()|let deque = &given.deque;",
];

const OTHERS: &[&str] = &[
    "set.par_iter().cloned()|let set = &given.set;",
    "own.into_par_iter()|let own = given.set.clone();",
    "map.par_iter().map(|(_, item)| item.clone())|let map = &given.map;",
    "text.par_lines().map(|line| T::of(line.len() as u64))|let text = &given.text;",
    "text.par_chars().map(|c| T::of(u64::from(u32::from(c))))|let text = &given.text;",
    "text.par_split_whitespace().map(|word| T::of(word.len() as u64))|let text = &given.text;",
];

/// What the order of the items is lost in.
const UNORDERED: &[&str] = &["items.iter().cloned().par_bridge()"];

const KEEP_EXACT: &[&str] = &[
    ".enumerate().map(|(at, item)| item.mixed(at as u64))",
    ".zip(items.par_iter()).map(|(a, b)| a.mixed(b.key()))",
    ".zip(0..items.len()).map(|(a, b)| a.mixed(b as u64))",
    ".chain(items.par_iter().cloned())",
    ".rev()",
    ".skip(n)",
    ".take(items.len() - n.min(items.len()))",
    ".step_by(n)",
    ".step_by(2)",
    ".chunks(n).map(|mut chunk| chunk.swap_remove(0))",
    ".with_min_len(n)",
    ".with_max_len(1000 * n)",
];

/// Adaptors of any iterator. Behind them the length is known if it was.
const ONE_TO_ONE: &[&str] = &[
    ".map(|item| item.mixed(7))",
    ".map_init(|| 1, |one, item| item.mixed(*one))",
    ".map_with(1, |one, item| item.mixed(*one))",
    ".inspect(|item| { black_box(item); })",
    ".update(|item| *item = item.mixed(3))",
    ".chain(items.par_iter().cloned())",
];

const LOSE_LENGTH: &[&str] = &[
    ".filter(|item| item.key() % 3 == 0)",
    ".filter(|item| item.key() % 64 != 0)",
    ".filter_map(|item| (item.key() % 2 == 0).then_some(item))",
    ".flat_map_iter(|item| [item.clone(), item])",
    ".flat_map(|item| vec![item; 3])",
    ".map(|item| vec![item; 2]).flatten_iter()",
    ".map(|item| Some(item)).flatten()",
];

const ENDS: &[&str] = &[
    ".map(|item| item.key()).sum::<u64>()",
    ".count() as u64",
    ".min().digest()",
    ".max().digest()",
    ".min_by_key(|item| item.key() % 1000).digest()",
    ".max_by(|a, b| a.key().cmp(&b.key())).digest()",
    ".map(|item| item.key()).reduce(|| 0, |a, b| a ^ b)",
    ".reduce_with(|a, b| a.mixed(b.key())).is_some().digest()",
    ".fold(|| 0, |a: u64, b| a ^ b.key()).reduce(|| 0, |a, b| a ^ b)",
    ".fold_with(0, |a: u64, b| a ^ b.key()).reduce(|| 0, |a, b| a ^ b)",
    ".collect::<Vec<T>>().digest()",
    ".collect::<VecDeque<T>>().len() as u64",
    ".collect::<BTreeSet<T>>().len() as u64",
    ".collect::<HashSet<T>>().len() as u64",
    ".collect::<LinkedList<T>>().len() as u64",
    ".collect::<Box<[T]>>().len() as u64",
    ".map(|item| item.key().to_string()).collect::<String>().len() as u64",
    ".map(|item| (item.key(), item)).collect::<HashMap<u64, T>>().len() as u64",
    ".map(|item| (item.key(), item)).unzip::<u64, T, Vec<u64>, Vec<T>>().0.digest()",
    ".partition::<Vec<T>, Vec<T>, _>(|item| item.key() % 5 == 0).0.digest()",
    ".any(|item| item.key() == u64::MAX).digest()",
    ".all(|item| item.key() != u64::MAX).digest()",
    ".find_any(|item| item.key() == u64::MAX).digest()",
    ".find_first(|item| item.key() == u64::MAX).digest()",
    ".find_last(|item| item.key() == u64::MAX).digest()",
    ".find_map_first(|item| (item.key() == u64::MAX).then_some(item)).digest()",
    ".for_each(|item| { black_box(&item); }).digest()",
    ".for_each_init(|| 0, |_, item| { black_box(&item); }).digest()",
    ".for_each_with(0, |_, item| { black_box(&item); }).digest()",
    ".try_for_each(|item| if item.key() == u64::MAX { Err(()) } else { Ok(()) }).is_ok().digest()",
    ".map(|item| Some(item.key())).try_reduce(|| 0, |a, b| Some(a ^ b)).digest()",
    ".map(|item| Some(item)).collect::<Option<Vec<T>>>().map_or(0, |all| all.digest())",
    ".map(|item| Ok::<T, ()>(item)).collect::<Result<Vec<T>, ()>>().map_or(0, |all| all.digest())",
];

const EXACT_ENDS: &[&str] = &[
    ".position_any(|item| item.key() == u64::MAX).digest()",
    ".position_first(|item| item.key() == u64::MAX).digest()",
    ".positions(|item| item.key() % 7 == 0).count() as u64",
    ".collect_into_vec(&mut out).digest()|let mut out = Vec::new();",
];

const SORTS: &[&str] = &[
    "own.par_sort();",
    "own.par_sort_by(|a, b| b.cmp(a));",
    "own.par_sort_by_key(|item| item.key());",
    "own.par_sort_by_cached_key(|item| item.key());",
    "own.par_sort_unstable();",
    "own.par_sort_unstable_by(|a, b| b.cmp(a));",
    "own.par_sort_unstable_by_key(|item| item.key());",
];

const SHAPES: &[&str] = &[
    "Random", "Rising", "Falling", "Equal", "Few", "Organ", "Saw", "Nearly", "Halves", "Behind",
];

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn of(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }
}

/// A value, and the statement before it.
fn parts(text: &str) -> (&str, &str) {
    match text.find("|let ") {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    }
}

/// The statements of a call, its value last.
fn call(random: &mut Random) -> String {
    if random.below(5) == 0 {
        let (shape, sort) = (random.of(SHAPES), random.of(SORTS));
        return format!("let mut own = given.shaped(Shape::{shape}); {sort} own.digest()");
    }
    let kind = random.below(10);
    let mut exact = kind < 7;
    let source = random.of(match kind {
        0..7 => EXACT,
        7..9 => OTHERS,
        _ => UNORDERED,
    });
    let (source, before) = parts(source);
    let mut value = source.to_owned();
    for _ in 0..random.below(4) + 1 {
        value += match random.below(10) {
            0..5 if exact => random.of(KEEP_EXACT),
            0..8 => random.of(ONE_TO_ONE),
            _ => {
                exact = false;
                random.of(LOSE_LENGTH)
            }
        };
    }
    let ends = match random.below(5) {
        0 if exact => EXACT_ENDS,
        _ => ENDS,
    };
    let end = random.of(ends);
    let (end, more) = parts(end);
    value += end;
    format!("{before} {more} {value}")
}

fn main() {
    println!("cargo::rerun-if-env-changed=TREFOIL_CALLS");
    println!("cargo::rerun-if-changed=build.rs");
    let chosen = env::var("TREFOIL_CALLS").unwrap_or_else(|_| "1:4".to_owned());
    let numbers = chosen
        .split_once(':')
        .map(|(seed, count)| (seed.parse(), count.parse()));
    let Some((Ok(seed), Ok(count))) = numbers else {
        panic!("TREFOIL_CALLS is SEED:COUNT, not {chosen}")
    };
    let mut random = Random(seed);
    let mut text = String::from("pub(super) const CALLS: &[Call] = &[\n");
    for _ in 0..count {
        let (of, call) = (random.of(TYPES), call(&mut random));
        text += &format!(
            "Call {{ of: {of:?}, text: {call:?}, begin: |seed, len, n| {{\n    type T = {of};\n    \
             let given = Given::<T>::new(seed, len, n);\n    Box::new(move || {{\n        \
             let (items, n) = (&given.items, given.n); black_box((items, n));\n        {call}\n    }})\n}} }},\n"
        );
    }
    text += "];\n";
    let out = env::var_os("OUT_DIR").expect("cargo names it");
    fs::write(Path::new(&out).join("calls.rs"), text).expect("a file of the build");
}
