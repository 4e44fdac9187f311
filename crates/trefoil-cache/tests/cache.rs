//! The cache as users see it: hits and misses, several callers, damage, limits, maps.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use trefoil::process::Portable;
use trefoil::{Bulk, EventLoop, Executor, Inline, ProcessPool, Shared, TaskError, ThreadPool};
use trefoil_cache::{
    Age, Answer, Bytes, Cache, CacheError, CachedCall, CachedExecutor, Explanation,
    JournaledExecutor, Version,
};

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trefoil-cache-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Cache {
        Cache::open(&self.0).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => files(&path, found),
            path if path.file_name().is_some_and(|name| name != "about") => found.push(path),
            _ => {}
        }
    }
}

fn entries(folder: &Folder) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&folder.0, &mut found);
    found
}

fn double(n: u64) -> u64 {
    n * 2
}

#[test]
fn a_second_call_computes_nothing_in_another_cache_neither() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn counted(n: u64) -> String {
        CALLS.fetch_add(1, Ordering::Relaxed);
        format!("{n}")
    }
    let folder = Folder::new("second");
    let cache = folder.open();
    let function = cache.function("counted", 1, counted);
    assert_eq!(function.call(&7).unwrap(), Answer::Computed("7".to_owned()));
    assert_eq!(function.call(&7).unwrap(), Answer::Hit("7".to_owned()));
    let other = folder.open();
    let again = other.function("counted", 1, counted);
    assert_eq!(again.call(&7).unwrap(), Answer::Hit("7".to_owned()));
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    assert_eq!(
        (
            cache.stats().hits,
            cache.stats().misses,
            cache.stats().stored
        ),
        (1, 1, 1)
    );
    assert_eq!(again.refresh(7).unwrap(), "7");
    assert_eq!(CALLS.load(Ordering::Relaxed), 2);
    assert!(again.forget(&7).unwrap());
    assert!(!again.forget(&7).unwrap());
    assert!(!function.contains(&7).unwrap());
}

/// What serde does not write is missing when a result is computed, too.
#[test]
fn a_hit_is_what_was_computed() {
    #[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
    struct Skips {
        a: u64,
        #[serde(skip)]
        b: u64,
    }
    let folder = Folder::new("skips");
    let cache = folder.open();
    let skips = cache.function("skips", 1, |a: u64| Skips { a, b: 7 });
    let (computed, hit) = (skips.call(&4).unwrap(), skips.call(&4).unwrap());
    assert!(computed.is_computed() && hit.is_hit());
    assert_eq!(computed.into_inner(), Skips { a: 4, b: 0 });
    assert_eq!(hit.into_inner(), Skips { a: 4, b: 0 });
    let pool = ThreadPool::with_threads(1);
    for _ in 0..2 {
        let all = pool.cached(&skips).map(0..9).unwrap();
        assert!(all.iter().all(|one| one.b == 0), "{all:?}");
    }
}

/// A file that is none of the cache's is not read, however long it is.
#[test]
fn a_long_file_is_not_believed() {
    let folder = Folder::new("long");
    let cache = folder.open().on_trouble(|trouble| panic!("{trouble}"));
    let long = cache.function("long", 1, |n: u64| vec![n; 1 << 12]);
    assert!(long.call(&4).unwrap().is_computed());
    let path = long.entry(&4).unwrap().unwrap().path().to_owned();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 42).unwrap(); // (it takes no room on the disk)
    assert!(matches!(long.explain(&4).unwrap(), Explanation::Damaged(_)));
    assert!(long.call(&4).unwrap().is_computed());
    assert!(long.call(&4).unwrap().is_hit());
}

#[test]
fn a_miss_is_explained() {
    let folder = Folder::new("explain");
    let cache = folder.open();
    let first = cache.function("f", 1, double);
    assert_eq!(first.explain(&1).unwrap(), Explanation::NewFunction);
    first.call(&1).unwrap();
    assert!(matches!(first.explain(&1).unwrap(), Explanation::Hit(_)));
    assert!(matches!(
        first.explain(&2).unwrap(),
        Explanation::NewArgument(_)
    ));
    let second = cache.function("f", "2", double);
    let found = second.explain(&1).unwrap();
    assert_eq!(found, Explanation::OtherVersion("1".to_owned()));
    assert!(found.to_string().contains("version 1"), "{found}");
    let float = cache.function("f", 1, |n: u64| n as f64);
    let found = float.explain(&1).unwrap();
    assert!(matches!(&found, Explanation::OtherTypes { result, .. } if result == "u64"));
    assert_eq!(float.call(&1).unwrap(), Answer::Computed(1.0));
    let brief = first.clone().valid_for(Duration::ZERO);
    assert!(matches!(
        brief.explain(&1).unwrap(),
        Explanation::NotValid(_)
    ));
    assert!(brief.call(&1).unwrap().is_computed());
    let none = first.clone().valid_if(|meta| meta.bytes() == 0);
    assert!(none.entry(&1).unwrap().is_none());
    let entry = first.entry(&1).unwrap().unwrap();
    assert_eq!(entry.key(), first.key(&1).unwrap());
    fs::write(entry.path(), b"what is this").unwrap();
    assert!(matches!(
        first.explain(&1).unwrap(),
        Explanation::Damaged(_)
    ));
    assert!(first.call(&1).unwrap().is_computed());
    assert!(first.call(&1).unwrap().is_hit());
}

