//! Worker processes, from outside.
//!
//! This program is its own worker, so `main` is its own too (`harness = false`): it runs the tests
//! of its modules one after the other, the way libtest would; `--test process -- channel::` runs
//! those of one module. Nothing sleeps in order to pass; what could hang is ended by the watchdog,
//! which aborts.
//!
//! All of them share the process: what one changes in it (limits, handlers, descriptors) it changes
//! back, or it does so in a process of its own, a helper (`support::run_helper`). Helpers' names
//! are the program's.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate
#![cfg_attr(windows, allow(dead_code, unused_imports))] // what only some tests of other systems need

mod attacks;
mod bulk;
mod callers;
mod calls;
#[cfg(unix)] // elsewhere there are none
mod channel;
mod chaos;
mod conformance;
#[path = "../deadline/mod.rs"]
mod deadline;
mod deep;
mod described;
mod everywhere;
mod failures;
mod host;
mod imap;
mod limits;
mod memory;
mod one;
mod plain;
mod pool;
mod remote;
mod shared;
mod speed;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)] // elsewhere there is none
mod tray;

fn main() {
    support::sleep();
    bulk::helpers();
    host::helpers();
    memory::helpers();
    one::helpers_before_init();
    pool::helpers();
    shared::helpers();
    trefoil::init();
    attacks::helpers();
    #[cfg(unix)]
    channel::helpers();
    everywhere::helpers();
    one::helpers();
    let mut except = Vec::new();
    if support::is_plain() {
        except.extend(plain::EXCEPT);
    }
    if cfg!(any(windows, trefoil_port)) {
        except.extend(plain::PORT);
    }
    if cfg!(trefoil_port) {
        except.extend(plain::ENDLESS);
    }
    // The modules that take longest begin first.
    let tests = [
        pool::TESTS,
        plain::TESTS,
        #[cfg(unix)]
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
        #[cfg(unix)]
        tray::TESTS,
        chaos::TESTS,
        memory::TESTS,
    ];
    support::main_but(&tests, &except);
}
