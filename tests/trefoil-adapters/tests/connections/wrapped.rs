//! TLS between a connection and hyper: tokio-rustls over our sockets, and hyper over tokio-rustls.
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

use std::sync::Arc;

use crate::support::{connected, mirror, noise, post, within_deadline};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper::{client, server};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use trefoil::adapters::hyper::LoopExecutor;
use trefoil::io::TcpStream;
use trefoil::{join_all, spawn};

/// Both sides' configurations, for a certificate that was made just now.
fn tls() -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (
        TlsAcceptor::from(Arc::new(server)),
        TlsConnector::from(Arc::new(client)),
    )
}

type Secured<S> = (
    tokio_rustls::client::TlsStream<S>,
    tokio_rustls::server::TlsStream<S>,
);

async fn secured(near: TcpStream, far: TcpStream) -> Secured<TcpStream> {
    let (acceptor, connector) = tls();
    let accepting = spawn(async move { acceptor.accept(far).await });
    let name = ServerName::try_from("localhost").unwrap();
    let near = connector.connect(name, near).await.unwrap();
    (near, accepting.await.unwrap().unwrap())
}

#[test]
fn bytes_through_tls_and_its_end() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let (mut near, mut far) = secured(near, far).await;
            let sent = noise(1 << 20);
            let copy = sent.clone();
            let writing = spawn(async move {
                near.write_all(&copy).await.unwrap();
                near.shutdown().await.unwrap();
                near
            });
            let mut got = Vec::new();
            // An end without TLS's own goodbye would be an error here.
            far.read_to_end(&mut got).await.unwrap();
            assert!(got == sent);
            drop(writing.await.unwrap());
        });
    });
}

#[test]
fn a_cut_tls_connection_is_an_error() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let (mut near, mut far) = secured(near, far).await;
            near.write_all(b"and").await.unwrap();
            near.flush().await.unwrap();
            drop(near);
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap_err();
            assert_eq!(got, b"and");
        });
    });
}

#[test]
fn both_versions_of_http_through_tls() {
    within_deadline(|| {
        trefoil::run(async {
            let sent = noise(1 << 20);
            let (near, far) = connected().await;
            let (near, far) = secured(near, far).await;
            let serving = spawn(
                server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(far), service_fn(mirror)),
            );
            let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(near))
                .await
                .unwrap();
            let driving = spawn(connection);
            let response = sender.send_request(post("/", sent.clone())).await.unwrap();
            assert!(response.into_body().collect().await.unwrap().to_bytes() == sent);
            drop(sender);
            driving.await.unwrap().unwrap();
            serving.await.unwrap().unwrap();

            let (near, far) = connected().await;
            let (near, far) = secured(near, far).await;
            spawn(
                server::conn::http2::Builder::new(LoopExecutor)
                    .serve_connection(TokioIo::new(far), service_fn(mirror)),
            )
            .detach();
            let (sender, connection) =
                client::conn::http2::handshake(LoopExecutor, TokioIo::new(near))
                    .await
                    .unwrap();
            spawn(connection).detach();
            let answers: Vec<_> = (0..4)
                .map(|_| {
                    let (mut sender, sent) = (sender.clone(), sent.clone());
                    spawn(async move {
                        let response = sender.send_request(post("/", sent.clone())).await.unwrap();
                        assert!(response.into_body().collect().await.unwrap().to_bytes() == sent);
                    })
                })
                .collect();
            for answer in join_all(answers).await {
                answer.unwrap();
            }
        });
    });
}
