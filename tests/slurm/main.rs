//! Workers on Slurm, against a real cluster of two nodes on this machine, which `.ci/slurm` starts.
//!
//! That needs root, and Slurm and munge, and some seconds: where these are not here it says so and
//! tests nothing. A cluster that is there already is taken instead if `TREFOIL_TEST_SLURM` names
//! the folder that `.ci/slurm` was given. This program is its own worker, there, too: `main` is
//! ours.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod contract;
mod errors;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Names the folder of a cluster.
const CLUSTER: &str = "TREFOIL_TEST_SLURM";

fn main() {
    trefoil::init();
    contract::helpers();
    match std::env::var_os(CLUSTER) {
        Some(folder) if std::env::var_os("SLURM_CONF").is_some() => {
            drop(folder);
            support::main(&[&[contract::TESTS, errors::TESTS].concat()]);
        }
        Some(folder) => exit(again(Path::new(&folder))),
        None => {
            let folder = std::env::temp_dir().join(format!("trefoil-slurm-{}", std::process::id()));
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/slurm");
            let run = |what: &str| Command::new(&script).arg(what).arg(&folder).output();
            let started = run("start");
            let code = match &started {
                Ok(started) if started.status.success() => again(&folder),
                Ok(started) => {
                    let why = String::from_utf8_lossy(&started.stderr);
                    println!("skipped: there is no Slurm cluster: {}", why.trim());
                    0
                }
                Err(error) => {
                    println!("skipped: there is no Slurm cluster: {error}");
                    0
                }
            };
            let _ = run("stop");
            exit(code);
        }
    }
}

/// This program once more, with a cluster.
fn again(folder: &Path) -> i32 {
    let conf: PathBuf = folder.join("slurm.conf");
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(std::env::args_os().skip(1));
    let status = again.env(CLUSTER, folder).env("SLURM_CONF", conf).status();
    status.unwrap().code().unwrap_or(101)
}
