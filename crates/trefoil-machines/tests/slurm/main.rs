//! Workers on Slurm, against a real cluster of two nodes on this machine, which `.ci/slurm` starts.
//!
//! It needs root, Slurm and munge, and some seconds: where they are missing it says so and tests
//! only what a script in the place of `srun` can show. An existing cluster is used instead if
//! `TREFOIL_TEST_SLURM` names the folder that `.ci/slurm` was given. This program is its own
//! worker, there, too: it has its own `main`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

mod accidents;
#[path = "../ssh/chaos.rs"]
mod chaos;
mod contract;
mod copies;
mod cut;
mod errors;
#[path = "../../../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// The variable with the folder of a cluster, or with the word that there is none.
const CLUSTER: &str = "TREFOIL_TEST_SLURM";
const STAND_IN: &str = "stand-in";

fn main() {
    trefoil::init();
    contract::helpers();
    match std::env::var_os(CLUSTER) {
        Some(folder) if folder == STAND_IN => support::main(&[accidents::TESTS]),
        Some(_) if std::env::var_os("SLURM_CONF").is_some() => {
            let tests = [
                contract::TESTS,
                copies::TESTS,
                errors::TESTS,
                accidents::TESTS,
                cut::TESTS,
            ];
            support::main(&[&tests.concat()]);
        }
        Some(folder) => exit(again(Path::new(&folder))),
        None => {
            let folder = std::env::temp_dir().join(format!("trefoil-slurm-{}", std::process::id()));
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/slurm");
            let run = |what: &str| Command::new(&script).arg(what).arg(&folder).output();
            let why = match run("start") {
                Ok(started) if started.status.success() => None,
                Ok(started) => Some(String::from_utf8_lossy(&started.stderr).trim().to_owned()),
                Err(error) => Some(error.to_string()),
            };
            let code = match why {
                None => again(&folder),
                Some(why) => {
                    println!(
                        "skipped, but for what a script can stand in for: there is no Slurm cluster: {why}"
                    );
                    without(&folder)
                }
            };
            let _ = run("stop");
            let _ = std::fs::remove_dir_all(&folder);
            exit(code);
        }
    }
}

/// Runs this program again, with a cluster.
fn again(folder: &Path) -> i32 {
    let conf: PathBuf = folder.join("slurm.conf");
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(std::env::args_os().skip(1));
    let status = again.env(CLUSTER, folder).env("SLURM_CONF", conf).status();
    status.unwrap().code().unwrap_or(101)
}

/// Runs this program again, with scripts in the place of Slurm's commands.
fn without(folder: &Path) -> i32 {
    std::fs::create_dir_all(folder).unwrap();
    accidents::stand_in(folder);
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(std::env::args_os().skip(1));
    let status = again.env(CLUSTER, STAND_IN).env("PATH", path).status();
    status.unwrap().code().unwrap_or(101)
}
