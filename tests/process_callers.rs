//! What callers do in the driver's place, and what they must leave to the driver.
//!
//! A program of its own, like `process.rs`: see there.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{Odd, Test, pool, tests, until};
use trefoil::ProcessPool;

fn main() {
    trefoil::init();
    support::main(TESTS);
}

/// Longer than a driver sleeps for the sake of its callers.
const LULL: Duration = Duration::from_millis(5);

/// What should take milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

fn double(n: u64) -> u64 {
    n * 2
}

/// Makes no system call, and is long or short by microseconds.
fn spin(micros: u64) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

tests! {
    /// The caller comes just when the result has been sent, and takes it out of the socket before the
    /// driver does: who tells the driver that the worker is to be replaced?
    fn a_worker_that_has_had_its_calls_is_replaced_whoever_hears_of_its_last() {
        let procs = ProcessPool::builder().workers(1).max_tasks_per_worker(1).build().unwrap();
        let mut before = 0;
        for n in 0..400 {
            let mut here = 0;
            let begin = Instant::now();
            until(|| {
                here = procs.worker_pids().first().copied().unwrap_or(0);
                assert!(begin.elapsed() < LIMIT, "{n}: the worker {before} is not replaced");
                here != 0 && here != before
            });
            before = here;
            thread::sleep(LULL); // it is ready, and the driver sleeps
            let mut task = procs.spawn(n, double);
            spin(n % 80);
            assert_eq!(task.join_timeout(LIMIT).unwrap(), n * 2, "{n}");
        }
    }

    /// The same with a worker that could take over what waits behind a long call.
    fn what_waits_behind_a_long_call_is_taken_over_whoever_hears_of_a_short_one() {
        let procs = pool(2);
        for n in 0..150u64 {
            thread::sleep(LULL);
            let long = procs.spawn((), |()| support::forever::<()>());
            let mut short = procs.spawn(n, double);
            let mut waits = procs.spawn(n, double);
            spin(n % 80);
            assert_eq!(short.join_timeout(LIMIT).unwrap(), n * 2, "{n}");
            until(|| waits.try_join().is_some());
            long.cancel();
            let begin = Instant::now();
            until(|| {
                assert!(begin.elapsed() < LIMIT);
                procs.worker_pids().len() == 2
            });
        }
    }

    /// A worker that has nothing to do is not counted as busy for ever.
    fn nobody_stays_busy_whoever_hears_of_the_last_result() {
        let procs = pool(1);
        for n in 0..400u64 {
            thread::sleep(LULL);
            let task = procs.spawn(n, double);
            spin(n % 80);
            assert_eq!(task.join().unwrap(), n * 2);
            let begin = Instant::now();
            until(|| {
                assert!(begin.elapsed() < LIMIT, "{n}");
                procs.stats().busy == 0
            });
        }
    }

    /// The same while the caller keeps the other worker at work, so closely that it never sends.
    fn what_waits_behind_a_long_call_is_taken_over_between_calls_that_follow_closely() {
        let procs = pool(2);
        for n in 0..40u64 {
            thread::sleep(LULL);
            let long = procs.spawn((), |()| support::forever::<()>());
            let short = procs.spawn(3_000, spin);
            let mut waits = procs.spawn(n, double);
            spin(2_990);
            short.join().unwrap();
            let mut calls = 0;
            while waits.try_join().is_none() {
                assert_eq!(procs.spawn(n, double).join().unwrap(), n * 2);
                calls += 1;
                assert!(calls < 1_000, "{n}");
            }
            long.cancel();
            let begin = Instant::now();
            until(|| {
                assert!(begin.elapsed() < LIMIT);
                procs.worker_pids().len() == 2
            });
        }
    }

    /// A `map` is in several workers, and leaves them one after the other.
    fn no_callback_of_others_runs_on_who_waits_for_many() {
        let procs = pool(2);
        let main = thread::current().id();
        let (told, here) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        procs.map(0..1000, double).unwrap();
        const ROUNDS: usize = 3_000;
        for n in 0..ROUNDS as u64 {
            let asked = Arc::new(AtomicBool::new(false));
            let many = procs.call(spin).chunk(1).map_task([5, 10 + n % 7]);
            let other = procs.spawn(n, double);
            let (told, here, asking) = (told.clone(), here.clone(), asked.clone());
            other.on_done(move |_| {
                let on_caller = thread::current().id() == main && asking.load(Ordering::SeqCst);
                here.fetch_add(usize::from(on_caller), Ordering::SeqCst);
                told.fetch_add(1, Ordering::SeqCst);
            });
            asked.store(true, Ordering::SeqCst);
            assert_eq!(many.join().unwrap(), [(), ()]);
        }
        until(|| told.load(Ordering::SeqCst) == ROUNDS);
        assert_eq!(here.load(Ordering::SeqCst), 0);
    }

    /// An item of an `imap` that cannot be encoded has never been the pool's.
    fn what_cannot_be_encoded_is_not_pending() {
        let procs = pool(1);
        let results = procs.imap([0, 1, 0, 1, 0].map(Odd), |odd: Odd| odd.0);
        assert_eq!(results.filter(Result::is_ok).count(), 3);
        let long = procs.spawn((), |()| support::forever::<()>());
        until(|| procs.stats().busy == 1);
        assert_eq!(procs.stats().pending, 1);
        long.cancel();
        until(|| procs.stats().pending == 0);
    }
}
