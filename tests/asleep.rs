//! `inspect::on_stuck`: a program whose threads all sleep is named, and one that can go on is not.
//!
//! Each case is a process of its own, without the threads of a test harness.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use std::process::{Command, exit};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trefoil::ThreadPool;
use trefoil::inspect::StuckKind;
use trefoil::sync::{Event, channel};

/// Longer than any case takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A case; what its report says, or nothing if it ends by itself.
type Case = (&'static str, fn(), &'static [&'static str]);

const CASES: [Case; 6] = [
    (
        "a_root_future_waits_for_itself",
        a_root_future_waits_for_itself,
        &[
            "root future at tests/asleep.rs:",
            "a channel made at tests/asleep.rs:",
        ],
    ),
    (
        "two_tasks_of_a_loop_wait_for_messages",
        two_tasks_of_a_loop_wait_for_messages,
        &["`ping`", "`pong`", "a channel made at tests/asleep.rs:"],
    ),
    (
        "a_thread_joins_what_waits_for_ever",
        a_thread_joins_what_waits_for_ever,
        &[
            "thread 1 `main`: waits for task #",
            "an Event made at tests/asleep.rs:",
        ],
    ),
    ("a_timer_goes_off", a_timer_goes_off, &[]),
    ("a_foreign_thread_is_late", a_foreign_thread_is_late, &[]),
    ("a_pool_has_nothing_to_do", a_pool_has_nothing_to_do, &[]),
];

fn a_root_future_waits_for_itself() {
    trefoil::run(async {
        let (_sender, receiver) = channel::bounded::<()>(1);
        _ = receiver.recv().await;
    });
}

fn two_tasks_of_a_loop_wait_for_messages() {
    trefoil::run(async {
        let (to_ping, ping) = channel::bounded::<()>(1);
        let (to_pong, pong) = channel::bounded::<()>(1);
        let one = trefoil::spawn(async move {
            while ping.recv().await.is_ok() {
                _ = to_pong.send(()).await;
            }
        });
        let two = trefoil::spawn(async move {
            while pong.recv().await.is_ok() {
                _ = to_ping.send(()).await;
            }
        });
        let (one, two) = (one.named("ping"), two.named("pong"));
        _ = (one.await, two.await);
    });
}

fn a_thread_joins_what_waits_for_ever() {
    let pool = ThreadPool::with_threads(2);
    let event = Arc::new(Event::new());
    let waits = pool.spawn(move || event.wait_blocking());
    while trefoil::inspect::tasks()
        .get(waits.id().get())
        .is_some_and(|task| task.runs_on.is_none())
    {
        std::thread::yield_now(); // so that `main` does not run it
    }
    _ = waits.join();
}

fn a_timer_goes_off() {
    trefoil::run(trefoil::time::sleep(Duration::from_millis(300)));
}

fn a_foreign_thread_is_late() {
    let event = Arc::new(Event::new());
    let sets = event.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        sets.set();
    });
    trefoil::run(async move { event.wait().await });
    thread.join().unwrap();
}

fn a_pool_has_nothing_to_do() {
    let pool = ThreadPool::with_threads(2);
    assert_eq!(pool.map(0..100, |n| n).len(), 100);
    std::thread::sleep(Duration::from_millis(300));
}

/// Runs one case: the report is what this process says, and its end.
fn seed(run: fn()) {
    trefoil::inspect::on_stuck(|stuck| {
        assert_eq!(stuck.kind(), StuckKind::AllAsleep);
        println!("{stuck}");
        exit(0);
    });
    run();
    println!("went on");
}

fn check((name, _, says): Case) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env("SEED", name)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + LIMIT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let all = match says {
        [] => said == "went on\n",
        says => {
            let head = said.starts_with("a deadlock: every thread is asleep");
            head && says.iter().all(|word| said.contains(word))
        }
    };
    assert!(all, "{name}: {said:?}");
    println!("test {name} ... ok");
}

fn main() {
    if let Ok(name) = std::env::var("SEED") {
        let case = CASES.iter().find(|case| case.0 == name).unwrap();
        return seed(case.1);
    }
    if cfg!(target_os = "linux") {
        CASES.into_iter().for_each(check); // elsewhere the threads of a process are not known
    }
}
