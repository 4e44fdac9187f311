//! Two named processes report their steps through a channel, and are watched meanwhile.
//!
//! ```text
//! cargo run --release --example named_workers
//! ```
#![allow(clippy::print_stdout)] // an example talks

use trefoil::process::channel::Sender;
use trefoil::{Process, process};

/// Who reports, and which step is done.
type Report = (String, u32);

fn work((name, steps, report): (String, u32, Sender<Report>)) -> u32 {
    for step in 1..=steps {
        if report.send_blocking((name.clone(), step)).is_err() {
            return step; // nobody listens any more
        }
    }
    steps
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let (report, reports) = process::channel::<Report>(1)?;
    let workers = ["A", "B"].map(|name| {
        Process::builder()
            .name(name)
            .spawn((name.to_owned(), 3, report.clone()), work)
    });
    let workers: Vec<Process<u32>> = workers.into_iter().collect::<Result<_, _>>()?;
    drop(report); // the workers' clones are left, and the channel ends with them
    for (name, step) in &reports {
        println!("{name} has done step {step}");
        for worker in &workers {
            let (name, pid, alive) = (worker.name(), worker.pid(), worker.is_alive());
            println!("    {name}: process {pid}, alive: {alive}");
        }
    }
    for worker in workers {
        let name = worker.name().to_owned();
        println!("{name} ended after {} steps", worker.join()?);
    }
    Ok(())
}
