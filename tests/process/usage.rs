//! What an item has used, and comes with its value.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::support::{Test, pool, tests};

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use trefoil::process::{Usage, retire};
use trefoil::{ProcessPool, TaskError};

/// The processor time of this process and of the children that it has waited for, by the kernel's
/// own text, in hundredths of a second.
#[cfg(target_os = "linux")]
fn ticks() -> [u64; 2] {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = line.rsplit_once(')').unwrap().1.split(' ').collect();
    let sum =
        |at: usize| fields[at].parse::<u64>().unwrap() + fields[at + 1].parse::<u64>().unwrap();
    [sum(12), sum(14)]
}

/// Uses so much memory, in MiB.
fn use_memory(mib: usize) -> usize {
    black_box(vec![1u8; mib << 20]).len() >> 20
}

tests! {
    #[cfg(target_os = "linux")]
    fn the_processor_time_is_that_of_all_threads() {
        let procs = pool(1);
        let busy = procs.call(|least: u64| {
            let [before, _] = ticks();
            thread::scope(|s| for _ in 0..2 {
                s.spawn(|| while ticks()[0] < before + least {});
            });
        });
        let ((), usage) = busy.measured().spawn(10).join().unwrap();
        assert!(usage.cpu_time() > Duration::from_millis(80), "{usage:?}");
        assert!(usage.wall() >= usage.cpu_time() / 3, "two threads at most: {usage:?}");
    }

    #[cfg(target_os = "linux")]
    fn so_is_that_of_children_that_were_waited_for() {
        let procs = pool(1);
        let shell = procs.call(|least: u64| {
            let [own, before] = ticks();
            while ticks()[1] < before + least {
                let count = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
                assert!(std::process::Command::new("sh").args(["-c", count]).status().unwrap().success());
            }
            ticks()[0] - own
        });
        let (own, usage) = shell.measured().spawn(10).join().unwrap();
        let children = usage.cpu_time().saturating_sub(Duration::from_millis(own * 10 + 20));
        assert!(children > Duration::from_millis(70), "{own}, {usage:?}");
    }

    fn time_asleep_is_no_processor_time() {
        let procs = pool(1);
        let nap = Duration::from_millis(300);
        let ((), usage) = procs.call(thread::sleep).measured().spawn(nap).join().unwrap();
        assert!(usage.wall() >= nap && usage.cpu_time() < nap, "{usage:?}");
    }

    fn each_item_has_its_own_peak() {
        let procs = pool(1);
        let call = procs.call(use_memory).measured();
        let used = call.map([0, 96, 0, 48]).unwrap();
        let peaks: Vec<_> = used.iter().map(|(_, usage)| usage.peak_memory()).collect();
        if cfg!(not(target_os = "linux")) || peaks[0].is_none() {
            assert_eq!(peaks, [None; 4]);
            return;
        }
        let mib = |at: usize| peaks[at].unwrap() >> 20;
        assert!(mib(1) >= 96, "{peaks:?}");
        if std::fs::write("/proc/self/clear_refs", "5").is_ok() {
            assert!(mib(0) < 48 && mib(2) < 48, "{peaks:?}");
            assert!((48..96).contains(&mib(3)), "{peaks:?}");
        }
    }

    fn it_comes_with_every_form_of_a_call() {
        let procs = pool(2);
        let call = procs.call(|n: u64| 100 / n).measured();
        let begin = Instant::now();
        let check = |(value, usage): (u64, Usage), n: u64| {
            assert_eq!(value, 100 / n);
            assert!(usage.wall() <= begin.elapsed(), "{usage:?}");
        };
        check(call.spawn(3).join().unwrap(), 3);
        for results in [call.map(1..50).unwrap(), call.map_task(1..50).join().unwrap()] {
            assert_eq!(results.len(), 49);
            results.into_iter().zip(1..).for_each(|(result, n)| check(result, n));
        }
        let each = call.map_each(0..20);
        assert!(matches!(each[0], Err(TaskError::Panicked(_))), "{each:?}");
        each.into_iter().zip(0..).skip(1).for_each(|(result, n)| check(result.unwrap(), n));
        call.imap(1..).take(20).zip(1..).for_each(|(result, n)| check(result.unwrap(), n));
        let mut all: Vec<_> = call.clone().imap_unordered(1..20).map(|one| one.unwrap().0).collect();
        all.sort_by_key(|value| std::cmp::Reverse(*value));
        assert_eq!(all, (1..20).map(|n| 100 / n).collect::<Vec<_>>());
    }

    fn with_a_context_and_the_options_before_it() {
        let procs = pool(1);
        let scale = procs.call_with(&10, |factor: &u64, n: u64| factor * n).name("scale");
        assert_eq!(scale.clone().measured().map([1, 2]).unwrap()[1].0, 20);
        let spin = procs.call(|()| -> () { loop { thread::yield_now() } });
        let late = spin.timeout(Duration::from_millis(20)).retry(1).retry_on_timeout(true);
        let late = late.measured().spawn(()).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))), "{late:?}");
        assert_eq!(procs.stats().retried, 1);
        let (pid, _) = procs.call(|()| { retire(); std::process::id() }).measured().spawn(()).join().unwrap();
        assert_ne!(procs.spawn((), |()| std::process::id()).join().unwrap(), pid);
    }

    fn what_owns_memory_elsewhere_travels_with_it() {
        let procs: ProcessPool = pool(1);
        let call = procs.call(|n: usize| trefoil::Bulk::from(vec![n as u64; n])).measured();
        let (bulk, _) = call.spawn(100_000).join().unwrap();
        assert_eq!((bulk.len(), bulk[99_999]), (100_000, 100_000));
    }
}
