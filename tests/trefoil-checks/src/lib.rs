//! Helpers that the loom models share; the tests are in `tests/`.

/// Explores the interleavings of `f`, and prints how many there were under the test's name.
#[cfg(loom)]
pub fn explore(f: impl Fn() + Send + Sync + 'static) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    let executions = Arc::new(AtomicUsize::new(0));
    let counted = executions.clone();
    loom::model(move || {
        counted.fetch_add(1, SeqCst);
        f();
    });
    let test = std::thread::current();
    println!(
        "model {}: {} executions",
        test.name().unwrap_or("?"),
        executions.load(SeqCst)
    );
}

/// A model that is broken on purpose fails: `twin` is an ignored test of the same program. loom
/// reports a lost wake-up as a deadlock, from which a process does not recover, so the program is
/// run again as a child.
#[cfg(loom)]
pub fn must_fail(twin: &str) {
    must_fail_with(twin, "deadlock");
}

/// Like [`must_fail`], where loom says `how` it fails.
#[cfg(loom)]
pub fn must_fail_with(twin: &str, how: &str) {
    let program = std::env::current_exe().expect("a running program has a name");
    let child = std::process::Command::new(program)
        .args(["--exact", twin, "--ignored", "--nocapture"])
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("a program that runs can be run again");
    assert!(!child.status.success(), "the models do not notice {twin}");
    let words = String::from_utf8_lossy(&child.stderr);
    assert!(
        words.contains(how),
        "{twin} failed for another reason: {words}"
    );
}
