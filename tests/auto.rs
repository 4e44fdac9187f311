//! The feature `auto`: libtest owns `main`, and workers need no line there.

use std::process::Command;

use trefoil::ProcessPool;

#[test]
fn a_test_has_workers_without_a_line() {
    let procs = ProcessPool::with_workers(2).unwrap();
    let squares = procs.map(0..1000, |x: u64| x * x).unwrap();
    assert_eq!(squares[999], 998_001);
    drop(procs);
}

#[test]
fn and_so_has_the_next_beside_it() {
    let procs = ProcessPool::with_workers(1).unwrap();
    assert_ne!(
        procs.spawn((), |()| std::process::id()).join().unwrap(),
        std::process::id()
    );
}

#[test]
fn prints() {
    let procs = ProcessPool::builder()
        .workers(1)
        .on_output(|_pid, bytes| print!("{}", String::from_utf8_lossy(bytes)))
        .build()
        .unwrap();
    let print = |()| println!("a worker's words");
    procs.spawn((), print).join().unwrap();
}

/// As the page of `worker_stdout` says.
#[test]
fn what_a_worker_prints_is_captured_through_the_hook() {
    let run = |option: &str| {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", "prints", option]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!run("--quiet").contains("a worker's words"));
    assert!(run("--nocapture").contains("a worker's words"));
}
