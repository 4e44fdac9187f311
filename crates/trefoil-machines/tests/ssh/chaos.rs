//! Random accidents, with workers on other machines: workers are killed and stopped, their
//! connections are killed or cut, items are cancelled or have too little time. Nothing is lost,
//! nothing runs twice, nothing hangs.
//!
//! The tests of Slurm and Dask use it, too. `TREFOIL_KILLS=2000` makes it long (`.ci/long
//! machines`).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use trefoil::{ProcessPool, TaskError};

use crate::support::{Dice, Scratch, forever, kills, note, noted, signal, until};

/// How many items of each source are under way at a time.
const AHEAD: u64 = 40;

/// An item that runs until its worker is killed.
const ENDLESS: u64 = u64::MAX;

/// The id of an item, how many microseconds it works, and the file for its notes.
type Item = (u64, u64, String);

/// Notes that it runs, and in which process, and works.
fn work((id, micros, notes): Item) -> u64 {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| note(&pids_of(&notes), std::process::id().into()));
    note(&notes, id);
    if micros == ENDLESS {
        forever::<()>();
    }
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::thread::yield_now();
    }
    id
}

fn pids_of(notes: &str) -> String {
    format!("{notes}.pids")
}

/// The counts of one source of work.
#[derive(Default)]
struct Totals {
    items: u64,
    answers: HashSet<u64>,
    blamed: u64,
    late: u64,
    cancelled: u64,
}

/// The state that the sources and the accidents share.
struct Field<'a> {
    procs: &'a ProcessPool,
    ids: AtomicU64,
    progress: AtomicU64,
    over: AtomicBool,
    notes: String,
    seed: u64,
}

