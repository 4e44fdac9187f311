//! One operation of the event loop, many times: for counting instructions, system calls and
//! allocations, which are exact.
//!
//! `loop_instructions NAME` prints by how many to divide, and runs operation NAME so often inside
//! `measured`; callgrind counts what is executed there (as in `pool_instructions`).
//! `loop_instructions NAME TIMES` runs it TIMES times as often: of two runs under strace, the
//! difference counts. `loop_instructions NAME allocations` prints how many allocations one
//! operation makes. `benches/instructions.sh` does all this.
//!
//! **What makes it exact.** Everything runs on one thread, in turns that are always the same. So
//! the client of the echoes does not run beside the loop: it writes its requests while the loop is
//! not driven, and reads the answers afterwards; its own two calls for each echo are counted, too,
//! and taken off by the script. So is the client of the connections to hyper's server, of which one
//! makes one request. The clock is stopped, since some decisions hang on it.
#![allow(unsafe_code)] // an allocator needs it
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use trefoil::{EventLoop, LoopHandle};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: all calls are passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TASKS: u64 = 10_000;
const BATCH: u64 = 1_000;
const YIELDERS: u64 = 100;
const ECHOES: u64 = 2_000;
const CONNECTIONS: u64 = 500;
const REQUEST: [u8; 64] = [7; 64];
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What is counted.
#[inline(never)]
fn measured(times: u64, work: &mut dyn FnMut()) {
    for _ in 0..times {
        work();
    }
}

/// What the command line asks for.
enum Want {
    Operations(u64),
    Allocations,
}

/// `work` is `each` operations; it runs `times` as often, after it has run twice.
fn count(want: &Want, times: u64, each: u64, mut work: impl FnMut()) {
    work();
    work();
    match want {
        Want::Operations(more) => {
            println!("{}", times * each);
            measured(times * more, &mut work);
        }
        Want::Allocations => {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            measured(times, &mut work);
            let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
            println!("{} {}", made, times * each);
        }
    }
}

fn begin<F: Future + Unpin>(mut timer: F) -> F {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(Pin::new(&mut timer).poll(&mut cx), Poll::Pending));
    timer
}

/// So many connections to echo tasks on the loop, and the client's ends of them.
struct Echo {
    clients: Vec<TcpStream>,
    /// How many answers have been written.
    answered: Rc<Cell<u64>>,
    waiting: Rc<Cell<Option<Waker>>>,
}

impl Echo {
    fn connect(event_loop: &EventLoop, connections: u64) -> Self {
        let answered = Rc::new(Cell::new(0));
        let waiting: Rc<Cell<Option<Waker>>> = Rc::default();
        let mut clients = Vec::new();
        event_loop.block_on(async {
            let listener = trefoil::io::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            for _ in 0..connections {
                clients.push(TcpStream::connect(address).unwrap());
                let (stream, _) = listener.accept().await.unwrap();
                let (answered, waiting) = (answered.clone(), waiting.clone());
                trefoil::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        stream.write_all(&buffer[..count]).await.unwrap();
                        answered.set(answered.get() + 1);
                        if answered.get() % connections == 0
                            && let Some(waker) = waiting.take()
                        {
                            waker.wake();
                        }
                    }
                })
                .detach();
            }
        });
        Self {
            clients,
            answered,
            waiting,
        }
    }

    /// One on each connection.
    fn round(&mut self, event_loop: &EventLoop) {
        for client in &mut self.clients {
            client.write_all(&REQUEST).unwrap();
        }
        let until = self.answered.get() + self.clients.len() as u64;
        event_loop.block_on(poll_fn(|cx| {
            if self.answered.get() == until {
                return Poll::Ready(());
            }
            self.waiting.set(Some(cx.waker().clone()));
            Poll::Pending
        }));
        for client in &mut self.clients {
            client.read_exact(&mut [0; REQUEST.len()]).unwrap();
        }
    }
}

/// How far hyper's server has come: requests that it has taken, and connections that have ended.
#[derive(Default)]
struct Steps {
    done: AtomicU64,
    waiting: AtomicWaker,
}

