//! Failed items with arguments of any size become the smallest ones that still fail.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod faults;
mod outcomes;
#[path = "../../../../tests/support/mod.rs"]
mod support;
mod tmin;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use trefoil::ProcessPool;
use trefoil::process::Portable;
use trefoil_capsules::{Capsule, KeepFailures, capsule_of};

fn main() {
    support::sleep();
    faults::names();
    outcomes::names();
    trefoil_capsules::init();
    support::main(&[outcomes::TESTS, faults::TESTS]);
}

/// A directory for one test, removed when dropped.
pub(crate) struct Kept(pub(crate) PathBuf);

impl Kept {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("trefoil-shrunk-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn pool(&self) -> ProcessPool {
        let builder = ProcessPool::builder().workers(2).max_tasks_per_worker(1);
        builder.keep_failures(&self.0).build().unwrap()
    }

    /// The file of an item of `f` with this argument.
    pub(crate) fn capsule<A, R>(&self, procs: &ProcessPool, argument: A, f: fn(A) -> R) -> Capsule
    where
        A: Portable,
        R: Portable,
    {
        let call = procs.call(f).timeout(Duration::from_secs(60));
        let error = call.spawn(argument).join().map(drop).unwrap_err();
        Capsule::open(capsule_of(&error).unwrap_or_else(|| panic!("{error}"))).unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
