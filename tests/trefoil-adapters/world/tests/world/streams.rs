//! Crates that take a stream: our sockets are streams of futures-io's and, with the feature
//! `tokio-io`, of tokio's. No runtime is asked for, except by async-h1.

use async_tungstenite::tungstenite::Message;
use futures_rustls::{TlsAcceptor, TlsConnector};
use futures_util::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
use http_types::{Body, Method, Request, Response, StatusCode, Url};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
use trefoil::{run, spawn};

use crate::deadline::{alone, eventually, threads_named, within_deadline};
use crate::{connected, tls};

/// Its server clones the stream, and async-io's thread has its timer.
#[test]
fn async_h1() {
    alone("streams::async_h1", "", || {
        run(async {
            let (near, far) = connected().await;
            let far = async_dup::Arc::new(far);
            let serving = spawn(::async_h1::accept(far, async |mut request: Request| {
                let mut response = Response::new(StatusCode::Ok);
                response.set_body(request.body_string().await?.to_uppercase());
                Ok(response)
            }));
            let near = async_dup::Arc::new(near);
            for sent in ["one", &"many ".repeat(50_000)] {
                let mut request = Request::new(Method::Post, Url::parse("http://here/").unwrap());
                request.set_body(Body::from_string(sent.to_owned()));
                let mut response = ::async_h1::connect(near.clone(), request).await.unwrap();
                assert_eq!(response.status(), StatusCode::Ok);
                assert!(response.body_string().await.unwrap() == sent.to_uppercase());
            }
            // A thread has its name a moment after it has been started.
            eventually("async-io has a thread", || threads_named("async-io") == 1);
            drop(near);
            serving.await.unwrap().unwrap();
        });
    });
}

#[test]
fn async_tungstenite() {
    within_deadline(|| {
        run(async {
            let (near, far) = connected().await;
            let echoing = spawn(async {
                let mut socket = ::async_tungstenite::accept_async(far).await.unwrap();
                while let Some(message) = socket.next().await {
                    match message.unwrap() {
                        message if message.is_close() => {}
                        message => socket.send(message).await.unwrap(),
                    }
                }
            });
            let asking = ::async_tungstenite::client_async("ws://here/", near);
            let (mut socket, _) = asking.await.unwrap();
            for sent in ["one", &"many ".repeat(50_000)] {
                socket.send(Message::text(sent)).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(sent));
            }
            socket.close(None).await.unwrap();
            while socket.next().await.is_some() {}
            echoing.await.unwrap();
        });
    });
}

#[test]
fn futures_rustls() {
    within_deadline(|| {
        run(async {
            let (near, far) = connected().await;
            let tls = tls::for_localhost();
            let accepting = spawn(async {
                let mut far = TlsAcceptor::from(tls.server).accept(far).await.unwrap();
                let mut got = String::new();
                far.read_to_string(&mut got).await.unwrap();
                got
            });
            let name = ServerName::try_from("localhost").unwrap();
            let connecting = TlsConnector::from(tls.client).connect(name, near);
            let mut near = connecting.await.unwrap();
            let sent = "much of it ".repeat(50_000);
            near.write_all(sent.as_bytes()).await.unwrap();
            near.close().await.unwrap();
            assert!(accepting.await.unwrap() == sent);
        });
    });
}

#[test]
fn tokio_util_frames() {
    within_deadline(|| {
        run(async {
            let (near, far) = connected().await;
            let (mut near, mut far) = (
                Framed::new(near, LinesCodec::new()),
                Framed::new(far, LinesCodec::new_with_max_length(10)),
            );
            near.send("a line").await.unwrap();
            assert_eq!(far.next().await.unwrap().unwrap(), "a line");
            near.send("a line that is too long").await.unwrap();
            let error = far.next().await.unwrap().unwrap_err();
            assert!(matches!(error, LinesCodecError::MaxLineLengthExceeded));
        });
    });
}
