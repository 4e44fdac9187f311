//! nucleo, the matcher of an editor, keeps an `UnsafeCell` for each index of a thread of rayon's.
//! Its results with four threads are those with one. `crates.sh` runs this with the original of
//! rayon-core and with ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nucleo::pattern::{CaseMatching, Normalization};
use nucleo::{Config, Nucleo};

/// How long it is asked: where two threads had the same index, it panicked within 3 s.
const LONG: Duration = Duration::from_secs(20);

const PATTERNS: [&str; 10] = [
    "abc", "zq", "foo/b", "e/e/e", "^a", "x y z", "m7", "q/1", "w/9$", "!a b",
];

/// Paths of four parts of letters.
fn matcher(threads: usize) -> Nucleo<String> {
    let config = Config::DEFAULT.match_paths();
    let nucleo = Nucleo::new(config, Arc::new(|| ()), Some(threads), 1);
    let (injector, mut random) = (nucleo.injector(), 42_u64);
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for number in 0..200_000 {
        let mut text = String::new();
        for _ in 0..4 {
            let bits = next();
            for letter in 0..5 + bits % 6 {
                text.push(char::from(b'a' + (bits >> (8 + letter * 5)) as u8 % 26));
            }
            text.push('/');
        }
        text.push_str(&number.to_string());
        injector.push(text, |text, columns| columns[0] = text.as_str().into());
    }
    nucleo
}

fn matches(nucleo: &mut Nucleo<String>, pattern: &str) -> Vec<String> {
    let (case, normalization) = (CaseMatching::Ignore, Normalization::Smart);
    nucleo
        .pattern
        .reparse(0, pattern, case, normalization, false);
    while nucleo.tick(10_000).running {}
    let snapshot = nucleo.snapshot();
    let items = snapshot.matched_items(..);
    items.map(|item| item.data.clone()).collect()
}

#[test]
fn four_threads_find_what_one_finds() {
    let (mut one, mut four) = (matcher(1), matcher(4));
    let expected = PATTERNS.map(|pattern| matches(&mut one, pattern));
    let start = Instant::now();
    while start.elapsed() < LONG {
        for (pattern, expected) in PATTERNS.iter().zip(&expected) {
            assert!(matches(&mut four, pattern) == *expected, "{pattern}");
        }
    }
}
