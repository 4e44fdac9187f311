//! The pool of worker processes: calls, accidents, what workers get of their parent, and the end.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
#[cfg(unix)]
use std::os::fd::IntoRawFd;
use std::process::{Command, abort, exit};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::process::{WaitId, WaitIdOptions};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use support::{
    ABORTED, Dice, KILLED, Scratch, Test, VIOLATED, census, chaos, end_of, forever, is_dead, kill,
    note, noted, nothing_left_since, pool, run_helper, start_helper, suspend, tests, until,
};
use trefoil::process::{ProcessPoolBuilder, WorkerStdout};
use trefoil::task::WorkerExit;
use trefoil::{
    AnyExecutor, CancelToken, Executor, PoolError, Process, ProcessPool, Shutdown, Task, TaskError,
    ThreadPool,
};

pub(crate) fn helpers() {
    support::helper(&[
        ("uninitialized", uninitialized),
        ("prints", prints),
        ("orphans", orphans),
        #[cfg(target_os = "linux")]
        ("unread", unread),
        ("never_begins", never_begins),
        ("deaf_stderr", deaf_stderr),
        ("loud", loud),
        ("nine", nine),
        #[cfg(unix)]
        ("few_descriptors", few_descriptors),
        #[cfg(unix)]
        ("no_stdin", no_stdin),
        #[cfg(unix)]
        ("replaces_stdin", replaces_stdin),
        #[cfg(unix)]
        ("stolen_children", stolen_children),
        #[cfg(unix)]
        ("opens_early", opens_early),
    ]);
}

/// What a constructor of a C library does before `init`, in the parent and in each worker.
#[cfg(unix)]
fn opens_early() {
    use std::sync::atomic::{AtomicI32, Ordering};
    static EARLY: AtomicI32 = AtomicI32::new(-1);
    let early = std::fs::File::open("/dev/zero").unwrap();
    EARLY.store(early.into_raw_fd(), Ordering::Relaxed);
    // (Without close-on-exec, in the parent more than one list of descriptors holds.)
    let is_worker = std::env::var_os("TREFOIL_WORKER").is_some();
    let resource = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = limit.maximum.or(Some(20_000));
    rustix::process::setrlimit(resource, limit).unwrap();
    for _ in 0..if is_worker {
        1
    } else {
        limit.current.unwrap_or(0).min(8_000) - 1_000
    } {
        let flags = rustix::fs::OFlags::RDONLY;
        let other = rustix::fs::open("/dev/zero", flags, rustix::fs::Mode::empty()).unwrap();
        let _ = other.into_raw_fd();
    }
    trefoil::init();
    fn descriptors() -> Vec<i32> {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let path = |fd: &i32| std::fs::read_link(format!("/proc/self/fd/{fd}"));
        let numbers = open.map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        });
        numbers
            .filter(|fd| path(fd).is_ok_and(|path| path.ends_with("zero")))
            .collect()
    }
    let procs = pool(1);
    let zeros = procs.spawn((), |()| (EARLY.load(Ordering::Relaxed), descriptors()));
    let (early, zeros) = zeros.join().unwrap();
    assert_eq!(
        zeros,
        [early],
        "what it keeps for itself, and nothing of the parent's"
    );
}

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the worker should have died: {other:?}"),
    }
}

#[allow(unsafe_code)]
fn segfault() {
    let nowhere = std::hint::black_box(std::ptr::dangling_mut::<u64>());
    // SAFETY: there is none: this is the accident.
    unsafe { nowhere.write_volatile(1) };
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn write_to(descriptor: i32, bytes: &[u8]) {
    // SAFETY: the descriptor was just seen to be open.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    let _ = rustix::io::write(descriptor, bytes);
}

/// Takes a kibibyte of stack for each step down that it is read.
#[derive(Serialize)]
struct Deep {
    depth: u32,
}

impl<'de> Deserialize<'de> for Deep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn descend(depth: u32) -> u32 {
            let room = std::hint::black_box([depth; 256]);
            match depth {
                0 => 0,
                n => descend(n - 1) + 1 + room[0].saturating_sub(n),
            }
        }
        let depth = descend(u32::deserialize(deserializer)?);
        Ok(Self { depth })
    }
}

/// What happens to item `n` of the thousand.
fn accident(n: u64) -> u64 {
    match n {
        100 => segfault(),
        400 => abort(),
        401 => exit(3),
        777 => kill(std::process::id()),
        _ => {}
    }
    n * 2
}

// Helpers: programs of their own, started by tests.

fn uninitialized() {
    let error = ProcessPool::with_workers(2).unwrap_err();
    assert!(matches!(error, PoolError::NotInitialized));
    assert!(error.to_string().contains("trefoil::init()"), "{error}");
    assert!(!census().2, "nothing was started");
    trefoil::init();
    assert_eq!(pool(1).spawn(1, |x: i32| x + 1).join().unwrap(), 2);
}

fn prints() {
    trefoil::init();
    let procs = pool(2);
    let sum: u64 = procs
        .map(0..1000, |x: u64| {
            println!("item {x}");
            x
        })
        .unwrap()
        .iter()
        .sum();
    drop(procs);
    println!("sum {sum}");
    let quiet = ProcessPool::builder()
        .workers(1)
        .worker_stdout(WorkerStdout::Null)
        .build()
        .unwrap();
    quiet.spawn((), |()| println!("unheard")).join().unwrap();
}

