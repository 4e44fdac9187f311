//! Several programs on one folder, their deaths, and disks that fail.
//!
//! The program is run again as a child that is killed: so `main` must be ours.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trefoil::Inline;
use trefoil_cache::{Bytes, Cache, CachedExecutor, Function};

/// A folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("trefoil-programs-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A result whose every part depends on the argument, of up to 200 kB.
fn block(n: u64) -> Vec<u64> {
    (0..n * 7_919 % 25_000).map(|m| m ^ (n << 32)).collect()
}

fn blocks(cache: &Cache) -> Function<u64, Vec<u64>> {
    cache.function("block", 1, block)
}

/// A result that shares its file with others, of up to 800 bytes.
fn crumb(n: u64) -> Vec<u64> {
    (0..n * 7_919 % 130).map(|m| m ^ (n << 32)).collect()
}

fn crumbs(cache: &Cache) -> Function<u64, Vec<u64>> {
    cache.function("crumb", 1, crumb)
}

/// How many different crumbs there are.
const CRUMBS: u64 = 20_000;

fn again(what: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--child").arg(what).arg(folder);
    command.stdout(Stdio::piped());
    command
}

/// Numbers that differ from program to program.
fn random() -> impl FnMut() -> u64 {
    let mut random = u64::from(std::process::id());
    move || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        random >> 33
    }
}

/// Calls for ever, in an order of its own, with maps and removals in between, and checks all.
fn child_calls(folder: &Path, calls: u64) {
    let cache = Cache::open(folder).unwrap().limit(Bytes(4 << 20));
    let cache = cache.on_trouble(|trouble| eprintln!("{trouble}"));
    let (function, small) = (blocks(&cache), crumbs(&cache));
    let mut random = random();
    for call in 0..calls {
        for _ in 0..10 {
            let n = random() % CRUMBS;
            assert_eq!(small.call(&n).unwrap().into_inner(), crumb(n), "{n}");
        }
        let n = random() % 100;
        assert_eq!(function.call(&n).unwrap().into_inner(), block(n), "{n}");
        match call % 50 {
            7 => {
                let all = Inline.cached(&function).map(n..n + 5).unwrap();
                assert!(all.into_iter().zip(n..).all(|(all, n)| all == block(n)));
                let all = Inline.cached(&small).map(n..n + 50).unwrap();
                assert!(all.into_iter().zip(n..).all(|(all, n)| all == crumb(n)));
            }
            17 => {
                function.forget(&n).unwrap();
                (n..n + 100).for_each(|n| _ = small.forget(&n).unwrap());
                (n..n + 9).for_each(|n| assert_eq!(small.refresh(n).unwrap(), crumb(n)));
            }
            27 if n < 50 => cache.clear().unwrap(),
            _ => {}
        }
    }
    let stats = cache.stats();
    assert_eq!((stats.failed, stats.damaged), (0, 0), "{stats:?}");
    println!("complete");
}

fn ten_programs_have_one_folder() {
    let folder = Folder::new("ten");
    let start = |what: &str| again(what, &folder.0).spawn().unwrap();
    let ten: Vec<Child> = (0..8).map(|_| start("some calls")).collect();
    // Two more are killed again and again.
    for round in 0..20u64 {
        let mut two = [start("calls"), start("calls")];
        std::thread::sleep(Duration::from_millis(5 + round * 7_919 % 40));
        two.iter_mut().for_each(|child| child.kill().unwrap());
        two.iter_mut().for_each(|child| _ = child.wait().unwrap());
    }
    for child in ten {
        let end = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&end.stdout),
            "complete\n",
            "{:?}",
            end.status
        );
    }
    let all = Cache::open(&folder.0).unwrap();
    check_all(&all, 0);
}

/// Whatever there is, is right. Of crumbs, a sample is looked at.
fn check_all(cache: &Cache, round: u64) {
    let (function, small) = (blocks(cache), crumbs(cache));
    for n in 0..100 {
        assert_eq!(function.call(&n).unwrap().into_inner(), block(n), "{n}");
    }
    for n in (round % 20..CRUMBS).step_by(20) {
        assert_eq!(small.call(&n).unwrap().into_inner(), crumb(n), "{n}");
    }
    assert_eq!(cache.stats().damaged, 0);
}

