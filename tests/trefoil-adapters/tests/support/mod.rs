//! Helpers of the adapters' tests: connected sockets, requests, whole bodies.
#![allow(dead_code)] // not every program needs all of it

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response};
use trefoil::io::{TcpListener, TcpStream};

#[allow(clippy::disallowed_methods)] // that door is for the crate's own protocols
#[path = "../../../deadline/mod.rs"]
mod deadline;

pub(crate) use deadline::within_deadline;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Two ends of one connection: the client's and the server's.
pub(crate) async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    post(path, Bytes::new())
}

pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("http://localhost{path}"))
        .header("host", "localhost")
        .body(Full::new(body.into()))
        .unwrap()
}

/// The whole body, as text.
pub(crate) async fn text<B>(response: Response<B>) -> String
where
    B: Body<Error: std::fmt::Debug>,
{
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Answers with the path.
pub(crate) async fn path(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(request.uri().path().to_owned()))
}

/// Answers with what was sent, while it comes.
pub(crate) async fn mirror(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

/// Bytes in which no two places look alike for long.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

/// Says that it was dropped.
pub(crate) struct Flag(Rc<Cell<bool>>);

impl Flag {
    pub(crate) fn new() -> (Self, Rc<Cell<bool>>) {
        let dropped = Rc::new(Cell::new(false));
        (Self(dropped.clone()), dropped)
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
