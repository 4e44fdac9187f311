//! What a sandbox costs, compared with a plain worker of a launcher: a start, and a call.
//!
//! ```text
//! cargo run --release -p trefoil-sandbox --example costs
//! ```

use std::time::{Duration, Instant};

use trefoil::process::launch::Launcher;
use trefoil::{PoolError, ProcessPool};
use trefoil_sandbox::{Limits, Sandbox, Wrapped};

/// The middle of so many starts, which an item each waits for, and of so many calls.
fn costs(launcher: impl Launcher) -> Result<(Duration, Duration), Box<dyn std::error::Error>> {
    let procs = ProcessPool::builder()
        .workers(1)
        .launcher(launcher)
        .build()?;
    let middle = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2]
    };
    let call = |retires: bool| {
        if retires {
            trefoil::process::retire();
        }
    };
    let timed = |retires: bool| {
        let begin = Instant::now();
        procs.spawn(retires, call).join().map(|()| begin.elapsed())
    };
    let (mut starts, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        timed(true)?;
        starts.push(timed(false)?); // it waits for the next worker
        for _ in 0..50 {
            calls.push(timed(false)?);
        }
    }
    Ok((middle(starts), middle(calls)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    type Row = (
        &'static str,
        fn() -> Result<(Duration, Duration), Box<dyn std::error::Error>>,
    );
    let rows: [Row; 4] = [
        ("plain", || costs(Wrapped::new(["{exe}"]))),
        ("sandbox", || costs(Sandbox::new())),
        ("group", || costs(Limits::new())),
        ("sandbox and group", || {
            costs(Limits::new().sandbox(Sandbox::new()))
        }),
    ];
    let only = std::env::args().nth(1);
    for (name, row) in rows
        .into_iter()
        .filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
    {
        match row() {
            Ok((start, call)) => println!("{name:18} a start {start:>10.1?}, a call {call:>8.1?}"),
            Err(error) => match error.downcast_ref::<PoolError>() {
                Some(why) => println!("{name:18} {why}"),
                None => return Err(error),
            },
        }
    }
    Ok(())
}
