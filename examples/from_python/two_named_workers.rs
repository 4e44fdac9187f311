//! Two named workers, each a process of its own, report three steps and are watched from outside.
//!
//! What `multiprocessing.Process` and `Queue` are used for: a name, a pid, a check whether it is
//! alive, and reports through a channel whose ends are sent as arguments.

use std::error::Error;
use std::time::Duration;

use trefoil::process::channel::Sender;
use trefoil::{Process, TaskError, process};

/// The process id of the worker, and its report.
type Report = (u32, String);

/// What a worker does. The argument is sent to its process, and the result back.
fn three_steps((name, reports): (String, Sender<Report>)) -> String {
    for step in 1..=3 {
        let report = (std::process::id(), format!("{name}: step {step} of 3"));
        reports.send_blocking(report).expect("somebody listens");
        std::thread::sleep(Duration::from_millis(20)); // the work
    }
    format!("{name} is done")
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init(); // in a worker this line never returns

    let (sender, reports) = process::channel::<Report>(16)?;
    let start = |name: &str| {
        let argument = (name.to_owned(), sender.clone());
        Process::builder().name(name).spawn(argument, three_steps)
    };
    let workers = [start("A")?, start("B")?];
    for worker in &workers {
        let (name, pid) = (worker.name(), worker.pid());
        println!("{name} is process {pid}, alive: {}", worker.is_alive());
    }

    // The reports as they come. The channel ends when no sender is left: neither here nor in a
    // worker, however that has ended.
    drop(sender);
    for (pid, report) in reports {
        println!("  process {pid} reports {report}");
    }

    for worker in workers {
        let pid = worker.pid();
        println!("{}, and process {pid} with it", worker.join()?);
    }

    // A worker that would run for ever.
    let forever = |()| -> () {
        loop {
            std::thread::park();
        }
    };
    let endless = Process::builder().name("C").spawn((), forever)?;
    println!(
        "C is process {}, alive: {}",
        endless.pid(),
        endless.is_alive()
    );
    endless.terminate();
    let Err(TaskError::WorkerDied(death)) = endless.join() else {
        return Err("C has not ended".into());
    };
    println!(
        "C was ended by signal {}",
        death.signal().unwrap_or_default()
    );
    Ok(())
}
