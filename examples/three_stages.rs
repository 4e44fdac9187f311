//! A pipeline of three stages: what a stage gives is not decoded here, and goes to a worker of the
//! next stage.
//!
//! ```text
//! cargo run --release --example three_stages
//! ```
//!
//! That runs on worker processes of this machine. With `trefoil_machines::executor` in place of
//! `parse`, the same program takes the name of other machines, too.

use std::error::Error;

use trefoil::{AnyExecutor, Remote};

/// Stage one makes a signal: a slow wave, and a fast one upon it.
fn record(station: u32) -> Vec<f64> {
    let at = |n: u32| f64::from(n) / 1000.0;
    let wave = |n: u32| (at(n) * f64::from(station)).sin() + 0.25 * (at(n) * 900.0).sin();
    (0..100_000).map(wave).collect()
}

/// Stage two smooths it.
fn smooth(signal: Remote<Vec<f64>>) -> Vec<f64> {
    let mean = |window: &[f64]| window.iter().sum::<f64>() / window.len() as f64;
    signal.windows(7).map(mean).collect()
}

/// Stage three counts how often it crosses zero.
fn crossings(signal: Remote<Vec<f64>>) -> usize {
    let crosses = |pair: &&[f64]| (pair[0] < 0.0) != (pair[1] < 0.0);
    signal.windows(2).filter(crosses).count()
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();

    let name = std::env::args().nth(1).unwrap_or("processes:2".to_owned());
    let AnyExecutor::Processes(procs) = name.parse()? else {
        return Err("name a pool of processes, such as `processes:2`".into());
    };
    // Nothing waits in between: a call begins when what it needs is there.
    let counts: Vec<_> = (1..=4)
        .map(|station| {
            let signal = procs.spawn_remote(station, record);
            let smoothed = procs.spawn_remote(signal, smooth);
            procs.spawn(smoothed, crossings)
        })
        .collect();
    for (count, station) in counts.into_iter().zip(1..) {
        println!("station {station}: {} crossings", count.join()?);
    }
    Ok(())
}
