//! Other programs, many at a time: their output, their input, a time limit, and Ctrl-C, which ends
//! them all.
//!
//! ```text
//! cargo run --example child_processes
//! ```

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use trefoil::io::{Command, Signal};
use trefoil::{TaskError, join_all, spawn, timeout};

fn main() -> io::Result<()> {
    trefoil::run(async {
        let interrupted = Signal::new(Signal::INT)?;
        let work = spawn(work());
        let stop = spawn(async move { interrupted.recv().await });
        // Whichever is first; the other is cancelled. (Ctrl-C reaches the children, too.)
        trefoil::race([work, stop]).await?
    })
}

async fn work() -> io::Result<()> {
    // 1. Fifty at once, and the output of each.
    let start = Instant::now();
    let tasks: Vec<_> = (1..=50)
        .map(|n| {
            spawn(async move {
                let mut command = Command::new("expr");
                let sum = command.args([&n.to_string(), "*", "2"]).output().await?;
                Ok::<_, io::Error>(String::from_utf8_lossy(&sum.stdout).trim().to_owned())
            })
        })
        .collect();
    let mut total = 0;
    for answer in join_all(tasks).await {
        total += answer??.parse::<u32>().unwrap_or_default();
    }
    println!("fifty programs in {:.0?}: {total}", start.elapsed());

    // 2. A conversation: we write while it reads, and read while it writes.
    let mut child = Command::new("sort")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take().expect("it is piped");
    let writing = spawn(async move { input.write_all(b"pear\napple\nfig\n").await });
    let output = child.wait_with_output().await?;
    writing.await??;
    let sorted = String::from_utf8_lossy(&output.stdout);
    println!(
        "sorted: {}",
        sorted.split_whitespace().collect::<Vec<_>>().join(", ")
    );

    // 3. A limit. When the time is up, the wait is dropped and the child with it; `kill_on_drop`
    //    kills it.
    let mut slow = Command::new("sleep");
    let late = timeout(
        Duration::from_millis(50),
        slow.arg("600").kill_on_drop(true).status(),
    );
    assert!(matches!(late.await, Err(TaskError::TimedOut(_))));
    println!("the slow one was given up, and is gone");
    Ok(())
}
