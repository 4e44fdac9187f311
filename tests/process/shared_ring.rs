//! Workers that overwrite the ring, or the words by which both sides sleep: the calls end, and the
//! pool continues.
//!
//! The attackers are calls: each leaves a thread in its worker, which finds the pages that the
//! worker shares with its parent, and writes to them through `/proc/self/mem`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use support::{Dice, Test, census, kill, nothing_left_since, pool, tests, until};
use trefoil::{ProcessPool, Shutdown, Task, TaskError};

/// Where the ring begins in the shared pages, and the indices of its first words
/// (`src/process/pages/shared_ring.rs`).
const RING: u64 = 8192;
const WORDS: u64 = 2064;
const TAIL: u64 = 0;
const HEAD: u64 = 8;
const ASLEEP: u64 = 9;
const FRAMES: u64 = 16;

/// Where the words of the parent begin (`src/process/pages/raw_ledger.rs`), and which of them are
/// for sleeping: those of a caller, of what was sent, of the worker.
const SLEEPERS: u64 = 4160;
const OF_SLEEPERS: [u64; 3] = [0, 1, 4];

/// The ring of this worker, for an attacker.
struct Pages {
    memory: File,
    ring: u64,
}

impl Pages {
    fn find() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let ledgers = maps.lines().filter(|line| line.contains("trefoil-ledger"));
        let spans = ledgers.map(|line| {
            let (start, rest) = line.split_once('-').unwrap();
            let (end, _) = rest.split_once(' ').unwrap();
            [start, end].map(|at| u64::from_str_radix(at, 16).unwrap())
        });
        let [start, end] = spans.max_by_key(|[start, end]| end - start).unwrap();
        assert!(end - start >= RING + 8 * WORDS, "this is no ring");
        Self {
            memory: File::options().write(true).open("/proc/self/mem").unwrap(),
            ring: start + RING,
        }
    }

    fn set(&self, word: u64, value: u64) {
        self.write(self.ring + 8 * word, value);
    }

    fn set_sleeper(&self, word: u64, value: u64) {
        self.write(self.ring - RING + SLEEPERS + 8 * word, value);
    }

    fn write(&self, place: u64, value: u64) {
        let bytes = value.to_ne_bytes();
        self.memory.write_all_at(&bytes, place).unwrap();
    }
}

/// What an attack writes.
#[derive(Clone, Copy, Debug)]
enum Attack {
    Positions = 0,
    Sleep = 1,
    Frames = 2,
    Everything = 3,
    Sleepers = 4,
}

const ATTACKS: [Attack; 5] = [
    Attack::Positions,
    Attack::Sleep,
    Attack::Frames,
    Attack::Everything,
    Attack::Sleepers,
];

/// How long an attack lasts, if the worker lives so long: most workers read their own garbage, and
/// end.
const ATTACK: Duration = Duration::from_millis(5);
/// How long attacks follow one another.
const ASSAULT: Duration = Duration::from_millis(100);

/// Begins an attack in this worker. Returns its process id.
fn attack((how, seed): (u8, u64)) -> u32 {
    let (pages, how) = (Pages::find(), ATTACKS[usize::from(how)]);
    let begin = Instant::now();
    std::thread::spawn(move || {
        let mut dice = Dice(seed);
        while begin.elapsed() < ATTACK {
            if let Attack::Sleepers = how {
                let word = OF_SLEEPERS[dice.roll(3) as usize];
                pages.set_sleeper(word, dice.roll(5));
                continue;
            }
            let word = match how {
                Attack::Positions => [TAIL, HEAD][dice.roll(2) as usize],
                Attack::Sleep => ASLEEP,
                Attack::Frames => FRAMES + dice.roll(WORDS - FRAMES),
                Attack::Everything | Attack::Sleepers => dice.roll(FRAMES + 40),
            };
            // Bytes that are all equal are not a valid call.
            let wild = [0, 1, 2, 0x0101_0101_0101_0101, u64::MAX, u64::MAX - 7];
            let near = [0, 3, 11, 2047, 2048, 2049, 1 << 32, 1 << 63];
            let value = match word {
                TAIL | HEAD if dice.roll(2) == 0 => near[dice.roll(8) as usize],
                _ => wild[dice.roll(6) as usize],
            };
            pages.set(word, value);
            // Frames are put into the ring of a worker that is awake, or says so.
            if dice.roll(2) == 0 {
                pages.set(ASLEEP, 0);
            }
        }
    });
    std::process::id()
}

fn double(n: u64) -> u64 {
    2 * n
}

