//! Two named workers, each a process of its own, report three steps and are watched from outside.
//!
//! What `multiprocessing.Process` and `Queue` are used for: a name, a pid, a look at whether it is
//! alive, and a channel that ends when the last worker has ended, however it does.
#![allow(clippy::print_stdout)] // an example speaks

use std::error::Error;

use trefoil::process::channel::Sender;
use trefoil::{Process, TaskError, process};

/// A pid, and what its process has to say.
type Report = (u32, String);

/// What a worker does; its argument, with an end of the channel in it, and its result travel.
fn three_steps((name, report): (String, Sender<Report>)) -> String {
    for step in 1..=3 {
        let words = format!("{name}: step {step} of 3");
        if report.send_blocking((std::process::id(), words)).is_err() {
            break; // nobody listens any more
        }
    }
    format!("{name} is done")
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init(); // in a worker this line never returns

    let (report, reports) = process::channel::<Report>(1)?;
    let start = |name: &str| {
        Process::builder()
            .name(name)
            .spawn((name.to_owned(), report.clone()), three_steps)
    };
    let workers = [start("A")?, start("B")?];
    drop(report); // theirs are the only ones now
    for worker in &workers {
        println!("{} is process {}", worker.name(), worker.pid());
    }

    // Six lines from two processes, as they come.
    for (pid, words) in &reports {
        println!("  process {pid} reports {words}");
    }

    for worker in workers {
        let (name, pid) = (worker.name().to_owned(), worker.pid());
        println!("{}, and process {pid} with it", worker.join()?);
        assert!(!name.is_empty());
    }

    // One that would go on for ever, until somebody ends it.
    let endless = Process::builder().name("C").spawn((), |()| -> () {
        loop {
            std::thread::park();
        }
    })?;
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
