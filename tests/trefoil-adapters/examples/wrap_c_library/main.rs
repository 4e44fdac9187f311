//! A C library that segfaults, hangs, leaks, calls `exit` and breaks its state: each fault costs
//! one item, and the next item finds a process in order.
//!
//! `cargo run -p trefoil-adapters --example wrap_c_library`

mod raw_fragile;

use std::time::Duration;
use trefoil::process::retire;
use trefoil::{ProcessPool, TaskError};

/// What runs in a worker process: the library's errors become values.
fn decode(row: String) -> Result<i32, String> {
    match raw_fragile::sum(row.as_bytes()) {
        Ok(sum) => Ok(sum),
        Err(2) => {
            retire(); // this error still arrives; the next item gets a new process
            Err("the library's state is broken".to_owned())
        }
        Err(3) => Err("out of memory".to_owned()),
        Err(code) => Err(format!("the library's error {code}")),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init(); // worker processes begin here
    let mut builder = ProcessPool::builder().workers(1);
    if cfg!(not(target_os = "macos")) {
        builder = builder.memory_limit(64 << 20); // for each item, and what items leave behind
    }
    let procs = builder.build()?;
    let call = procs.call(decode).timeout(Duration::from_millis(200));

    let rows = [
        "good",
        "Segfaults",
        "Hangs",
        "Leaks",
        "Exits",
        "Corrupts",
        "good",
    ];
    let results = call.map_each(rows.map(String::from));
    for (row, result) in rows.iter().zip(results) {
        match result {
            Ok(Ok(sum)) => println!("{row}: {sum}"),
            Ok(Err(error)) => println!("{row}: {error}"),
            Err(TaskError::WorkerDied(exit)) => {
                println!(
                    "{row}: signal {:?}, exit code {:?}",
                    exit.signal(),
                    exit.code()
                );
            }
            Err(TaskError::TimedOut(_)) => println!("{row}: stopped at its limit"),
            Err(error) => println!("{row}: {error}"),
        }
    }
    let stats = procs.stats();
    println!(
        "processes that retired: {}, that died: {}",
        stats.retired, stats.died
    );
    Ok(())
}
