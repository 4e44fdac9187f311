//! Workers on Dask, against a real cluster on this machine.
//!
//! It needs an interpreter with Dask's `distributed`, which `TREFOIL_DASK_PYTHON` names (`.ci/long
//! machines` makes one); without that it says so and tests nothing. This program is its own worker,
//! on Dask, too: it has its own `main`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

#[path = "../../../../tests/support/mod.rs"]
mod support;

#[path = "../ssh/chaos.rs"]
mod chaos;
mod cluster;
mod contract;
mod cut;
mod errors;
mod losses;

/// The variable of a machine where this program does not start.
pub(crate) const BROKEN: &str = "TREFOIL_TEST_BROKEN";

fn main() {
    if std::env::var_os(BROKEN).is_some() {
        eprintln!("a library is missing");
        std::process::exit(127);
    }
    trefoil::init();
    losses::helpers();
    if std::env::var_os(cluster::PYTHON).is_none() {
        println!(
            "skipped: {} names no Python interpreter that has Dask's `distributed`",
            cluster::PYTHON
        );
        return;
    }
    support::main(&[contract::TESTS, errors::TESTS, losses::TESTS, cut::TESTS]);
    cluster::clean();
}
