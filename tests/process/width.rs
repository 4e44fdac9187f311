//! Pools that have as many workers as the work asks for, and bounds that are set later.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::support;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Dice, Scratch, Test, forever, note, tests, until};
use trefoil::process::{Portable, StartMethod, retire, worker_index};
use trefoil::{PoolError, ProcessPool, Shutdown, Task};

/// Holds its worker until the file is there.
fn waits_for(path: String) -> u32 {
    while !std::path::Path::new(&path).exists() {
        std::thread::sleep(Duration::from_millis(1)); // (another process makes it)
    }
    std::process::id()
}

fn begins_and_waits((notes, path): (String, String)) -> u32 {
    note(&notes, 1);
    waits_for(path)
}

/// What the calls return, each another process.
fn different<R: Portable + Eq + std::hash::Hash>(calls: Vec<Task<R>>) -> usize {
    let all: HashSet<R> = calls.into_iter().map(|call| call.join().unwrap()).collect();
    all.len()
}

/// The start methods that there are here.
fn methods() -> Vec<StartMethod> {
    let forks = cfg!(all(target_os = "linux", target_env = "gnu")) && !support::is_plain();
    let server = forks.then_some(StartMethod::ForkServer);
    [StartMethod::Spawn].into_iter().chain(server).collect()
}

fn workers(procs: &ProcessPool) -> usize {
    procs.stats().workers
}

