//! How connections end: gracefully, or dropped in the middle of everything, and then no
//! descriptor and no task is left.

mod support;

use std::cell::Cell;
use std::error::Error;
use std::future::pending;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, client, server};
use support::{connected, get, mirror, noise, path, post, text, within_deadline};
use trefoil::adapters::hyper::{LoopExecutor, LoopTimer};
use trefoil::io::TcpStream;
use trefoil::{CancelToken, EventLoop, Task, spawn, time, yield_now};

/// One after the other: they count the descriptors of the process.
static ALONE: Mutex<()> = Mutex::new(());

/// Of sockets, and of what a loop waits on. (The C library opens files of its own for a moment, on
/// whatever thread.)
fn descriptors() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| !target.starts_with("/")).count()
}

/// Slow requests wait here.
#[derive(Clone)]
struct Gate {
    waiting: Rc<Cell<u32>>,
    open: CancelToken,
}

impl Gate {
    fn new() -> Self {
        Self {
            waiting: Rc::default(),
            open: CancelToken::new(),
        }
    }

    async fn has(&self, count: u32) {
        while self.waiting.get() < count {
            yield_now().await;
        }
    }
}

/// Answers when it is told to.
async fn slow_path(
    request: Request<Incoming>,
    gate: Gate,
) -> Result<hyper::Response<String>, std::convert::Infallible> {
    if request.uri().path() == "/slow" {
        gate.waiting.set(gate.waiting.get() + 1);
        gate.open.cancelled().await;
    }
    path(request).await
}

async fn drained<C: Future>(connection: C, stop: CancelToken, end: fn(Pin<&mut C>)) -> C::Output {
    let mut connection = pin!(connection);
    let mut stopped = pin!(stop.cancelled());
    let early = std::future::poll_fn(|cx| match stopped.as_mut().poll(cx) {
        std::task::Poll::Ready(_) => std::task::Poll::Ready(None),
        std::task::Poll::Pending => connection.as_mut().poll(cx).map(Some),
    });
    if let Some(result) = early.await {
        return result;
    }
    end(connection.as_mut());
    connection.await
}

/// Whether the system said that the peer has closed.
fn is_reset(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(error.kind(), BrokenPipe | ConnectionReset);
        }
        source = error.source();
    }
    false
}

fn serve_http1(far: TcpStream, stop: &CancelToken, gate: &Gate) -> Task<hyper::Result<()>> {
    let (stop, gate) = (stop.clone(), gate.clone());
    let service = service_fn(move |request| slow_path(request, gate.clone()));
    let connection = server::conn::http1::Builder::new()
        .timer(LoopTimer)
        .serve_connection(far, service);
    spawn(drained(connection, stop, |connection| {
        connection.graceful_shutdown()
    }))
}

fn serve_http2(far: TcpStream, stop: &CancelToken, gate: &Gate) -> Task<hyper::Result<()>> {
    let (stop, gate) = (stop.clone(), gate.clone());
    let service = service_fn(move |request| slow_path(request, gate.clone()));
    let connection = server::conn::http2::Builder::new(LoopExecutor)
        .timer(LoopTimer)
        .serve_connection(far, service);
    spawn(drained(connection, stop, |connection| {
        connection.graceful_shutdown()
    }))
}

