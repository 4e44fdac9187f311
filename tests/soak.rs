//! Mixed load on all three executors for long: no descriptor, thread, child, byte or file is left.
//!
//! One second of it with `cargo test`; `TREFOIL_SOAK=seconds` sets another time (`.ci/long soak`:
//! two hours). Loops run in virtual time, an hour of it in each round; threads, processes and
//! sockets in real time. It is a process of its own, with a folder of its own for temporary files,
//! which must be empty at its end.
//!
//! Each kind of load runs by itself, then all of them at once. After the first tenth, in which
//! everything comes to be that a process makes once, a census is taken, and another at the end:
//! what is more then is a leak, and has the name of the load after which there was more.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate
#![allow(unsafe_code)] // an allocator needs it

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use support::{Dice, HELPER, Test, census, tests, until};
use trefoil::io::{self, TcpListener, TcpStream};
use trefoil::prelude::*;
use trefoil::process::Bulk;
use trefoil::{
    CancelToken, EventLoop, ProcessPool, Shutdown, Task, TaskGroup, ThreadPool, time, timeout,
};

struct Counting;

/// Bytes that have not been given back.
static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: all calls are passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds before the first census, at least: a tenth of all. Memory that is kept for the next task
/// grows with the most that were alive at once, which a later round may still exceed.
const WARM: u64 = 3;

/// More live bytes than this are a leak. (Lists of free memory may still grow to their full
/// length.)
const SLACK: i64 = 512 << 10;

/// Some items never notice that they are cancelled.
const GRACE: Duration = Duration::from_millis(5);

fn main() {
    trefoil::init();
    if std::env::var(HELPER).is_ok_and(|name| name == "child") {
        exit(0);
    }
    support::helper(&[("soak", soak)]);
    support::main(&[TESTS]);
}

