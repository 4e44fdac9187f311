//! What workers show of themselves with the features `backtrace` and `trace`, from outside.
//!
//! The same tests are modules of `main.rs`; here they are compiled with these features, without the
//! rest. This program is its own worker.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate
// What only tests of Linux's need.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

#[cfg(target_os = "linux")]
mod crashes;
#[path = "../deadline/mod.rs"]
mod deadline;
#[cfg(target_os = "linux")]
mod hostile;
#[path = "../support/mod.rs"]
mod support;
mod trees;

fn main() {
    support::sleep();
    #[cfg(target_os = "linux")]
    crashes::helpers();
    trefoil::init();
    #[cfg(target_os = "linux")]
    let (crashes, hostile) = (crashes::TESTS, hostile::TESTS);
    #[cfg(not(target_os = "linux"))]
    let (crashes, hostile): (&[support::Test], &[support::Test]) = (&[], &[]);
    let lies = |test: &&support::Test| test.name.contains("hostile::what_a_worker_says");
    let hostile: Vec<_> = hostile.iter().filter(lies).copied().collect();
    support::main(&[crashes, trees::TESTS, &hostile]);
}
