//! Two named workers, each a process of its own, report three steps and are watched from outside.
//!
//! What `multiprocessing.Process` is used for: a name, a pid, a look at whether it is alive. The
//! reports come through the workers' standard output, which their parent has asked for.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // an example speaks, and sleeps

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use trefoil::process::WorkerStdout;
use trefoil::{Process, TaskError};

const LIMIT: Duration = Duration::from_secs(60);

/// What a worker does; its argument and its result travel.
fn three_steps(name: String) -> String {
    for step in 1..=3 {
        println!("{name}: step {step} of 3");
        std::thread::sleep(Duration::from_millis(20));
    }
    format!("{name} is done")
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init(); // in a worker this line never returns

    let (tell, reports) = mpsc::channel();
    let start = |name: &str| {
        let tell = tell.clone();
        Process::builder()
            .name(name)
            .worker_stdout(WorkerStdout::Capture)
            .on_output(move |pid, text| drop(tell.send((pid, text.to_owned()))))
            .spawn(name.to_owned(), three_steps)
    };
    let workers = [start("A")?, start("B")?];
    drop(tell);
    for worker in &workers {
        println!(
            "{} is process {}, alive: {}",
            worker.name(),
            worker.pid(),
            worker.is_alive()
        );
    }

    // Six lines from two processes, as they come.
    let mut lines = 0;
    while lines < 6 {
        let (pid, text) = reports.recv_timeout(LIMIT)?;
        for line in String::from_utf8_lossy(&text).lines() {
            println!("  process {pid} reports {line}");
            lines += 1;
        }
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
