//! What dies out of memory runs once more, while nothing else runs.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::support::{Scratch, Test, kill, note, pool, tests, until};

use std::process::abort;
use std::time::Duration;

use trefoil::{ProcessPool, Shutdown, TaskError};

/// An item: its number, and the file in which its attempts are noted.
type Item = (u64, String);

/// The attempt of an item ends.
const END: u64 = 1 << 32;

fn notes(path: &str) -> Vec<u64> {
    let notes = std::fs::read(path).unwrap_or_default();
    let notes = notes.chunks(8);
    notes
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
        .collect()
}

/// Notes an attempt of item `n`. Returns how many it has had.
fn begins((n, path): &Item) -> usize {
    note(path, *n);
    notes(path).iter().filter(|other| *other == n).count()
}

/// An allocation fails, so this process ends.
fn starve() {
    std::hint::black_box(Vec::<u8>::with_capacity(1 << 60));
}

/// Each tenth item dies at its first attempt.
fn some_starve(item: Item) -> u64 {
    if begins(&item) == 1 && item.0.is_multiple_of(10) {
        starve();
    }
    std::thread::sleep(Duration::from_millis(2));
    note(&item.1, item.0 | END);
    item.0
}

/// Item 1 runs until there is a note 99; item 2 dies at its first attempt.
fn waits_or_starves(item: Item) -> u64 {
    let attempts = begins(&item);
    match item.0 {
        1 => until(|| notes(&item.1).contains(&99)),
        2 if attempts == 1 => starve(),
        _ => {}
    }
    item.0
}

fn items(scratch: &Scratch, count: u64) -> impl Iterator<Item = Item> + use<> {
    let path = scratch.text();
    (0..count).map(move |n| (n, path.clone()))
}

/// Checks that nothing began or ran beside the second attempt of each tenth item.
fn check(scratch: &Scratch, count: u64) {
    let notes = scratch.notes();
    for lone in (0..count).step_by(10) {
        let second = notes
            .iter()
            .enumerate()
            .filter(|(_, note)| **note == lone)
            .nth(1);
        let at = second.unwrap().0;
        assert_eq!(notes[at + 1], lone | END, "something runs beside {lone}");
        let ended = |begun: &u64| notes[..at].contains(&(begun | END));
        let mut before = notes[..at]
            .iter()
            .filter(|note| **note < END && **note % 10 != 0);
        assert!(before.all(ended), "{lone} runs beside something");
    }
}

tests! {
    fn nothing_runs_beside_it() {
        let procs = pool(3);
        for round in 0..3 {
            let scratch = Scratch::new("alone");
            let call = procs.call(some_starve).retry_alone();
            let all: Vec<u64> = match round {
                0 => call.map(items(&scratch, 40)).unwrap(),
                1 => call.chunk_size(7).imap(items(&scratch, 40)).map(Result::unwrap).collect(),
                _ => call.backoff(Duration::from_millis(1)).map_each(items(&scratch, 40))
                    .into_iter().map(Result::unwrap).collect(),
            };
            assert_eq!(all, (0..40).collect::<Vec<_>>());
            check(&scratch, 40);
        }
        let stats = procs.stats();
        assert_eq!((stats.retried, stats.completed, stats.pending), (12, 120, 0));
    }

    fn other_calls_wait_until_it_has_ended() {
        let procs = pool(2);
        let scratch = Scratch::new("others");
        let item = |n: u64| (n, scratch.text());
        let first = procs.spawn(item(1), waits_or_starves);
        until(|| scratch.notes() == [1]);
        let second = procs.call(waits_or_starves).retry_alone().spawn(item(2));
        until(|| procs.stats().retried == 1);
        let urgent = procs.call(waits_or_starves).priority(9).spawn(item(3));
        let more = procs.call(waits_or_starves).map_task([item(4), item(5)]);
        note(&scratch.text(), 99);
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (1, 2));
        assert_eq!((urgent.join().unwrap(), more.join().unwrap()), (3, vec![4, 5]));
        assert_eq!(scratch.notes()[..4], [1, 2, 99, 2]);
    }

    fn one_that_is_cancelled_keeps_nothing_waiting() {
        let procs = pool(2);
        let scratch = Scratch::new("cancelled");
        let item = |n: u64| (n, scratch.text());
        let first = procs.spawn(item(1), waits_or_starves);
        until(|| scratch.notes() == [1]);
        let second = procs.call(waits_or_starves).retry_alone().spawn(item(2));
        until(|| procs.stats().retried == 1);
        let third = procs.spawn(item(3), waits_or_starves);
        assert!(second.cancel());
        assert_eq!(third.join().unwrap(), 3, "beside the first");
        // A pool that ends gives up what waits.
        let later = Scratch::new("later");
        let second = procs.call(waits_or_starves).retry_alone().map_task([(2, later.text())]);
        until(|| procs.stats().retried == 2);
        let other = procs.clone();
        let end = std::thread::spawn(move || other.shutdown(Shutdown::CancelPending));
        assert!(matches!(second.join(), Err(TaskError::Cancelled)));
        note(&scratch.text(), 99);
        assert_eq!(first.join().unwrap(), 1);
        end.join().unwrap();
    }

    fn only_want_of_memory_is_a_reason() {
        let procs = pool(2);
        let attempts = |result: Result<(), TaskError>| match result {
            Err(TaskError::WorkerDied(exit)) => (exit.attempts(), exit.out_of_memory()),
            other => panic!("{other:?}"),
        };
        let aborts = procs.call(|()| -> () { abort() }).retry_alone();
        assert_eq!(attempts(aborts.spawn(()).join()), (1, false));
        let starves = procs.call(|()| starve());
        assert_eq!(attempts(starves.spawn(()).join()), (1, true));
        let starves = starves.retry_alone();
        assert_eq!(attempts(starves.spawn(()).join()), (2, true));
        assert_eq!(attempts(starves.retry(2).spawn(()).join()), (4, true));
        let panics = procs.call(|()| -> () { panic!("no reason") }).retry_alone();
        assert!(matches!(panics.spawn(()).join(), Err(TaskError::Panicked(_))));
        assert_eq!(procs.stats().pending, 0);
    }

    fn its_worker_may_die_while_it_waits_or_runs() {
        let procs = pool(2);
        let scratch = Scratch::new("dies");
        let hangs = |item: Item| match begins(&item) {
            1 => starve(),
            _ => until(|| false),
        };
        let task = procs.call(hangs).retry_alone().spawn((7, scratch.text()));
        until(|| scratch.notes().len() == 2);
        let waits = procs.spawn(6, |n: u64| n * 7);
        for pid in procs.worker_pids() {
            kill(pid);
        }
        let Err(TaskError::WorkerDied(exit)) = task.join() else { panic!("it hangs") };
        assert_eq!((exit.attempts(), exit.out_of_memory()), (2, false));
        assert_eq!(waits.join().unwrap(), 42);
    }

    fn it_needs_no_place_in_a_budget() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let procs = ProcessPool::builder().workers(2).memory_budget(0.5).build().unwrap();
        let scratch = Scratch::new("budget");
        let call = procs.call(some_starve).expected_memory(1 << 60).retry_alone();
        assert_eq!(call.map(items(&scratch, 20)).unwrap(), (0..20).collect::<Vec<_>>());
        check(&scratch, 20);
    }
}
