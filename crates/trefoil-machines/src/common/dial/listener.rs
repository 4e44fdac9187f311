//! The pool's side: a thread that accepts workers, and forwards their streams.
//!
//! **Job.** One thread for each pool runs an event loop. It accepts connections, and answers each
//! in a task of its own; a worker's task then becomes its relay.
//!
//! **Strangers.** Any process that reaches the port may connect. At most [`MOST`] connections are
//! in their handshake at once: a further one ends the oldest. So silent connections keep no worker
//! out, because a worker's handshake takes only a moment. A worker whose connection was ended so
//! dials again (`holder`).
//!
//! **No descriptor left** for a connection, or for the local stream of a worker: the pool
//! gets the reason, and the worker's connection ends.
//!
//! Tests: below; `crates/trefoil-machines/tests/slurm/errors.rs::{strangers_who_dial_are_nobody,
//! silent_strangers_keep_no_worker_out}`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as Local;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;
use trefoil::io::{TcpListener, TcpStream, UnixStream};
use trefoil::process::launch::{Ending, Launched};
use trefoil::sync::Event;
use trefoil::{Completer, EventLoop, Task};

use super::handshake::{Hello, LIMIT, answer};
use super::key::Key;
use super::relay::{Last, Relay, WINDOW};
use super::report::Report;
use super::sealed::Sealed;
use crate::common::descriptors;

/// How many connections may be in their handshake at once.
const MOST: usize = 256;

/// How many connections may wait to be accepted. The system has its own limit, too.
const BACKLOG: i32 = 4096;

/// The size of the buffers of a worker's local sockets.
const SOCKET: usize = 1 << 20;

/// Listens for the workers of one pool. Its drop ends all of their connections, and with them the
/// workers.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    /// Its drop ends the thread.
    over: Option<Completer<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How a worker's connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The worker has ended so. All that it has sent was passed on.
    Exited(Report),
    /// Its machine does not answer any more.
    Cut,
    /// The connection has ended, and nobody said why.
    Lost,
}

/// A worker that has dialled, and has shown that it has the key and is a copy of this program.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) hello: Hello,
    /// The driver's end of its stream, until a slot takes it.
    local: Option<Local>,
    must_end: Arc<Event>,
    outcome: Arc<OnceLock<Outcome>>,
}

impl Arrived {
    /// The worker, for the driver; once. Its stream is the driver's alone: if the driver does not
    /// want the worker any more, the stream closes, and the worker ends.
    pub(crate) fn launched(&mut self) -> io::Result<Launched> {
        let local = self.local.take();
        let local = local.ok_or_else(|| io::Error::other("it has a slot already"))?;
        Ok(Launched::stream(local).pid(self.hello.number))
    }

    /// How its connection has ended. It is known when its stream ends.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Tells the driver how the worker ended, whose stream has ended (`Launcher::ended`): its
    /// `name`, and the reason to suppose if its connection was lost.
    pub(crate) fn explain(&self, ending: &mut Ending, name: &str, supposed: &str) {
        ending.loses_records = true;
        match self.outcome() {
            Some(Outcome::Exited(report)) => {
                (ending.code, ending.signal) = (report.code, report.signal);
                ending.stderr = report.stderr.clone();
                ending.loses_records = false;
            }
            Some(Outcome::Cut) => {
                ending.note = Some(format!("the node of {name} does not answer any more"));
            }
            _ => ending.note = Some(format!("its connection has ended: {supposed}")),
        }
    }

    /// One for tests, with this name.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        Self {
            hello: Hello {
                identity: String::new(),
                name: name.to_owned(),
                number: 0,
            },
            local: Some(pair().unwrap().0),
            must_end: Arc::default(),
            outcome: Arc::default(),
        }
    }

    /// Ends the worker (`Launcher::kill`), whatever it has still to receive. What it has sent
    /// arrives.
    pub(crate) fn end(&self) {
        self.must_end.set();
    }
}

impl Listener {
    /// Starts the thread, which accepts from `listener` the workers that have `key` and this
    /// `identity` (`Program::identity`), and calls `on_arrival` with each; or with the reason why
    /// one could not be received here. That must not block.
    pub(crate) fn new(
        listener: std::net::TcpListener,
        key: Key,
        identity: &'static str,
        on_arrival: impl Fn(Result<Arrived, String>) + Send + 'static,
    ) -> io::Result<Self> {
        Self::with_limit(listener, key, identity, on_arrival, LIMIT)
    }

