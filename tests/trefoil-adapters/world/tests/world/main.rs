//! Crates that were written for other runtimes, on trefoil's loop, with real sockets: what the
//! table of `docs/FROM_TOKIO.md` says of each.
//!
//! 1. `tokios.rs`: crates that ask for a tokio runtime. Each runs twice: outside
//!    `adapters::tokio::with` it must fail with the words that the document quotes, so that inside
//!    it is `with` that helps.
//! 2. `streams.rs`: crates that take a stream, with the traits of futures-io or of tokio.
//! 3. `redis.rs`: one crate on either runtime.
//!
//! The servers are in here, too. `.ci/long world` runs all of it; the gate does not build it.

#[allow(clippy::disallowed_methods)] // that door is for the crate's own protocols
#[path = "../../../../deadline/mod.rs"]
mod deadline;
mod redis;
mod streams;
mod tls;
mod tokios;

use std::net::SocketAddr;

use trefoil::io::{TcpListener, TcpStream};

/// Two ends of one connection: the client's and the server's.
async fn connected() -> (TcpStream, TcpStream) {
    let (listener, address) = listening().await;
    let client = TcpStream::connect(address).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
