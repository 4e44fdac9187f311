//! A test runner for programs that are their own workers, and helpers that their tests share.

#![allow(dead_code)] // not every program needs all of it

#[cfg(target_os = "linux")]
pub(crate) mod marks;
#[cfg(target_os = "linux")]
pub(crate) mod refuse;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

pub(crate) use system::*;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::io::Write;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use trefoil::task::WorkerExit;

/// How long one test may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How long a test waits for one condition: longer than anything takes on a busy machine, but less
/// than `LIMIT`, so that the failure names the condition.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long the chaos test lasts, and how long others last in proportion:
/// `TREFOIL_ACCIDENTS=seconds`; otherwise one second, or two if all rounds are requested.
pub(crate) fn chaos() -> Duration {
    let seconds = std::env::var("TREFOIL_ACCIDENTS").ok();
    let all = std::env::var_os("TREFOIL_FULL").is_some();
    let otherwise = if all { 2 } else { 1 };
    Duration::from_secs(seconds.and_then(|n| n.parse().ok()).unwrap_or(otherwise))
}

/// How long jobs with every option run, if not until workers were killed: `TREFOIL_SOAK=seconds`.
pub(crate) fn soak() -> Option<Duration> {
    let seconds = std::env::var("TREFOIL_SOAK").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("TREFOIL_SOAK")))
}

/// How many workers the counting chaos test kills: `TREFOIL_KILLS=n`.
pub(crate) fn kills() -> u64 {
    let kills = std::env::var("TREFOIL_KILLS").ok();
    kills.and_then(|n| n.parse().ok()).unwrap_or(150)
}

#[derive(Clone, Copy)]
pub(crate) struct Test {
    /// With its module's path.
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
}