/// A result that is in a file with others, or in its own.
fn sized(n: u64) -> Vec<u64> {
    vec![n; if n.is_multiple_of(2) { 10 } else { 2_000 }]
}

#[test]
fn an_entry_under_a_wrong_name_is_not_believed() {
    let folder = Folder::new("misplaced");
    let cache = folder.open();
    let function = cache.function("one", 1, sized);
    let other = cache.function("other", 1, |n: u64| vec![n]);
    for n in [4, 5] {
        function.call(&n).unwrap();
        let entry = function.entry(&n).unwrap().unwrap();
        other.call(&n).unwrap();
        let foreign = other.entry(&n).unwrap().unwrap();
        fs::copy(foreign.path(), entry.path()).unwrap();
        assert_eq!(function.call(&n).unwrap(), Answer::Computed(sized(n)));
    }
    assert!(cache.stats().damaged > 0, "a file is not of this function");
}

#[test]
fn damaged_entries_are_computed_anew_whatever_the_damage() {
    let folder = Folder::new("damage");
    for n in [4, 5] {
        let cache = folder.open();
        let function = cache.function("f", 1, sized);
        function.call(&n).unwrap();
        let path = function.entry(&n).unwrap().unwrap().path().to_owned();
        let whole = fs::read(&path).unwrap();
        let begin = whole.windows(8).position(|eight| eight == b"trefoil1");
        for at in (0..whole.len()).step_by(whole.len().div_ceil(300)) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let answer = function.call(&n).unwrap();
            // (What stands before an entry in a file with others may mean nothing for it.)
            assert!(answer.is_computed() || Some(at) < begin, "{at}");
            assert_eq!(answer.into_inner(), sized(n));
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(function.call(&n).unwrap(), Answer::Computed(sized(n)));
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(function.call(&n).unwrap(), Answer::Computed(sized(n)));
        let is_small = n % 2 == 0;
        assert_eq!(
            function.call(&n).unwrap().is_hit(),
            is_small,
            "a file of its own"
        );
    }
}

/// A result that was small, and is large now, and back: each is the only one.
#[test]
fn results_that_change_their_size() {
    static SIZE: AtomicUsize = AtomicUsize::new(1);
    fn varies(_: u64) -> Vec<u8> {
        let size = SIZE.fetch_add(0, Ordering::Relaxed);
        vec![size as u8; size]
    }
    let folder = Folder::new("varies");
    let function = folder.open().function("varies", 1, varies);
    let other = folder.open().function("varies", 1, varies);
    for size in [3, 5_000, 4, 600, 7_000, 6_000, 5] {
        SIZE.store(size, Ordering::Relaxed);
        assert_eq!(function.refresh(1).unwrap(), vec![size as u8; size]);
        let found = other.call(&1).unwrap();
        assert_eq!(found, Answer::Hit(vec![size as u8; size]));
    }
    for size in [3, 5_000] {
        SIZE.store(size, Ordering::Relaxed);
        function.refresh(1).unwrap();
        assert!(other.forget(&1).unwrap() && !function.contains(&1).unwrap());
    }
}

/// A folder of a version of this crate that gave each result a file.
#[test]
fn small_results_in_files_of_their_own() {
    let folder = Folder::new("older");
    let cache = folder.open();
    let function = cache.function("f", 1, sized);
    for n in [2, 4, 6] {
        function.call(&n).unwrap();
        let entry = function.entry(&n).unwrap().unwrap();
        let bytes = fs::read(entry.path()).unwrap();
        let begin = bytes.windows(8).position(|eight| eight == b"trefoil1");
        let own = entry.path().with_file_name(&entry.key().to_string()[2..]);
        fs::write(&own, &bytes[begin.unwrap()..]).unwrap();
        fs::remove_file(entry.path()).unwrap();
        assert!(function.call(&n).unwrap().is_hit());
        assert_eq!(function.entry(&n).unwrap().unwrap().path(), own);
        assert!(matches!(function.explain(&n).unwrap(), Explanation::Hit(_)));
    }
    // What is written from now on is with others, and is the only one.
    let old = function.entry(&2).unwrap().unwrap().path().to_owned();
    function.refresh(2).unwrap();
    assert!(!old.exists() && function.call(&2).unwrap().is_hit());
    assert!(function.forget(&4).unwrap() && !function.contains(&4).unwrap());
    cache.clear().unwrap();
    assert!(entries(&folder).is_empty() && !function.contains(&6).unwrap());
}

/// One who holds a lock and does not go on, such as a program that was stopped.
#[test]
fn no_lock_is_waited_for_in_vain() {
    let folder = Folder::new("stopped");
    let cache = folder.open();
    let function = cache.function("f", 1, sized);
    function.call(&2).unwrap();
    let first = function.key(&2).unwrap().to_string()[..2].to_owned();
    let path = function.entry(&2).unwrap().unwrap().path().to_owned();
    let held = fs::File::open(path).unwrap();
    held.lock().unwrap();
    // (A hit needs no lock.)
    assert!(function.call(&2).unwrap().is_hit());
    let all = (2..4_000).step_by(2);
    let other = all
        .filter(|n| function.key(n).unwrap().to_string().starts_with(&first))
        .nth(1)
        .unwrap();
    // Each waits as long as it may.
    std::thread::scope(|scope| {
        scope.spawn(|| function.forget(&2).unwrap_err());
        scope.spawn(|| cache.clear().unwrap_err());
        scope.spawn(|| function.refresh(2).unwrap());
        scope.spawn(|| assert!(function.call(&other).unwrap().is_computed()));
    });
    assert!(function.contains(&2).unwrap());
    assert_eq!(
        cache.stats().failed,
        1,
        "the older one could not be replaced"
    );
    assert!(function.call(&other).unwrap().is_hit());
    let entry = function.entry(&other).unwrap().unwrap();
    assert!(!entry.path().ends_with("pack"), "it has a file of its own");
    held.unlock().unwrap();
    assert!(function.forget(&2).unwrap());
    assert!(function.refresh(other).is_ok() && !entry.path().exists());
}

