//! axum's `Router` on the event loop, without tokio's runtime: hyper serves it over our sockets,
//! each connection is a task of the loop, and a handler computes on the thread pool.
//!
//! `axum::serve` would ask for tokio; a `Router` does not. Run it with
//! `cargo run -p trefoil-adapters --example axum_router`; it ends by itself.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::service::TowerToHyperService;
use trefoil::adapters::hyper::LoopTimer;
use trefoil::io::{TcpListener, TcpStream};

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/sum/{n}", get(sum))
}

async fn sum(Path(n): Path<u64>) -> Result<String, StatusCode> {
    let sum = trefoil::spawn_blocking(move || (1..=n).sum::<u64>()).await;
    let sum = sum.map_err(|_panicked| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(sum.to_string())
}

async fn serve(listener: TcpListener, router: Router) {
    let service = TowerToHyperService::new(router);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = http1::Builder::new()
                    .timer(LoopTimer)
                    .serve_connection(stream, service.clone());
                trefoil::spawn(connection).detach();
            }
            // Most likely too many open files. Others will close theirs; `accept` has waited.
            Err(error) => println!("cannot accept: {error}"),
        }
    }
}

/// The status and the body of the answer.
async fn ask(server: SocketAddr, path: &str) -> io::Result<String> {
    let stream = TcpStream::connect(server).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok(format!("{path}: {status} {body}"))
}

fn main() -> io::Result<()> {
    trefoil::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        trefoil::spawn(serve(listener, router())).detach();
        for path in ["/", "/sum/1000", "/sum/x", "/none"] {
            println!("{}", ask(address, path).await?.trim_end());
        }
        Ok(())
    })
}
