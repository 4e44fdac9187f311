//! `Process`, one function in a separate process: its arguments, its results, its end.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{abort, exit};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::process::Signal;
#[cfg(unix)]
use support::signal;
use support::{
    ABORTED, INTERRUPTED, KILLED, Odd, Scratch, TERMINATED, Test, census, end_of, forever, helper,
    is_dead, is_suspended, is_there, kill, note, nothing_left_since, run_helper, start_helper,
    suspend, tests, until,
};
use trefoil::process::WorkerStdout;
use trefoil::task::WorkerExit;
use trefoil::{CancelToken, PoolError, Process, ProcessPool, Task, TaskError, TaskGroup, race};

pub(crate) fn helpers_before_init() {
    helper(&[("one_uninitialized", uninitialized)]);
}

pub(crate) fn helpers() {
    helper(&[("parent", parent), ("leaves", leaves), ("unheard", unheard)]);
}

/// Does not call `init`; with the feature `auto` that is not needed.
fn uninitialized() {
    let early = Process::spawn((), |()| ());
    match cfg!(feature = "auto") {
        true => early.unwrap().join().unwrap(),
        false => assert!(matches!(early, Err(PoolError::NotInitialized)), "{early:?}"),
    }
    trefoil::init();
    Process::spawn((), |()| ()).unwrap().join().unwrap();
}

/// Prints the id of its process, and waits to be killed.
fn parent() {
    let process = Process::spawn((), endless).unwrap();
    println!("{}", process.pid());
    drop(process);
    forever::<()>();
}

/// Ends while its `Process` runs.
fn leaves() {
    let process = Process::spawn((), endless).unwrap();
    println!("{}", process.pid());
}

/// A process fails that is not joined.
fn unheard() {
    let process = Process::builder()
        .name("lonely")
        .spawn((), |()| -> () { exit(9) });
    drop(process.unwrap());
    until(|| matches!(census(), (_, 1, false)));
}

/// As an item's function.
fn endless(_: ()) {
    forever::<()>();
}

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the process should have died: {other:?}"),
    }
}

/// Its name in lists of processes.
fn shown(pid: u32) -> String {
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.trim_end().to_owned()
}

