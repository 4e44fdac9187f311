//! Plain workers, which are nothing but a framed stream of bytes: what other modules test of a pool holds with these, too.

use crate::deadline::sample;
use crate::support::{self, Scratch, Test, pool, signal, tests, until};
use crate::{calls, imap, limits, pool as pools};

use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::Signal;
use trefoil::process::channel;
use trefoil::{Bulk, PoolError, Shared, Shutdown, TaskError};

/// While it lives, pools are made of plain workers; if the test fails, it says which one it was.
struct Plain(&'static str);

impl Plain {
    fn new(name: &'static str) -> Self {
        support::PLAIN.store(true, Ordering::Relaxed);
        Self(name)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        support::PLAIN.store(false, Ordering::Relaxed);
        if std::thread::panicking() {
            eprintln!("{} fails with plain workers", self.0);
        }
    }
}

/// Runs a sample of `tests` with plain workers (all where `TREFOIL_FULL` is set), but those that `except` names.
fn again(tests: &[Test], except: &[&str]) {
    let step = tests.len().div_ceil(sample(tests.len()));
    for test in tests.iter().skip(step / 4).step_by(step) {
        if !except.iter().any(|name| test.name.ends_with(name)) {
            let _plain = Plain::new(test.name);
            (test.run)();
        }
    }
}

/// What a worker has open, and what it has mapped, by name.
fn insides(_: ()) -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let mut all: Vec<String> = open.map(|path| path.display().to_string()).collect();
    all.push(std::fs::read_to_string("/proc/self/maps").unwrap());
    all
}

fn is_told<T: std::fmt::Debug>(result: Result<T, TaskError>) {
    let error = result.expect_err("it has travelled");
    assert!(matches!(error, TaskError::Codec(_)), "{error:?}");
    assert!(error.to_string().contains("plain_workers"), "{error}");
}

tests! {
    fn calls_hold() {
        again(calls::TESTS, &[]);
    }

    fn limits_hold() {
        again(limits::TESTS, &[]);
    }

    fn iterators_hold() {
        again(imap::TESTS, &[]);
    }

    fn the_pool_holds() {
        // (The parent cannot tell an item's words on standard error from those of the one before.)
        again(pools::TESTS, &["last_words_are_those_of_the_item"]);
    }

    fn nothing_is_shared_and_nothing_is_handed_over() {
        let _plain = Plain::new("this");
        let procs = pool(1);
        let insides = procs.spawn((), insides).join().unwrap();
        let sockets = insides.iter().filter(|path| path.starts_with("socket:")).count();
        assert!((1..=4).contains(&sockets), "one stream, and copies of it: {insides:?}");
        assert!(!insides.iter().any(|path| path.contains("memfd") || path.contains("eventfd")), "{insides:?}");
    }

    fn what_cannot_travel_says_why() {
        let _plain = Plain::new("this");
        let procs = pool(1);
        let shared = Shared::from(vec![1u64; 9]);
        is_told(procs.spawn(shared.clone(), |shared: Shared<u64>| shared.len()).join());
        is_told(procs.map_with(&shared, 0..3, |shared: &Shared<u64>, n: usize| shared[n]));
        is_told(procs.spawn((), |()| Shared::from(vec![1u64])).join());
        let (sender, receiver) = channel::<u32>(1).unwrap();
        is_told(procs.spawn(sender, drop).join());
        drop(receiver);
        let builder = support::builder().initializer(shared, drop);
        let error = builder.build().unwrap_err();
        assert!(matches!(&error, PoolError::Initializer(_)), "{error:?}");
        assert_eq!(procs.spawn(6, |n: u32| n * 7).join().unwrap(), 42, "and the pool lives");
    }

    fn large_numbers_travel_with_the_other_bytes() {
        let _plain = Plain::new("this");
        let numbers: Bulk<u64> = (0..1 << 20).collect::<Vec<u64>>().into();
        let back = pool(2).spawn(numbers.clone(), |numbers: Bulk<u64>| numbers).join().unwrap();
        assert!(back == numbers);
    }

    fn what_had_not_begun_ends_with_the_pool() {
        let _plain = Plain::new("this");
        let scratch = Scratch::new("plain-stop");
        let procs = pool(1);
        let items = (0..5).map({ let path = scratch.text(); move |n| (path.clone(), n) });
        let stops = |(path, n): (String, u64)| {
            support::note(&path, u64::from(std::process::id()));
            if n == 0 {
                signal(std::process::id(), Signal::STOP);
            }
            n
        };
        let results = procs.call(stops).chunk(5).imap(items);
        std::thread::scope(|s| {
            let results = s.spawn(|| results.collect::<Vec<_>>());
            until(|| !scratch.notes().is_empty());
            s.spawn(|| procs.shutdown_timeout(Shutdown::CancelPending, Duration::from_secs(60)));
            until(|| {
                let mut late = procs.spawn(0, |n: u64| n);
                matches!(late.try_join(), Some(Err(TaskError::Closed)))
            });
            signal(scratch.notes()[0] as u32, Signal::KILL);
            let results = results.join().unwrap();
            assert!(matches!(results[0], Err(TaskError::WorkerDied(_) | TaskError::Cancelled)), "{results:?}");
            assert!(!results.iter().any(Result::is_ok), "{results:?}");
        });
        assert_eq!(scratch.notes().len(), 1, "an item has begun in a pool that ends");
    }

    fn an_idle_worker_keeps_no_large_frame() {
        let _plain = Plain::new("this");
        let procs = pool(1);
        let large = Bulk::from(vec![1_u8; 128 << 20]);
        assert_eq!(procs.spawn(large, |bytes: Bulk<u8>| bytes.len()).join().unwrap(), 128 << 20);
        let statm = format!("/proc/{}/statm", procs.worker_pids()[0]);
        until(|| {
            let text = std::fs::read_to_string(&statm).unwrap();
            let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
            pages * 4096 < 64 << 20
        });
    }
}
