//! Threads that are woken on another processor than their waker's may run where they might before.
#![allow(clippy::disallowed_methods)] // a program, not the crate

use crate::deadline;

use std::fs;
use std::time::{Duration, Instant};

use deadline::{eventually, threads_asleep, within_deadline};
use trefoil::ThreadPool;

/// On which processors each thread of this process whose name begins so may run.
fn allowed(prefix: &str) -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let of = |status: String| {
        let name = status.lines().next()?.strip_prefix("Name:\t")?.to_owned();
        let line = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed:"))?;
        name.starts_with(prefix).then(|| line.to_owned())
    };
    tasks
        .filter_map(|task| of(fs::read_to_string(task.unwrap().path().join("status")).ok()?))
        .collect()
}

fn some_work() -> u32 {
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < Duration::from_micros(100) {
        rounds += 1;
    }
    rounds
}

#[test]
fn woken_threads_may_run_where_they_might_before() {
    within_deadline(|| {
        let builder = ThreadPool::builder().threads(3).name("berth");
        let pool = builder.build().unwrap();
        eventually("all have begun", || allowed("berth").len() == 3);
        let before = allowed("berth");
        for _ in 0..100 {
            eventually("all of them sleep", || threads_asleep("berth"));
            pool.map(0..4, |_| some_work());
        }
        eventually("all of them sleep", || threads_asleep("berth"));
        assert_eq!(allowed("berth"), before);
    });
}
