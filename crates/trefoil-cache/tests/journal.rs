//! Journals: going on after an end at any moment, what is refused, blame, one writer.
//!
//! The program is run again as a child that is killed: so `main` must be ours.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trefoil::{Bulk, Inline, ProcessPool, Shutdown, TaskError, ThreadPool};
#[cfg(unix)]
use trefoil_cache::{Cache, Trouble};
use trefoil_cache::{JournalError, JournaledCall, JournaledExecutor};

/// The path of one test's journal, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trefoil-journal-{}-{name}", std::process::id()));
        let place = Self(path);
        place.clear();
        place
    }

    fn clear(&self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir_all(format!("{}.items", self.0.display()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn a_forked_child_leaves_its_parents_journal_alone() {
    unsafe extern "C" {
        fn fork() -> i32;
        fn _exit(code: i32) -> !;
        fn waitpid(child: i32, status: *mut i32, options: i32) -> i32;
    }
    let place = Place::new("forked");
    let journal = Inline.journal(&place.0);
    let run = || journal.imap(0..9_u64, |n| n);
    let mut begun = run().unwrap();
    assert_eq!(begun.next().unwrap().unwrap(), 0);
    let recorded = fs::read(&place.0).unwrap();
    // SAFETY: no other thread holds a lock that the child needs; it drops `begun` and ends.
    let child = unsafe { fork() };
    if child == 0 {
        drop(begun);
        // SAFETY: it only ends the process.
        unsafe { _exit(0) }
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    assert_eq!(unsafe { waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    assert_eq!(fs::read(&place.0).unwrap(), recorded);
    assert!(matches!(run(), Err(JournalError::InUse(_))));
    assert_eq!(begun.map(Result::unwrap).sum::<u64>(), 36);
}

fn nothing_runs_twice() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn counted(n: u64) -> String {
        CALLS.fetch_add(1, Ordering::Relaxed);
        format!("{n}")
    }
    let place = Place::new("twice");
    let pool = ThreadPool::with_threads(2);
    let journal = pool.journal(&place.0);
    assert_eq!(journal.recorded().unwrap(), 0);
    let expected: Vec<String> = (0..1_000).map(|n: u64| n.to_string()).collect();
    assert_eq!(journal.map(0..1_000, counted).unwrap(), expected);
    assert_eq!(journal.recorded().unwrap(), 1_000);
    assert_eq!(journal.map(0..1_000, counted).unwrap(), expected);
    assert_eq!(CALLS.load(Ordering::Relaxed), 1_000);
    // A longer list goes on; on another executor, too.
    let longer = Inline.journal(&place.0).map(0..1_010, counted).unwrap();
    assert_eq!(
        (longer.len(), CALLS.load(Ordering::Relaxed)),
        (1_010, 1_010)
    );
    let first: Vec<String> = journal
        .imap(0.., counted)
        .unwrap()
        .take(3)
        .map(Result::unwrap)
        .collect();
    assert_eq!(first, ["0", "1", "2"]);
}

/// Results whose sets have another order after decoding.
fn sets_of_any_type_are_recorded() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Tags(HashSet<u64>);
    fn tags(n: u64) -> Mutex<Tags> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Mutex::new(Tags((0..n + 20).collect()))
    }
    let place = Place::new("sets");
    for _ in 0..3 {
        let all = Inline.journal(&place.0).map(0..50, tags).unwrap();
        let last = all.into_iter().last().unwrap().into_inner().unwrap();
        assert_eq!(last.0, (0..69).collect());
    }
    assert_eq!(CALLS.load(Ordering::Relaxed), 50);
}

/// Nothing is written through a link, and nothing waits at a FIFO, wherever somebody puts them.
#[cfg(unix)]
fn planted_links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let place = Place::new("planted");
    let (victim, items) = (
        place.0.with_extension("victim"),
        PathBuf::from(format!("{}.items", place.0.display())),
    );
    fs::write(&victim, "precious").unwrap();
    let large = |n: u64| vec![u64::MAX - n; 150_000];
    fs::create_dir(&items).unwrap();
    for name in ["new", "0", "tmp-0", "1"] {
        symlink(&victim, items.join(name)).unwrap();
    }
    let fifo = items.join("2");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    for _ in 0..2 {
        let all = Inline.journal(&place.0).map(0..3, large).unwrap();
        assert_eq!(all, [large(0), large(1), large(2)]);
    }
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(Inline.journal(&place.0).recorded().unwrap(), 3);
    assert!(items.join("0").symlink_metadata().unwrap().is_file());
    assert!(
        items.join("tmp-0").symlink_metadata().is_err(),
        "it was left by a writer"
    );
    // The folder itself.
    place.clear();
    let elsewhere = place.0.with_extension("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let others = elsewhere.join("tmp-of-another");
    fs::write(&others, "precious").unwrap();
    symlink(&elsewhere, &items).unwrap();
    let told = Arc::new(OnceLock::new());
    let hook = told.clone();
    let journal = Inline.journal(&place.0).on_trouble(move |trouble| {
        hook.set(trouble.to_string()).unwrap();
    });
    assert_eq!(journal.map(0..1, large).unwrap(), [large(0)]);
    let trouble = told.get().expect("it is reported");
    assert!(trouble.contains("is not a folder"), "{trouble}");
    assert_eq!(fs::read(&others).unwrap(), b"precious");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    fs::remove_file(others).unwrap();
    fs::remove_file(items).unwrap();
    fs::remove_dir(elsewhere).unwrap();
    fs::remove_file(victim).unwrap();
}

fn another_map_is_refused() {
    let place = Place::new("other");
    let journal = Inline.journal(&place.0).function("double", 1);
    journal.map(0..10, |n: u64| n * 2).unwrap();
    let before = fs::read(&place.0).unwrap();
    let items = journal.map([0, 1, 7, 3], |n: u64| n * 2).unwrap_err();
    assert!(
        matches!(items, JournalError::OtherItem { index: 2, .. }),
        "{items}"
    );
    let short = journal.map(0..9, |n: u64| n * 2).unwrap_err();
    assert!(
        matches!(
            short,
            JournalError::ShorterList {
                index: 9,
                length: 9,
                ..
            }
        ),
        "{short}"
    );
    let name = Inline
        .journal(&place.0)
        .function("treble", 1)
        .map(0..10, |n: u64| n * 3);
    let name = name.unwrap_err();
    assert!(
        matches!(
            &name,
            JournalError::OtherMap {
                what: "function",
                ..
            }
        ),
        "{name}"
    );
    assert!(
        name.to_string()
            .contains("its function is `double`, not `treble`"),
        "{name}"
    );
    let version = Inline
        .journal(&place.0)
        .function("double", 2)
        .map(0..10, |n: u64| n * 2);
    assert!(matches!(
        version,
        Err(JournalError::OtherMap {
            what: "version",
            ..
        })
    ));
    let types = journal.map(0..10, |n: i64| n * 2);
    assert!(matches!(
        types,
        Err(JournalError::OtherMap {
            what: "argument type",
            ..
        })
    ));
    let types = journal.map(0..10, |n: u64| n as f64);
    assert!(matches!(
        types,
        Err(JournalError::OtherMap {
            what: "result type",
            ..
        })
    ));
    let after = fs::read(&place.0).unwrap();
    assert!(after.starts_with(&before), "nothing is lost");
    assert_eq!(journal.map(0..10, |n: u64| n * 2).unwrap()[9], 18);
    fs::write(&place.0, "some text of another program").unwrap();
    let text = journal.map(0..10, |n: u64| n * 2);
    assert!(matches!(text, Err(JournalError::NoJournal(_))));
    assert_eq!(fs::read(&place.0).unwrap(), b"some text of another program");
}

/// At every length, and with a damaged byte at every place.
fn whatever_was_cut_goes_on_and_what_is_damaged_is_refused() {
    let place = Place::new("cut");
    let journal = Inline.journal(&place.0);
    let double = |n: u64| n * 2;
    let expected: Vec<u64> = (0..5).map(double).collect();
    journal.map(0..5, double).unwrap();
    let whole = fs::read(&place.0).unwrap();
    for length in (18..whole.len()).chain([0]) {
        fs::write(&place.0, &whole[..length]).unwrap();
        assert_eq!(
            journal.map(0..5, double).unwrap(),
            expected,
            "cut at {length}"
        );
    }
    let (mut refused, mut cut) = (0, 0);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&place.0, &damaged).unwrap();
        match journal.map(0..5, double) {
            Ok(results) => {
                assert_eq!(results, expected, "damaged at {at}");
                cut += 1;
            }
            Err(JournalError::Damaged { offset, .. }) => {
                assert!(offset <= at as u64);
                assert_eq!(fs::read(&place.0).unwrap(), damaged, "it was not changed");
                refused += 1;
            }
            Err(JournalError::NoJournal(_)) => assert!(at < 18),
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(refused > cut && cut > 0, "{refused} refused, {cut} cut");
}

/// Results that are the bytes of a journal themselves.
fn journals_in_journals_may_be_cut() {
    let (inner, place) = (Place::new("inner"), Place::new("outer"));
    Inline.journal(&inner.0).map(0..5, |n: u64| n).unwrap();
    let bytes = fs::read(&inner.0).unwrap();
    let journal = Inline.journal(&place.0);
    let same = |bytes: Vec<u8>| bytes;
    let items = || vec![bytes.clone(), bytes.clone()];
    journal.map(items(), same).unwrap();
    let whole = fs::read(&place.0).unwrap();
    for length in 18..whole.len() {
        fs::write(&place.0, &whole[..length]).unwrap();
        assert_eq!(
            journal.map(items(), same).unwrap(),
            items(),
            "cut at {length}"
        );
    }
}

fn errors_are_not_recorded() {
    let place = Place::new("errors");
    let journal = Inline.journal(&place.0);
    let odd = |n: u64| if n % 2 == 1 { Err(n) } else { Ok(n) };
    journal.map(0..10, odd).unwrap();
    assert_eq!(journal.recorded().unwrap(), 5);
    let place = Place::new("panics");
    let procs = ProcessPool::with_workers(2).unwrap();
    let call = || procs.call(|n: u64| if n == 3 { std::process::abort() } else { n });
    let each = call().journal(&place.0).map_each(0..6).unwrap();
    assert_eq!(each.iter().filter(|result| result.is_ok()).count(), 5);
    assert!(matches!(
        each[3],
        Err(JournalError::Task(TaskError::WorkerDied(_)))
    ));
    assert_eq!(call().journal(&place.0).recorded().unwrap(), 5);
    let again = call().journal(&place.0).map(0..6);
    let Err(JournalError::Task(error)) = again else {
        panic!("{again:?}");
    };
    assert_eq!(error.item(), Some(3), "its place among all items");
}

/// The file is free when a map has ended, even while a process is started, which has all files of
/// this one until it is executed.
fn the_next_map_has_the_file() {
    let place = Place::new("next");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                let mut child = Command::new(std::env::current_exe().unwrap());
                child.arg("no test").status().unwrap();
            }
        });
        let maps = (0..2_000).map(|_| Inline.journal(&place.0).map(0..3, |n: u64| n));
        let failed: Vec<_> = maps.filter_map(Result::err).collect();
        is_done.store(true, Ordering::Relaxed);
        assert!(failed.is_empty(), "{failed:?}");
    });
}

