//! HTTP/1 over the loop's sockets: one request after the other, many in one packet, bodies larger
//! than every buffer, clients that stop sending, send slowly, or hang up.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use crate::support::{Flag, connected, get, mirror, noise, path, post, text, within_deadline};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use trefoil::adapters::hyper::LoopTimer;
use trefoil::io::{TcpStream, UnixStream};
use trefoil::{EventLoop, join_all, spawn, time, yield_now};

#[test]
fn one_connection_serves_one_request_after_the_other() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let serving =
                spawn(server::conn::http1::Builder::new().serve_connection(far, service_fn(path)));
            let (mut sender, connection) = client::conn::http1::handshake(near).await.unwrap();
            let driving = spawn(connection);
            for number in 0..50 {
                sender.ready().await.unwrap();
                let path = format!("/{number}");
                let response = sender.send_request(get(&path)).await.unwrap();
                assert_eq!(text(response).await, path);
            }
            assert!(!serving.is_finished(), "it was kept alive");
            drop(sender);
            driving.await.unwrap().unwrap();
            serving.await.unwrap().unwrap();
        });
    });
}

#[test]
fn unix_sockets_do_as_well() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = UnixStream::pair().unwrap();
            spawn(server::conn::http1::Builder::new().serve_connection(far, service_fn(mirror)))
                .detach();
            let (mut sender, connection) = client::conn::http1::handshake(near).await.unwrap();
            spawn(connection).detach();
            let sent = noise(300_000);
            let response = sender.send_request(post("/", sent.clone())).await.unwrap();
            let got = response.into_body().collect().await.unwrap().to_bytes();
            assert!(got == sent);
        });
    });
}

/// Requests that arrive in one packet, and in single bytes, are answered in order.
#[test]
fn pipelined_requests_are_answered_in_order() {
    const COUNT: usize = 20;
    let mut requests = String::new();
    for number in 0..COUNT {
        let close = if number + 1 == COUNT {
            "Connection: close\r\n"
        } else {
            ""
        };
        requests += &format!("GET /{number} HTTP/1.1\r\nHost: x\r\n{close}\r\n");
    }
    for (piece, flush) in [(requests.len(), false), (requests.len(), true), (7, true)] {
        let requests = requests.clone();
        within_deadline(move || {
            trefoil::run(async move {
                let (near, far) = connected().await;
                near.set_nodelay(true).unwrap();
                let serving = spawn(
                    server::conn::http1::Builder::new()
                        .pipeline_flush(flush)
                        .serve_connection(far, service_fn(path)),
                );
                for piece in requests.as_bytes().chunks(piece) {
                    near.write_all(piece).await.unwrap();
                    yield_now().await;
                }
                let mut answers = String::new();
                near.read_to_string(&mut answers).await.unwrap();
                serving.await.unwrap().unwrap();
                let bodies: Vec<&str> = answers
                    .split("HTTP/1.1 200 OK")
                    .filter_map(|answer| answer.split("\r\n\r\n").nth(1))
                    .collect();
                let expected: Vec<String> = (0..COUNT).map(|number| format!("/{number}")).collect();
                assert_eq!(bodies, expected);
            });
        });
    }
}

/// Both directions are full at the same time: neither side may wait for the other.
#[test]
fn large_bodies_both_ways_at_once() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            spawn(server::conn::http1::Builder::new().serve_connection(far, service_fn(mirror)))
                .detach();
            let (mut sender, connection) = client::conn::http1::handshake(near).await.unwrap();
            spawn(connection).detach();
            let sent = noise(8 << 20);
            let response = sender.send_request(post("/", sent.clone())).await.unwrap();
            let got = response.into_body().collect().await.unwrap().to_bytes();
            assert!(got == sent, "{} bytes came back", got.len());
        });
    });
}

/// A client that has sent everything may still read.
#[test]
fn a_client_that_half_closes_gets_its_answer() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let service = service_fn(async |request| {
                time::sleep(Duration::from_millis(20)).await;
                path(request).await
            });
            let serving = spawn(
                server::conn::http1::Builder::new()
                    .half_close(true)
                    .serve_connection(far, service),
            );
            near.write_all(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("/late"), "{answer}");
            serving.await.unwrap().unwrap();
        });
    });
}

