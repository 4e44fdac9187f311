//! The tour: everything trefoil does, at work on real files.
//!
//! ```text
//! cargo run --release --example tour [-- DIR]
//! ```
//!
//! Five parts, one file each, to be read in order:
//!
//! 1. `part1_cpu.rs`: the same computation one after another, on threads, in worker processes.
//! 2. `part2_files.rs`: every file under DIR read, hashed and counted, the same three ways.
//! 3. `part3_http.rs`: a web server and three hundred page loads on one thread.
//! 4. `part4_accidents.rs`: workers that crash, and a pool that does not mind.
//! 5. `part5_together.rs`: loop, threads and processes in one `async` function.
//!
//! Besides: `input.rs` finds the files, `http.rs` is as much HTTP as the
//! tour needs, `report.rs` prints the table, `raw.rs` crashes on purpose.
//!
//! Every part knows what the answer must be. If one differs, the program says
//! so and ends with a failure.
//!
//! With `--features trace` it records what it does, for the viewer at <https://ui.perfetto.dev>,
//! into the file that `TREFOIL_TRACE` names, or into `trefoil-tour.json` among the temporary files;
//! and ends with a summary of all executors.

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

    match recorded(tour) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "the tour broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs it as it is.
#[cfg(not(feature = "trace"))]
fn recorded(tour: fn() -> Result<bool, Box<dyn Error>>) -> Result<bool, Box<dyn Error>> {
    tour()
}

/// Runs it, and reports what has happened.
#[cfg(feature = "trace")]
fn recorded(tour: fn() -> Result<bool, Box<dyn Error>>) -> Result<bool, Box<dyn Error>> {
    let recording = trefoil::trace::start()?;
    let ok = tour()?;
    let trace = recording.stop();
    let path = std::env::var_os("TREFOIL_TRACE").map_or_else(
        || std::env::temp_dir().join("trefoil-tour.json"),
        std::path::PathBuf::from,
    );
    trace.write_json(std::fs::File::create(&path)?)?;
    report::line(format_args!("\n{}", trace.summary()));
    report::line(format_args!("recorded in {}", path.display()));
    Ok(ok)
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
