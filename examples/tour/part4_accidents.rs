//! Part 4, accidents: a thousand items, three of which kill their worker.
//!
//! One reads from nowhere, one aborts, one is killed from outside as if memory
//! had run out. On threads each of the three would end the program. Here each
//! costs exactly its own item: its task ends in an error that says what
//! happened, the other answers are right, and the pool goes on with new workers.

use super::report::Report;
use super::{Pools, raw};
use rustix::process::{Signal, getpid, kill_process};
use std::error::Error;
use trefoil::{Task, TaskError, join_all};

const ITEMS: u64 = 1_000;
const SEGFAULTS: u64 = 250;
const ABORTS: u64 = 500;
const KILLED: u64 = 750;

pub(crate) fn run(pools: &Pools, report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.part("4. Accidents: 1,000 items in worker processes, three of them deadly");
    let before = pools.processes.worker_pids();

    let results = report.lone_row(
        "processes.spawn, join_all",
        || {
            let tasks: Vec<Task<u64>> = (0..ITEMS)
                .map(|item| pools.processes.spawn(item, risky))
                .collect();
            Ok(join_all(tasks).join())
        },
        |results| {
            let answers = results.iter().filter(|result| result.is_ok()).count();
            format!("{answers} answers, {} errors", results.len() - answers)
        },
    )?;

    let mut deaths = Vec::new();
    let mut right = 0;
    for (item, result) in (0..).zip(&results) {
        match result {
            Ok(answer) => right += u64::from(*answer == square(item)),
            Err(error) => {
                report.note(format_args!("item {item}: {error}"));
                if let TaskError::WorkerDied(death) = error {
                    deaths.push((item, death.signal()));
                }
            }
        }
    }
    let signal = |signal: Signal| Some(signal.as_raw());
    let expected = [
        (SEGFAULTS, signal(Signal::SEGV)),
        (ABORTS, signal(Signal::ABORT)),
        (KILLED, signal(Signal::KILL)),
    ];
    report.check("997 right answers", right == ITEMS - 3);
    report.check("three errors, each with its cause", deaths == expected);

    let alive =
        pools.processes.map(0..ITEMS, square)? == (0..ITEMS).map(square).collect::<Vec<_>>();
    let now = pools.processes.worker_pids(); // the last of the new ones may still be starting
    let new = now.iter().filter(|pid| !before.contains(pid)).count();
    report.note(format_args!("{new} of {} workers are new", now.len()));
    report.check("the pool is alive", alive);
    Ok(())
}

fn risky(item: u64) -> u64 {
    match item {
        SEGFAULTS => raw::segfault().into(),
        ABORTS => std::process::abort(),
        KILLED => {
            let _ = kill_process(getpid(), Signal::KILL);
            unreachable!("nobody outlives SIGKILL")
        }
        item => square(item),
    }
}

fn square(item: u64) -> u64 {
    item * item
}
