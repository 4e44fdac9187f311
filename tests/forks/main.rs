//! Forked children, and the pools and loops of their parents.
//!
//! A program of its own: no test may start or end a thread beside another, so one runs after the
//! other.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod children;
mod event_loop;
mod process;
#[path = "../support/mod.rs"]
mod support;
mod thread;

fn main() {
    trefoil::init();
    support::main(&[thread::TESTS, process::TESTS, event_loop::TESTS]);
}
