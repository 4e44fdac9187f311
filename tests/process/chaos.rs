//! Many kills, stops and refused system calls, with counts: nothing is lost except the item that a
//! worker ran when it died.
//!
//! `TREFOIL_KILLS=10000` makes it long. It prints totals; `docs/TESTING.md` has those of long
//! runs.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use support::{
    Dice, KILLED, Scratch, Test, census, end_of, kill, kills, note, nothing_left_since, pool,
    resume, suspend, tests, until,
};
use trefoil::process::{Permits, worker_index};
use trefoil::{Bulk, ProcessPool, TaskError};

/// How many items of each kind are under way at a time.
const AHEAD: usize = 120;

/// Mostly small; around the sizes of what is shared and of the socket's buffer; sometimes larger.
fn size(dice: &mut Dice) -> usize {
    let size = match dice.roll(40) {
        0 => 110_000 + dice.roll(30_000),
        1 => 212_000 + dice.roll(2_000),
        2 => dice.roll(1_000_000),
        3..9 => dice.roll(9_000),
        _ => dice.roll(40),
    };
    size as usize
}

/// System calls of a worker. Some items have one of them refused for the rest of the worker's life.
#[cfg(target_os = "linux")]
const CALLS: [libc::c_long; 6] = [
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_ppoll,
    libc::SYS_madvise,
    libc::SYS_prlimit64,
    libc::SYS_kill,
];
/// The index of the first call that may be refused: a plain worker that may not send could never
/// answer.
#[cfg(target_os = "linux")]
fn refused_from() -> usize {
    usize::from(support::is_plain())
}

/// From now on one system call is refused to this process; `id` selects which.
#[cfg(target_os = "linux")]
fn spoil(id: u64) {
    let calls = &CALLS[refused_from()..];
    let call = calls[(id / SPOILS) as usize % calls.len()];
    let _ = support::refuse::refuse(&[call], libc::EPERM);
}

/// On other systems nothing is refused.
#[cfg(not(target_os = "linux"))]
fn spoil(_id: u64) {}

/// One item in so many calls [`spoil`].
const SPOILS: u64 = 97;

type Item = (u64, Bulk<u8>, String);
type Answer = (u64, Bulk<u8>);

/// Notes that it ran, takes some time, and returns its argument.
fn work((id, bytes, path): Item) -> Answer {
    note(&path, id);
    if id.is_multiple_of(SPOILS) {
        spoil(id);
    }
    let begin = Instant::now();
    let micros = if id.is_multiple_of(40) {
        9_000
    } else {
        id * 7 % 500
    };
    while begin.elapsed() < Duration::from_micros(micros) {
        std::thread::yield_now();
    }
    (id, bytes)
}

/// The counts of one source of work.
#[derive(Debug, Default)]
struct Totals {
    items: u64,
    answers: Vec<u64>,
    blamed: u64,
}

