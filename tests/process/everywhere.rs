//! Worker processes on every system: all of these tests run on Windows, too.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{abort, exit};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{self, Test, forever, pool, tests};
use trefoil::process::channel::channel;
use trefoil::task::WorkerExit;
use trefoil::{Bulk, Process, ProcessPool, Shared, SharedAtomics, Shutdown, TaskError};

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the worker should have died: {other:?}"),
    }
}

fn square(n: u64) -> u64 {
    n * n
}

/// One of the ways in which an item ends.
fn end(how: u8) -> u8 {
    eprintln!("the last words before {how}");
    match how {
        1 => exit(5),
        2 => abort(),
        3 => segfault(),
        4 => panic!("on purpose"),
        _ => how,
    }
}

#[allow(unsafe_code)]
fn segfault() -> ! {
    let nowhere = std::hint::black_box(std::ptr::dangling_mut::<u64>());
    // SAFETY: there is none: this is the crash.
    unsafe { nowhere.write_volatile(1) };
    exit(0)
}

/// The address to which a running worker connects, for as long as it runs.
const ADDRESS: &str = "TREFOIL_TEST_ADDRESS";

fn connect_and_stay(_: ()) {
    let mut stream = TcpStream::connect(std::env::var(ADDRESS).unwrap()).unwrap();
    writeln!(stream, "{}", std::process::id()).unwrap();
    forever::<()>();
}

fn a_parent_whose_worker_is_connected() {
    let procs = pool(1);
    let worker = procs.spawn((), connect_and_stay);
    let _ = std::io::stdin().read(&mut [0]);
    drop(worker);
}

pub(crate) fn helpers() {
    support::helper(&[(
        "a_parent_whose_worker_is_connected",
        a_parent_whose_worker_is_connected,
    )]);
}

tests! {
    fn many_calls() {
        let procs = pool(2);
        assert_eq!(procs.spawn(6, square).join().unwrap(), 36);
        let squares = procs.map(0..2000_u64, square).unwrap();
        assert!(squares.iter().zip(0..).all(|(square, n)| *square == n * n));
        let text = procs.spawn("abc".to_owned(), |text: String| text.repeat(100_000));
        assert_eq!(text.join().unwrap().len(), 300_000);
        assert_eq!(
            procs.imap(0..100_u64, square).flatten().sum::<u64>(),
            328_350
        );
        let pids = procs.worker_pids();
        assert!(pids.len() == 2 && !pids.contains(&std::process::id()));
        procs.shutdown(Shutdown::Wait);
    }

    fn each_death_is_of_one_item_and_says_why() {
        let procs = pool(2);
        let results = procs.map_each([0_u8, 1, 0, 2, 0, 3, 4, 0], end);
        let ends: Vec<_> = results.iter().map(Result::is_ok).collect();
        assert_eq!(ends, [true, false, true, false, true, false, false, true]);
        let mut results = results.into_iter();
        let exited = died(results.nth(1).unwrap());
        assert_eq!((exited.code(), exited.signal()), (Some(5), None));
        assert_eq!(exited.stderr_tail().trim(), "the last words before 1");
        let aborted = died(results.nth(1).unwrap());
        let violated = died(results.nth(1).unwrap());
        let panicked = results.next().unwrap();
        assert!(
            matches!(panicked, Err(TaskError::Panicked(_))),
            "{panicked:?}"
        );
        let words = [aborted, violated].map(|exit| exit.to_string());
        if cfg!(windows) {
            assert!(words[0].contains("abort (0xC0000409)"), "{words:?}");
            assert!(
                words[1].contains("access violation (0xC0000005)"),
                "{words:?}"
            );
        } else {
            assert!(words[0].contains("SIGABRT"), "{words:?}");
            assert!(words[1].contains("SIGSEGV"), "{words:?}");
        }
        assert_eq!(
            procs.spawn(7, square).join().unwrap(),
            49,
            "the pool goes on"
        );
    }

    fn what_takes_too_long_is_ended() {
        let procs = pool(1);
        let late = procs.call(|()| forever::<u8>());
        let late = late.timeout(Duration::from_millis(50)).spawn(());
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        let stuck = procs.spawn((), |()| forever::<u8>());
        let canceller = stuck.abort_handle();
        canceller.cancel();
        assert!(matches!(stuck.join(), Err(TaskError::Cancelled)));
        assert_eq!(procs.spawn(7, square).join().unwrap(), 49);
    }

    fn what_is_printed_comes_before_the_result() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let builder = ProcessPool::builder().workers(1);
        let builder = builder.on_output(move |_, bytes| hears.lock().unwrap().extend_from_slice(bytes));
        let procs = builder.build().unwrap();
        for n in 0..20_usize {
            let printed = procs.spawn(n, |n: usize| println!("item {n}"));
            printed.join().unwrap();
            let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
            assert!(
                heard.lines().any(|line| line == format!("item {n}")),
                "{heard}"
            );
        }
    }

    fn large_and_shared_numbers_travel() {
        let procs = pool(2);
        let bulk = Bulk::from((0..1_000_000).map(f64::from).collect::<Vec<_>>());
        let doubled = procs.spawn(bulk, |bulk: Bulk<f64>| {
            Bulk::from(bulk.iter().map(|n| 2.0 * n).collect::<Vec<_>>())
        });
        assert_eq!(doubled.join().unwrap()[999_999], 1_999_998.0);
        let shared = Shared::from((0..100_000).collect::<Vec<u64>>());
        let sums = procs.map(vec![shared.clone(), shared], |shared: Shared<u64>| {
            shared.iter().sum::<u64>()
        });
        assert_eq!(sums.unwrap(), [4_999_950_000; 2]);
        let atomics = SharedAtomics::<AtomicU64>::new(1000).unwrap();
        assert_eq!(atomics.len(), 1000);
        if support::PORT {
            let refused = channel::<u8>(1).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
        }
    }

    fn one_process_is_watched_and_ended() {
        let one = Process::spawn((), |()| forever::<u8>()).unwrap();
        assert!(one.is_alive() && one.pid() != 0);
        one.kill();
        died(one.join());
        let other = Process::spawn(7, square).unwrap();
        assert_eq!(other.join().unwrap(), 49);
    }

    fn no_worker_outlives_its_parent() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut parent = std::process::Command::new(std::env::current_exe().unwrap());
        parent.env(support::HELPER, "a_parent_whose_worker_is_connected");
        parent.env(ADDRESS, listener.local_addr().unwrap().to_string());
        let mut parent = parent.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let (worker, _) = listener.accept().unwrap();
        let mut worker = BufReader::new(worker);
        let mut pid = String::new();
        worker.read_line(&mut pid).unwrap();
        assert_ne!(pid.trim(), parent.id().to_string());
        parent.kill().unwrap();
        parent.wait().unwrap();
        // Its end closes the connection, or resets it.
        let _ = worker.read_to_end(&mut Vec::new());
    }
}