/// Results that have no bytes, as many results and as parts of one.
fn units_come_back() {
    let count = match std::env::var_os("TREFOIL_FULL") {
        Some(_) => 3_000_000,
        None => 50_000,
    };
    let place = Place::new("units");
    let journal = Inline.journal(&place.0);
    assert_eq!(
        journal.map(0..count, |_: u64| ()).unwrap().len(),
        count as usize
    );
    assert_eq!(journal.recorded().unwrap(), count as usize);
    let again = journal.map(0..count, |_: u64| -> () { panic!("again") });
    assert_eq!(again.unwrap().len(), count as usize);
    let place = Place::new("parts");
    let journal = Inline.journal(&place.0);
    let parts = |n: usize| vec![(); n];
    journal.map([3_000_000], parts).unwrap();
    let again = journal.map([3_000_000], |_: usize| -> Vec<()> { panic!("again") });
    assert_eq!(again.unwrap()[0].len(), 3_000_000);
}

/// A call of a process pool is one job, whatever is recorded: its context is sent once to each
/// worker.
fn a_context_travels_once() {
    /// Notes in a file when it is decoded, which is in workers.
    #[derive(Serialize, Deserialize)]
    #[serde(from = "PathBuf", into = "PathBuf")]
    struct Noted(PathBuf);
    impl From<PathBuf> for Noted {
        fn from(path: PathBuf) -> Self {
            let mut options = fs::OpenOptions::new();
            let file = options.append(true).create(true).open(&path);
            file.unwrap().write_all(b".").unwrap();
            Self(path)
        }
    }
    impl From<Noted> for PathBuf {
        fn from(noted: Noted) -> Self {
            noted.0
        }
    }
    impl Clone for Noted {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }
    let (place, notes) = (Place::new("context"), Place::new("notes"));
    let procs = ProcessPool::with_workers(2).unwrap();
    let noted = Noted(notes.0.clone());
    let call = || {
        procs.call_with(&noted, |noted: &Noted, n: u64| {
            noted.0.is_file().then_some(n)
        })
    };
    let all = call().journal(&place.0).map(0..2_000).unwrap();
    assert!(all.iter().zip(0..).all(|(result, n)| *result == Some(n)));
    let decoded = fs::metadata(&notes.0).unwrap().len();
    assert!((1..=2).contains(&decoded), "{decoded}");
    let more: Vec<_> = call().journal(&place.0).imap(0..2_500).unwrap().collect();
    assert_eq!(more.len(), 2_500);
    let decoded = fs::metadata(&notes.0).unwrap().len();
    assert!((2..=4).contains(&decoded), "{decoded}");
}

