//! What the three executors do, moment by moment: a trace for the standard viewer, and a table.
//!
//! ```text
//! cargo run --release --features trace --example traced
//! ```
//!
//! It writes `trefoil-trace.json` into the directory for temporary files, or where the first
//! argument says. Open that in <https://ui.perfetto.dev>.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use trefoil::{ProcessPool, TaskError, ThreadPool, time, trace, try_join_all};

/// How many primes there are below `n`.
fn primes(n: u64) -> u64 {
    (2..n)
        .filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0))
        .count() as u64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init(); // worker processes begin, and end, in this line
    let pool = ThreadPool::builder().threads(2).name("mill").build()?;
    let procs = ProcessPool::with_workers(2)?;

    let recording = trace::start()?;
    let total = trefoil::run(async {
        // A task on the loop that mostly waits, and is seen to be polled.
        let ticker = trefoil::spawn(async {
            for _ in 0..5 {
                time::sleep(Duration::from_millis(2)).await;
            }
            Ok::<u64, TaskError>(0)
        });
        let ticker = ticker.named("ticker").map(Result::unwrap_or_default);
        // Closures on threads: queued, begun, stolen, ended.
        let threads = (1..=6).map(|n| {
            pool.spawn(move || primes(n * 10_000))
                .named(format!("primes {n}"))
        });
        // Calls to processes, on lines of their own.
        let processes = (1..=4).map(|n| procs.spawn(n * 10_000, primes));
        let all: Vec<u64> = try_join_all(threads.chain(processes).chain([ticker])).await?;
        Ok::<_, TaskError>(all.iter().sum::<u64>())
    })?;
    let trace = recording.stop();

    println!("{total} primes, counted");
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.unwrap_or_else(|| std::env::temp_dir().join("trefoil-trace.json"));
    trace.write_json(File::create(&path)?)?;
    println!("{} lost; written to {}", trace.lost(), path.display());
    println!("\n{}", trace.summary());
    Ok(())
}
