//! Twenty programs for rayon, each of which checks its result. `tests/foreign/table.sh` builds them
//! twice, with the original of rayon-core and with ours, and runs the two in turn.
//!
//!     programs                 # all of them; RAYON_NUM_THREADS says how many threads
//!     programs sum sort        # these
//!
//! A line for each: its name, and the median of some runs in microseconds.

use std::collections::HashMap;
use std::env;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use rayon::prelude::*;

/// The same numbers each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn numbers(count: usize) -> Vec<u64> {
    let mut random = Random(7);
    (0..count).map(|_| random.next()).collect()
}

fn is_sorted(sorted: &[u64], sum: u64) -> bool {
    sorted.windows(2).all(|pair| pair[0] <= pair[1])
        && sorted.iter().fold(0, |all: u64, n| all.wrapping_add(*n)) == sum
}

fn total(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |all, n| all.wrapping_add(*n))
}

/// What takes about as many nanoseconds.
fn work(nanoseconds: u64) -> u64 {
    (0..nanoseconds).fold(1, |hash: u64, n| {
        black_box(hash.rotate_left(5) ^ n).wrapping_mul(0x9E37_79B9)
    })
}

/// A program: prepares what it works on, and gives what is measured. That returns whether its
/// result is right.
type Program = fn() -> Box<dyn FnMut() -> bool + Send>;

fn sum() -> Box<dyn FnMut() -> bool + Send> {
    let numbers = numbers(4_000_000);
    let expected = total(&numbers);
    Box::new(move || {
        numbers
            .par_iter()
            .map(|n| n ^ 0)
            .reduce(|| 0, u64::wrapping_add)
            == expected
    })
}

fn sort() -> Box<dyn FnMut() -> bool + Send> {
    let numbers = numbers(1_000_000);
    let expected = total(&numbers);
    Box::new(move || {
        let mut sorted = numbers.clone();
        sorted.par_sort_unstable();
        is_sorted(&sorted, expected)
    })
}

fn nested() -> Box<dyn FnMut() -> bool + Send> {
    Box::new(|| {
        let rows = (0..300_u64).into_par_iter();
        let all: u64 = rows
            .map(|row| {
                (0..300_u64)
                    .into_par_iter()
                    .map(|n| (row * n) ^ n)
                    .sum::<u64>()
            })
            .sum();
        all == (0..300)
            .flat_map(|row| (0..300).map(move |n| (row * n) ^ n))
            .sum()
    })
}

fn quicksort() -> Box<dyn FnMut() -> bool + Send> {
    fn sort(v: &mut [u64]) {
        if v.len() < 2 {
            return;
        }
        let last = v.len() - 1;
        v.swap(last / 2, last);
        let mut at = 0;
        for i in 0..last {
            if v[i] <= v[last] {
                v.swap(i, at);
                at += 1;
            }
        }
        v.swap(at, last);
        let (low, high) = v.split_at_mut(at);
        rayon::join(|| sort(low), || sort(&mut high[1..]));
    }
    let numbers = numbers(500_000);
    let expected = total(&numbers);
    Box::new(move || {
        let mut sorted = numbers.clone();
        sort(&mut sorted);
        is_sorted(&sorted, expected)
    })
}

fn fib() -> Box<dyn FnMut() -> bool + Send> {
    fn fib(n: u32) -> u64 {
        if n < 2 {
            return n.into();
        }
        let (a, b) = rayon::join(|| fib(n - 1), || fib(n - 2));
        a + b
    }
    Box::new(|| fib(27) == 196_418)
}

fn mergesort() -> Box<dyn FnMut() -> bool + Send> {
    fn sort(v: &mut [u64], spare: &mut [u64]) {
        if v.len() <= 32 {
            v.sort_unstable();
            return;
        }
        let half = v.len() / 2;
        let (low, high) = v.split_at_mut(half);
        let (left, right) = spare.split_at_mut(half);
        rayon::join(|| sort(low, left), || sort(high, right));
        spare.copy_from_slice(v);
        let (low, high) = spare.split_at(half);
        let (mut i, mut j) = (0, 0);
        for place in v {
            let first = j == high.len() || i < low.len() && low[i] <= high[j];
            *place = if first { low[i] } else { high[j] };
            (i, j) = if first { (i + 1, j) } else { (i, j + 1) };
        }
    }
    let numbers = numbers(1_000_000);
    let expected = total(&numbers);
    Box::new(move || {
        let (mut sorted, mut spare) = (numbers.clone(), numbers.clone());
        sort(&mut sorted, &mut spare);
        is_sorted(&sorted, expected)
    })
}

