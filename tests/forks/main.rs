//! Forked children, and the pools and loops of their parents.
//!
//! This is a separate program, whose tests run one after the other: no thread may start or end
//! while another test forks.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod children;
mod event_loop;
mod process;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod thread;

fn main() {
    trefoil::init();
    support::main(&[
        thread::TESTS,
        process::TESTS,
        event_loop::TESTS,
        signals::TESTS,
    ]);
}
