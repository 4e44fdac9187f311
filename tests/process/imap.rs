//! Results of worker processes one by one.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::support;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize, Serializer, ser};
use support::{
    ABORTED, KILLED, Scratch, Test, chaos, end_of, forever, kill, note, noted, pool, tests, until,
};
use trefoil::{CancelToken, ProcessPool, Shutdown, TaskError};

/// Fails in different ways for some numbers.
fn sometimes(n: u64) -> Odd {
    match n % 20 {
        3 => panic!("at {n}"),
        7 => abort(),
        11 => Odd(1),
        _ => Odd(n),
    }
}

/// A value that cannot be written if it is 1, and whose writing panics if it is 2.
#[derive(Debug, Deserialize, PartialEq)]
struct Odd(u64);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(ser::Error::custom("never written")),
            2 => {
                let _ = serializer.serialize_u64(77);
                panic!("writing panics")
            }
            n => serializer.serialize_newtype_struct("Odd", &n),
        }
    }
}

tests! {
    fn in_order_without_end() {
        let procs = pool(2);
        for (n, result) in (0u64..).zip(procs.imap(0u64.., |n| n * 3)).take(100_000) {
            assert_eq!(result.unwrap(), 3 * n);
        }
        assert_eq!(procs.imap(0..0u64, |n| n).count(), 0);
        assert_eq!(procs.imap(0..1u64, |n| n).count(), 1);
        let texts = ["a", "b"].map(str::to_owned);
        let answers: Result<Vec<String>, _> = procs.imap(texts, |s: String| s + "!").collect();
        assert_eq!(answers.unwrap(), ["a!", "b!"]);
        let seen: HashSet<u64> = procs.imap_unordered(0..10_000u64, |n| n).map(Result::unwrap).collect();
        assert_eq!(seen.len(), 10_000);
    }

    fn no_further_ahead_than_the_buffer() {
        let procs = pool(2);
        for ordered in [true, false] {
            for buffer in [0, 1, 2, 7, 100] {
                let pulled = AtomicUsize::new(0);
                let items = (0u64..).inspect(|_| { pulled.fetch_add(1, Ordering::Relaxed); });
                let call = procs.call(|n: u64| n);
                let mut results = if ordered { call.imap(items) } else { call.imap_unordered(items) }.buffer(buffer);
                assert_eq!(pulled.load(Ordering::Relaxed), 0, "lazy");
                for given in 1..500 {
                    results.next().unwrap().unwrap();
                    let ahead = pulled.load(Ordering::Relaxed) - (given - 1);
                    assert!((1..=buffer.max(1)).contains(&ahead), "{ahead} with {buffer}");
                }
            }
        }
        // The default buffer, in proportion to the number of workers.
        let pulled = AtomicUsize::new(0);
        let mut results = procs.imap((0u64..).inspect(|_| { pulled.fetch_add(1, Ordering::Relaxed); }), |n| n);
        for given in 1..5000 {
            results.next().unwrap().unwrap();
            assert!(pulled.load(Ordering::Relaxed) <= 3 * given + 8 && pulled.load(Ordering::Relaxed) <= given + 512);
        }
    }

    fn what_is_done_first_comes_first() {
        let procs = pool(2);
        let scratch = Scratch::new("first");
        let items = (0..50u64).map(|n| (n, scratch.text()));
        let mut results = procs.imap_unordered(items, |(n, path): (u64, String)| {
            if n == 0 {
                until(|| std::fs::read(&path).unwrap().len() == 8);
            }
            n
        });
        let first: Vec<u64> = results.by_ref().take(49).map(Result::unwrap).collect();
        assert!(!first.contains(&0));
        note(&scratch.text(), 1);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert!(results.next().is_none());
    }

    fn what_cannot_be_sent_waits_for_no_other_item() {
        let procs = pool(1);
        let scratch = Scratch::new("unsent");
        let items = [0, 1].map(|n| (Odd(n), scratch.text()));
        let wait = |(odd, path): (Odd, String)| {
            until(|| noted(&path) > 0);
            odd.0
        };
        let mut results = procs.imap_unordered(items, wait).with_index();
        let (index, result) = results.next().unwrap();
        assert_eq!((index, result.unwrap_err().item()), (1, Some(1)));
        note(&scratch.text(), 1);
        let (index, result) = results.next().unwrap();
        assert_eq!((index, result.unwrap()), (0, 0));
        assert!(results.next().is_none());
        // In order it comes in its place.
        let results = procs.imap([0, 1, 3].map(Odd), |odd| odd.0);
        assert!(results.map(|result| result.is_ok()).eq([true, false, true]));
    }

    fn what_is_done_does_not_wait_for_its_batch() {
        let procs = pool(1);
        for ordered in [true, false] {
            let scratch = Scratch::new("batch");
            let items = (0..60u64).map(|n| (n, scratch.text()));
            // Each item waits until all earlier results have been returned.
            let call = procs.call(|(n, path): (u64, String)| {
                until(|| noted(&path) as u64 == n);
                n
            }).chunk_size(20);
            let results = if ordered { call.imap(items) } else { call.imap_unordered(items) }.buffer(60);
            let mut count = 0;
            for (n, result) in (0..).zip(results) {
                assert_eq!(result.unwrap(), n);
                note(&scratch.text(), n);
                count += 1;
            }
            assert_eq!(count, 60);
        }
    }

    fn every_item_fails_alone() {
        let procs = pool(2);
        for chunk in [1, 16] {
            let call = procs.call(sometimes).chunk_size(chunk);
            for (n, result) in (0..200u64).zip(call.imap(0..)) {
                match (n % 20, result) {
                    (3, Err(TaskError::Panicked(panic))) => assert_eq!(panic.message(), format!("at {n}")),
                    (7, Err(TaskError::WorkerDied(exit))) => assert_eq!((end_of(&exit), exit.attempts()), (ABORTED, 1)),
                    (11, Err(TaskError::Codec(error))) => assert!(error.type_name().ends_with("Odd")),
                    (1, Err(TaskError::Codec(_))) if n == 1 => {}
                    (2, Err(TaskError::Panicked(panic))) if n == 2 => assert_eq!(panic.message(), "writing panics"),
                    (_, Ok(Odd(value))) => assert_eq!(value, n),
                    (_, other) => panic!("{n}: {other:?}"),
                }
            }
        }
        // On the way there.
        let items = (0..50u64).map(|n| Odd(if n % 5 == 4 { 1 } else { n + 10 }));
        for (n, result) in (0..50).zip(procs.imap(items, |odd: Odd| odd.0)) {
            match result {
                Err(TaskError::Codec(error)) => assert!(n % 5 == 4 && error.to_string().contains("argument")),
                other => assert_eq!(other.unwrap(), n + 10),
            }
        }
    }

    fn a_panic_of_the_input_comes_when_it_is_due() {
        let procs = pool(2);
        for at in [0, 1, 7, 100] {
            let items = (0..).inspect(move |n| assert!(*n < at, "enough"));
            let mut results = procs.imap(items, |n: u64| n);
            for n in 0..at {
                assert_eq!(results.next().unwrap().unwrap(), n);
            }
            let caught = catch_unwind(AssertUnwindSafe(|| results.next())).unwrap_err();
            assert_eq!(*caught.downcast_ref::<&str>().unwrap(), "enough");
            assert!(results.next().is_none() && results.next().is_none());
            // A panic in an item's `Serialize` is that item's.
            let items = (10..10 + at).chain([2, 3, 2]).map(Odd);
            let results: Vec<_> = procs.imap(items, |odd: Odd| odd.0).collect();
            assert_eq!(results.len() as u64, at + 3);
            for (n, result) in (10..10 + at).chain([2, 3, 2]).zip(results) {
                match (n, result) {
                    (2, Err(TaskError::Panicked(panic))) => assert_eq!(panic.message(), "writing panics"),
                    (n, result) => assert_eq!(result.unwrap(), n),
                }
            }
        }
        assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
    }

    fn a_panic_of_into_iter_is_the_callers_and_the_pool_lives() {
        struct Bomb;
        impl IntoIterator for Bomb {
            type Item = u64;
            type IntoIter = std::ops::Range<u64>;
            fn into_iter(self) -> Self::IntoIter {
                panic!("no iterator")
            }
        }
        let procs = pool(2);
        let f = |n: u64| n;
        let starts: [&dyn Fn(); 5] = [
            &|| _ = procs.imap(Bomb, f),
            &|| _ = procs.imap_unordered(Bomb, f),
            &|| _ = procs.call(f).retry(1).imap(Bomb),
            &|| _ = procs.call(f).retry(1).imap_unordered(Bomb),
            &|| _ = procs.imap(Bomb, f).stream(),
        ];
        for start in starts {
            let caught = catch_unwind(AssertUnwindSafe(start)).unwrap_err();
            assert_eq!(*caught.downcast_ref::<&str>().unwrap(), "no iterator");
        }
        assert_eq!(procs.imap(0..100, f).map(Result::unwrap).sum::<u64>(), 4950);
        procs.shutdown(Shutdown::Wait);
    }

    fn dropping_it_cancels_the_rest() {
        let builder = ProcessPool::builder().workers(2).grace(Duration::from_secs(600));
        let procs = builder.build().unwrap();
        let pids = procs.worker_pids();
        let scratch = Scratch::new("dropped");
        let items = (0..).map(|n| (n, scratch.text()));
        let mut results = procs.imap(items, |(n, path): (u64, String)| {
            if n > 0 {
                note(&path, n);
                until(|| CancelToken::current().is_cancelled());
                note(&path, 1000 + n);
            }
        });
        results.next().unwrap().unwrap();
        until(|| noted(&scratch.text()) == 2);
        drop(results);
        until(|| noted(&scratch.text()) == 4);
        assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
        assert_eq!(noted(&scratch.text()), 4, "nothing more has begun");
        assert_eq!(procs.worker_pids(), pids);
        until(|| procs.stats().pending == 0);
    }

    fn it_ends_with_the_pool() {
        for how in 0..4 {
            let procs = pool(2);
            let mut results = procs.imap(0u64.., |n| n).buffer(10);
            assert_eq!(results.next().unwrap().unwrap(), 0);
            match how {
                0 => procs.shutdown(Shutdown::Wait),
                1 => procs.shutdown(Shutdown::CancelPending),
                2 => procs.kill(),
                _ => drop(procs),
            }
            let rest: Vec<_> = results.collect();
            assert!((1..=10).contains(&rest.len()), "no more is taken: {}", rest.len());
            if how == 0 {
                assert!(rest[..6].iter().all(Result::is_ok), "what was sent has run: {rest:?}");
            }
            assert!(rest.iter().all(|result| matches!(result, Ok(_) | Err(TaskError::Closed | TaskError::Cancelled))));
        }
        let procs = pool(1);
        procs.shutdown(Shutdown::Wait);
        let mut results = procs.imap(0u64.., |n| n);
        assert!(matches!(results.next(), Some(Err(TaskError::Closed))));
        assert!(results.take(1000).count() < 100, "and it ends");
        let procs = pool(1);
        let untouched = procs.imap(0u64.., |n| n);
        procs.shutdown(Shutdown::Wait);
        drop(untouched);
        // Nor is more taken if it ends while an item is taken.
        let (procs, pulled) = (pool(1), AtomicUsize::new(0));
        let items = (0u64..).inspect(|_| {
            if pulled.fetch_add(1, Ordering::Relaxed) == 1 {
                procs.shutdown(Shutdown::Wait);
            }
        });
        assert!(procs.imap(items, |n| n).buffer(50).all(|result| matches!(result, Ok(_) | Err(TaskError::Closed))));
        assert_eq!(pulled.load(Ordering::Relaxed), 2);
    }

    fn a_running_item_ends_before_a_shutdown_does() {
        let procs = pool(1);
        let scratch = Scratch::new("running");
        let items = (0..20).map(|n| (n, scratch.text()));
        let mut results = procs.imap(items, |(n, path): (u64, String)| {
            note(&path, n);
            if n == 1 {
                until(|| noted(&path) > 2);
            }
            n
        });
        assert_eq!(results.next().unwrap().unwrap(), 0);
        until(|| noted(&scratch.text()) == 2);
        let behind = procs.spawn((), |()| ());
        std::thread::scope(|scope| {
            scope.spawn(|| procs.shutdown(Shutdown::CancelPending));
            // That a later call is refused does not mean that earlier items have been taken back.
            until(|| behind.is_finished());
            // A plain worker was asked for its items, and may not have given them back yet.
            until(|| procs.stats().pending == 1);
            note(&scratch.text(), 99);
        });
        assert_eq!(results.next().unwrap().unwrap(), 1);
        assert!(results.all(|result| matches!(result, Err(TaskError::Cancelled | TaskError::Closed))));
    }

    fn a_stream_on_a_loop() {
        let procs = pool(2);
        trefoil::run(async {
            let mut squares = procs.imap(0u64.., |n| n * n).stream();
            for n in 0..2000 {
                assert_eq!(squares.next().await.unwrap().unwrap(), n * n);
            }
            drop(squares);
            let mut few = procs.imap_unordered(0..10u64, |n| n).stream();
            let mut sum = 0;
            while let Some(n) = few.next().await {
                sum += n.unwrap();
            }
            assert_eq!(sum, 45);
            assert!(few.next().await.is_none());
            // On a loop's thread it does not wait.
            let mut blocking = procs.imap(0..10u64, |_| forever::<u64>());
            assert!(matches!(blocking.next(), Some(Err(TaskError::WouldBlock))));
            assert!(blocking.next().is_none());
        });
        assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
    }

    fn a_stream_goes_from_thread_to_thread() {
        let procs = pool(1);
        let mut results = procs.imap(0u64.., |n| n);
        for n in 0..50 {
            let (result, back) = std::thread::spawn(move || (results.next(), results)).join().unwrap();
            assert_eq!(result.unwrap().unwrap(), n);
            results = back;
        }
    }

    fn one_feeds_the_other() {
        let procs = pool(2);
        let doubled = procs.imap(0..1000u64, |n| n * 2).map(Result::unwrap);
        let plus: Vec<u64> = procs.imap(doubled, |n| n + 1).map(Result::unwrap).collect();
        assert!(plus.into_iter().eq((0..1000).map(|n| 2 * n + 1)));
        // And threads share a pool.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(procs.imap(0..3000u64, |n| n).filter_map(Result::ok).sum::<u64>(), 2999 * 1500));
            }
        });
    }

    fn large_items_one_by_one() {
        let procs = pool(2);
        let sizes = [0, 1, 65_535, 126_975, 126_977, 300_000, 3 << 20];
        let items = sizes.iter().cycle().take(70).map(|size| "z".repeat(*size));
        let results = procs.imap(items, |text: String| text).buffer(6);
        for (size, text) in sizes.iter().cycle().zip(results) {
            assert_eq!(text.unwrap().len(), *size);
        }
    }

    fn chaos_one_by_one() {
        let procs = pool(3);
        let scratch = Scratch::new("chaos");
        let end = Instant::now() + chaos() / 2;
        let (stop, stopped) = mpsc::channel::<()>();
        let (mut deaths, mut answers, mut times, mut kills) = (0, 0u64, 0, 0);
        std::thread::scope(|scope| {
            let (stopped, theirs, path) = (stopped, &procs, scratch.text());
            let killer = scope.spawn(move || {
                let (mut kills, mut ran) = (0u32, 0);
                while stopped.recv_timeout(Duration::from_millis(u64::from(kills % 9))) == Err(mpsc::RecvTimeoutError::Timeout) {
                    // (Workers that are killed more quickly than they start cannot start.)
                    if std::mem::replace(&mut ran, noted(&path)) == ran {
                        continue;
                    }
                    let pids = theirs.worker_pids();
                    if let Some(pid) = pids.get(kills as usize % 3 % pids.len().max(1)) {
                        kill(*pid);
                        kills += 1;
                    }
                }
                kills
            });
            let mut id = 0u64;
            while Instant::now() < end || deaths == 0 || answers <= 200 {
                let (from, chunk) = (id, 1 + id as usize % 40);
                let items = (from..from + 400).map(|n| (n, scratch.text()));
                id += 400;
                let call = procs.call(|(n, path): (u64, String)| {
                    note(&path, n);
                    if n % 97 == 0 {
                        forever::<()>();
                    }
                    std::thread::sleep(Duration::from_micros(n % 7 * 30));
                    (n, "y".repeat((n % 13) as usize * 1500))
                }).chunk_size(chunk).timeout(Duration::from_millis(20));
                let ordered = from % 800 == 0;
                let results = if ordered { call.imap(items) } else { call.imap_unordered(items) }.buffer(100);
                let (mut seen, mut count) = (HashSet::new(), 0);
                for (place, result) in (from..).zip(results) {
                    count += 1;
                    match result {
                        Ok((n, text)) => {
                            assert!(!ordered || n == place);
                            assert!(n % 97 != 0 && text.len() as u64 == n % 13 * 1500);
                            assert!(seen.insert(n), "{n} is answered twice");
                            answers += 1;
                        }
                        // On a busy machine any item may take so long.
                        Err(TaskError::TimedOut(_)) => times += 1,
                        Err(TaskError::WorkerDied(exit)) => {
                            assert_eq!(end_of(&exit), KILLED);
                            deaths += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(count, 400, "one result for each");
            }
            drop(stop);
            kills = killer.join().unwrap();
        });
        let notes = scratch.notes();
        assert_eq!(notes.iter().collect::<HashSet<_>>().len(), notes.len(), "no item ran twice");
        println!("{answers} answers, {kills} kills, {deaths} deaths, {times} out of time");
        assert!(deaths <= kills && deaths > 0 && answers > 200);
        until(|| procs.stats().pending == 0);
    }
}