    /// With this limit for a handshake.
    fn with_limit(
        listener: std::net::TcpListener,
        key: Key,
        identity: &'static str,
        on_arrival: impl Fn(Result<Arrived, String>) + Send + 'static,
        limit: Duration,
    ) -> io::Result<Self> {
        // (`std` lets 128 connections wait to be accepted: those of more workers come a second
        // later.)
        rustix::net::listen(&listener, BACKLOG)?;
        let address = listener.local_addr()?;
        let (over, is_over) = Completer::<()>::new();
        let (begins, begun) = mpsc::channel();
        let run = move || {
            let made = EventLoop::new();
            let made = made.and_then(|made| Ok((made, TcpListener::try_from(listener)?)));
            let (event_loop, listener) = match made {
                Ok(made) => made,
                Err(error) => return drop(begins.send(Err(error))),
            };
            let _ = begins.send(Ok(()));
            let reception = Rc::new(Reception {
                key,
                identity,
                on_arrival,
                limit,
                strangers: RefCell::default(),
            });
            event_loop.block_on(async {
                trefoil::select! {
                    _ = is_over => {}
                    () = reception.accept(&listener) => {}
                }
            });
        };
        let thread = thread::Builder::new().name("trefoil-dial".to_owned());
        let thread = thread.spawn(run)?;
        begun.recv().map_err(io::Error::other)??;
        Ok(Self {
            address,
            over: Some(over),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Prepares a connection: small messages are sent at once, and a machine that is cut off is noticed
/// after twenty seconds.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    // So the kernel has room for all that is permitted, and a stopped process is not taken for a
    // lost machine: the limit of time below also ends a connection whose peer has no room.
    let _ = sockopt::set_socket_recv_buffer_size(stream, 4 * WINDOW); // (it may allow less)
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        const EVERY: Duration = Duration::from_secs(5);
        sockopt::set_tcp_keepidle(stream, EVERY)?;
        sockopt::set_tcp_keepintvl(stream, EVERY)?;
        sockopt::set_tcp_keepcnt(stream, 3)?;
        sockopt::set_tcp_user_timeout(stream, 20_000)?;
    }
    Ok(())
}

/// The two ends of a local stream.
pub(super) fn pair() -> io::Result<(Local, Local)> {
    let (one, other) = Local::pair()?;
    for end in [&one, &other] {
        let _ = sockopt::set_socket_send_buffer_size(end, SOCKET); // (the kernel may allow less)
    }
    Ok((one, other))
}

/// Answers whoever dials.
struct Reception<F> {
    key: Key,
    identity: &'static str,
    on_arrival: F,
    limit: Duration,
    strangers: RefCell<Strangers>,
}

impl<F: Fn(Result<Arrived, String>) + 'static> Reception<F> {
    async fn accept(self: &Rc<Self>, listener: &TcpListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // (After an error that lasts, `accept` itself pauses.)
                Err(error) => {
                    if descriptors::are_used_up(&error) {
                        (self.on_arrival)(Err(descriptors::none_left(&error)));
                    }
                    continue;
                }
            };
            let mut strangers = self.strangers.borrow_mut();
            let (own, number) = (self.clone(), strangers.numbers);
            let task = trefoil::spawn(async move { own.attend(stream, number).await });
            strangers.admit(task);
        }
    }

    /// Answers a connection, and forwards the stream of the worker at its other end.
    async fn attend(&self, stream: TcpStream, number: u64) {
        let met = async {
            prepare(&stream).ok()?;
            let met = answer(stream, &self.key, self.identity, self.limit).await;
            met.ok() // it says itself why
        };
        let met = met.await;
        self.strangers.borrow_mut().leave(number);
        let Some((sealed, hello)) = met else {
            return;
        };
        let ends = pair().and_then(|(local, ours)| Ok((local, UnixStream::try_from(ours)?)));
        let (local, ours) = match ends {
            Ok(ends) => ends,
            Err(error) => return (self.on_arrival)(Err(descriptors::none_left(&error))),
        };
        let (must_end, outcome) = (Arc::<Event>::default(), Arc::new(OnceLock::new()));
        (self.on_arrival)(Ok(Arrived {
            hello,
            local: Some(local),
            must_end: must_end.clone(),
            outcome: outcome.clone(),
        }));
        let _ = outcome.set(forward(&sealed, &ours, &must_end).await);
        drop(ours); // the driver sees the end now
    }
}

