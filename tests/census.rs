//! Counts threads, descriptors and children before and after many executors have been made and
//! dropped. The counts must be equal.
//!
//! 1. One cycle of each kind runs first, uncounted, so that everything which a process makes once
//!    (a panic hook, a file that the standard library opens lazily) exists.
//! 2. Count. Run many cycles, each with real work and with work that is still pending when its
//!    executor is dropped. Count again.
//! 3. A thread that has been joined leaves `/proc` a moment later, so the first count is the lowest
//!    of a short while, and the second is repeated until it is no higher, under a deadline.
//!
//! The test has its own `main`: the counts need a separate process, and worker processes need
//! `trefoil::init()` in the first line.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod support;

use std::time::{Duration, Instant};

use support::{Test, census, nothing_left_since, tests};
use trefoil::io::{TcpListener, TcpStream};
use trefoil::{EventLoop, ProcessPool, ThreadPool, time};

/// How many cycles run if `TREFOIL_FULL` is set; otherwise a third of them. A leak of each cycle
/// shows after any number.
const CYCLES: usize = 30;

fn main() {
    trefoil::init();
    support::main(&[TESTS]);
}

tests! {
    fn thread_pools_leave_nothing() {
        count(a_thread_pool);
    }

    fn event_loops_leave_nothing() {
        count(an_event_loop);
    }

    fn process_pools_leave_nothing() {
        count(a_process_pool);
    }

    fn deadlines_leave_nothing() {
        count(a_deadline);
    }

    fn all_of_them_leave_nothing() {
        count(|| {
            a_thread_pool();
            an_event_loop();
            a_process_pool();
            a_deadline();
        });
    }
}

fn count(cycle: fn()) {
    cycle();
    let before = lowest();
    let all = std::env::var_os("TREFOIL_FULL").is_some();
    for _ in 0..if all { CYCLES } else { CYCLES / 3 } {
        cycle();
    }
    nothing_left_since(before);
}

fn a_thread_pool() {
    let pool = ThreadPool::with_threads(4);
    let total: u64 = pool.map(&[1u64, 2, 3, 4, 5], |n| n * n).into_iter().sum();
    assert_eq!(total, 55);
    pool.spawn(|| ()).detach();
}

fn an_event_loop() {
    let event_loop = EventLoop::new().expect("a loop");
    let pending = event_loop.handle().spawn(std::future::pending::<()>());
    let echoed = event_loop.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        trefoil::spawn(time::sleep(Duration::from_secs(3600))).detach();
        let server = trefoil::spawn(async move {
            let (stream, _) = listener.accept().await?;
            stream.write_all(b"echo").await?;
            // Both ends of the connection are open until here.
            Ok::<_, std::io::Error>(stream)
        });
        let stream = TcpStream::connect(address).await?;
        let mut echoed = [0; 4];
        stream.read_exact(&mut echoed).await?;
        server.await??;
        Ok::<_, std::io::Error>(echoed)
    });
    assert_eq!(&echoed.expect("sockets of this machine"), b"echo");
    drop(event_loop);
    assert!(pending.join().is_err());
}

fn a_process_pool() {
    let procs = ProcessPool::with_workers(2).expect("a pool");
    let squares = procs.map([1u64, 2, 3], |n| n * n).expect("three squares");
    assert_eq!(squares, [1, 4, 9]);
    // One worker dies at work, one is still at work when the pool is dropped.
    let death = procs.spawn((), |()| -> () { std::process::abort() });
    assert!(death.join().is_err());
    procs
        .spawn((), |()| -> () {
            loop {
                std::thread::park();
            }
        })
        .detach();
}

/// A deadline without a loop needs a thread, which ends when it is no longer needed.
fn a_deadline() {
    let (_never, task) = trefoil::Completer::<()>::new();
    assert!(
        trefoil::timeout(Duration::from_millis(1), task.cancel_on_drop())
            .join()
            .is_err()
    );
}

/// The lowest count of each within a fifth of a second, so that a thread which is just ending does
/// not count.
fn lowest() -> (usize, usize, bool) {
    let deadline = Instant::now() + Duration::from_millis(200);
    let mut lowest = census();
    while Instant::now() < deadline {
        std::thread::yield_now();
        let now = census();
        lowest.0 = lowest.0.min(now.0);
        lowest.1 = lowest.1.min(now.1);
        lowest.2 = lowest.2.min(now.2);
    }
    lowest
}