tests! {
    fn nothing_is_left_after_mixed_load() {
        let folder = std::env::temp_dir().join(format!("trefoil-soak-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .env(HELPER, "soak")
            .env("TMPDIR", &folder)
            .status();
        assert!(status.unwrap().success());
        assert_eq!(names(&folder), [""; 0], "temporary files");
        std::fs::remove_dir(folder).unwrap();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into()).collect();
    names.sort();
    names
}

/// What stays from round to round.
struct Kept {
    pool: ThreadPool,
    procs: ProcessPool,
    /// Its worker never dies, so that its memory can be compared.
    steady: ProcessPool,
}

type Load = (&'static str, fn(&Kept, &mut Dice));

const LOADS: &[Load] = &[
    ("an hour of virtual time", virtual_hour),
    ("threads", threads),
    ("a thread pool", a_thread_pool),
    ("processes", processes),
    ("a process pool", a_process_pool),
    ("sockets, files, children", input_and_output),
    ("all at once", all_at_once),
];

fn soak() {
    let length = support::soak().unwrap_or(Duration::from_secs(1));
    let begin = Instant::now();
    let seed = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_nanos() as u64
        | 1;
    println!("seed {seed}");
    let procs = ProcessPool::builder()
        .workers(2)
        .grace(Duration::from_millis(5));
    let kept = Kept {
        pool: ThreadPool::with_threads(2),
        procs: procs.build().unwrap(),
        steady: ProcessPool::with_workers(1).unwrap(),
    };
    let mut dice = Dice(seed);
    let mut round = |grown: &mut Vec<Census>| {
        for (at, (_, load)) in LOADS.iter().enumerate() {
            let before = Census::now(&kept);
            load(&kept, &mut dice);
            grown[at] = grown[at].plus(&Census::now(&kept).minus(&before));
        }
    };
    let nothing = vec![Census::default(); LOADS.len()];
    let mut warm = 0;
    while warm < WARM || begin.elapsed() < length / 10 {
        round(&mut nothing.clone());
        warm += 1;
    }
    let first = Census::settled(&kept, None);
    println!("first: {first:?}");
    let (mut grown, mut rounds) = (nothing, 0);
    while begin.elapsed() < length || rounds < 2 {
        round(&mut grown);
        rounds += 1;
    }
    let last = Census::settled(&kept, Some(&first));
    println!("last: {last:?}");
    println!(
        "{rounds} rounds, as many hours of virtual time, in {:.0?}",
        begin.elapsed()
    );
    let more = last.minus(&first);
    if let Some((what, more, of)) = more.leaks().next() {
        let most = LOADS.iter().zip(&grown).max_by_key(|(_, grown)| of(grown));
        let (load, _) = most.unwrap();
        panic!(
            "a leak in {:?}: {more} more {what} after {rounds} rounds",
            load.0
        );
    }
}

/// What must not grow.
#[derive(Clone, Debug, Default)]
struct Census {
    descriptors: i64,
    threads: i64,
    children: i64,
    files: i64,
    bytes: i64,
    /// Resident, of the worker that never dies.
    worker_bytes: i64,
}

type Of = fn(&Census) -> i64;

/// Each count, its name, and how much more of it is no leak.
const COUNTS: &[(&str, Of, i64)] = &[
    ("descriptors", |c| c.descriptors, 0),
    ("threads", |c| c.threads, 0),
    ("children", |c| c.children, 0),
    ("temporary files", |c| c.files, 0),
    ("live bytes", |c| c.bytes, SLACK),
    ("resident bytes of a worker", |c| c.worker_bytes, 16 * SLACK),
];

impl Census {
    /// When the pools that stay have all their workers again, and these have nothing to do.
    fn now(kept: &Kept) -> Self {
        let workers = || [kept.procs.worker_pids(), kept.steady.worker_pids()];
        loop {
            for procs in [&kept.procs, &kept.steady] {
                until(|| {
                    let (stats, workers) = (procs.stats(), procs.num_workers());
                    stats.pending == 0 && procs.worker_pids().len() == workers
                });
                // (A worker that answers has all its descriptors.)
                procs.map(0..100, square).unwrap();
            }
            let before = workers();
            let now = Self::of(kept);
            // Otherwise a late call's worker has died meanwhile.
            if workers() == before && before[0].len() == kept.procs.num_workers() {
                return now;
            }
        }
    }

    fn of(kept: &Kept) -> Self {
        let (descriptors, threads, _) = census();
        let pids = kept.steady.worker_pids();
        Self {
            descriptors: descriptors as i64,
            threads: threads as i64,
            children: children(),
            files: names(&std::env::temp_dir()).len() as i64,
            bytes: LIVE.load(Ordering::Relaxed),
            worker_bytes: pids.iter().map(|pid| resident(*pid)).sum(),
        }
    }

    /// The least of a while, in which what was asked to end does end; at most until there is no
    /// more than `before`.
    fn settled(kept: &Kept, before: Option<&Self>) -> Self {
        let mut least = Self::now(kept);
        let patience = Duration::from_secs(if before.is_some() { 30 } else { 1 });
        let begin = Instant::now();
        while begin.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(5));
            least = least.with(&Self::now(kept), i64::min);
            if before.is_some_and(|before| least.minus(before).leaks().next().is_none()) {
                break;
            }
        }
        least
    }

    fn with(&self, other: &Self, f: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            descriptors: f(self.descriptors, other.descriptors),
            threads: f(self.threads, other.threads),
            children: f(self.children, other.children),
            files: f(self.files, other.files),
            bytes: f(self.bytes, other.bytes),
            worker_bytes: f(self.worker_bytes, other.worker_bytes),
        }
    }

    fn minus(&self, other: &Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    fn plus(&self, other: &Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    /// Of a difference: what has grown.
    fn leaks(&self) -> impl Iterator<Item = (&'static str, i64, Of)> + '_ {
        let grown = COUNTS
            .iter()
            .map(|(what, of, slack)| (*what, of(self), *of, *slack));
        grown.filter_map(|(what, more, of, slack)| (more > slack).then_some((what, more, of)))
    }
}

/// How many children there are, of all threads; elsewhere than on Linux they are not counted.
fn children() -> i64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let of = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children"));
    let lists = threads
        .flatten()
        .map(|thread| of(thread).unwrap_or_default());
    lists
        .map(|pids| pids.split_whitespace().count() as i64)
        .sum()
}

fn resident(pid: u32) -> i64 {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<i64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Tasks that sleep, tick, time out, wait for one another and are cancelled, for an hour.
fn virtual_hour(_: &Kept, dice: &mut Dice) {
    const HOUR: Duration = Duration::from_secs(3600);
    let event_loop = EventLoop::builder().virtual_time().build().unwrap();
    event_loop.block_on(async {
        let end = time::now() + HOUR;
        let (sender, receiver) = trefoil::sync::channel::bounded(4);
        let mut group = TaskGroup::new();
        for _ in 0..50 {
            let (pause, sender) = (
                Duration::from_millis(1 + dice.roll(600_000)),
                sender.clone(),
            );
            group.add(trefoil::spawn(async move {
                while time::now() < end {
                    time::sleep(pause).await;
                    let _ = timeout(pause, sender.send(pause)).await;
                }
            }));
        }
        drop(sender);
        let ticks = trefoil::spawn(async move {
            let mut ticks = time::interval(Duration::from_secs(1));
            while time::now() < end {
                ticks.tick().await;
            }
        });
        let forgotten: Vec<Task<()>> = (0..20)
            .map(|_| trefoil::spawn(std::future::pending()))
            .collect();
        while let Ok(pause) = receiver.recv().await {
            time::sleep(pause / 64).await;
        }
        ticks.await.unwrap();
        for task in &forgotten {
            task.cancel();
        }
        while group.next().await.is_some() {}
    });
}

fn threads(kept: &Kept, dice: &mut Dice) {
    let pool = &kept.pool;
    let many = 1 + dice.roll(5_000);
    let squares = pool.map(0..many, |n| n * n);
    let sum: u64 = pool.install(|| squares.par_iter().filter(|n| **n % 3 == 0).sum());
    assert!(sum <= squares.iter().sum());
    assert!(
        pool.spawn(|| -> () { panic!("on purpose") })
            .join()
            .is_err()
    );
    let token = CancelToken::new();
    let waits = pool.spawn_async(async { std::future::pending::<()>().await });
    waits.cancel();
    assert!(waits.join().is_err());
    let tasks: Vec<_> = (0..many % 300)
        .map(|n| pool.spawn(move || vec![n; 100]))
        .collect();
    tasks.into_iter().skip(3).for_each(|task| drop(task.join()));
    let strings = pool.imap(0..many % 500, |n| n.to_string());
    assert!(strings.take(200).all(|text| !text.is_empty()));
    pool.scope(|s| (0..many % 100).for_each(|_| drop(s.spawn(|| token.cancel()))));
    let late = timeout(Duration::from_millis(1), trefoil::spawn_blocking(|| 1));
    let _ = late.join();
}

fn a_thread_pool(_: &Kept, dice: &mut Dice) {
    let pool = ThreadPool::with_threads(1 + dice.roll(4) as usize);
    for _ in 0..dice.roll(50) {
        pool.spawn(|| ()).detach();
    }
    pool.spawn_async(std::future::pending::<()>()).detach();
    pool.resize(1 + dice.roll(4) as usize);
    if dice.roll(2) == 0 {
        pool.shutdown(Shutdown::CancelPending);
    }
}

fn twice(mut numbers: Bulk<u64>) -> Bulk<u64> {
    numbers.iter_mut().for_each(|n| *n *= 2);
    numbers
}

fn square(n: u64) -> u64 {
    n * n
}

fn dies(_: u64) -> u64 {
    exit(7)
}

fn processes(kept: &Kept, dice: &mut Dice) {
    for procs in [&kept.procs, &kept.steady] {
        let many = 1 + dice.roll(3_000);
        assert_eq!(procs.map(0..many, square).unwrap().len(), many as usize);
        let numbers: Vec<u64> = vec![3; dice.roll(100_000) as usize];
        let doubled = procs.spawn(Bulk::from(numbers), twice).join().unwrap();
        assert!(doubled.iter().all(|n| *n == 6));
        let calls: Vec<_> = (0..200).map(|n| procs.spawn(n, square)).collect();
        for call in calls.iter().step_by(3) {
            call.cancel();
        }
        calls.into_iter().skip(1).for_each(|call| drop(call.join()));
        let some = procs.imap(0..1_000, square).take(100);
        assert!(some.flatten().count() <= 100);
        let panics = procs.spawn(1_u64, |n| -> u64 { panic!("on purpose, {n}") });
        assert!(panics.join().is_err());
    }
    assert!(kept.procs.spawn(1, dies).join().is_err());
    let late = kept
        .procs
        .call(|()| std::thread::park())
        .timeout(Duration::from_millis(1));
    assert!(late.spawn(()).join().is_err());
}

fn a_process_pool(_: &Kept, dice: &mut Dice) {
    let procs = ProcessPool::builder()
        .workers(2)
        .grace(GRACE)
        .build()
        .unwrap();
    for n in 0..dice.roll(20) {
        procs.spawn(n, square).detach();
    }
    procs.spawn((), |()| std::thread::park()).detach();
    match dice.roll(2) {
        0 => procs.kill(),
        _ => drop(procs),
    }
}

fn input_and_output(_: &Kept, dice: &mut Dice) {
    let bytes = 1 + dice.roll(100_000) as usize;
    let done = EventLoop::new().unwrap().block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = trefoil::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut bytes = vec![0; 4096];
            while let 1.. = stream.read(&mut bytes).await? {
                stream.write_all(&bytes[..1]).await?;
            }
            Ok::<_, std::io::Error>(())
        });
        let stream = TcpStream::connect(address).await?;
        stream.write_all(&vec![1; bytes.min(4000)]).await?;
        stream.read_exact(&mut [0]).await?;
        drop(stream);
        server.await??;
        let file = std::env::temp_dir().join("written");
        io::fs::write(&file, vec![2; bytes]).await?;
        assert_eq!(io::fs::read(&file).await?.len(), bytes);
        io::fs::remove_file(&file).await?;
        let mut child = io::Command::new(std::env::current_exe()?);
        let status = child.env(HELPER, "child").status().await?;
        assert!(status.success());
        Ok::<_, std::io::Error>(())
    });
    done.unwrap();
}

fn all_at_once(kept: &Kept, dice: &mut Dice) {
    std::thread::scope(|scope| {
        for (_, load) in &LOADS[..LOADS.len() - 1] {
            let seed = dice.roll(1 << 40) | 1;
            scope.spawn(move || load(kept, &mut Dice(seed)));
        }
    });
}