/// Items are taken at most 16,384 ahead of the caller, recorded ones not at all, and results are in
/// the file before the caller sees them.
fn calls_are_lazy_and_recorded_first() {
    let place = Place::new("lazy");
    let procs = ProcessPool::with_workers(2).unwrap();
    let call = procs.call(|n: u64| n * 2).journal(&place.0);
    let taken = Cell::new(0);
    let items = || (0..).inspect(|n| taken.set(n + 1));
    let mut results = call.imap(items()).unwrap();
    assert_eq!(taken.get(), 0);
    for n in 0..100 {
        assert_eq!(results.next().unwrap().unwrap(), n * 2);
        let recorded = call.recorded().unwrap() as u64;
        assert!(recorded > n, "{recorded} at {n}");
        assert!(taken.get() <= n + 1 + 16_384, "{} at {n}", taken.get());
    }
    drop(results);
    assert!(procs.call(|n: u64| n).spawn(7).join().is_ok(), "it goes on");
    let mut results = call.imap(items()).unwrap();
    for n in 0..100 {
        assert_eq!(results.next().unwrap().unwrap(), n * 2);
        assert_eq!(taken.get(), n + 1);
    }
    drop(results);
    let call = call.at_once(3);
    let mut results = call.imap(items()).unwrap();
    assert_eq!(results.by_ref().nth(5_000).unwrap().unwrap(), 10_000);
    // Three are under way; more have come before an earlier one, and wait for the caller.
    assert!(taken.get() <= 5_001 + 16_384, "{}", taken.get());
}

