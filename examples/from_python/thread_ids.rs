//! A thread: the same process, and a second line of execution.
//!
//! Prints which process and which thread run a function: the process is the same, the thread is
//! not.
//!
//! ```text
//! cargo run --example thread_ids
//! ```

use std::process;
use std::thread::{self, ThreadId};

use trefoil::ThreadPool;

/// The process, the thread, and the thread's name.
fn who() -> (u32, ThreadId, String) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("nameless").to_owned();
    (process::id(), thread.id(), name)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A thread that waits for a task may run it itself, which saves a switch. Here it should not:
    // we want to see the other thread.
    let pool = ThreadPool::builder()
        .threads(1)
        .name("helper")
        .caller_helps(false)
        .build()?;

    let here = who();
    let task = pool.spawn(who); // begins at once, on another thread
    let there = task.join()?; // waits for its result

    for (pid, thread, name) in [&here, &there] {
        println!("{name:<9} process {pid}, {thread:?}");
    }
    assert_eq!(here.0, there.0);
    assert_ne!(here.1, there.1);
    println!("one process, two threads");
    Ok(())
}
