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
//! **Words.** What the worker writes to standard error is passed on by a task of its own, so a
//! reader of our standard error that is slow holds up the worker's words, and not its stream. After
//! the worker's exit that task has a second, and at most [`REST`] bytes are read: a process that
//! has left the group may write for ever.
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/placed/words.rs::the_last_are_in_the_error_however_soon_the_worker_ends`,
//! `crates/trefoil-machines/tests/slurm/contract.rs::children_end_with_their_worker`.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as Local;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, FdFlags, retry_on_intr};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use trefoil::io::{AsyncFd, Signal, TcpStream, UnixStream};
use trefoil::process::launch::{Program, WorkerStream};
use trefoil::sync::Event;
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

/// How long, after the worker's exit, whoever reads our standard error may take, and how many bytes
/// are read of the worker's: as many as a pipe holds.
const WORDS: Duration = Duration::from_secs(1);
const REST: usize = 64 << 10;

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
    let hello = Hello {
        identity: program.identity().to_owned(),
        name: holding.name.to_owned(),
        number: holding.number,
    };
    let event_loop = EventLoop::new()?;
    event_loop.block_on(async {
        let starter = holding.watches_input.then(io::stdin);
        let sealed = dial(holding.address, &hello, &key, starter).await?;
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

/// Dials while `starter`, if it is given, does not end.
async fn dial(
    address: &str,
    hello: &Hello,
    key: &Key,
    starter: Option<impl AsFd>,
) -> io::Result<Sealed> {
    let gone = async {
        match starter {
            Some(starter) => ends(starter).await,
            None => std::future::pending().await,
        }
    };
    trefoil::select! {
        sealed = dial_again(address, hello, key) => sealed,
        () = gone => Err(io::Error::other("what has started it has ended")),
    }
}

async fn dial_again(address: &str, hello: &Hello, key: &Key) -> io::Result<Sealed> {
    let mut round = 1;
    loop {
        let reached = trefoil::timeout(LIMIT, TcpStream::connect(address)).await;
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        let stream = reached.unwrap_or_else(late).map_err(|error| {
            let words = format!(
                "the pool at {address} cannot be reached from here ({error}): `listen` names \
                 another address of its machine"
            );
            io::Error::new(error.kind(), words)
        })?;
        prepare(&stream)?;
        match call(stream, key, hello, ANSWER).await {
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
    words: Rc<Words>,
}

impl Worker {
    /// Kills the worker, and the processes that it has started.
    fn kill(&self) {
        if let Some(pid) = self.pid.get() {
            let _ = rustix::process::kill_process_group(pid, KILL);
            let _ = rustix::process::kill_process(pid, KILL); // (it may lead no group)
        }
    }

    /// Waits for its exit. Returns its status, and the end of what it has written to standard
    /// error.
    async fn exit(&self, mut child: Child, over: Task<()>) -> io::Result<(ExitStatus, String)> {
        let words = self.words.clone();
        let passes = trefoil::spawn(async move { words.pass_on().await });
        let _ = over.await;
        self.kill(); // what is left of its group
        let said = self.words.last(passes).await;
        self.pid.set(None);
        Ok((child.wait()?, said))
    }
}

/// What the worker writes to standard error.
struct Words {
    from: Option<AsyncFd<OwnedFd>>,
    /// The end of it.
    tail: RefCell<Vec<u8>>,
    /// The worker has ended.
    is_last: Event,
}

impl Words {
    fn new(from: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(from) = &from {
            rustix::io::ioctl_fionbio(from, true)?; // (the worker's end is another open file)
        }
        Ok(Self {
            from: from.map(AsyncFd::new).transpose()?,
            tail: RefCell::default(),
            is_last: Event::new(),
        })
    }

    /// Passes them on to our standard error, until their end; after the worker's, what is there.
    async fn pass_on(&self) {
        let Some(from) = &self.from else { return };
        let mut to = trefoil::io::stderr();
        let (mut buffer, mut rest) = ([0; 8192], REST);
        loop {
            let is_last = trefoil::select! {
                readable = from.readable() => readable.is_err(),
                () = self.is_last.wait() => true,
            };
            let count = match self.read(&mut buffer) {
                Some(count @ 1..) if rest > 0 => count,
                None if !is_last => continue,
                _ => return,
            };
            if is_last {
                rest = rest.saturating_sub(count);
            }
            let _ = to.write_all(&buffer[..count]).await; // (if it is closed, they are lost)
        }
    }

    /// Reads some without waiting, and keeps the end of them. 0: they have ended; `None`: there are
    /// none now.
    fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        let from = self.from.as_ref()?;
        let count = match retry_on_intr(|| rustix::io::read(from, &mut *buffer)) {
            Ok(count) => count,
            Err(Errno::AGAIN) => return None,
            Err(_) => 0,
        };
        let mut tail = self.tail.borrow_mut();
        tail.extend_from_slice(&buffer[..count]);
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
        Some(count)
    }

    /// The worker has ended: returns its last words.
    async fn last(&self, mut passes: Task<()>) -> String {
        self.is_last.set();
        if trefoil::timeout(WORDS, &mut passes).await.is_err() {
            // Nobody reads ours: what the pipe holds is read for the report alone.
            passes.cancel();
            let (mut buffer, mut rest) = ([0; 8192], REST);
            while let Some(count @ 1..) = self.read(&mut buffer)
                && rest > 0
            {
                rest = rest.saturating_sub(count);
            }
        }
        tail(&self.tail.borrow())
    }
}

/// Runs the worker until it exits, and reports its exit.
async fn run(program: &Program, holding: &Holding<'_>, sealed: &Sealed) -> io::Result<i32> {
    let (ours, theirs) = pair()?;
    let mut child = start(program, &theirs)?;
    drop(theirs);
    let pid = Pid::from_child(&child);
    let over = watch(pid)?;
    let worker = Worker {
        pid: Cell::new(Some(pid)),
        words: Rc::new(Words::new(child.stderr.take().map(OwnedFd::from))?),
    };
    let local = UnixStream::try_from(ours)?;
    let relay = Relay::new(&local);
    let (mut sender, mut receiver) = (sealed.sender(), sealed.receiver());
    let exit = async {
        let (status, stderr) = worker.exit(child, over).await?;
        relay.exit(Report {
            code: status.code(),
            signal: status.signal(),
            stderr,
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
            () = ends(io::stdin()), if holding.watches_input => {}
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

/// Waits for the end of this input. (What cannot be waited for has no end.)
async fn ends(input: impl AsFd) {
    let Ok(input) = AsyncFd::new(input) else {
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

#[cfg(all(test, not(miri)))]
mod tests {
    use std::io::Write;

    use super::*;

    /// Whoever has started it may be gone while the pool is silent.
    #[test]
    fn a_holder_whose_starter_is_gone_dials_no_more() {
        let pool = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = pool.local_addr().unwrap().to_string();
        let hello = Hello {
            identity: "copy".to_owned(),
            name: "1".to_owned(),
            number: 1,
        };
        let (starter, theirs) = io::pipe().unwrap();
        let key = Key::new().unwrap();
        let dialled = trefoil::run(async {
            let ends = async {
                sleep(PAUSE).await; // it has dialled, as a rule
                drop(theirs);
            };
            let dialled = dial(&address, &hello, &key, Some(starter));
            let both = async { trefoil::join!(dialled, ends).0 };
            trefoil::timeout(ANSWER / 2, both).await
        });
        let error = dialled.expect("it dials on").unwrap_err();
        assert!(error.to_string().contains("has ended"), "{error}");
    }

    /// As if nobody read our standard error, and something else wrote for ever.
    #[test]
    fn words_that_cannot_be_passed_on_are_reported_and_do_not_go_on_for_ever() {
        const ALL: usize = 3 * REST;
        trefoil::run(async {
            let (from, to) = pair().unwrap();
            (&to).write_all(&vec![b'x'; ALL]).unwrap();
            let words = Words::new(Some(from.try_clone().unwrap().into())).unwrap();
            let (_keeps, passes) = Completer::new();
            let last = trefoil::timeout(ANSWER / 2, words.last(passes)).await;
            assert_eq!(last.unwrap(), "x".repeat(TAIL));
            drop(to);
            let mut left = Vec::new();
            (&from).read_to_end(&mut left).unwrap();
            assert!(
                left.len() < ALL && left.len() >= ALL - 2 * REST,
                "{}",
                left.len()
            );
        });
    }
}
