//! Programs that are no good hosts: interrupted all the time, without standard streams, out of
//! descriptors, replaced on disk, gone at once, large.
//!
//! A program of its own, like `process.rs`: see there. Each case is a helper, a process that can be spoilt.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod support;

use std::process::{Command, Stdio, abort};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};
use support::{Test, census, forever, pool, run_helper, signal, start_helper, tests, until};
use trefoil::{Bulk, Process, ProcessPool, Shared, Task, TaskError};

fn main() {
    support::helper(&[
        ("interrupted", interrupted),
        ("streamless", streamless),
        ("poor", poor),
        ("replaced", replaced),
        ("hasty", hasty),
        ("large", large),
        ("panics", panics),
    ]);
    trefoil::init();
    support::main(TESTS);
}

/// A little of everything.
fn works(procs: &ProcessPool) {
    assert!(
        procs
            .map(0..20_000u64, |n| n + 1)
            .unwrap()
            .into_iter()
            .eq(1..20_001)
    );
    let bulk = Bulk::from((0..3_000_000u32).collect::<Vec<_>>());
    assert!(
        procs
            .spawn(bulk.clone(), |bulk: Bulk<u32>| bulk)
            .join()
            .unwrap()
            == bulk
    );
    let shared = Shared::from([1u8, 2, 3]);
    assert_eq!(
        procs
            .spawn(shared, |s: Shared<u8>| (s.len(), s))
            .join()
            .unwrap()
            .0,
        3
    );
    let died = procs.spawn((), |()| -> () { abort() }).join();
    assert!(matches!(died, Err(TaskError::WorkerDied(exit)) if exit.signal() == Some(6)));
    let late = procs
        .call(|()| forever::<()>())
        .timeout(Duration::from_millis(20))
        .spawn(());
    assert!(matches!(late.join(), Err(TaskError::TimedOut)));
    assert_eq!(
        procs.imap(0..500u32, |n| n).filter_map(Result::ok).count(),
        500
    );
}

static INTERRUPTIONS: AtomicU64 = AtomicU64::new(0);

extern "C" fn interruption(_: libc::c_int) {
    INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
}

/// From now on this process is interrupted every fifth of a millisecond, and no system call is
/// restarted.
#[allow(unsafe_code)]
fn storm(_: ()) {
    // SAFETY: all zero is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = interruption;
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the handler only counts.
    let set = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    let often = libc::timeval {
        tv_sec: 0,
        tv_usec: 200,
    };
    let timer = libc::itimerval {
        it_interval: often,
        it_value: often,
    };
    // SAFETY: it reads the timer and writes nothing.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

fn interrupted() {
    trefoil::init();
    storm(());
    let builder = ProcessPool::builder().workers(2).initializer((), storm);
    let procs = builder.build().unwrap();
    works(&procs);
    let seen = procs.spawn((), |()| {
        until(|| INTERRUPTIONS.load(Ordering::Relaxed) > 100);
        let process = Process::spawn(20u32, |n| n + 1).unwrap();
        process.join().unwrap()
    });
    assert_eq!(seen.join().unwrap(), 21);
    until(|| INTERRUPTIONS.load(Ordering::Relaxed) > 100);
    drop(procs);
    let left = census();
    assert!(!left.2, "no child is left");
}

/// Closes some of its standard streams, as its environment says.
#[allow(unsafe_code)]
fn streamless() {
    trefoil::init();
    let which: i32 = std::env::var("CLOSED").unwrap().parse().unwrap();
    for descriptor in (0..3).filter(|n| which & 1 << n != 0) {
        // SAFETY: nobody here uses the descriptor after this.
        drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(descriptor) });
    }
    let procs = pool(2);
    works(&procs);
    // A worker's own are whole, or closed as its parent's.
    let open = procs.spawn((), |()| std::fs::read_link("/proc/self/fd/0").unwrap());
    assert_eq!(open.join().unwrap().to_str(), Some("/dev/null"));
    procs
        .spawn((), |()| {
            println!("heard by nobody");
            eprintln!("nor this");
        })
        .join()
        .unwrap();
    assert_eq!(Process::spawn(1, |n: u32| n).unwrap().join().unwrap(), 1);
}

fn limit(current: u64) -> u64 {
    let before = getrlimit(Resource::Nofile);
    let maximum = before.maximum;
    let current = Some(current);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    before.current.unwrap_or(1024)
}

/// Has a pool, and then no descriptors to replace its workers.
fn poor() {
    trefoil::init();
    let procs = pool(2);
    procs.map(0..100, |n: u32| n).unwrap();
    let plenty = limit(1);
    let pids = procs.worker_pids();
    let tasks: Vec<Task<()>> = (0..6).map(|_| procs.spawn((), |()| forever())).collect();
    until(|| procs.stats().busy == 2);
    pids.iter().for_each(|pid| signal(*pid, Signal::KILL));
    // None is left waiting, and those that wait hear why.
    let mut told = 0;
    for task in tasks {
        let Err(TaskError::WorkerDied(exit)) = task.join() else {
            panic!("it cannot have run")
        };
        told += u32::from(exit.to_string().contains("could not be started"));
    }
    assert!(told >= 4, "{told}");
    limit(plenty);
    assert_eq!(
        procs.map(0..100, |n: u32| n).unwrap().len(),
        100,
        "as before"
    );
}

