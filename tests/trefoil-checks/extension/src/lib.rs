//! An extension of Python that uses trefoil, as its authors would write it.
//!
//! Tests: `tests/trefoil-checks/extension/tests/python.rs`.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use trefoil::{CancelToken, Process, ProcessPool, TaskError, ThreadPool};

/// How many items of [`wait`] have begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

fn raise(error: impl std::fmt::Display) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Sleeps for this many items of ten milliseconds each, on threads. Ctrl-C ends it.
#[pyfunction]
fn wait(py: Python<'_>, items: usize) -> PyResult<usize> {
    let token = CancelToken::new();
    let stop = token.clone();
    let mut task = ThreadPool::global().spawn(move || {
        ThreadPool::global().until(&stop).map(0..items, |_| {
            BEGUN.fetch_add(1, Relaxed);
            sleep(Duration::from_millis(10));
        })
    });
    let mut interrupt = None;
    loop {
        // Without the interpreter's lock, so that other threads of Python run.
        match py.detach(|| task.join_timeout(Duration::from_millis(20))) {
            Err(TaskError::TimedOut(_)) => {
                // Python's handlers run here, and Ctrl-C is an `Err`.
                interrupt = interrupt.or(py.check_signals().err());
                if interrupt.is_some() {
                    token.cancel();
                }
            }
            ended => {
                let ended = ended.and_then(|done| done).map(|done| done.len());
                return ended.map_err(|error| interrupt.unwrap_or_else(|| raise(error)));
            }
        }
    }
}

#[pyfunction]
fn begun() -> u64 {
    BEGUN.load(Relaxed)
}

/// The sum of the squares below `n`, on the global pool.
#[pyfunction]
fn squares(py: Python<'_>, n: u64) -> u64 {
    py.detach(|| trefoil_squares(n))
}

/// The same for callers that know no Python, such as `ctypes`.
#[unsafe(no_mangle)]
pub extern "C" fn trefoil_squares(n: u64) -> u64 {
    ThreadPool::global().map_reduce(0..n, |x| x * x, || 0, |a, b| a + b)
}

/// Why there are no worker processes.
#[pyfunction]
fn workers() -> [String; 2] {
    trefoil::init();
    let pool = ProcessPool::with_workers(1).map(drop);
    let process = Process::spawn(3_u64, |x| x).map(drop);
    [pool, process].map(|made| made.map_or_else(|error| error.to_string(), |()| String::new()))
}

#[pymodule]
fn trefoil_extension(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(wait, module)?)?;
    module.add_function(wrap_pyfunction!(begun, module)?)?;
    module.add_function(wrap_pyfunction!(squares, module)?)?;
    module.add_function(wrap_pyfunction!(workers, module)?)
}