/// Where no file can be locked or shared, small results have files of their own.
#[test]
fn no_shared_files_are_needed() {
    let folder = Folder::new("lockless");
    let cache = folder.open();
    let function = cache.function("f", 1, sized);
    function.call(&1).unwrap();
    let path = function.entry(&1).unwrap().unwrap().path().to_owned();
    let generation = path.ancestors().nth(2).unwrap();
    for first in 0..256 {
        fs::create_dir_all(generation.join(format!("{first:02x}/pack"))).unwrap();
    }
    for n in 0..100 {
        assert_eq!(function.call(&n).unwrap().is_hit(), n == 1);
        assert_eq!(function.call(&n).unwrap(), Answer::Hit(sized(n)));
    }
    assert!(function.forget(&2).unwrap() && !function.contains(&2).unwrap());
    cache.clear().unwrap();
    assert!(!function.contains(&4).unwrap());
    assert_eq!(cache.stats().failed, 0);
}

#[test]
fn errors_are_kept_only_if_asked() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn fails(n: u64) -> Result<u64, String> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Err(format!("no {n}"))
    }
    let folder = Folder::new("errors");
    let function = folder.open().function("fails", 1, fails);
    function.call(&1).unwrap();
    function.call(&1).unwrap();
    assert_eq!(CALLS.load(Ordering::Relaxed), 2);
    let keeps = function.clone().keep_errors(true);
    keeps.call(&1).unwrap();
    assert_eq!(keeps.call(&1).unwrap(), Answer::Hit(Err("no 1".to_owned())));
    assert_eq!(CALLS.load(Ordering::Relaxed), 3);
}

#[test]
fn callers_of_one_key_compute_once() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn slow(n: u64) -> u64 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
        n
    }
    let folder = Folder::new("once");
    let function = folder.open().function("slow", 1, slow);
    let all = Barrier::new(16);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                all.wait();
                assert_eq!(function.call(&5).unwrap().into_inner(), 5);
            });
        }
    });
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
}

/// Maps and calls of the same arguments, at the same time.
#[test]
fn maps_of_the_same_compute_once() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn slow(n: u64) -> u64 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
        n + 1
    }
    let folder = Folder::new("maps");
    let function = folder.open().function("slow", 1, slow);
    let all = Barrier::new(6);
    let pool = ThreadPool::with_threads(3);
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let (function, all, pool) = (&function, &all, &pool);
            scope.spawn(move || {
                all.wait();
                let items = (0..100).map(|n| (n * 37 + thread * 11) % 100);
                let expected: Vec<u64> = items.clone().map(|n| n + 1).collect();
                let found = match thread {
                    0 => Inline.cached(function).map(items).unwrap(),
                    1 => items
                        .map(|n| function.call(&n).unwrap().into_inner())
                        .collect(),
                    _ => pool.cached(function).map(items).unwrap(),
                };
                assert_eq!(found, expected);
            });
        }
    });
    assert_eq!(CALLS.load(Ordering::Relaxed), 100);
}

/// The lowest failure is the error, even if another map computes what comes before it.
#[test]
fn maps_that_wait_for_others_have_their_own_errors() {
    static STARTED: Barrier = Barrier::new(2);
    fn odd(n: u64) -> u64 {
        match n {
            1 => {
                STARTED.wait();
                std::thread::sleep(Duration::from_millis(30));
                panic!("the first")
            }
            2 => panic!("the second"),
            _ => n,
        }
    }
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn counted(n: u64) -> u64 {
        match (
            n,
            CALLS.fetch_add(u32::from(n == 1) as usize, Ordering::SeqCst),
        ) {
            (1, 0) => odd(1),
            (1, _) => panic!("the first"),
            _ => odd(n),
        }
    }
    let folder = Folder::new("lowest");
    let function = folder.open().function("odd", 1, counted);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| Inline.cached(&function).map([1]).map(|_| ()));
        STARTED.wait();
        let both = Inline
            .cached(&function)
            .map([0, 1, 2])
            .unwrap_err()
            .to_string();
        assert!(both.contains("the first"), "{both}");
        assert!(first.join().unwrap().is_err());
    });
}

