//! What the loom models share; everything else here is a test, see `tests/`.

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