/// Is replaced by another program while it runs.
fn replaced() {
    trefoil::init();
    let own = std::env::current_exe().unwrap();
    std::fs::remove_file(&own).unwrap();
    std::fs::write(&own, "#!/bin/sh\nexit 77\n").unwrap();
    let procs = pool(2);
    works(&procs);
    assert_eq!(Process::spawn(1, |n: u32| n).unwrap().join().unwrap(), 1);
}

/// Ends right after it has asked for something.
fn hasty() {
    static PROCS: OnceLock<ProcessPool> = OnceLock::new();
    trefoil::init();
    let procs = PROCS.get_or_init(|| pool(2));
    println!("{:?}", procs.worker_pids());
    for n in 0..50u32 {
        procs
            .spawn(n, |n| match n % 2 {
                0 => n,
                _ => forever(),
            })
            .detach();
    }
    match std::env::var("HASTE").unwrap().as_str() {
        "exit" => std::process::exit(0),
        "panic" => drop(std::thread::spawn(|| panic!("on purpose")).join()),
        _ => {} // and returns from `main`, with a pool that nobody drops
    }
}

/// Has much memory, all of it in use, when it makes pools.
fn large() {
    trefoil::init();
    let median = || {
        let mut times: Vec<Duration> = (0..9)
            .map(|_| {
                let begin = Instant::now();
                assert_eq!(pool(1).spawn(1, |n: u32| n).join().unwrap(), 1);
                begin.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[4]
    };
    let small = median();
    let much = std::hint::black_box(vec![1u8; 512 << 20]);
    let large = median();
    drop(much);
    println!("{small:?} {large:?}");
    // Copying the tables of so many pages would take 17 ms alone.
    assert!(
        large < 3 * small + Duration::from_millis(8),
        "{large:?} after {small:?}"
    );
}

fn panics() {
    trefoil::init();
    let procs = pool(1);
    let Err(TaskError::Panicked(panic)) = procs.spawn((), |()| -> () { panic!("far away") }).join()
    else {
        panic!("it should")
    };
    assert_eq!(panic.message(), "far away");
}

tests! {
    fn interrupted_all_the_time() {
        run_helper("interrupted");
    }

    fn without_some_of_the_standard_streams() {
        for which in 0..8 {
            let mut helper = Command::new(std::env::current_exe().unwrap());
            helper.env("TREFOIL_TEST_HELPER", "streamless").env("CLOSED", which.to_string());
            helper.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let output = helper.output().unwrap();
            assert!(output.status.success(), "{which}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    fn workers_that_cannot_be_replaced_fail_what_waits() {
        run_helper("poor");
    }

    fn the_program_is_replaced_on_disk() {
        let copy = std::env::temp_dir().join(format!("trefoil-copy-{}", std::process::id()));
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let mut helper = Command::new(&copy);
        let output = helper.env("TREFOIL_TEST_HELPER", "replaced").stdin(Stdio::null()).output();
        let _ = std::fs::remove_file(&copy);
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn the_program_ends_right_after_it_has_asked() {
        for haste in ["exit", "panic", "return"] {
            let mut helper = Command::new(std::env::current_exe().unwrap());
            helper.env("TREFOIL_TEST_HELPER", "hasty").env("HASTE", haste);
            let begin = Instant::now();
            // Its workers have its standard output: they are gone when this returns.
            let output = helper.stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{haste}: {}", output.status);
            assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
            let text = String::from_utf8(output.stdout).unwrap();
            let pids = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<i32>().ok());
            let pids: Vec<i32> = pids.collect();
            assert_eq!(pids.len(), 2);
            for pid in pids {
                let pid = Pid::from_raw(pid).unwrap();
                until(|| rustix::process::test_kill_process(pid).is_err());
            }
        }
    }

    fn starting_workers_takes_no_longer_in_a_large_program() {
        // Time is taken: a busy machine may be slow once.
        let fine = (0..4).any(|_| start_helper("large").wait_with_output().unwrap().status.success());
        assert!(fine);
    }

    fn a_panic_far_away_has_its_backtrace_on_standard_error() {
        for wanted in ["0", "1"] {
            let mut helper = Command::new(std::env::current_exe().unwrap());
            helper.env("TREFOIL_TEST_HELPER", "panics").env("RUST_BACKTRACE", wanted);
            let output = helper.stdin(Stdio::null()).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("far away"), "{text}");
            assert_eq!(text.contains("stack backtrace"), wanted == "1", "{text}");
        }
    }
}
