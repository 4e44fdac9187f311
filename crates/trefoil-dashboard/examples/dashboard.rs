//! A program to look at: a server with connections on a loop, an index that threads make, and
//! thumbnails that worker processes make.
//!
//! ```text
//! cargo run --release -p trefoil-dashboard --example dashboard
//! ```
//!
//! It prints the address to open, and its number for `trefoil-top`, and runs until Ctrl-C, or for
//! so many seconds as its argument says. A picture kills its worker now and then, some tasks fail,
//! one blocks the loop now and then, and two wait for each other: all of that is on the page.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trefoil::sync::Mutex;
use trefoil::time::sleep;
use trefoil::{EventLoop, ProcessPool, ThreadPool, spawn};

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();
    let seconds = std::env::args()
        .nth(1)
        .and_then(|seconds| seconds.parse().ok());
    let limit = seconds.map_or(Duration::MAX, Duration::from_secs);

    let dashboard = trefoil_dashboard::serve("127.0.0.1:0")?;
    println!("{}", dashboard.url());
    let _top = dashboard.listen(); // (it cannot on Windows)
    println!("trefoil-top {}", std::process::id());
    let (failures, slow) = (dashboard.recorder(), dashboard.recorder());
    trefoil::on_unobserved(move |report| failures.failure(report));

    let pool = ThreadPool::with_threads(2);
    let procs = ProcessPool::with_workers(2)?;
    let event_loop = EventLoop::builder()
        .slow_poll(Duration::from_millis(50), move |poll| slow.slow_poll(poll))
        .build()?;
    let _watched = (
        dashboard.watch_threads(&pool, "index"),
        dashboard.watch_processes(&procs, "thumbnails"),
        dashboard.watch_loop(&event_loop.handle(), "server"),
    );

    event_loop.block_on(async {
        for n in 0..40 {
            let name = ["connection", "connection", "timer", "keep-alive"][n % 4];
            spawn(connection(n)).named(name).detach();
        }
        spawn(index(pool.clone())).named("crawler").detach();
        spawn(thumbnails(procs.clone())).named("albums").detach();
        let stuck = lock_each_other()?;
        let _ = trefoil::timeout(limit, trefoil::io::ctrl_c()).await;
        std::mem::forget(stuck); // it never ends
        Ok(())
    })
}

/// Wakes up again and again; the first one blocks the loop now and then.
async fn connection(n: usize) {
    for round in 1_u64.. {
        sleep(Duration::from_millis(20 + 7 * n as u64)).await;
        if n == 0 && round % 1500 == 300 {
            std::thread::sleep(Duration::from_millis(80)); // which a task must not do
        }
    }
}

/// Keeps the threads busy, and fails once in a while.
async fn index(pool: ThreadPool) {
    for round in 0_u64.. {
        let tasks = ["parse", "tokenize", "index"].map(|name| {
            let length = Duration::from_millis(60 + 70 * (round % 4));
            pool.spawn(move || compute(length)).named(name)
        });
        trefoil::join_all(tasks).await;
        if round % 60 == 10 {
            pool.spawn(move || panic!("page {round}: no closing bracket in line 214"))
                .named("parse")
                .detach();
        }
        sleep(Duration::from_millis(400)).await;
    }
}

/// Keeps the processes busy; a picture that somebody sends during each album kills a worker.
async fn thumbnails(procs: ProcessPool) {
    for album in 7_u64.. {
        let call = procs.call(thumbnail).chunk_size(1);
        let call = call.name(format!("thumbnails of album {album}"));
        let made = call.map_task(1..=800_u64);
        sleep(Duration::from_secs(5)).await;
        let sent = procs.call(thumbnail).name("thumbnail");
        sent.priority(1).spawn(0).detach();
        let _ = made.await;
    }
}

fn thumbnail(picture: u64) -> u64 {
    if picture == 0 {
        eprintln!("decoder: picture {picture} has a width of 0");
        std::process::abort();
    }
    compute(Duration::from_millis(60 + picture % 7 * 10));
    picture
}

/// Two tasks that take two locks in opposite orders: the page names the deadlock.
fn lock_each_other() -> Result<ThreadPool, Box<dyn Error>> {
    let sessions = ThreadPool::builder().threads(2).name("session").build()?;
    let locks = [
        Arc::new(Mutex::new("users")),
        Arc::new(Mutex::new("profiles")),
    ];
    let both = Arc::new(std::sync::Barrier::new(2)); // each has its first
    for (name, first) in [("log in", 0), ("load profile", 1)] {
        let (one, two) = (locks[first].clone(), locks[1 - first].clone());
        let both = both.clone();
        let work = move || {
            let _one = one.lock_blocking();
            both.wait();
            drop(two.lock_blocking());
        };
        sessions.spawn(work).named(name).detach();
    }
    Ok(sessions)
}

fn compute(length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        black_box((0..10_000_u64).sum::<u64>());
    }
}
