//! Worker processes, from outside.
//!
//! This binary is its own worker, so `main` is its own too (`harness = false`): ten lines
//! that run the functions of [`TESTS`] the way libtest would. Nothing sleeps in order to
//! pass; what could hang is ended by the watchdog, which aborts.

mod support;

use std::time::{Duration, Instant};

use support::{Test, helper, tests};
use trefoil::process::{ProcessPool, WorkerStdout};
use trefoil::task::WorkerExit;
use trefoil::{PoolError, Shutdown, Task, TaskError};

fn main() {
    helper(); // before `init`: some helpers are programs that forgot it
    trefoil::init();
    support::main(TESTS);
}

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the worker should have died: {other:?}"),
    }
}

tests! {
    fn spawn_answers() {
        let procs = ProcessPool::with_workers(2).unwrap();
        assert_eq!(procs.worker_pids().len(), 2);
        let task = procs.spawn((3u64, "x".to_owned()), |(n, s)| s.repeat(n as usize));
        assert_eq!(task.join().unwrap(), "xxx");
        let here = std::process::id();
        assert_ne!(procs.spawn((), |()| std::process::id()).join().unwrap(), here);
    }

    fn map_is_ordered() {
        let procs = ProcessPool::with_workers(2).unwrap();
        let doubled = procs.map(0..100_000u64, |x| x * 2).unwrap();
        assert!(doubled.iter().enumerate().all(|(i, x)| *x == 2 * i as u64));
        assert_eq!(doubled.len(), 100_000);
        let none: Vec<u64> = procs.map(Vec::<u64>::new(), |x| x).unwrap();
        assert!(none.is_empty());
    }
}