/// A request and the end of the client's stream come at the same time: both before the connection
/// is accepted, or both in one event. The request is answered all the same, even without support
/// for half-closed connections.
#[test]
fn a_request_that_comes_with_the_end_of_its_connection_is_answered() {
    const REQUEST: &[u8] = b"GET /both HTTP/1.1\r\nHost: x\r\n\r\n";
    async fn ask<S>(near: S, far: S, first: bool, end: impl FnOnce(&S)) -> String
    where
        S: AsyncReadExt + AsyncWriteExt + Unpin + hyper::rt::Read + hyper::rt::Write + 'static,
    {
        let mut near = near;
        let mut serving =
            Box::pin(server::conn::http1::Builder::new().serve_connection(far, service_fn(path)));
        if !first {
            // It waits for the request by now.
            poll_fn(|cx| {
                assert!(serving.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        near.write_all(REQUEST).await.unwrap();
        end(&near);
        serving.await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        answer
    }
    within_deadline(|| {
        trefoil::run(async {
            for first in [true, false] {
                for _ in 0..30 {
                    let (near, far) = connected().await;
                    let end = |near: &TcpStream| near.shutdown(Shutdown::Write).unwrap();
                    let answer = ask(near, far, first, end).await;
                    assert!(answer.ends_with("/both"), "TCP, {first}: {answer:?}");
                    let (near, far) = UnixStream::pair().unwrap();
                    let end = |near: &UnixStream| near.shutdown(Shutdown::Write).unwrap();
                    let answer = ask(near, far, first, end).await;
                    assert!(answer.ends_with("/both"), "Unix, {first}: {answer:?}");
                }
            }
        });
    });
}

/// Without that support, hanging up ends the request that is being handled.
#[test]
fn a_client_that_hangs_up_ends_the_work_for_it() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let (flag, dropped) = Flag::new();
            let began = Rc::new(Cell::new(false));
            let flag = RefCell::new(Some(flag));
            let (begun, flags) = (began.clone(), flag);
            let service = service_fn(move |_: Request<Incoming>| {
                begun.set(true);
                let flag = flags.take();
                async move {
                    let _flag = flag;
                    pending::<Result<Response<String>, Infallible>>().await
                }
            });
            let serving = spawn(server::conn::http1::Builder::new().serve_connection(far, service));
            near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            while !began.get() {
                yield_now().await;
            }
            drop(near);
            assert!(serving.await.unwrap().unwrap_err().is_incomplete_message());
            assert!(dropped.get());
        });
    });
}

/// Clients that never complete a request are dropped, each after its timeout, and meanwhile others
/// are served.
#[test]
fn a_slow_client_is_disconnected() {
    const SLOW: usize = 50;
    within_deadline(|| {
        trefoil::run(async {
            let begin = std::time::Instant::now();
            let limit = Duration::from_millis(150);
            let builder = {
                let mut builder = server::conn::http1::Builder::new();
                builder.timer(LoopTimer).header_read_timeout(limit);
                builder
            };
            let mut slow = Vec::new();
            let mut dawdlers = Vec::new();
            for _ in 0..SLOW {
                let (near, far) = connected().await;
                slow.push(spawn(builder.serve_connection(far, service_fn(path))));
                dawdlers.push(spawn(async move {
                    // A byte now and then does not extend the timeout.
                    for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain([b'y'].iter().cycle()) {
                        if near.write_all(std::slice::from_ref(byte)).await.is_err() {
                            break;
                        }
                        time::sleep(Duration::from_millis(5)).await;
                    }
                }));
            }
            let (near, far) = connected().await;
            spawn(server::conn::http1::Builder::new().serve_connection(far, service_fn(path)))
                .detach();
            let (mut sender, connection) = client::conn::http1::handshake(near).await.unwrap();
            spawn(connection).detach();
            let response = sender.send_request(get("/quick")).await.unwrap();
            assert_eq!(text(response).await, "/quick");

            for ended in join_all(slow).await {
                assert!(ended.unwrap().unwrap_err().is_timeout());
            }
            assert!(begin.elapsed() >= limit);
            for dawdler in join_all(dawdlers).await {
                dawdler.unwrap();
            }
        });
    });
}