/// The first item is slower than as many as may wait for the caller.
fn one_slow_item_holds_up_a_bounded_number() {
    fn slow((n, path): (u64, PathBuf)) -> u64 {
        while n == 0 && !path.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        n
    }
    let (place, go) = (Place::new("slow"), Place::new("go"));
    let procs = ProcessPool::with_workers(2).unwrap();
    let call = procs.call(slow).journal(&place.0);
    let taken = Cell::new(0);
    let items = (0..40_000).inspect(|n| {
        taken.set(n + 1);
        if *n == 16_000 {
            fs::write(&go.0, "").unwrap();
        }
        assert!(*n < 17_000 || go.0.exists());
    });
    let items = items.map(|n| (n, go.0.clone()));
    let all: Vec<u64> = call.imap(items).unwrap().map(Result::unwrap).collect();
    assert!(all.into_iter().eq(0..40_000));
}

fn a_pool_that_has_ended_records_nothing() {
    let place = Place::new("ended");
    let procs = ProcessPool::with_workers(1).unwrap();
    let call = procs.call(|n: u64| n).journal(&place.0);
    call.map(0..3).unwrap();
    procs.shutdown(Shutdown::Wait);
    assert_eq!(call.map(0..3).unwrap(), [0, 1, 2], "it is recorded");
    let each = call.map_each(0..10).unwrap();
    assert_eq!(each.len(), 10);
    assert!(each[..3].iter().all(Result::is_ok));
    assert!(
        each[3..]
            .iter()
            .all(|result| matches!(result, Err(JournalError::Task(_))))
    );
    assert!(matches!(
        call.map(0..4),
        Err(JournalError::Task(TaskError::Closed))
    ));
    assert_eq!(
        call.imap(0..)
            .unwrap()
            .take(20)
            .filter(Result::is_err)
            .count(),
        17
    );
}

fn a_panic_of_the_input_loses_nothing() {
    let place = Place::new("input");
    let procs = ProcessPool::with_workers(2).unwrap();
    let call = procs.call(|n: u64| n).journal(&place.0);
    let items = || (0..100).inspect(|n| assert!(*n < 50, "no more"));
    let panic = catch_unwind(AssertUnwindSafe(|| call.imap(items()).unwrap().count()));
    let message = panic.unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"no more"));
    assert_eq!(call.recorded().unwrap(), 50);
}

/// A journal's path that is something else is an error, and nothing waits for it.
#[cfg(unix)]
fn no_file_is_no_journal() {
    let place = Place::new("fifo");
    let made = Command::new("mkfifo").arg(&place.0).status();
    assert!(made.unwrap().success());
    let journal = Inline.journal(&place.0);
    let error = journal.map(0..3, |n: u64| n).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    assert!(matches!(journal.recorded(), Err(JournalError::File { .. })));
    let zero = Inline.journal("/dev/zero").map(0..3, |n: u64| n);
    assert!(matches!(zero, Err(JournalError::File { .. })));
}

fn large_results_are_beside_it() {
    let place = Place::new("large");
    let journal = Inline.journal(&place.0);
    let make = |n: u64| Bulk::from(vec![n; 300_000]);
    journal.map(0..3, make).unwrap();
    assert!(fs::metadata(&place.0).unwrap().len() < 10_000);
    let again = journal
        .map(0..3, |_: u64| -> Bulk<u64> { unreachable!() })
        .unwrap();
    assert_eq!((again[2].len(), again[2][299_999]), (300_000, 2));
    // One that is damaged is computed again.
    let large = format!("{}.items/1", place.0.display());
    let mut bytes = fs::read(&large).unwrap();
    bytes[1_000_000] ^= 1;
    fs::write(&large, bytes).unwrap();
    let again = journal
        .map(0..3, |n: u64| Bulk::from(vec![n + 10; 2]))
        .unwrap();
    assert_eq!(
        (again[0].len(), again[1][0], again[2].len()),
        (300_000, 11, 300_000)
    );
}

/// A path that is not absolute means what it meant when the map began.
fn a_program_may_go_to_another_folder() {
    let (place, folder) = (Place::new("relative"), Place::new("elsewhere"));
    let (name, before) = (
        place.0.file_name().unwrap(),
        std::env::current_dir().unwrap(),
    );
    fs::create_dir(&folder.0).unwrap();
    std::env::set_current_dir(place.0.parent().unwrap()).unwrap();
    let journal = Inline.journal(name);
    let make = |n: u64| Bulk::from(vec![n; 300_000]);
    for result in journal.imap(0..3, make).unwrap() {
        result.unwrap();
        std::env::set_current_dir(&folder.0).unwrap();
    }
    std::env::set_current_dir(before).unwrap();
    let left = fs::read_dir(&folder.0).unwrap().count();
    fs::remove_dir_all(&folder.0).unwrap();
    assert_eq!(left, 0);
    let again = |_: u64| -> Bulk<u64> { unreachable!("it is recorded") };
    let again = Inline.journal(&place.0).map(0..3, again).unwrap();
    assert_eq!(again[2][299_999], 2);
}

