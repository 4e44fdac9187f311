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
//!
//! With the live page of `trefoil-dashboard`, it is an example of that crate:
//!
//! ```text
//! cargo run --release -p trefoil-dashboard --example watched_tour -- --dashboard [DIR]
//! ```

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
pub(crate) struct Pools {
    pub(crate) threads: ThreadPool,
    pub(crate) processes: ProcessPool,
}

/// The argument that asks for the page.
pub(crate) const DASHBOARD: &str = "--dashboard";

pub(crate) fn main() -> ExitCode {
    if std::env::args_os().any(|argument| argument == DASHBOARD) {
        let page = "-p trefoil-dashboard --example watched_tour -- --dashboard";
        let _ = writeln!(std::io::stderr(), "the page: cargo run --release {page}");
        return ExitCode::FAILURE;
    }
    run(|_| Ok(()))
}

/// Runs the tour. `watch` gets the pools before anything happens, and what it returns is kept until
/// the end.
pub(crate) fn run<W>(watch: impl FnOnce(&Pools) -> Result<W, Box<dyn Error>>) -> ExitCode {
    // A worker process is this same program, started again. In it, this line
    // does the work and never returns.
    trefoil::init();

    match recorded(|| tour(watch)) {
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
fn recorded(tour: impl FnOnce() -> Result<bool, Box<dyn Error>>) -> Result<bool, Box<dyn Error>> {
    tour()
}

/// Runs it, and reports what has happened.
#[cfg(feature = "trace")]
fn recorded(tour: impl FnOnce() -> Result<bool, Box<dyn Error>>) -> Result<bool, Box<dyn Error>> {
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

fn tour<W>(
    watch: impl FnOnce(&Pools) -> Result<W, Box<dyn Error>>,
) -> Result<bool, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let input = Input::collect(arguments.find(|argument| argument != DASHBOARD))?;
    let pools = Arc::new(Pools {
        threads: ThreadPool::new(),
        processes: ProcessPool::new()?,
    });

    let _watched = watch(&pools)?;
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
