//! Runs a program with given input, and collects its output, within a deadline.
//!
//! Separate threads write and read, so that neither side blocks on a full pipe.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// The most bytes that a program may print to one of its outputs: they are kept in memory.
const MOST: usize = 16 << 20;

/// The input that follows the first bytes.
pub(crate) type Rest = Box<dyn Read + Send>;

/// The exit status and the output of a program.
pub(crate) struct ProgramOutput {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs `command`, in a process group of its own, until it exits. Writes `words` to its standard
/// input, then all of `rest`, then closes it. Without `rest`, standard input stays open until the
/// program has closed its outputs. After an error, nothing of the group is left. Errors name the
/// program.
pub(crate) fn converse(
    command: &mut Command,
    words: Vec<u8>,
    rest: Option<Rest>,
    limit: Duration,
) -> io::Result<ProgramOutput> {
    let end = Instant::now() + limit;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let said = command.spawn().and_then(|mut child| {
        let heard = hear(&mut child, words, rest, end);
        let heard = heard.and_then(|heard| wait_for_exit(&child, end).map(|()| heard));
        if heard.is_err() {
            // (It has not been reaped, so no other group has its number.)
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        }
        let status = child.wait()?;
        let [stdout, stderr] = heard?;
        Ok(ProgramOutput {
            status,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    });
    said.map_err(|error| {
        let name = command.get_program().to_string_lossy();
        io::Error::new(error.kind(), format!("`{name}`: {error}"))
    })
}

/// Writes the input, and reads both output streams to their ends.
fn hear(
    child: &mut Child,
    words: Vec<u8>,
    rest: Option<Rest>,
    end: Instant,
) -> io::Result<[Vec<u8>; 2]> {
    let (tell, told) = mpsc::channel();
    let stdout = child.stdout.take().map(|out| Box::new(out) as Rest);
    let stderr = child.stderr.take().map(|err| Box::new(err) as Rest);
    for (number, stream) in [stdout, stderr].into_iter().enumerate() {
        let tell = tell.clone();
        start(move || {
            let mut all = Vec::new();
            let _ = stream.map(|stream| stream.take(MOST as u64 + 1).read_to_end(&mut all));
            let _ = tell.send((number, all));
        })?;
    }
    let stdin = child.stdin.take();
    let (keep, _kept) = mpsc::channel();
    start(move || {
        let Some(mut stdin) = stdin else { return };
        // (If the program stops reading, its exit status says why.)
        let said = stdin.write_all(&words);
        if let (Ok(()), Some(mut rest)) = (said, rest) {
            let _ = io::copy(&mut rest, &mut stdin);
            return;
        }
        let _ = keep.send(stdin);
    })?;
    let mut heard = [Vec::new(), Vec::new()];
    for _ in 0..heard.len() {
        let left = end.saturating_duration_since(Instant::now());
        let (number, all) = told.recv_timeout(left).map_err(|_| silence())?;
        if all.len() > MOST {
            return Err(io::Error::other("it prints more than 16 MiB"));
        }
        heard[number] = all;
    }
    Ok(heard)
}

fn silence() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
}

/// Waits until the program, which has closed its outputs, has exited. It is not reaped.
fn wait_for_exit(child: &Child, end: Instant) -> io::Result<()> {
    let pid = Pid::from_child(child);
    let (tell, told) = mpsc::channel();
    start(move || {
        let exit = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = retry_on_intr(|| waitid(WaitId::Pid(pid), exit));
        let _ = tell.send(());
    })?;
    let left = end.saturating_duration_since(Instant::now());
    told.recv_timeout(left).map_err(|_| silence())
}

fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("trefoil-converses".to_owned());
    thread.spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_prints_too_much_is_an_error() {
        for to in ["", " >&2"] {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("head -c 50000000 /dev/zero{to}")]);
            let result = converse(&mut command, Vec::new(), None, Duration::from_secs(60));
            let error = result.err().expect("too much").to_string();
            assert_eq!(error, "`sh`: it prints more than 16 MiB");
        }
    }

    /// Nothing of a program that does not answer is waited for, or left.
    #[test]
    fn a_program_that_does_not_end_is_killed_with_what_it_has_started() {
        for script in ["exec >&- 2>&-; cat; sleep 100", "sleep 100; exit"] {
            // (A name that a shell passes on.)
            let mark = format!("TREFOIL_CONVERSATION_{}", std::process::id());
            let mut command = Command::new("sh");
            command.args(["-c", script]).env(&mark, "");
            let result = converse(&mut command, Vec::new(), None, Duration::from_millis(300));
            let error = result.err().expect("it does not end").to_string();
            assert_eq!(error, "`sh`: it does not answer");
            let is_left = |process: &std::fs::DirEntry| {
                let variables = std::fs::read(process.path().join("environ")).unwrap_or_default();
                variables
                    .windows(mark.len())
                    .any(|some| some == mark.as_bytes())
            };
            // (What was killed may take a moment to end.)
            let deadline = Instant::now() + Duration::from_secs(60);
            let left = || {
                std::fs::read_dir("/proc")
                    .unwrap()
                    .flatten()
                    .any(|one| is_left(&one))
            };
            while cfg!(target_os = "linux") && left() {
                assert!(Instant::now() < deadline, "{script}: a process is left");
                thread::yield_now();
            }
        }
    }
}
