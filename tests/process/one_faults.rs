//! Attacks on `Process`: whatever the program around it does, and whatever the function does to its
//! process, `join` returns, and nothing is left behind.
#![allow(
    unsafe_code,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::support;

#[cfg(unix)]
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};
use support::{
    KILLED, Scratch, TERMINATED, Test, census, end_of, forever, helper, is_there, kill, note,
    nothing_left_since, run_helper, suspend, tests, until,
};
use trefoil::task::WorkerExit;
use trefoil::{PoolError, Process, ProcessBuilder, Task, TaskError};

pub(crate) fn helpers() {
    helper(&[
        #[cfg(unix)]
        ("starved", starved),
        #[cfg(unix)]
        ("robbed", robbed),
    ]);
}

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the process should have died: {other:?}"),
    }
}

/// A program with only a few descriptors.
#[cfg(unix)]
fn starved() {
    let before = census();
    let limit = Rlimit {
        current: Some(40),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut running = Vec::new();
    let refused = loop {
        match Process::spawn((), |()| forever::<()>()) {
            Ok(process) => running.push(process),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, PoolError::Start(_)), "{refused}");
    assert!(running.len() > 1);
    for _ in 0..20 {
        assert!(Process::spawn((), |()| forever::<()>()).is_err());
    }
    assert!(running.iter().all(Process::is_alive));
    running.pop().map(|process| {
        process.kill();
        died(process.join())
    });
    // There are enough descriptors for one again.
    assert_eq!(
        Process::spawn(2, |n: u32| n + 1).unwrap().join().unwrap(),
        3
    );
    for process in running {
        process.kill();
        died(process.join());
    }
    nothing_left_since(before);
}

/// A program in which other code reaps all children.
#[cfg(unix)]
fn robbed() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let thief = std::thread::spawn(|| {
        while !DONE.load(Ordering::SeqCst) {
            let _ = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    });
    for n in 0..30u32 {
        assert_eq!(
            Process::spawn(n, |n: u32| n + 1).unwrap().join().unwrap(),
            n + 1
        );
        let process = Process::spawn((), |()| forever::<()>()).unwrap();
        process.kill();
        process.kill();
        let exit = died(process.join());
        assert!(matches!(exit.signal(), None | Some(9)), "{exit:?}");
    }
    DONE.store(true, Ordering::SeqCst);
    thief.join().unwrap();
}

/// Closes all sockets, whichever code owns them.
#[cfg(unix)]
fn close_sockets() {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let sockets: Vec<i32> = open
        .map(|fd| fd.unwrap())
        .filter(|fd| {
            std::fs::read_link(fd.path())
                .is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        })
        .map(|fd| fd.file_name().to_str().unwrap().parse().unwrap())
        .collect();
    assert!(!sockets.is_empty());
    for fd in sockets {
        // SAFETY: it is open. That other code owns it is the attack, and the process ends by it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

tests! {
    fn handles_and_builders_go_anywhere() {
        fn goes<T: Send + Sync + 'static>() {}
        goes::<Process<u32>>();
        goes::<ProcessBuilder>();
        let process = Process::spawn(4, |n: u32| n * 2).unwrap();
        let shared = std::sync::Arc::new(process);
        let threads: Vec<_> = (0..4).map(|_| {
            let process = shared.clone();
            std::thread::spawn(move || (process.pid(), process.is_alive()))
        }).collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap().0, shared.pid()));
        assert_eq!(std::sync::Arc::into_inner(shared).unwrap().join().unwrap(), 8);
    }

    #[cfg(unix)]
    fn without_descriptors_it_is_an_error_and_nothing_is_left() {
        run_helper("starved");
    }

    #[cfg(unix)]
    fn reaped_by_others() {
        run_helper("robbed");
    }

    fn the_thread_that_started_it_may_end() {
        let scratch = Scratch::new("thread");
        let path = scratch.text();
        let process = std::thread::spawn(move || {
            Process::spawn(path, |path: String| until(|| std::fs::read(&path).unwrap().len() > 8)).unwrap()
        }).join().unwrap();
        note(&scratch.text(), 1);
        assert!(process.is_alive());
        note(&scratch.text(), 2);
        process.join().unwrap();
    }

    fn late_signals_reach_no_other_process() {
        let before = census();
        // Another child runs beside it, in case a process number is used again.
        let mut bystander = support::sleeper().spawn().unwrap();
        for n in 0..40 {
            let process = Process::spawn(n, |n: u32| n).unwrap();
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let (process, stop) = (&process, &stop);
                for _ in 0..2 {
                    scope.spawn(move || while !stop.load(Ordering::SeqCst) {
                        if n % 2 == 0 { process.terminate() } else { process.kill() }
                    });
                }
                until(|| !process.is_alive());
                stop.store(true, Ordering::SeqCst);
            });
            match process.join() {
                Ok(value) => assert_eq!(value, n),
                result => assert_eq!(end_of(&died(result)), if n % 2 == 0 { TERMINATED } else { KILLED }),
            }
        }
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
        nothing_left_since(before);
    }

    #[cfg(unix)]
    fn a_function_that_closes_what_is_not_its_own() {
        for _ in 0..5 {
            let begin = Instant::now();
            match Process::spawn((), |()| -> u32 { close_sockets(); 5 }).unwrap().join() {
                Ok(five) => assert_eq!(five, 5), // it is in shared memory by then, so it may arrive
                result => drop(died(result)),
            }
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
    }

    fn a_function_that_leaves_threads_and_children_behind() {
        let before = census();
        let process = Process::spawn((), |()| {
            std::thread::spawn(forever::<()>);
            // A child that keeps the standard streams open.
            support::sleeper().spawn().unwrap().id()
        }).unwrap();
        let pid = process.pid();
        let child = process.join().unwrap();
        assert!(!is_there(pid));
        nothing_left_since(before);
        kill(child);
    }

    fn an_exit_that_takes_for_ever_is_cut_short() {
        struct Slow;
        impl Drop for Slow {
            fn drop(&mut self) {
                forever::<()>();
            }
        }
        thread_local! { static SLOW: Slow = const { Slow }; }
        let begin = Instant::now();
        let process = Process::spawn(6, |n: u32| SLOW.with(|_| n)).unwrap();
        assert_eq!(process.join().unwrap(), 6);
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    fn stopped_in_its_last_steps_it_can_still_be_ended() {
        // Stops itself from another thread, some time after the function has returned.
        let process = Process::spawn((), |()| {
            let own = std::process::id();
            std::thread::spawn(move || suspend(own));
        }).unwrap();
        // It was either stopped before it could answer, and is killed, or stopped afterwards.
        let begin = Instant::now();
        until(|| !process.is_alive() || begin.elapsed() > Duration::from_secs(3));
        process.kill();
        let result = process.join();
        assert!(result.is_ok() || end_of(&died(result)) == KILLED);
    }

    fn hundreds_of_detached_tasks() {
        let before = census();
        let scratch = Scratch::new("hundreds");
        for _ in 0..100 {
            let task: Task<()> = Process::spawn(scratch.text(), |path: String| note(&path, 1)).unwrap().into_task();
            task.detach();
        }
        until(|| scratch.notes().len() == 100);
        nothing_left_since(before);
    }
}
