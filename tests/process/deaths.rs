//! How a worker's death reads: who killed it, and whether memory was the reason.
#![allow(unsafe_code)] // a call of the kernel's that nothing safe makes
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::support;

use std::ffi::c_long;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Scratch, Test, kill, note, pool, run_helper, start_helper, suspend, tests, until};
use trefoil::{ProcessPool, Task, TaskError, WorkerExit};

pub(crate) fn helpers() {
    support::helper(&[("counted_kills", counted_kills), ("tracer", tracer)]);
}

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the worker should have died: {other:?}"),
    }
}

/// Notes that it has begun, and runs until it is killed.
fn endless(notes: String) {
    note(&notes, 1);
    loop {
        std::thread::park();
    }
}

/// Calls that run, one on each worker.
fn running(procs: &ProcessPool, count: usize) -> Vec<Task<()>> {
    let notes = Scratch::new("deaths");
    let tasks = (0..count)
        .map(|_| procs.spawn(notes.text(), endless))
        .collect();
    until(|| notes.notes().len() == count);
    tasks
}

/// The state of a process, from `/proc`, and the number of what traces it.
fn state(pid: u32) -> (char, u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)).unwrap_or("");
        line.trim().to_owned()
    };
    let letter = field("State:").chars().next().unwrap_or('X');
    (letter, field("TracerPid:").parse().unwrap_or(0))
}

unsafe extern "C" {
    fn ptrace(request: c_long, ...) -> c_long;
}

/// Traces the process whose number the test has written, and never waits for it.
fn tracer() {
    const SEIZE: c_long = 0x4206;
    let file = format!("trefoil-traced-{}", std::os::unix::process::parent_id());
    let pid = fs::read_to_string(std::env::temp_dir().join(file)).unwrap();
    let pid: c_long = pid.parse().unwrap();
    // SAFETY: it takes numbers.
    let traces = unsafe { ptrace(SEIZE, pid, 0 as c_long, 0 as c_long) } == 0;
    println!("{}", if traces { "ready" } else { "not here" });
    loop {
        std::thread::park();
    }
}

