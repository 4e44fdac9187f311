//! trefoil inside tokio: an axum server whose handlers compute on threads and run risky code in
//! worker processes, with a deadline for each. What fails becomes an answer: 502 where the code
//! crashed, 504 where it took too long.
//!
//! The runtime and the sockets are tokio's. A `Task` is a future as any other, so handlers await
//! it.
//!
//! `cargo run -p trefoil-adapters --features tokio --example axum_server`

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trefoil::{ProcessPool, TaskError, ThreadPool, timeout};

/// What a request may take.
const DEADLINE: Duration = Duration::from_millis(500);

struct Pools {
    threads: ThreadPool,
    processes: ProcessPool,
}

type Answer = Result<String, (StatusCode, String)>;

/// The failure of a task as an answer.
fn failed(error: TaskError) -> (StatusCode, String) {
    let status = match error {
        TaskError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        TaskError::Panicked(_) | TaskError::WorkerDied(_) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (
        status,
        format!("{}\n", status.canonical_reason().unwrap_or_default()),
    )
}

/// Our own code, on the thread pool. A request that is dropped, or late, cancels what has not
/// begun.
async fn sum(State(pools): State<Arc<Pools>>, Path(n): Path<u64>) -> Answer {
    let task = pools.threads.spawn(move || (1..=n).sum::<u64>());
    let in_time = timeout(DEADLINE, task.cancel_on_drop()).await;
    let sum = in_time.flatten().map_err(failed)?;
    Ok(format!("{sum}\n"))
}

/// Untrusted code, in a worker process: it is killed if it takes too long, and only its own request
/// fails if it crashes.
async fn plugin(State(pools): State<Arc<Pools>>, Path(name): Path<String>) -> Answer {
    let call = pools.processes.call(run_plugin).timeout(DEADLINE);
    call.spawn(name).await.map_err(failed)
}

fn run_plugin(name: String) -> String {
    match &*name {
        "crashes" => std::process::abort(),
        "hangs" => loop {
            std::thread::park();
        },
        name => format!("{name} has run\n"),
    }
}

fn router(pools: Pools) -> Router {
    Router::new()
        .route("/sum/{n}", get(sum))
        .route("/plugin/{name}", get(plugin))
        .with_state(Arc::new(pools))
}

/// The status and the body of the answer.
async fn ask(server: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok(format!("{path}: {status} {}", body.trim_end()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init(); // a worker process goes no further
    let pools = Pools {
        threads: ThreadPool::with_threads(2),
        processes: ProcessPool::with_workers(2)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, router(pools)).await });
        for path in [
            "/sum/1000",
            "/plugin/hello",
            "/plugin/crashes",
            "/plugin/hangs",
            "/plugin/again",
        ] {
            println!("{}", ask(address, path).await?);
        }
        Ok(())
    })
}
