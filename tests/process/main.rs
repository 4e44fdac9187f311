//! Worker processes, from outside.
//!
//! This program is its own worker, so it has its own `main` (`harness = false`), which runs the
//! tests as libtest would; `--test process -- channel::` runs those of one module. No test sleeps
//! in order to pass; if one hangs, the watchdog aborts the program.
//!
//! The tests of a module share a process: a test that changes the process (limits, handlers,
//! descriptors) undoes that, or does it in a separate process, a helper (`support::run_helper`).
//! The names of helpers are unique in the program.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

#[cfg(unix)]
mod attacks;
#[cfg(unix)]
mod bulk;
#[cfg(unix)]
mod callers;
#[cfg(unix)]
mod calls;
#[cfg(unix)]
mod channel;
#[cfg(unix)]
mod chaos;
#[cfg(unix)]
mod conformance;
#[path = "../deadline/mod.rs"]
mod deadline;
#[cfg(unix)]
mod deep;
#[cfg(unix)]
mod described;
mod everywhere;
#[cfg(unix)]
mod failures;
#[cfg(unix)]
mod host;
#[cfg(unix)]
mod imap;
#[cfg(unix)]
mod limits;
#[cfg(unix)]
mod memory;
#[cfg(unix)]
mod one;
#[cfg(unix)]
mod plain;
#[cfg(unix)]
mod pool;
#[cfg(unix)]
mod remote;
#[cfg(unix)]
mod shared;
#[cfg(unix)]
mod speed;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
mod tray;

#[cfg(windows)]
fn main() {
    trefoil::init();
    everywhere::helpers();
    support::main(&[everywhere::TESTS]);
}

#[cfg(unix)]
fn main() {
    bulk::helpers();
    host::helpers();
    memory::helpers();
    one::helpers_before_init();
    pool::helpers();
    shared::helpers();
    trefoil::init();
    attacks::helpers();
    channel::helpers();
    everywhere::helpers();
    one::helpers();
    let mut except = Vec::new();
    if support::is_plain() {
        except.extend(plain::EXCEPT);
    }
    if cfg!(trefoil_port) {
        except.extend(plain::PORT);
    }
    // The modules that take longest begin first.
    let tests = [
        pool::TESTS,
        plain::TESTS,
        channel::TESTS,
        bulk::TESTS,
        calls::TESTS,
        everywhere::TESTS,
        host::TESTS,
        limits::TESTS,
        callers::TESTS,
        deep::TESTS,
        described::TESTS,
        failures::TESTS,
        conformance::TESTS,
        imap::TESTS,
        one::TESTS,
        speed::TESTS,
        attacks::TESTS,
        remote::TESTS,
        shared::TESTS,
        tray::TESTS,
        chaos::TESTS,
        memory::TESTS,
    ];
    support::main_but(&tests, &except);
}
