//! HTTPS on the event loop: tokio-rustls over our sockets, hyper over tokio-rustls.
//!
//! The TLS crate asks for tokio's `AsyncRead` and `AsyncWrite` and for nothing else of tokio's, so
//! it runs here as it is; hyper-util's `TokioIo` hands its stream on to hyper. The certificate is
//! made on the spot and trusted by the one client that knows it. Run it with `cargo run -p
//! trefoil-adapters --example https_server`; it ends by itself.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use trefoil::adapters::hyper::LoopTimer;
use trefoil::io::{TcpListener, TcpStream};
use trefoil::{spawn, timeout};

fn main() -> Result<(), Box<dyn Error>> {
    let (server, client) = configurations()?;
    trefoil::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // The root future ends with the last answer, and the server with it.
        spawn(serve(listener, TlsAcceptor::from(Arc::new(server)))).detach();

        let connector = TlsConnector::from(Arc::new(client));
        let stream = connector
            .connect(
                ServerName::try_from("localhost")?,
                TcpStream::connect(address).await?,
            )
            .await?;
        println!(
            "connected with {:?}",
            stream.get_ref().1.protocol_version().ok_or("no TLS")?
        );
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
        spawn(connection).detach();
        for path in ["/", "/again"] {
            let request = Request::get(path)
                .header("host", "localhost")
                .body(Empty::<Bytes>::new())?;
            let body = sender
                .send_request(request)
                .await?
                .into_body()
                .collect()
                .await?;
            println!("{}", String::from_utf8_lossy(&body.to_bytes()));
        }

        // A client that does not know the certificate.
        let stranger = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
        let stranger = TlsConnector::from(Arc::new(stranger.with_no_client_auth()));
        let stream = TcpStream::connect(address).await?;
        let refused = stranger
            .connect(ServerName::try_from("localhost")?, stream)
            .await;
        println!("a stranger: {}", refused.err().ok_or("it was trusted")?);
        Ok(())
    })
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue; // no descriptor is left, say: such an error takes a tenth of a second
        };
        let acceptor = acceptor.clone();
        spawn(async move {
            // Clients that do not complete the handshake in time are dropped.
            let Ok(Ok(stream)) = timeout(Duration::from_secs(10), acceptor.accept(stream)).await
            else {
                return;
            };
            let _gone = server::conn::http1::Builder::new()
                .timer(LoopTimer)
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        })
        .detach();
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(format!(
        "nobody else has read that you asked for {}",
        request.uri().path()
    )))
}

/// For a server with a certificate of its own making, and a client that trusts it.
fn configurations() -> Result<(ServerConfig, ClientConfig), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((server, client))
}