/// With results that are missing here and there, as many items run at once as without.
fn holes_do_not_make_it_slow() {
    static MOST: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    static FAILS: AtomicUsize = AtomicUsize::new(1);
    fn slow(n: u64) -> Result<u64, String> {
        let now = MOST[0].fetch_add(1, Ordering::SeqCst) + 1;
        MOST[1].fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        MOST[0].fetch_sub(1, Ordering::SeqCst);
        match n % 2 == 1 && FAILS.load(Ordering::SeqCst) == 1 {
            true => Err("now".to_owned()),
            false => Ok(n),
        }
    }
    let place = Place::new("holes");
    let pool = ThreadPool::with_threads(8);
    pool.journal(&place.0).map(0..100, slow).unwrap();
    FAILS.store(0, Ordering::SeqCst);
    MOST[1].store(0, Ordering::SeqCst);
    let all = pool.journal(&place.0).map(0..100, slow).unwrap();
    assert!(all.into_iter().zip(0..).all(|(result, n)| result == Ok(n)));
    assert!(MOST[1].load(Ordering::SeqCst) > 4);
}

/// What runs in the caller is recorded one by one.
fn inline_items_are_recorded_at_once() {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let place = Place::new("inline");
    PATH.set(place.0.clone()).unwrap();
    let slow = |n: u64| {
        std::thread::sleep(Duration::from_millis(3));
        fs::metadata(PATH.get().unwrap()).unwrap().len() + n
    };
    let sizes = Inline.journal(&place.0).map(0..20, slow).unwrap();
    assert!(sizes[19] > sizes[0] + 300, "{sizes:?}");
}

/// When nothing more can be recorded, no item is blamed for it.
fn a_disk_that_is_full_blames_nobody() {
    let place = Place::new("blameless");
    let items = PathBuf::from(format!("{}.items", place.0.display()));
    fs::write(&items, "in the way of the folder").unwrap();
    let journal = Inline.journal(&place.0).blame_after(1);
    for _ in 0..2 {
        let sizes = journal
            .map([2_000_000, 2, 3, 4], |n: usize| vec![0u8; n])
            .unwrap();
        assert_eq!(sizes.len(), 4);
    }
    fs::remove_file(&items).unwrap();
}

/// An error comes where it is due, and nothing after it.
fn a_difference_is_the_last_thing() {
    let place = Place::new("last");
    let journal = Inline.journal(&place.0);
    journal.map(0..10, |n: u64| n).unwrap();
    let items = (0..5).chain([77]).chain(6..10);
    let all: Vec<_> = journal.imap(items, |n: u64| n).unwrap().collect();
    assert_eq!(all.len(), 6);
    assert!(matches!(
        all[5],
        Err(JournalError::OtherItem { index: 5, .. })
    ));
    // What comes before it runs, though nothing of it is recorded.
    let place = Place::new("before");
    let pool = ThreadPool::with_threads(2);
    let last = pool.journal(&place.0);
    let odd = |n: u64| if n < 8 { Err(n) } else { Ok(n) };
    last.map(0..10, odd).unwrap();
    let items = (0..8).chain([77, 9]);
    let all: Vec<_> = last.imap(items, odd).unwrap().collect();
    assert_eq!(all.len(), 9);
    assert!(all[..8].iter().all(Result::is_ok));
    assert!(matches!(
        all[8],
        Err(JournalError::OtherItem { index: 8, .. })
    ));
    let on_loop = trefoil::run(async { journal.map_each(0..10, |n: u64| n) });
    assert!(matches!(
        on_loop,
        Err(JournalError::Task(TaskError::WouldBlock))
    ));
}

fn one_writer() {
    let place = Place::new("writer");
    let journal = Inline.journal(&place.0);
    let mut first = journal.imap(0.., |n: u64| n).unwrap();
    assert_eq!(first.next().unwrap().unwrap(), 0);
    assert!(matches!(
        journal.map(0..3, |n: u64| n),
        Err(JournalError::InUse(_))
    ));
    drop(first);
    assert_eq!(journal.map(0..100_000, |n: u64| n).unwrap().len(), 100_000);
}

/// A full disk: what cannot be recorded is computed all the same.
#[cfg(target_os = "linux")]
fn a_disk_that_is_full_costs_only_the_recording() {
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    let place = Place::new("full");
    let items = PathBuf::from(format!("{}.items", place.0.display()));
    fs::write(&items, "in the way of the folder").unwrap();
    let journal = Inline.journal(&place.0).on_trouble(|trouble| {
        assert!(
            trouble.to_string().contains("records nothing more"),
            "{trouble}"
        );
        REPORTS.fetch_add(1, Ordering::Relaxed);
    });
    let sizes = journal
        .map([1, 2_000_000, 3, 2_000_000], |n: usize| vec![0u8; n])
        .unwrap();
    assert_eq!(sizes.iter().map(Vec::len).sum::<usize>(), 4_000_004);
    assert_eq!(REPORTS.load(Ordering::Relaxed), 1);
    fs::remove_file(&items).unwrap();
}