/// The kernel's count of kills for want of memory, as this process finds it: a file of the test's,
/// in a mount namespace of its own.
fn counted_kills() {
    const APART: &str = "TREFOIL_TEST_APART";
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(group) = groups.lines().find_map(|line| line.strip_prefix("0::")) else {
        return; // no such count here
    };
    if std::env::var_os(APART).is_none() {
        let script = "mount -t tmpfs none /sys/fs/cgroup || exit 1; exec \"$0\"";
        let apart = Command::new("unshare")
            .args(["-Urm", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap())
            .env(APART, "1")
            .status();
        // 1: no such namespace may be made here.
        let fails = apart.is_ok_and(|end| !end.success() && end.code() != Some(1));
        assert!(!fails, "see above");
        return;
    }
    trefoil::init();
    let folder = format!("/sys/fs/cgroup{group}");
    fs::create_dir_all(&folder).unwrap();
    let kernel_has_killed = |n: u32| {
        let text = format!("low 0\nhigh 0\nmax 0\noom 0\noom_kill {n}\n");
        fs::write(Path::new(&folder).join("memory.events"), text).unwrap();
    };
    kernel_has_killed(7);
    let (procs, other) = (pool(3), pool(1));
    let tasks = running(&procs, 3);
    kernel_has_killed(9);
    procs.worker_pids().into_iter().for_each(kill);
    let all = tasks.into_iter().map(|task| died(task.join()));
    let starved = all.filter(WorkerExit::out_of_memory).count();
    assert_eq!(starved, 2, "one death for each kill");
    let task = running(&other, 1).remove(0);
    kill(other.worker_pids()[0]);
    assert!(
        !died(task.join()).out_of_memory(),
        "these were another pool's"
    );

    // The pool's own kill is none of the kernel's, even if there was one elsewhere.
    let task = running(&other, 1).remove(0);
    kernel_has_killed(10);
    other.replace_worker(other.worker_pids()[0]);
    let exit = died(task.join());
    assert!(!exit.out_of_memory(), "{exit}");
    assert!(exit.to_string().contains("its pool killed it"), "{exit}");

    // Nor does it say that an item that has not begun was too large.
    until(|| other.worker_pids().len() == 1);
    other.spawn((), |()| ()).join().unwrap();
    let pid = other.worker_pids()[0];
    suspend(pid);
    until(|| state(pid).0 == 'T');
    let task = other.spawn(20, |n: u32| n + 1);
    until(|| other.stats().busy == 1);
    kernel_has_killed(11);
    kill(pid);
    assert_eq!(task.join().unwrap(), 21);
}

tests! {
    /// One kill by the kernel marks one death, and none that has another cause.
    fn each_kill_of_the_kernel_marks_one_death() {
        run_helper("counted_kills");
    }

    /// The tracer of a worker (a debugger, `strace`) gets its status first, and may keep it.
    fn a_traced_worker_keeps_its_signal() {
        let procs = pool(1);
        let task = running(&procs, 1).remove(0);
        let pid = procs.worker_pids()[0];
        let traced = Scratch::new("traced");
        fs::write(&traced.0, pid.to_string()).unwrap();
        let mut tracer = start_helper("tracer");
        let mut ready = String::new();
        BufReader::new(tracer.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        if ready != "not here\n" {
            assert_eq!((ready.as_str(), state(pid).1), ("ready\n", tracer.id()));
            kill(pid);
            let exit = died(task.join());
            assert_eq!((exit.signal(), exit.code()), (Some(9), None), "{exit}");
        }
        tracer.kill().unwrap();
        tracer.wait().unwrap();
    }

    /// An item that executes another program ends the worker, as whatever that program does.
    fn a_worker_that_becomes_another_program_is_said_to() {
        let procs = pool(1);
        let exits = |()| drop(Command::new("sh").args(["-c", "exit 3"]).exec());
        for _ in 0..5 {
            let exit = died(procs.spawn((), exits).join());
            assert_eq!((exit.code(), exit.signal()), (Some(3), None), "{exit}");
        }
        let stays = |()| drop(Command::new("sleep").arg("1000").exec());
        let (task, next) = (procs.spawn((), stays), procs.spawn(1, |n: u32| n + 1));
        let exit = died(task.join());
        assert_eq!(exit.signal(), Some(9));
        assert!(exit.to_string().contains("closed its connection"), "{exit}");
        assert_eq!(next.join().unwrap(), 2, "it had not begun");
    }

    /// What an item has become is ended although calls end all the time, because they are late.
    fn late_calls_keep_no_worker_that_became_another_program() {
        let procs = pool(1);
        let task = procs.spawn((), |()| drop(Command::new("sleep").arg("1000").exec()));
        let (begin, late) = (Instant::now(), procs.call(|()| ()).within(Duration::from_millis(50)));
        while !task.is_finished() {
            let _ = late.spawn(()).join(); // its end wakes the pool
            assert!(begin.elapsed() < Duration::from_secs(30), "it sleeps on");
        }
        assert_eq!(died(task.join()).signal(), Some(9));
    }

    /// A worker that its pool has killed says so: the signal alone reads like an accident.
    fn the_pools_own_kill_is_named() {
        let procs = pool(1);
        let task = running(&procs, 1).remove(0);
        procs.replace_worker(procs.worker_pids()[0]);
        let exit = died(task.join());
        assert!(exit.to_string().contains("its pool killed it"), "{exit}");
        let task = running(&procs, 1).remove(0);
        kill(procs.worker_pids()[0]);
        let exit = died(task.join()).to_string();
        assert!(exit.ends_with("was killed by signal 9 (SIGKILL)"), "{exit}");
    }
}
