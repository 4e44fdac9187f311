//! A test runner that can be a worker first, and what the tests share.

use std::io::Write;
use std::panic::catch_unwind;
use std::process::exit;
use std::sync::mpsc;
use std::time::Duration;

/// How long one test may take.
const LIMIT: Duration = Duration::from_secs(120);

pub struct Test {
    pub name: &'static str,
    pub run: fn(),
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
pub fn main(tests: &[Test]) {
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
    let watchdog = std::thread::spawn(move || {
        if watch.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
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

/// Runs the helper that this process was started as, if it was.
pub fn helper() {}