/// The child of `the_limit_for_files_costs_only_the_recording`: a journal and a cache at a limit of
/// 64 KiB, with what was reported.
#[cfg(unix)]
fn child_is_limited(path: &Path) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    static REPORTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    fn report(trouble: &Trouble) {
        REPORTS.lock().unwrap().push(trouble.to_string());
    }
    let limit = Rlimit {
        current: Some(64 << 10),
        ..getrlimit(Resource::Fsize)
    };
    setrlimit(Resource::Fsize, limit).unwrap();
    let bytes = |n: usize| vec![n as u8; n];
    let folder = path.join("cache");
    let cache = Cache::open(folder).unwrap().on_trouble(report);
    let kept = cache.function("bytes", 1, bytes);
    for n in (0..200).chain([70_000, 2_000_000]) {
        assert_eq!(kept.call(&n).unwrap().into_inner(), bytes(n));
    }
    assert!(kept.contains(&199).unwrap() && !kept.contains(&70_000).unwrap());
    let small = Inline.journal(path.join("small")).on_trouble(report);
    assert_eq!(small.map(0..1_000, bytes).unwrap()[999], bytes(999));
    let large = Inline.journal(path.join("large")).on_trouble(report);
    let large = large.blame_after(1);
    assert_eq!(
        large.map([1, 2_000_000], bytes).unwrap()[1],
        bytes(2_000_000)
    );
    let reports = REPORTS.lock().unwrap();
    assert!(
        reports.iter().all(|text| text.contains("File too large")),
        "{reports:?}"
    );
    println!("complete {}", reports.len());
}

/// A program that reaches its limit for files is not ended by a signal.
#[cfg(unix)]
fn the_limit_for_files_costs_only_the_recording() {
    let place = Place::new("limit");
    fs::create_dir(&place.0).unwrap();
    let end = again("limit", &place.0).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&end.stdout),
        "complete 3\n",
        "{:?}",
        end.status
    );
    let small = Inline.journal(place.0.join("small"));
    assert!((100..999).contains(&small.recorded().unwrap()));
    // Without the limit it continues, and blames nobody.
    let bytes = |n: usize| vec![n as u8; n];
    assert_eq!(small.map(0..1_000, bytes).unwrap()[999], bytes(999));
    assert_eq!(small.recorded().unwrap(), 1_000);
    let large = Inline.journal(place.0.join("large")).blame_after(1);
    assert_eq!(
        large.map([1, 2_000_000], bytes).unwrap()[1],
        bytes(2_000_000)
    );
    fs::remove_dir_all(&place.0).unwrap();
}

fn a_value_that_is_not_read_back_is_the_only_one_missing() {
    /// Its second number is not read back.
    #[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
    #[serde(from = "u64", into = "u64")]
    struct Half(u64, u64);
    impl From<Half> for u64 {
        fn from(half: Half) -> Self {
            half.0 * 2 + half.1
        }
    }
    impl From<u64> for Half {
        fn from(number: u64) -> Self {
            Self(number / 2, 0)
        }
    }
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    let place = Place::new("half");
    let journal = Inline
        .journal(&place.0)
        .blame_after(1)
        .on_trouble(|trouble| {
            assert!(trouble.to_string().contains("item 3"), "{trouble}");
            REPORTS.fetch_add(1, Ordering::Relaxed);
        });
    let half = |n: u64| Half(n, u64::from(n == 3 || n == 5));
    assert_eq!(journal.map(0..9, half).unwrap().len(), 9);
    assert_eq!(REPORTS.load(Ordering::Relaxed), 1);
    assert_eq!(journal.recorded().unwrap(), 7);
    assert_eq!(journal.map(0..9, half).unwrap()[5], Half(5, 1));
}

/// What serde does not write is missing in the first run, too: no run has another result.
fn every_run_has_the_same_results() {
    #[derive(Clone, Serialize, Deserialize, PartialEq, Debug)]
    struct Skips {
        a: u64,
        #[serde(skip)]
        b: u64,
    }
    let place = Place::new("skips");
    let pool = ThreadPool::with_threads(2);
    let skips = |a: u64| Skips { a, b: 7 };
    for _ in 0..2 {
        let all = pool.journal(&place.0).map(0..9, skips).unwrap();
        assert_eq!(all[3], Skips { a: 3, b: 0 });
        let all = Inline.journal(&place.0).map(0..9, skips).unwrap();
        assert_eq!(all[8], Skips { a: 8, b: 0 });
    }
}

/// The README's bar counts what is recorded, too.
fn a_bar_follows() {
    let place = Place::new("bar");
    Inline.journal(&place.0).map(0..40, |n: u64| n).unwrap();
    let pool = ThreadPool::with_threads(2);
    let journal = pool.journal(&place.0);
    let bar = trefoil_progress::ProgressBar::hidden();
    let results = journal.imap(0..100, |n: u64| n).unwrap();
    let all = bar.wrap_iter(results).collect::<Result<Vec<_>, _>>();
    assert_eq!((all.unwrap().len(), bar.position()), (100, 100));
}

