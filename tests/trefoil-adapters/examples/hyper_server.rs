//! An HTTP server on the event loop: HTTP/1 and HTTP/2 on one port, and a graceful shutdown.
//!
//! Shows hyper on trefoil ([`trefoil::adapters::hyper`]): connections are tasks, services share a
//! counter through an `Rc`, hyper-util finds out the version, and the loop's timers limit slow
//! clients. The program has a client,
//! too, which uses both versions, so that it ends by itself. Run it with
//! `cargo run -p trefoil-adapters --example hyper_server`.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client};
use hyper_util::server::conn::auto;
use trefoil::adapters::hyper::{LoopExecutor, LoopTimer};
use trefoil::io::{TcpListener, TcpStream};
use trefoil::sync::channel::{self, Sender};
use trefoil::time::sleep;
use trefoil::{CancelToken, join_all, spawn, timeout};

type Failure = Box<dyn Error>;

/// A client that has not sent a request's head after this time is disconnected.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Failure> {
    trefoil::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancelToken::new();
        let served = Rc::new(Cell::new(0));
        let server = spawn(serve(listener, served.clone(), stop.clone()));

        // One connection, one request after the other.
        let (mut sender, connection) =
            client::conn::http1::handshake(TcpStream::connect(address).await?).await?;
        spawn(connection).detach();
        for path in ["/one", "/two"] {
            sender.ready().await?;
            let text = text(sender.send_request(ask(address, path)).await?).await?;
            println!("HTTP/1: {text}");
        }
        let missing = sender.send_request(ask(address, "/none")).await?;
        println!("HTTP/1: {}", missing.status());

        // One connection, a hundred requests at the same time.
        let stream = TcpStream::connect(address).await?;
        let (sender, connection) = client::conn::http2::handshake(LoopExecutor, stream).await?;
        spawn(connection).detach();
        let answers = (0..100).map(|_| {
            let mut sender = sender.clone();
            spawn(async move { text(sender.send_request(ask(address, "/many")).await?).await })
        });
        let answers = join_all(answers).await.into_iter().filter(Result::is_ok);
        println!("HTTP/2: {} answers", answers.count());

        // The server is stopped while a client waits for an answer; the client still gets it.
        let mut last = sender.clone();
        let slow =
            spawn(async move { text(last.send_request(ask(address, "/slow")).await?).await });
        while served.get() < 104 {
            sleep(Duration::from_millis(1)).await;
        }
        stop.cancel();
        server.await?;
        println!("HTTP/2: {}", slow.await??);
        println!("{} requests served, all connections closed", served.get());
        Ok(())
    })
}

fn ask(address: SocketAddr, path: &str) -> Request<String> {
    Request::get(format!("http://{address}{path}"))
        .header("host", address.to_string())
        .body(String::new())
        .expect("the address and the path are valid")
}

/// A short body, as a whole.
async fn text(response: Response<Incoming>) -> Result<String, hyper::Error> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Takes connections until it is told to stop, and waits for their ends.
pub(crate) async fn serve(listener: TcpListener, served: Rc<Cell<u32>>, stop: CancelToken) {
    // Nothing is ever sent: the channel is closed when all connections have dropped their senders.
    let (alive, all_gone) = channel::bounded::<Infallible>(1);
    while let Some(accepted) = unless(&stop, listener.accept()).await {
        match accepted {
            Ok((stream, _)) => spawn(connection(
                stream,
                served.clone(),
                stop.clone(),
                alive.clone(),
            ))
            .detach(),
            // Most likely too many open files. Others will close theirs; `accept` has waited.
            Err(error) => println!("cannot accept: {error}"),
        }
    }
    drop((listener, alive)); // no client can connect any more
    let _all_gone = timeout(PATIENCE, all_gone.recv()).await;
}

/// One connection, in the version that its client speaks. When told to stop, it accepts no more
/// requests, and answers those that it has.
async fn connection(
    stream: TcpStream,
    served: Rc<Cell<u32>>,
    stop: CancelToken,
    _alive: Sender<Infallible>,
) {
    let has_asked = Cell::new(false);
    let service = service_fn(|request| {
        has_asked.set(true);
        answer(request, served.clone())
    });
    // It reads until it knows the version. (`peek` would not wait for more bytes than one.)
    let mut server = auto::Builder::new(LoopExecutor);
    server
        .http1()
        .timer(LoopTimer)
        .header_read_timeout(PATIENCE);
    server
        .http2()
        .timer(LoopTimer)
        .keep_alive_interval(PATIENCE);
    let mut connection = pin!(server.serve_connection(stream, service));
    let silence = async {
        sleep(PATIENCE).await;
        if has_asked.get() {
            pending::<()>().await; // from here on, the limits above apply
        }
    };
    // An error here means that the client has gone or sends nonsense: there is nobody to report it
    // to.
    let goes_on = trefoil::select! {
        _ = connection.as_mut() => false,
        _ = silence => false,
        _ = stop.cancelled() => true,
    };
    if goes_on {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

async fn answer(
    request: Request<Incoming>,
    served: Rc<Cell<u32>>,
) -> Result<Response<String>, Infallible> {
    served.set(served.get() + 1);
    let response = match request.uri().path() {
        "/none" => {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
        "/slow" => {
            sleep(Duration::from_millis(100)).await;
            Response::new("slow, but here".to_owned())
        }
        path => Response::new(format!("you asked for {path}")),
    };
    Ok(response)
}

/// The output of the future; `None` if the token is cancelled first.
async fn unless<F: Future>(stop: &CancelToken, future: F) -> Option<F::Output> {
    trefoil::select! {
        _ = stop.cancelled() => None,
        output = future => Some(output),
    }
}