/// Declares the tests of a module and lists them in `TESTS`.
macro_rules! tests {
    ($($(#[$note:meta])* fn $name:ident() $body:block)*) => {
        $($(#[$note])* fn $name() $body)*
        #[allow(unused_doc_comments)] // those of the tests
        pub(crate) static TESTS: &[Test] =
            &[$($(#[$note])* Test { name: concat!(module_path!(), "::", stringify!($name)), run: $name }),*];
    };
}
pub(crate) use tests;

impl Test {
    /// With its module, without the program.
    fn name(&self) -> &'static str {
        self.name.split_once("::").unwrap().1
    }
}

/// Runs `tests`, which are a list for each module. It understands as much of libtest's command line
/// as `cargo test` and `cargo nextest` use. The tests of a module run one after the other, because
/// many count what their process has; modules (all, or those that are named) run in parallel, each
/// in a separate process, because most tests mostly wait.
pub(crate) fn main(tests: &[&[Test]]) {
    main_but(tests, &[]);
}

/// The same without the tests whose names begin with these words, for these reasons.
pub(crate) fn main_but(tests: &[&[Test]], except: &[(&str, &str)]) {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.len() != 1 && tests.len() > 1 && wanted.iter().all(|name| name.ends_with("::")) {
        return side_by_side(tests, &wanted);
    }
    let tests = tests.concat();
    let excepted = |test: &Test| {
        except
            .iter()
            .find(|(name, _)| test.name().starts_with(name))
    };
    let (mut flags, mut names, mut skips) = (Vec::new(), Vec::new(), Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--skip" => skips.extend(args.next()),
            "--format" | "--color" | "--test-threads" => drop(args.next()),
            flag if flag.starts_with('-') => flags.push(arg),
            _ => names.push(arg),
        }
    }
    let has = |flag: &str| flags.iter().any(|arg| arg == flag);
    if has("--list") {
        if !has("--ignored") {
            tests
                .iter()
                .for_each(|test| println!("{}: test", test.name()));
        }
        return;
    }
    let fits = |test: &Test, name: &String| match has("--exact") {
        true => test.name() == name,
        false => test.name().contains(name.as_str()),
    };
    let chosen: Vec<&Test> = tests
        .iter()
        .filter(|test| names.is_empty() || names.iter().any(|name| fits(test, name)))
        .filter(|test| !skips.iter().any(|name| fits(test, name)))
        .filter(|_| !has("--ignored"))
        .collect();
    let (ignored, chosen): (Vec<&Test>, Vec<&Test>) =
        chosen.iter().partition(|test| excepted(test).is_some());
    for test in &ignored {
        let (_, why) = excepted(test).unwrap();
        println!("test {} ... ignored, {why}", test.name());
    }
    println!("\nrunning {} tests", chosen.len());
    let begins = watchdog();
    let failed: Vec<&str> = chosen
        .iter()
        .filter(|test| !passes(test, &begins))
        .map(|test| test.name())
        .collect();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out\n",
        chosen.len() - failed.len(),
        failed.len(),
        ignored.len(),
        tests.len() - chosen.len() - ignored.len()
    );
    if !failed.is_empty() {
        println!("failures: {}", failed.join(", "));
        exit(101);
    }
}

fn side_by_side(tests: &[&[Test]], wanted: &[String]) {
    let modules: Vec<&str> = tests
        .iter()
        .map(|tests| tests[0].name().rsplit_once("::").unwrap().0)
        .filter(|module| wanted.is_empty() || wanted.contains(&format!("{module}::")))
        .collect();
    let all_are_there = wanted.is_empty() || modules.len() == wanted.len();
    assert!(
        all_are_there || !cfg!(target_os = "linux"), // elsewhere there are fewer
        "of {wanted:?} there are only {modules:?}"
    );
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let run = || {
        while let Some(&module) = modules.get(next.fetch_add(1, Ordering::Relaxed)) {
            let part = Command::new(std::env::current_exe().unwrap())
                .arg(format!("{module}::"))
                .output()
                .unwrap();
            let mut out = std::io::stdout().lock();
            // The panics of tests that pass would bury what went wrong elsewhere.
            if !part.status.success() {
                out.write_all(&part.stderr).unwrap();
            }
            out.write_all(&part.stdout).unwrap();
            if !part.status.success() {
                writeln!(out, "the tests of {module}: {}", part.status).unwrap();
                failed.lock().unwrap().push(module);
            }
        }
    };
    let width = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..width).for_each(|_| drop(scope.spawn(run)));
    });
    let failed = failed.into_inner().unwrap();
    if !failed.is_empty() {
        println!("FAILED: the tests of {}", failed.join(", "));
        exit(101);
    }
}

/// A thread that ends the program when a test takes too long. It is told when a test begins, and
/// exists from the first to the last, because a new thread for each test would change the counts of
/// threads.
fn watchdog() -> mpsc::Sender<&'static str> {
    let (begins, told) = mpsc::channel();
    std::thread::spawn(move || {
        let limit =
            LIMIT + chaos() + soak().unwrap_or_default() + Duration::from_secs(kills() / 10);
        let mut test = "";
        loop {
            match told.recv_timeout(limit) {
                Ok(next) => test = next,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    eprintln!("test {test} takes too long");
                    std::process::abort();
                }
            }
        }
    });
    begins
}

fn passes(test: &Test, begins: &mpsc::Sender<&'static str>) -> bool {
    print!("test {} ... ", test.name());
    let _ = std::io::stdout().flush();
    begins.send(test.name()).unwrap();
    let begin = Instant::now();
    let passed = catch_unwind(test.run).is_ok();
    let verdict = if passed { "ok" } else { "FAILED" };
    println!("{verdict} <{:.1}s>", begin.elapsed().as_secs_f64());
    passed
}

/// The variable that says as which helper a process runs.
pub(crate) const HELPER: &str = "TREFOIL_TEST_HELPER";

/// Runs the helper as which this process was started, if it was. A helper that has workers begins
/// with `init`, because its workers come through here, too.
pub(crate) fn helper(helpers: &[(&str, fn())]) {
    let Ok(wanted) = std::env::var(HELPER) else {
        return;
    };
    if let Some((_, run)) = helpers.iter().find(|(name, _)| *name == wanted) {
        run();
        exit(0);
    }
}

