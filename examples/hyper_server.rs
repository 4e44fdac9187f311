//! An HTTP server on the event loop: HTTP/1 and HTTP/2 on one port, and an end in good order.
//!
//! Shows hyper on trefoil ([`trefoil::adapters::hyper`]): connections are tasks, services
//! share what they count through an `Rc`, and the loop's timers keep slow clients in
//! bounds. A client beside it asks, over both versions, so that the program ends by itself. Run it
//! with `cargo run --example hyper_server --features hyper`.
#![allow(clippy::print_stdout)] // an example speaks

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client, server};
use trefoil::adapters::hyper::{LoopExecutor, LoopTimer};
use trefoil::io::{TcpListener, TcpStream};
use trefoil::sync::channel::{self, Sender};
use trefoil::time::{sleep, timeout};
use trefoil::{CancelToken, join_all, spawn};

type Failure = Box<dyn Error>;

/// Whoever has not sent a request's head by then is let go.
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

        // The end comes while somebody waits for an answer, who still gets it.
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

/// The whole of a short body.
async fn text(response: Response<Incoming>) -> Result<String, hyper::Error> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Takes connections until it is told to stop, and waits for their ends.
async fn serve(listener: TcpListener, served: Rc<Cell<u32>>, stop: CancelToken) {
    // Nothing is ever sent: when all connections have dropped their end, the channel says so.
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
            Err(error) => {
                // Most likely too many open files. Others will close theirs.
                println!("cannot accept: {error}");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drop((listener, alive)); // nobody else can connect
    let _all_gone = timeout(PATIENCE, all_gone.recv()).await;
}

/// One connection, in the version that its client speaks.
async fn connection(
    stream: TcpStream,
    served: Rc<Cell<u32>>,
    stop: CancelToken,
    _alive: Sender<Infallible>,
) {
    let service = service_fn(move |request| answer(request, served.clone()));
    // An error here is a client that has gone, or talks nonsense: nobody is left to be told.
    let _ = match timeout(PATIENCE, speaks_http2(&stream)).await {
        Ok(Ok(true)) => {
            let connection = server::conn::http2::Builder::new(LoopExecutor)
                .timer(LoopTimer)
                .keep_alive_interval(PATIENCE)
                .serve_connection(stream, service);
            drive(
                connection,
                &stop,
                server::conn::http2::Connection::graceful_shutdown,
            )
            .await
        }
        Ok(Ok(false)) => {
            let connection = server::conn::http1::Builder::new()
                .timer(LoopTimer)
                .header_read_timeout(PATIENCE)
                .serve_connection(stream, service);
            drive(
                connection,
                &stop,
                server::conn::http1::Connection::graceful_shutdown,
            )
            .await
        }
        _ => Ok(()),
    };
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

/// HTTP/2 begins with `PRI * HTTP/2.0`, and no method of HTTP/1 with `PRI`.
async fn speaks_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut begin = [0; 3];
    loop {
        match stream.peek(&mut begin).await? {
            0 => return Ok(false),
            count if begin[..count] != b"PRI"[..count] => return Ok(false),
            3 => return Ok(true),
            // One or two bytes: the others are on their way.
            _ => sleep(Duration::from_millis(1)).await,
        }
    }
}

/// A connection to its end. Told to stop, it takes no more requests, and answers those it has.
async fn drive<C: Future>(connection: C, stop: &CancelToken, end: fn(Pin<&mut C>)) -> C::Output {
    let mut connection = pin!(connection);
    if let Some(result) = unless(stop, connection.as_mut()).await {
        return result;
    }
    end(connection.as_mut());
    connection.await
}

/// What the future gives; nothing, if the token is cancelled before.
async fn unless<F: Future>(stop: &CancelToken, future: F) -> Option<F::Output> {
    trefoil::select! {
        _ = stop.cancelled() => None,
        output = future => Some(output),
    }
}
