//! Workers on other machines, over ssh: each test with a stand-in for ssh's client, which runs here
//! what it should run there, and with a real sshd where there is one (`cluster`).
//!
//! This program is its own worker (`harness = false`), and copies itself.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod accidents;
mod chaos;
mod cluster;
mod contract;
mod cut;
mod errors;
#[path = "../../../../tests/support/mod.rs"]
mod support;

fn main() {
    if std::env::var_os("TREFOIL_TEST_NOISE").is_some() {
        println!("what a program prints before `init`");
    }
    trefoil::init();
    contract::helpers();
    support::main(&[accidents::TESTS, contract::TESTS, cut::TESTS, errors::TESTS]);
}
