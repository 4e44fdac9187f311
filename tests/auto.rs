//! The feature `auto`: libtest owns `main`, and workers need no line there.

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
