//! Random calls of parallel iterators and sorts, with trefoil's words and with rayon's: the results
//! are equal, and trefoil's take no more than three times the processor time.
//!
//! `build.rs` writes the calls: `TREFOIL_CALLS=SEED:COUNT` chooses others. Time is looked at only
//! if `TREFOIL_TIME` is set, in a release build; it has the number of sizes that each call is tried
//! with. It is processor time: what only waits is not found. A call that seems slow is measured
//! five times more, and the least time of each side counts, so that a busy machine makes no
//! finding. `.ci/long timing` runs it.
#![cfg(not(loom))]
#![allow(unsafe_code)] // it asks the system for the process's time
#![allow(dead_code)] // not all calls need all of it

#[allow(unused_imports)] // some calls need each
use std::collections::{BTreeSet, HashMap, HashSet, LinkedList, VecDeque};
use std::fmt::Write as _;
use std::hash::Hash;
use std::hint::black_box;
use std::time::Duration;

use trefoil::ThreadPool;

/// Slower than this, compared with rayon, is a finding.
const MOST: f64 = 3.0;

/// What a finding costs more, at least, in nanoseconds. Below that it is what a thread that was
/// woken for so little does until it sleeps again.
const LEAST: f64 = 50_000.0;

/// Parts of calls that may take longer, how much longer, and why.
const KNOWN: &[(&str, f64)] = &[
    // A reduction has a leaf for each item, up to 256, so that its bits depend on nothing else.
    ("flat", 6.0),
    // In rayon's loop the optimizer leaves out the allocation of items that nobody keeps.
    ("map_with", 5.0),
    ("map_init", 5.0),
];

/// Measured again.
const SUSPICIOUS: f64 = 2.0;

const REPEATS: usize = 5;

/// The threads of each pool.
const THREADS: usize = 2;

/// A call that `build.rs` has written, in one side's words.
struct Call {
    of: &'static str,
    text: &'static str,
    begin: fn(u64, usize, usize) -> Box<dyn Fn() -> u64 + Send + Sync>,
}

trait Element: Clone + Ord + Hash + Send + Sync + 'static {
    fn of(n: u64) -> Self;
    fn key(&self) -> u64;
    fn mixed(&self, n: u64) -> Self {
        Self::of(self.key() ^ n)
    }
}

