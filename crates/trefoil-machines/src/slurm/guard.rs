//! Cancels a pool's batch jobs when this process is killed.
//!
//! A batch job has no process on this machine which could end with this one. So a shell waits
//! beside the pool, at the other end of a pipe. A line says that the pool has ended its jobs
//! itself. If the pipe ends without one, this process is gone, and the shell becomes `scancel`.
//!
//! Tests: below; `crates/trefoil-machines/tests/slurm/`.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Runs its arguments when standard input ends without a line.
const UNLESS_RELEASED: &str = r#"read -r x || exec "$@""#;

/// The shell that waits.
#[derive(Debug)]
pub(crate) struct JobGuard(Child);

impl JobGuard {
    /// Starts a shell that will cancel all jobs of this name.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        Self::with(&["scancel", "--quiet", &format!("--name={name}")])
    }

    fn with(command: &[&str]) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", UNLESS_RELEASED, "sh"])
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
    fn a_command_runs_when_its_guard_is_lost_and_not_when_it_is_released() {
        for is_released in [false, true] {
            let name = format!("trefoil-guard-{}-{is_released}", std::process::id());
            let mark = std::env::temp_dir().join(name);
            let mut guard = JobGuard::with(&["touch", mark.to_str().unwrap()]).unwrap();
            if is_released {
                guard.release();
            } else {
                drop(guard.0.stdin.take());
                assert!(guard.0.wait().unwrap().success());
            }
            assert_eq!(mark.exists(), !is_released);
            let _ = std::fs::remove_file(mark);
        }
    }
}
