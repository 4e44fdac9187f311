//! Cancels a pool's batch jobs, and removes their output, when this process is killed.
//!
//! A batch job has no process on this machine which could end with this one. So a shell waits
//! beside the pool, at the other end of a pipe. A line says that the pool has ended its jobs
//! itself. If the pipe ends without one, this process is gone: the shell runs `scancel`, and then
//! removes the files in which the jobs have put what they print. (A job that begins at that very
//! moment may make one more: `Jobs::sweep`.)
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/slurm/contract.rs::{nothing_is_left_when_the_driver_is_killed,
//! a_killed_driver_leaves_nothing_in_the_queue}`.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Runs its arguments, and removes the files whose names begin with its own and a dot, when
/// standard input ends without a line.
const UNLESS_RELEASED: &str = r#"read -r x || { "$@"; rm -f -- "$0".*; }"#;

/// The shell that waits.
#[derive(Debug)]
pub(crate) struct JobGuard(Child);

impl JobGuard {
    /// Starts a shell that will cancel all jobs of this name, whose files are in this directory.
    pub(crate) fn new(name: &str, directory: &Path) -> io::Result<Self> {
        let cancel = ["scancel", "--quiet", &format!("--name={name}")];
        Self::with(&cancel, &directory.join(name))
    }

    fn with(command: &[&str], files: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", UNLESS_RELEASED])
            .arg(files)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0); // an interrupt from the terminal does not end it with this process
        shell.spawn().map(Self)
    }

    /// Ends the shell, which cancels nothing.
    pub(crate) fn release(mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.write_all(b"\n"); // (it may have been killed)
        }
        let _ = self.0.wait();
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_is_lost_runs_its_command_and_removes_the_files_of_its_jobs() {
        for is_released in [false, true] {
            let name = format!("trefoil guard {} {is_released}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir(&folder).unwrap();
            let file = |name: &str| folder.join(name);
            for name in ["job-0000000a.7_0", "job-0000000a.7_1", "job-0000000b.7_0"] {
                std::fs::write(file(name), "words").unwrap();
            }
            let mark = file("mark");
            let command = ["touch", mark.to_str().unwrap()];
            let mut guard = JobGuard::with(&command, &file("job-0000000a")).unwrap();
            if is_released {
                guard.release();
            } else {
                drop(guard.0.stdin.take());
                assert!(guard.0.wait().unwrap().success());
            }
            assert_eq!(mark.exists(), !is_released);
            for task in ["job-0000000a.7_0", "job-0000000a.7_1"] {
                assert_eq!(file(task).exists(), is_released);
            }
            assert!(file("job-0000000b.7_0").exists()); // another pool's
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}