impl Steps {
    fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.waiting.wake();
    }

    /// Until the step with this number.
    async fn reach(&self, number: u64) {
        poll_fn(|cx| {
            self.waiting.register(cx.waker());
            if self.done.load(Ordering::Relaxed) < number {
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    async fn answer(&self) -> Result<Response<String>, Infallible> {
        self.step();
        Ok(Response::new("hello, world".to_owned()))
    }
}

/// One connection with one request: the client writes it, shuts its direction down, and then reads
/// the answer. `drive` drives the server until that step. The client makes seven calls.
fn connection(address: SocketAddr, steps: &Steps, drive: &mut dyn FnMut(u64)) {
    let before = steps.done.load(Ordering::Relaxed);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(HTTP).unwrap();
    drive(before + 1);
    client.shutdown(Shutdown::Write).unwrap();
    drive(before + 2);
    let mut answer = [0; 1024];
    let count = client.read(&mut answer).unwrap();
    assert!(answer[..count].ends_with(b"hello, world"));
    assert_eq!(client.read(&mut answer).unwrap(), 0);
}

/// Runs what other threads (or this one, from outside) have spawned, and goes to sleep.
fn settle(event_loop: &EventLoop) {
    while event_loop.poll_once() {}
}

fn bring(handle: &LoopHandle) {
    handle.call_soon(|| black_box(())).detach();
}

fn main() {
    trefoil::thread::freeze_ticks();
    let args: Vec<String> = std::env::args().collect();
    let name = args.get(1).expect("the name of an operation").as_str();
    let want = &match args.get(2).map(String::as_str) {
        Some("allocations") => Want::Allocations,
        Some(times) => Want::Operations(times.parse().expect("a number")),
        None => Want::Operations(1),
    };
    let event_loop = &EventLoop::new().expect("the system gives it its descriptors");
    match name {
        "loop-one-by-one" => count(want, 1, TASKS, || {
            event_loop.block_on(async {
                for i in 0..TASKS {
                    black_box(trefoil::spawn(async move { black_box(i) }).await.unwrap());
                }
            });
        }),
        "loop-batch" => count(want, TASKS / BATCH, BATCH, || {
            event_loop.block_on(async {
                let tasks: Vec<_> = (0..BATCH)
                    .map(|i| trefoil::spawn(async move { black_box(i) }))
                    .collect();
                for task in tasks {
                    black_box(task.await.unwrap());
                }
            });
        }),
        "loop-yield" => count(want, 1, YIELDERS * TASKS / YIELDERS, || {
            event_loop.block_on(async {
                let yields = || async {
                    for _ in 0..TASKS / YIELDERS {
                        trefoil::yield_now().await;
                    }
                };
                let tasks: Vec<_> = (0..YIELDERS).map(|_| trefoil::spawn(yields())).collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        }),
        "loop-timer" => count(want, 1, TASKS, || {
            event_loop.block_on(async {
                for i in 0..TASKS {
                    let length = Duration::from_secs(3600) + Duration::from_micros(i * 7919);
                    drop(begin(trefoil::time::sleep(length)));
                }
            });
        }),
        "loop-remote-spawn" => {
            let handle = event_loop.handle();
            count(want, 1, TASKS, || {
                for i in 0..TASKS {
                    handle.spawn(async move { black_box(i) }).detach();
                }
                settle(event_loop);
            });
        }
        "loop-message" => {
            // As if from another thread: the loop does not run meanwhile.
            let (sender, receiver) = trefoil::sync::channel::unbounded();
            count(want, 1, TASKS, || {
                (0..TASKS).for_each(|i| sender.try_send(i).expect("it is unbounded"));
                event_loop.block_on(async {
                    for _ in 0..TASKS {
                        black_box(receiver.recv().await.expect("it was sent"));
                    }
                });
            });
        }
        "echo-1" => {
            let mut echo = Echo::connect(event_loop, 1);
            count(want, ECHOES, 1, || echo.round(event_loop));
        }
        "echo-64" => {
            let mut echo = Echo::connect(event_loop, 64);
            count(want, ECHOES / 64, 64, || echo.round(event_loop));
        }
        "http-connection" => {
            let steps = Arc::new(Steps::default());
            let of_server = steps.clone();
            let address = event_loop.block_on(async {
                let listener = trefoil::io::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                trefoil::spawn(async move {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        let steps = of_server.clone();
                        trefoil::spawn(async move {
                            let service = service_fn(|_: Request<Incoming>| steps.answer());
                            let serving = http1::Builder::new().serve_connection(stream, service);
                            serving.await.unwrap();
                            steps.step();
                        })
                        .detach();
                    }
                })
                .detach();
                address
            });
            count(want, CONNECTIONS, 1, || {
                connection(address, &steps, &mut |step| {
                    event_loop.block_on(steps.reach(step));
                });
            });
        }
        "http-connection-tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let steps = Arc::new(Steps::default());
            let of_server = steps.clone();
            let address = runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                tokio::spawn(async move {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        let steps = of_server.clone();
                        tokio::spawn(async move {
                            let service = service_fn(|_: Request<Incoming>| steps.answer());
                            let stream = TokioIo::new(stream);
                            let serving = http1::Builder::new().serve_connection(stream, service);
                            serving.await.unwrap();
                            steps.step();
                        });
                    }
                });
                address
            });
            count(want, CONNECTIONS, 1, || {
                connection(address, &steps, &mut |step| {
                    runtime.block_on(steps.reach(step));
                });
            });
        }
        // A wake-up of a loop that sleeps, and the loop's turn after it.
        "wake-asleep" => {
            let handle = event_loop.handle();
            count(want, ECHOES, 1, || {
                bring(&handle);
                settle(event_loop);
            });
        }
        // Eight wake-ups for each of the loop's turns: seven find it awake.
        "wake-awake" => {
            let handle = event_loop.handle();
            count(want, ECHOES, 7, || {
                (0..8).for_each(|_| bring(&handle));
                settle(event_loop);
            });
        }
        other => panic!("no operation {other}"),
    }
}
