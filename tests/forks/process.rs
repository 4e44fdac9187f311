//! A forked child and the process pools of its parent: every call in the child ends with an error,
//! none hangs, and the parent is not affected.
//!
//! Each test forks. The child does its part and ends with `_exit`; the parent waits for it with a
//! deadline, and kills it if it hangs.
#![allow(
    unsafe_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::children;
use crate::support;

use std::time::Duration;

use children::{in_child, split};
use support::{Test, pool, tests};
use trefoil::{Bulk, Completer, Process, Shutdown, TaskError};

fn double(n: u64) -> u64 {
    n * 2
}

tests! {
    fn a_child_sees_a_closed_pool() {
        let procs = pool(2);
        assert_eq!(procs.spawn(1, double).join().unwrap(), 2);
        let before = procs.worker_pids();
        in_child(|| {
            let closed = |error: TaskError| assert!(matches!(error, TaskError::Closed), "{error}");
            closed(procs.spawn(2, double).join().unwrap_err());
            closed(procs.map(0..100, double).unwrap_err());
            closed(procs.map_with(&1, 0..100, |one: &u64, n: u64| one + n).unwrap_err());
            let mut lazy = procs.imap(0..100, double);
            closed(lazy.next().unwrap().unwrap_err());
            drop(lazy);
            procs.spawn(2, double).cancel();
            assert_eq!((procs.num_workers(), procs.worker_pids().len()), (2, 0));
            assert!(format!("{procs:?} {:?}", procs.stats()).contains("ProcessPool"));
            procs.shutdown(Shutdown::Wait);
            procs.shutdown_timeout(Shutdown::CancelPending, Duration::from_secs(1));
            procs.kill();
        });
        assert_eq!(procs.spawn(3, double).join().unwrap(), 6);
        assert_eq!(procs.map(0..100, double).unwrap()[99], 198);
        assert_eq!((procs.worker_pids(), procs.stats().died), (before, 0));
    }

    fn a_child_does_not_touch_what_its_parent_has_lent() {
        let mut procs = Some(pool(2));
        let slow = |bulk: Bulk<u8>| {
            std::thread::sleep(Duration::from_millis(100));
            Bulk::from(bulk.to_vec())
        };
        let lent = |n: u8| Bulk::from(vec![n; 1 << 20]);
        let tasks: Vec<_> = (0..10u8)
            .map(|n| procs.as_ref().unwrap().spawn(lent(n), slow))
            .collect();
        in_child(|| {
            let procs = procs.take().unwrap();
            for n in 0..20 {
                let refused = procs.spawn(lent(100 + n), slow).join();
                assert!(matches!(refused, Err(TaskError::Closed)), "{refused:?}");
            }
            drop(procs);
        });
        let procs = procs.unwrap();
        for (n, task) in tasks.into_iter().enumerate() {
            assert!(task.join().unwrap().iter().all(|byte| *byte == n as u8));
        }
        assert_eq!(procs.spawn(lent(7), |bulk| bulk).join().unwrap(), lent(7));
    }

    fn a_child_drops_what_is_its_parents() {
        let mut procs = Some(pool(2));
        let mut process = Some(Process::spawn((), |()| support::forever::<u64>()).unwrap());
        let pids = procs.as_ref().unwrap().worker_pids();
        in_child(|| {
            drop(procs.take());
            drop(process.take());
        });
        in_child(|| {
            let process = process.take().unwrap();
            process.terminate();
            process.kill();
            assert!(!process.is_alive(), "it is no process of this one");
            let joined = process.join();
            assert!(matches!(joined, Err(TaskError::Closed)), "{joined:?}");
        });
        let (procs, process) = (procs.unwrap(), process.unwrap());
        assert_eq!(procs.worker_pids(), pids);
        assert_eq!(procs.map(0..100, double).unwrap()[99], 198);
        assert!(process.is_alive());
        process.kill();
        assert!(matches!(process.join(), Err(TaskError::WorkerDied(_))));
    }

    fn what_had_begun_is_the_parents() {
        let procs = pool(2);
        let mut task = Some(procs.spawn((), |()| support::forever::<()>()));
        let mut lazy = Some(procs.imap(0..1000, double).buffer(4));
        assert_eq!(lazy.as_mut().unwrap().next().unwrap().unwrap(), 0);
        in_child(|| {
            let joined = task.take().unwrap().join();
            assert!(matches!(joined, Err(TaskError::Closed)), "{joined:?}");
            let lazy = lazy.take().unwrap();
            // Results that had arrived before the fork are there, and then the error.
            let last = lazy.last().unwrap();
            assert!(matches!(last, Err(TaskError::Closed)), "{last:?}");
        });
        in_child(|| {
            task.take().unwrap().cancel();
            drop(lazy.take());
        });
        let rest: Vec<u64> = lazy.unwrap().map(Result::unwrap).collect();
        assert!(rest.into_iter().eq((1..1000).map(double)));
        let task = task.unwrap();
        assert!(!task.is_finished());
        task.cancel();
        assert_eq!(procs.stats().failed, 0);
    }

    fn what_comes_of_a_parents_call_has_ended_too() {
        let procs = pool(1);
        let mut runs = Some(procs.spawn((), |()| support::forever::<u64>()).map(|n| n + 1));
        let mut again = Some(procs.spawn(1, double).map(|n| n + 1).map(|n| n.to_string()));
        let mut all = Some(procs.call(double).map_task(0..10u64).map(|all| all.len()));
        let mut waits = Some(procs.spawn(1, double).map(|n| n + 1));
        let mut group = Some([procs.spawn(1, double).map(|n| n + 1), procs.spawn(2, double)]);
        let shared = procs.spawn(3, double).shared();
        let shared_later = procs.spawn(3, double).map(|n| n + 1).shared();
        in_child(|| {
            fn closed<T: std::fmt::Debug>(result: Result<T, TaskError>) {
                assert!(matches!(result, Err(TaskError::Closed)), "{result:?}");
            }
            let mut runs = runs.take().unwrap();
            assert!(runs.is_finished());
            closed(runs.join_timeout(Duration::from_secs(5)));
            closed(runs.join());
            closed(again.take().unwrap().join());
            closed(all.take().unwrap().join());
            let waits = trefoil::timeout(Duration::from_secs(5), waits.take().unwrap()).join();
            closed(waits.unwrap());
            trefoil::join_all(group.take().unwrap()).join().into_iter().for_each(closed);
            for shared in [&shared, &shared_later] {
                assert!(shared.is_finished());
                closed(shared.join());
                closed(shared.clone().try_join().unwrap());
            }
            // A task that is derived from it here is closed, too; promises that no pool completes
            // are not.
            closed(procs.spawn(1, double).map(|n| n + 1).join());
            let (completer, task) = Completer::new();
            let task = task.map(|n: u64| n + 1);
            completer.complete(Ok(1));
            assert_eq!(task.join().unwrap(), 2);
        });
        let (completer, task) = Completer::new();
        let mut kept = Some((completer, task.map(|n: u64| n + 1)));
        in_child(|| {
            let (completer, task) = kept.take().unwrap();
            assert!(!task.is_finished());
            completer.complete(Ok(1));
            assert_eq!(task.join().unwrap(), 2);
        });
        let (completer, task) = kept.unwrap();
        completer.complete(Ok(2));
        assert_eq!(task.join().unwrap(), 3);
        runs.unwrap().cancel();
        assert_eq!(again.unwrap().join().unwrap(), "3");
        assert_eq!(all.unwrap().join().unwrap(), 10);
        assert_eq!((shared.join().unwrap(), shared_later.join().unwrap()), (6, 7));
    }

    fn a_child_makes_pools_of_its_own() {
        let procs = pool(1);
        in_child(|| {
            let own = pool(2);
            assert_eq!(own.map(0..100, double).unwrap()[99], 198);
            assert_eq!(own.spawn(3, double).join().unwrap(), 6);
            own.shutdown(Shutdown::Wait);
            assert_eq!(Process::spawn(4, double).unwrap().join().unwrap(), 8);
        });
        assert_eq!(procs.spawn(3, double).join().unwrap(), 6);
    }

    /// A child of a worker that returns from the item ends, because only the worker itself may
    /// answer.
    fn a_child_of_a_worker_that_returns_ends() {
        let procs = pool(1);
        let twice = |n: u64| {
            split();
            n * 2
        };
        for n in 0..20 {
            assert_eq!(procs.spawn(n, twice).join().unwrap(), n * 2);
            assert_eq!(procs.spawn(n, double).join().unwrap(), n * 2);
        }
        let many = procs.map(0..50u64, twice).unwrap();
        assert!(many.into_iter().eq((0..50).map(double)));
        assert_eq!(procs.stats().died, 0);
    }
}
