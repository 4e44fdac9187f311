//! A program to look at: threads, worker processes and a loop, with work that never ends.
//!
//! ```text
//! cargo run --release -p trefoil-dashboard --example dashboard
//! ```
//!
//! It prints the address to open, and its number for `trefoil-top`, and runs until Ctrl-C, or for
//! so many seconds as its argument says. One of its items in 5,000 kills its worker, some tasks
//! fail, and one blocks the loop now and then: all of that is on the page.

use std::error::Error;
use std::time::Duration;

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
        dashboard.watch_threads(&pool, "parsers"),
        dashboard.watch_processes(&procs, "squares"),
        dashboard.watch_loop(&event_loop.handle(), "main"),
    );

    event_loop.block_on(async {
        for n in 0..20 {
            spawn(ticker(n))
                .named(if n == 0 { "greedy" } else { "ticker" })
                .detach();
        }
        spawn(parse(pool.clone()))
            .named("feeder of parsers")
            .detach();
        spawn(squares(procs.clone()))
            .named("feeder of squares")
            .detach();
        let _ = trefoil::timeout(limit, trefoil::io::ctrl_c()).await;
    });
    Ok(())
}

/// Wakes up again and again; the first one blocks the loop now and then.
async fn ticker(n: u64) {
    for round in 1_u64.. {
        sleep(Duration::from_millis(20 + 7 * n)).await;
        if n == 0 && round % 200 == 0 {
            std::thread::sleep(Duration::from_millis(80)); // which a task must not do
        }
    }
}

/// Keeps the threads busy, and fails once in a while.
async fn parse(pool: ThreadPool) {
    for round in 0_u64.. {
        let sums = pool.map_task(0..200_u64, |n| {
            (0..20_000).fold(n, |sum, x| sum.wrapping_mul(31) ^ x)
        });
        let _ = sums.await;
        if round % 50 == 0 {
            pool.spawn(move || panic!("round {round} has no end"))
                .named("parser")
                .detach();
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Keeps the processes busy; some of their items kill a worker.
async fn squares(procs: ProcessPool) {
    for round in 0_u64.. {
        let items = round * 500..(round + 1) * 500;
        for n in items {
            procs.spawn(n, square).detach();
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn square(n: u64) -> u64 {
    if n % 5000 == 4999 {
        eprintln!("{n} is too much");
        std::process::abort();
    }
    std::thread::sleep(Duration::from_micros(300));
    n * n
}