/// Forwards a worker's stream until its connection ends.
async fn forward(sealed: &Sealed, local: &UnixStream, must_end: &Event) -> Outcome {
    let relay = Relay::new(local);
    let (mut sender, mut receiver) = (sealed.sender(), sealed.receiver());
    let hear = async {
        let heard = relay.hear(&mut receiver).await;
        relay.all_delivered().await;
        heard
    };
    // What cannot be sent is no reason to hear no more: the report may be there.
    let failed = RefCell::new(None);
    let say = async {
        *failed.borrow_mut() = relay.say(&mut sender, Some(must_end)).await.err();
        std::future::pending::<Infallible>().await
    };
    let heard = trefoil::select! {
        heard = hear => heard,
        never = relay.deliver() => match never {},
        never = say => match never {},
    };
    let is_cut = |error: &io::Error| {
        use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
        matches!(
            error.kind(),
            TimedOut | HostUnreachable | NetworkUnreachable
        )
    };
    match heard {
        Ok(Last::Exit(report)) => Outcome::Exited(report),
        Ok(Last::End) => Outcome::Lost,
        Err(error) if is_cut(&error) || failed.borrow().as_ref().is_some_and(is_cut) => {
            Outcome::Cut
        }
        Err(_) => Outcome::Lost,
    }
}

/// The connections that are in their handshake, the oldest first.
#[derive(Debug, Default)]
struct Strangers {
    numbers: u64,
    all: VecDeque<(u64, Task<()>)>,
}

impl Strangers {
    /// Adds the task of connection `numbers`. If there are too many, ends the oldest.
    fn admit(&mut self, task: Task<()>) {
        if self.all.len() >= MOST
            && let Some((_, oldest)) = self.all.pop_front()
        {
            oldest.cancel();
        }
        self.all.push_back((self.numbers, task));
        self.numbers += 1;
    }