#[test]
fn http1_ends_when_its_last_answer_is_out() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within_deadline(|| {
        let before = descriptors();
        trefoil::run(async {
            let (stop, gate) = (CancelToken::new(), Gate::new());
            let (idle_near, idle_far) = connected().await;
            let idle = serve_http1(idle_far, &stop, &gate);
            let (near, far) = connected().await;
            let busy = serve_http1(far, &stop, &gate);
            let (mut sender, connection) = client::conn::http1::handshake(near).await.unwrap();
            spawn(connection).detach();
            let asked = spawn(sender.send_request(get("/slow")));
            gate.has(1).await;

            stop.cancel();
            idle.await.unwrap().unwrap();
            assert_eq!(idle_near.read(&mut [0; 8]).await.unwrap(), 0);
            assert!(!busy.is_finished() && !asked.is_finished());
            gate.open.cancel();
            let response = asked.await.unwrap().unwrap();
            assert_eq!(response.headers()["connection"], "close");
            assert_eq!(text(response).await, "/slow");
            busy.await.unwrap().unwrap();
            drop(sender);
        });
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn http2_ends_when_its_last_stream_has() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within_deadline(|| {
        let before = descriptors();
        trefoil::run(async {
            let (stop, gate) = (CancelToken::new(), Gate::new());
            let (near, far) = connected().await;
            let serving = serve_http2(far, &stop, &gate);
            let (mut sender, connection) = client::conn::http2::handshake(LoopExecutor, near)
                .await
                .unwrap();
            let driving = spawn(connection);
            let asked = spawn(sender.send_request(get("/slow")));
            let quick = sender.send_request(get("/quick")).await.unwrap();
            assert_eq!(text(quick).await, "/quick");
            gate.has(1).await;

            stop.cancel();
            time::sleep(Duration::from_millis(10)).await;
            assert!(!serving.is_finished() && !asked.is_finished());
            gate.open.cancel();
            assert_eq!(text(asked.await.unwrap().unwrap()).await, "/slow");
            if let Err(error) = serving.await.unwrap() {
                // The client closes after the last answer, too, and may be first.
                assert!(is_reset(&error), "{error:?}");
            }
            sender.send_request(get("/late")).await.unwrap_err();
            drop(sender);
            let _ = driving.await.unwrap();
        });
        assert_eq!(descriptors(), before);
    });
}

/// hyper-util's server of both versions, and its way to drain one: with the executor and the timer
/// here it needs nothing else.
#[test]
fn by_the_means_of_hyper_util() {
    use hyper_util::server::conn::auto;
    use hyper_util::server::graceful::GracefulShutdown;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within_deadline(|| {
        let before = descriptors();
        trefoil::run(async {
            let mut builder = auto::Builder::new(LoopExecutor);
            builder.http1().timer(LoopTimer);
            builder.http2().timer(LoopTimer);
            let graceful = GracefulShutdown::new();
            let gate = Gate::new();
            let mut serving = Vec::new();
            let mut open = async || {
                let (near, far) = connected().await;
                let gate = gate.clone();
                let service = service_fn(move |request| slow_path(request, gate.clone()));
                let connection = builder.serve_connection(far, service).into_owned();
                serving.push(spawn(graceful.watch(connection)));
                near
            };
            let (mut http1, connection) =
                client::conn::http1::handshake(open().await).await.unwrap();
            spawn(connection).detach();
            let (mut http2, connection) =
                client::conn::http2::handshake(LoopExecutor, open().await)
                    .await
                    .unwrap();
            spawn(connection).detach();
            let slow = [
                spawn(http1.send_request(get("/slow"))),
                spawn(http2.send_request(get("/slow"))),
            ];
            gate.has(2).await;
            let drained = spawn(graceful.shutdown());
            yield_now().await;
            assert!(!drained.is_finished());
            gate.open.cancel();
            for slow in slow {
                assert_eq!(text(slow.await.unwrap().unwrap()).await, "/slow");
            }
            drained.await.unwrap();
            for connection in serving {
                connection.await.unwrap().unwrap();
            }
        });
        assert_eq!(descriptors(), before);
    });
}

/// What a loop has while both sides of many connections are at work, and after all of them were
/// dropped at once, at different stages.
#[test]
fn connections_dropped_in_flight_leave_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within_deadline(|| {
        let start = descriptors();
        let event_loop = EventLoop::new().unwrap();
        event_loop.block_on(async {
            let before = descriptors();
            for round in 0..8 {
                let mut tasks: Vec<Task<()>> = Vec::new();
                for number in 0..16 {
                    let (near, far) = connected().await;
                    if number % 2 == 0 {
                        tasks.push(spawn(async move {
                            let _ = server::conn::http1::Builder::new()
                                .serve_connection(far, service_fn(mirror))
                                .await;
                        }));
                        tasks.push(spawn(async move {
                            let (mut sender, connection) =
                                client::conn::http1::handshake(near).await.unwrap();
                            let _driving = spawn(connection).cancel_on_drop();
                            let response = sender.send_request(post("/", noise(1 << 20))).await;
                            let _response = response;
                            pending::<()>().await;
                        }));
                    } else {
                        tasks.push(spawn(async move {
                            let _ = server::conn::http2::Builder::new(LoopExecutor)
                                .serve_connection(far, service_fn(mirror))
                                .await;
                        }));
                        tasks.push(spawn(async move {
                            let (mut sender, connection) =
                                client::conn::http2::handshake(LoopExecutor, near)
                                    .await
                                    .unwrap();
                            let _driving = spawn(connection).cancel_on_drop();
                            let response = sender.send_request(post("/", noise(1 << 20))).await;
                            let _response = response;
                            pending::<()>().await;
                        }));
                    }
                }
                // Another stage each time.
                for _ in 0..round * 5 {
                    yield_now().await;
                }
                assert!(descriptors() >= before + 32);
                drop(
                    tasks
                        .drain(..)
                        .map(Task::cancel_on_drop)
                        .collect::<Vec<_>>(),
                );
                // Streams of HTTP/2 are tasks of their own: they notice, and end.
                while descriptors() > before {
                    yield_now().await;
                }
                assert_eq!(descriptors(), before, "in round {round}");
            }
        });
        drop(event_loop);
        assert_eq!(descriptors(), start);
    });
}

/// The loop ends while connections are at work: all is dropped, in bounded time.
#[test]
fn the_end_of_the_loop_ends_all_connections() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    within_deadline(|| {
        let before = descriptors();
        trefoil::run(async {
            let (never, gate) = (CancelToken::new(), Gate::new());
            for _ in 0..10 {
                let (near, far) = connected().await;
                serve_http2(far, &never, &gate).detach();
                let (mut sender, connection) = client::conn::http2::handshake(LoopExecutor, near)
                    .await
                    .unwrap();
                spawn(connection).detach();
                spawn(async move { sender.send_request(get("/slow")).await.is_ok() }).detach();
            }
            gate.has(10).await;
        });
        assert_eq!(descriptors(), before);
    });
}