/// Functions that call each other's cached forms, on a pool whose threads help while they wait.
#[test]
fn recursion_on_a_pool_does_not_hang() {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    fn fib(n: u64) -> u64 {
        let cached = CACHE.get().unwrap().function("fib", 1, fib);
        match n {
            0 | 1 => n,
            _ => {
                let call = |n: u64| cached.call(&n).unwrap().into_inner();
                let (a, b) = ThreadPool::global().join(|| call(n - 1), || call(n - 2));
                a + b
            }
        }
    }
    let folder = Folder::new("recursion");
    let cached = CACHE.get_or_init(|| folder.open()).function("fib", 1, fib);
    let pool = ThreadPool::with_threads(3);
    let all = pool.map(0..40u64, |n| cached.call(&(n % 20)).unwrap().into_inner());
    assert_eq!(all[19], 4181);
    CACHE.get().unwrap().clear().unwrap();
    let items = || (0..20u64).rev();
    assert_eq!(pool.cached(&cached).map(items()).unwrap()[0], 4181);
    CACHE.get().unwrap().clear().unwrap();
    assert_eq!(Inline.cached(&cached).map(items()).unwrap()[0], 4181);
    let one = ThreadPool::with_threads(1);
    CACHE.get().unwrap().clear().unwrap();
    assert_eq!(one.cached(&cached).map(items()).unwrap()[0], 4181);
}

#[test]
fn a_panic_keeps_nothing_and_frees_those_who_wait() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn once_bad(n: u64) -> u64 {
        if CALLS.fetch_add(1, Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(20));
            panic!("the first time");
        }
        n
    }
    let folder = Folder::new("panic");
    let function = folder.open().function("f", 1, once_bad);
    let results: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| function.call(&1).unwrap()))
            .collect();
        all.into_iter()
            .map(|thread| thread.join().is_ok())
            .collect()
    });
    assert_eq!(results.iter().filter(|is_ok| !**is_ok).count(), 1);
    assert!(function.contains(&1).unwrap());
}

#[test]
fn a_folder_that_cannot_be_written_costs_only_the_caching() {
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    let folder = Folder::new("readonly");
    let cache = folder.open().on_trouble(|trouble| {
        assert!(trouble.to_string().contains("does not keep"), "{trouble}");
        REPORTS.fetch_add(1, Ordering::Relaxed);
    });
    let function = cache.function("double", 1, double);
    // (A file in the function's place: root may write to read-only folders.)
    let probe = cache.function("double", 2, double);
    probe.call(&0).unwrap();
    let generation = probe
        .entry(&0)
        .unwrap()
        .unwrap()
        .path()
        .ancestors()
        .nth(3)
        .unwrap()
        .to_owned();
    fs::remove_dir_all(&generation).unwrap();
    fs::write(&generation, b"").unwrap();
    for n in 0..10 {
        assert_eq!(function.call(&n).unwrap(), Answer::Computed(2 * n));
    }
    assert_eq!(REPORTS.load(Ordering::Relaxed), 1, "reported once");
    assert_eq!(cache.stats().failed, 10);
    assert!(matches!(
        Cache::open(&generation),
        Err(CacheError::Folder { .. })
    ));
}

#[test]
fn limits_hold() {
    let folder = Folder::new("limits");
    let cache = folder.open().limit(Bytes(400 << 10));
    let function = cache.function("block", 1, |n: u64| vec![n as u8 | 1; 1_000]);
    for n in 0..300 {
        function.call(&n).unwrap();
        let total: u64 = entries(&folder)
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        assert!(total <= 100 * 1_200, "{total} after {n}");
    }
    assert!(cache.stats().evicted > 150);
    assert!(function.contains(&299).unwrap(), "the last stays");
    // What was used last stays: a hit moves an old stamp.
    let old = function.entry(&299).unwrap().unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(1_000_000);
    fs::File::options()
        .write(true)
        .open(old.path())
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert!(function.call(&299).unwrap().is_hit());
    for n in 300..350 {
        function.call(&n).unwrap();
    }
    assert!(function.contains(&299).unwrap());
    let aged = folder.open().limit(Age(Duration::ZERO));
    let function = aged.function("block", 1, |n: u64| vec![n as u8; 1_000]);
    assert!(!function.contains(&299).unwrap());
    cache.clear().unwrap();
    assert!(entries(&folder).is_empty());
}

/// An entry of more than the tenth that is freed at a time.
#[test]
fn limits_hold_for_large_results() {
    let folder = Folder::new("large-limits");
    let cache = folder.open().limit(Bytes(1 << 20));
    let function = cache.function("large", 1, |n: usize| vec![1_u8; n]);
    for n in 0..20 {
        function.call(&(40_000 + n)).unwrap();
    }
    for n in 0..4 {
        function.call(&(600_000 + n)).unwrap();
        assert!(function.contains(&(600_000 + n)).unwrap());
        let now = disk_use(&folder);
        assert!(now <= 1 << 20, "{now}");
    }
}

/// The texts of versions without entries do not take the place of entries.
#[test]
fn a_limit_holds_for_many_versions() {
    let folder = Folder::new("many-versions");
    let cache = folder.open().limit(Bytes(100 << 10));
    for version in 0..200 {
        let function = cache.function("built", version, |n: u64| vec![n as u8 | 1; 1_000]);
        for n in 0..3 {
            function.call(&n).unwrap();
        }
        assert!((0..3).all(|n| function.contains(&n).unwrap()), "{version}");
    }
    let kept = disk_use(&folder);
    assert!((50 << 10..=100 << 10).contains(&kept), "{kept}");
}

/// How much of the disk all entries take.
fn disk_use(folder: &Folder) -> u64 {
    let lengths = entries(folder)
        .into_iter()
        .filter_map(|path| fs::metadata(path).ok());
    lengths
        .map(|about| about.len().next_multiple_of(4096))
        .sum()
}

