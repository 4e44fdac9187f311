//! Whether a command line leads into a sandbox: what the kernel says of a process behind it.
//!
//! A shell is started there as a worker would be, writes a byte, and waits. The kernel says which
//! process has written it, and in that one's files in `/proc`, read from outside, what it is
//! confined by. So nothing depends on what the command says, or on how it ends: one that ignores
//! its options is noticed. It is killed in any case, and if nothing has come within [`LIMIT`].
//!
//! Tests: `tests/sandbox/sandbox.rs`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal};

use crate::sender;

/// How long a sandbox may take to begin: it takes milliseconds, but a machine may be busy.
const LIMIT: Duration = Duration::from_secs(20);

/// Begins with the filter as its standard input, and hands it on as descriptor 3: so nothing else
/// in this process can inherit it. Its standard input is then its output, a socket.
const HANDS_ON: [&str; 4] = ["/bin/sh", "-c", r#"exec "$@" 3<&0 <&1"#, "sh"];

/// The shell inside. It waits until its standard input ends.
const SHELL: [&str; 3] = ["/bin/sh", "-c", "echo; read wait"];

/// What the sandbox is to allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// It has this machine's network.
    pub(super) network: bool,
    /// It may write to the root file system.
    pub(super) root: bool,
}

/// Starts bubblewrap by this command line, with a shell behind it, and looks at that. An error that
/// explains why it is in no sandbox.
pub(super) fn probe(words: &[OsString], filter: OwnedFd, allowed: Allowed) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let (errors, their_errors) = UnixStream::pair()?;
    sender::ask(&ours)?;
    let mut command = Command::new(HANDS_ON[0]);
    command.args(&HANDS_ON[1..]).arg(&words[0]);
    command
        .args(["--seccomp", "3"])
        .args(&words[1..])
        .args(SHELL);
    command.process_group(0).stdin(filter);
    command.stdout(OwnedFd::from(theirs));
    command.stderr(OwnedFd::from(their_errors));
    let started = command.spawn()?;
    drop(command); // with its copies of the other ends
    let writer = first_writer(&ours);
    let missing = match writer {
        Ok(Some(process)) => missing(process, allowed).map_err(|error| {
            let message = format!("what confines its processes cannot be seen: {error}");
            io::Error::new(error.kind(), message)
        }),
        _ => Ok(None),
    };
    let status = end(started); // also where nothing above has succeeded
    let says = || {
        let mut says = Vec::new();
        let _ = errors
            .set_nonblocking(true)
            .map(|()| (&errors).read_to_end(&mut says));
        String::from_utf8_lossy(&says).trim().to_owned()
    };
    let message = match (writer, missing?) {
        (Ok(Some(_)), None) => return Ok(()),
        (Ok(Some(_)), Some(missing)) => format!(
            "it runs its command, but {missing}: it is no bubblewrap, or ignores its options"
        ),
        (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => format!(
            "it has not begun within {LIMIT:?}, and was killed. It has written: \"{}\"",
            says()
        ),
        (Err(error), _) => return Err(error),
        (Ok(None), _) => format!(
            "it ends with {}: {}. (If it may make no namespace: a container's own sandbox can \
             forbid that, and so can the settings `kernel.apparmor_restrict_unprivileged_userns`, \
             `kernel.unprivileged_userns_clone` and `user.max_user_namespaces`. A `bwrap` that \
             does not know `--size` is older than version 0.7.)",
            status?,
            says()
        ),
    };
    Err(io::Error::other(message))
}

/// The process that writes first. `None`: all have ended, or closed their output.
fn first_writer(socket: &UnixStream) -> io::Result<Option<i32>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match sender::sender(socket) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            writer => return writer,
        }
    }
}

/// Kills it with its group, unless it has ended.
fn end(mut started: Child) -> io::Result<ExitStatus> {
    let _ = rustix::process::kill_process_group(Pid::from_child(&started), Signal::KILL);
    let _ = started.kill();
    started.wait()
}

/// What a process in a sandbox would have, and this one lacks.
fn missing(process: i32, allowed: Allowed) -> io::Result<Option<String>> {
    let about = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}"));
    let (status, own) = (about("status")?, fs::read_to_string("/proc/self/status")?);
    let none = "0000000000000000";
    for (name, wanted, what) in [
        ("NoNewPrivs", "1", "its processes can gain rights"),
        ("CapPrm", none, "its processes have capabilities"),
        ("Seccomp", "2", "no filter of system calls holds for them"),
    ] {
        if field(&status, name) != Some(wanted) {
            return Ok(Some(format!("{what} (`{name}`)")));
        }
    }
    // Filters that this process has, too, are not the sandbox's.
    let name = "Seccomp_filters"; // from Linux 5.9 on
    let count = |status: &str| field(status, name).and_then(|count| count.parse::<u32>().ok());
    if count(&own).is_some() && count(&status) <= count(&own) {
        return Ok(Some(format!(
            "no further filter of system calls holds for them (`{name}`)"
        )));
    }
    for name in ["mnt", "pid", "ipc", "uts", "net"] {
        let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/{name}"));
        let is_shared = namespace(&process.to_string())? == namespace("self")?;
        if is_shared && !(name == "net" && allowed.network) {
            return Ok(Some(format!(
                "its processes are in this one's namespace `{name}`"
            )));
        }
    }
    let mounts = about("mountinfo")?;
    let mut root = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        (fields.next() == Some("/")).then(|| fields.next().unwrap_or_default())
    });
    let is_fixed = root
        .next_back()
        .is_some_and(|options| options.split(',').any(|one| one == "ro"));
    Ok((!is_fixed && !allowed.root).then(|| "they can write to the root file system".to_owned()))
}

/// The value of a line in a file `status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    lines.find_map(|(one, value)| (one == name).then(|| value.trim()))
}
