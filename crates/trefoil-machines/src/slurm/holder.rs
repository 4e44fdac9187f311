//! On a node: the process that holds a worker.
//!
//! **Job.** Slurm starts the holder. It connects to the pool twice, and proves each time that it
//! has the key. Then it starts the worker: the same program again, whose stream is the first
//! connection. When the worker has exited, the holder reports how on the second connection, and
//! only then closes the first. So the pool knows the cause when it sees the end of the stream. The
//! report cannot get between the worker's records, the last of which may be incomplete.
//!
//! **Death.** If the pool is gone or out of reach, the worker sees the end of its stream and kills
//! its process group; the holder kills it too, in case the worker is stopped. If the holder is
//! killed, Slurm kills the rest of its job.
//!
//! Tests: `crates/trefoil-machines/tests/slurm/`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::{FdFlags, retry_on_intr};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::executable;
use super::handshake::{self, HandshakeError, Hello, Key, Until, random};
use super::report::{Report, TAIL, text};
use super::sockets::{ENDS, far};
use crate::common::bell::Bell;
use crate::common::poll::poll_patiently;
use trefoil::process::{Program, WorkerStream};

/// How long the pool may take to answer: it accepts no connection while it waits for one of Slurm's
/// commands, and it may run two in a row.
const ANSWER: Duration = Duration::from_secs(120);

/// How often, and for how long, to reconnect after the pool closed a connection silently: it evicts
/// the oldest when there are too many (`strangers`). The pause doubles each time.
const DIALS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// How long to wait, after the worker's exit, until the pool closes its end of the stream.
const GOODBYE: Duration = Duration::from_secs(1);

/// Connects, runs a worker, and returns its exit code. `argument`: the pool's address, and the name
/// of the job.
pub(crate) fn hold(program: &Program, argument: &str) -> i32 {
    let (address, job) = argument.split_once(' ').unwrap_or((argument, ""));
    match connect(program, job, address).and_then(|connections| run(program, connections)) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "trefoil: a worker could not begin: {error}");
            1
        }
    }
}

/// Opens the worker's stream, and the connection that reports its exit.
fn connect(program: &Program, name: &str, address: &str) -> io::Result<[TcpStream; 2]> {
    let mut line = [0; 64];
    io::stdin()
        .read_exact(&mut line)
        .map_err(|error| io::Error::new(error.kind(), "there is no key on its standard input"))?;
    let key = std::str::from_utf8(&line).ok().and_then(Key::from_hex);
    let key = key.ok_or_else(|| io::Error::other("what is on its standard input is no key"))?;
    let ticket = u64::from_ne_bytes(random()?);
    let dial = |is_stream| {
        let hello = Hello {
            copy: program.identity().to_owned(),
            ticket,
            is_stream,
            job: name.to_owned(),
            number: job(),
        };
        let mut round = 1;
        loop {
            let stream = reach(address)?;
            match handshake::call(&stream, &key, &hello, ANSWER) {
                Ok(()) => {
                    far(&stream, !is_stream)?;
                    return Ok(stream);
                }
                Err(why) if round == DIALS || matches!(why, HandshakeError::Judged(_)) => {
                    return Err(io::Error::other(format!("the pool at {address}: {why}")));
                }
                Err(_) => poll_patiently(&mut [], Some(PAUSE * 2u32.pow(round))),
            }
            round += 1;
        }
    };
    Ok([dial(true)?, dial(false)?])
}

/// The id of the Slurm job that this process is in; 0 if there is none.
fn job() -> u32 {
    let number = std::env::var("SLURM_JOB_ID").ok();
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn reach(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for one in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&one, handshake::LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    let words = format!("the pool at {address} cannot be reached from here: {last}");
    Err(io::Error::new(last.kind(), words))
}

/// Runs the worker until it exits, and reports its exit.
fn run(program: &Program, [stream, mut tells]: [TcpStream; 2]) -> io::Result<i32> {
    let mut child = start(program, &stream)?;
    let pid = Pid::from_child(&child);
    let over = watch(pid)?;
    let mut words = child.stderr.take();
    let (mut tail, mut is_orphan) = (Vec::new(), false);
    let status = loop {
        let mut fds = vec![PollFd::new(&over, PollFlags::IN)];
        if !is_orphan {
            fds.extend([PollFd::new(&stream, ENDS), PollFd::new(&tells, ENDS)]);
        }
        fds.extend(
            words
                .as_ref()
                .map(|words| PollFd::new(words, PollFlags::IN)),
        );
        poll_patiently(&mut fds, None);
        let news = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (is_over, gone) = (news(0), !is_orphan && (news(1) || news(2)));
        let heard = words.is_some() && news(fds.len() - 1);
        drop(fds);
        is_orphan |= gone;
        if gone || is_over {
            kill(pid); // and what it has started: its number is not another's until `wait`
        }
        if is_over {
            break child.wait()?;
        }
        if heard && words.as_mut().is_some_and(|words| !hear(words, &mut tail)) {
            words = None;
        }
    };
    // (Processes that the worker started may keep the pipe open for ever.)
    let has_more = |words: &ChildStderr| {
        let mut fds = [PollFd::new(words, PollFlags::IN)];
        poll_patiently(&mut fds, Some(Duration::ZERO));
        !fds[0].revents().is_empty()
    };
    while words.as_ref().is_some_and(has_more) {
        if words.as_mut().is_some_and(|words| !hear(words, &mut tail)) {
            break;
        }
    }
    let report = Report {
        code: status.code(),
        signal: status.signal(),
        stderr: text(&tail),
    };
    let _ = tells.write_all(&report.bytes());
    let _ = tells.shutdown(Shutdown::Write);
    part(stream);
    Ok(status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(1))
}

/// Rings once the child has ended, whose status nobody has fetched then.
fn watch(pid: Pid) -> io::Result<Arc<Bell>> {
    let bell = Arc::new(Bell::new()?);
    let rings = bell.clone();
    thread::Builder::new().spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = retry_on_intr(|| waitid(WaitId::Pid(pid), options));
        rings.ring();
    })?;
    Ok(bell)
}

/// Starts the program again, as a worker.
fn start(program: &Program, stream: &TcpStream) -> io::Result<Child> {
    rustix::io::fcntl_setfd(stream, FdFlags::empty())?; // the worker inherits it
    let number = stream.as_raw_fd();
    let invitation = program.invitation(WorkerStream::Descriptors(number, number));
    let mut command = Command::new(executable::path()?);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command
        .args(arguments)
        .env(invitation.name(), invitation.value())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.spawn();
    rustix::io::fcntl_setfd(stream, FdFlags::CLOEXEC)?;
    child
}

/// Passes on what the worker has written to standard error, and keeps the end of it. False: the
/// pipe is closed.
fn hear(words: &mut ChildStderr, tail: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 8192];
    let count = words.read(&mut buffer).unwrap_or(0);
    let _ = io::stderr().write_all(&buffer[..count]);
    tail.extend_from_slice(&buffer[..count]);
    let excess = tail.len().saturating_sub(TAIL);
    tail.drain(..excess);
    count > 0
}

/// Kills the worker and the processes that it has started. (It may not have a group yet.)
fn kill(pid: Pid) {
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// Closes the stream for writing, and reads until the pool has closed its side: closing it with
/// unread input would send a reset in place of the end.
fn part(stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = io::copy(&mut Until::new(&stream, GOODBYE), &mut io::sink());
}