/// Waits for a call whose worker may lie: it ends with any answer, with one that cannot be decoded,
/// or with the worker's death.
fn ends<T>(mut task: Task<T>) -> Option<T> {
    match task.join_timeout(Duration::from_secs(15)) {
        Ok(answer) => Some(answer),
        Err(TaskError::WorkerDied(_) | TaskError::Codec(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

/// Checks that the pool works, with new workers.
fn is_whole(procs: &ProcessPool) {
    for pid in procs.worker_pids() {
        kill(pid);
    }
    let all = procs.call(double).retry(20).map(0..1000).unwrap();
    assert!(all.into_iter().eq((0..1000).map(double)));
    assert_eq!(procs.spawn(4, double).join().unwrap(), 8);
}

tests! {
    fn calls_beside_an_attacker_end() {
        pool(1).spawn((), |()| ()).join().unwrap(); // so that everything which is made once exists
        let before = census();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let mut dice = Dice(now.as_nanos() as u64 | 1);
        println!("seed {}", dice.0);
        let procs = pool(2);
        for how in ATTACKS.iter().cycle().take(15) {
            let (begin, mut attacks, mut answered) = (Instant::now(), 0, 0);
            while begin.elapsed() < ASSAULT || attacks == 0 {
                let task = procs.spawn((*how as u8, dice.roll(u64::MAX) | 1), attack);
                let attacker = ends(task);
                attacks += usize::from(attacker.is_some());
                // Single calls go through the ring; many go either way.
                answered += usize::from(ends(procs.spawn(1, double)).is_some());
                let many: Vec<_> = (0..5).map(|n| procs.spawn(n, double)).collect();
                answered += many.into_iter().filter_map(ends).count();
                // A worker that has lost its place does nothing from then on, and the other worker
                // may get the next call.
                let is_here = |pid: &u32| procs.worker_pids().contains(pid);
                if let Some(pid) = attacker.filter(is_here) {
                    kill(pid);
                    until(|| !is_here(&pid));
                }
            }
            assert!(answered > 0, "{how:?}: nobody answers");
            is_whole(&procs);
        }
        procs.shutdown(Shutdown::Wait);
        drop(procs);
        nothing_left_since(before);
    }

    /// Overwriting positions costs at most the worker, which is then replaced.
    fn a_worker_that_has_lost_its_place_finds_it_or_ends() {
        fn scribbles((word, value): (u64, u64)) {
            let pages = Pages::find();
            std::thread::spawn(move || {
                let begin = Instant::now();
                while begin.elapsed() < ATTACK {
                    pages.set(word, value);
                    pages.set(ASLEEP, 0);
                }
            });
        }
        let procs = pool(1);
        for word in [TAIL, HEAD, FRAMES] {
            for value in [0, 1, 5, 1000, u64::MAX / 2, u64::MAX] {
                ends(procs.spawn((word, value), scribbles));
                let begin = Instant::now();
                while begin.elapsed() < 3 * ATTACK {
                    ends(procs.spawn(1, double));
                }
                assert_eq!(ends(procs.spawn(4, double)).unwrap_or(8), 8);
            }
        }
        is_whole(&procs);
    }

    /// A worker that claims to be awake, but sleeps, is woken for its calls, though not at once.
    fn a_worker_that_lies_about_its_sleep_is_woken() {
        fn keeps_saying_awake(_: ()) -> u32 {
            let pages = Pages::find();
            std::thread::spawn(move || loop {
                pages.set(ASLEEP, 0);
            });
            std::process::id()
        }
        let procs = pool(1);
        let liar = procs.spawn((), keeps_saying_awake).join().unwrap();
        let stat = format!("/proc/{liar}/task/{liar}/stat");
        for n in 0..100 {
            until(|| std::fs::read_to_string(&stat).unwrap().contains(") S ")); // in the kernel
            let mut task = procs.spawn(n, double);
            assert_eq!(task.join_timeout(Duration::from_secs(15)).unwrap(), 2 * n);
        }
        assert_eq!(procs.stats().died, 0);
        let begin = Instant::now();
        procs.shutdown(Shutdown::Wait);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());

        // With a second worker it costs only the time until that one takes over.
        let procs = pool(2);
        procs.spawn((), keeps_saying_awake).join().unwrap();
        for n in 0..100 {
            let mut task = procs.spawn(n, double);
            assert_eq!(task.join_timeout(Duration::from_secs(15)).unwrap(), 2 * n);
        }
        assert_eq!(procs.stats().died, 0);
    }
}