/// Small results: what was used longest ago goes, whatever file it shares; whole and in slices.
#[test]
fn limits_hold_for_small_results() {
    let small = |n: u64| vec![n as u8; 80];
    let larger = |n: u64| vec![n as u8; 850];
    let cases = [
        (3 << 20, 20_000, small as fn(u64) -> Vec<u8>),
        (10 << 20, 15_000, larger),
    ];
    for (limit, count, f) in cases {
        let folder = Folder::new("small-limits");
        let cache = folder.open().limit(Bytes(limit));
        let function = cache.function("small", 1, f);
        let fill = |numbers: std::ops::Range<u64>| {
            for n in numbers {
                function.call(&n).unwrap();
                if n % (count / 16) == 0 {
                    let now = disk_use(&folder);
                    assert!(now <= limit, "{now} after {n}");
                }
            }
        };
        fill(0..count);
        let evicted = cache.stats().evicted;
        assert!(evicted > 0 && evicted < count, "{evicted}");
        assert!(disk_use(&folder) > limit / 2, "no more than needed goes");
        assert!(function.contains(&(count - 1)).unwrap(), "the last stays");
        // All become old; some are used.
        for path in entries(&folder) {
            let mut bytes = fs::read(&path).unwrap();
            for at in 8..bytes.len() - 8 {
                if bytes[at..].starts_with(b"trefoil1") {
                    bytes[at - 8..at].copy_from_slice(&1u64.to_le_bytes());
                }
            }
            fs::write(path, bytes).unwrap();
        }
        let used: Vec<u64> = (count - 1_000..count)
            .filter(|n| function.contains(n).unwrap())
            .collect();
        assert!(used.len() > 100, "{}", used.len());
        fill(count..count + count / 6);
        assert!(cache.stats().evicted > evicted);
        assert!(used.iter().all(|n| function.contains(n).unwrap()));
        cache.clear().unwrap();
        assert!(entries(&folder).is_empty());
    }
}

/// Where most results are alone in their files.
#[test]
fn a_small_limit_removes_no_more_than_needed() {
    let folder = Folder::new("sparse");
    let limit = 256 << 10;
    let cache = folder.open().limit(Bytes(limit));
    let function = cache.function("small", 1, |n: u64| [n; 8]);
    for n in 0..1_000 {
        function.call(&n).unwrap();
        let now = disk_use(&folder);
        assert!(now <= limit, "{now} after {n}");
        assert!(
            now > limit / 2 || cache.stats().evicted == 0,
            "{now} after {n}"
        );
    }
    assert!(cache.stats().evicted > 0);
}

/// What was replaced or forgotten takes no room for long, and nothing is removed for it.
#[test]
fn what_was_replaced_makes_room_first() {
    let folder = Folder::new("replaced");
    let cache = folder.open().limit(Bytes(3 << 20));
    let function = cache.function("small", 1, |n: u64| [n; 8]);
    for round in 0..15 {
        for n in 0..1_000 {
            function.refresh(n).unwrap();
        }
        assert!(disk_use(&folder) <= 3 << 20, "{round}");
    }
    assert_eq!(cache.stats().evicted, 0);
    assert!((0..1_000).all(|n| function.contains(&n).unwrap()));
}

/// What a killed writer has left is removed, and what another one writes now counts.
#[test]
fn temporary_files_count() {
    let folder = Folder::new("temporary");
    let limit = 400 << 10;
    let cache = folder.open().limit(Bytes(limit));
    let function = cache.function("block", 1, |n: u64| vec![n as u8; 3_000]);
    function.call(&0).unwrap();
    let entry = function.entry(&0).unwrap().unwrap();
    let beside = |name: &str| entry.path().with_file_name(name);
    let (left, written) = (beside("tmp-left"), beside("tmp-written"));
    fs::write(&left, vec![7; 300 << 10]).unwrap();
    fs::write(&written, vec![7; 200 << 10]).unwrap();
    let writer = fs::File::open(&written).unwrap();
    writer.lock().unwrap();
    for n in 1..200 {
        function.call(&n).unwrap();
    }
    assert!(!left.exists() && written.exists());
    let used = disk_use(&folder);
    assert!(used <= limit, "{used}");
    drop(writer);
    for n in 200..300 {
        function.call(&n).unwrap();
    }
    assert!(!written.exists());
}

