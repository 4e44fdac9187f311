//! trefoil inside tokio: an axum server whose handlers compute on threads and run risky code in
//! worker processes, with a deadline for each. What fails becomes an answer: 502 where the code
//! crashed, 504 where it took too long, 503 where too many wait. No client waits for longer than
//! the deadline, whatever the others do.
//!
//! The runtime and the sockets are tokio's. A `Task` is a future as any other, so handlers await
//! it.
//!
//! `cargo run -p trefoil-adapters --features tokio --example axum_server`

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trefoil::sync::{Event, Semaphore};
use trefoil::{ProcessPool, Shutdown, TaskError, ThreadPool, timeout};

/// What a request may take, from its arrival, and what it may take of that in a worker.
const DEADLINE: Duration = Duration::from_millis(800);
const WORK: Duration = Duration::from_millis(100);
/// How many requests the two workers have at a time, and two threads: if all take long in a worker,
/// the last answer comes after about four times `WORK`.
const PLACES: usize = 8;
const SUMS: usize = 100;
/// How long the end of the server waits for what still runs.
const LIMIT: Duration = Duration::from_secs(10);

struct Pools {
    threads: ThreadPool,
    sums: Arc<Semaphore>,
    processes: ProcessPool,
    plugins: Semaphore,
}

type Answer = Result<String, (StatusCode, String)>;

/// The failure of a task as an answer.
fn failed(error: TaskError) -> (StatusCode, String) {
    let status = match error {
        TaskError::WorkerDied(_) => StatusCode::BAD_GATEWAY,
        TaskError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        TaskError::Closed | TaskError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (
        status,
        format!("{}\n", status.canonical_reason().unwrap_or_default()),
    )
}

/// So many requests are in work that another would wait for too long.
fn busy() -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, "busy\n".to_owned())
}

/// Our own code, on the thread pool. A request that is dropped, or late, cancels what has not
/// begun. What has begun keeps its place until it ends, for a thread cannot be stopped.
async fn sum(State(pools): State<Arc<Pools>>, Path(n): Path<u64>) -> Answer {
    let place = pools.sums.try_acquire_arc().ok_or_else(busy)?;
    let task = pools.threads.spawn(move || {
        let _place = place;
        (1..=n).sum::<u64>()
    });
    let in_time = timeout(DEADLINE, task.cancel_on_drop()).await;
    let sum = in_time.flatten().map_err(failed)?;
    Ok(format!("{sum}\n"))
}

/// Code that may crash or hang, in a worker process: it is killed if it takes too long, and only
/// its own request fails if it crashes.
async fn plugin(State(pools): State<Arc<Pools>>, Path(name): Path<String>) -> Answer {
    let _place = pools.plugins.try_acquire().ok_or_else(busy)?; // until the answer
    let call = pools.processes.call(run_plugin);
    let call = call.timeout(WORK); // how long it may keep a worker
    let call = call.within(DEADLINE); // how long the client waits, queue included
    let task = call.spawn(name).cancel_on_drop(); // a client that leaves frees its worker
    task.await.map_err(failed)
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

fn router(pools: Arc<Pools>) -> Router {
    Router::new()
        .route("/sum/{n}", get(sum))
        .route("/plugin/{name}", get(plugin))
        .with_state(pools)
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

/// Many requests that hang, and good ones among them.
async fn flood(server: std::net::SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let one = |n: u32| ask(server, ["/plugin/hangs", "/plugin/good"][n as usize % 2]);
    let all: Vec<_> = (0..24).map(|n| tokio::spawn(one(n))).collect();
    let mut answers = BTreeMap::new();
    for answer in all {
        *answers.entry(answer.await??).or_insert(0) += 1;
    }
    for (answer, times) in answers {
        println!("{times} x {answer}");
    }
    println!("all answered after {:.1?}", begin.elapsed());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init(); // a worker process goes no further
    let pools = Arc::new(Pools {
        threads: ThreadPool::with_threads(2),
        sums: Arc::new(Semaphore::new(SUMS)),
        processes: ProcessPool::with_workers(2)?,
        plugins: Semaphore::new(PLACES),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let end = Arc::new(Event::new()); // in your server: `tokio::signal`, for SIGTERM
        let asked = end.clone();
        let server = axum::serve(listener, router(pools.clone()))
            .with_graceful_shutdown(async move { asked.wait().await });
        let server = tokio::spawn(server.into_future());
        for path in [
            "/sum/1000",
            "/plugin/hello",
            "/plugin/crashes",
            "/plugin/hangs",
            "/plugin/again",
        ] {
            println!("{}", ask(address, path).await?);
        }
        flood(address).await?;
        end.set();
        server.await??; // its last answers are sent
        let drained = move || pools.processes.shutdown_timeout(Shutdown::Wait, LIMIT);
        tokio::task::spawn_blocking(drained).await?; // it waits, so not on this thread
        println!("and the end");
        Ok(())
    })
}
