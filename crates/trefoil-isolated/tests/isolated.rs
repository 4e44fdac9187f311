//! What becomes of tests that end in every way: this program runs itself with the cases below, each
//! an ignored test, and reads what the harness says. The same cases with `rusty-fork` are in a
//! table (`TREFOIL_FULL=1`, `--nocapture`).
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // tests

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The body of each case.
mod bodies {
    use std::hint::black_box;
    use std::process::{abort, exit};
    use std::sync::atomic::{AtomicU32, Ordering};

    #[cfg(unix)]
    #[allow(unsafe_code)]
    pub(crate) fn segmentation_fault() {
        loop {
            // SAFETY: a call with a number. (std's handler lets the first one return.)
            unsafe { libc::raise(libc::SIGSEGV) };
        }
    }

    #[allow(unconditional_recursion)] // that is the case
    fn descend(depth: u64) -> u64 {
        let room = black_box([depth; 64]);
        descend(depth + 1) + black_box(room)[7]
    }

    pub(crate) fn passes() {
        println!("it says so");
    }

    pub(crate) fn panics() {
        println!("before the panic");
        panic!("row {}", 7);
    }

    pub(crate) fn aborts() {
        eprintln!("before the abort");
        abort();
    }

    pub(crate) fn exits_with_0() {
        exit(0);
    }

    pub(crate) fn exits_with_3() {
        exit(3);
    }

    pub(crate) fn exits_in_a_thread() {
        std::thread::spawn(|| exit(3)).join().unwrap();
    }

    pub(crate) fn hangs() {
        println!("before the hang");
        loop {
            std::thread::park();
        }
    }

    pub(crate) fn overflows_its_stack() {
        black_box(descend(0));
    }

    pub(crate) fn takes_too_much_memory() {
        black_box(vec![1u8; 1 << 30]);
    }

    pub(crate) fn returns_an_error() -> Result<(), String> {
        Err("it is an error".to_owned())
    }

    pub(crate) fn returns_a_success() -> Result<(), String> {
        Ok(())
    }

    pub(crate) fn leaks_a_thread() {
        let thread = std::thread::Builder::new().name("left behind".to_owned());
        thread.spawn(std::thread::park).unwrap();
    }

    pub(crate) fn joins_its_threads() {
        std::thread::spawn(|| ()).join().unwrap();
    }

    /// Two cases of it in one process would see each other.
    pub(crate) fn is_alone() {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        assert_eq!(RUNS.fetch_add(1, Ordering::Relaxed), 0);
        assert!(std::env::set_current_dir("/").is_ok());
    }

    /// The first two times.
    pub(crate) fn fails_twice() {
        let file = std::env::var_os("TREFOIL_CASE").unwrap();
        let before = std::fs::read(&file).unwrap_or_default();
        std::fs::write(file, [&before[..], b"x"].concat()).unwrap();
        assert!(before.len() >= 2, "not yet");
    }
}

/// Run by the tests below.
mod cases {
    use super::bodies;
    use trefoil_isolated::isolated;

