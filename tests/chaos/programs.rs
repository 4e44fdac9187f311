//! Ten small programs, each with a fault in its retries, its idempotence or its order, and each
//! without it, as it should be ([`is_mended`]). A program that finds its result wrong panics.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use trefoil::{ProcessCall, ProcessPool, SharedAtomics, TaskError, ThreadPool, try_join_all};

pub(crate) const FAULTY: &[(&str, fn())] = &[
    ("expects_no_death", expects_no_death),
    ("appends_again", appends_again),
    ("counts_what_begins", counts_what_begins),
    ("leaves_a_file", leaves_a_file),
    ("leaves_a_lock", leaves_a_lock),
    ("sums_in_the_worker", sums_in_the_worker),
    ("trusts_an_actor", trusts_an_actor),
    ("expects_the_order_of_calls", expects_the_order_of_calls),
    ("knows_the_workers", knows_the_workers),
    ("expects_the_order_of_tasks", expects_the_order_of_tasks),
];

/// The variable that says that a program runs as it should be.
pub(crate) const MENDED: &str = "TREFOIL_TEST_MENDED";

const ITEMS: u64 = 60;

fn is_mended() -> bool {
    std::env::var_os(MENDED).is_some()
}

fn procs(workers: usize) -> ProcessPool {
    ProcessPool::with_workers(workers).unwrap()
}

/// With enough retries for every death.
fn retried<A: trefoil::process::Portable, R: trefoil::process::Portable>(
    pool: &ProcessPool,
    f: fn(A) -> R,
) -> ProcessCall<'_, A, R> {
    pool.call(f).retry(9)
}

