//! Slow items that run twice: the first answer counts, and nothing of the other is left.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::support::{Dice, Scratch, Test, forever, is_there, kill, note, pool, tests, until};

use std::process::abort;
use std::time::Duration;

use trefoil::{CancelToken, ProcessPool, TaskError};

/// An item: its number, and the file in which its attempts note their processes.
type Item = (u64, String);

/// How often item `n` has been started, by the notes in the file; this attempt is noted.
fn attempts((n, path): &Item) -> usize {
    note(path, n << 32 | u64::from(std::process::id()));
    started(path, *n).len()
}

/// The processes in which item `n` was started.
fn started(path: &str, n: u64) -> Vec<u32> {
    let notes = std::fs::read(path).unwrap_or_default();
    let notes = notes
        .chunks(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
    notes
        .filter(|note| note >> 32 == n)
        .map(|note| note as u32)
        .collect()
}

/// Item 9 hangs at its first attempt.
fn first_hangs(item: Item) -> u64 {
    if attempts(&item) == 1 && item.0 == 9 {
        forever::<()>();
    }
    item.0
}

/// The first attempt of item 9 ends only once its token is set, and notes that.
fn first_obeys(item: Item) -> u64 {
    if attempts(&item) == 1 && item.0 == 9 {
        until(|| CancelToken::current().is_cancelled());
        note(&item.1, 77 << 32);
    }
    item.0
}

/// Both attempts of item 9 hang.
fn hangs(item: Item) -> u64 {
    attempts(&item);
    if item.0 == 9 {
        forever::<()>();
    }
    item.0
}

fn items(scratch: &Scratch) -> impl Iterator<Item = Item> + use<> {
    let path = scratch.text();
    (0..10).map(move |n| (n, path.clone()))
}

fn numbers() -> Vec<u64> {
    (0..10).collect()
}

tests! {
    fn the_copy_of_an_item_that_hangs_answers() {
        let procs = pool(2);
        let call = procs.call(first_hangs).hedge(2.0);
        for round in 1..=4 {
            let scratch = Scratch::new("hangs");
            let all = match round {
                1 => call.map(items(&scratch)).unwrap(),
                2 => call.map_task(items(&scratch)).join().unwrap(),
                3 => call.map_each(items(&scratch)).into_iter().map(Result::unwrap).collect(),
                _ => call.imap(items(&scratch)).map(Result::unwrap).collect(),
            };
            assert_eq!(all, numbers());
            let [first, second] = started(&scratch.text(), 9)[..] else { panic!() };
            assert_ne!(first, second);
            until(|| !is_there(first));
            let stats = procs.stats();
            assert_eq!((stats.hedged, stats.retried, stats.pending), (round, 0, 0));
            assert_eq!(stats.completed, 10 * round);
        }
    }

    fn the_other_copy_is_told_first() {
        let procs = ProcessPool::builder().workers(2).grace(Duration::from_secs(60)).build().unwrap();
        let scratch = Scratch::new("obeys");
        assert_eq!(procs.call(first_obeys).hedge(2.0).map(items(&scratch)).unwrap(), numbers());
        until(|| started(&scratch.text(), 77).len() == 1);
        until(|| procs.stats().busy == 0);
        assert_eq!((procs.stats().hedged, procs.stats().died), (1, 0), "its worker lives");
    }

    fn a_death_of_one_copy_is_not_the_items() {
        let procs = pool(2);
        let scratch = Scratch::new("one");
        let task = procs.call(hangs).hedge(2.0).map_task(items(&scratch));
        let path = &*scratch.text();
        until(|| started(path, 9).len() == 2);
        let pids = started(path, 9);
        kill(pids[1]);
        until(|| procs.stats().died == 1);
        assert!(!task.is_finished() && is_there(pids[0]));
        kill(pids[0]);
        let Err(TaskError::WorkerDied(exit)) = task.join() else { panic!() };
        assert_eq!((exit.pid(), exit.attempts()), (pids[0], 1));
        assert_eq!(started(path, 9).len(), 2, "it is copied once");
        assert_eq!(procs.stats().hedged, 1);
    }

    fn an_error_of_either_copy_is_an_answer() {
        let procs = pool(2);
        let scratch = Scratch::new("error");
        let panics = |item: Item| {
            match (item.0, attempts(&item)) {
                (9, 1) => forever(),
                (9, _) => panic!("the second"),
                (n, _) => n,
            }
        };
        let mut all = procs.call(panics).hedge(2.0).map_each(items(&scratch));
        assert!(matches!(all.pop(), Some(Err(TaskError::Panicked(_)))));
        assert!(all.iter().all(Result::is_ok));
    }

    fn a_timeout_ends_both() {
        let procs = pool(2);
        let call = procs.call(hangs).hedge(2.0).timeout(Duration::from_millis(300));
        let scratch = Scratch::new("late");
        let mut all = call.map_each(items(&scratch));
        assert!(matches!(all.pop(), Some(Err(TaskError::TimedOut(_)))));
        let pids = started(&scratch.text(), 9);
        assert_eq!(pids.len(), 2);
        until(|| !pids.iter().any(|pid| is_there(*pid)));
        assert_eq!(procs.stats().timed_out, 1);
    }

    fn a_cancellation_ends_both() {
        let procs = pool(2);
        let scratch = Scratch::new("cancelled");
        let task = procs.call(hangs).hedge(2.0).map_task(items(&scratch));
        until(|| started(&scratch.text(), 9).len() == 2);
        task.cancel();
        let pids = started(&scratch.text(), 9);
        until(|| !pids.iter().any(|pid| is_there(*pid)));
        assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
    }

    fn nothing_is_lost_while_workers_are_killed() {
        let procs = pool(4);
        let mut dice = Dice(48);
        let scratch = Scratch::new("chaos");
        let slow = |item: Item| {
            let attempts = attempts(&item);
            let slow = item.0.is_multiple_of(7) && attempts == 1;
            std::thread::sleep(Duration::from_millis(if slow { 200 } else { 2 }));
            if item.0 % 31 == 5 && attempts == 1 {
                abort();
            }
            item.0
        };
        for round in 0..8u64 {
            let path = scratch.text();
            let own = (round * 1000..round * 1000 + 60).map(|n| (n, path.clone()));
            let task = procs.call(slow).hedge(2.0).retry(100).map_task(own);
            while !task.is_finished() {
                std::thread::sleep(Duration::from_millis(5 + dice.roll(40)));
                let pids = procs.worker_pids();
                if let Some(pid) = pids.get(dice.roll(4) as usize) {
                    kill(*pid);
                }
            }
            assert_eq!(task.join().unwrap(), (round * 1000..round * 1000 + 60).collect::<Vec<_>>());
        }
        let stats = procs.stats();
        assert!(stats.hedged > 0 && stats.pending == 0, "{stats:?}");
        assert_eq!(stats.completed, 8 * 60);
    }
}
