//! From a dead worker to its cause: the error has a file with the item, which runs again alone,
//! under a debugger if you like, and whose argument becomes the smallest test that still dies.

use std::error::Error;
use std::process::Command;

use trefoil::ProcessPool;
use trefoil_capsules::{Budget, Capsule, KeepFailures, capsule_of, replayable, shrink};

/// Reads a length and as many bytes. (As a C library might: an impossible length aborts it.)
fn decode_row(row: Vec<u8>) -> usize {
    let length = usize::from(row[0]);
    if length >= row.len() {
        eprintln!("decode_row: {length} bytes of {}", row.len() - 1);
        std::process::abort();
    }
    row[1..=length].len()
}

fn main() -> Result<(), Box<dyn Error>> {
    replayable("decode_row", decode_row); // so that this program can run it again
    trefoil_capsules::init(); // runs the item, if TREFOIL_REPLAY names its file
    let dir = std::env::temp_dir().join(format!("dead-worker-{}", std::process::id()));
    let procs = ProcessPool::builder()
        .workers(2)
        .max_tasks_per_worker(1) // for `shrink`: each candidate has a worker of its own
        .keep_failures(&dir)
        .build()?;

    // 1. The error: which item, and where it is kept.
    let rows = vec![vec![2, 7, 7], vec![1, 9], vec![200, 1]];
    let error = procs.map(rows, decode_row).unwrap_err();
    let path = capsule_of(&error).ok_or("the disk is full")?;
    println!("item {:?} is kept", error.item());

    // 2. The debugger: `TREFOIL_REPLAY=.. gdb ./program`, `valgrind ./program`, `rr ./program`.
    if cfg!(unix) {
        let mut again = Command::new(std::env::current_exe()?);
        let again = again.env("TREFOIL_REPLAY", &path).output()?;
        let words = String::from_utf8_lossy(&again.stderr);
        println!("it dies again: {}", again.status.code().is_none());
        println!(
            "its last words: {}",
            words.trim_end().lines().last().unwrap_or("")
        );
    }

    // 3. The smallest row that still kills, and the test of the fix.
    // (`TREFOIL_SHRINK=.. ./program` prints that test.)
    let capsule = Capsule::open(&path)?;
    let row: Vec<u8> = capsule.argument()?;
    let shrunk = shrink(&capsule, &procs, Budget::default())?;
    println!("the row: {row:?}; the smallest: {}", shrunk.value_text);
    println!("{}", shrunk.test_text);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