    /// The handshake of connection `number` has ended.
    fn leave(&mut self, number: u64) {
        let place = self
            .all
            .binary_search_by_key(&number, |(number, _)| *number);
        if let Ok(at) = place
            && let Some((_, task)) = self.all.remove(at)
        {
            task.detach();
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;

    use super::super::handshake::call;
    use super::*;

    const IDENTITY: &str = "this program";

    /// No handshake takes so long.
    const NEVER: Duration = Duration::from_secs(10_000);

    /// A pool's listener, and those who arrive there.
    fn pool(key: &Key) -> (Listener, mpsc::Receiver<Arrived>) {
        let (arrives, arrived) = mpsc::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let on_arrival = move |one: Result<_, _>| drop(arrives.send(one.unwrap()));
        let key = key.clone();
        let listener = Listener::with_limit(listener, key, IDENTITY, on_arrival, NEVER).unwrap();
        (listener, arrived)
    }

    /// The driver's end of its stream, with a deadline.
    fn stream_of(arrived: &mut Arrived) -> Local {
        let stream = arrived.local.take().unwrap();
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).unwrap();
        stream
    }

    fn hello() -> Hello {
        Hello {
            identity: IDENTITY.to_owned(),
            name: "12_3".to_owned(),
            number: 15,
        }
    }

    /// A holder whose worker sends back what it gets, and ends when the pool wants it to.
    fn echo(key: Key, address: SocketAddr) -> io::Result<()> {
        trefoil::run(async {
            let stream = TcpStream::connect(address).await?;
            let sealed = call(stream, &key, &hello(), LIMIT)
                .await
                .map_err(io::Error::other)?;
            let (theirs, ours) = pair()?;
            thread::Builder::new().spawn(move || {
                let mut bytes = [0; 70_000];
                while let Ok(count @ 1..) = (&theirs).read(&mut bytes) {
                    (&theirs).write_all(&bytes[..count]).unwrap();
                }
            })?;
            let ours = UnixStream::try_from(ours)?;
            let relay = Relay::new(&ours);
            let (mut sender, mut receiver) = (sealed.sender(), sealed.receiver());
            let ends = async {
                let heard = relay.hear(&mut receiver).await;
                assert!(matches!(heard, Ok(Last::End)), "{heard:?}");
                relay.exit(Report {
                    code: Some(3),
                    signal: None,
                    stderr: "bye".to_owned(),
                });
                std::future::pending::<Infallible>().await
            };
            trefoil::select! {
                said = relay.say(&mut sender, None) => said,
                never = relay.deliver() => match never {},
                never = ends => match never {},
            }
        })
    }

    /// What a worker sends after the handshake: how much of it the driver gets, and how the pool
    /// sees its connection end.
    fn sends(messages: &[&[u8]]) -> (usize, Outcome) {
        let key = Key::new().unwrap();
        let (listener, arrived) = pool(&key);
        // (Its close, with unread permissions, would reset what is under way.)
        let _open = trefoil::run(async {
            let stream = TcpStream::connect(listener.address()).await.unwrap();
            let sealed = call(stream, &key, &hello(), LIMIT).await.ok().unwrap();
            let mut sender = sealed.sender();
            for message in messages {
                let _ = sender.send(message).await; // (after a wrong one the pool is gone)
            }
            let _ = sealed.stream().shutdown(Shutdown::Write);
            sealed
        });
        let mut arrived = arrived.recv_timeout(Duration::from_secs(60)).unwrap();
        let mut all = Vec::new();
        stream_of(&mut arrived).read_to_end(&mut all).unwrap();
        (all.len(), arrived.outcome().unwrap().clone())
    }

    #[test]
    fn what_is_not_the_protocols_ends_the_connection() {
        let exit = &b"\x033 -\nbye"[..];
        let got = sends(&[b"\0data", exit]);
        assert!(matches!(got, (4, Outcome::Exited(_))), "{got:?}");
        for wrong in [
            &[b"\x01\0\0\0\x01", exit][..], // a permission for more than there is room for
            &[b"\x01\0", exit],
            &[b"\x02", exit],
            &[b"\x04", exit],
            &[b"", exit],
            &[b"\x03"],
            &[],
        ] {
            assert_eq!(sends(wrong).1, Outcome::Lost, "{wrong:?}");
        }
    }

    #[test]
    fn all_data_is_delivered_before_the_end_is_known() {
        let key = Key::new().unwrap();
        let met = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let dialled = TcpStream::connect(listener.local_addr().unwrap()).await;
            let accepted = listener.accept().await.unwrap().0;
            let hello = hello();
            let (pool, worker) = trefoil::join!(
                answer(accepted, &key, IDENTITY, LIMIT),
                call(dialled.unwrap(), &key, &hello, LIMIT),
            );
            (pool.unwrap().0, worker.ok().unwrap())
        };
        trefoil::run(async {
            let (pool, worker) = met.await;
            let (driver, ours) = UnixStream::pair().unwrap();
            sockopt::set_socket_send_buffer_size(&ours, 4096).unwrap(); // so some must wait
            let forwards = async {
                let outcome = forward(&pool, &ours, &Event::new()).await;
                drop(ours);
                outcome
            };
            let reads = async {
                let mut sender = worker.sender();
                let message = [&[0][..], &[7; 60_000]].concat();
                for _ in 0..2 {
                    sender.send(&message).await.unwrap();
                }
                sender.send(b"\x033 -\nbye").await.unwrap();
                // (A pool that forgot the rest would do that now.)
                trefoil::time::sleep(Duration::from_millis(50)).await;
                let mut all = Vec::new();
                driver.read_to_end(&mut all).await.map(|_| all.len())
            };
            let both = async { trefoil::join!(forwards, reads) };
            let both = trefoil::timeout(Duration::from_secs(60), both).await;
            let (outcome, read) = both.unwrap();
            assert_eq!(read.unwrap(), 120_000);
            assert!(matches!(outcome, Outcome::Exited(_)), "{outcome:?}");
        });
    }

    /// The wish to end it arrives although the worker has stopped reading.
    #[test]
    fn a_worker_that_does_not_read_is_ended() {
        let key = Key::new().unwrap();
        let (listener, arrived) = pool(&key);
        let address = listener.address();
        let worker = thread::Builder::new().spawn(move || {
            trefoil::run(async {
                let stream = TcpStream::connect(address).await.unwrap();
                let sealed = call(stream, &key, &hello(), LIMIT).await.ok().unwrap();
                let (_theirs, ours) = pair().unwrap();
                let ours = UnixStream::try_from(ours).unwrap();
                let relay = Relay::new(&ours);
                let mut receiver = sealed.receiver();
                trefoil::select! {
                    () = trefoil::time::sleep(Duration::from_secs(60)) => false,
                    heard = relay.hear(&mut receiver) => matches!(heard, Ok(Last::End)),
                    never = relay.deliver() => match never {},
                }
            })
        });
        let mut arrived = arrived.recv_timeout(Duration::from_secs(60)).unwrap();
        let mut stream = stream_of(&mut arrived);
        // Until all buffers are full.
        let is_full = |stream: &mut Local| {
            let limit = Some(Duration::from_millis(200));
            stream.set_write_timeout(limit).unwrap();
            stream.write_all(&[0; 65_536]).is_err()
        };
        while !is_full(&mut stream) {}
        arrived.end();
        assert!(worker.unwrap().join().unwrap());
    }