/// Waits until the file has a number, and returns it.
fn wait_for(path: String) -> u64 {
    loop {
        if let Some(number) = std::fs::read(&path).unwrap().first_chunk::<8>() {
            return u64::from_ne_bytes(*number);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Notes the process that runs it, then runs for ever.
fn noted(path: String) {
    note(&path, std::process::id().into());
    forever::<()>();
}

fn descend(depth: u32) -> Result<u32, String> {
    match Process::spawn(depth + 1, descend) {
        Ok(process) => process.join().map_err(|error| error.to_string())?,
        Err(PoolError::TooDeep { limit, .. }) if limit == depth => Ok(depth),
        Err(error) => Err(format!("at {depth}: {error}")),
    }
}

tests! {
    fn it_runs_elsewhere_and_ends() {
        let process = Process::spawn(5u64, |n: u64| (n * n, std::process::id())).unwrap();
        let pid = process.pid();
        assert_ne!(pid, std::process::id());
        let (square, who) = process.join().unwrap();
        assert_eq!((square, who), (25, pid));
        assert!(!is_there(pid), "joined, so reaped");
    }

    fn it_is_alive_until_it_has_ended() {
        let scratch = Scratch::new("alive");
        let process = Process::builder().name("A").spawn(scratch.text(), wait_for).unwrap();
        assert!(process.is_alive() && is_there(process.pid()));
        note(&scratch.text(), 42);
        until(|| !process.is_alive());
        assert!(!process.is_alive());
        process.kill(); // no effect
        process.terminate();
        assert_eq!(process.join().unwrap(), 42);
    }

    fn the_name_is_seen_from_everywhere() {
        let scratch = Scratch::new("name");
        let name = "walker, of the north \u{e9}";
        let process = Process::builder().name(name).spawn(scratch.text(), wait_for).unwrap();
        assert_eq!(process.name(), name);
        assert!(format!("{process:?}").contains(name));
        let pid = process.pid();
        until(|| cfg!(windows) || shown(pid) == "walker, of the");
        note(&scratch.text(), 1);
        process.join().unwrap();
        let one = Process::spawn((), |()| ()).unwrap();
        let two = Process::spawn((), |()| ()).unwrap();
        assert!(one.name().starts_with("process-") && one.name() != two.name());
        let (first, second) = (one.join(), two.join());
        assert!(first.is_ok() && second.is_ok());
    }

    fn a_name_that_splits_a_letter_or_holds_nothing_or_nul() {
        let scratch = Scratch::new("letter");
        let process = Process::builder().name("fifteen bytes \u{e9}").spawn(scratch.text(), wait_for).unwrap();
        until(|| cfg!(windows) || shown(process.pid()) == "fifteen bytes");
        process.kill();
        assert_eq!(end_of(&died(process.join())), KILLED);
        assert_eq!(Process::builder().name("").spawn(1, |n: i32| n).unwrap().join().unwrap(), 1);
        let before = census();
        let refused = Process::builder().name("a\0b").spawn(1, |n: i32| n);
        assert!(matches!(refused, Err(PoolError::Start(_))), "{refused:?}");
        nothing_left_since(before);
    }

    fn terminate_interrupt_and_kill_are_signals() {
        let scratch = Scratch::new("signals");
        let ways = [
            (Process::terminate as fn(&Process<()>), TERMINATED),
            (Process::interrupt, INTERRUPTED),
            (Process::kill, KILLED),
        ];
        for (how, ended) in ways {
            let before = scratch.notes().len();
            let process = Process::spawn(scratch.text(), noted).unwrap();
            until(|| scratch.notes().len() > before);
            let pid = process.pid();
            how(&process);
            let end = died(process.join());
            assert_eq!((end.pid(), end_of(&end), end.attempts()), (pid, ended, 1));
        }
    }

    fn killed_before_it_has_begun() {
        for _ in 0..20 {
            let process = Process::spawn((), endless).unwrap();
            process.kill();
            assert_eq!(end_of(&died(process.join())), KILLED);
        }
    }

    fn killed_from_outside_it_is_not_started_again() {
        let scratch = Scratch::new("again");
        let process = Process::spawn(scratch.text(), noted).unwrap();
        until(|| !scratch.notes().is_empty());
        kill(process.pid());
        until(|| !process.is_alive());
        let pid = process.pid();
        let end = died(process.join());
        assert_eq!((end_of(&end), end.pid()), (KILLED, pid));
        assert_eq!(scratch.notes(), [u64::from(pid)]);
    }

    #[cfg(unix)]
    fn a_signal_that_ends_it_is_told() {
        let scratch = Scratch::new("signal");
        let process = Process::spawn(scratch.text(), noted).unwrap();
        until(|| !scratch.notes().is_empty());
        signal(process.pid(), Signal::USR1);
        assert_eq!(end_of(&died(process.join())), (None, Some(10)));
    }

    fn a_stopped_process_can_be_killed() {
        let process = Process::spawn((), endless).unwrap();
        suspend(process.pid());
        until(|| is_suspended(process.pid()));
        assert!(process.is_alive());
        if cfg!(unix) {
            process.terminate(); // waits with it
            assert!(process.is_alive());
        }
        process.kill();
        assert_eq!(end_of(&died(process.join())), KILLED);
    }

    fn kill_takes_its_children_along() {
        let scratch = Scratch::new("children");
        let process = Process::spawn(scratch.text(), |path: String| {
            let child = support::sleeper().spawn().unwrap();
            note(&path, child.id().into());
            forever::<()>();
            drop(child);
        }).unwrap();
        until(|| !scratch.notes().is_empty());
        process.kill();
        died(process.join());
        let child = scratch.notes()[0] as u32;
        until(|| is_dead(child));
    }

    fn what_its_function_started_ends_with_it() {
        let process = Process::spawn((), |()| support::sleeper().spawn().unwrap().id());
        let child = process.unwrap().join().unwrap();
        until(|| is_dead(child));
    }

    fn how_it_ended_is_told() {
        let end = died(Process::spawn(3, |code: i32| -> () { eprintln!("last words"); exit(code) }).unwrap().join());
        assert_eq!((end.code(), end.signal()), (Some(3), None), "{end}");
        assert!(end.stderr_tail().contains("last words"), "{end}");
        let end = died(Process::spawn(0, |code: i32| -> () { exit(code) }).unwrap().join());
        assert_eq!((end.code(), end.signal()), (Some(0), None), "without a result it is a death: {end}");
        let end = died(Process::spawn((), |()| -> () { abort() }).unwrap().join());
        assert_eq!(end_of(&end), ABORTED);
    }

    fn a_panic_comes_back() {
        let process = Process::builder().name("B").spawn(7, |n: u32| -> u32 { panic!("no {n}") }).unwrap();
        let pid = process.pid();
        let Err(TaskError::Panicked(panic)) = process.join() else { panic!("it should panic") };
        assert_eq!(panic.message(), "no 7");
        assert_eq!(panic.worker(), format!("B (process {pid})"));
        assert!(panic.location().is_some_and(|place| place.file().ends_with("process/one.rs")));
        assert!(!is_there(pid));
    }

    fn what_cannot_travel() {
        let before = census();
        let refused = Process::spawn(Odd(1), |odd: Odd| odd.0);
        let Err(PoolError::Argument(TaskError::Codec(error))) = refused else { panic!("{refused:?}") };
        assert!(error.type_name().contains("Odd"));
        nothing_left_since(before);
        for (result, at) in [
            (Process::spawn(Odd(2), |odd: Odd| odd).unwrap().join(), "argument"),
            (Process::spawn(1u8, Odd).unwrap().join(), "result"),
            (Process::spawn(2u8, Odd).unwrap().join(), "result"),
        ] {
            let Err(TaskError::Codec(error)) = result else { panic!("{at}: {result:?}") };
            assert!(error.to_string().contains("Odd"), "{at}: {error}");
        }
        assert_eq!(end_of(&died(Process::spawn(Odd(3), |odd: Odd| odd.0).unwrap().join())), ABORTED);
    }

    fn variables_and_output() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let hears = seen.clone();
        let process = Process::builder()
            .env("ANSWER", "42")
            .on_output(move |pid, bytes| hears.lock().unwrap().push((pid, bytes.to_vec())))
            .spawn((), |()| { println!("hello"); std::env::var("ANSWER").unwrap() })
            .unwrap();
        let pid = process.pid();
        assert_eq!(process.join().unwrap(), "42");
        assert_eq!(*seen.lock().unwrap(), [(pid, b"hello\n".to_vec())]);
        let quiet = Process::builder().worker_stdout(WorkerStdout::Null).spawn((), |()| println!("unheard"));
        quiet.unwrap().join().unwrap();
    }

    fn a_memory_limit_holds() {
        // (What is only counted is not allocated at all in a release build.)
        let large = |n: usize| black_box(vec![1u8; n]).len();
        let process = Process::builder().memory_limit(64 << 20).spawn(1 << 30, large);
        assert!(died(process.unwrap().join()).out_of_memory());
    }

    fn cancelling_sets_the_token_then_kills() {
        let scratch = Scratch::new("token");
        let process = Process::builder()
            .grace(Duration::from_secs(600))
            .spawn(scratch.text(), |path: String| {
                let token = CancelToken::current();
                note(&path, 1);
                while !token.is_cancelled() {
                    std::thread::yield_now();
                }
                note(&path, 2);
            })
            .unwrap();
        let pid = process.pid();
        until(|| scratch.notes() == [1]);
        let task = process.into_task();
        assert!(task.cancel());
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        until(|| scratch.notes() == [1, 2] && !is_there(pid));

        let process = Process::builder().grace(Duration::from_millis(5)).spawn((), endless).unwrap();
        let pid = process.pid();
        let token = process.into_task().cancel_on_drop();
        drop(token);
        until(|| !is_there(pid));
    }

    fn a_task_among_others() {
        let slow = Process::spawn((), |()| -> u32 { loop { std::thread::park() } }).unwrap();
        let pid = slow.pid();
        let quick = Process::spawn(4, |n: u32| n + 1).unwrap();
        assert_eq!(race([slow.into_task(), quick.into_task()]).join().unwrap(), 5);
        until(|| !is_there(pid)); // the loser was cancelled

        let group = TaskGroup::new();
        let pid = {
            let slow = Process::spawn((), |()| -> u32 { loop { std::thread::park() } }).unwrap();
            let pid = slow.pid();
            group.add(slow);
            pid
        };
        drop(group);
        until(|| !is_there(pid)); // and so was the member
    }

    fn on_a_loop_one_awaits() {
        let begun = Scratch::new("loop");
        let path = begun.text();
        let answer = trefoil::run(async move {
            let process = Process::spawn(path.clone(), wait_for).unwrap();
            assert!(matches!(process.join(), Err(TaskError::WouldBlock)));
            note(&path, 7);
            Process::spawn(path, wait_for).unwrap().into_task().await
        });
        assert_eq!(answer.unwrap(), 7);
    }

    fn fifty_at_once() {
        let scratch = Scratch::new("fifty");
        let before = census();
        let all: Vec<_> = (0..50u64)
            .map(|n| Process::spawn((n, scratch.text()), |(n, path): (u64, String)| n + wait_for(path)).unwrap())
            .collect();
        assert!(all.iter().all(Process::is_alive));
        note(&scratch.text(), 1000);
        for (n, process) in (0..).zip(all) {
            assert_eq!(process.join().unwrap(), 1000 + n);
        }
        nothing_left_since(before);
    }

    fn dropped_it_runs_on_and_is_reaped() {
        let scratch = Scratch::new("dropped");
        let before = census();
        drop(Process::spawn(scratch.text(), |path: String| note(&path, 5)).unwrap());
        until(|| scratch.notes() == [5]);
        nothing_left_since(before);
    }

    fn an_untaken_failure_is_reported() {
        let (tell, told) = mpsc::channel();
        let process = Process::builder()
            .name("lonely")
            .on_unobserved(move |report| drop(tell.send(report.to_string())))
            .spawn(9, |code: i32| -> () { exit(code) });
        drop(process.unwrap());
        let report = told.recv().unwrap();
        assert!(report.contains("lonely") && report.contains('9'), "{report}");
        assert!(told.recv().is_err(), "once");
        let (_, words) = run_helper("unheard");
        assert!(words.contains("lonely"), "{words}");
    }

    fn no_process_outlives_its_parent() {
        let mut doomed = start_helper("parent");
        let mut line = String::new();
        BufReader::new(doomed.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().unwrap();
        assert!(is_there(pid));
        let begin = Instant::now();
        doomed.kill().unwrap();
        until(|| is_dead(pid));
        println!("gone after {:?}", begin.elapsed());
        doomed.wait().unwrap();
        let (out, _) = run_helper("leaves");
        let pid = out.trim().parse().unwrap();
        until(|| is_dead(pid));
    }

    fn before_init_it_is_an_error() {
        run_helper("one_uninitialized");
    }

    fn processes_have_processes_to_a_depth() {
        assert_eq!(Process::spawn(1, descend).unwrap().join().unwrap(), Ok(20));
        let procs = ProcessPool::with_workers(1).unwrap();
        let inner = procs.spawn(6, |n: u32| Process::spawn(n, |n: u32| n * 7).unwrap().join().unwrap());
        assert_eq!(inner.join().unwrap(), 42);
    }

    fn from_a_callback_of_another() {
        let (tell, told) = mpsc::channel();
        let first = Process::spawn(1, |n: u32| n).unwrap().into_task();
        first.on_done(move |one| {
            let second = Process::spawn(one.unwrap(), |n: u32| n + 1).unwrap();
            second.into_task().on_done(move |two| tell.send(two).unwrap());
        });
        assert_eq!(told.recv().unwrap().unwrap(), 2);
    }

    fn large_arguments_and_results() {
        let bytes = vec![7u8; 8 << 20];
        let back = Process::spawn(bytes.clone(), |bytes: Vec<u8>| bytes).unwrap().join().unwrap();
        assert!(back == bytes);
        // Killed while it reads or runs or writes: never a hang.
        for _ in 0..sample(8) {
            let process = Process::spawn(bytes.clone(), |bytes: Vec<u8>| bytes).unwrap();
            process.kill();
            let result = process.join();
            assert!(matches!(&result, Ok(back) if *back == bytes) || end_of(&died(result)) == KILLED);
        }
    }

    fn random_deaths_leave_nothing() {
        let before = census();
        let begin = Instant::now();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut dead = 0;
        while begin.elapsed() < support::chaos() / 4 || dead == 0 {
            let tasks: Vec<Task<u64>> = (0..4)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let process = Process::spawn(seed >> 50, |micros: u64| {
                        std::thread::sleep(Duration::from_micros(micros));
                        micros
                    })
                    .unwrap();
                    let pause = Duration::from_micros(seed >> 33 & 4095);
                    std::thread::sleep(pause);
                    process.kill();
                    process.into_task()
                })
                .collect();
            for task in tasks {
                match task.join() {
                    Ok(_) => {}
                    result => {
                        assert_eq!(end_of(&died(result)), KILLED);
                        dead += 1;
                    }
                }
            }
        }
        assert!(dead > 0);
        nothing_left_since(before);
    }
}
