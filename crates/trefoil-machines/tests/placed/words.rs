//! What workers write to standard error.

use std::io::Write;
use std::time::{Duration, Instant};

use trefoil::{ProcessPool, TaskError};

use crate::placer::{DEAF, PLAIN, dask};
use crate::support::{Test, tests};

/// More than the pipes on the way hold.
const MUCH: usize = 1 << 20;

/// Writes much on a thread of its own.
fn shouts() {
    std::thread::spawn(|| std::io::stderr().write_all(&vec![b'x'; MUCH]));
}

fn exits() {
    std::process::exit(3);
}

/// Says something, and ends.
fn says(words: String) {
    eprintln!("{words}");
    exits();
}

tests! {
    fn the_last_are_in_the_error_however_soon_the_worker_ends() {
        let procs = ProcessPool::builder().launcher(dask(PLAIN).threads(1..=1)).build().unwrap();
        for n in 0..20 {
            let words = format!("these are number {n}");
            let died = procs.spawn(words.clone(), says).join();
            let Err(TaskError::WorkerDied(exit)) = died else { panic!("{died:?}") };
            assert!(exit.stderr_tail().ends_with(&format!("{words}\n")), "{exit}");
        }
    }

    fn whoever_does_not_read_them_does_not_stop_the_stream() {
        let procs = ProcessPool::builder().launcher(dask(DEAF).threads(1..=1)).build().unwrap();
        procs.spawn((), |()| shouts()).join().unwrap();
        // Until the pipes are full, and after that.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(1) {
            assert_eq!(procs.map(0..100, |n: u64| n).unwrap().len(), 100);
        }
        // The last words are those that fit.
        let died = procs.spawn((), |()| exits()).join();
        let Err(TaskError::WorkerDied(exit)) = died else { panic!("{died:?}") };
        assert_eq!(exit.code(), Some(3));
        assert!(exit.stderr_tail().ends_with('x'), "{exit}");
    }

    fn what_has_left_the_workers_group_and_writes_for_ever_holds_nobody_up() {
        let procs = ProcessPool::builder().launcher(dask(PLAIN).threads(1..=1)).build().unwrap();
        let died = procs.spawn((), |()| {
            let mut yes = std::process::Command::new("setsid");
            // (It ends when nobody reads it any more, and after a while in any case.)
            yes.args(["timeout", "60", "sh", "-c", "yes >&2"]).stdin(std::process::Stdio::null());
            std::mem::forget(yes.spawn());
            std::thread::sleep(Duration::from_millis(300)); // it has begun, as a rule
            exits();
        });
        let begin = Instant::now();
        let Err(TaskError::WorkerDied(exit)) = died.join() else { panic!("it lives") };
        assert_eq!(exit.code(), Some(3));
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    }
}
