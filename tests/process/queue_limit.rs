//! A limit to the calls that wait to be sent to a worker.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline::{asleep, eventually, this_thread};
use crate::support::{Test, forever, tests, until};

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use trefoil::{ProcessPool, Shutdown, Task, TaskError, run, try_join_all};

/// How many calls a busy worker may have been sent ahead.
const AHEAD: usize = 8;

fn pool(calls: usize) -> ProcessPool {
    ProcessPool::builder()
        .workers(1)
        .queue_limit(calls)
        .build()
        .unwrap()
}

/// Keeps the one worker, and fills the queue. Returns what runs, and what waits.
fn fill(procs: &ProcessPool) -> (Task<()>, Vec<Task<u64>>) {
    let runs = procs.spawn((), |()| forever());
    until(|| procs.stats().busy == 1);
    let mut waiting = Vec::new();
    // The driver sends some ahead a moment later, so it is full when it stays full.
    let mut full_since = Instant::now();
    while full_since.elapsed() < Duration::from_millis(100) {
        match procs.try_spawn(waiting.len() as u64, |n: u64| n) {
            Ok(task) => {
                waiting.push(task);
                assert!(waiting.len() < 100, "there is a limit");
                full_since = Instant::now();
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    (runs, waiting)
}

tests! {
    fn a_full_queue_gives_the_argument_back_and_a_cancelled_call_its_place() {
        let procs = pool(2);
        let (runs, mut waiting) = fill(&procs);
        assert!((2..=2 + AHEAD).contains(&waiting.len()), "{}", waiting.len());
        let call = procs.call(|word: String| word);
        let full = call.try_spawn("kept".to_owned()).unwrap_err();
        assert_eq!(format!("{full:?}"), "QueueFull(..)");
        assert!(waiting.pop().unwrap().cancel());
        let mut word = Some(full.into_inner());
        let mut kept = None;
        until(|| { // (the driver learns of it a moment later)
            match call.try_spawn(word.take().unwrap()) {
                Ok(task) => kept = Some(task),
                Err(full) => word = Some(full.into_inner()),
            }
            kept.is_some()
        });
        assert!(runs.cancel());
        assert_eq!(kept.unwrap().join().unwrap(), "kept");
        let results = try_join_all(waiting).join().unwrap();
        assert_eq!(results, (0..results.len() as u64).collect::<Vec<_>>());
        // All places are free again, and what is no `spawn` needs none.
        let (runs, waiting) = fill(&procs);
        assert!(waiting.len() >= 2);
        let many = procs.call(|n: u64| n * 2).map_task(0..10);
        assert!(runs.cancel());
        assert_eq!(many.join().unwrap(), (0..10).map(|n| n * 2).collect::<Vec<_>>());
        // What cannot be encoded takes no place with it.
        for _ in 0..5 {
            let broken = procs.spawn(Unencodable, |_: Unencodable| ());
            assert!(matches!(broken.join(), Err(TaskError::Codec(_))));
        }
    }

    fn spawn_waits_while_the_queue_is_full() {
        let procs = pool(2);
        let (runs, waiting) = fill(&procs);
        let spawned = Arc::new(AtomicUsize::new(0));
        let (tell, told) = mpsc::channel();
        let (count, spawner) = (spawned.clone(), procs.clone());
        let producer = thread::spawn(move || {
            tell.send(this_thread()).unwrap();
            let tasks = (0..200).map(|n| {
                let task = spawner.spawn(n, |n: u64| n + 1);
                count.fetch_add(1, Ordering::SeqCst);
                task
            });
            try_join_all(tasks.collect::<Vec<_>>()).join().unwrap()
        });
        let thread = told.recv().unwrap();
        eventually("it waits", || asleep(thread));
        // (A worker may have been sent one call more meanwhile.)
        assert!(spawned.load(Ordering::SeqCst) < 200);
        assert!(runs.cancel());
        assert_eq!(producer.join().unwrap(), (1..=200).collect::<Vec<u64>>());
        try_join_all(waiting).join().unwrap();
    }

    fn a_map_takes_its_items_not_far_ahead_of_its_workers() {
        const ITEMS: u64 = 1_200_000;
        let procs = ProcessPool::with_workers(1).unwrap();
        let runs: Task<()> = procs.spawn((), |()| forever());
        until(|| procs.stats().busy == 1);
        let taken = Arc::new(AtomicUsize::new(0));
        let (tell, told) = mpsc::channel();
        let (count, mapper) = (taken.clone(), procs.clone());
        let map = thread::spawn(move || {
            tell.send(this_thread()).unwrap();
            let items = (0..ITEMS).inspect(|_| _ = count.fetch_add(1, Ordering::SeqCst));
            mapper.map(items, |n| n + 1).unwrap()
        });
        let thread = told.recv().unwrap();
        eventually("it waits", || taken.load(Ordering::SeqCst) > 100_000 && asleep(thread));
        assert!(taken.load(Ordering::SeqCst) < ITEMS as usize);
        assert!(runs.cancel());
        assert!(map.join().unwrap().into_iter().eq(1..=ITEMS));
    }

    fn a_map_that_waits_ends_with_its_job_and_with_its_pool() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let fails = procs.map(0_u64.., |n| if n == 300_000 { resume_unwind(Box::new("no")) });
        let fails = fails.unwrap_err().to_string();
        assert!(fails.starts_with("item 300000"), "{fails}");
        let runs: Task<()> = procs.spawn((), |()| forever());
        until(|| procs.stats().busy == 1);
        let (tell, told) = mpsc::channel();
        let mapper = procs.clone();
        let map = thread::spawn(move || {
            tell.send(this_thread()).unwrap();
            mapper.map(0_u64.., |n| n)
        });
        let thread = told.recv().unwrap();
        eventually("it waits", || asleep(thread));
        procs.kill();
        let result = map.join().unwrap();
        assert!(matches!(result, Err(TaskError::Cancelled)), "{:?}", result.err());
        assert!(matches!(runs.join(), Err(TaskError::Cancelled | TaskError::Closed)));
    }

    fn a_spawn_that_waits_ends_in_closed_when_the_pool_ends() {
        for killed in [false, true] {
            let procs = pool(1);
            let (runs, _waiting) = fill(&procs);
            let (tell, told) = mpsc::channel();
            let spawner = procs.clone();
            let waiter = thread::spawn(move || {
                tell.send(this_thread()).unwrap();
                [spawner.spawn(1, |n: u64| n).join(), spawner.spawn(2, |n: u64| n).join()]
            });
            let thread = told.recv().unwrap();
            eventually("it waits", || asleep(thread));
            let ends = procs.clone();
            let ends = thread::spawn(move || match killed {
                true => ends.kill(),
                false => ends.shutdown(Shutdown::Wait),
            });
            // (The end of the pool waits for the call that runs, unless it is killed.)
            let results = waiter.join().unwrap();
            assert!(results.iter().all(|end| matches!(end, Err(TaskError::Closed))), "{results:?}");
            runs.cancel();
            ends.join().unwrap();
            let late = procs.try_spawn(3, |n: u64| n).unwrap().join();
            assert!(matches!(late, Err(TaskError::Closed)), "{late:?}");
        }
    }

    fn a_loop_awaits_a_place_and_its_thread_does_not_wait() {
        let procs = pool(1);
        let (runs, _waiting) = fill(&procs);
        run(async {
            let refused = procs.spawn(1, |n: u64| n).await;
            assert!(matches!(refused, Err(TaskError::WouldBlock)), "{refused:?}");
            let refused = procs.spawn_remote(1, |n: u64| n).fetch().await;
            assert!(matches!(refused, Err(TaskError::WouldBlock)), "{refused:?}");
            {
                let mut place = pin!(procs.reserve());
                let mut context = Context::from_waker(Waker::noop());
                assert!(place.as_mut().poll(&mut context).is_pending());
            }
            assert!(runs.cancel());
            assert_eq!(procs.reserve().await.spawn(2, |n: u64| n).await.unwrap(), 2);
            let named = procs.call(|n: u64| n).name("placed");
            assert_eq!(named.reserve().await.spawn(3).await.unwrap(), 3);
        });
    }

    fn a_death_gives_the_places_back() {
        let procs = pool(1);
        for _ in 0..5 {
            let dies = procs.spawn((), |()| std::process::abort());
            let dies: Result<(), _> = dies.join();
            assert!(matches!(dies, Err(TaskError::WorkerDied(_))), "{dies:?}");
        }
        let again = procs.call(|n: u64| n).retry(1).spawn(4);
        assert_eq!(again.join().unwrap(), 4);
    }
}

#[derive(serde::Deserialize)]
struct Unencodable;

impl serde::Serialize for Unencodable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}