    /// The driver may drop what it was given: nobody holds the stream then.
    #[test]
    fn a_worker_that_is_not_wanted_any_more_ends() {
        let key = Key::new().unwrap();
        let (listener, arrived) = pool(&key);
        let address = listener.address();
        let (says, said) = mpsc::channel();
        let worker = thread::Builder::new();
        let worker = worker.spawn(move || drop(says.send(echo(key, address))));
        let mut arrived = arrived.recv_timeout(Duration::from_secs(60)).unwrap();
        drop(arrived.launched().unwrap());
        assert!(arrived.launched().is_err());
        said.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
        worker.unwrap().join().unwrap();
    }

    #[test]
    fn a_thousand_silent_strangers_keep_no_worker_out() {
        let key = Key::new().unwrap();
        let (listener, arrived) = pool(&key);
        let address = listener.address();
        let dial = |_| {
            let stranger = std::net::TcpStream::connect(address).unwrap();
            let limit = Some(Duration::from_secs(60));
            stranger.set_read_timeout(limit).unwrap();
            stranger
        };
        let strangers: Vec<_> = (0..1000).map(dial).collect();
        let is_ended = |mut stranger: &std::net::TcpStream| match stranger.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        let is_open = |mut stranger: &std::net::TcpStream| {
            stranger.set_nonblocking(true).unwrap();
            let read = stranger.read(&mut [0]);
            matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        };
        // The pool ends the first of them for the last: their time is not over.
        for stranger in &strangers[..1000 - MOST] {
            assert!(is_ended(stranger));
        }
        assert!(strangers[1000 - MOST..].iter().all(is_open));
        let worker = thread::Builder::new().spawn(move || echo(key, address));
        let arrived = arrived.recv_timeout(Duration::from_secs(60)).unwrap();
        arrived.end();
        worker.unwrap().join().unwrap().unwrap();
        drop(listener);
        for stranger in &strangers {
            stranger.set_nonblocking(false).unwrap();
            assert!(is_ended(stranger));
        }
    }

    #[test]
    fn a_worker_that_vanishes_and_a_pool_that_ends() {
        let key = Key::new().unwrap();
        let (listener, arrived) = pool(&key);
        let meet = async || {
            let stream = TcpStream::connect(listener.address()).await.unwrap();
            call(stream, &key, &hello(), LIMIT).await.ok().unwrap()
        };
        drop(trefoil::run(meet()));
        let mut lost = arrived.recv_timeout(Duration::from_secs(60)).unwrap();
        let mut stream = stream_of(&mut lost);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(lost.outcome(), Some(&Outcome::Lost));
        let mut ending = Ending::default();
        lost.explain(&mut ending, "job 7", "perhaps");
        assert!(ending.loses_records && ending.note.unwrap().contains("perhaps"));
        let sealed = trefoil::run(meet());
        drop(listener);
        let heard = trefoil::run(async { sealed.receive_first(100).await.map(drop) });
        assert!(heard.is_err());
    }

    #[test]
    fn a_worker_is_heard_and_its_report_comes_before_the_end_of_its_stream() {
        let key = Key::new().unwrap();
        let (listener, arrived) = pool(&key);
        let address = listener.address();
        let worker = thread::Builder::new()
            .spawn(move || echo(key, address))
            .unwrap();
        let mut arrived = arrived.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(arrived.hello, hello());
        let mut stream = stream_of(&mut arrived);
        // More than all buffers between here and there hold.
        let all: Vec<u8> = (0..20_000_000u32).map(|n| (n % 251) as u8).collect();
        let mut says = stream.try_clone().unwrap();
        let sent = all.clone();
        let says = thread::Builder::new()
            .spawn(move || says.write_all(&sent).unwrap())
            .unwrap();
        let mut back = vec![0; all.len()];
        stream.read_exact(&mut back).unwrap();
        says.join().unwrap();
        assert!(back == all);
        assert_eq!(arrived.outcome(), None);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        let report = Report {
            code: Some(3),
            signal: None,
            stderr: "bye".to_owned(),
        };
        assert_eq!(arrived.outcome(), Some(&Outcome::Exited(report)));
        worker.join().unwrap().unwrap();
    }
}
