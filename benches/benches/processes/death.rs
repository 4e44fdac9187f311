//! A worker is killed: how soon is that known, how soon is there another, and what happens to the
//! other calls?

use std::time::Instant;

use procspawn::SpawnError;
use rustix::process::{Pid, Signal, kill_process};
use trefoil::{ProcessPool, Task, TaskError};
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Measured, Row, Unit};

use crate::peers::{self, WORKERS};
use crate::pipes::Pipes;
use crate::python;

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid as i32).expect("a process has a number");
    kill_process(pid, Signal::KILL).expect("it lives");
}

/// An item that makes this file, and then stays.
fn stay(begun: String) {
    std::fs::write(begun, []).expect("there is room");
    loop {
        std::thread::park();
    }
}

/// From the signal to the error, and to the next answer of the replacement.
pub fn once(procs: &ProcessPool) -> (f64, f64) {
    let pid = procs.worker_pids()[0];
    let begun = std::env::temp_dir().join(format!("trefoil-death-{}", std::process::id()));
    let task = procs.spawn(begun.to_string_lossy().into_owned(), stay);
    // (An item that has not begun would be given to the next worker.)
    while !begun.exists() {
        std::thread::yield_now();
    }
    let _ = std::fs::remove_file(&begun);
    std::thread::sleep(std::time::Duration::from_millis(2));
    let start = Instant::now();
    kill(pid);
    assert!(matches!(task.join(), Err(TaskError::WorkerDied(_))));
    let noticed = start.elapsed();
    let again = procs.spawn((), |()| std::process::id()).join();
    let ready = start.elapsed();
    assert_ne!(again.expect("it was replaced"), pid);
    (noticed.as_nanos() as f64, ready.as_nanos() as f64)
}

pub fn noticed(bench: &mut Bench) {
    let procs = ProcessPool::with_workers(1).expect("trefoil starts processes");
    let (mut noticed, mut ready, mut pipe, mut bare) = (vec![], vec![], vec![], vec![]);
    for _ in 0..bench.pick(1, 20, 60) {
        let (soon, later) = once(&procs);
        noticed.push(soon);
        ready.push(later);
        let mut pipes = Pipes::new(0);
        pipes.call(1);
        std::thread::sleep(std::time::Duration::from_millis(2));
        let start = Instant::now();
        pipes.kill_and_wait();
        pipe.push(start.elapsed().as_nanos() as f64);
        let start = Instant::now();
        Pipes::new(0).call(1);
        bare.push(start.elapsed().as_nanos() as f64);
    }
    let measured = Measured::new(vec![
        ("trefoil", Kind::Ours, noticed),
        ("the end of a bare pipe", Kind::Floor, pipe),
    ]);
    let row = Row::new(
        "a worker is killed, until its task says so",
        Unit::Us,
        &[Goal::AtMost(500e3)],
    );
    bench.report(row, &measured);
    let measured = Measured::new(vec![
        ("trefoil", Kind::Ours, ready),
        ("a new bare process answers", Kind::Floor, bare),
    ]);
    let row = Row::new(
        "a worker is killed, until the next answers",
        Unit::Us,
        &[Goal::AtMost(2e6)],
    );
    bench.report(row, &measured);
}

fn die_at_three(n: u64) -> u64 {
    if n == 3 {
        kill(std::process::id());
    }
    std::thread::sleep(std::time::Duration::from_millis(10));
    n
}

/// Eight calls, one of which kills its worker: how many end otherwise than they should? Seven
/// results and one error in words should come, and with a retry the error again.
pub fn eight_calls(bench: &mut Bench) {
    let entries = vec![
        Entry::samples(Kind::Ours, "trefoil", |samples| {
            let tasks: Vec<_> = (0..8)
                .map(|n| peers::trefoil().spawn(n, die_at_three))
                .collect();
            let ended = tasks.into_iter().map(Task::join).enumerate();
            let wrong = ended.filter(|(n, result)| match result {
                Ok(_) => *n == 3,
                Err(error) => *n != 3 || !matches!(error, TaskError::WorkerDied(_)),
            });
            samples.push(wrong.count() as f64);
        }),
        Entry::samples(Kind::Peer, "procspawn", |samples| {
            let pool = procspawn::Pool::new(WORKERS).expect("procspawn starts processes");
            let calls: Vec<_> = (0..8).map(|n| pool.spawn(n, die_at_three)).collect();
            let wrong = calls
                .into_iter()
                .enumerate()
                .map(|(n, call)| (n, call.join()));
            let wrong = wrong.filter(|(n, result): &(usize, Result<u64, SpawnError>)| {
                result.is_ok() == (*n == 3)
            });
            samples.push(wrong.count() as f64);
            pool.kill();
        }),
    ];
    let pythons = python::all(bench).into_iter();
    let entries = entries
        .into_iter()
        .chain(pythons.map(|python| python.entry("eight", 0)));
    let measured = bench.measure(1, entries.collect());
    let row = "of 8 calls one kills its worker: calls that end wrongly, or never";
    bench.report(Row::new(row, Unit::Count, &[Goal::Nothing]), &measured);
}