/// A pack is replaced between the moment when its length is read and the one when it is.
#[test]
fn a_sweep_while_others_replace_results() {
    let folder = Folder::new("sweep");
    let bytes = |n: u64| vec![n as u8; 880];
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2u64 {
            let function = folder.open().function("bytes", 1, bytes);
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    function.refresh(writer).unwrap();
                }
            });
        }
        let cache = folder.open().limit(Bytes(20_000));
        let function = cache.function("bytes", 1, bytes);
        let swept = std::panic::catch_unwind(AssertUnwindSafe(|| {
            for n in 100..500 {
                assert_eq!(function.call(&n).unwrap().into_inner(), bytes(n));
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        swept.unwrap();
    });
}

/// Many functions in one folder, and two versions of each.
#[test]
fn many_functions() {
    let folder = Folder::new("many");
    let (cache, other) = (folder.open(), folder.open());
    for index in 0..50 {
        for version in 0..2 {
            let name = format!("function {index}");
            let function = cache.function(&name, version, |n: u64| n + 1);
            for n in 0..20 {
                assert!(function.call(&n).unwrap().is_computed());
            }
            let again = other.function(&name, version, |_: u64| -> u64 { panic!("again") });
            assert!((0..20).all(|n| again.call(&n).unwrap() == Answer::Hit(n + 1)));
        }
    }
    let first = cache.function("function 7", 0, |n: u64| n + 1);
    first.clear().unwrap();
    let all = |index: u64| cache.function(&format!("function {index}"), 1, |n: u64| n + 1);
    assert!(!first.contains(&3).unwrap() && !all(7).contains(&3).unwrap());
    assert!(all(8).contains(&3).unwrap());
}

/// Many threads at once, an entry that is larger than the limit, and files of others.
#[test]
fn limits_hold_for_many_threads_and_touch_nothing_else() {
    let folder = Folder::new("threads");
    let cache = folder.open().limit(Bytes(200 << 10));
    let own = folder.0.join("src/a/b");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("thesis.tex"), [7; 1_000]).unwrap();
    fs::write(folder.0.join("notes.txt"), "mine").unwrap();
    let function = cache.function("block", 1, |n: u64| vec![n as u8; 1_000]);
    let most = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (function, folder, most) = (&function, &folder, &most);
            scope.spawn(move || {
                for n in 0..100 {
                    function.call(&(thread * 1_000 + n)).unwrap();
                    if n % 10 == 0 {
                        let all = entries(folder);
                        let sizes = all.iter().filter_map(|path| fs::metadata(path).ok());
                        let total: u64 = sizes.map(|about| about.len()).sum();
                        most.fetch_max(total as usize, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let most = most.into_inner();
    assert!(
        most <= 50 * 1_200 + 2_000,
        "{most}: with two files of others"
    );
    let before = entries(&folder).len();
    let huge = cache.function("huge", 1, |_: u64| vec![0u8; 250_000]);
    assert!(huge.call(&1).unwrap().is_computed());
    assert_eq!(entries(&folder).len(), before, "nothing made room for it");
    cache.clear().unwrap();
    assert_eq!(entries(&folder).len(), 2, "those of others");
    assert!(own.join("thesis.tex").exists());
}

#[test]
fn only_what_is_missing_is_executed() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn counted(n: u64) -> u64 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        assert_ne!(n, 13);
        n * 3
    }
    let folder = Folder::new("missing");
    let cache = folder.open();
    let function = cache.function("counted", 1, counted);
    let pool = ThreadPool::with_threads(2);
    let items = || (0..10).chain(0..5);
    let expected: Vec<u64> = items().map(|n| 3 * n).collect();
    assert_eq!(pool.cached(&function).map(items()).unwrap(), expected);
    assert_eq!(CALLS.load(Ordering::Relaxed), 10, "equal items once");
    assert_eq!(Inline.cached(&function).map(items()).unwrap(), expected);
    assert_eq!(CALLS.load(Ordering::Relaxed), 10);
    let failed = pool.cached(&function).map([1, 11, 13, 2]);
    let Err(CacheError::Task(error @ TaskError::Panicked(_))) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(error.item(), Some(2));
    assert!(function.contains(&11).unwrap(), "what came before is kept");
    let each = pool.cached(&function).map_each([1, 13, 12, 13]).unwrap();
    assert!(
        matches!(each[..], [Ok(3), Err(_), Ok(36), Err(_)]),
        "{each:?}"
    );
    let items = each.iter().map(|result| result.as_ref().err()?.item());
    assert_eq!(items.collect::<Vec<_>>(), [None, Some(1), None, Some(3)]);
    assert_eq!(pool.width(), 2);
}

/// What serde cannot read back, it cannot copy: within `untagged` it has no numbers of 128 bits.
#[test]
fn what_cannot_be_copied_for_an_equal_item_is_an_error() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Wide {
        Number(u128),
    }
    let folder = Folder::new("uncopied");
    let cache = folder.open();
    let function = cache.function("wide", 1, |n: u64| Wide::Number(n.into()));
    let each = Inline.cached(&function).map_each([1, 1, 2]).unwrap();
    assert!(matches!(each[..], [Ok(_), Err(_), Ok(_)]), "{each:?}");
    let words = each[1].as_ref().unwrap_err().to_string();
    assert!(
        words.contains("could not be copied for an equal item") && words.contains("Wide"),
        "{words}"
    );
}

#[test]
fn process_pools_and_their_calls() {
    let folder = Folder::new("processes");
    let cache = folder.open();
    let function = cache.function("double", Version::this_build(), double);
    let procs = ProcessPool::with_workers(2).unwrap();
    let all = procs.call(double).cached(&function).map(0..100).unwrap();
    assert_eq!(all[99], 198);
    assert_eq!(cache.stats().stored, 100);
    assert_eq!(procs.cached(&function).map(50..150).unwrap()[99], 298);
    assert_eq!((cache.stats().stored, cache.stats().hits), (150, 50));
    let bad = cache.function("die", 1, |_: u64| -> u64 { std::process::abort() });
    let each = procs.cached(&bad).map_each([1]).unwrap();
    assert!(matches!(each[..], [Err(TaskError::WorkerDied(_))]));
    let abort_at_3 = |n: u64| if n == 3 { std::process::abort() } else { n };
    let function = cache.function("abort at 3", 1, abort_at_3);
    procs.cached(&function).map(0..3).unwrap();
    let call = procs.call(abort_at_3).cached(&function);
    let Err(CacheError::Task(error)) = call.map(0..5) else {
        panic!("item 3 aborts");
    };
    assert_eq!(error.item(), Some(3), "its place among all items");
}

#[test]
fn async_functions() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let folder = Folder::new("async");
    let cache = folder.open();
    let function = cache.async_function("double", 1, async |n: u64| {
        if CALLS.fetch_add(1, Ordering::Relaxed) == 1 {
            std::future::pending::<()>().await; // the second is dropped
        }
        let (completer, task) = trefoil::Completer::new();
        let later = std::thread::Builder::new();
        later.spawn(move || completer.complete(Ok(n * 2))).unwrap();
        task.await.unwrap()
    });
    let all = EventLoop::new().unwrap().block_on(async {
        let (five, more) = (function.call(&5), function.call(&5));
        trefoil::join!(five, more)
    });
    assert_eq!(
        all.0.unwrap().into_inner() + all.1.unwrap().into_inner(),
        20
    );
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    // One that is dropped while it computes keeps nothing, and holds up nobody.
    let mut dropped = Box::pin(function.call(&6));
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    let six = EventLoop::new()
        .unwrap()
        .block_on(function.call(&6))
        .unwrap();
    assert_eq!(six, Answer::Computed(12));
}

/// Those who have waited for a result that is not kept compute at the same time.
#[test]
fn async_failures_do_not_queue() {
    let folder = Folder::new("async-failures");
    let (calls, gate) = (AtomicUsize::new(0), trefoil::sync::Barrier::new(4));
    let cache = folder.open();
    let function = cache.async_function("fails", 1, async |n: u64| {
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            trefoil::yield_now().await; // the others come, and wait
        } else {
            gate.wait().await;
        }
        Err::<u64, _>(n.to_string())
    });
    let all = EventLoop::new().unwrap().block_on(async {
        let one = || function.call(&5);
        let all = async { trefoil::join!(one(), one(), one(), one(), one()) };
        trefoil::timeout(Duration::from_secs(60), all).await
    });
    assert!(all.expect("one waits for another").4.unwrap().is_computed());
    assert_eq!(calls.load(Ordering::Relaxed), 5);
}

