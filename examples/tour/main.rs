//! The tour: everything trefoil does, at work on real files.
//!
//! ```text
//! cargo run --release --example tour [-- DIR]
//! ```
//!
//! Five parts, one file each, to be read in order:
//!
//! 1. `part1_cpu.rs`: the same computation one after another, on threads, in
//!    worker processes.
//! 2. `part2_files.rs`: every file under DIR read, hashed and counted, the same
//!    three ways.
//! 3. `part3_http.rs`: a web server and three hundred page loads on one thread.
//! 4. `part4_accidents.rs`: workers that crash, and a pool that does not mind.
//! 5. `part5_together.rs`: loop, threads and processes in one `async` function.
//!
//! Beside them: `input.rs` finds the files, `http.rs` is as much HTTP as the
//! tour needs, `report.rs` prints the table, `raw.rs` crashes on purpose.
//!
//! Every part knows what the answer must be. If one differs, the program says
//! so and ends with a failure.

mod http;
mod input;
mod part1_cpu;
mod part2_files;
mod part3_http;
mod part4_accidents;
mod part5_together;
mod raw;
mod report;

use input::Input;
use report::Report;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use trefoil::{ProcessPool, ThreadPool};

/// The two pools of the whole tour. They are shared, because starting one costs
/// more than using one; the event loop needs no preparation.
struct Pools {
    threads: ThreadPool,
    processes: ProcessPool,
}

fn main() -> ExitCode {
    // A worker process is this same program, started again. In it, this line
    // does the work and never returns.
    trefoil::init();

    match tour() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "the tour broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tour() -> Result<bool, Box<dyn Error>> {
    let input = Input::collect(std::env::args_os().nth(1))?;
    let pools = Arc::new(Pools {
        threads: ThreadPool::new(),
        processes: ProcessPool::new()?,
    });

    let mut report = Report::new(&pools);
    report::line(format_args!(
        "trefoil: {} threads, {} worker processes, one event loop",
        pools.threads.num_threads(),
        pools.processes.worker_pids().len(),
    ));
    report::line(format_args!("{input}"));

    part1_cpu::run(&pools, &mut report)?;
    let digests = part2_files::run(&pools, &input, &mut report)?;
    let site = Arc::new(http::Site::new(&input, digests)?);
    part3_http::run(&pools, &site, &mut report)?;
    part4_accidents::run(&pools, &mut report)?;
    part5_together::run(&pools, &site, &mut report)?;
    Ok(report.finish())
}
