//! Workers that do not die although they are killed, and those whose end a debugger keeps.
//!
//! A tracer that has asked to see the end of a process stops it there: it was killed, and is not
//! dead until the tracer lets it go on. (In the same state are a process in a frozen control group,
//! and one that waits for a disk that does not answer.)
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate
#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio, exit};
use std::time::{Duration, Instant};

use crate::support;
use support::{
    HELPER, Scratch, Test, census, forever, is_there, kill, note, noted, nothing_left_since, pool,
    tests, until,
};
use trefoil::{ProcessPool, Shutdown, Task, TaskError};

const TRACED: &str = "TREFOIL_TEST_TRACED";

pub(crate) fn helpers() {
    support::helper(&[("holding_tracer", tracer)]);
}

/// Traces a process until its standard input ends. It never waits for anything of it.
fn tracer() {
    let traced = std::env::var(TRACED).unwrap();
    let (pid, options) = traced.split_once(' ').unwrap();
    let (pid, options): (i32, usize) = (pid.parse().unwrap(), options.parse().unwrap());
    // SAFETY: it takes numbers only.
    let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, options) };
    let word: &[u8] = if result == 0 { b"y" } else { b"n" };
    std::io::stdout().write_all(word).unwrap();
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    exit(0);
}

/// While it lives, a tracer holds the process `pid`.
struct Tracer(Child);

impl Tracer {
    /// `None`: tracing is not allowed here.
    fn of(pid: u32, options: i32) -> Option<Self> {
        let mut helper = Command::new(std::env::current_exe().unwrap());
        let helper = helper
            .env(HELPER, "holding_tracer")
            .env(TRACED, format!("{pid} {options}"));
        let mut helper = helper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0];
        helper
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut word)
            .unwrap();
        let tracer = Self(helper);
        if word != *b"y" {
            println!("skipped: a process may not trace another here");
            return None;
        }
        Some(tracer)
    }

    /// The process cannot die.
    fn holds(pid: u32) -> Option<Self> {
        Self::of(pid, libc::PTRACE_O_TRACEEXIT)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Makes a process one that anybody may trace, where that is restricted to its ancestors.
fn let_trace() {
    // SAFETY: it takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
}

/// The processor time of the drivers of this process, in hundredths of a second.
fn drivers_time() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = threads.filter_map(|one| std::fs::read_to_string(one.path().join("stat")).ok());
    let drivers = stats.filter(|stat| stat.contains("(trefoil-proc)"));
    let time = |stat: String| -> u64 {
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        fields
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum()
    };
    drivers.map(time).sum()
}

/// For a second, the drivers sleep. (One that spins uses more even of a tenth of a processor.)
fn drivers_sleep() {
    let (before, begin) = (drivers_time(), Instant::now());
    until(|| begin.elapsed() >= Duration::from_secs(1));
    let used = drivers_time() - before;
    assert!(used <= 5, "{used} ticks in {:?}", begin.elapsed());
}

/// An item that has begun, and never ends.
fn begun(procs: &ProcessPool) -> Task<()> {
    let file = Scratch::new("begun");
    let task = procs.spawn(file.text(), |path: String| {
        note(&path, 1);
        forever::<()>();
    });
    until(|| noted(&file.text()) == 1);
    task
}

/// A pool of one worker, which a tracer holds.
fn held() -> Option<(ProcessPool, u32, Tracer)> {
    let procs = pool(1);
    procs.spawn((), |()| let_trace()).join().unwrap();
    let pid = procs.worker_pids()[0];
    let tracer = Tracer::holds(pid)?;
    Some((procs, pid, tracer))
}

tests! {
    fn a_worker_that_cannot_be_killed_is_given_up_and_replaced() {
        let before = census();
        let Some((procs, pid, tracer)) = held() else { return };
        let call = procs.call(|()| forever::<()>());
        let late = call.timeout(Duration::from_millis(100)).spawn(()).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))), "{late:?}");
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
        assert_ne!(procs.worker_pids()[0], pid);
        assert!(is_there(pid));
        drivers_sleep();
        drop(procs);
        drop(tracer);
        until(|| !is_there(pid)); // it was reaped, although its pool is gone
        nothing_left_since(before);
    }

    fn an_item_of_a_worker_that_cannot_be_killed_ends_with_the_reason() {
        let procs = pool(1);
        let pid = procs.spawn((), |()| { let_trace(); std::process::id() }).join().unwrap();
        let Some(_tracer) = Tracer::holds(pid) else { return };
        let task = begun(&procs);
        assert!(procs.replace_worker(pid));
        let error = task.join().unwrap_err().to_string();
        assert!(error.contains(&format!("worker process {pid} ")), "{error}");
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
    }

    fn the_end_of_a_pool_does_not_wait_for_a_worker_that_cannot_be_killed() {
        for ends in [false, true] {
            let Some((procs, pid, tracer)) = held() else { return };
            let task = begun(&procs);
            let limit = Duration::from_millis(100);
            let begin = Instant::now();
            match ends {
                true => drop(procs),
                false => procs.shutdown_timeout(Shutdown::CancelPending, limit),
            }
            assert!(begin.elapsed() < Duration::from_secs(60));
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            assert!(is_there(pid));
            drop(tracer);
            until(|| !is_there(pid));
        }
    }

    fn a_driver_sleeps_while_a_worker_takes_its_time_to_die() {
        let Some((procs, _, tracer)) = held() else { return };
        let task = begun(&procs);
        let ends = std::thread::spawn(move || {
            procs.shutdown_timeout(Shutdown::CancelPending, Duration::from_millis(1));
        });
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        drivers_sleep();
        drop(tracer);
        ends.join().unwrap();
    }

    fn a_zombie_that_a_tracer_keeps_is_not_asked_again_and_again() {
        let procs = pool(1);
        let pid = procs.spawn((), |()| { let_trace(); std::process::id() }).join().unwrap();
        let Some(tracer) = Tracer::of(pid, 0) else { return };
        let task = begun(&procs);
        kill(pid);
        let died = task.join();
        assert!(matches!(died, Err(TaskError::WorkerDied(_))), "{died:?}");
        drivers_sleep();
        drop(procs);
        assert!(is_there(pid));
        drop(tracer);
        until(|| !is_there(pid));
    }
}
