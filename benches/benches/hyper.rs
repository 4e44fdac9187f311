//! hyper's "hello world" on trefoil's loop and on tokio's current-thread runtime, in turn.
//!
//! The same service, the same hyper; only the runtime differs. HTTP/1: each server has a thread,
//! and one client for all is a thread of blocking sockets that writes a request on each of its
//! connections and then reads the answers, so that a round on n connections finds n of them ready.
//! What counts is the server's own processor time for each request: the time until the answer is
//! there has the client and the system's scheduler in it, too, and is shown beside it. HTTP/2:
//! server and client on one thread, so many streams at once on one connection.
//!
//! Goal: ahead of tokio in each row. Nine tenths of HTTP/1's time are the system's and hyper's own,
//! so it is by a few percent.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench hyper -- [--quick] [--only PART,...] [--markdown] [--list]
//! ```
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use trefoil::adapters::hyper::{LoopExecutor, LoopTimer};
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Measured, Row, Unit};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HELLO: &str = "hello, world";

async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(HELLO.to_owned()))
}

/// A server, and where its thread's processor time stands.
struct Server {
    kind: Kind,
    name: &'static str,
    address: SocketAddr,
    clock: PathBuf,
}

impl Server {
    /// Starts `serve` on a thread that ends with the program.
    fn start(kind: Kind, name: &'static str, serve: fn(mpsc::Sender<SocketAddr>)) -> Self {
        let (tell, told) = mpsc::channel();
        let (tell_clock, told_clock) = mpsc::channel();
        thread::spawn(move || {
            let own = std::fs::read_link("/proc/thread-self").expect("Linux");
            tell_clock
                .send(Path::new("/proc").join(own).join("schedstat"))
                .unwrap();
            serve(tell);
        });
        Self {
            kind,
            name,
            address: told.recv().unwrap(),
            clock: told_clock.recv().unwrap(),
        }
    }

    /// Its processor time, in nanoseconds.
    fn spent(&self) -> f64 {
        let stat = std::fs::read_to_string(&self.clock).unwrap();
        stat.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// On trefoil's loop.
fn on_trefoil(tell: mpsc::Sender<SocketAddr>) {
    trefoil::run(async move {
        let listener = trefoil::io::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            trefoil::spawn(
                server::conn::http1::Builder::new()
                    .timer(LoopTimer)
                    .serve_connection(stream, service_fn(hello)),
            )
            .detach();
        }
    })
}

/// The same on tokio.
fn on_tokio(tell: mpsc::Sender<SocketAddr>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tell.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(
                server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service_fn(hello)),
            );
        }
    })
}

/// Connections of a client that blocks.
struct Clients {
    streams: Vec<TcpStream>,
    /// The length of an answer: they are all alike.
    answer: usize,
}

impl Clients {
    fn connect(address: SocketAddr, count: usize) -> Self {
        let streams = (0..count).map(|_| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        });
        let mut clients = Self {
            streams: streams.collect(),
            answer: 0,
        };
        let mut stream = &clients.streams[0];
        stream.write_all(REQUEST).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(HELLO.as_bytes()) {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece).unwrap();
            answer.extend_from_slice(&piece[..count]);
        }
        clients.answer = answer.len();
        clients
    }

    /// `n` requests.
    fn ask(&self, n: u64) {
        let mut piece = vec![0; self.answer];
        for _ in 0..n / self.streams.len() as u64 {
            for mut stream in &self.streams {
                stream.write_all(REQUEST).unwrap();
            }
            for mut stream in &self.streams {
                stream.read_exact(&mut piece).unwrap();
                assert!(piece.ends_with(HELLO.as_bytes()));
            }
        }
    }
}

