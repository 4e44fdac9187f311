//! hyper's "hello world" on trefoil's loop and on tokio's current-thread runtime, in turn.
//!
//! The same service, the same hyper; what differs is who runs it. HTTP/1: each server has a
//! thread, and one client for all is a thread of blocking sockets that writes a request on each
//! of its connections and then reads the answers, so that a round on n connections finds n of them
//! ready. HTTP/2: server and client on one thread, so many streams at once on one connection.
//!
//! Goal: ahead of tokio in each row.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench hyper             # all rows
//! cargo bench -p trefoil-benches --bench hyper -- --quick  # a look
//! ```
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use trefoil::adapters::hyper::{LoopExecutor, LoopTimer};
use trefoil_benches::{Contender, compare};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HELLO: &str = "hello, world";

async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(HELLO.to_owned()))
}

/// A server on trefoil's loop, in a thread that ends with the program.
fn on_trefoil() -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
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
    });
    told.recv().unwrap()
}

/// The same on tokio.
fn on_tokio() -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
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
    });
    told.recv().unwrap()
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

fn main() {
    let quick = std::env::args().any(|arg| arg == "--test" || arg == "--quick");
    let (n, rounds) = if quick { (512, 3) } else { (12_800, 15) };

    let (ours, theirs) = (on_trefoil(), on_tokio());
    for count in [1, 64, 256] {
        let (ours, theirs) = (
            Clients::connect(ours, count),
            Clients::connect(theirs, count),
        );
        compare(
            &format!("HTTP/1, {count} connections, each request"),
            n,
            rounds,
            &mut [
                Contender::new("trefoil", |n| ours.ask(n)),
                Contender::new("tokio, current thread", |n| theirs.ask(n)),
            ],
        );
    }

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
        compare(
            &format!(
                "HTTP/2, one connection, {streams} streams at once, each request (both sides)"
            ),
            n,
            rounds,
            &mut [
                Contender::new("trefoil", |n| {
                    event_loop.block_on(async {
                        for _ in 0..n / streams {
                            let tasks =
                                (0..streams).map(|_| trefoil::spawn(ask_http2(ours.clone())));
                            for task in tasks.collect::<Vec<_>>() {
                                assert_eq!(task.await.unwrap(), 200);
                            }
                        }
                    });
                }),
                Contender::new("tokio, current thread", |n| {
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
            ],
        );
    }
}
