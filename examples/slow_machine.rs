//! One of many requests hangs. Once it has taken three times as long as usual, it is made again,
//! and the first answer counts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use trefoil::ProcessPool;

/// The last request hangs, but only the first time.
fn request((n, hung): (u64, PathBuf)) -> u64 {
    let hangs = n == 19 && std::fs::File::create_new(hung).is_ok();
    std::thread::sleep(match hangs {
        true => Duration::from_secs(3600),
        false => Duration::from_millis(5),
    });
    n * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let hung = std::env::temp_dir().join(format!("trefoil-hung-{}", std::process::id()));
    let procs = ProcessPool::with_workers(2)?;
    let begin = Instant::now();
    // Only for functions that may run twice.
    let answers = procs.call(request).hedge(3.0);
    let answers = answers.map((0..20).map(|n| (n, hung.clone())))?;
    std::fs::remove_file(hung)?;
    println!("{} answers, the last is {}", answers.len(), answers[19]);
    println!("{} request was made twice", procs.stats().hedged);
    assert!(begin.elapsed() < Duration::from_secs(60));
    Ok(())
}
