//! Workers that dial back, where this program stands in for the Python that places them on Dask.
//!
//! It needs neither a cluster nor Python. This program is its own worker, too: it has its own
//! `main`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod descriptors;
mod placer;
#[path = "../../../../tests/support/mod.rs"]
mod support;
mod words;

fn main() {
    trefoil::init();
    if let Ok(way) = std::env::var(placer::WAY) {
        return placer::run(&way);
    }
    descriptors::helpers();
    support::main(&[descriptors::TESTS, words::TESTS]);
}