fn orphans() {
    trefoil::init();
    let procs = pool(2);
    let tasks: Vec<Task<()>> = (0..2)
        .map(|_| {
            procs.spawn((), |()| {
                println!("{}", std::process::id());
                loop {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|task| drop(task.join()));
}

/// Stops, and so does not read that its worker goes on. No signal reaches the worker when it ends.
#[cfg(target_os = "linux")]
fn unread() {
    trefoil::init();
    let procs = ProcessPool::builder()
        .workers(1)
        .plain_workers(true)
        .build()
        .unwrap();
    let items = procs.call(|n: u64| match n {
        0 => {
            rustix::process::set_parent_process_death_signal(None).unwrap();
            suspend(std::os::unix::process::parent_id());
        }
        _ => {
            std::thread::sleep(Duration::from_millis(30)); // the worker's other thread reads
            println!("{}", std::process::id());
            forever::<()>();
        }
    });
    items.chunk_size(2).map(0..2).unwrap();
}

fn never_begins() {
    if std::env::var_os("TREFOIL_WORKER").is_some() {
        eprintln!("no such library");
        exit(7);
    }
    trefoil::init();
    let procs = pool(2);
    for _ in 0..2 {
        let exit = died(procs.spawn((), |()| ()).join());
        assert_eq!(exit.code(), Some(7));
        assert!(exit.stderr_tail().contains("no such library"));
    }
    assert!(matches!(
        procs.map(0..10, |x: u32| x),
        Err(TaskError::WorkerDied(_))
    ));
}

/// Ends with the code 9 when its standard input does.
fn nine() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    exit(9);
}

/// Nobody reads this helper's standard error.
fn deaf_stderr() {
    trefoil::init();
    let procs = pool(2);
    let loud = procs.spawn((), |()| {
        for _ in 0..1000 {
            std::io::stderr().write_all(&[b'x'; 4096]).unwrap();
        }
    });
    assert_eq!(procs.map(0..10_000, |x: u64| x).unwrap().len(), 10_000);
    assert!(!loud.is_finished());
    let begin = Instant::now();
    drop(procs);
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(matches!(loud.join(), Err(TaskError::Cancelled)));
}

/// Says much at its end.
fn loud() {
    trefoil::init();
    let procs = pool(1);
    procs
        .spawn((), |()| {
            for n in 0..3000 {
                eprintln!("line {n} {}", "x".repeat(100));
            }
        })
        .join()
        .unwrap();
}

#[cfg(unix)]
fn few_descriptors() {
    trefoil::init();
    drop(pool(1));
    let before = census();
    let limit = rustix::process::Resource::Nofile;
    let few = |current| {
        let maximum = rustix::process::getrlimit(limit).maximum;
        rustix::process::setrlimit(limit, rustix::process::Rlimit { current, maximum }).unwrap();
    };
    let plenty = rustix::process::getrlimit(limit).current;
    // Wherever in the start of a worker they run out.
    for more in 3..24 {
        few(Some(before.0 as u64 + more));
        let error = ProcessPool::with_workers(8).unwrap_err();
        assert!(matches!(error, PoolError::Start(_)), "{error}");
        let error = error.to_string();
        let names = |call: &&str| error.contains(&format!(" {call}"));
        let calls = [
            "pipe",
            "socketpair",
            "memfd_create",
            "eventfd",
            "pidfd_open",
            "posix_spawn",
        ];
        assert!(
            cfg!(not(target_os = "linux")) || calls.iter().any(names),
            "{error}"
        );
    }
    few(plenty);
    nothing_left_since(before);
    assert_eq!(pool(8).map(0..100, |x: u32| x).unwrap().len(), 100);
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn no_stdin() {
    trefoil::init();
    // SAFETY: nobody else here uses the descriptor.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(0) });
    let procs = pool(2);
    assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
}

/// What stands before `init` takes the socket away: workers of this program cannot accept
/// to be workers, and must not become programs that have workers.
#[cfg(unix)]
fn replaces_stdin() {
    if std::env::var_os("TREFOIL_WORKER").is_some() {
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null").unwrap()).unwrap();
        trefoil::init();
        exit(9);
    }
    trefoil::init();
    let exit = died(pool(2).spawn((), |()| ()).join());
    // It says so and exits, unless it is killed first because its socket is closed.
    assert!(exit.code() == Some(1) || end_of(&exit) == KILLED, "{exit}");
}

/// Somebody in this program reaps every child that there is.
#[cfg(unix)]
fn stolen_children() {
    trefoil::init();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thief = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = rustix::process::waitid(WaitId::All, options);
        }
    });
    let procs = pool(2);
    for _ in 0..30 {
        let exit = died(procs.spawn((), |()| -> () { abort() }).join());
        assert!(matches!(exit.signal(), Some(6) | None));
    }
    assert_eq!(procs.map(0..1000, |x: u32| x).unwrap().len(), 1000);
    let begin = Instant::now();
    drop(procs);
    assert!(begin.elapsed() < Duration::from_secs(20));
    stop.store(true, Ordering::Relaxed);
    thief.join().unwrap();
}

/// A value that is broken in one place.
#[derive(Debug)]
struct Odd(Breaks);

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
enum Breaks {
    Nowhere,
    Written,
    Read,
    Leftover,
    Panics,
}

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Breaks::Written => Err(ser::Error::custom("never written")),
            Breaks::Leftover => (self.0 as u8, 77u8).serialize(serializer),
            breaks => serializer.serialize_u8(breaks as u8),
        }
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self(Breaks::Nowhere)),
            2 => Err(de::Error::custom("never read")),
            3 => Ok(Self(Breaks::Leftover)),
            _ => panic!("reading panics"),
        }
    }
}

fn make_odd(kind: u8) -> Odd {
    Odd(match kind {
        0 => Breaks::Nowhere,
        1 => Breaks::Written,
        2 => Breaks::Read,
        3 => Breaks::Leftover,
        _ => Breaks::Panics,
    })
}

/// A value whose `Serialize` panics.
#[derive(Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("writing panics")
    }
}

/// What a panic may be made of.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom");
    }
}

/// A value that cannot be read, twice over.
#[derive(Debug)]
struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        std::panic::panic_any(Bomb)
    }
}

/// One item of the chaos: it says that it ran, takes its time, and gives back `size` bytes.
fn chaotic((id, size, path): (u64, usize, String)) -> (u64, Vec<u8>) {
    note(&path, id);
    let begin = Instant::now();
    let token = CancelToken::current();
    let micros = if id.is_multiple_of(50) {
        30_000
    } else {
        id * 7 % 400
    };
    while begin.elapsed() < Duration::from_micros(micros) && !token.is_cancelled() {
        std::thread::yield_now();
    }
    (id, vec![id as u8; size])
}

fn right(id: u64, size: usize, (answer, bytes): &(u64, Vec<u8>)) -> bool {
    *answer == id && bytes.len() == size && bytes.iter().all(|byte| *byte == id as u8)
}

/// More items have begun than the last time. (A program whose workers are killed more quickly than
/// they start is one that cannot start.)
fn more(path: &str, ran: &mut usize) -> bool {
    let before = std::mem::replace(ran, noted(path));
    *ran > before
}

/// Mostly small; around the sizes of the ledger and of the socket; sometimes larger.
fn size(dice: &mut Dice) -> usize {
    let size = match dice.roll(40) {
        0 => 100_000 + dice.roll(60_000),
        1 => dice.roll(2_000_000),
        2..8 => dice.roll(20_000),
        _ => dice.roll(40),
    };
    size as usize
}

fn nest(depth: u32) -> (u32, String) {
    match ProcessPool::with_workers(1) {
        Ok(procs) => procs.spawn(depth + 1, nest).join().unwrap(),
        Err(error) => (depth, error.to_string()),
    }
}

/// As `std` says it.
const NO_MEMORY: &str = "memory allocation of 7 bytes failed";

fn noisy(words: String) {
    eprintln!("{words}");
}

fn silent(_: String) {
    abort()
}

/// It has died, and nothing that others have written is taken for its last words.
fn has_no_words<T: std::fmt::Debug>(result: Result<T, TaskError>) {
    let exit = died(result);
    let innocent = exit.stderr_tail().is_empty() && !exit.out_of_memory();
    assert!(innocent, "{exit}");
}

