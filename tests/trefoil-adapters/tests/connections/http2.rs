//! HTTP/2 over the loop: a hundred streams at once, bodies larger than their windows, requests that
//! are cancelled, peers that fall silent.
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use crate::support::{Flag, connected, get, mirror, noise, path, post, text, within_deadline};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use trefoil::adapters::hyper::{LoopExecutor, LoopTimer};
use trefoil::io::UnixStream;
use trefoil::sync::Event;
use trefoil::{EventLoop, LoopHandle, join_all, spawn, time, yield_now};

/// No request is answered before all have arrived, so all streams exist at the same time.
#[test]
fn a_hundred_streams_at_once() {
    const STREAMS: usize = 100;
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let all_here = Rc::new(Event::new());
            let arrived = Rc::new(Cell::new(0)); // not `Send`, as all of the service
            let service = service_fn({
                let (all_here, arrived) = (all_here.clone(), arrived.clone());
                move |request: Request<Incoming>| {
                    let (all_here, arrived) = (all_here.clone(), arrived.clone());
                    async move {
                        arrived.set(arrived.get() + 1);
                        if arrived.get() == STREAMS {
                            all_here.set();
                        }
                        all_here.wait().await;
                        path(request).await
                    }
                }
            });
            let serving = spawn(
                server::conn::http2::Builder::new(LoopExecutor).serve_connection(far, service),
            );
            let (sender, connection) = client::conn::http2::handshake(LoopExecutor, near)
                .await
                .unwrap();
            let driving = spawn(connection);
            let answers = (0..STREAMS).map(|number| {
                let mut sender = sender.clone();
                spawn(async move {
                    let path = format!("/{number}");
                    let response = sender.send_request(get(&path)).await.unwrap();
                    assert_eq!(text(response).await, path);
                })
            });
            let answers: Vec<_> = answers.collect();
            for answer in join_all(answers).await {
                answer.unwrap();
            }
            assert_eq!(arrived.get(), STREAMS);
            drop(sender);
            driving.await.unwrap().unwrap();
            serving.await.unwrap().unwrap();
        });
    });
}

/// Eight bodies of a megabyte, there and back: windows, frames and sockets are full all the time.
#[test]
fn large_bodies_both_ways_on_many_streams() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = UnixStream::pair().unwrap();
            spawn(
                server::conn::http2::Builder::new(LoopExecutor)
                    .serve_connection(far, service_fn(mirror)),
            )
            .detach();
            let (sender, connection) = client::conn::http2::handshake(LoopExecutor, near)
                .await
                .unwrap();
            spawn(connection).detach();
            let answers: Vec<_> = (0..8)
                .map(|number| {
                    let mut sender = sender.clone();
                    spawn(async move {
                        let sent = noise((1 << 20) + number);
                        let response = sender.send_request(post("/", sent.clone())).await.unwrap();
                        let got = response.into_body().collect().await.unwrap().to_bytes();
                        assert!(got == sent, "{} bytes came back", got.len());
                    })
                })
                .collect();
            for answer in join_all(answers).await {
                answer.unwrap();
            }
        });
    });
}

/// Dropping a request's future resets its stream, and the server drops what it did for it.
#[test]
fn a_request_that_is_taken_back_ends_its_work() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let (flag, dropped) = Flag::new();
            let flag = RefCell::new(Some(flag));
            let service = service_fn(move |request: Request<Incoming>| {
                let flag = (request.uri().path() == "/stuck").then(|| flag.take());
                async move {
                    if flag.is_some() {
                        pending::<()>().await;
                    }
                    path(request).await
                }
            });
            spawn(server::conn::http2::Builder::new(LoopExecutor).serve_connection(far, service))
                .detach();
            let (mut sender, connection) = client::conn::http2::handshake(LoopExecutor, near)
                .await
                .unwrap();
            spawn(connection).detach();
            let stuck = spawn(sender.send_request(get("/stuck")));
            let other = sender.send_request(get("/other")).await.unwrap();
            assert_eq!(text(other).await, "/other");
            stuck.cancel();
            stuck.await.unwrap_err();
            while !dropped.get() {
                yield_now().await;
            }
            let after = sender.send_request(get("/after")).await.unwrap();
            assert_eq!(text(after).await, "/after");
        });
    });
}

/// A service that panics costs its stream, and no other.
#[test]
fn a_panic_ends_its_stream_only() {
    within_deadline(|| {
        let (tell, told) = std::sync::mpsc::channel();
        let event_loop = EventLoop::builder()
            .on_unobserved(move |report| tell.send(report.error().to_string()).unwrap())
            .build()
            .unwrap();
        event_loop.block_on(async {
            let (near, far) = connected().await;
            let service = service_fn(async |request: Request<Incoming>| {
                assert!(request.uri().path() != "/bad", "as the test wants it");
                path(request).await
            });
            spawn(server::conn::http2::Builder::new(LoopExecutor).serve_connection(far, service))
                .detach();
            let (mut sender, connection) = client::conn::http2::handshake(LoopExecutor, near)
                .await
                .unwrap();
            spawn(connection).detach();
            let bad = spawn(sender.send_request(get("/bad")));
            let good = sender.send_request(get("/good")).await.unwrap();
            assert_eq!(text(good).await, "/good");
            bad.await.unwrap().unwrap_err();
            assert!(told.recv().unwrap().contains("as the test wants it"));
        });
    });
}

/// A connection whose peer answers no ping is closed, by the loop's clock, which is virtual here.
#[test]
fn a_silent_peer_is_given_up() {
    within_deadline(|| {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        event_loop.block_on(async {
            let start = time::now();
            let (near, far) = UnixStream::pair().unwrap();
            let serving = server::conn::http2::Builder::new(LoopExecutor)
                .timer(LoopTimer)
                .keep_alive_interval(Duration::from_secs(60))
                .keep_alive_timeout(Duration::from_secs(20))
                .serve_connection(far, service_fn(path));
            // The preface and empty settings, then nothing.
            near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .await
                .unwrap();
            assert!(serving.await.is_err());
            let took = time::now() - start;
            assert!(took >= Duration::from_secs(80), "{took:?}");
            assert!(took < Duration::from_secs(200), "{took:?}");
        });
    });
}

/// A handle of the loop is an executor as well, from whichever thread.
#[test]
fn a_handle_is_an_executor() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let handle = LoopHandle::current();
            let service = service_fn(async |request: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(request.uri().path().to_owned()))
            });
            spawn(server::conn::http2::Builder::new(LoopExecutor).serve_connection(far, service))
                .detach();
            let (mut sender, connection) = client::conn::http2::handshake(handle.clone(), near)
                .await
                .unwrap();
            let driving = handle.spawn(connection); // it is `Send`
            let response = sender.send_request(get("/from a handle".replace(' ', "-").as_str()));
            assert_eq!(text(response.await.unwrap()).await, "/from-a-handle");
            drop(sender);
            driving.await.unwrap().unwrap();

            let (tell, told) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                hyper::rt::Executor::execute(&handle, async move { tell.send(()).unwrap() });
            })
            .join()
            .unwrap();
            while told.try_recv().is_err() {
                yield_now().await;
            }
        });
    });
}
