//! What does a pool cost that has nothing to do: its thread here, and its processes?
//!
//! The scheduler's books (`schedstat`) say how often a thread was put on a processor.

use std::time::Duration;

use trefoil_benches::rows::{Bench, Goal, Kind, Measured, Row, Unit};

use crate::peers::{self, add_one};

/// Nanoseconds on a processor, and how often, of all threads of `process` but the one called
/// `except`.
fn books(process: &str, except: Option<u32>) -> (u64, u64) {
    let except = except.map(|thread| thread.to_string());
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let others = tasks.filter(|task| task.file_name().to_str() != except.as_deref());
    others.fold((0, 0), |(ran, times), task| {
        let books = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let mut books = books.split_whitespace().map(|n| n.parse().unwrap_or(0));
        let (more, _, turns) = (books.next(), books.next(), books.next());
        (ran + more.unwrap_or(0), times + turns.unwrap_or(0))
    })
}

pub fn idle(bench: &mut Bench) {
    let procs = peers::trefoil();
    for n in 0..100 {
        assert_eq!(procs.spawn(n, add_one).join().ok(), Some(n + 1));
    }
    std::thread::sleep(Duration::from_millis(100));
    let all = || {
        let workers = procs
            .worker_pids()
            .into_iter()
            .map(|pid| books(&pid.to_string(), None));
        workers.fold(books("self", Some(std::process::id())), |sum, one| {
            (sum.0 + one.0, sum.1 + one.1)
        })
    };
    let before = all();
    std::thread::sleep(Duration::from_millis(bench.pick(1, 500, 3_000)));
    let after = all();
    let figure = |value: u64| Measured::new(vec![("trefoil", Kind::Ours, vec![value as f64])]);
    let row = Row::new(
        "idle for 3 s: processor time of parent and workers",
        Unit::Ms,
        &[],
    );
    bench.report(row, &figure(after.0 - before.0));
    let row = Row::new(
        "idle for 3 s: wake-ups of parent and workers",
        Unit::Count,
        &[Goal::Nothing],
    );
    bench.report(row, &figure(after.1 - before.1));
}
