//! On a node: the process that holds a worker.
//!
//! **Job.** The holder reads the pool's key from standard input, and dials. Then it starts the
//! worker, the same program again, at one end of a socket pair, and forwards between the other end
//! and the connection. When the worker has exited, it sends the rest of what that has sent, and
//! then how it has exited, with the end of what it wrote to standard error.
//!
//! **Death.** If the pool wants the worker's end, or is gone or out of reach, the holder kills the
//! worker's process group, also if the worker is stopped. It does so again when the worker has
//! exited, before it reaps it: until then the number of the group cannot be another's. `SIGTERM`,
//! by which schedulers end a job, ends the worker, and not the holder before it has passed on what
//! the worker has sent: the pool knows then which items have begun. If the holder is killed, that
//! is lost; the worker sees the end of its socket, and kills its group itself.
//!
//! Tests: `crates/trefoil-machines/tests/slurm/`.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream as Local;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::{FdFlags, retry_on_intr};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use trefoil::io::{AsyncFd, Signal, TcpStream, UnixStream};
use trefoil::process::{Program, WorkerStream};
use trefoil::time::sleep;
use trefoil::{Completer, EventLoop, Task};

use super::super::own_path;
use super::handshake::{HandshakeError, Hello, LIMIT, call};
use super::key::Key;
use super::listener::{pair, prepare};
use super::relay::Relay;
use super::report::{Report, TAIL, tail};
use super::sealed::Sealed;

/// How long the pool may take to answer: its process may be stopped.
const ANSWER: Duration = Duration::from_secs(120);

/// How often, and for how long, to dial again after the pool closed a connection silently: it ends
/// the oldest when there are too many. The pause doubles each time.
const DIALS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// How long a worker may live whose stream has ended.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait, after the report, until the pool closes its side.
const GOODBYE: Duration = Duration::from_secs(1);

const KILL: rustix::process::Signal = rustix::process::Signal::KILL;

/// What a holder is to do.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    /// Where the pool listens.
    pub(crate) address: &'a str,
    /// `Hello::name` and `Hello::number`.
    pub(crate) name: &'a str,
    pub(crate) number: u32,
    /// Standard input ends when whoever has started this process is gone: the worker must end then.
    pub(crate) watches_input: bool,
}

/// Dials, runs a worker, and returns its exit code. It blocks; the beginning of standard input is
/// the key ([`Key::hex`]).
pub(crate) fn hold(program: &Program, holding: &Holding<'_>) -> io::Result<i32> {
    let key = read_key()?;
    let event_loop = EventLoop::new()?;
    event_loop.block_on(async {
        let sealed = dial(program, holding, &key).await?;
        run(program, holding, &sealed).await
    })
}

fn read_key() -> io::Result<Key> {
    let mut digits = [0; Key::DIGITS];
    io::stdin()
        .read_exact(&mut digits)
        .map_err(|error| io::Error::new(error.kind(), "there is no key on its standard input"))?;
    Key::from_hex(&digits)
        .ok_or_else(|| io::Error::other("what is on its standard input is no key"))
}

async fn dial(program: &Program, holding: &Holding<'_>, key: &Key) -> io::Result<Sealed> {
    let address = holding.address;
    let hello = Hello {
        identity: program.identity().to_owned(),
        name: holding.name.to_owned(),
        number: holding.number,
    };
    let mut round = 1;
    loop {
        let reached = trefoil::timeout(LIMIT, TcpStream::connect(address)).await;
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        let stream = reached.unwrap_or_else(late).map_err(|error| {
            let words = format!("the pool at {address} cannot be reached from here: {error}");
            io::Error::new(error.kind(), words)
        })?;
        prepare(&stream)?;
        match call(stream, key, &hello, ANSWER).await {
            Ok(sealed) => return Ok(sealed),
            Err(HandshakeError::Silent(_)) if round < DIALS => {
                sleep(PAUSE * 2u32.pow(round)).await;
            }
            Err(why) => return Err(io::Error::other(format!("the pool at {address}: {why}"))),
        }
        round += 1;
    }
}

/// The worker, until it is reaped.
struct Worker {
    /// `None`: the number may be another process's.
    pid: Cell<Option<Pid>>,
    /// The end of what it has written to standard error.
    tail: RefCell<Vec<u8>>,
}

impl Worker {
    /// Kills the worker, and the processes that it has started.
    fn kill(&self) {
        if let Some(pid) = self.pid.get() {
            let _ = rustix::process::kill_process_group(pid, KILL);
            let _ = rustix::process::kill_process(pid, KILL); // (it may lead no group)
        }
    }

