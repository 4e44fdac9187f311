//! Workers in a sandbox, with limits, and behind other command lines.
//!
//! This program is its own worker, as `tests/process/main.rs` of trefoil is.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

#[cfg(target_os = "linux")]
mod attacks;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
#[allow(clippy::module_inception)]
mod sandbox;
#[path = "../../../../tests/support/mod.rs"]
mod support;
mod wrapped;

fn main() {
    support::sleep();
    trefoil::init();
    #[cfg(target_os = "linux")]
    support::helper(&[sandbox::HELPERS, attacks::HELPERS, limits::HELPERS].concat());
    support::main(&[
        #[cfg(target_os = "linux")]
        attacks::TESTS,
        #[cfg(target_os = "linux")]
        limits::TESTS,
        #[cfg(target_os = "linux")]
        sandbox::TESTS,
        wrapped::TESTS,
    ]);
}
