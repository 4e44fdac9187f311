//! The feature `chaos`: it finds faults in programs, repeats itself, and breaks no promise.
//!
//! What it is to find is in `programs.rs`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod faults;
mod programs;
mod seeds;
#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Output, Stdio};

fn main() {
    trefoil::init();
    support::helper(programs::FAULTY);
    support::helper(seeds::PROGRAMS);
    support::main(&[faults::TESTS, seeds::TESTS]);
}

/// Runs a program of these with this chaos, or without any; `mended`: as it should be.
fn run(program: &str, chaos: Option<&str>, mended: bool) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(support::HELPER, program).stdin(Stdio::null());
    command.env_remove("TREFOIL_CHAOS");
    command.envs(chaos.map(|value| ("TREFOIL_CHAOS", value)));
    command.envs(mended.then_some((programs::MENDED, "1")));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