impl Field<'_> {
    fn item(&self, micros: u64) -> Item {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        (id, micros, self.notes.clone())
    }

    /// Single calls, each with so many retries; with 0 some are cancelled, and some have too little
    /// time.
    fn calls(&self, retry: u32) -> Totals {
        let mut dice = Dice(self.seed ^ 0x5eed ^ u64::from(retry));
        let call = self.procs.call(work).retry(retry);
        let (tell, told) = mpsc::channel();
        let (mut totals, mut live) = (Totals::default(), HashMap::new());
        let (mut late, mut cancelled) = (HashSet::new(), HashSet::new());
        loop {
            let over = self.over.load(Ordering::Relaxed);
            while !over && live.len() < AHEAD as usize {
                let is_late = retry == 0 && dice.roll(25) == 0;
                let item = self.item(if is_late { ENDLESS } else { dice.roll(4000) });
                let (id, tell) = (item.0, tell.clone());
                let call = match is_late {
                    true => call.clone().timeout(Duration::from_millis(20)),
                    false => call.clone(),
                };
                let task = call.spawn(item);
                live.insert(id, task.abort_handle());
                late.extend(is_late.then_some(id));
                totals.items += 1;
                task.on_done(move |result| tell.send((id, result)).unwrap());
                if retry == 0 && dice.roll(20) == 0 {
                    let which = live.keys().nth(dice.roll(live.len() as u64) as usize);
                    let which = *which.unwrap();
                    cancelled.extend(live[&which].cancel().then_some(which));
                }
            }
            if live.is_empty() {
                return totals;
            }
            let (id, result): (u64, Result<u64, TaskError>) = told.recv().unwrap();
            assert!(live.remove(&id).is_some(), "{id} ends twice");
            self.progress.fetch_add(1, Ordering::Relaxed);
            match result {
                Ok(answer) => {
                    assert!(answer == id && !late.contains(&id) && !cancelled.contains(&id));
                    totals.answers.insert(id);
                }
                Err(TaskError::WorkerDied(_)) => totals.blamed += 1,
                Err(TaskError::TimedOut(_)) => {
                    assert!(late.contains(&id), "{id} had no deadline");
                    totals.late += 1;
                }
                Err(TaskError::Cancelled) => {
                    assert!(cancelled.contains(&id), "{id} was not cancelled");
                    totals.cancelled += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Items in batches, one result after the other.
    fn batches(&self) -> Totals {
        let mut dice = Dice(self.seed ^ 0xba7c);
        let mut totals = Totals::default();
        while !self.over.load(Ordering::Relaxed) {
            let items: Vec<Item> = (0..200).map(|_| self.item(dice.roll(500))).collect();
            let ids: Vec<u64> = items.iter().map(|item| item.0).collect();
            let mut results = self.procs.imap(items, work);
            for id in ids {
                match results.next().expect("each has its answer or its error") {
                    Ok(answer) => assert!(answer == id && totals.answers.insert(id)),
                    Err(TaskError::WorkerDied(_)) => totals.blamed += 1,
                    Err(other) => panic!("{other}"),
                }
                totals.items += 1;
                self.progress.fetch_add(1, Ordering::Relaxed);
            }
            assert!(results.next().is_none());
        }
        totals
    }

    /// A worker that has run something and is alive.
    fn some_worker(&self, dice: &mut Dice) -> Option<u32> {
        let pids = std::fs::read(pids_of(&self.notes)).unwrap();
        let pids = pids.chunks_exact(8).rev().take(8);
        let pids = pids.map(|pid| u64::from_ne_bytes(pid.try_into().unwrap()) as u32);
        let pids: Vec<u32> = pids.filter(|pid| is_ours(*pid)).collect();
        (!pids.is_empty()).then(|| pids[dice.roll(pids.len() as u64) as usize])
    }

    /// So many accidents, at random moments; `cut` cuts a connection. Returns how many there were
    /// of each kind.
    fn harm(&self, accidents: u64, cut: &dyn Fn(&mut Dice)) -> [u64; 3] {
        let mut dice = Dice(self.seed);
        let mut counts = [0; 3];
        while counts.iter().sum::<u64>() < accidents {
            let worker = self.some_worker(&mut dice);
            match (dice.roll(5), worker) {
                (0, _) => {
                    cut(&mut dice);
                    counts[1] += 1;
                }
                (1, Some(pid)) => {
                    signal(pid, Signal::STOP);
                    std::thread::sleep(Duration::from_micros(dice.roll(30_000)));
                    signal(pid, Signal::CONT);
                    counts[2] += 1;
                }
                (_, Some(pid)) => {
                    signal(pid, Signal::KILL);
                    counts[0] += 1;
                }
                (_, None) => {}
            }
            let (before, begin) = (self.progress.load(Ordering::Relaxed), Instant::now());
            std::thread::sleep(Duration::from_micros(dice.roll(40_000)));
            // Some items end in between: otherwise the pool would conclude that workers cannot
            // start.
            let stuck = || self.progress.load(Ordering::Relaxed) < before + dice.0 % 20;
            while stuck() && begin.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        counts
    }
}

/// Whether the process runs this program or a copy of it, and is not a zombie. (On Dask the copy
/// has no name any more.)
fn is_ours(pid: u32) -> bool {
    let own = std::env::current_exe().unwrap();
    let Ok(its) = std::fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let its = its.file_name().unwrap_or_default();
    Some(its) == own.file_name() || its.to_string_lossy().starts_with("trefoil-")
}

/// What a pool promises even if its workers have accidents.
pub(crate) fn nothing_is_lost(
    name: &str,
    procs: ProcessPool,
    cut: &dyn Fn(&ProcessPool, &mut Dice),
) {
    let scratch = Scratch::new(&format!("far-chaos-{name}"));
    let pids = pids_of(&scratch.text());
    std::fs::write(&pids, b"").unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let field = Field {
        procs: &procs,
        ids: AtomicU64::new(0),
        progress: AtomicU64::new(0),
        over: AtomicBool::new(false),
        notes: scratch.text(),
        seed: now.as_nanos() as u64 | 1,
    };
    println!("seed {}", field.seed);
    let begin = Instant::now();
    let (counts, [once, again, batches]) = std::thread::scope(|scope| {
        let once = scope.spawn(|| field.calls(0));
        let again = scope.spawn(|| field.calls(1000));
        let batches = scope.spawn(|| field.batches());
        let counts = field.harm(kills() / 4, &|dice| cut(&procs, dice));
        field.over.store(true, Ordering::Relaxed);
        (
            counts,
            [once, again, batches].map(|source| source.join().unwrap()),
        )
    });
    let (took, stats) = (begin.elapsed(), procs.stats());
    let sources = [&once, &again, &batches];
    let sum = |of: fn(&Totals) -> u64| sources.iter().map(|source| of(source)).sum::<u64>();
    let (items, blamed) = (sum(|source| source.items), sum(|source| source.blamed));
    let answers = sum(|source| source.answers.len() as u64);
    println!(
        "{name}: {} kills, {} cuts, {} stops, {} workers died, {items} items, {answers} answers, {blamed} blamed, {} late, {} cancelled, {} \
         replayed ({:.0} s)",
        counts[0],
        counts[1],
        counts[2],
        stats.died,
        once.late,
        once.cancelled,
        stats.retried,
        took.as_secs_f64(),
    );
    assert_eq!(
        answers + blamed + once.late + once.cancelled,
        items,
        "nothing else is lost"
    );
    assert_eq!(
        again.blamed, 0,
        "what may run again has its answer in the end"
    );
    // (Of a few accidents none may have hit an item.)
    let is_long = counts.iter().sum::<u64>() >= 20;
    assert!(
        !is_long || counts[0] > 0 && counts[1] > 0 && stats.died > 0 && blamed > 0,
        "this is no chaos"
    );
    assert!(
        !is_long || once.late > 0 && once.cancelled > 0,
        "nothing was late, or cancelled"
    );

    // Nothing ran twice except for items with retries.
    let (mut ran, mut twice) = (HashSet::new(), HashSet::new());
    let notes = scratch.notes();
    twice.extend(notes.iter().copied().filter(|id| !ran.insert(*id)));
    assert!(sources.iter().all(|source| source.answers.is_subset(&ran)));
    assert!(twice.is_subset(&again.answers), "an item ran twice");

    assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
    drop(procs);
    let all = std::fs::read(&pids).unwrap();
    let all = all.chunks_exact(8);
    let all: Vec<u32> = all
        .map(|pid| u64::from_ne_bytes(pid.try_into().unwrap()) as u32)
        .collect();
    assert!(
        noted(&pids) as u64 > counts[0] / 2,
        "{} workers",
        noted(&pids)
    );
    until(|| !all.iter().any(|pid| is_ours(*pid)));
    let _ = std::fs::remove_file(Path::new(&pids));
}
