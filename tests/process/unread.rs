//! Standard error that nobody reads: no call, no timeout and no end of a pool waits for it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, ChildStderr, Command, Stdio, exit};
use std::time::{Duration, Instant};

use crate::support;
use support::{HELPER, Test, pool, run_helper, start_helper, suspend, tests};
use trefoil::{Completer, ProcessPool, TaskError};

/// The calls in which a thread waits for descriptors. (Newer processors have only one.)
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm"))]
const POLLS: &[i64] = &[libc::SYS_ppoll, libc::SYS_poll];
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm")))]
const POLLS: &[i64] = &[libc::SYS_ppoll];

pub(crate) fn helpers() {
    support::helper(&[
        ("unread_terminal", unread_terminal),
        ("unread_reports", unread_reports),
        ("unread_by_all", unread_by_all),
        ("flood", flood),
        ("last_report", last_report),
        ("kept_apart", kept_apart),
        ("non_blocking", non_blocking),
    ]);
}

/// Nobody reads the terminal that is its standard error.
fn unread_terminal() {
    trefoil::init();
    let procs = pool(2);
    let noisy = |n: u32| -> u32 {
        (0..1000).for_each(|_| eprintln!("{}", "x".repeat(999)));
        n
    };
    let late = procs
        .call(noisy)
        .timeout(Duration::from_millis(100))
        .spawn(1);
    let late = late.join();
    assert!(matches!(late, Err(TaskError::TimedOut(_))), "{late:?}");
    assert_eq!(procs.spawn(7, |n: u32| n).join().unwrap(), 7);
    ends_soon(procs);
}

/// Nobody reads its standard error, to which the default reports go.
fn unread_reports() {
    trefoil::init();
    let quiet = |()| std::panic::set_hook(Box::new(|_| ()));
    let builder = ProcessPool::builder().workers(2).initializer((), quiet);
    let procs = builder.build().unwrap();
    for _ in 0..2000 {
        procs.spawn((), |()| -> () { panic!("unheard") }).detach();
    }
    assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
    ends_soon(procs);
}

fn ends_soon(procs: ProcessPool) {
    let begin = Instant::now();
    drop(procs);
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
}

/// Everything that a driver writes to is full, and one of its workers is stopped.
fn unread_by_all() {
    trefoil::init();
    // (A hundred backtraces do not fit into the pipe of a worker that nobody reads.)
    let procs = ProcessPool::builder().env("RUST_BACKTRACE", "0");
    let procs = procs.workers(3).build().unwrap();
    let stopped = procs.worker_pids()[0];
    let loud = |()| -> () {
        loop {
            eprintln!("{}", "x".repeat(999));
        }
    };
    let mut noise = vec![procs.spawn((), loud)];
    suspend(stopped);
    noise.push(procs.spawn(vec![7_u8; 8 << 20], |bytes: Vec<u8>| drop(bytes)));
    for _ in 0..100 {
        procs.spawn((), |()| -> () { panic!("unheard") }).detach();
    }
    let driver = driver_of_this_process();
    let path = |name| format!("/proc/self/task/{driver}/{name}");
    // A thread that sleeps shows its call: -1 if it runs, which it does for a moment only.
    let waits_in = || {
        let call = std::fs::read_to_string(path("syscall")).unwrap_or_default();
        call.split(' ')
            .next()
            .and_then(|number| number.parse::<i64>().ok())
    };
    if waits_in().is_none() && std::fs::read_to_string(path("syscall")).is_err() {
        return println!("skipped: this kernel does not show where a thread sleeps");
    }
    for _ in 0..300 {
        // Between two calls of a caller nothing but the driver's own clock wakes it.
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
        if let Some(call) = waits_in().filter(|call| *call >= 0) {
            assert!(
                call == libc::SYS_futex || POLLS.contains(&call),
                "the driver waits in the call {call}"
            );
        }
    }
    ends_soon(procs);
}

fn driver_of_this_process() -> String {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.map(|thread| thread.unwrap().file_name().into_string().unwrap());
    let is_it = |id: &String| {
        let name = std::fs::read_to_string(format!("/proc/self/task/{id}/comm"));
        name.is_ok_and(|name| name.trim() == "trefoil-proc")
    };
    names.into_iter().find(is_it).expect("a driver")
}

/// More reports than are kept for a reader that does not come.
fn flood() {
    for _ in 0..40_000 {
        let (completer, task) = Completer::<u32>::new();
        task.detach();
        completer.complete(Err(TaskError::timed_out()));
    }
    println!("written");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    exit(0);
}

/// Reports a failure, and ends.
fn last_report() {
    let (completer, task) = Completer::<u32>::new();
    task.detach();
    completer.complete(Err(TaskError::timed_out()));
    exit(0);
}

