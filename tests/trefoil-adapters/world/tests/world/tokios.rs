//! Crates that open sockets, sleep and start tasks through the tokio runtime that their thread has
//! entered: reqwest, sqlx, tonic, `axum::serve`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sqlx::sqlite::SqlitePoolOptions;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto;
use tonic::codegen::http;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic_prost::ProstCodec;
use tower::service_fn;
use trefoil::adapters::hyper::LoopTimer;
use trefoil::adapters::tokio::with;
use trefoil::sync::channel;
use trefoil::{CancelToken, spawn, try_join_all};

use crate::deadline::within_deadline;
use crate::{listening, tls};

/// Runs the future that `make` makes on a loop: outside tokio's runtime, where it panics and says
/// `words`, and inside.
fn only_inside<F>(words: &'static str, make: impl Fn() -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    within_deadline(move || {
        let outside = trefoil::run(async { spawn(make()).await });
        let said = outside.unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
        trefoil::run(with(make()));
    });
}

const NO_REACTOR: &str = "there is no reactor running";

fn router() -> Router {
    Router::new()
        .route("/echo", post(|body: String| async { body }))
        .route("/late", get(std::future::pending::<()>))
        .route(
            "/square/{n}",
            get(|Path(n): Path<u64>| async move {
                // A handler's future is `Send`, and awaits what it likes.
                trefoil::spawn_blocking(move || (n * n).to_string())
                    .await
                    .unwrap()
            }),
        )
}

/// The router, on the loop itself: no part of tokio's runtime. With TLS or without.
async fn serve(acceptor: Option<TlsAcceptor>) -> SocketAddr {
    let (listener, address) = listening().await;
    let service = TowerToHyperService::new(router());
    spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(LoopTimer);
            let service = service.clone();
            match acceptor.clone() {
                None => spawn(http.serve_connection(stream, service)).detach(),
                Some(acceptor) => spawn(async move {
                    let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                    http.serve_connection(stream, service).await.unwrap();
                })
                .detach(),
            }
        }
    })
    .detach();
    address
}

#[test]
fn reqwest_asks_an_axum_router() {
    only_inside(NO_REACTOR, async || {
        _ = crypto::ring::default_provider().install_default();
        let url = format!("http://{}", serve(None).await);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let squares = (0..20_u64).map(|n| {
            let request = client.get(format!("{url}/square/{n}"));
            spawn(with(async move {
                request.send().await.unwrap().text().await.unwrap()
            }))
        });
        let squares = try_join_all(squares).await.unwrap();
        assert!(
            (0..20)
                .zip(squares)
                .all(|(n, square): (u64, _)| square == (n * n).to_string())
        );

        let sent = "much of it ".repeat(100_000);
        let request = client.post(format!("{url}/echo")).body(sent.clone());
        assert!(request.send().await.unwrap().text().await.unwrap() == sent);
        // Its timers are tokio's.
        let request = client
            .get(format!("{url}/late"))
            .timeout(Duration::from_millis(20));
        assert!(request.send().await.unwrap_err().is_timeout());
    });
}

#[test]
fn reqwest_asks_it_through_rustls() {
    only_inside(NO_REACTOR, async || {
        _ = crypto::ring::default_provider().install_default();
        let tls = tls::for_localhost();
        let address = serve(Some(tls.server.into())).await;
        let certificate = reqwest::Certificate::from_der(&tls.certificate).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([certificate])
            .resolve("localhost", address)
            .build()
            .unwrap();
        let request = client.get(format!("https://localhost:{}/square/12", address.port()));
        let response = request.send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "144");
    });
}

/// axum accepts, and serves on tokio's thread; it ends when it is told to.
#[test]
fn axum_serves() {
    only_inside(NO_REACTOR, async || {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancelToken::new();
        let serving = axum::serve(listener, router()).with_graceful_shutdown(stop.cancelled());
        let serving = spawn(with(serving.into_future()));
        let stream = trefoil::io::TcpStream::connect(address).await.unwrap();
        let request = b"GET /square/9 HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n81"),
            "{answer}"
        );
        assert!(!serving.is_finished());
        stop.cancel();
        serving.await.unwrap().unwrap();
    });
}

