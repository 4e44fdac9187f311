//! hyper 1.x on an event loop: its servers and its clients, HTTP/1 and HTTP/2.
//!
//! hyper asks a runtime for three things: streams, a timer, and an executor for its tasks. Here
//!
//! - `hyper::rt::Read` and `hyper::rt::Write` are implemented by
//!   [`TcpStream`](crate::io::TcpStream) and [`UnixStream`](crate::io::UnixStream), so a connection
//!   is passed to hyper without a wrapper;
//! - [`LoopTimer`] is the timer, for `header_read_timeout`, `keep_alive_interval` and so on. On a
//!   loop with [`virtual_time`](crate::EventLoopBuilder::virtual_time) it uses that clock;
//! - [`LoopExecutor`] runs tasks on the loop that it is used on. Tasks, and so services, need not
//!   be `Send`: they may contain an `Rc`. A [`LoopHandle`] is an executor, too, from any thread,
//!   for `Send` tasks;
//! - a layer between a connection and hyper that has tokio's traits (TLS by tokio-rustls, over our
//!   sockets with the feature `tokio-io`) is wrapped in hyper-util's `TokioIo`, and so is an
//!   upgraded connection, in the other direction. One with the traits of futures-io gets tokio's
//!   first, by `compat()` of tokio-util.
//!
//! A server that answers three requests at once over HTTP/2, and its client:
//!
//! ```
//! use std::cell::Cell;
//! use std::rc::Rc;
//!
//! use hyper::body::Incoming;
//! use hyper::service::service_fn;
//! use hyper::{Request, Response, client, server};
//! use trefoil::adapters::hyper::LoopExecutor;
//! use trefoil::io::{TcpListener, TcpStream};
//!
//! trefoil::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let stream = TcpStream::connect(listener.local_addr()?).await?;
//!     let (accepted, _) = listener.accept().await?;
//!
//!     let served = Rc::new(Cell::new(0)); // not `Send`
//!     let counter = served.clone();
//!     let service = service_fn(move |request: Request<Incoming>| {
//!         counter.set(counter.get() + 1);
//!         async move { Ok::<_, hyper::Error>(Response::new(format!("you asked for {}", request.uri().path()))) }
//!     });
//!     let serving = trefoil::spawn(
//!         server::conn::http2::Builder::new(LoopExecutor).serve_connection(accepted, service),
//!     );
//!
//!     let (mut sender, connection) = client::conn::http2::handshake(LoopExecutor, stream).await?;
//!     let driving = trefoil::spawn(connection);
//!     let request = |path| Request::get(path).body(String::new()).unwrap();
//!     let answers = [
//!         trefoil::spawn(sender.send_request(request("/a"))),
//!         trefoil::spawn(sender.send_request(request("/b"))),
//!         trefoil::spawn(sender.send_request(request("/c"))),
//!     ];
//!     for answer in trefoil::join_all(answers).await {
//!         assert!(answer??.status().is_success());
//!     }
//!     assert_eq!(served.get(), 3);
//!     drop(sender); // the connection ends
//!     driving.await??;
//!     serving.await??;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Features above single connections (detecting a client's version, graceful shutdown, a pool of
//! clients) are in the crate hyper-util, whose `server::conn::auto` and `server::graceful` need
//! nothing but the above: `tests/trefoil-adapters/examples/hyper_server.rs` uses the former.
//!
//! # How connections end
//!
//! A connection is a future; only the streams of HTTP/2 are separate tasks. Dropping the future
//! closes the descriptor at once, and those tasks end. A client's HTTP/2 connection is different:
//! hyper makes a task of the connection itself, which closes the descriptor when its last request
//! has ended or was dropped, too. A panic in a service ends only its connection (over HTTP/2: its
//! stream).

mod streams;

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use ::hyper::rt::{Executor, Sleep as HyperSleep, Timer};

use crate::event_loop::{LoopHandle, spawn};
use crate::time::{self, Sleep};

/// Runs hyper's tasks on the loop that it is called on, as [`spawn`](crate::spawn()) does: they
/// need not be `Send`.
///
/// HTTP/2 connections are built with it. A failure that is never taken (a panic in a service) is
/// reported as for other detached tasks ([`on_unobserved`](crate::on_unobserved)).
///
/// # Panics
///
/// [`execute`](Executor::execute) panics outside a loop; for other threads there is [`LoopHandle`].
///
/// ```
/// use hyper::rt::Executor;
/// use std::rc::Rc;
/// use trefoil::adapters::hyper::LoopExecutor;
///
/// trefoil::run(async {
///     let shared = Rc::new(7);
///     LoopExecutor.execute(async move { assert_eq!(*shared, 7) });
///     trefoil::yield_now().await;
/// });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopExecutor;

impl<F> Executor<F> for LoopExecutor
where
    F: Future<Output: 'static> + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        spawn(future).detach();
    }
}

/// Starts tasks from any thread, like [`LoopHandle::spawn`].
impl<F> Executor<F> for LoopHandle
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        self.spawn(future).detach();
    }
}

/// hyper's timer, on the loop that polls it: never early.
///
/// Without a timer hyper has no timeouts, and panics if one is set. A server should have one, and
/// a `header_read_timeout` (30 s by default if there is a timer), so that no client keeps a
/// connection by sending nothing.
///
/// ```
/// use std::time::Duration;
///
/// use hyper::body::Incoming;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response, server};
/// use trefoil::adapters::hyper::LoopTimer;
/// use trefoil::io::UnixStream;
///
/// let error = trefoil::run(async {
///     let (client, server) = UnixStream::pair()?;
///     let service = service_fn(async |_: Request<Incoming>| Ok::<_, hyper::Error>(Response::new(String::new())));
///     let serving = server::conn::http1::Builder::new()
///         .timer(LoopTimer)
///         .header_read_timeout(Duration::from_millis(20))
///         .serve_connection(server, service);
///     client.write_all(b"GET / HTTP/1.1\r\nHost: slow").await?; // and no more
///     Ok::<_, std::io::Error>(serving.await.unwrap_err())
/// })?;
/// assert!(error.is_timeout());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopTimer;

impl Timer for LoopTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn HyperSleep>> {
        Box::pin(time::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn HyperSleep>> {
        Box::pin(time::sleep_until(deadline))
    }

    fn now(&self) -> Instant {
        time::now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn HyperSleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(mut ours) => ours.set(time::sleep_until(new_deadline)),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

impl HyperSleep for Sleep {}
