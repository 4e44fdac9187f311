//! Helpers of tests that run in threads of one program: a deadline, so that a hang is a failure; a
//! separate process for a test that needs one; a sample of rounds; and a way to see that a thread
//! has gone to sleep. (Tests that are separate programs have a watchdog: `tests/support/mod.rs`.)
#![allow(dead_code)] // not every program needs all of it

use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any test takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(if cfg!(miri) { 1200 } else { 120 });

/// The number of rounds of a test that repeats something to hit a rare interleaving: all if
/// `TREFOIL_FULL` is set, as in `.ci/long`, and a quarter of them in a plain `cargo test`.
pub(crate) fn sample(rounds: usize) -> usize {
    match std::env::var_os("TREFOIL_FULL") {
        Some(_) => rounds,
        None => rounds.div_ceil(4),
    }
}

/// The rounds of [`sample`], or as many as there are in a third of the time that a test has: for
/// rounds in which threads take turns. On a busy machine each turn waits for the other's processor.
pub(crate) fn rounds(rounds: usize) -> impl Iterator<Item = usize> {
    let start = Instant::now();
    (0..sample(rounds)).take_while(move |round| *round == 0 || start.elapsed() < LIMIT / 3)
}

/// The processor time of this thread: what a test of costs measures, because wall time varies on a
/// shared machine. (Linux brings it up to date once in some milliseconds, so it is no measure of
/// less than tens of those. Elsewhere it is wall time.)
pub(crate) fn processor_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // The first field, in nanoseconds.
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|field| field.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

/// Runs `f` on a separate thread, and returns its result or resumes its panic. Panics if it takes
/// too long.
pub(crate) fn within_deadline<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    // (A trait object, so that starting a thread is compiled once, and not for each test.)
    let run: Box<dyn FnOnce() + Send> = Box::new(move || _ = tell.send(f()));
    let worker = thread::spawn(run);
    match told.recv_timeout(LIMIT) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(payload) => resume_unwind(payload),
            Ok(()) => unreachable!("it ended without a word"),
        },
    }
}

/// Runs `f` in a separate process, by running only this test again there. `prelude` is shell code
/// that is run before.
pub(crate) fn alone(test: &str, prelude: &str, f: impl FnOnce() + Send + 'static) {
    if std::env::var("TREFOIL_ALONE").as_deref() == Ok(test) {
        return within_deadline(f);
    }
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", test, "--nocapture", "--test-threads", "1"];
    let mut command = if prelude.is_empty() {
        Command::new(program) // also on systems without a shell
    } else {
        let mut shell = Command::new("sh");
        let script = format!("{prelude}\nexec \"$0\" \"$@\"");
        shell.arg("-c").arg(script).arg(program);
        shell
    };
    let output = command
        .args(arguments)
        .env("TREFOIL_ALONE", test)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The number of this thread, for [`asleep`].
#[cfg(target_os = "linux")]
pub(crate) fn this_thread() -> i32 {
    // The link leads to "PID/task/NUMBER".
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    let number = link.file_name().unwrap().to_str().unwrap();
    number.parse().unwrap()
}

/// Stands for this thread in [`asleep`], on systems where a thread's state cannot be read.
#[cfg(not(target_os = "linux"))]
pub(crate) fn this_thread() -> i32 {
    0
}

/// Whether the thread with this number ([`this_thread`]) sleeps in the kernel: for tests that must
/// wait until another thread has parked, which causes no event. (On systems where that cannot be
/// read, it gives the thread some time.)
pub(crate) fn asleep(thread: i32) -> bool {
    if thread == 0 {
        thread::sleep(Duration::from_millis(20));
        return true;
    }
    let path = format!("/proc/self/task/{thread}/stat");
    sleeps(&std::fs::read_to_string(path).unwrap_or_default())
}

/// "tid (name) S ...", and the name may contain anything.
fn sleeps(stat: &str) -> bool {
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}

/// Waits for a condition that causes no event, by polling it.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT / 2;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The state lines of this process's threads whose names begin with `prefix`.
fn stats_of(prefix: &str) -> impl Iterator<Item = String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let prefix = format!(" ({prefix}");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok())
        .filter(move |stat| stat.contains(&prefix))
}

/// How many threads of this process have names that begin with `prefix`.
pub(crate) fn threads_named(prefix: &str) -> usize {
    stats_of(prefix).count()
}

/// Whether all of them sleep in the kernel.
pub(crate) fn threads_asleep(prefix: &str) -> bool {
    stats_of(prefix).all(|stat| sleeps(&stat))
}
