//! Loom models of what callers do in the driver's place.
//!
//! Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test -p trefoil-checks --release --test
//! shortcut_models -- --nocapture`. Every job is handed out and every result heard, once, by
//! whoever comes first, and nobody sleeps while only he would do what is to be done (loom calls
//! that a deadlock). The twins at the end leave one step out, and must fail.
#![cfg(loom)]

use std::sync::Arc;

use loom::thread;
use trefoil::process::shortcut_model::{Broken, Pool};
use trefoil_checks::explore;

fn start(pool: &Arc<Pool>, roles: &[fn(&Pool)]) -> Vec<thread::JoinHandle<()>> {
    let start = |role: &fn(&Pool)| {
        let (pool, role) = (pool.clone(), *role);
        thread::spawn(move || role(&pool))
    };
    roles.iter().map(start).collect()
}

/// Two callers leave a job each, and neither ends without the other.
fn two_callers(broken: Broken) {
    let pool = Arc::new(Pool::new(broken, 2));
    let threads = start(&pool, &[Pool::driver, Pool::worker, Pool::call]);
    pool.call();
    pool.wait(2);
    pool.close();
    threads.into_iter().for_each(|one| one.join().unwrap());
}

/// One caller leaves two jobs, one after the other for the worker, and takes the first result if it
/// sees it.
fn one_looking_caller(broken: Broken) {
    let pool = Arc::new(Pool::new(broken, 1));
    let threads = start(&pool, &[Pool::driver, Pool::worker]);
    pool.call();
    pool.call();
    pool.help();
    pool.wait(2);
    pool.close();
    threads.into_iter().for_each(|one| one.join().unwrap());
}

#[test]
fn two_callers_leave_work() {
    explore(|| two_callers(Broken::No));
}

#[test]
fn a_caller_takes_its_result() {
    explore(|| one_looking_caller(Broken::No));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_wake_work_is_left_lying() {
    loom::model(|| two_callers(Broken::NoWake));
}

#[test]
#[should_panic(expected = "deadlock")]
fn what_is_not_told_is_not_done() {
    loom::model(|| one_looking_caller(Broken::Silent));
}