/// Its standard error becomes a socket that keeps messages apart, and that is read once more is
/// queued than one message may have.
fn kept_apart() {
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
    set_socket_timeout(&ours, Timeout::Recv, Some(Duration::from_secs(20))).unwrap();
    rustix::stdio::dup2_stderr(theirs).unwrap();
    for _ in 0..8000 {
        let (completer, task) = Completer::<u32>::new();
        task.detach();
        completer.complete(Err(TaskError::timed_out()));
    }
    let (mut buffer, mut lines) = (vec![0; 1 << 20], 0);
    let mut ours = File::from(ours);
    while lines < 8000 {
        let count = ours.read(&mut buffer).unwrap();
        lines += buffer[..count]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
    }
    exit(0);
}

/// Its standard error becomes a pipe that does not block, and that is read only when the thread
/// that writes waits for room in `poll`.
fn non_blocking() {
    use rustix::pipe::{PipeFlags, pipe_with};
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    rustix::fs::fcntl_setfl(&theirs, rustix::fs::OFlags::NONBLOCK).unwrap();
    rustix::stdio::dup2_stderr(&theirs).unwrap();
    for _ in 0..8000 {
        let (completer, task) = Completer::<u32>::new();
        task.detach();
        completer.complete(Err(TaskError::timed_out()));
    }
    let limit = Instant::now() + Duration::from_secs(20);
    let calls: Vec<String> = POLLS.iter().map(|call| format!("{call} ")).collect();
    let waits = |thread: std::io::Result<std::fs::DirEntry>| {
        let call = std::fs::read_to_string(thread.unwrap().path().join("syscall"));
        call.is_ok_and(|call| calls.iter().any(|number| call.starts_with(number)))
    };
    if std::fs::read_to_string("/proc/self/syscall").is_ok() {
        while !std::fs::read_dir("/proc/self/task").unwrap().any(waits) {
            assert!(Instant::now() < limit, "no thread waits for room");
            std::thread::yield_now();
        }
    }
    let (mut buffer, mut lines) = (vec![0; 1 << 20], 0);
    let mut ours = File::from(ours);
    while lines < 8000 {
        let count = ours.read(&mut buffer).unwrap();
        lines += buffer[..count]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
    }
    exit(0);
}

/// A terminal: the end that nobody reads, and the other.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let (name, none) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: it writes two numbers, to variables that live.
    let result = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, name, none, none.cast()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was just opened, and is nobody else's.
    let ours = unsafe { OwnedFd::from_raw_fd(ours) };
    // SAFETY: as above.
    let theirs = unsafe { OwnedFd::from_raw_fd(theirs) };
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).unwrap();
    (ours, theirs)
}

/// Its standard error is not read until it has ended.
fn ends_unread(mut helper: Child, err: impl FnOnce(&mut Child) -> Option<File>) {
    let err = err(&mut helper);
    let status = helper.wait().unwrap();
    if !status.success() {
        let mut words = Vec::new();
        let _ = err.map(|err| err.take(1 << 20).read_to_end(&mut words));
        panic!(
            "{status}: {}",
            String::from_utf8_lossy(&words).trim_matches('x')
        );
    }
}

fn piped(helper: &mut Child) -> Option<File> {
    let err: Option<ChildStderr> = helper.stderr.take();
    err.map(|err| File::from(OwnedFd::from(err)))
}

tests! {
    fn a_terminal_that_nobody_reads_delays_nothing() {
        let (unread, theirs) = terminal();
        let mut helper = Command::new(std::env::current_exe().unwrap());
        let helper = helper.env(HELPER, "unread_terminal").stdin(Stdio::null());
        let helper = helper.stdout(Stdio::null()).stderr(Stdio::from(theirs)).spawn().unwrap();
        ends_unread(helper, |_| None);
        drop(unread);
    }

    fn reports_that_nobody_reads_delay_nothing() {
        ends_unread(start_helper("unread_reports"), piped);
    }

    fn a_driver_waits_in_poll_and_nowhere_else() {
        ends_unread(start_helper("unread_by_all"), piped);
    }

    fn what_is_dropped_is_counted() {
        let mut helper = Command::new(std::env::current_exe().unwrap());
        let helper = helper.env(HELPER, "flood").stdin(Stdio::piped());
        let mut helper = helper.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 8];
        helper.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let err = piped(&mut helper).unwrap();
        drop(helper.stdin.take());
        let mut text = String::new();
        (&err).read_to_string(&mut text).unwrap();
        assert!(helper.wait().unwrap().success());
        let is_report = |line: &&str| line.starts_with("trefoil: detached task ");
        let reports = text.lines().filter(is_report).count();
        assert!((5_000..40_000).contains(&reports), "{reports}");
        let note = text.lines().last().unwrap();
        assert!(note.contains("were dropped, because nobody read"), "{note}");
    }

    fn a_long_queue_is_no_long_message() {
        run_helper("kept_apart");
    }

    fn a_non_blocking_pipe_is_waited_for_in_poll() {
        run_helper("non_blocking");
    }

    fn a_report_just_before_the_end_is_written() {
        let (_, err) = run_helper("last_report");
        assert!(err.contains("trefoil: detached task "), "{err}");
    }
}