/// Starts this program as the helper `name`, with its output piped.
pub(crate) fn start_helper(name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(HELPER, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The program of an example, which `cargo build --examples` made with the features of this test.
pub(crate) fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    let shown = program.display();
    assert!(
        program.exists(),
        "{shown} is missing: build the examples first"
    );
    program
}

/// Another process that does nothing until it is killed: this program again ([`sleep`]).
pub(crate) fn sleeper() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(HELPER, "sleep");
    command
}

/// What a process does that [`sleeper`] has started.
pub(crate) fn sleep() {
    helper(&[("sleep", forever::<()>)]);
}

/// Runs the helper `name`, which must succeed. Returns its output.
pub(crate) fn run_helper(name: &str) -> (String, String) {
    let output = start_helper(name).wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "helper {name}: {}\n{out}\n{err}",
        output.status
    );
    (out, err)
}

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
pub(crate) fn peak() -> u64 {
    memory("VmHWM")
}

/// How much memory this process has, in bytes.
#[cfg(target_os = "linux")]
pub(crate) fn resident() -> u64 {
    memory("VmRSS")
}

#[cfg(target_os = "linux")]
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() << 10
}

/// A file for one test, removed when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trefoil-{name}-{}", std::process::id()));
        std::fs::write(&path, b"").unwrap();
        Self(path)
    }

    pub(crate) fn text(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }

    /// The numbers that `note` has written.
    pub(crate) fn notes(&self) -> Vec<u64> {
        let bytes = std::fs::read(&self.0).unwrap();
        bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Appends a number to a file, in one piece.
pub(crate) fn note(path: &str, number: u64) {
    let _alone = alone();
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(&number.to_ne_bytes()).unwrap();
}

/// How many numbers have been noted there.
pub(crate) fn noted(path: &str) -> usize {
    std::fs::read(path).unwrap().len() / 8
}

/// Waits until `done`. If that takes too long, panics at the place of the call; if the test does
/// not end then, the watchdog ends the program.
#[track_caller]
pub(crate) fn until(mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How a process ended: its code, or its signal.
pub(crate) type End = (Option<i32>, Option<i32>);

pub(crate) fn end_of(exit: &WorkerExit) -> End {
    (exit.code(), exit.signal())
}

/// Waits until there is no more of anything than `before`. Never compare for equality: `before` may
/// include what an earlier test was about to end, such as a thread that has been joined.
#[track_caller]
pub(crate) fn nothing_left_since(before: (usize, usize, bool)) {
    let begin = Instant::now();
    loop {
        let now = census();
        if now.0 <= before.0 && now.1 <= before.1 && now.2 <= before.2 {
            return;
        }
        assert!(
            begin.elapsed() < PATIENCE / 3,
            "descriptors, threads, children: {now:?}, they were {before:?}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn pool(workers: usize) -> trefoil::ProcessPool {
    trefoil::ProcessPool::with_workers(workers).unwrap()
}

/// A pool that kills no worker, however late an item notices that it was cancelled.
pub(crate) fn patient(workers: usize) -> trefoil::ProcessPool {
    let builder = trefoil::ProcessPool::builder().workers(workers);
    builder.grace(Duration::from_secs(600)).build().unwrap()
}

/// Whether all workers are plain, as on every system but Linux.
pub(crate) const PORT: bool = cfg!(any(trefoil_port, not(target_os = "linux")));

/// Whether workers are plain unless a builder says otherwise: the second run of the tests
/// (`.ci/run`).
pub(crate) fn is_plain() -> bool {
    PORT || std::env::var_os("TREFOIL_PLAIN_WORKERS").is_some_and(|value| value == "1")
}

/// Runs until a signal ends the process.
pub(crate) fn forever<T>() -> T {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

/// A value that cannot be encoded if it is 1, nor decoded if it is 2; decoding 3 ends the process.
#[derive(Debug)]
pub(crate) struct Odd(pub(crate) u8);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(ser::Error::custom("never written")),
            n => serializer.serialize_u8(n),
        }
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            2 => Err(de::Error::custom("never read")),
            3 => std::process::abort(),
            n => Ok(Self(n)),
        }
    }
}

/// Pseudo-random numbers.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}
