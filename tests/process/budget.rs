//! Memory as a limit of admission: no more items run than fit.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::support::{Scratch, Test, forever, is_there, kill, note, tests, until};

use std::time::Duration;

use crate::wrapped::Wrapped;
use trefoil::{PoolError, ProcessPool, TaskError};

/// So many bytes are more than half of any machine's memory.
const HUGE: u64 = 1 << 60;

fn pool(workers: usize) -> ProcessPool {
    ProcessPool::builder()
        .workers(workers)
        .memory_budget(0.5)
        .build()
        .unwrap()
}

/// Notes 1 at its beginning and 2 at its end.
fn noted(path: String) {
    note(&path, 1);
    std::thread::sleep(Duration::from_millis(5));
    note(&path, 2);
}

fn notes_its_process(path: String) {
    note(&path, std::process::id().into());
    forever::<()>();
}

tests! {
    fn items_that_do_not_fit_wait() {
        if !cfg!(target_os = "linux") {
            assert!(matches!(ProcessPool::builder().memory_budget(0.5).build(), Err(PoolError::Start(_))));
            return;
        }
        let procs = pool(4);
        let scratch = Scratch::new("budget");
        let large = procs.call(noted).expected_memory(HUGE);
        let tasks = [large.map_task((0..8).map(|_| scratch.text())), large.map_task([scratch.text()])];
        for task in tasks {
            task.join().unwrap();
        }
        for pair in scratch.notes().chunks(2) {
            assert_eq!(pair, [1, 2], "one at a time");
        }
        assert_eq!(scratch.notes().len(), 18);
        // Small ones run side by side: each waits for the other.
        let meet = |path: String| {
            note(&path, 1);
            until(|| std::fs::metadata(&path).unwrap().len() == 16);
        };
        let scratch = Scratch::new("meet");
        procs.call(meet).expected_memory(1 << 10).map([scratch.text(), scratch.text()]).unwrap();
    }

    fn those_without_a_declaration_go_on() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let procs = pool(2);
        let scratch = Scratch::new("free");
        let large = procs.call(notes_its_process).expected_memory(HUGE);
        let tasks = [large.spawn(scratch.text()), large.spawn(scratch.text())];
        until(|| scratch.notes().len() == 1);
        assert_eq!(procs.map(0..1000, |n: u32| n).unwrap().len(), 1000);
        assert_eq!(scratch.notes().len(), 1, "the second waits");
        // Memory comes back with a death. (Either of the two may have begun first.)
        kill(scratch.notes()[0] as u32);
        until(|| scratch.notes().len() == 2);
        let pids = scratch.notes();
        assert!(!is_there(pids[0] as u32));
        kill(pids[1] as u32);
        for task in tasks {
            assert!(matches!(task.join(), Err(TaskError::WorkerDied(_))));
        }
        assert_eq!(procs.stats().pending, 0);
    }

    fn a_launcher_has_no_budget() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let builder = ProcessPool::builder().workers(1).memory_budget(0.5);
        let error = builder.launcher(Wrapped::new(["nice", "{exe}"])).build().unwrap_err();
        assert!(matches!(&error, PoolError::Launcher(why) if why.contains("memory_budget")), "{error}");
    }
}
