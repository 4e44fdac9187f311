//! A test runner that can be a worker first, and what the tests share.

#![allow(dead_code)] // not every program needs all of it

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::io::Write;
use std::panic::catch_unwind;
use std::process::{Child, Command, Stdio, exit};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

/// How long one test may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How long the test of chaos goes on: `TREFOIL_CHAOS=seconds`.
pub(crate) fn chaos() -> Duration {
    let seconds = std::env::var("TREFOIL_CHAOS").ok();
    Duration::from_secs(seconds.and_then(|n| n.parse().ok()).unwrap_or(4))
}

/// How many workers the counted chaos kills: `TREFOIL_KILLS=n`.
pub(crate) fn kills() -> u64 {
    let kills = std::env::var("TREFOIL_KILLS").ok();
    kills.and_then(|n| n.parse().ok()).unwrap_or(150)
}

pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
}

/// Declares the tests and lists them in `TESTS`.
macro_rules! tests {
    ($($(#[$note:meta])* fn $name:ident() $body:block)*) => {
        $($(#[$note])* fn $name() $body)*
        static TESTS: &[Test] = &[$(Test { name: stringify!($name), run: $name }),*];
    };
}
pub(crate) use tests;

/// Runs `tests`, one after the other, understanding as much of libtest's command line as
/// `cargo test` and `cargo nextest` use.
pub(crate) fn main(tests: &[Test]) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let mut names = args
        .iter()
        .filter(|arg| !arg.starts_with('-') && *arg != "terse" && *arg != "pretty");
    if has("--list") {
        if !has("--ignored") {
            tests
                .iter()
                .for_each(|test| println!("{}: test", test.name));
        }
        return;
    }
    let filter = names.next();
    let chosen = |test: &&Test| match filter {
        Some(name) if has("--exact") => test.name == name,
        Some(name) => test.name.contains(name.as_str()),
        None => true,
    };
    let chosen: Vec<&Test> = tests
        .iter()
        .filter(chosen)
        .filter(|_| !has("--ignored"))
        .collect();
    println!("\nrunning {} tests", chosen.len());
    let failed: Vec<&str> = chosen
        .iter()
        .filter(|test| !passes(test))
        .map(|test| test.name)
        .collect();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out\n",
        chosen.len() - failed.len(),
        failed.len(),
        tests.len() - chosen.len()
    );
    if !failed.is_empty() {
        println!("failures: {}", failed.join(", "));
        exit(101);
    }
}

fn passes(test: &Test) -> bool {
    print!("test {} ... ", test.name);
    let _ = std::io::stdout().flush();
    let (done, watch) = mpsc::channel::<()>();
    let name = test.name;
    let limit = LIMIT + chaos() + Duration::from_secs(kills() / 10);
    let watchdog = std::thread::spawn(move || {
        if watch.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("test {name} takes too long");
            std::process::abort();
        }
    });
    let passed = catch_unwind(test.run).is_ok();
    drop(done);
    let _ = watchdog.join();
    println!("{}", if passed { "ok" } else { "FAILED" });
    passed
}

/// Which helper a process is to be.
const HELPER: &str = "TREFOIL_TEST_HELPER";

/// Runs the helper that this process was started as, if it was. A helper that has workers of
/// its own begins with `init`: they come through here, too.
pub(crate) fn helper(helpers: &[(&str, fn())]) {
    let Ok(wanted) = std::env::var(HELPER) else {
        return;
    };
    if let Some((_, run)) = helpers.iter().find(|(name, _)| *name == wanted) {
        run();
        exit(0);
    }
}

/// This program as the helper `name`, its output piped.
pub(crate) fn start_helper(name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(HELPER, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The output of the helper `name`, which must succeed.
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

/// A file for one test, removed when dropped.
pub(crate) struct Scratch(pub(crate) std::path::PathBuf);

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
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(&number.to_ne_bytes()).unwrap();
}

/// Waits until `done`; the watchdog ends what never is.
pub(crate) fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let _ = rustix::process::kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

/// What must not grow: descriptors, threads, children.
pub(crate) fn census() -> (usize, usize, bool) {
    let count = |dir| std::fs::read_dir(dir).unwrap().count();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let children = !matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD));
    (count("/proc/self/fd"), count("/proc/self/task"), children)
}

/// Waits until there is no more of anything than there was, which another test's end may have
/// made less of meanwhile.
pub(crate) fn nothing_left_since(before: (usize, usize, bool)) {
    let more =
        |now: (usize, usize, bool)| now.0 > before.0 || now.1 > before.1 || (now.2 && !before.2);
    let begin = Instant::now();
    until(|| !more(census()) || begin.elapsed() > Duration::from_secs(5));
    let now = census();
    assert!(
        !more(now),
        "descriptors, threads, children: {now:?}, they were {before:?}"
    );
}

pub(crate) fn pool(workers: usize) -> trefoil::ProcessPool {
    trefoil::ProcessPool::with_workers(workers).unwrap()
}

/// What only a signal ends.
pub(crate) fn forever<T>() -> T {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

/// A value that cannot be written if it is 1, nor read if it is 2; reading 3 is the end.
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

/// Numbers for tests that want many different ones.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}