/// Kills a program at many moments: none of what it has written is torn.
fn every_moment_of_death() {
    let folder = Folder::new("deaths");
    let rounds: u64 = std::env::var("TREFOIL_KILLS").map_or(20, |count| count.parse().unwrap());
    let (mut hits, mut small) = (0, 0);
    for round in 0..rounds {
        let mut child = again("calls", &folder.0).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(3_000 + round * 7_919 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let cache = Cache::open(&folder.0).unwrap();
        let crumbs = crumbs(&cache);
        small += (0..CRUMBS)
            .step_by(20)
            .filter(|n| crumbs.contains(n).unwrap())
            .count() as u64;
        check_all(&cache, round);
        hits += cache.stats().hits;
        if round % 10 == 9 {
            cache.clear().unwrap();
        }
    }
    assert!(
        hits > rounds && small > rounds,
        "{hits}, {small} of {rounds}"
    );
}

/// The child of the next test: calls all crumbs, in an order of its own.
fn child_shares(folder: &Path) {
    let cache = Cache::open(folder).unwrap();
    let small = crumbs(&cache);
    let first = random()();
    for n in (0..SHARED).map(|n| (n * 7_919 + first) % SHARED) {
        assert_eq!(small.call(&n).unwrap().into_inner(), crumb(n), "{n}");
    }
    let stats = cache.stats();
    assert_eq!((stats.failed, stats.damaged), (0, 0), "{stats:?}");
    println!("{}", stats.stored);
}

/// How many crumbs programs share.
const SHARED: u64 = 2_000;

/// What one program keeps, all others find, also those that run already.
fn ten_programs_find_what_others_keep() {
    let folder = Folder::new("share");
    let all = || {
        let start = || again("shares", &folder.0).spawn().unwrap();
        let ten: Vec<Child> = (0..10).map(|_| start()).collect();
        let ends = ten
            .into_iter()
            .map(|child| child.wait_with_output().unwrap());
        let stored = ends.map(|end| {
            let text = String::from_utf8_lossy(&end.stdout).into_owned();
            text.trim().parse::<u64>().expect("how many it has stored")
        });
        stored.sum::<u64>()
    };
    // (Two that have begun to compute the same do not wait for each other.)
    let stored = all();
    assert!((SHARED..2 * SHARED).contains(&stored), "{stored}");
    assert_eq!(all(), 0, "all are there");
}

/// An argument with everything whose order in memory is not the same in every process.
type Unordered = (
    HashMap<String, HashSet<u64>>,
    BTreeMap<u8, HashMap<i32, Option<f64>>>,
    HashSet<(char, Vec<bool>)>,
);

/// The child of the next test: prints the key of one argument, put together in an order of its own.
fn child_keys(folder: &Path) {
    let cache = Cache::open(folder).unwrap();
    let function = cache.function("count", 1, |(a, b, c): Unordered| {
        a.len() + b.len() + c.len()
    });
    let first = random()();
    let turned = |count: u64| (0..count).map(move |n| (n + first) % count);
    let words = turned(20).map(|n| {
        let numbers = turned(n).map(|m| m * m).collect();
        (format!("word {n}"), numbers)
    });
    let numbers = turned(5).map(|n| {
        let halves = turned(30).map(|m| (m as i32 - 9, (m % 3 > 0).then_some(m as f64 / 2.0)));
        (n as u8, halves.collect())
    });
    let letters = turned(26).map(|n| (char::from(b'a' + n as u8), vec![true; n as usize]));
    let argument = (words.collect(), numbers.collect(), letters.collect());
    println!("{}", function.key(&argument).unwrap());
}

/// A key is the same wherever it is made: hash maps and sets have another order in each process.
fn a_hundred_processes_have_one_key() {
    let folder = Folder::new("keys");
    let mut keys = HashSet::new();
    for _ in 0..10 {
        let start = || again("keys", &folder.0).spawn().unwrap();
        let ten: Vec<Child> = (0..10).map(|_| start()).collect();
        for child in ten {
            let end = child.wait_with_output().unwrap();
            assert!(end.status.success(), "{:?}", end.status);
            keys.insert(String::from_utf8(end.stdout).unwrap());
        }
    }
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!(keys.iter().next().unwrap().trim().len(), 64);
}

/// The child of those with a disk of their own: calls ten functions, and prints what happened.
fn child_fills(folder: &Path) {
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    let cache = Cache::open(folder).unwrap().on_trouble(|trouble| {
        assert!(trouble.to_string().contains("does not keep"), "{trouble}");
        REPORTS.fetch_add(1, Ordering::Relaxed);
    });
    let function = cache.function("large", 1, |n: u64| vec![n as u8; 300_000]);
    let small = cache.function("small", 1, |n: u64| n + 1);
    for n in 0..10 {
        assert_eq!(
            function.call(&n).unwrap().into_inner(),
            vec![n as u8; 300_000]
        );
    }
    assert_eq!(small.call(&1).unwrap().into_inner(), 2);
    let stats = cache.stats();
    let (hits, failed, damaged) = (stats.hits, stats.failed, stats.damaged);
    let reports = REPORTS.load(Ordering::Relaxed);
    println!("hits {hits} failed {failed} damaged {damaged} reports {reports}");
}

/// Runs a shell command that ends with the child, if the shell and the system allow it.
#[cfg(target_os = "linux")]
fn within(before: &str, folder: &Path) -> Option<String> {
    let script = format!("{before} && exec \"$1\" --child fills \"$2\"");
    let mut command = Command::new("unshare");
    let command = command.args(["-m", "sh", "-c", &script, "sh"]);
    let command = command.arg(std::env::current_exe().unwrap()).arg(folder);
    let end = command.output().ok()?;
    let text = String::from_utf8_lossy(&end.stdout).into_owned();
    if text.is_empty() {
        println!(
            "skipped ({}): ",
            String::from_utf8_lossy(&end.stderr).trim()
        );
        return None;
    }
    assert!(end.status.success(), "{text}{end:?}");
    Some(text)
}

/// A disk of 1 MiB, on which three of the results have room.
#[cfg(target_os = "linux")]
fn a_full_disk_costs_only_the_caching() {
    let folder = Folder::new("full");
    let mount = "mount -t tmpfs -o size=1m none \"$2\"";
    if let Some(said) = within(mount, &folder.0) {
        assert!(
            said.starts_with("hits 0 failed 7 damaged 0 reports 1"),
            "{said}"
        );
    }
    // A limit of the length of files: the same for a quota.
    let files = "trap '' XFSZ && ulimit -f 200";
    if let Some(said) = within(files, &folder.0) {
        assert!(
            said.starts_with("hits 0 failed 10 damaged 0 reports 1"),
            "{said}"
        );
    }
}

#[cfg(target_os = "linux")]
fn a_read_only_disk_is_used_as_it_is() {
    let folder = Folder::new("fixed");
    let twice = "mount -t tmpfs none \"$2\" && \"$1\" --child fills \"$2\" && rm -r \"$2\"/large-* \
        && mount -o remount,ro \"$2\"";
    if let Some(said) = within(twice, &folder.0) {
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "hits 0 failed 0 damaged 0 reports 0");
        assert_eq!(lines[1], "hits 1 failed 10 damaged 0 reports 1");
    }
}