    /// Passes on what the worker has written to standard error, and keeps the end of it. False: the
    /// pipe is closed.
    async fn hear(&self, words: &AsyncFd<ChildStderr>) -> bool {
        let mut buffer = [0; 8192];
        let count = read(words, &mut buffer).await;
        let _ = io::stderr().write_all(&buffer[..count]);
        let mut tail = self.tail.borrow_mut();
        tail.extend_from_slice(&buffer[..count]);
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
        count > 0
    }

    /// Waits for its exit.
    async fn exit(&self, mut child: Child, mut over: Task<()>) -> io::Result<ExitStatus> {
        let mut words = child.stderr.take().map(AsyncFd::new).transpose()?;
        while let Some(open) = &words {
            trefoil::select! {
                _ = &mut over => break,
                is_open = self.hear(open) => if !is_open { words = None },
            }
        }
        let _ = over.await;
        self.kill(); // what is left of its group
        // (Processes that have left the group may keep the pipe open for ever.)
        while let Some(open) = &words
            && trefoil::timeout(Duration::ZERO, open.readable())
                .await
                .is_ok()
            && self.hear(open).await
        {}
        self.pid.set(None);
        child.wait()
    }
}

/// Runs the worker until it exits, and reports its exit.
async fn run(program: &Program, holding: &Holding<'_>, sealed: &Sealed) -> io::Result<i32> {
    let (ours, theirs) = pair()?;
    let child = start(program, &theirs)?;
    drop(theirs);
    let pid = Pid::from_child(&child);
    let over = watch(pid)?;
    let worker = Worker {
        pid: Cell::new(Some(pid)),
        tail: RefCell::default(),
    };
    let local = UnixStream::try_from(ours)?;
    let relay = Relay::new(&local);
    let (mut sender, mut receiver) = (sealed.sender(), sealed.receiver());
    let exit = async {
        let status = worker.exit(child, over).await?;
        relay.exit(Report {
            code: status.code(),
            signal: status.signal(),
            stderr: tail(&worker.tail.borrow()),
        });
        Ok::<_, io::Error>(status)
    };
    let say = async {
        if relay.say(&mut sender, None).await.is_ok() {
            // Closing it with unread input would send a reset in place of the end.
            let _ = sealed.stream().shutdown(Shutdown::Write);
            sleep(GOODBYE).await;
        }
    };
    let hear = async {
        while relay.hear(&mut receiver).await.is_ok() {
            worker.kill();
        }
    };
    let connection = async {
        trefoil::select! {
            () = hear => {}
            () = say => {}
        }
        worker.kill();
    };
    let asked = Signal::new(Signal::TERM)?;
    let early = async {
        trefoil::select! {
            () = relay.ended.wait() => sleep(LINGER).await,
            _ = asked.recv() => {}
            () = input_ends(), if holding.watches_input => {}
        }
        worker.kill();
        std::future::pending::<Infallible>().await
    };
    let status = trefoil::select! {
        (status, ()) = async { trefoil::join!(exit, connection) } => status?,
        never = relay.deliver() => match never {},
        never = early => match never {},
    };
    let signal = status.signal().map(|signal| 128 + signal);
    Ok(status.code().or(signal).unwrap_or(1))
}

/// Completes once the child has ended, whose status nobody has fetched then.
fn watch(pid: Pid) -> io::Result<Task<()>> {
    let (completer, over) = Completer::new();
    let thread = thread::Builder::new().name("trefoil-watch".to_owned());
    thread.spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = retry_on_intr(|| waitid(WaitId::Pid(pid), options));
        completer.complete(Ok(()));
    })?;
    Ok(over)
}

/// Waits for the end of standard input. (What cannot be waited for has no end.)
async fn input_ends() {
    let Ok(input) = AsyncFd::new(io::stdin()) else {
        return std::future::pending().await;
    };
    while read(&input, &mut [0; 512]).await > 0 {}
}

/// Reads from what may be blocking, and nobody else reads from. 0: it has ended.
async fn read(from: &AsyncFd<impl AsFd>, room: &mut [u8]) -> usize {
    match from.readable().await {
        Ok(()) => rustix::io::read(from, room).unwrap_or(0),
        Err(_) => 0,
    }
}

/// Starts the program again, as a worker.
fn start(program: &Program, stream: &Local) -> io::Result<Child> {
    rustix::io::fcntl_setfd(stream, FdFlags::empty())?; // the worker inherits it
    let number = stream.as_raw_fd();
    let invitation = program.invitation(WorkerStream::Descriptors(number, number));
    let mut command = Command::new(own_path()?);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command
        .args(arguments)
        .env(invitation.name(), invitation.value())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}
