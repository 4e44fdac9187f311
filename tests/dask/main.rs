//! Workers on Dask, against a real cluster on this machine.
//!
//! It needs an interpreter with Dask's `distributed`, which `TREFOIL_DASK_PYTHON` names (`.ci/run`
//! makes one); without that it says so and tests nothing. This program is its own worker, on Dask,
//! too: it has its own `main`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod cut;
mod losses;
mod promises;
mod refusals;

fn main() {
    trefoil::init();
    losses::helpers();
    if std::env::var_os(cluster::PYTHON).is_none() {
        println!(
            "skipped: {} names no Python interpreter that has Dask's `distributed`",
            cluster::PYTHON
        );
        return;
    }
    support::main(&[&[promises::TESTS, refusals::TESTS, losses::TESTS, cut::TESTS].concat()]);
    cluster::clean();
}