/// The child of `a_failed_sync_ends_the_recording`.
fn child_syncs(path: &Path) {
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    let journal = Inline.journal(path).synced(Duration::ZERO);
    let journal = journal.on_trouble(|trouble| {
        let text = trouble.to_string();
        assert!(text.contains("records nothing more"), "{text}");
        REPORTS.fetch_add(1, Ordering::Relaxed);
    });
    let all = journal.map(0..50, |n: u64| n * n).unwrap();
    assert_eq!(all[49], 49 * 49);
    println!("complete {}", REPORTS.load(Ordering::Relaxed));
}

/// strace makes every sync after the fourth fail.
#[cfg(target_os = "linux")]
fn a_failed_sync_ends_the_recording() {
    let place = Place::new("sync");
    let inject = "inject=fdatasync:error=EIO:when=5+";
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        inject,
    ]);
    strace.arg(std::env::current_exe().unwrap());
    let end = strace.args(["--child", "syncs"]).arg(&place.0).output();
    let Some(end) = end.ok().filter(|end| !end.stdout.is_empty()) else {
        println!("skipped: strace does not work here");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&end.stdout), "complete 1\n");
    let recorded = Inline.journal(&place.0).recorded().unwrap();
    assert!((1..50).contains(&recorded), "{recorded}");
    let all = Inline.journal(&place.0).map(0..50, |n: u64| n * n).unwrap();
    assert_eq!(all[49], 49 * 49);
    assert_eq!(Inline.journal(&place.0).recorded().unwrap(), 50);
}

fn pause_of(index: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(200));
    index * index
}

/// The child of `every_moment_of_death`: items of 0.2 ms, whose results are noted in a file each.
fn child_maps(path: &Path) {
    let pool = ThreadPool::with_threads(2);
    let all = pool
        .journal(path)
        .synced(Duration::from_secs(1))
        .map(0..2_000, pause_of)
        .unwrap();
    assert!(all.iter().zip(0..).all(|(square, n)| *square == n * n));
    println!("complete");
}

fn again(what: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .arg("--child")
        .arg(what)
        .arg(path)
        .stdout(Stdio::piped());
    command
}

/// Kills the whole program at many moments; it ends, with every result.
fn every_moment_of_death() {
    let place = Place::new("deaths");
    let rounds: u64 = std::env::var("TREFOIL_KILLS").map_or(20, |count| count.parse().unwrap());
    let (mut recorded, mut whole) = (0, 0);
    for round in 0..rounds {
        let mut child = again("maps", &place.0).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(3_000 + round * 7_919 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = Inline.journal(&place.0).recorded().unwrap();
        assert!(now >= recorded, "results were lost: {now} after {recorded}");
        recorded = now;
        if recorded == 2_000 {
            whole += 1;
            recorded = 0;
            place.clear();
        }
    }
    let end = again("maps", &place.0).output().unwrap();
    assert!(end.status.success());
    assert_eq!(end.stdout, b"complete\n");
    assert!(rounds < 500 || whole > 0);
    // Each result is there once.
    let file = fs::read(&place.0).unwrap();
    assert_eq!(Inline.journal(&place.0).recorded().unwrap(), 2_000);
    assert!(file.len() < 2_000 * 64 + 10_000, "{}", file.len());
}

/// Ends the program, which is this process or the one whose worker this is.
fn poison(n: u64) -> u64 {
    if n == 37 && std::env::args().any(|argument| argument == "dies") {
        std::process::abort();
    }
    #[cfg(unix)]
    if n == 37 {
        let program = std::os::unix::process::parent_id().to_string();
        let kill = Command::new("kill").args(["-9", &program]).status();
        assert!(kill.unwrap().success());
        std::thread::sleep(Duration::from_secs(60));
    }
    n
}

/// The child of `a_poisonous_item_is_blamed`.
fn child_dies(path: &Path, in_workers: bool) {
    let each = match in_workers {
        true => {
            let procs = ProcessPool::with_workers(2).unwrap();
            let call = procs.call(poison).journal(path).blame_after(3);
            call.map_each(0..100).unwrap()
        }
        false => {
            let pool = ThreadPool::with_threads(2);
            let journal = pool.journal(path).blame_after(3);
            journal.map_each(0..100, poison).unwrap()
        }
    };
    let blamed: Vec<usize> = each
        .iter()
        .filter_map(|result| match result {
            Err(JournalError::Blamed { index, deaths: 3 }) => Some(*index),
            _ => None,
        })
        .collect();
    assert_eq!(blamed, [37]);
    assert_eq!(each.iter().filter(|result| result.is_ok()).count(), 99);
    println!("complete");
}

fn a_poisonous_item_is_blamed() {
    for what in ["dies", "dies of workers"] {
        if cfg!(windows) && what != "dies" {
            continue; // there is no `kill`
        }
        let place = Place::new("poison");
        for _ in 0..3 {
            let mut death = again(what, &place.0);
            let death = death.stderr(Stdio::null()).output().unwrap();
            assert!(!death.status.success());
        }
        let end = again(what, &place.0).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&end.stdout), "complete\n", "{what}");
    }
}