/// A disk that is gone while the program runs.
fn a_lost_folder_costs_only_the_caching() {
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    let folder = Folder::new("lost");
    let cache = Cache::open(folder.0.join("cache")).unwrap();
    let cache = cache.limit(Bytes(1 << 20)).on_trouble(|_| {
        REPORTS.fetch_add(1, Ordering::Relaxed);
    });
    let function = blocks(&cache);
    function.call(&3).unwrap();
    fs::remove_dir_all(cache.path()).unwrap();
    fs::write(cache.path(), "in its place").unwrap();
    for n in 0..10 {
        let answer = function.call(&n).unwrap();
        assert!(answer.is_computed());
        assert_eq!(answer.into_inner(), block(n));
    }
    assert_eq!(Inline.cached(&function).map(0..10).unwrap()[7], block(7));
    assert_eq!(
        (REPORTS.load(Ordering::Relaxed), cache.stats().failed),
        (1, 20)
    );
    // It is back.
    fs::remove_file(cache.path()).unwrap();
    assert!(function.call(&3).unwrap().is_computed());
    assert!(function.call(&3).unwrap().is_hit());
}

fn main() {
    trefoil::init();
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, what, path] = &arguments[..]
        && flag == "--child"
    {
        match &**what {
            "calls" => child_calls(Path::new(path), u64::MAX),
            "keys" => child_keys(Path::new(path)),
            "shares" => child_shares(Path::new(path)),
            "some calls" => child_calls(Path::new(path), 200),
            _ => child_fills(Path::new(path)),
        }
        return;
    }
    let tests: &[(&str, fn())] = &[
        ("ten_programs_have_one_folder", ten_programs_have_one_folder),
        (
            "ten_programs_find_what_others_keep",
            ten_programs_find_what_others_keep,
        ),
        (
            "a_hundred_processes_have_one_key",
            a_hundred_processes_have_one_key,
        ),
        ("every_moment_of_death", every_moment_of_death),
        ("a_lost_folder", a_lost_folder_costs_only_the_caching),
        #[cfg(target_os = "linux")]
        ("a_full_disk", a_full_disk_costs_only_the_caching),
        #[cfg(target_os = "linux")]
        ("a_read_only_disk", a_read_only_disk_is_used_as_it_is),
    ];
    for (name, test) in tests {
        if arguments
            .get(1)
            .is_none_or(|filter| name.contains(&**filter))
        {
            print!("test {name} ... ");
            test();
            println!("ok");
        }
    }
}