#[test]
fn keys_may_be_chosen() {
    let folder = Folder::new("keyed");
    let cache = folder.open();
    let lengths = cache.function("length", 1, |text: String| text.len());
    let lengths = lengths.keyed_by(String::len);
    assert!(lengths.call(&"abc".to_owned()).unwrap().is_computed());
    assert!(lengths.call(&"xyz".to_owned()).unwrap().is_hit());
}

/// Results and arguments of all kinds come back as they were, from a cache and from a journal.
#[test]
fn values_of_all_kinds() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Named { name: Option<Option<u8>> },
        Nodes(Box<Self>, Vec<Self>),
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
        List(Vec<Self>),
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        #[serde(flatten)]
        rest: HashMap<String, u64>,
    }
    fn check<T: Portable + Clone + PartialEq + Debug>(folder: &Folder, name: &str, value: T) {
        let function = folder.open().function(name, 1, |value: T| value);
        assert_eq!(
            function.call(&value).unwrap(),
            Answer::Computed(value.clone())
        );
        assert_eq!(function.call(&value).unwrap(), Answer::Hit(value.clone()));
        let path = folder.0.join(name);
        for f in [|value: T| value, |_| panic!("again")] {
            let all = Inline.journal(&path).map([value.clone()], f).unwrap();
            assert_eq!(all[0], value);
        }
    }
    let folder = Folder::new("kinds");
    let leaves = vec![Tree::Leaf, Tree::Named { name: Some(None) }];
    check(
        &folder,
        "tree",
        Tree::Nodes(Box::new(Tree::Named { name: None }), leaves),
    );
    check(
        &folder,
        "untagged",
        Untagged::List(vec![Untagged::Number(1)]),
    );
    let rest = (0..9).map(|n| (n.to_string(), n)).collect();
    check(&folder, "flat", Flat { a: None, rest });
    check(&folder, "unit", ());
    check(&folder, "units", vec![(); 1_000]);
    check(&folder, "options", Some(Some(None::<u8>)));
    check(
        &folder,
        "large",
        (u128::MAX, i128::MIN, 'é', "\0ü".to_owned()),
    );
    check(
        &folder,
        "sets",
        HashMap::from([(vec![1u8], HashSet::from([1u8, 2, 3]))]),
    );
    check(
        &folder,
        "map",
        BTreeMap::from([((1u8, -2i8), [[0.5f32; 3]; 2])]),
    );
    check(
        &folder,
        "bulk",
        (Bulk::from(vec![1.5f64; 100_000]), Bulk::<u8>::from([])),
    );
    check(
        &folder,
        "shared",
        (Shared::from(vec![7u64; 10_000]), Some(Shared::from([1u16]))),
    );
    let float = folder.open().function("float", 1, |x: f32| x);
    assert!(float.call(&f32::NAN).unwrap().is_computed());
    assert!(float.call(&f32::NAN).unwrap().is_hit());
    assert!(float.call(&0.0).unwrap().is_computed());
    assert!(float.call(&-0.0).unwrap().is_computed(), "another number");
}