/// How far the child of `an_exit_counts` is: an item runs; it may end.
static STEPS: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// The child of `an_exit_counts`: exits with code 0 while an item runs, there or elsewhere, or
/// after its map has ended.
fn child_exits(path: &Path, how: &str) {
    let (in_item, in_order) = (how == "item exits", how == "exits in order");
    let pool = ThreadPool::with_threads(1);
    static IN_ITEM: AtomicBool = AtomicBool::new(false);
    IN_ITEM.store(in_item, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !STEPS[0].load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            if !in_item && !in_order {
                std::process::exit(0);
            }
            STEPS[1].store(in_order, Ordering::SeqCst);
            pool.shutdown(Shutdown::CancelPending);
        });
        let each = pool.journal(path).blame_after(1).map_each(0..3u64, |n| {
            STEPS[0].store(true, Ordering::SeqCst);
            if IN_ITEM.load(Ordering::SeqCst) {
                std::process::exit(0);
            }
            while !STEPS[1].load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            n
        });
        let is_blamed = |result: &_| matches!(result, Err(JournalError::Blamed { .. }));
        assert!(!each.unwrap().iter().any(is_blamed));
    });
}

/// An end of the program by `exit` counts, whatever the code is, if an item has called it.
fn an_exit_counts() {
    let elsewhere = usize::from(cfg!(windows)); // where every exit counts
    for (what, blamed) in [
        ("item exits", 1),
        ("exits", elsewhere),
        ("exits in order", 0),
    ] {
        let place = Place::new("exits");
        let end = again(what, &place.0).output().unwrap();
        assert_eq!(end.status.code(), Some(0), "{what}");
        let journal = Inline.journal(&place.0).blame_after(1);
        let each = journal.map_each(0..3u64, |n| n).unwrap();
        let told = |error: &JournalError| {
            error
                .to_string()
                .contains("when the program ended (1 times)")
        };
        let errors: Vec<_> = each
            .iter()
            .filter_map(|result| result.as_ref().err())
            .collect();
        assert!(errors.iter().all(|error| told(error)), "{errors:?}");
        // (A pool of one thread may have begun none of the others.)
        assert_eq!(errors.len().min(1), blamed, "{what}");
    }
}

fn main() {
    trefoil::init();
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, what, path] = &arguments[..]
        && flag == "--child"
    {
        match &**what {
            "maps" => child_maps(Path::new(path)),
            "syncs" => child_syncs(Path::new(path)),
            #[cfg(unix)]
            "limit" => child_is_limited(Path::new(path)),
            "exits" | "item exits" | "exits in order" => child_exits(Path::new(path), what),
            what => child_dies(Path::new(path), what == "dies of workers"),
        }
        return;
    }
    let tests: &[(&str, fn())] = &[
        ("holes_do_not_make_it_slow", holes_do_not_make_it_slow),
        ("inline_items", inline_items_are_recorded_at_once),
        (
            "a_disk_that_is_full_blames",
            a_disk_that_is_full_blames_nobody,
        ),
        (
            "a_difference_is_the_last_thing",
            a_difference_is_the_last_thing,
        ),
        ("nothing_runs_twice", nothing_runs_twice),
        ("a_bar_follows", a_bar_follows),
        (
            "every_run_has_the_same_results",
            every_run_has_the_same_results,
        ),
        #[cfg(unix)]
        (
            "the_limit_for_files_costs",
            the_limit_for_files_costs_only_the_recording,
        ),
        (
            "a_value_that_is_not_read_back",
            a_value_that_is_not_read_back_is_the_only_one_missing,
        ),
        #[cfg(unix)]
        (
            "a_forked_child_leaves_its_parents_journal_alone",
            a_forked_child_leaves_its_parents_journal_alone,
        ),
        (
            "sets_of_any_type_are_recorded",
            sets_of_any_type_are_recorded,
        ),
        #[cfg(unix)]
        (
            "planted_links_are_not_followed",
            planted_links_are_not_followed,
        ),
        ("another_map_is_refused", another_map_is_refused),
        (
            "whatever_was_cut",
            whatever_was_cut_goes_on_and_what_is_damaged_is_refused,
        ),
        ("journals_in_journals", journals_in_journals_may_be_cut),
        ("errors_are_not_recorded", errors_are_not_recorded),
        ("large_results_are_beside_it", large_results_are_beside_it),
        (
            "a_program_may_go_to_another_folder",
            a_program_may_go_to_another_folder,
        ),
        ("units_come_back", units_come_back),
        ("a_context_travels_once", a_context_travels_once),
        ("calls_are_lazy", calls_are_lazy_and_recorded_first),
        ("one_slow_item", one_slow_item_holds_up_a_bounded_number),
        (
            "a_pool_that_has_ended",
            a_pool_that_has_ended_records_nothing,
        ),
        ("a_panic_of_the_input", a_panic_of_the_input_loses_nothing),
        #[cfg(unix)]
        ("no_file", no_file_is_no_journal),
        ("one_writer", one_writer),
        ("the_next_map_has_the_file", the_next_map_has_the_file),
        #[cfg(target_os = "linux")]
        (
            "a_disk_that_is_full",
            a_disk_that_is_full_costs_only_the_recording,
        ),
        #[cfg(target_os = "linux")]
        ("a_failed_sync", a_failed_sync_ends_the_recording),
        ("every_moment_of_death", every_moment_of_death),
        ("a_poisonous_item_is_blamed", a_poisonous_item_is_blamed),
        ("an_exit_counts", an_exit_counts),
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