/// Rounds of `n` requests to each server in turn.
fn compare_servers(bench: &mut Bench, servers: &[Server], connections: usize) {
    let (n, rounds) = size(bench);
    let clients: Vec<_> = servers
        .iter()
        .map(|server| Clients::connect(server.address, connections))
        .collect();
    let mut spent = vec![Vec::new(); servers.len()];
    let mut taken = vec![Vec::new(); servers.len()];
    for round in 0..=rounds {
        for (at, server) in servers.iter().enumerate() {
            let (start, before) = (Instant::now(), server.spent());
            clients[at].ask(n);
            // The first round warms up.
            if round > 0 {
                taken[at].push(start.elapsed().as_nanos() as f64 / n as f64);
                spent[at].push((server.spent() - before) / n as f64);
            }
        }
    }
    let named = |samples: Vec<Vec<f64>>| {
        let all = servers.iter().zip(samples);
        Measured::new(all.map(|(s, samples)| (s.name, s.kind, samples)).collect())
    };
    let name = format!("HTTP/1, connections: {connections}, each request");
    let row = format!("{name}: the server's processor time");
    bench.report(Row::new(row, Unit::Us, &[Goal::Ahead]), &named(spent));
    let row = format!("{name}: until it is answered");
    bench.report(Row::new(row, Unit::Us, &[]).detail(true), &named(taken));
}

type Sender = client::conn::http2::SendRequest<String>;

async fn ask_http2(mut sender: Sender) -> u16 {
    let request = Request::get("http://localhost/")
        .body(String::new())
        .unwrap();
    sender
        .send_request(request)
        .await
        .unwrap()
        .status()
        .as_u16()
}

/// Requests in a round, and rounds.
fn size(bench: &Bench) -> (u64, usize) {
    (bench.pick(256, 2_560, 12_800), bench.pick(1, 3, 15))
}

fn http1(bench: &mut Bench) {
    let servers = [
        Server::start(Kind::Ours, "trefoil", on_trefoil),
        Server::start(Kind::Peer, "tokio, current thread", on_tokio),
    ];
    for connections in [1, 64, 256] {
        compare_servers(bench, &servers, connections);
    }
}

fn http2(bench: &mut Bench) {
    let (n, rounds) = size(bench);
    let event_loop = trefoil::EventLoop::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let set = tokio::task::LocalSet::new();
    let ours: Sender = event_loop.block_on(async {
        let (near, far) = trefoil::io::UnixStream::pair().unwrap();
        let serving = server::conn::http2::Builder::new(LoopExecutor)
            .serve_connection(far, service_fn(hello));
        trefoil::spawn(serving).detach();
        let (sender, connection) = client::conn::http2::handshake(LoopExecutor, near)
            .await
            .unwrap();
        trefoil::spawn(connection).detach();
        sender
    });
    let theirs: Sender = set.block_on(&runtime, async {
        let (near, far) = tokio::net::UnixStream::pair().unwrap();
        let serving = server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(far), service_fn(hello));
        tokio::task::spawn_local(serving);
        let (sender, connection) =
            client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near))
                .await
                .unwrap();
        tokio::task::spawn_local(connection);
        sender
    });
    for streams in [1, 64] {
        let entries = vec![
            Entry::hot(Kind::Ours, "trefoil", n, |n| {
                event_loop.block_on(async {
                    for _ in 0..n / streams {
                        let tasks = (0..streams).map(|_| trefoil::spawn(ask_http2(ours.clone())));
                        for task in tasks.collect::<Vec<_>>() {
                            assert_eq!(task.await.unwrap(), 200);
                        }
                    }
                });
            }),
            Entry::hot(Kind::Peer, "tokio, current thread", n, |n| {
                set.block_on(&runtime, async {
                    for _ in 0..n / streams {
                        let tasks = (0..streams)
                            .map(|_| tokio::task::spawn_local(ask_http2(theirs.clone())));
                        for task in tasks.collect::<Vec<_>>() {
                            assert_eq!(task.await.unwrap(), 200);
                        }
                    }
                });
            }),
        ];
        let measured = bench.measure(rounds, entries);
        let name = format!("HTTP/2, streams at once: {streams}, each request, both sides");
        bench.report(Row::new(name, Unit::Us, &[Goal::Ahead]), &measured);
    }
}

fn main() {
    let mut bench = Bench::from_args();
    bench.group("HTTP/1", http1);
    bench.group("HTTP/2", http2);
    bench.finish();
}
