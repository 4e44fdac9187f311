//! How soon a worker is there, and what it costs, as numbers that must hold: with `TREFOIL_BARS`
//! set, optimised, on a quiet machine (`.ci/long starts`). What a machine has too little memory or
//! too few processors for is skipped with a word.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    unsafe_code
)] // a program, not the crate

use crate::support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use support::{Scratch, Test, forever, kill, note, noted, tests, until};
use trefoil::process::StartMethod;
use trefoil::{ProcessPool, ProcessPoolBuilder};

const BOTH: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Whether they are measured at all.
pub(crate) fn are_measured() -> bool {
    std::env::var_os("TREFOIL_BARS").is_some()
}

fn builder(method: StartMethod, workers: usize) -> ProcessPoolBuilder {
    let builder = ProcessPool::builder().workers(workers);
    builder.start_method(method)
}

/// Nanoseconds by a clock that all processes share.
fn clock(_: ()) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to a local variable.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(done, 0);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A number of kB in a file of /proc.
fn kib(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether so much memory is there, and some more.
fn has_room_for(gib: u64) -> bool {
    let available = kib("/proc/meminfo", "MemAvailable:");
    let has = available > (gib + 2) << 20;
    if !has {
        println!("skipped: {gib} GiB with {} MiB available", available >> 10);
    }
    has
}

fn processors() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// Memory that an initializer leaves, of which each page has been written to.
struct Table(*mut u8, usize);

// SAFETY: it is memory that is written to before it is shared, and only read then.
unsafe impl Send for Table {}
// SAFETY: the same.
unsafe impl Sync for Table {}

static TABLE: OnceLock<Table> = OnceLock::new();

/// Makes the table, with the kernel's large pages or without.
fn make((bytes, large): (usize, bool)) {
    if bytes == 0 {
        return;
    }
    const ALIGNMENT: usize = 2 << 20;
    let layout = std::alloc::Layout::from_size_align(bytes, ALIGNMENT).unwrap();
    // SAFETY: the size is not 0.
    let memory = unsafe { std::alloc::alloc(layout) };
    assert!(!memory.is_null());
    let advice = if large {
        libc::MADV_HUGEPAGE
    } else {
        libc::MADV_NOHUGEPAGE
    };
    // SAFETY: it is the memory that was just allocated. (A kernel without large pages refuses.)
    let _ = unsafe { libc::madvise(memory.cast(), bytes, advice) };
    // SAFETY: the same; nobody else has it.
    unsafe { memory.write_bytes(1, bytes) };
    assert!(TABLE.set(Table(memory, bytes)).is_ok());
}

/// Reads each page of the table.
fn reads(_: u32) -> u64 {
    let table = TABLE.get().unwrap();
    let mut sum = 0;
    for at in (0..table.1).step_by(4096) {
        // SAFETY: it is inside of the memory.
        let place = unsafe { table.0.add(at) };
        // SAFETY: the memory is filled, and nobody writes to it.
        sum += u64::from(unsafe { place.read() });
    }
    std::thread::sleep(Duration::from_millis(20)); // so that each worker gets some
    sum
}

/// How long after the death of the only worker the next one accepts an item, which waits.
fn until_the_next_accepts(procs: &ProcessPool, times: usize) -> Duration {
    let notes = Scratch::new("bars");
    let mut all = Vec::new();
    for n in 1..=times {
        let runs = |(path, n): (String, u64)| -> u32 {
            note(&path, n);
            forever()
        };
        let running = procs.spawn((notes.text(), n as u64), runs);
        until(|| noted(&notes.text()) == n);
        let next = procs.spawn((), clock);
        let killed = clock(());
        kill(procs.worker_pids()[0]);
        let accepted = next.join().unwrap();
        assert!(running.join().is_err());
        all.push(Duration::from_nanos(accepted - killed));
    }
    median(all)
}

fn first_answer(method: StartMethod) -> Duration {
    let begin = Instant::now();
    let procs = builder(method, 2).build().unwrap();
    procs.spawn((), clock).join().unwrap();
    begin.elapsed()
}

tests! {
    /// However long the initializer takes.
    fn a_death_costs_less_than_a_millisecond() {
        for start in [0, 200] {
            let slow = |millis: u64| std::thread::sleep(Duration::from_millis(millis));
            for method in BOTH {
                let procs = builder(method, 1).initializer(start, slow).build().unwrap();
                procs.spawn((), clock).join().unwrap();
                let times = if method == StartMethod::Spawn && start > 0 { 5 } else { 101 };
                let took = until_the_next_accepts(&procs, times);
                println!("{method:?}, initializer {start} ms: the next item {took:.2?} after a death");
                let holds = method == StartMethod::Spawn || took <= Duration::from_micros(600);
                assert!(holds, "{took:.2?}, and 0.6 ms is the limit");
            }
        }
    }

    fn a_first_answer_comes_as_soon_as_without_a_server() {
        let mut times: [Vec<Duration>; 2] = Default::default();
        for _ in 0..101 {
            for (method, times) in BOTH.into_iter().zip(&mut times) {
                times.push(first_answer(method));
            }
        }
        let [spawn, server] = times.map(median);
        println!("first answer of a pool of 2: Spawn {spawn:.2?}, ForkServer {server:.2?}");
        // (A twentieth is what two medians of the same differ by.)
        assert!(server <= spawn * 21 / 20, "{server:.2?}, and Spawn {spawn:.2?}");
    }

    fn one_process_for_each_item_and_thousands_of_them() {
        const ITEMS: u32 = 2000;
        for method in BOTH {
            let procs = builder(method, 2).max_tasks_per_worker(1).build().unwrap();
            procs.map(0..100, |n: u32| n).unwrap();
            let rounds = (0..5).map(|_| {
                let begin = Instant::now();
                assert_eq!(procs.map(0..ITEMS, |n: u32| n).unwrap().len(), ITEMS as usize);
                begin.elapsed()
            });
            let rate = f64::from(ITEMS) / median(rounds.collect()).as_secs_f64();
            println!("{method:?}: {rate:.0} items in a second, each in a process of its own");
            if method == StartMethod::ForkServer {
                if processors() < 2 {
                    println!("skipped: the limit is for two processors");
                    return;
                }
                assert!(rate >= 2000.0, "{rate:.0} in a second, and 2000 is the limit");
            }
        }
    }

    fn a_table_is_in_memory_once() {
        if !has_room_for(1) {
            return;
        }
        let table = (1 << 30, false);
        let procs = builder(StartMethod::ForkServer, 8).initializer(table, make).build().unwrap();
        let pages = procs.map(0..64, reads).unwrap();
        assert!(pages.iter().all(|sum| *sum == 1 << 18));
        until(|| procs.worker_pids().len() == 8);
        let own = std::process::id().to_string();
        let mut pids: Vec<u32> = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
            if parent == Some(&*own) {
                pids.extend(entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
            }
        }
        assert_eq!(pids.len(), 9, "eight workers, and their server");
        let of = |pid: &u32| kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:");
        let sum: u64 = pids.iter().map(of).sum();
        let (mib, limit) = (sum >> 10, 1178); // 1.15 GiB
        println!("8 workers and their server, over a table of 1 GiB: {mib} MiB (PSS)");
        assert!(mib < limit, "{mib} MiB, and {limit} is the limit");
    }

    /// What a copy costs: the kernel copies the tables of pages, which large pages make small.
    fn the_cost_of_a_copy() {
        for gib in [0, 1, 4] {
            for large in [false, true] {
                if gib == 0 && large || !has_room_for(gib) {
                    continue;
                }
                let table = ((gib as usize) << 30, large);
                let procs = builder(StartMethod::ForkServer, 1).initializer(table, make);
                let procs = procs.build().unwrap();
                procs.spawn((), clock).join().unwrap();
                let took = until_the_next_accepts(&procs, 21);
                let pages = if large { ", large pages" } else { "" };
                println!("{gib} GiB{pages}: {took:.2?} from a death to the next item");
                // (A new process would fill the table again, at some gigabytes in a second.)
                let limit = Duration::from_micros(600) + Duration::from_millis(20) * gib as u32;
                assert!(took <= limit, "{took:.2?}, and {limit:.2?} is the limit");
            }
        }
    }
}