/// hyper uses the loop's clock, so a timeout of an hour does not take an hour to test.
#[test]
fn timeouts_by_a_virtual_clock() {
    within_deadline(|| {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        event_loop.block_on(async {
            let start = time::now();
            let (near, far) = UnixStream::pair().unwrap();
            let serving = server::conn::http1::Builder::new()
                .timer(LoopTimer)
                .header_read_timeout(Duration::from_secs(3600))
                .serve_connection(far, service_fn(path));
            near.write_all(b"GET").await.unwrap();
            assert!(serving.await.unwrap_err().is_timeout());
            let took = time::now() - start;
            assert!(took >= Duration::from_secs(3600), "{took:?}");
            assert!(took < Duration::from_secs(3700), "{took:?}");
        });
    });
}

/// A service that panics costs its connection, and the failure is reported.
#[test]
fn a_panic_ends_its_connection_only() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let event_loop = EventLoop::builder()
            .on_unobserved(move |report| tell.send(report.error().to_string()).unwrap())
            .build()
            .unwrap();
        event_loop.block_on(async {
            let service = service_fn(async |request: Request<Incoming>| {
                assert!(request.uri().path() != "/bad", "as the test wants it");
                path(request).await
            });
            let open = async || {
                let (near, far) = connected().await;
                spawn(server::conn::http1::Builder::new().serve_connection(far, service)).detach();
                let (sender, connection) = client::conn::http1::handshake(near).await.unwrap();
                (sender, spawn(connection))
            };
            let (mut bad, bad_connection) = open().await;
            let (mut good, good_connection) = open().await;
            bad.send_request(get("/bad")).await.unwrap_err();
            assert!(told.recv().unwrap().contains("as the test wants it"));
            // Its error went to the request.
            bad_connection.await.unwrap().unwrap();
            let response = good.send_request(get("/good")).await.unwrap();
            assert_eq!(text(response).await, "/good");
            drop(good);
            good_connection.await.unwrap().unwrap();
        });
    });
}

/// If a server closes in the middle of a body, that is an error, not the body's end.
#[test]
fn a_body_that_is_cut_off_is_an_error() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let (mut sender, connection) = client::conn::http1::handshake(near).await.unwrap();
            spawn(connection).detach();
            let answering = spawn(async move {
                far.read(&mut [0; 1024]).await.unwrap();
                far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.")
                    .await
                    .unwrap();
            });
            let response = sender.send_request(get("/")).await.unwrap();
            answering.await.unwrap();
            let error = response.into_body().collect().await.unwrap_err();
            assert!(!error.is_timeout(), "{error:?}");
        });
    });
}

/// Some requests end in an upgrade: afterwards the connection is free for another protocol.
#[test]
fn a_connection_can_be_upgraded() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let upgraded = Rc::new(RefCell::new(None));
            let slot = upgraded.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                *slot.borrow_mut() = Some(hyper::upgrade::on(&mut request));
                let mut response = Response::new(String::new());
                *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
                response
                    .headers_mut()
                    .insert("upgrade", "echo".parse().unwrap());
                async { Ok::<_, Infallible>(response) }
            });
            spawn(
                server::conn::http1::Builder::new()
                    .serve_connection(far, service)
                    .with_upgrades(),
            )
            .detach();
            near.write_all(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
            )
            .await
            .unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                near.read_exact(&mut byte).await.unwrap();
                head.push(byte[0]);
            }
            let upgrade = upgraded.borrow_mut().take().unwrap();
            let upgraded = upgrade.await.unwrap();
            let far = upgraded.downcast::<TcpStream>().unwrap();
            assert!(far.read_buf.is_empty());
            far.io.write_all(b"no longer HTTP").await.unwrap();
            drop(far);
            let mut rest = String::new();
            near.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "no longer HTTP");
        });
    });
}