/// An empty folder, which is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("trefoil-chaos-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> usize {
        files(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// What an item does with its file or lock.
fn work() {
    sleep(Duration::from_millis(4));
}

// ---- retries ----

fn expects_no_death() {
    let pool = procs(2);
    let square = |x: u64| x * x;
    let squares = match is_mended() {
        false => pool.map(0..ITEMS, square),
        true => retried(&pool, square).map(0..ITEMS),
    };
    assert_eq!(squares.unwrap(), (0..ITEMS).map(square).collect::<Vec<_>>());
}

/// A file is removed by the item that made it: the next start of the item makes another.
fn leaves_a_file() {
    let (pool, folder) = (procs(2), Folder::new());
    let item = |(folder, index, mended): (PathBuf, u64, bool)| {
        let name = if mended {
            index
        } else {
            std::process::id().into()
        };
        let file = folder.join(name.to_string());
        fs::write(&file, "half").unwrap();
        work();
        fs::remove_file(&file).unwrap();
    };
    let items = (0..ITEMS).map(|index| (folder.0.clone(), index, is_mended()));
    retried(&pool, item).map(items).unwrap();
    assert_eq!(folder.files(), 0, "files are left");
}

/// A file that exists is no lock: nobody removes it for an item that has died.
#[allow(clippy::incompatible_msrv)] // of the library
fn leaves_a_lock() {
    let (pool, folder) = (procs(2), Folder::new());
    let item = |(folder, index, mended): (PathBuf, u64, bool)| {
        let path = folder.join((index / 2).to_string());
        if mended {
            let file = File::create(path).unwrap();
            file.lock().unwrap();
            return work();
        }
        // (Two items use each lock, one after the other, because one worker runs both.)
        let lock = OpenOptions::new().create_new(true).write(true).open(&path);
        lock.expect("it is locked");
        work();
        fs::remove_file(path).unwrap();
    };
    for index in 0..ITEMS {
        let item = retried(&pool, item).spawn((folder.0.clone(), index, is_mended()));
        item.join().unwrap();
    }
}

// ---- idempotence ----

fn appends_again() {
    let (pool, folder) = (procs(2), Folder::new());
    let item = |(folder, index, mended): (PathBuf, u64, bool)| {
        if mended {
            return fs::write(folder.join(index.to_string()), "x\n").unwrap();
        }
        let all = OpenOptions::new()
            .append(true)
            .create(true)
            .open(folder.join("all"));
        all.unwrap().write_all(b"x\n").unwrap();
    };
    let items = (0..ITEMS).map(|index| (folder.0.clone(), index, is_mended()));
    retried(&pool, item).map(items).unwrap();
    let lines = match is_mended() {
        true => folder.files(),
        false => fs::read_to_string(folder.0.join("all"))
            .unwrap()
            .lines()
            .count(),
    };
    assert_eq!(lines as u64, ITEMS);
}

fn counts_what_begins() {
    let pool = procs(2);
    let counts = SharedAtomics::<AtomicU64>::new(ITEMS as usize).unwrap();
    let item = |(counts, index, mended): (SharedAtomics<AtomicU64>, u64, bool)| match mended {
        true => counts[index as usize].store(1, Ordering::Relaxed),
        false => drop(counts[index as usize].fetch_add(1, Ordering::Relaxed)),
    };
    let items = (0..ITEMS).map(|index| (counts.clone(), index, is_mended()));
    retried(&pool, item).map(items).unwrap();
    let count: u64 = counts
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .sum();
    assert_eq!(count, ITEMS);
}

fn sums_in_the_worker() {
    static SUM: AtomicU64 = AtomicU64::new(0);
    let pool = procs(1);
    let add = |x: u64| SUM.fetch_add(x, Ordering::Relaxed) + x;
    let mut sum = 0;
    for _ in 0..ITEMS {
        let sum_there = retried(&pool, add).spawn(1).join().unwrap();
        sum = if is_mended() { sum + 1 } else { sum_there };
    }
    assert_eq!(sum, ITEMS);
}

fn trusts_an_actor() {
    let (pool, folder) = (procs(1), Folder::new());
    // As it should be, the value is what was written, and it is loaded again.
    let load = |folder: PathBuf| (files(&folder), folder);
    let actor = pool.actor(folder.0.clone(), load).unwrap();
    let mut count = 0;
    for index in 0..ITEMS {
        count = loop {
            let add = |(index, mended): (u64, bool), value: &mut (usize, PathBuf)| {
                value.0 += 1;
                if mended {
                    fs::write(value.1.join(index.to_string()), "").unwrap();
                    value.0 = files(&value.1);
                }
                value.0
            };
            match actor.call((index, is_mended()), add).join() {
                Ok(count) => break count,
                Err(TaskError::WorkerDied(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
    }
    assert_eq!(count as u64, ITEMS);
}

// ---- order ----

/// One worker runs one call after the other; but a call that is retried comes later. (The pause is
/// longer than a worker takes to start.)
fn expects_the_order_of_calls() {
    let pool = procs(1);
    let call = retried(&pool, |x: u64| x).backoff(Duration::from_millis(300));
    for index in 0..ITEMS / 2 {
        let (first, second) = (call.spawn(index), call.spawn(index));
        if is_mended() {
            first.join().unwrap();
        } else {
            second.join().unwrap();
            assert!(
                first.is_finished(),
                "the second is there, and the first is not"
            );
        }
    }
}

/// A worker that has died is replaced, by another process.
fn knows_the_workers() {
    let pool = procs(2);
    let mut items: BTreeMap<u32, u64> = match is_mended() {
        true => BTreeMap::new(),
        false => pool.worker_pids().into_iter().map(|pid| (pid, 0)).collect(),
    };
    let ran = retried(&pool, |_| std::process::id())
        .map(0..ITEMS)
        .unwrap();
    for pid in ran {
        match is_mended() {
            true => *items.entry(pid).or_default() += 1,
            false => *items.get_mut(&pid).expect("a worker of the pool") += 1,
        }
    }
    assert_eq!(items.values().sum::<u64>(), ITEMS);
}

/// One thread runs one task after the other, and not in a promised order: of 61 searches for a task
/// one begins elsewhere. So some rounds of three tasks are out of order in any case.
fn expects_the_order_of_tasks() {
    // (A caller that helps would be a second thread.)
    let pool = ThreadPool::builder().threads(1).caller_helps(false);
    let pool = pool.build().unwrap();
    let out_of_order = (0..ITEMS).filter(|_| {
        let mut ran = order_of_three(&pool);
        if is_mended() {
            ran.sort_unstable();
        }
        ran != [0, 1, 2]
    });
    assert!(out_of_order.count() < 6);
}

fn order_of_three(pool: &ThreadPool) -> Vec<u64> {
    let ran = Arc::new(Mutex::new(Vec::new()));
    // (It computes: for one that waits, the pool would begin another thread.)
    let all_are_there = Arc::new(AtomicBool::new(false));
    let begins = all_are_there.clone();
    let first = pool.spawn(move || {
        while !begins.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    });
    let tasks = (0..3).map(|index| {
        let ran = ran.clone();
        pool.spawn(move || ran.lock().unwrap().push(index))
    });
    let tasks: Vec<_> = tasks.collect();
    all_are_there.store(true, Ordering::SeqCst);
    first.join().unwrap();
    try_join_all(tasks).join().unwrap();
    ran.lock().unwrap().clone()
}