tests! {
    fn workers_come_with_the_work_and_leave_when_they_are_idle() {
        let idle = Duration::from_millis(50);
        let procs = ProcessPool::builder().workers(1..=3).idle_timeout(idle).build().unwrap();
        until(|| workers(&procs) == 1);
        let open = Scratch::new("width-open");
        let notes = Scratch::new("width-come");
        let argument = || (notes.text(), open.text() + ".now");
        let waiting: Vec<_> = (0..3).map(|_| procs.spawn(argument(), begins_and_waits)).collect();
        until(|| notes.notes().len() == 3);
        std::fs::write(open.text() + ".now", "").unwrap();
        assert_eq!(different(waiting), 3);
        until(|| workers(&procs) == 1);
        assert_eq!((procs.num_workers(), procs.stats().died), (3, 0));
        assert_eq!(procs.map(0..100, |n: u32| n + 1).unwrap().len(), 100);
        std::fs::remove_file(open.text() + ".now").unwrap();
    }

    fn a_pool_may_have_no_worker_until_there_is_work() {
        let idle = Duration::from_millis(1);
        let procs = ProcessPool::builder().workers(0..=2).idle_timeout(idle).build().unwrap();
        assert_eq!(procs.stats().started, 0);
        for n in 0..3_u32 {
            assert_eq!(procs.spawn(n, |n: u32| n + 1).join().unwrap(), n + 1);
            until(|| workers(&procs) == 0);
        }
        assert_eq!(procs.stats().died, 0);
    }

    fn a_number_of_workers_stays() {
        let idle = Duration::ZERO;
        let procs = ProcessPool::builder().workers(2).idle_timeout(idle).build().unwrap();
        let before: HashSet<u32> = procs.worker_pids().into_iter().collect();
        assert_eq!(procs.map(0..1000, |n: u32| n + 1).unwrap().len(), 1000);
        assert_eq!(procs.worker_pids().into_iter().collect::<HashSet<_>>(), before);
        assert_eq!(before.len(), 2);
    }

    fn a_pool_becomes_wider_and_narrower() {
        let procs = ProcessPool::with_workers(1).unwrap();
        let open = Scratch::new("width-set");
        let path = open.text() + ".now";
        let notes = Scratch::new("width-begun");
        procs.set_workers(4);
        until(|| workers(&procs) == 4);
        let calls: Vec<_> = (0..4)
            .map(|_| procs.spawn((notes.text(), path.clone()), begins_and_waits))
            .collect();
        until(|| notes.notes().len() == 4);
        let later: Vec<_> = (0..20_u32).map(|n| procs.spawn(n, |n: u32| n + 1)).collect();
        procs.set_workers(1);
        assert_eq!(procs.num_workers(), 1);
        std::fs::write(&path, "").unwrap();
        // What has begun ends in its own worker, and what has not runs in the one that stays.
        assert_eq!(different(calls), 4);
        for (n, call) in later.into_iter().enumerate() {
            assert_eq!(call.join().unwrap(), n as u32 + 1);
        }
        until(|| workers(&procs) == 1);
        let stats = procs.stats();
        assert_eq!((stats.died, stats.failed, stats.pending), (0, 0, 0));
        procs.set_workers(0);
        assert_eq!(procs.num_workers(), 1);
        procs.set_workers(0..=2);
        assert_eq!(procs.map(0..100, |n: u32| n + 1).unwrap().len(), 100);
        std::fs::remove_file(&path).unwrap();
    }

    fn copies_of_a_fork_server_come_and_leave_too() {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) || support::is_plain() {
            return;
        }
        let builder = ProcessPool::builder().workers(0..=2).idle_timeout(Duration::from_millis(1));
        let procs = builder.start_method(StartMethod::ForkServer).build().unwrap();
        for n in 0..3_u32 {
            assert_eq!(procs.spawn(n, |n: u32| n + 1).join().unwrap(), n + 1);
            until(|| workers(&procs) == 0);
        }
        procs.set_workers(3);
        until(|| workers(&procs) == 3);
        assert_eq!(procs.stats().died, 0);
    }

    fn the_width_changes_under_load() {
        let procs = ProcessPool::with_workers(2).unwrap();
        let all = std::thread::scope(|scope| {
            let map = scope.spawn(|| procs.map(0..20_000, |n: u32| n + 1).unwrap());
            for width in [1, 4, 2, 3, 1, 2].iter().cycle().take(60) {
                procs.set_workers(*width);
                std::thread::yield_now();
            }
            map.join().unwrap()
        });
        assert!(all.into_iter().eq(1..=20_000));
        until(|| workers(&procs) == 2);
        assert_eq!(procs.stats().died, 0);
    }

    fn what_waits_for_the_first_worker_is_done_before_the_end() {
        let procs = ProcessPool::builder().workers(0..=2).build().unwrap();
        let calls: Vec<_> = (0..20_u32).map(|n| procs.spawn(n, |n: u32| n + 1)).collect();
        procs.shutdown(Shutdown::Wait);
        procs.set_workers(4);
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.join().unwrap(), n as u32 + 1);
        }
        assert_eq!(workers(&procs), 0);
    }

    fn a_death_costs_one_item_while_the_width_changes() {
        let idle = Duration::from_millis(1);
        let procs = ProcessPool::builder().workers(0..=3).idle_timeout(idle).build().unwrap();
        let dies = |n: u32| if n.is_multiple_of(3) { std::process::abort() } else { n };
        for least in 1..=3 {
            let results = procs.map_each(0..30, dies);
            for (n, result) in (0..30).zip(results) {
                assert_eq!(result.ok(), (n % 3 != 0).then_some(n));
            }
            procs.set_workers(least..=3);
        }
        // Kills of workers that come and go.
        std::thread::scope(|scope| {
            let map = scope.spawn(|| procs.call(|n: u32| n).retry(u32::MAX).map(0..2000).unwrap());
            for width in [1, 2, 3, 4].iter().cycle().take(60) {
                procs.set_workers(*width);
                if let Some(pid) = procs.worker_pids().first() {
                    procs.replace_worker(*pid);
                }
            }
            assert!(map.join().unwrap().into_iter().eq(0..2000));
        });
        assert_eq!(procs.stats().pending, 0);
    }

    /// A worker whose initializer never ends is the first to leave: otherwise nobody would be left.
    fn who_takes_no_items_leaves_first() {
        for method in methods() {
            let hangs = || if worker_index() == Some(1) { forever::<()>() };
            let builder = ProcessPool::builder().workers(1).start_method(method);
            let procs = builder.after_fork(hangs).build().unwrap();
            let first = procs.spawn(0, |_: u32| std::process::id()).join().unwrap();
            procs.set_workers(2);
            until(|| procs.worker_pids().len() == 2 && procs.stats().starting == 1);
            procs.set_workers(1);
            until(|| workers(&procs) == 1);
            assert_eq!(procs.worker_pids(), [first]);
            assert_eq!(procs.map(0..10, |n: u32| n + 1).unwrap().len(), 10);
        }
    }

    fn many_threads_set_the_width() {
        for method in methods() {
            let procs = ProcessPool::builder().workers(1..=3).start_method(method).build().unwrap();
            for round in 0..4 {
                let all = std::thread::scope(|scope| {
                    for number in 1..=3 {
                        let procs = &procs;
                        let mut dice = Dice(number + 9 * round);
                        scope.spawn(move || {
                            for _ in 0..200 {
                                let most = 1 + dice.roll(4) as usize;
                                procs.set_workers(dice.roll(most as u64 + 1) as usize..=most);
                            }
                            procs.set_workers(number as usize);
                        });
                    }
                    procs.map(0..2000, |n: u32| n + 1).unwrap()
                });
                assert!(all.into_iter().eq(1..=2000));
                until(|| workers(&procs) == procs.num_workers());
            }
            assert_eq!((procs.stats().died, procs.stats().pending), (0, 0));
        }
    }

    fn zero_means_what_was_built() {
        let builder = ProcessPool::builder().workers(0..=2).idle_timeout(Duration::ZERO);
        let procs = builder.build().unwrap();
        procs.set_workers(4);
        until(|| workers(&procs) == 4);
        procs.set_workers(0..=0);
        assert_eq!(procs.num_workers(), 2);
        until(|| workers(&procs) == 0);
        assert_eq!(procs.map(0..100, |n: u32| n + 1).unwrap().len(), 100);
    }

    /// Nothing is lost while workers are replaced after each few items, by the user, because they
    /// ask for it, and because there are to be fewer.
    fn all_that_changes_workers_at_once() {
        for method in methods() {
            let builder = ProcessPool::builder().workers(1..=3).start_method(method);
            let builder = builder.idle_timeout(Duration::from_millis(1)).max_tasks_per_worker(3);
            let procs = builder.build().unwrap();
            let over = AtomicBool::new(false);
            let item = |n: u32| {
                if n.is_multiple_of(7) {
                    retire();
                }
                n
            };
            let all = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut dice = Dice(5);
                    while !over.load(Ordering::Relaxed) {
                        match dice.roll(4) {
                            0 => procs.set_workers(0..=1 + dice.roll(3) as usize),
                            1 => procs.set_workers(1 + dice.roll(3) as usize),
                            _ => {
                                procs.worker_pids().first().map(|pid| procs.replace_worker(*pid));
                            }
                        }
                        std::thread::sleep(Duration::from_micros(dice.roll(3000)));
                    }
                });
                let all = procs.call(item).retry(u32::MAX).map(0..200).unwrap();
                over.store(true, Ordering::Relaxed);
                all
            });
            assert!(all.into_iter().eq(0..200));
            procs.set_workers(2);
            until(|| workers(&procs) == 2);
            assert_eq!((procs.stats().pending, procs.stats().failed), (0, 0));
        }
    }

    fn bounds_that_cannot_be_are_errors() {
        let built = |least, most| ProcessPool::builder().workers(least..=most).build();
        assert!(matches!(built(3, 2), Err(PoolError::Start(_))));
        assert!(built(3, 0).is_err() && built(1, 70_000).is_err());
        assert!(built(3, 2).unwrap_err().to_string().contains("from 3 to 2 workers"));
        let procs = ProcessPool::with_workers(1).unwrap();
        let set = |least, most| {
            catch_unwind(AssertUnwindSafe(|| procs.set_workers(least..=most))).is_err()
        };
        assert!(set(3, 2) && set(1, 70_000) && !set(1, 2));
        procs.kill();
        procs.set_workers(2);
        assert_eq!(workers(&procs), 0);
    }
}