/// Its tasks wait for each other's connection, which is one.
#[test]
fn sqlx_with_sqlite() {
    only_inside("this functionality requires a Tokio context", async || {
        let options = SqlitePoolOptions::new().max_connections(1);
        let pool = options.connect("sqlite::memory:").await.unwrap();
        let create = "create table words (number integer primary key, word text not null)";
        sqlx::query(create).execute(&pool).await.unwrap();
        let inserts = (0..50_i64).map(|number| {
            let pool = pool.clone();
            spawn(with(async move {
                let mut transaction = pool.begin().await.unwrap();
                sqlx::query("insert into words values (?, ?)")
                    .bind(number)
                    .bind(format!("word {number}"))
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                if number % 2 == 0 {
                    transaction.commit().await.unwrap();
                } // else it is rolled back
            }))
        });
        try_join_all(inserts).await.unwrap();
        let rows: Vec<(i64, String)> = sqlx::query_as("select number, word from words order by 1")
            .fetch_all(&pool)
            .await
            .unwrap();
        let expected = (0..50)
            .step_by(2)
            .map(|number| (number, format!("word {number}")));
        assert!(rows.into_iter().eq(expected));
        pool.close().await;
    });
}

type Message = ProstCodec<String, String>;

/// What a generated service does: finds the method by its path.
async fn grpc(
    request: http::Request<tonic::body::Body>,
) -> Result<http::Response<tonic::body::Body>, Infallible> {
    let mut grpc = tonic::server::Grpc::new(Message::default());
    Ok(match request.uri().path() {
        "/world.Greeter/Greet" => {
            let greet =
                service_fn(
                    async |name: tonic::Request<String>| match &*name.into_inner() {
                        "" => Err(tonic::Status::invalid_argument("nobody is there")),
                        name => Ok(tonic::Response::new(format!("hello, {name}"))),
                    },
                );
            grpc.unary(greet, request).await
        }
        _ => {
            let count = service_fn(async |upto: tonic::Request<String>| {
                let upto: u32 = upto.into_inner().parse().unwrap();
                let (sender, receiver) = channel::bounded(2);
                tokio::spawn(async move {
                    for number in 0..upto {
                        sender.send(Ok(number.to_string())).await.unwrap();
                    }
                });
                Ok::<_, tonic::Status>(tonic::Response::new(receiver))
            });
            grpc.server_streaming(count, request).await
        }
    })
}

#[test]
fn tonic_serves_and_asks() {
    only_inside(NO_REACTOR, async || {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = incoming.local_addr().unwrap();
        let stop = CancelToken::new();
        let serving = Server::builder().serve_with_incoming_shutdown(
            service_fn(grpc),
            incoming,
            stop.cancelled(),
        );
        let serving = spawn(with(serving));

        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
        let method =
            |name| http::uri::PathAndQuery::from_maybe_shared(format!("/world.Greeter/{name}"));
        for name in ["you", ""] {
            client.ready().await.unwrap();
            let request = tonic::Request::new(name.to_owned());
            let greeting = client.unary(request, method("Greet").unwrap(), Message::default());
            match greeting.await {
                Ok(response) => assert_eq!(response.into_inner(), "hello, you"),
                Err(status) => assert_eq!((name, status.message()), ("", "nobody is there")),
            }
        }
        client.ready().await.unwrap();
        let request = tonic::Request::new("100".to_owned());
        let counting =
            client.server_streaming(request, method("Count").unwrap(), Message::default());
        let mut counting = counting.await.unwrap().into_inner();
        for number in 0..100 {
            assert_eq!(counting.message().await.unwrap(), Some(number.to_string()));
        }
        assert_eq!(counting.message().await.unwrap(), None);
        drop((counting, client));
        stop.cancel();
        serving.await.unwrap().unwrap();
    });
}