fn nbody() -> Box<dyn FnMut() -> bool + Send> {
    fn pull(bodies: &[[f64; 3]], of: &[f64; 3]) -> [f64; 3] {
        let mut force = [0.0; 3];
        for other in bodies {
            let away: [f64; 3] = std::array::from_fn(|i| other[i] - of[i]);
            let distance = away.iter().map(|d| d * d).sum::<f64>() + 0.01;
            (0..3).for_each(|i| force[i] += away[i] / (distance * distance.sqrt()));
        }
        force
    }
    let mut random = Random(3);
    let bodies: Vec<[f64; 3]> = (0..700)
        .map(|_| std::array::from_fn(|_| random.next() as f64 / 1e9))
        .collect();
    let expected: Vec<[f64; 3]> = bodies.iter().map(|body| pull(&bodies, body)).collect();
    Box::new(move || {
        bodies
            .par_iter()
            .map(|body| pull(&bodies, body))
            .collect::<Vec<_>>()
            == expected
    })
}

fn sieve() -> Box<dyn FnMut() -> bool + Send> {
    const MOST: usize = 3_000_000;
    let small: Vec<usize> = (2..1733)
        .filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0))
        .collect();
    Box::new(move || {
        let mut is_prime = vec![true; MOST];
        is_prime
            .par_chunks_mut(1 << 16)
            .enumerate()
            .for_each(|(chunk, flags)| {
                let from = chunk << 16;
                for &prime in &small {
                    let first = (prime * prime).max(from.div_ceil(prime) * prime);
                    (first..from + flags.len())
                        .step_by(prime)
                        .for_each(|n| flags[n - from] = false);
                }
            });
        is_prime[2..].par_iter().filter(|&&prime| prime).count() == 216_816
    })
}

fn matmul() -> Box<dyn FnMut() -> bool + Send> {
    const N: usize = 200;
    let mut random = Random(5);
    let [a, b]: [Vec<u64>; 2] =
        std::array::from_fn(|_| (0..N * N).map(|_| random.next() % 100).collect());
    let row_of = |a: &[u64], b: &[u64], row: usize| -> Vec<u64> {
        (0..N)
            .map(|column| (0..N).map(|k| a[row * N + k] * b[k * N + column]).sum())
            .collect()
    };
    let expected: Vec<u64> = (0..N).flat_map(|row| row_of(&a, &b, row)).collect();
    Box::new(move || {
        (0..N)
            .into_par_iter()
            .flat_map_iter(|row| row_of(&a, &b, row))
            .collect::<Vec<_>>()
            == expected
    })
}

fn tsp() -> Box<dyn FnMut() -> bool + Send> {
    const CITIES: usize = 10;
    type Distances = [[usize; CITIES]; CITIES];
    fn search(distances: &Distances, at: usize, seen: u32, length: usize, best: &AtomicUsize) {
        if length >= best.load(Ordering::Relaxed) {
            return;
        }
        if seen == (1 << CITIES) - 1 {
            best.fetch_min(length + distances[at][0], Ordering::Relaxed);
            return;
        }
        let further = (0..CITIES).filter(|next| seen & (1 << next) == 0);
        let go = |next: usize| {
            search(
                distances,
                next,
                seen | 1 << next,
                length + distances[at][next],
                best,
            )
        };
        match seen.count_ones() {
            0..5 => further.collect::<Vec<_>>().into_par_iter().for_each(go),
            _ => further.for_each(go),
        }
    }
    /// The shortest way by dynamic programming: from 0 through these cities to the last.
    fn held_karp(distances: &Distances) -> usize {
        let mut best = HashMap::from([((1_u32, 0_usize), 0_usize)]);
        for _ in 1..CITIES {
            let mut longer = HashMap::new();
            for ((seen, at), length) in best {
                for next in (0..CITIES).filter(|next| seen & (1 << next) == 0) {
                    let way = longer.entry((seen | 1 << next, next)).or_insert(usize::MAX);
                    *way = (*way).min(length + distances[at][next]);
                }
            }
            best = longer;
        }
        best.into_iter()
            .map(|((_, at), length)| length + distances[at][0])
            .min()
            .unwrap_or(0)
    }
    let mut random = Random(11);
    let mut distances = [[0; CITIES]; CITIES];
    for a in 0..CITIES {
        for b in 0..a {
            distances[a][b] = 1 + random.next() as usize % 100;
            distances[b][a] = distances[a][b];
        }
    }
    let expected = held_karp(&distances);
    Box::new(move || {
        let best = AtomicUsize::new(usize::MAX / 2);
        search(&distances, 0, 1, 0, &best);
        best.into_inner() == expected
    })
}