tests! {
    fn spawn_answers() {
        let procs = pool(2);
        assert_eq!(procs.worker_pids().len(), 2);
        let task = procs.spawn((3u64, "x".to_owned()), |(n, s)| s.repeat(n as usize));
        assert_eq!(task.join().unwrap(), "xxx");
        let pid = procs.spawn((), |()| std::process::id()).join().unwrap();
        assert!(procs.worker_pids().contains(&pid));
    }

    fn map_is_ordered() {
        let procs = pool(2);
        let doubled = procs.map(0..300_000u64, |x| x * 2).unwrap();
        assert_eq!(doubled.len(), 300_000);
        assert!(doubled.iter().enumerate().all(|(i, x)| *x == 2 * i as u64));
        let none: Vec<u64> = procs.map(Vec::<u64>::new(), |x| x).unwrap();
        assert!(none.is_empty());
        let texts = procs.map((0..3000usize).rev(), |n| "y".repeat(n)).unwrap();
        assert!(texts.iter().rev().enumerate().all(|(i, text)| text.len() == i));
    }

    fn four_accidents_cost_four_items() {
        let procs = pool(2);
        let tasks: Vec<Task<u64>> = (0..1000).map(|n| procs.spawn(n, accident)).collect();
        let mut answers = 0;
        for (n, task) in (0u64..).zip(tasks) {
            match n {
                100 => assert_eq!(end_of(&died(task.join())), VIOLATED),
                400 => assert_eq!(end_of(&died(task.join())), ABORTED),
                401 => assert_eq!(died(task.join()).code(), Some(3)),
                777 => assert_eq!(end_of(&died(task.join())), KILLED),
                _ => {
                    assert_eq!(task.join().unwrap(), 2 * n);
                    answers += 1;
                }
            }
        }
        assert_eq!(answers, 996);
        assert_eq!(procs.spawn(5, accident).join().unwrap(), 10);
        until(|| procs.worker_pids().len() == 2);
    }

    fn an_accident_in_a_batch_is_the_first_error() {
        let procs = pool(2);
        let exit = died(procs.map(0..1000, accident));
        assert_eq!((end_of(&exit), exit.attempts()), (VIOLATED, 1));
        assert_eq!(procs.map(500..700, accident).unwrap().len(), 200);
        let exit = died(procs.map(300..1000, accident));
        assert_eq!(end_of(&exit), ABORTED);
    }

    fn the_lowest_index_fails_and_the_items_below_it_run_once() {
        let procs = pool(2);
        let scratch = Scratch::new("once");
        let items = (0..400u64).map(|n| (n, scratch.text()));
        let result = procs.map(items, |(n, path)| {
            note(&path, n);
            if n % 100 == 57 {
                abort();
            }
        });
        assert_eq!(end_of(&died(result)), ABORTED);
        let notes = scratch.notes();
        let distinct: HashSet<u64> = notes.iter().copied().collect();
        assert_eq!(distinct.len(), notes.len(), "no item ran twice");
        assert!((0..=57).all(|n| distinct.contains(&n)), "all up to the failure ran");
    }

    fn killed_from_outside() {
        let procs = pool(2);
        let scratch = Scratch::new("outside");
        let task = procs.spawn(scratch.text(), |path| {
            note(&path, std::process::id().into());
            forever::<()>();
        });
        until(|| !scratch.notes().is_empty());
        let pid = scratch.notes()[0] as u32;
        kill(pid);
        let exit = died(task.join());
        assert_eq!((exit.pid(), end_of(&exit)), (pid, KILLED));
        assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
    }

    fn chaos_runs_no_item_twice() {
        let items = sample(12_000) as u64;
        let procs = pool(3);
        let scratch = Scratch::new("chaos");
        let (stop, stopped) = mpsc::channel::<()>();
        let tasks: Vec<Task<u64>> = (0..items)
            .map(|n| procs.spawn((n, scratch.text()), |(n, path)| {
                note(&path, n);
                std::thread::sleep(Duration::from_micros(300));
                n
            }))
            .collect();
        let (kills, deaths) = std::thread::scope(|scope| {
            let (stopped, procs, path) = (stopped, &procs, scratch.text());
            let killer = scope.spawn(move || {
                let (mut kills, mut ran) = (0u32, 0);
                while kills < 300 && stopped.recv_timeout(Duration::from_millis(4)) == Err(mpsc::RecvTimeoutError::Timeout) {
                    if !more(&path, &mut ran) {
                        continue;
                    }
                    let pids = procs.worker_pids();
                    if let Some(pid) = pids.get(kills as usize * 7 % 3 % pids.len().max(1)) {
                        kill(*pid);
                        kills += 1;
                    }
                }
                kills
            });
            let mut deaths = 0;
            for (n, task) in (0..).zip(tasks) {
                match task.join() {
                    Ok(answer) => assert_eq!(answer, n),
                    other => {
                        assert_eq!(end_of(&died(other)), KILLED);
                        deaths += 1;
                    }
                }
            }
            drop(stop);
            (killer.join().unwrap(), deaths)
        });
        let notes = scratch.notes();
        let distinct: HashSet<u64> = notes.iter().copied().collect();
        assert_eq!(distinct.len(), notes.len(), "no item ran twice");
        assert!(kills > 20, "{kills} kills are no chaos");
        assert!(deaths <= kills, "{deaths} deaths after {kills} kills");
        assert!(distinct.len() as u64 + u64::from(deaths) >= items);
        assert_eq!(procs.spawn(1, |x: u32| x).join().unwrap(), 1);
    }

    fn chaos_in_batches() {
        let procs = pool(2);
        let scratch = Scratch::new("batches");
        let (stop, stopped) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let (procs, path) = (&procs, scratch.text());
            scope.spawn(move || {
                let mut ran = 0;
                while stopped.recv_timeout(Duration::from_millis(7)) == Err(mpsc::RecvTimeoutError::Timeout) {
                    if let (true, Some(pid)) = (more(&path, &mut ran), procs.worker_pids().first()) {
                        kill(*pid);
                    }
                }
            });
            for round in 0..40u64 {
                let items = (0..500).map(|n| (round * 500 + n, scratch.text()));
                match procs.map(items, |(n, path)| { note(&path, n); n }) {
                    Ok(answers) => assert!((round * 500..).zip(answers).all(|(n, answer)| n == answer)),
                    failed => assert_eq!(end_of(&died(failed)), KILLED),
                }
            }
            drop(stop);
        });
        let notes = scratch.notes();
        assert_eq!(notes.iter().collect::<HashSet<_>>().len(), notes.len(), "no item ran twice");
    }

    /// Spawns, maps, large results and cancellations, while workers are killed at any moment
    /// of their lives.
    fn chaos_of_everything_at_once() {
        let procs = pool(3);
        let scratch = Scratch::new("everything");
        let end = Instant::now() + chaos();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let seed = now.as_nanos() as u64 | 1;
        println!("seed {seed}");
        let (ids, kills, deaths) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let (stop, stopped) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let mut answered: Vec<u64> = std::thread::scope(|scope| {
            let (procs, ids, kills, deaths, path) = (&procs, &ids, &kills, &deaths, scratch.text());
            // For so long, and until there has been some chaos.
            let few = move || kills.load(Ordering::Relaxed) <= 20 || deaths.load(Ordering::Relaxed) == 0;
            let goes_on = move || Instant::now() < end || few();
            let theirs = path.clone();
            scope.spawn(move || {
                let (mut dice, mut ran) = (Dice(seed), 0);
                let mut pause = || Duration::from_micros(dice.roll(16_000));
                while stopped.recv_timeout(pause()) == Err(mpsc::RecvTimeoutError::Timeout) {
                    if !more(&theirs, &mut ran) {
                        continue;
                    }
                    let pids = procs.worker_pids();
                    let most = if kills.load(Ordering::Relaxed) % 16 == 0 { 3 } else { 1 };
                    let from = kills.load(Ordering::Relaxed) as usize % pids.len().max(1);
                    for pid in pids.iter().skip(from).take(most) {
                        kill(*pid);
                        kills.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            let theirs = path.clone();
            let spawner = scope.spawn(move || {
                let mut dice = Dice(seed ^ 0x5eed);
                let (mut sent, mut answered) = (0, Vec::new());
                let mut seen = HashSet::new();
                while goes_on() || seen.len() < sent {
                    if goes_on() {
                        for _ in 0..dice.roll(60) {
                            let (id, size) = (ids.fetch_add(1, Ordering::Relaxed), size(&mut dice));
                            let task = procs.spawn((id, size, theirs.clone()), chaotic);
                            let cancelled = dice.roll(8) == 0 && task.cancel();
                            let tell = tell.clone();
                            task.on_done(move |result| tell.send((id, size, cancelled, result)).unwrap());
                            sent += 1;
                        }
                    }
                    while sent - seen.len() > if goes_on() { 200 } else { 0 } {
                        let (id, size, cancelled, result) = told.recv().unwrap();
                        assert!(seen.insert(id), "{id} ends twice");
                        match result {
                            Err(TaskError::Cancelled) => assert!(cancelled),
                            Ok(answer) => {
                                assert!(right(id, size, &answer) && !cancelled);
                                answered.push(id);
                            }
                            other => {
                                assert_eq!(end_of(&died(other)), KILLED);
                                deaths.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                }
                answered
            });
            let mapper = scope.spawn(move || {
                let mut dice = Dice(seed ^ 0x3a9);
                let mut answered = Vec::new();
                while goes_on() {
                    let items: Vec<(u64, usize)> = (0..dice.roll(150))
                        .map(|_| (ids.fetch_add(1, Ordering::Relaxed), size(&mut dice)))
                        .collect();
                    match procs.map(items.iter().map(|(id, size)| (*id, *size, path.clone())), chaotic) {
                        Ok(answers) => {
                            assert_eq!(answers.len(), items.len());
                            let all = items.iter().zip(&answers).all(|((id, size), answer)| right(*id, *size, answer));
                            assert!(all, "in their order");
                            answered.extend(items.iter().map(|(id, _)| *id));
                        }
                        failed => {
                            assert_eq!(end_of(&died(failed)), KILLED);
                            deaths.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                answered
            });
            let answered = [spawner.join(), mapper.join()].map(Result::unwrap).concat();
            drop(stop);
            answered
        });
        let notes = scratch.notes();
        let ran: HashSet<u64> = notes.iter().copied().collect();
        assert_eq!(ran.len(), notes.len(), "no item ran twice");
        answered.sort_unstable();
        answered.dedup();
        assert!(answered.iter().all(|id| ran.contains(id)));
        let (kills, deaths) = (kills.into_inner(), deaths.into_inner());
        println!("{} items, {} answers, {kills} kills, {deaths} deaths", ids.into_inner(), answered.len());
        assert!(kills > 20 && answered.len() > 20, "this is no chaos");
        assert!(0 < deaths && deaths <= kills, "{deaths} deaths after {kills} kills");
        until(|| procs.worker_pids().len() == 3);
        assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
    }

    fn a_panic_is_a_value() {
        let procs = support::patient(1);
        let pids = procs.worker_pids();
        let Err(TaskError::Panicked(panic)) = procs.spawn(4, |x: i32| -> () { panic!("no {x}") }).join() else {
            panic!("it should have")
        };
        assert_eq!(panic.message(), "no 4");
        assert_eq!(panic.worker(), format!("process {}", pids[0]));
        assert!(panic.location().unwrap().file().ends_with("process/pool.rs"));
        let result = procs.map(0..100, |x: i32| if x == 50 { panic!("at {x}") } else { x });
        assert!(matches!(result, Err(TaskError::Panicked(panic)) if panic.message() == "at 50"));
        assert_eq!(procs.worker_pids(), pids, "the worker lives");
    }

    fn codec_errors_name_the_type_and_spare_the_worker() {
        let procs = support::patient(1);
        let pids = procs.worker_pids();
        let codec = |result: Result<(), TaskError>, words: &str| match result {
            Err(TaskError::Codec(error)) => {
                assert!(error.type_name().ends_with("Odd"), "{error}");
                assert!(error.to_string().contains(words), "{error}");
            }
            other => panic!("not a codec error: {other:?}"),
        };
        let there = |breaks| procs.spawn(Odd(breaks), |_: Odd| ()).join();
        codec(there(Breaks::Written), "argument");
        codec(there(Breaks::Read), "argument");
        codec(there(Breaks::Leftover), "left over");
        assert!(matches!(there(Breaks::Panics), Err(TaskError::Panicked(_))));
        there(Breaks::Nowhere).unwrap();
        let back = |kind: u8| procs.spawn(kind, make_odd).join().map(drop);
        codec(back(1), "result");
        codec(back(2), "result");
        codec(back(3), "left over");
        // Whoever takes the result in reads it: the driver, or who waits for it.
        let reader = |worker: &str| ["trefoil-proc", "trefoil-helper", "main"].contains(&worker);
        assert!(matches!(back(4), Err(TaskError::Panicked(panic)) if reader(panic.worker())));
        back(0).unwrap();
        codec(procs.map(0..100u8, |n| make_odd(u8::from(n == 60))).map(drop), "result");
        for bad in [0, 1, 50, 70, 99] {
            let items = (0..100).map(|n| make_odd(u8::from(n == bad)));
            codec(procs.map(items, |_| ()).map(drop), "argument");
        }
        assert_eq!(procs.worker_pids(), pids, "the worker lives");
    }

    fn printing_corrupts_nothing() {
        let (out, _) = run_helper("prints");
        let lines: HashSet<&str> = out.lines().collect();
        assert!((0..1000).all(|n| lines.contains(format!("item {n}").as_str())));
        assert!(lines.contains("sum 499500"));
        assert!(!out.contains("unheard"));
    }

    fn large_things_both_ways_at_once() {
        let procs = pool(2);
        let texts: Vec<String> = (0..8u8).map(|n| char::from(b'a' + n).to_string().repeat(8 << 20)).collect();
        let tasks: Vec<Task<String>> = texts.iter().map(|text| procs.spawn(text.clone(), |text| text)).collect();
        for (text, task) in texts.iter().zip(tasks) {
            assert!(task.join().unwrap() == *text);
        }
        let back = procs.map(texts.clone(), |text: String| text).unwrap();
        assert!(back == texts);
        // Around the sizes of the ledger and of a socket's buffer.
        for size in [0, 1, 127, 128, 65_535, 126_900, 126_975, 126_976, 126_977, 212_992, 300_000] {
            assert_eq!(procs.spawn("z".repeat(size), |text| text).join().unwrap().len(), size);
        }
    }

    fn without_init_nothing_is_started() {
        if cfg!(feature = "auto") {
            return; // there is no such program then
        }
        run_helper("uninitialized");
    }

    fn workers_that_never_begin_are_an_error() {
        if cfg!(feature = "auto") {
            return; // all begin before `main`
        }
        let begin = Instant::now();
        run_helper("never_begins");
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    fn dropping_takes_bounded_time() {
        for suspended in [false, true] {
            let procs = pool(2);
            let scratch = Scratch::new("loops");
            let task = procs.spawn(scratch.text(), |path| {
                note(&path, std::process::id().into());
                loop {
                    std::hint::spin_loop();
                }
            });
            let task: Task<()> = task;
            until(|| !scratch.notes().is_empty());
            if suspended {
                procs.worker_pids().into_iter().for_each(suspend);
            }
            let queued = procs.spawn((), |()| ());
            let begin = Instant::now();
            drop(procs);
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            // The other worker may have run it, unless it was stopped.
            assert!(matches!(queued.join(), Ok(()) | Err(TaskError::Cancelled)));
        }
    }

    fn no_worker_outlives_its_parent() {
        let mut helper = start_helper("orphans");
        let lines = BufReader::new(helper.stdout.take().unwrap()).lines();
        let workers: Vec<u32> = lines.take(2).map(|line| line.unwrap().parse().unwrap()).collect();
        assert!(workers.iter().all(|worker| !is_dead(*worker)));
        let begin = Instant::now();
        helper.kill().unwrap();
        until(|| workers.iter().all(|worker| is_dead(*worker)));
        let took = begin.elapsed();
        helper.wait().unwrap();
        // A few milliseconds, on a machine that has nothing else to do; two seconds of grace are
        // not its way.
        assert!(took < Duration::from_secs(20), "{took:?}");
    }

    /// A stream whose other end had not read everything ends with an error.
    #[cfg(target_os = "linux")]
    fn nor_one_that_had_not_read_its_messages() {
        let mut helper = start_helper("unread");
        let lines = BufReader::new(helper.stdout.take().unwrap()).lines();
        let worker = lines.take(1).next().unwrap().unwrap().parse().unwrap();
        assert!(!is_dead(worker));
        helper.kill().unwrap();
        helper.wait().unwrap();
        until(|| is_dead(worker));
    }

    fn nothing_is_left_behind() {
        pool(2).map(0..100, |x: u32| x).unwrap(); // what is made once is made
        let before = census();
        for round in 0..sample(100) {
            let procs = pool(2);
            if round % 4 != 0 {
                procs.map(0..100, |x: u32| x).unwrap();
            }
            if round % 4 == 2 {
                died(procs.spawn((), |()| -> () { abort() }).join());
            }
            if round % 4 == 3 {
                procs.kill();
            }
        }
        // A joined thread is listed for a moment longer.
        nothing_left_since(before);
        assert!(!before.2);
    }

    fn a_short_lived_thread_may_make_a_pool() {
        let procs = std::thread::spawn(|| pool(2)).join().unwrap();
        let pids = procs.worker_pids();
        let procs = std::thread::spawn(move || { procs.spawn((), |()| ()).join().unwrap(); procs }).join().unwrap();
        assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
        assert_eq!(procs.worker_pids(), pids);
    }

    fn other_children_are_left_alone() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.env(support::HELPER, "nine").stdin(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        let procs = pool(2);
        died(procs.spawn((), |()| -> () { abort() }).join());
        drop(procs);
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(9));
    }

    fn a_worker_is_a_clean_place() {
        let procs = pool(1);
        let (variable, stdin) = procs.spawn((), |()| {
            let mut stdin = Vec::new();
            std::io::stdin().read_to_end(&mut stdin).unwrap();
            (std::env::var("TREFOIL_WORKER").ok(), stdin)
        }).join().unwrap();
        assert_eq!((variable, stdin.len()), (None, 0));
    }

    #[cfg(unix)]
    fn a_worker_leads_its_group_and_leaves_no_core_and_no_descriptor() {
        let procs = pool(1);
        let (group, core) = procs.spawn((), |()| {
            let own = rustix::process::getpid();
            let group = rustix::process::getpgrp() == own && rustix::process::getsid(None) == Ok(own);
            (group, rustix::process::getrlimit(rustix::process::Resource::Core).current)
        }).join().unwrap();
        // (With 0, Linux passes the memory on to the program in `core_pattern`.)
        assert_eq!((group, core), (true, Some(u64::from(cfg!(target_os = "linux")))));
        let limits: fn(()) -> _ = |()| {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
            (limit.current, limit.maximum)
        };
        let debugged = ProcessPool::builder().workers(1).core_dumps(true).build().unwrap();
        let core = debugged.spawn((), limits).join().unwrap();
        assert_eq!(core, limits(()), "as the program has it");
        // What a task starts has three descriptors, and the one by which it looks.
        let listing = procs.spawn((), |()| {
            let output = Command::new("ls").arg("/proc/self/fd").output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        });
        assert_eq!(listing.join().unwrap(), "0\n1\n2\n3\n");
    }

    fn what_an_item_started_ends_with_its_worker() {
        let start = |procs: &ProcessPool| procs.spawn((), |()| support::sleeper().spawn().unwrap().id()).join().unwrap();
        let ends_with = |procs: &ProcessPool, end: &dyn Fn()| {
            let child = start(procs);
            assert!(!is_dead(child), "its worker lives");
            end();
            until(|| is_dead(child));
        };
        let procs = pool(1);
        ends_with(&procs, &|| drop(procs.spawn((), |()| -> () { abort() }).join()));
        ends_with(&procs, &|| drop(procs.spawn((), |()| -> () { exit(0) }).join()));
        ends_with(&procs, &|| kill(procs.worker_pids()[0]));
        // (A successor that is ready would end it earlier.)
        let brief = ProcessPool::builder().workers(1).max_tasks_per_worker(2);
        let brief = brief.replace_first(false).build().unwrap();
        ends_with(&brief, &|| drop(brief.spawn((), drop).join()));
        // And when the pool ends.
        let child = start(&procs);
        drop(procs);
        until(|| is_dead(child));
    }

    #[cfg(unix)]
    fn what_programs_keep_a_worker_does_not() {
        // Without close-on-exec: as a C library opens its files, or a shell hands them on.
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let procs = pool(2);
        assert_eq!(procs.map(0..2, |n: u32| n).unwrap(), [0, 1]);
        let process = Process::spawn((), |()| -> () { forever() }).unwrap();
        drop(writer);
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0), "no worker holds the other end");
        process.kill();
        died(process.join());
    }

    #[cfg(target_os = "linux")]
    fn what_is_opened_while_a_worker_is_started_is_not_its_own() {
        if support::PORT {
            return; // no worker has processors of its own there
        }
        // The last code of a program before the start of a worker. Another thread may do this then.
        let ends = Arc::new(std::sync::Mutex::new(None));
        let opens = ends.clone();
        let processors = move |_| {
            *opens.lock().unwrap() = Some(rustix::pipe::pipe().unwrap());
            let allowed = rustix::thread::sched_getaffinity(None).unwrap();
            (0..1024).filter(|n| allowed.is_set(*n)).collect::<Vec<_>>()
        };
        let procs = ProcessPool::builder().workers(1).pin_to(processors).build().unwrap();
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
        let (reader, writer) = ends.lock().unwrap().take().unwrap();
        drop(writer);
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0), "the worker holds the other end");
    }

    #[cfg(target_os = "linux")]
    fn an_item_that_may_have_no_descriptor_obeys_its_token() {
        if support::PORT || support::is_plain() {
            return; // no channel's end gets there
        }
        let procs = ProcessPool::builder().workers(1).grace(Duration::from_secs(100)).build().unwrap();
        let (begun, begins) = trefoil::process::channel::<()>(1).unwrap();
        let obeys = |begun: Option<trefoil::process::channel::Sender<()>>| {
            static BEGUN: std::sync::OnceLock<trefoil::process::channel::Sender<()>> = std::sync::OnceLock::new();
            BEGUN.get_or_init(|| begun.unwrap()).send_blocking(()).unwrap();
            let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, none).unwrap();
            while !CancelToken::current().is_cancelled() {
                std::thread::yield_now();
            }
        };
        // From the second time on it waits under that limit.
        for begun in [Some(begun), None, None] {
            let task = procs.spawn(begun, obeys);
            begins.recv_blocking().unwrap();
            task.cancel();
            until(|| procs.stats().busy == 0);
        }
        assert_eq!(procs.stats().died, 0);
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
    }

    #[cfg(unix)]
    fn what_a_worker_keeps_for_itself_before_init_stays_open() {
        if cfg!(feature = "auto") {
            return; // workers do not get as far as `main`
        }
        run_helper("opens_early");
    }

    fn a_result_may_nest_as_deep_here_as_in_its_worker() {
        let (tell, told) = mpsc::channel();
        let procs = pool(1);
        // Read on the driver's thread: nobody joins it.
        let deep = procs.spawn(2500, |depth: u32| Deep { depth });
        deep.on_done(move |result| tell.send(result.unwrap().depth).unwrap());
        assert_eq!(told.recv().unwrap(), 2500);
    }

    fn last_words_are_those_of_the_item() {
        let procs = pool(1);
        for _ in 0..20 {
            // The next is with the worker already when the first one writes, or it comes later.
            let first = procs.spawn(NO_MEMORY.to_owned(), noisy);
            let next = procs.spawn(String::new(), silent);
            first.join().unwrap();
            has_no_words(next.join());
        }
        procs.spawn("x".repeat(9000), noisy).join().unwrap();
        has_no_words(procs.spawn(String::new(), silent).join());
        let exit = died(procs.spawn(NO_MEMORY.to_owned(), |words| -> () {
            noisy(words);
            abort()
        }).join());
        assert!(exit.out_of_memory() && exit.stderr_tail().starts_with(NO_MEMORY), "{exit}");
    }

    fn last_words_of_an_item_among_others() {
        let procs = pool(1);
        // In one frame.
        let last = procs.call(|n: u32| match n {
            0..5 => noisy(NO_MEMORY.to_owned()),
            5 => silent(String::new()),
            _ => {
                noisy(format!("number {n}"));
                abort()
            }
        });
        let mut results = last.chunk_size(8).imap(0..8);
        (0..5).for_each(|_| results.next().unwrap().unwrap());
        has_no_words(results.next().unwrap());
        for n in 6..8 {
            assert_eq!(died(results.next().unwrap()).stderr_tail(), format!("number {n}\n"));
        }
        // In one of many items, which are not tiny.
        let many = procs.call(|n: u32| {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(2) {}
            match n {
                2000 => noisy(NO_MEMORY.to_owned()),
                2001 => silent(String::new()),
                _ => {}
            }
        });
        has_no_words(many.chunk_size(3000).map(0..3000).map(drop));
    }

    fn last_words_are_kept() {
        let procs = pool(1);
        let exit = died(procs.spawn((), |()| -> () {
            eprintln!("{}", "x".repeat(6000));
            eprintln!("farewell");
            abort()
        }).join());
        assert!(exit.stderr_tail().ends_with("farewell\n"));
        assert!(exit.stderr_tail().len() <= 4096);
    }

    fn standard_error_without_a_reader() {
        let mut helper = start_helper("deaf_stderr");
        let mut err = helper.stderr.take(); // kept open, not read
        let status = helper.wait().unwrap();
        if !status.success() {
            let mut words = String::new();
            err.take().unwrap().read_to_string(&mut words).unwrap();
            panic!("{status}: {}", words.trim_matches('x'));
        }
    }

    fn a_slow_reader_of_standard_error_gets_all_of_it() {
        let mut helper = start_helper("loud");
        let mut err = helper.stderr.take().unwrap();
        let (mut text, mut buffer) = (Vec::new(), [0; 8192]);
        loop {
            let count = err.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            text.extend_from_slice(&buffer[..count]);
            std::thread::sleep(Duration::from_millis(2)); // slower than it is said
        }
        assert!(helper.wait().unwrap().success());
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("line ")).count(), 3000);
    }

    #[cfg(unix)]
    fn too_few_descriptors_are_an_error_and_leave_nothing() {
        run_helper("few_descriptors");
    }

    #[cfg(unix)]
    fn a_program_without_standard_input_has_workers() {
        run_helper("no_stdin");
    }

    #[cfg(unix)]
    fn children_may_be_stolen() {
        run_helper("stolen_children");
    }

    #[cfg(unix)]
    fn a_worker_that_breaks_the_protocol_is_replaced() {
        let procs = pool(1);
        for nonsense in [&[0xff; 100][..], &[5, 3, 9, 9, 9], &[1, 0]] {
            let task = procs.spawn(nonsense.to_vec(), |nonsense| {
                for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
                    let path = entry.unwrap().path();
                    let socket = std::fs::read_link(&path).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
                    let number: i32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
                    if socket && number >= 3 {
                        write_to(number, &nonsense);
                    }
                }
                forever::<()>();
            });
            let exit = died(task.join());
            assert!(exit.to_string().contains("protocol"), "{exit}");
            assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
        }
    }

    #[cfg(unix)]
    fn a_worker_that_cannot_accept_has_no_workers() {
        if cfg!(feature = "auto") {
            return; // all accept before `main`
        }
        run_helper("replaces_stdin");
    }

    fn a_map_that_has_failed_takes_no_more_items() {
        let procs = pool(2);
        let begin = Instant::now();
        let items = (0..100_000u32).inspect(|n| if *n > 8_200 { std::thread::sleep(Duration::from_millis(1)); });
        assert!(procs.map(items, |n| assert!(n != 5_000)).is_err());
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    }

    fn nested_pools_end_in_words() {
        let (depth, error) = nest(0);
        assert_eq!(depth, 20);
        assert!(error.contains("at most 20 levels"), "{error}");
    }

    fn cancelled_in_the_queue_never_runs() {
        let procs = pool(1);
        let scratch = Scratch::new("cancelled");
        let first = procs.spawn(scratch.text(), |path| { note(&path, 0); forever::<()>() });
        until(|| scratch.notes() == [0]);
        let others: Vec<Task<()>> = (1..5).map(|n| procs.spawn((n, scratch.text()), |(n, path)| note(&path, n))).collect();
        assert!(others.iter().all(Task::cancel));
        let begin = Instant::now();
        assert!(first.cancel());
        assert!(matches!(first.join(), Err(TaskError::Cancelled)));
        // The worker was killed and replaced, and the queue has moved on.
        procs.spawn(scratch.text(), |path| note(&path, 9)).join().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert_eq!(scratch.notes(), [0, 9]);
        drop(others);
    }

    fn a_call_that_sees_its_token_spares_its_worker() {
        let procs = support::patient(1);
        let pids = procs.worker_pids();
        let waits: [fn(String); 3] = [
            |path| {
                let token = CancelToken::current();
                note(&path, 1);
                until(|| token.is_cancelled());
                note(&path, 2);
            },
            |path| {
                note(&path, 1);
                until(|| CancelToken::current().is_cancelled());
                note(&path, 2);
            },
            |path| {
                note(&path, 1);
                CancelToken::current().cancelled().join().unwrap();
                note(&path, 2);
            },
        ];
        for wait in waits.into_iter().cycle().take(30) {
            let scratch = Scratch::new("token");
            let task = procs.spawn(scratch.text(), wait);
            until(|| scratch.notes() == [1]);
            assert!(task.cancel());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            until(|| scratch.notes() == [1, 2]);
            let next = procs.spawn((), |()| (std::process::id(), CancelToken::current().is_cancelled()));
            assert_eq!(next.join().unwrap(), (pids[0], false));
        }
        assert_eq!(procs.worker_pids(), pids);
    }

    fn a_call_that_ignores_its_token_is_killed() {
        let grace = Duration::from_millis(300);
        let procs = ProcessPool::builder().workers(1).grace(grace).build().unwrap();
        let pids = procs.worker_pids();
        let scratch = Scratch::new("ignores");
        let task = procs.spawn(scratch.text(), |path| {
            let token = CancelToken::current();
            note(&path, 1);
            until(|| token.is_cancelled());
            note(&path, 2);
            forever::<()>();
        });
        until(|| scratch.notes() == [1]);
        let begin = Instant::now();
        task.cancel();
        // The token comes before the end of the grace period, or there would be no second note.
        let (pid, cancelled) = procs.spawn((), |()| (std::process::id(), CancelToken::current().is_cancelled())).join().unwrap();
        assert!(begin.elapsed() >= grace);
        assert_eq!(scratch.notes(), [1, 2]);
        assert!(pid != pids[0] && !cancelled);
        assert_eq!(procs.worker_pids(), [pid]);
    }

    fn a_busy_driver_hears_before_it_kills() {
        let grace = Duration::from_secs(1);
        let procs = ProcessPool::builder().workers(2).grace(grace).build().unwrap();
        let pids = procs.worker_pids();
        let scratch = Scratch::new("busy");
        let has = |path: &str, bytes: usize| std::fs::read(path).unwrap().len() >= bytes;
        let obeys = procs.spawn(scratch.text(), |path| {
            let token = CancelToken::current();
            note(&path, 1);
            until(|| token.is_cancelled());
            note(&path, 2);
            until(|| std::fs::read(&path).unwrap().len() >= 24);
        });
        until(|| has(&scratch.text(), 8));
        let (path, (tell, told)) = (scratch.text(), mpsc::channel());
        let other = procs.spawn(scratch.text(), |path| until(|| std::fs::read(&path).unwrap().len() >= 16));
        other.on_done(move |result| {
            // On the driver's thread, and not short.
            note(&path, 3);
            std::thread::sleep(Duration::from_millis(1500));
            tell.send(result).unwrap();
        });
        obeys.cancel();
        told.recv().unwrap().unwrap();
        assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
        assert_eq!(procs.worker_pids(), pids);
    }

    fn a_late_cancellation_hits_no_other_item() {
        let procs = support::patient(1);
        let pids = procs.worker_pids();
        for round in 0..sample(3000) {
            let task = procs.spawn((), |()| CancelToken::current().is_cancelled());
            for _ in 0..round % 64 * 8 {
                std::hint::spin_loop();
            }
            task.cancel();
            let next = procs.spawn((), |()| {
                let token = CancelToken::current();
                let early = token.is_cancelled();
                std::thread::yield_now();
                early || token.is_cancelled()
            });
            assert!(!next.join().unwrap(), "round {round}");
        }
        assert_eq!(procs.worker_pids(), pids);
    }

    fn every_item_has_a_token_of_its_own() {
        let procs = pool(1);
        let seen = procs.map(0..2000u32, |n| {
            let token = CancelToken::current();
            let same = CancelToken::current();
            let early = token.is_cancelled();
            if n % 3 != 0 {
                token.cancel();
            }
            (early, same.is_cancelled())
        }).unwrap();
        assert!((0..).zip(seen).all(|(n, (early, late))| !early && late == (n % 3 != 0)));
        for _ in 0..3 {
            let panics = procs.spawn((), |()| -> () { CancelToken::current().cancel(); panic!("after all") });
            assert!(matches!(panics.join(), Err(TaskError::Panicked(_))));
            assert!(!procs.spawn((), |()| CancelToken::current().is_cancelled()).join().unwrap());
        }
    }

    fn a_pool_inside_a_call_inherits_the_token() {
        let procs = support::patient(1);
        let pids = procs.worker_pids();
        let scratch = Scratch::new("inherits");
        let task = procs.spawn(scratch.text(), |path| {
            let threads = ThreadPool::with_threads(2);
            threads.for_each(vec![1, 2], |n| {
                note(&path, n);
                until(|| CancelToken::current().is_cancelled());
            });
            note(&path, 3);
        });
        until(|| scratch.notes().len() == 2);
        task.cancel();
        until(|| scratch.notes().len() == 3);
        procs.spawn((), |()| ()).join().unwrap();
        assert_eq!(procs.worker_pids(), pids);
    }

    fn an_error_in_a_map_reaches_the_tokens_of_the_rest() {
        let procs = support::patient(2);
        let pids = procs.worker_pids();
        let scratch = Scratch::new("rest");
        let result = procs.map((0..2u64).map(|n| (n, scratch.text())), |(n, path)| {
            if n == 0 {
                until(|| std::fs::read(&path).unwrap().len() == 8);
                panic!("now");
            }
            note(&path, 1);
            until(|| CancelToken::current().is_cancelled());
            note(&path, 2);
        });
        assert!(matches!(result, Err(TaskError::Panicked(_))));
        until(|| scratch.notes() == [1, 2]);
        assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
        assert_eq!(procs.worker_pids(), pids);
    }

    fn grace_may_be_anything() {
        for grace in [Duration::ZERO, Duration::MAX] {
            let procs = ProcessPool::builder().workers(2).grace(grace).build().unwrap();
            let scratch = Scratch::new("grace");
            let task = procs.spawn(scratch.text(), |path| { note(&path, 1); forever::<()>() });
            until(|| scratch.notes() == [1]);
            assert!(task.cancel());
            assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
            drop(procs);
        }
    }

    fn no_number_of_workers_is_the_default() {
        let width = ProcessPool::new().unwrap().num_workers();
        assert_eq!(ProcessPool::with_workers(0).unwrap().num_workers(), width);
        assert_eq!(ProcessPool::builder().workers(3).workers(0).build().unwrap().num_workers(), width);
    }

    fn a_width_can_leave_processors_free() {
        let width = ProcessPool::new().unwrap().num_workers();
        let of = |builder: ProcessPoolBuilder| builder.build().unwrap().num_workers();
        for (free, expected) in [(0, width), (1, (width - 1).max(1)), (width, 1), (usize::MAX, 1)] {
            assert_eq!(of(ProcessPool::builder().leave_free(free)), expected, "{free}");
        }
        assert_eq!(of(ProcessPool::builder().leave_free(1).workers(3)), 3);
        let cores = of(ProcessPool::builder().physical_cores(true));
        let fewer = of(ProcessPool::builder().physical_cores(true).leave_free(1));
        assert_eq!(fewer, (cores - 1).max(1));
        for (name, expected) in [("-1", width), ("-2", (width - 1).max(1)), ("-999", 1), ("3", 3)] {
            let executor: AnyExecutor = format!("processes:{name}").parse().unwrap();
            assert_eq!(executor.width(), expected, "{name}");
        }
    }

    fn too_many_workers_are_an_error() {
        for workers in [usize::MAX, usize::MAX / 2, usize::MAX >> 24 | 1 << 30] {
            assert!(matches!(ProcessPool::with_workers(workers), Err(PoolError::Start(_))));
        }
    }

    fn an_untaken_failure_reaches_the_pools_hook() {
        let (tell, told) = mpsc::channel();
        let builder: ProcessPoolBuilder = ProcessPool::builder().workers(1).on_unobserved(move |report| {
            tell.send(report.error().clone()).unwrap();
            panic!("the hook's own");
        });
        assert!(format!("{builder:?}").contains("ProcessPoolBuilder"));
        let procs = builder.build().unwrap();
        procs.spawn((), |()| -> () { panic!("unheard") }).detach();
        assert!(matches!(told.recv().unwrap(), TaskError::Panicked(panic) if panic.message() == "unheard"));
        drop(procs.spawn((), |()| -> () { abort() }));
        died::<()>(Err(told.recv().unwrap()));
        // What is taken, cancelled, or never became a task is nobody's surprise.
        assert!(procs.spawn((), |()| -> () { panic!("heard") }).join().is_err());
        assert!(procs.map(0..9, |n: u32| -> () { panic!("heard {n}") }).is_err());
        procs.spawn((), |()| forever::<()>()).cancel();
        assert!(procs.spawn(Unwritable, |_| ()).join().is_err());
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
        procs.shutdown(Shutdown::Wait);
        procs.spawn((), |()| ()).detach();
        assert!(matches!(told.recv().unwrap(), TaskError::Closed));
        drop(procs);
        assert!(told.recv().is_err(), "nothing more");
    }

    fn a_panic_while_an_argument_is_written_is_an_error() {
        let panicked = |error: TaskError| match error {
            TaskError::Panicked(panic) => {
                assert_eq!(panic.message(), "writing panics");
                assert!(panic.location().is_some_and(|place| place.file().ends_with("pool.rs")));
            }
            other => panic!("{other:?}"),
        };
        let procs = pool(1);
        panicked(procs.spawn(Unwritable, |_| ()).join().unwrap_err());
        let items = || (0..100).map(|n| (n == 50).then_some(Unwritable));
        panicked(procs.map(items(), |_| ()).unwrap_err());
        // An error of an item before it is the first.
        let before = procs.map(items(), |item| assert!(item.is_some(), "the first"));
        assert!(matches!(before, Err(TaskError::Panicked(panic)) if panic.message() == "the first"));
        panicked(procs.map_with(&Unwritable, 0..3, |_: &Unwritable, n: u32| n).unwrap_err());
        let each: Vec<_> = procs.imap(items(), |_| ()).collect();
        assert_eq!(each.len(), 100);
        for (n, result) in (0..100).zip(each) {
            match n {
                50 => panicked(result.unwrap_err()),
                _ => result.unwrap(),
            }
        }
        match ProcessPool::builder().workers(1).initializer(Unwritable, |_| ()).build() {
            Err(PoolError::Initializer(error)) => panicked(error),
            other => panic!("{other:?}"),
        }
        match Process::spawn(Unwritable, |_| ()) {
            Err(PoolError::Argument(error)) => panicked(error),
            other => panic!("{other:?}"),
        }
        let (sends, receives) = trefoil::process::channel::<Option<Unwritable>>(2).unwrap();
        panicked(sends.try_send(Some(Unwritable)).unwrap_err().into());
        panicked(sends.send_blocking(Some(Unwritable)).unwrap_err());
        sends.send_blocking(None).unwrap();
        assert!(receives.recv_blocking().unwrap().is_none(), "it has no place");
        // In a worker, too: the result is the item's panic.
        panicked(procs.spawn((), |()| Unwritable).join().map(|_| ()).unwrap_err());
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
    }

    fn a_panic_may_be_made_of_anything() {
        let procs = support::patient(1);
        let pids = procs.worker_pids();
        for _ in 0..3 {
            let bomb = procs.spawn((), |()| -> () { std::panic::panic_any(Bomb) });
            assert!(matches!(bomb.join(), Err(TaskError::Panicked(_))));
        }
        assert_eq!(procs.worker_pids(), pids, "the worker lives");
        // On the driver's thread, too, where results are read.
        let tasks: Vec<Task<Explosive>> = (0..10).map(|_| procs.spawn((), |()| Explosive)).collect();
        for task in tasks {
            if let Err(TaskError::Panicked(panic)) = task.join() {
                std::mem::forget(panic);
            }
        }
        let Err(TaskError::Panicked(panic)) = procs.map(0..1000, |_: u32| Explosive) else { panic!("it should have") };
        std::mem::forget(panic);
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| procs.spawn((), |()| Explosive).detach())));
        assert_eq!(procs.map(0..100, |x: u32| x).unwrap().len(), 100);
        assert_eq!(procs.worker_pids(), pids);
    }

    fn a_cancelled_item_dies_alone() {
        let procs = pool(2);
        for _ in 0..20 {
            let long = procs.spawn((), |()| forever::<()>());
            let tasks: Vec<Task<u32>> = (0..50).map(|n| procs.spawn(n, |n| n)).collect();
            assert!(long.cancel());
            for (n, task) in (0..).zip(tasks) {
                assert_eq!(task.join().unwrap(), n);
            }
        }
    }

    fn no_item_waits_behind_a_long_one() {
        let procs = pool(2);
        let scratch = Scratch::new("behind");
        let long = procs.spawn(scratch.text(), |path| until(|| std::fs::read(&path).unwrap().len() == 24));
        let quick: Vec<Task<()>> = (0..3).map(|n| procs.spawn((n, scratch.text()), |(n, path)| note(&path, n))).collect();
        quick.into_iter().for_each(|task| task.join().unwrap());
        long.join().unwrap();
        // And within a batch: the first item waits for all others.
        let scratch = Scratch::new("batch");
        procs.map(0..2000u64, |n| n).unwrap(); // the pace of another function does not matter
        let items = (0..200u64).map(|n| (n, scratch.text()));
        procs.map(items, |(n, path)| match n {
            150 => until(|| std::fs::read(&path).unwrap().len() == 8 * 199),
            n => note(&path, n),
        }).unwrap();
    }

    fn shut_down_in_three_ways() {
        let procs = pool(2);
        let tasks: Vec<Task<u32>> = (0..200).map(|n| procs.spawn(n, |n| n)).collect();
        procs.shutdown(Shutdown::Wait);
        assert!(tasks.iter().all(Task::is_finished));
        assert!((0..).zip(tasks).all(|(n, task)| task.join().unwrap() == n));
        assert!(procs.worker_pids().is_empty());
        assert!(matches!(procs.spawn(1, |n: u32| n).join(), Err(TaskError::Closed)));
        assert!(matches!(procs.map(0..9, |n: u32| n), Err(TaskError::Closed)));
        procs.shutdown(Shutdown::CancelPending);
        procs.kill();

        let procs = pool(1);
        let scratch = Scratch::new("shutdown");
        let running = procs.spawn(scratch.text(), |path| { note(&path, 1); until(|| std::fs::read(&path).unwrap().len() > 8) });
        let queued: Vec<Task<()>> = (0..10).map(|_| procs.spawn((), |()| ())).collect();
        until(|| !scratch.notes().is_empty());
        std::thread::scope(|scope| {
            scope.spawn(|| procs.shutdown(Shutdown::CancelPending));
            for task in queued {
                assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            }
            note(&scratch.text(), 2);
        });
        running.join().unwrap();

        let procs = pool(1);
        let task = procs.spawn((), |()| forever::<()>());
        std::thread::scope(|scope| {
            scope.spawn(|| procs.shutdown(Shutdown::Wait));
            procs.kill();
        });
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    }

    fn dropped_on_its_own_thread() {
        let procs = Arc::new(pool(1));
        let (tell, told) = mpsc::channel();
        let theirs = procs.clone();
        let here = std::thread::current().id();
        procs.spawn(7, |n: u32| n).on_done(move |result| {
            let mine = std::thread::current().id() == here;
            let mapped = theirs.map(0..3, |n: u32| n);
            drop(theirs);
            tell.send((result, mine, mapped)).unwrap();
        });
        drop(procs);
        let (result, mine, mapped) = told.recv().unwrap();
        // The drop above may have come first.
        assert!(matches!(result, Ok(7) | Err(TaskError::Cancelled)));
        if mine {
            // It had ended before the callback was there.
            assert_eq!(mapped.unwrap(), [0, 1, 2]);
        } else {
            assert!(matches!(mapped, Err(TaskError::WouldBlock)));
        }
    }

    fn two_pools_that_drop_each_other() {
        let pools = [pool(1), pool(1)];
        let scratch = Scratch::new("cross");
        let tasks = pools.each_ref().map(|procs| {
            procs.spawn(scratch.text(), |path| until(|| !std::fs::read(&path).unwrap().is_empty()))
        });
        let (tell, told) = mpsc::channel();
        let together = Arc::new(std::sync::Barrier::new(2));
        for (task, other) in tasks.into_iter().zip(pools.into_iter().rev()) {
            let (tell, together) = (tell.clone(), together.clone());
            task.on_done(move |result| {
                together.wait();
                drop(other);
                tell.send(result).unwrap();
            });
        }
        note(&scratch.text(), 1);
        for _ in 0..2 {
            told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        }
    }

    fn an_iterator_that_panics_leaves_a_pool() {
        let procs = pool(2);
        let items = (0..5000u32).inspect(|n| assert!(*n < 4000, "enough"));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| procs.map(items, |n| n)));
        assert!(caught.is_err());
        assert_eq!(procs.map(0..10, |n: u32| n).unwrap().len(), 10);
    }
}
