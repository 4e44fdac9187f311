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
// What only tests of Linux's need.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

mod actors;
#[cfg(unix)] // elsewhere there are none
mod attachment;
mod bulk;
mod callers;
mod calls;
#[cfg(unix)] // elsewhere there are none
mod channel;
mod chaos;
mod conformance;
#[cfg(all(target_os = "linux", feature = "backtrace"))] // elsewhere nothing is noted
mod crashes;
#[path = "../deadline/mod.rs"]
mod deadline;
#[cfg(target_os = "linux")] // its signals and tracers
mod deaths;
mod deep;
mod described;
mod everywhere;
mod failures;
#[cfg(target_os = "linux")] // elsewhere there is none
mod fork_server;
mod host;
#[cfg(target_os = "linux")] // its descriptors and its protocol
mod hostile;
mod imap;
#[cfg(target_os = "linux")] // it looks for processes in /proc
mod launcher;
mod limits;
mod memory;
mod one;
mod one_faults;
mod permits;
mod places;
mod plain;
mod pool;
mod replaced;
mod retire;
mod shared;
#[cfg(unix)] // elsewhere there is none
mod shared_ring;
mod speed;
#[cfg(target_os = "linux")] // it reads files of /proc
mod start_bars;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "inspect")]
mod trees;
#[cfg(target_os = "linux")] // it traces processes
mod undying;
#[cfg(target_os = "linux")] // it looks at threads in /proc
mod unread;
mod width;
mod within;
/// (A launcher for tests of all launchers.)
#[cfg(unix)]
#[path = "../../crates/trefoil-sandbox/src/wrapped.rs"]
#[allow(dead_code, unreachable_pub)]
mod wrapped;

fn main() {
    support::sleep();
    bulk::helpers();
    #[cfg(all(target_os = "linux", feature = "backtrace"))]
    crashes::helpers();
    #[cfg(target_os = "linux")]
    deaths::helpers();
    #[cfg(target_os = "linux")]
    fork_server::helpers();
    host::helpers();
    memory::helpers();
    one::helpers_before_init();
    pool::helpers();
    shared::helpers();
    #[cfg(target_os = "linux")]
    undying::helpers();
    #[cfg(target_os = "linux")]
    unread::helpers();
    trefoil::init();
    #[cfg(unix)]
    attachment::helpers();
    one_faults::helpers();
    #[cfg(unix)]
    channel::helpers();
    everywhere::helpers();
    #[cfg(target_os = "linux")]
    launcher::helpers();
    one::helpers();
    let mut except = Vec::new();
    if support::is_plain() {
        except.extend(plain::EXCEPT);
    }
    if support::PORT {
        except.extend(plain::PORT);
    }
    if support::PORT && !cfg!(any(windows, target_os = "freebsd")) {
        except.extend(plain::ENDLESS);
    }
    // The modules that take longest begin first.
    let tests = [
        pool::TESTS,
        within::TESTS,
        #[cfg(target_os = "linux")]
        undying::TESTS,
        #[cfg(target_os = "linux")]
        unread::TESTS,
        plain::TESTS,
        #[cfg(unix)]
        channel::TESTS,
        bulk::TESTS,
        calls::TESTS,
        everywhere::TESTS,
        host::TESTS,
        #[cfg(target_os = "linux")]
        launcher::TESTS,
        #[cfg(target_os = "linux")]
        hostile::TESTS,
        limits::TESTS,
        actors::TESTS,
        #[cfg(unix)]
        attachment::TESTS,
        permits::TESTS,
        places::TESTS,
        callers::TESTS,
        #[cfg(all(target_os = "linux", feature = "backtrace"))]
        crashes::TESTS,
        #[cfg(target_os = "linux")]
        deaths::TESTS,
        deep::TESTS,
        described::TESTS,
        failures::TESTS,
        #[cfg(target_os = "linux")]
        fork_server::TESTS,
        conformance::TESTS,
        imap::TESTS,
        one::TESTS,
        speed::TESTS,
        #[cfg(feature = "inspect")]
        trees::TESTS,
        one_faults::TESTS,
        replaced::TESTS,
        retire::TESTS,
        shared::TESTS,
        #[cfg(target_os = "linux")]
        #[cfg(unix)]
        shared_ring::TESTS,
        chaos::TESTS,
        memory::TESTS,
        width::TESTS,
    ];
    #[cfg(target_os = "linux")]
    let bars = start_bars::are_measured().then_some(start_bars::TESTS);
    #[cfg(target_os = "linux")]
    let tests = [&tests[..], bars.as_slice()].concat();
    support::main_but(&tests, &except);
}