    macro_rules! cases {
        ($($(#[$attribute:meta])* $name:ident: $body:path $(, $result:ty)?;)*) => {$(
            #[test]
            #[ignore = "a case: run by the tests at the end of this file"]
            $(#[$attribute])*
            fn $name() $(-> $result)? {
                $body()
            }
        )*};
    }

    cases! {
        #[isolated] passes: bodies::passes;
        #[isolated] panics: bodies::panics;
        #[isolated] aborts: bodies::aborts;
        #[isolated] exits_with_0: bodies::exits_with_0;
        #[isolated] exits_with_3: bodies::exits_with_3;
        #[isolated] exits_in_a_thread: bodies::exits_in_a_thread;
        #[isolated(timeout = "0.3s")] hangs: bodies::hangs;
        #[isolated] overflows_its_stack: bodies::overflows_its_stack;
        #[isolated(memory = "256MiB")] takes_too_much_memory: bodies::takes_too_much_memory;
        #[isolated] returns_an_error: bodies::returns_an_error, Result<(), String>;
        #[isolated] returns_a_success: bodies::returns_a_success, Result<(), String>;
        #[isolated] leaks_a_thread: bodies::leaks_a_thread;
        #[isolated(leaks = "allow")] may_leak_a_thread: bodies::leaks_a_thread;
        #[isolated] joins_its_threads: bodies::joins_its_threads;
        #[isolated] is_alone: bodies::is_alone;
        #[isolated] is_alone_too: bodies::is_alone;
        #[isolated(retries = 2)] passes_at_last: bodies::fails_twice;
        #[isolated(retries = 1)] fails_often: bodies::fails_twice;
        #[isolated] #[should_panic(expected = "row 7")] should_panic: bodies::panics;
        #[isolated] #[should_panic(expected = "row 8")] should_panic_otherwise: bodies::panics;
        #[isolated] #[should_panic] should_panic_and_aborts: bodies::aborts;
        #[isolated] #[should_panic] should_panic_and_passes: bodies::passes;
    }

    #[cfg(unix)]
    #[isolated]
    #[test]
    #[ignore = "a case: run by the tests at the end of this file"]
    fn segmentation_fault() {
        bodies::segmentation_fault();
    }

    #[isolated(timeout = "20s")]
    #[test]
    #[ignore = "a case: run by the tests at the end of this file"]
    async fn runs_on_a_loop() -> Result<(), std::io::Error> {
        trefoil::time::sleep(std::time::Duration::from_millis(1)).await;
        let sum = trefoil::spawn(async { 2 + 3 }).await;
        assert_eq!(sum.unwrap(), 5);
        Ok(())
    }

    #[isolated]
    #[test]
    #[ignore = "a case: run by the tests at the end of this file"]
    async fn panics_on_a_loop() {
        trefoil::time::sleep(std::time::Duration::from_millis(1)).await;
        bodies::panics();
    }
}

/// The same with `rusty-fork`.
#[cfg(unix)]
mod forked {
    use super::bodies;
    use rusty_fork::rusty_fork_test;

    rusty_fork_test! {
        #![rusty_fork(timeout_ms = 1000)]
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn passes() { bodies::passes() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn panics() { bodies::panics() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn aborts() { bodies::aborts() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn exits_with_0() { bodies::exits_with_0() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn exits_with_3() { bodies::exits_with_3() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn exits_in_a_thread() { bodies::exits_in_a_thread() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn hangs() { bodies::hangs() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn overflows_its_stack() { bodies::overflows_its_stack() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn takes_too_much_memory() { bodies::takes_too_much_memory() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn leaks_a_thread() { bodies::leaks_a_thread() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn joins_its_threads() { bodies::joins_its_threads() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn segmentation_fault() { bodies::segmentation_fault() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn is_alone() { bodies::is_alone() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] fn is_alone_too() { bodies::is_alone() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] #[should_panic(expected = "row 7")] fn should_panic() { bodies::panics() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] #[should_panic(expected = "row 8")]
        fn should_panic_otherwise() { bodies::panics() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] #[should_panic] fn should_panic_and_aborts() { bodies::aborts() }
        #[test] #[ignore = "a case: run by beside_rusty_fork"] #[should_panic] fn should_panic_and_passes() { bodies::passes() }
    }
}

/// For their time.
mod empty {
    macro_rules! empty {
        ($($name:ident)*) => {
            mod isolated {
                $(
                    #[test]
                    #[ignore = "a case: run by the tests at the end of this file"]
                    #[trefoil_isolated::isolated]
                    fn $name() {}
                )*
            }
            mod plain {
                $(
                    #[test]
                    #[ignore = "a case: run by the tests at the end of this file"]
                    fn $name() {}
                )*
            }
            #[cfg(unix)]
            mod forked {
                use rusty_fork::rusty_fork_test;

                rusty_fork_test! {
                    $(
                        #[test]
                        #[ignore = "a case: run by the tests at the end of this file"]
                        fn $name() {}
                    )*
                }
            }
        };
    }

    empty! {
        a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4 c5 c6 c7 c8 c9
        d0 d1 d2 d3 d4 d5 d6 d7 d8 d9 e0 e1 e2 e3 e4 e5 e6 e7 e8 e9 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9
    }
}

fn program(args: &[&str]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(args)
        .arg("--ignored")
        .env("RUST_BACKTRACE", "0");
    command.env_remove("RUST_TEST_NOCAPTURE");
    command.output().unwrap()
}

/// Whether the harness says that the case has passed, and all that it says.
fn case(name: &str) -> (bool, String) {
    let output = program(&[name, "--exact"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("running 1 test"), "{name}: {text}{err}");
    (output.status.success(), text + &err)
}

fn passes(name: &str) {
    let (passed, text) = case(&format!("cases::{name}"));
    assert!(passed, "{name}: {text}");
    assert!(!text.contains("it says so"), "{text}");
}

/// The case fails alone, and these words are in its message.
fn fails(name: &str, words: &[&str]) {
    let (passed, text) = case(&format!("cases::{name}"));
    assert!(!passed, "{name}: {text}");
    assert!(text.contains("1 failed"), "{name}: {text}");
    for words in words {
        assert!(text.contains(words), "{name}: no `{words}` in: {text}");
    }
}

#[test]
fn what_ends_well_passes() {
    for name in [
        "passes",
        "returns_a_success",
        "joins_its_threads",
        "may_leak_a_thread",
        "runs_on_a_loop",
        "should_panic",
    ] {
        passes(name);
    }
}

#[test]
fn what_panics_fails_with_its_words() {
    let panicked = [
        "panicked at crates/trefoil-isolated/tests/isolated.rs",
        "row 7",
        "before the panic",
    ];
    fails("panics", &panicked);
    fails("panics_on_a_loop", &panicked);
    fails(
        "returns_an_error",
        &["Error: \"it is an error\"", "non-zero status code (1)"],
    );
    fails("should_panic_otherwise", &["row 7", "row 8"]);
    fails(
        "should_panic_and_passes",
        &["test did not panic as expected"],
    );
}

#[test]
#[cfg(unix)]
fn what_dies_fails_with_its_signal_and_last_words() {
    fails(
        "aborts",
        &["signal 6 (SIGABRT)", "its last words:\nbefore the abort"],
    );
    fails("segmentation_fault", &["signal 11 (SIGSEGV)"]);
    fails("overflows_its_stack", &["signal"]);
    fails("exits_with_0", &["exited with code 0"]);
    fails("exits_with_3", &["exited with code 3"]);
    fails("exits_in_a_thread", &["exited with code 3"]);
    // That is no panic.
    fails(
        "should_panic_and_aborts",
        &["signal 6", "test did not panic as expected"],
    );
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        fails("aborts", &["bodies::aborts"]); // a backtrace
    }
}

#[test]
fn limits_are_kept() {
    let begin = Instant::now();
    fails("hangs", &["stopped at its time limit", "before the hang"]);
    assert!(begin.elapsed() < Duration::from_secs(60));
    if cfg!(target_os = "linux") {
        fails(
            "takes_too_much_memory",
            &["memory allocation of 1073741824 bytes failed"],
        );
        fails("leaks_a_thread", &["1 of its threads run on: left behind"]);
    }
}

#[test]
fn it_runs_again_as_often_as_it_may() {
    for (name, expected) in [("passes_at_last", true), ("fails_often", false)] {
        let file = std::env::temp_dir().join(format!("trefoil-{name}-{}", std::process::id()));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("cases::{name}"), "--exact", "--ignored"]);
        let output = command.env("TREFOIL_CASE", &file).output().unwrap();
        let runs = std::fs::read(&file).unwrap().len();
        std::fs::remove_file(&file).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), expected, "{text}");
        assert_eq!(runs, if expected { 3 } else { 2 });
    }
}

/// Each has its own process, and the harness's options choose among them.
#[test]
fn many_run_together() {
    let output = program(&["cases::is_alone", "--test-threads=3"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("2 passed"),
        "{text}"
    );
    let output = program(&[
        "cases::",
        "--skip",
        "passes_at_last",
        "--skip",
        "fails_often",
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = if cfg!(target_os = "linux") {
        "15 failed"
    } else {
        "failed"
    };
    assert!(text.contains("8 passed") && text.contains(failed), "{text}");
    let shown = program(&["cases::passes", "--exact", "--nocapture"]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("it says so"), "{text}");
}

/// What each does on the same cases, and what it costs.
#[test]
#[cfg(unix)]
fn beside_rusty_fork() {
    if std::env::var_os("TREFOIL_FULL").is_none() {
        return;
    }
    let names = [
        "passes",
        "panics",
        "aborts",
        "segmentation_fault",
        "overflows_its_stack",
        "exits_with_0",
        "exits_with_3",
        "exits_in_a_thread",
        "hangs",
        "takes_too_much_memory",
        "leaks_a_thread",
        "joins_its_threads",
        "is_alone",
        "is_alone_too",
        "should_panic",
        "should_panic_otherwise",
        "should_panic_and_aborts",
        "should_panic_and_passes",
    ];
    for name in names {
        let said = ["cases", "forked"].map(|module| {
            let (passed, text) = case(&format!("{module}::{name}"));
            let end = [
                "signal",
                "row 7",
                "code 3",
                "code 0",
                "time limit",
                "allocation of",
                "run on",
            ];
            let end: Vec<_> = end
                .into_iter()
                .filter(|words| text.contains(words))
                .collect();
            format!("{} {end:?}", if passed { "passes" } else { "fails" })
        });
        println!("| {name} | {} | {} |", said[0], said[1]);
    }
    for module in ["plain", "isolated", "forked"] {
        let begin = Instant::now();
        let output = program(&[&format!("empty::{module}"), "--test-threads=2"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("60 passed"), "{text}");
        println!("60 empty tests, {module}: {:?}", begin.elapsed());
    }
}