fn scope() -> Box<dyn FnMut() -> bool + Send> {
    fn tree<'scope>(scope: &rayon::Scope<'scope>, depth: u32, leaves: &'scope AtomicU64) {
        match depth {
            0 => _ = leaves.fetch_add(1, Ordering::Relaxed),
            _ => (0..2).for_each(|_| scope.spawn(move |scope| tree(scope, depth - 1, leaves))),
        }
    }
    Box::new(|| {
        let leaves = AtomicU64::new(0);
        rayon::scope(|scope| tree(scope, 14, &leaves));
        leaves.into_inner() == 1 << 14
    })
}

fn spawn() -> Box<dyn FnMut() -> bool + Send> {
    Box::new(|| {
        let (send, receive) = mpsc::channel();
        for n in 0..5_000_u64 {
            let send = send.clone();
            rayon::spawn(move || send.send(n + work(200) % 2 * 0).unwrap());
        }
        drop(send);
        receive.into_iter().sum::<u64>() == 4_999 * 5_000 / 2
    })
}

fn regions(count: usize, numbers: &[u64], expected: u64) -> bool {
    (0..count).all(|_| numbers.par_iter().map(|n| n >> 1).sum::<u64>() == expected)
}

/// So many regions with so many numbers, inside of the pool or not.
fn regions_of(count: usize, length: usize, inside: bool) -> Box<dyn FnMut() -> bool + Send> {
    let numbers = numbers(length);
    let expected = numbers.iter().map(|n| n >> 1).sum();
    Box::new(move || match inside {
        true => rayon::scope(|_| regions(count, &numbers, expected)),
        false => regions(count, &numbers, expected),
    })
}

fn par_bridge() -> Box<dyn FnMut() -> bool + Send> {
    Box::new(|| {
        let squares = (0..20_000_u64).par_bridge().map(|n| n * n + work(200) * 0);
        squares.sum::<u64>() == (0..20_000).map(|n| n * n).sum()
    })
}

fn histogram() -> Box<dyn FnMut() -> bool + Send> {
    let numbers = numbers(2_000_000);
    let mut expected = vec![0_u32; 256];
    numbers
        .iter()
        .for_each(|n| expected[(n & 255) as usize] += 1);
    Box::new(move || {
        let counts = numbers.par_iter().fold(
            || vec![0_u32; 256],
            |mut counts, n| {
                counts[(n & 255) as usize] += 1;
                counts
            },
        );
        let add = |mut all: Vec<u32>, some: Vec<u32>| {
            all.iter_mut()
                .zip(some)
                .for_each(|(all, some)| *all += some);
            all
        };
        counts.reduce(|| vec![0; 256], add) == expected
    })
}

fn lines() -> Box<dyn FnMut() -> bool + Send> {
    let mut random = Random(13);
    let line = |_| (0..random.next() % 12).map(|_| "word ").collect::<String>() + "end\n";
    let text: String = (0..60_000).map(line).collect();
    let expected = text
        .lines()
        .map(|line| line.split(' ').count())
        .sum::<usize>();
    Box::new(move || {
        text.par_lines()
            .map(|line| line.split(' ').count())
            .sum::<usize>()
            == expected
    })
}

fn uneven() -> Box<dyn FnMut() -> bool + Send> {
    Box::new(|| {
        let cost = |n: u64| if n % 97 == 0 { 40_000 } else { 50 };
        let done = (0..5_000_u64)
            .into_par_iter()
            .map(|n| n + work(cost(n)) * 0);
        done.sum::<u64>() == 4_999 * 5_000 / 2
    })
}

const PROGRAMS: [(&str, Program); 20] = [
    ("sum", sum),
    ("sort", sort),
    ("nested", nested),
    ("quicksort", quicksort),
    ("fib", fib),
    ("mergesort", mergesort),
    ("nbody", nbody),
    ("sieve", sieve),
    ("matmul", matmul),
    ("tsp", tsp),
    ("scope", scope),
    ("spawn", spawn),
    ("small-inside", || regions_of(2_000, 100, true)),
    ("small-outside", || regions_of(2_000, 100, false)),
    ("large-inside", || regions_of(200, 50_000, true)),
    ("large-outside", || regions_of(200, 50_000, false)),
    ("par_bridge", par_bridge),
    ("histogram", histogram),
    ("lines", lines),
    ("uneven", uneven),
];

/// The median of so many runs, after one that does not count.
const RUNS: usize = 9;

fn main() {
    let chosen: Vec<String> = env::args().skip(1).collect();
    for (name, program) in PROGRAMS {
        if !chosen.is_empty() && chosen.iter().all(|choice| choice != name) {
            continue;
        }
        let mut run = program();
        let mut times: Vec<f64> = (0..=RUNS)
            .map(|_| {
                let start = Instant::now();
                assert!(run(), "{name}: wrong");
                start.elapsed().as_secs_f64() * 1e6
            })
            .skip(1)
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{name} {:.0}", times[RUNS / 2]);
    }
}