impl Totals {
    /// Counts the end of one item.
    fn ends(&mut self, id: u64, size: usize, result: Result<Answer, TaskError>) {
        match result {
            Ok((answer, bytes)) => {
                assert!(
                    answer == id
                        && bytes.len() == size
                        && bytes.iter().all(|byte| *byte == id as u8)
                );
                self.answers.push(id);
            }
            Err(TaskError::WorkerDied(exit)) => {
                // A worker that was refused a call may end by itself, with a message that names the
                // call.
                let refused = exit.code() == Some(1) && exit.to_string().contains("refuses");
                assert!(end_of(&exit) == KILLED || refused, "{exit}");
                self.blamed += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// What the sources of work and the killer share.
struct Field<'a> {
    procs: &'a ProcessPool,
    ids: AtomicU64,
    progress: AtomicU64,
    over: AtomicBool,
    path: String,
    seed: u64,
}

impl Field<'_> {
    fn item(&self, dice: &mut Dice) -> (u64, usize, Item) {
        let (id, size) = (self.ids.fetch_add(1, Ordering::Relaxed), size(dice));
        (
            id,
            size,
            (id, vec![id as u8; size].into(), self.path.clone()),
        )
    }

    /// Makes calls one by one, each with so many retries.
    fn calls(&self, retry: u32) -> Totals {
        let mut dice = Dice(self.seed ^ 0x5eed ^ u64::from(retry));
        let call = self.procs.call(work).retry(retry);
        let (mut totals, mut seen) = (Totals::default(), HashSet::new());
        let (tell, told) = mpsc::channel();
        loop {
            let over = self.over.load(Ordering::Relaxed);
            while !over && totals.items < (seen.len() + AHEAD) as u64 {
                let (id, size, item) = self.item(&mut dice);
                let tell = tell.clone();
                call.spawn(item)
                    .on_done(move |result| tell.send((id, size, result)).unwrap());
                totals.items += 1;
            }
            if seen.len() as u64 == totals.items {
                return totals;
            }
            let (id, size, result) = told.recv().unwrap();
            assert!(seen.insert(id), "{id} ends twice");
            totals.ends(id, size, result);
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Items in batches, one result after the other.
    fn batches(&self) -> Totals {
        let mut dice = Dice(self.seed ^ 0xba7c);
        let mut totals = Totals::default();
        while !self.over.load(Ordering::Relaxed) {
            let items: Vec<_> = (0..300).map(|_| self.item(&mut dice)).collect();
            let known: Vec<(u64, usize)> = items.iter().map(|(id, size, _)| (*id, *size)).collect();
            let results = self
                .procs
                .imap(items.into_iter().map(|(_, _, item)| item), work);
            let mut count = 0;
            for ((id, size), result) in known.iter().zip(results) {
                totals.ends(*id, *size, result);
                self.progress.fetch_add(1, Ordering::Relaxed);
                count += 1;
            }
            assert_eq!(count, 300, "each has its answer or its error");
            totals.items += 300;
        }
        totals
    }

    /// Kills so many workers, at any moment of their lives, and stops some for a while. Returns how
    /// many.
    fn kill(&self, kills: u64) -> u64 {
        let mut dice = Dice(self.seed);
        let (mut done, mut stops) = (0, 0);
        while done < kills {
            let pids = self.procs.worker_pids();
            if let (0, false) = (dice.roll(5), pids.is_empty()) {
                let pid = pids[dice.roll(pids.len() as u64) as usize];
                suspend(pid);
                std::thread::sleep(Duration::from_micros(dice.roll(9_000)));
                resume(pid);
                stops += 1;
            }
            let at_once = if dice.roll(40) == 0 { pids.len() } else { 1 };
            for _ in 0..at_once.min(pids.len()) {
                kill(pids[dice.roll(pids.len() as u64) as usize]);
                done += 1;
            }
            let (before, begin) = (self.progress.load(Ordering::Relaxed), Instant::now());
            std::thread::sleep(Duration::from_micros(dice.roll(7_000)));
            // Usually waits until some work was done in between, so that the pool does not give up
            // on a program that never starts.
            let patient = dice.roll(8) > 0;
            let stuck = || self.progress.load(Ordering::Relaxed) == before;
            while patient && stuck() && begin.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        stops
    }
}

/// An item of the test with all options: its number, the file of notes, and what it may need.
type Needy = (u64, String, Option<Permits>);

/// One item in so many dies out of memory at its first attempt.
const STARVES: u64 = 97;
/// From so many kills on the process must not grow.
const SOAK: u64 = 10_000;
/// How often it is measured.
const SAMPLES: f64 = 50.0;

/// The file that says whether item `n` has been tried.
fn mark(path: &str, n: u64) -> String {
    format!("{path}-{n}")
}

/// Notes that it ran, and returns its number.
fn option((n, path, permits): Needy) -> u64 {
    assert_eq!(
        std::env::var("PLACE").ok(),
        worker_index().map(|index| index.to_string())
    );
    note(&path, n);
    let starves = n.is_multiple_of(STARVES) && std::fs::File::create_new(mark(&path, n)).is_ok();
    let _one = permits.as_ref().map(Permits::acquire);
    if starves {
        std::hint::black_box(Vec::<u8>::with_capacity(1 << 60));
    }
    std::thread::sleep(Duration::from_micros(n * 7 % 900));
    n
}

/// What an actor does.
fn add(n: u64, own: &mut u64) -> u64 {
    std::thread::sleep(Duration::from_micros(300));
    n + *own
}

tests! {
    fn nothing_is_lost_but_the_blamed() {
        pool(1).spawn((), |()| ()).join().unwrap(); // so that everything which is made once exists
        let before = census();
        let kills = kills();
        let procs = pool(4);
        let scratch = Scratch::new("kills");
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let field = Field {
            procs: &procs,
            ids: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            over: AtomicBool::new(false),
            path: scratch.text(),
            seed: now.as_nanos() as u64 | 1,
        };
        println!("seed {}", field.seed);
        let begin = Instant::now();
        let (stops, [once, again, batches]) = std::thread::scope(|scope| {
            let once = scope.spawn(|| field.calls(0));
            let again = scope.spawn(|| field.calls(20));
            let batches = scope.spawn(|| field.batches());
            let stops = field.kill(kills);
            field.over.store(true, Ordering::Relaxed);
            (stops, [once, again, batches].map(|source| source.join().unwrap()))
        });
        let took = begin.elapsed();
        let stats = procs.stats();

        // Each item has an answer or an error, and only items that were killed have errors.
        let sources = [&once, &again, &batches];
        let items: u64 = sources.iter().map(|source| source.items).sum();
        let blamed: u64 = sources.iter().map(|source| source.blamed).sum();
        let answers: HashSet<u64> = sources.iter().flat_map(|source| source.answers.iter().copied()).collect();
        let refusals = scratch.notes().iter().filter(|id| id.is_multiple_of(SPOILS)).count() as u64;
        let lost = items - blamed - answers.len() as u64;
        println!(
            "{kills} kills, {stops} stops, {refusals} refusals, {} workers died, {items} items, {} answers, {blamed} blamed, {} replayed, {lost} lost ({:.0} s)",
            stats.died, answers.len(), stats.retried, took.as_secs_f64(),
        );
        assert_eq!(answers.len() as u64 + blamed, items, "nothing else is lost");
        assert_eq!(again.blamed, 0, "whoever tries again has it in the end");
        assert!(blamed + stats.retried <= stats.died && stats.died <= kills + refusals, "a death costs one item at most");
        assert!(stats.died > kills / 3 && blamed > 0 && stats.retried > 0, "this is no chaos");

        // No item ran twice unless it may: once more for each death after which it was retried.
        let notes = scratch.notes();
        let ran: HashSet<u64> = notes.iter().copied().collect();
        assert!(answers.is_subset(&ran));
        assert!((notes.len() - ran.len()) as u64 <= stats.retried);
        let may: HashSet<u64> = again.answers.iter().copied().collect();
        let mut seen = HashSet::new();
        assert!(notes.iter().all(|id| seen.insert(*id) || may.contains(id)), "an item ran twice");

        // (A slot that was given up, after deaths in a row, is filled again only when work waits.)
        until(|| {
            assert_eq!(procs.call(|n: u32| n).chunk_size(1).map(0..1000).unwrap().len(), 1000);
            procs.worker_pids().len() == 4
        });
        drop(procs);
        nothing_left_since(before);
    }
    fn nothing_is_lost_with_all_options_at_once() {
        pool(1).spawn((), |()| ()).join().unwrap();
        let before = census();
        let (kills, soak) = (kills(), support::soak());
        let scratch = Scratch::new("options");
        let mut builder = ProcessPool::builder().workers(4);
        builder = builder.env_for(|index| [("PLACE", index.to_string())]);
        if !support::PORT {
            builder = builder.pin_to(|_| [0]);
        }
        let procs = builder.build().unwrap();
        let permits = (!support::is_plain()).then(|| procs.permits("chaos", 2));
        let actor = procs.actors(2, 5, |n: u64| n).unwrap();
        let (answers, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
        println!("seed {seed}");
        let begin = Instant::now();
        let path = scratch.text();
        // Each source has numbers of its own, and goes on until all is over.
        let rounds = |source: u64, round: &dyn Fn(Vec<Needy>) -> u64| {
            let (mut first, mut items, mut blamed) = (source << 40, 0, 0);
            while !over.load(Ordering::Relaxed) {
                let own = first..first + 60;
                blamed += round(own.map(|n| (n, path.clone(), permits.clone())).collect());
                (first, items) = (first + 60, items + 60);
                answers.fetch_add(60, Ordering::Relaxed);
            }
            (items, blamed)
        };
        let again = procs.call(option).retry(1000);
        let numbers = |items: &[Needy]| items.iter().map(|item| item.0).collect::<Vec<_>>();
        // What this process has in memory, now and then.
        let sizes = Mutex::new(Vec::new());
        let spawned = |items: Vec<Needy>| {
            let expected = numbers(&items);
            let tasks: Vec<_> = items.into_iter().map(|item| again.spawn(item)).collect();
            let got: Vec<u64> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
            assert_eq!(got, expected);
            0
        };
        let mapped = |items: Vec<Needy>| {
            let expected = numbers(&items);
            assert_eq!(again.map(items).unwrap(), expected);
            0
        };
        let streamed = |items: Vec<Needy>| {
            let expected = numbers(&items);
            let results = again.imap(items);
            assert_eq!(results.map(Result::unwrap).collect::<Vec<_>>(), expected);
            0
        };
        let acted = |items: Vec<Needy>| {
            let expected = numbers(&items);
            let calls = items.into_iter().map(|item| actor.call(item.0, add));
            let calls: Vec<_> = calls.collect();
            let mut blamed = 0;
            for (n, call) in expected.into_iter().zip(calls) {
                match call.join() {
                    Ok(sum) => assert_eq!(sum, n + 5),
                    Err(TaskError::WorkerDied(exit)) => {
                        assert_eq!(end_of(&exit), KILLED);
                        blamed += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            blamed
        };
        let (kills, totals) = std::thread::scope(|scope| {
            let rounds = &rounds;
            let sources = [
                scope.spawn(move || rounds(1, &spawned)),
                scope.spawn(move || rounds(2, &mapped)),
                scope.spawn(move || rounds(3, &streamed)),
                scope.spawn(move || rounds(4, &acted)),
            ];
            let mut dice = Dice(seed);
            let (mut killed, mut samples) = (0, 0);
            // How much of it is over, from 0 to 1.
            let part = |killed: u64| match soak {
                Some(soak) => begin.elapsed().as_secs_f64() / soak.as_secs_f64(),
                None => killed as f64 / kills as f64,
            };
            while part(killed) < 1.0 {
                if part(killed) * SAMPLES >= f64::from(samples) {
                    let size = support::resident();
                    if soak.is_some() {
                        println!("{:.0} s, {killed} kills, resident {} KiB", begin.elapsed().as_secs_f64(), size >> 10);
                    }
                    sizes.lock().unwrap().push(size);
                    samples += 1;
                }
                killed += 1;
                let pids = if dice.roll(8) == 0 { actor.worker_pids() } else { procs.worker_pids() };
                if !pids.is_empty() {
                    kill(pids[dice.roll(pids.len() as u64) as usize]);
                }
                std::thread::sleep(Duration::from_micros(dice.roll(12_000)));
            }
            over.store(true, Ordering::Relaxed);
            (killed, sources.map(|source| source.join().unwrap()))
        });
        let items: u64 = totals.iter().map(|(items, _)| items).sum();
        let blamed: u64 = totals.iter().map(|(_, blamed)| blamed).sum();
        let (stats, acted) = (procs.stats(), actor.stats());
        println!(
            "{kills} kills, all options, {} and {} workers died, {items} items, {blamed} blamed, \
             {} replayed, 0 lost ({:.0} s)",
            stats.died, acted.died, stats.retried, begin.elapsed().as_secs_f64(),
        );
        assert_eq!(answers.load(Ordering::Relaxed), items);
        assert!(blamed <= acted.died, "a death costs one call at most");
        if kills >= SOAK {
            let sizes = sizes.into_inner().unwrap();
            let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len() as u64;
            let (early, late) = (mean(&sizes[5..15]), mean(&sizes[sizes.len() - 10..]));
            println!("resident: {} KiB early, {} KiB late", early >> 10, late >> 10);
            let most = early + early / 20 + (4 << 20);
            assert!(late < most, "memory grows: {sizes:?}");
        }
        assert!(stats.retried > 0, "this is no chaos: {stats:?}");
        assert_eq!((stats.pending, stats.failed, acted.pending), (0, 0, 0));
        // What ran again had a reason: a death.
        let notes = scratch.notes();
        let ran: HashSet<u64> = notes.iter().copied().collect();
        assert_eq!(ran.len() as u64, items - totals[3].0);
        assert!((notes.len() - ran.len()) as u64 <= stats.retried);
        if let Some(permits) = permits {
            until(|| permits.available() == 2); // deaths have given theirs back
        }
        for starved in notes.iter().filter(|n| **n % STARVES == 0) {
            let _ = std::fs::remove_file(mark(&scratch.text(), *starved));
        }
        drop((actor, procs));
        nothing_left_since(before);
    }
}