macro_rules! elements {
    ($($type:ty: $n:ident => $of:expr, $this:ident => $key:expr;)*) => {$(
        impl Element for $type {
            fn of($n: u64) -> Self {
                $of
            }
            fn key(&self) -> u64 {
                let $this = self;
                $key
            }
        }
    )*};
}
elements! {
    u8: n => n as Self, this => u64::from(*this);
    u32: n => n as Self, this => u64::from(*this);
    u64: n => n & 0xFFFF_FFFF, this => *this;
    i128: n => (n & 0xFFFF_FFFF) as Self, this => *this as u64;
    String: n => format!("{:08x}", n & 0xFFFF_FFFF), this => u64::from_str_radix(this, 16).unwrap_or(0);
    Box<u64>: n => Self::new(n & 0xFFFF_FFFF), this => **this;
    [u64; 8]: n => [n & 0xFFFF_FFFF; 8], this => this[7];
    (u32, u8): n => (n as u32, n as u8), this => u64::from(this.0);
    Unit: _n => Self, _this => 0;
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Unit;

/// What a call is made on.
#[allow(dead_code)] // some calls need each
struct Given<T> {
    items: Vec<T>,
    n: usize,
    deque: VecDeque<T>,
    set: BTreeSet<T>,
    map: HashMap<u64, T>,
    text: String,
}

#[allow(dead_code)] // some calls need each
#[derive(Clone, Copy)]
enum Shape {
    Random,
    Rising,
    Falling,
    Equal,
    Few,
    Organ,
    Saw,
    Nearly,
    Halves,
    Behind,
}

fn hash(n: u64) -> u64 {
    let z = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl<T: Element> Given<T> {
    fn new(seed: u64, len: usize, n: usize) -> Self {
        let numbers = || (0..len as u64).map(|at| hash(seed ^ (at << 20)) >> 32);
        let items: Vec<T> = numbers().map(T::of).collect();
        let mut text = String::new();
        for number in numbers().take(len / 8) {
            let word = &"eine Zeile, naïve"[..(number % 12) as usize];
            let _ = write!(
                text,
                "{word}{}",
                if number.is_multiple_of(3) { '\n' } else { ' ' }
            );
        }
        Self {
            n,
            deque: items.iter().cloned().collect(),
            set: items.iter().cloned().collect(),
            map: items
                .iter()
                .map(|item| (item.key(), item.clone()))
                .collect(),
            text,
            items,
        }
    }

    fn shaped(&self, shape: Shape) -> Vec<T> {
        let len = self.items.len() as u64;
        let at = |place: u64| match shape {
            Shape::Random => hash(place),
            Shape::Rising => place,
            Shape::Falling => len - place,
            Shape::Equal => 7,
            Shape::Few => hash(place) % 5,
            Shape::Organ => place.min(len - place),
            Shape::Saw => place % (len / 16 + 1),
            Shape::Nearly if hash(place).is_multiple_of(100) => hash(place) % (len + 1),
            Shape::Nearly => place,
            Shape::Halves => (place + len / 2) % (len + 1),
            Shape::Behind if place + 20 > len => hash(place) % (len + 1),
            Shape::Behind => place,
        };
        (0..len).map(|place| T::of(at(place))).collect()
    }
}

/// A few bits of a result, which cost next to nothing.
trait Digest {
    fn digest(&self) -> u64;
}

impl<T: Element> Digest for Vec<T> {
    fn digest(&self) -> u64 {
        let step = self.len() / 16 + 1;
        let some = self.iter().step_by(step);
        some.fold(self.len() as u64, |so_far, item| hash(so_far) ^ item.key())
    }
}

impl<T: Element> Digest for Option<T> {
    fn digest(&self) -> u64 {
        self.as_ref().map_or(u64::MAX, Element::key)
    }
}

impl Digest for Option<usize> {
    fn digest(&self) -> u64 {
        self.map_or(u64::MAX, |at| at as u64)
    }
}

impl Digest for bool {
    fn digest(&self) -> u64 {
        u64::from(*self)
    }
}

impl Digest for () {
    fn digest(&self) -> u64 {
        0
    }
}

macro_rules! side {
    ($name:ident: $($prelude:tt)*) => {
        // (What is written by chance has no style.)
        #[allow(unused_imports, clippy::all, clippy::redundant_closure_for_method_calls)]
        mod $name {
            use super::*;
            use $($prelude)*;

            include!(concat!(env!("OUT_DIR"), "/calls.rs"));
        }
    };
}
side!(here: trefoil::prelude::*);
side!(theirs: rayon::prelude::*);

/// The processor time of all threads of this process.
fn used() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the place is valid for the call.
    let rc = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(rc, 0, "every process has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Pools {
    here: ThreadPool,
    theirs: rayon::ThreadPool,
}

type Run<'a> = &'a (dyn Fn() -> u64 + Send + Sync);

impl Pools {
    fn new() -> Self {
        let theirs = rayon::ThreadPoolBuilder::new().num_threads(THREADS);
        Self {
            here: ThreadPool::with_threads(THREADS),
            theirs: theirs.build().expect("two threads"),
        }
    }

    /// The processor time of so many runs of each, in nanoseconds.
    fn time(&self, here: Run<'_>, theirs: Run<'_>, times: u32) -> (f64, f64) {
        let all = |run: Run<'_>| (0..times).map(|_| run()).fold(0, |a, b| a ^ b);
        let timed = |work: &dyn Fn() -> u64| {
            // What is still awake of the side before falls asleep first.
            std::thread::sleep(Duration::from_micros(300));
            let before = used();
            black_box(work());
            (used() - before).as_nanos() as f64 / f64::from(times)
        };
        let first = timed(&|| self.here.install(|| all(here)));
        (first, timed(&|| self.theirs.install(|| all(theirs))))
    }
}

/// The least times of several rounds.
fn least(rounds: usize, mut round: impl FnMut() -> (f64, f64)) -> (f64, f64) {
    (0..rounds).fold((f64::INFINITY, f64::INFINITY), |least, _| {
        let (a, b) = round();
        (least.0.min(a), least.1.min(b))
    })
}

#[test]
fn random_calls_take_no_more_than_three_times_rayons_time() {
    let sizes: usize = std::env::var("TREFOIL_TIME").map_or(0, |n| n.parse().expect("a number"));
    let pools = Pools::new();
    let mut rows = Vec::new();
    for (number, (here, theirs)) in here::CALLS.iter().zip(theirs::CALLS).enumerate() {
        for size in 0..sizes.max(1) {
            let seed = hash((number * 1000 + size) as u64);
            // As many small as large ones.
            let len = (hash(seed) % 300_000) >> (seed % 16);
            let (len, n) = (len as usize, 1 + (hash(seed + 1) % 40) as usize);
            let what = format!("{} of {len}, n = {n}: {}", here.of, here.text);
            let (ours, rayons) = ((here.begin)(seed, len, n), (theirs.begin)(seed, len, n));
            let results = (pools.here.install(&ours), pools.theirs.install(&rayons));
            // (The order that a bridge loses shows in what is picked from the result.)
            if !here.text.contains("par_bridge") {
                assert_eq!(results.0, results.1, "{what}");
            }
            // (Of items without a size the optimizer leaves little to measure.)
            if sizes == 0 || here.of == "Unit" {
                continue;
            }
            let once = pools.time(&ours, &rayons, 1);
            let times = (1e6 / once.0.min(once.1).max(100.0)).clamp(1.0, 2000.0) as u32;
            let round = || pools.time(&ours, &rayons, times);
            let mut time = least(2, round);
            if time.0 > SUSPICIOUS * time.1 {
                let again = least(REPEATS, round);
                time = (time.0.min(again.0), time.1.min(again.1));
            }
            rows.push((time.0 / time.1, time, what));
        }
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (factor, (ours, rayons), what) in rows.iter().filter(|row| row.0 > SUSPICIOUS) {
        println!("x{factor:.1}: {ours:.0} ns, rayon {rayons:.0} ns: {what}");
    }
    if let Some(middle) = rows.get(rows.len() / 2) {
        println!(
            "{} calls; the middle one takes x{:.2}",
            rows.len(),
            middle.0
        );
    }
    let may = |what: &str| {
        let known = KNOWN.iter().filter(|(part, _)| what.contains(part));
        known.fold(MOST, |most, (_, may)| most.max(*may))
    };
    let slow = rows
        .iter()
        .filter(|(factor, (ours, rayons), what)| *factor > may(what) && ours - rayons > LEAST);
    assert_eq!(
        slow.count(),
        0,
        "calls that take too long compared with rayon"
    );
}