/// Arrays with equal contents have one key.
#[test]
fn equal_arrays_have_one_key() {
    let folder = Folder::new("equal");
    let cache = folder.open();
    let sums = cache.function("sum", 1, |table: Shared<u64>| table.iter().sum::<u64>());
    let large = cache.function("sum", 1, |table: Bulk<u64>| table.iter().sum::<u64>());
    let numbers = vec![1u64; 1_000_000];
    let key = || sums.key(&Shared::from(numbers.clone())).unwrap();
    assert_eq!(key(), key());
    let mut bulk = Bulk::from(numbers.clone());
    let key = large.key(&bulk).unwrap();
    assert_eq!(large.key(&bulk.clone()).unwrap(), key);
    bulk[999_999] = 2;
    assert_ne!(large.key(&bulk).unwrap(), key);
    assert_eq!(large.call(&bulk).unwrap(), Answer::Computed(1_000_001));
}

#[test]
fn many_threads_and_one_that_clears() {
    let folder = Folder::new("clears");
    let cache = folder.open().limit(Bytes(1 << 20));
    let function = cache.function("f", 1, |n: u64| vec![n; 100]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (function, cache) = (&function, &cache);
            scope.spawn(move || {
                for n in 0..1_000 {
                    assert_eq!(
                        function.call(&(n % 50)).unwrap().into_inner(),
                        [n % 50; 100]
                    );
                    match thread {
                        0 if n % 10 == 0 => cache.clear().unwrap(),
                        1 => _ = function.forget(&(n % 50)).unwrap(),
                        _ => {}
                    }
                }
            });
        }
    });
    assert_eq!(cache.stats().failed, 0);
}

/// What is in an entry's place and no file is a miss, which is reported, and waits for nothing.
#[cfg(unix)]
#[test]
fn no_file_in_the_place_of_an_entry() {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    fn check(n: u64) {
        let folder = Folder::new("no-file");
        REPORTS.store(0, Ordering::Relaxed);
        let cache = folder.open().on_trouble(|_| {
            REPORTS.fetch_add(1, Ordering::Relaxed);
        });
        let function = cache.function("sized", 1, sized);
        function.call(&n).unwrap();
        let path = function.entry(&n).unwrap().unwrap().path().to_owned();
        type Make = fn(&Path);
        let makes: [(&str, Make); 4] = [
            ("a FIFO", |path| {
                let made = Command::new("mkfifo").arg(path).status();
                assert!(made.unwrap().success());
            }),
            ("a device", |path| symlink("/dev/zero", path).unwrap()),
            ("a link to itself", |path| symlink(path, path).unwrap()),
            ("a folder", |path| fs::create_dir(path).unwrap()),
        ];
        let mut expected = 0;
        for (what, make) in &makes {
            fs::remove_file(&path).unwrap();
            make(&path);
            let why = function.explain(&n).unwrap();
            assert!(matches!(why, Explanation::Damaged(_)), "{what}: {why}");
            assert_eq!(
                function.call(&n).unwrap(),
                Answer::Computed(sized(n)),
                "{what}"
            );
            assert_eq!(
                Inline.cached(&function).map([n, n]).unwrap(),
                [sized(n), sized(n)]
            );
            let reports = REPORTS.load(Ordering::Relaxed);
            // All but a folder have been replaced. (In the place of a file with others, a folder
            // is reported each time, and the result has a file of its own; a device is damage.)
            let is_shared = path.ends_with("pack");
            expected += usize::from(!is_shared || *what != "a device");
            let is_replaced = path.symlink_metadata().unwrap().is_file();
            assert_eq!(is_replaced, *what != "a folder", "{what}");
            assert!(
                reports == expected || is_shared && !is_replaced,
                "{what} is reported once"
            );
            let is_kept = is_replaced || is_shared;
            assert_eq!(function.call(&n).unwrap().is_hit(), is_kept, "{what}");
        }
        fs::remove_dir(&path).unwrap();
        function.call(&n).unwrap();
        let about = path.ancestors().nth(2).unwrap().join("about");
        fs::remove_file(&about).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&about)
                .status()
                .unwrap()
                .success()
        );
        let other = cache.function("sized", 2, sized);
        other.call(&7).unwrap();
        let why = other.explain(&n).unwrap();
        assert!(matches!(why, Explanation::OtherVersion(_)), "{why}");
    }
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("checks".to_owned());
    let thread = thread.spawn(move || {
        check(2);
        check(3);
        done.send(()).unwrap();
    });
    if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_secs(60)) {
        panic!("something was waited for");
    }
    thread.unwrap().join().unwrap();
}

/// No link is followed when something is written or removed.
#[cfg(unix)]
#[test]
fn links_in_the_place_of_entries() {
    let folder = Folder::new("links");
    let cache = folder.open();
    let function = cache.function("sized", 1, sized);
    let other = folder.0.join("other");
    fs::write(&other, "precious").unwrap();
    for n in [2, 3] {
        function.call(&n).unwrap();
        let path = function.entry(&n).unwrap().unwrap().path().to_owned();
        // (A file with others that is not this one.)
        let foreign = folder.0.join(format!("foreign-{n}"));
        fs::copy(&path, &foreign).unwrap();
        let before = fs::read(&foreign).unwrap();
        for target in [&other, &path] {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(target, &path).unwrap();
            assert_eq!(function.call(&n).unwrap(), Answer::Computed(sized(n)));
            assert_eq!(function.call(&n).unwrap(), Answer::Hit(sized(n)));
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&foreign, &path).unwrap();
        function.refresh(n).unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read(&foreign).unwrap(), before);
    }
    cache.clear().unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"precious");
}
