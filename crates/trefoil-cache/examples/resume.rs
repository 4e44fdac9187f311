//! A long map that may be stopped at any time, and goes on.
//!
//! ```text
//! cargo run -p trefoil-cache --example resume                # stop it with Ctrl-C, or kill -9 it
//! cargo run -p trefoil-cache --example resume -- --resume    # it goes on
//! ```

use std::error::Error;
use std::fs;
use std::io::{Write, stdout};
use std::time::Duration;

use trefoil::ProcessPool;
use trefoil_cache::JournaledCall;

const ITEMS: u64 = 200;

/// How many steps the Collatz sequence takes from `n + 1` to 1; slowly, as if it were hard.
fn steps(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(50));
    let mut now = n + 1;
    let mut count = 0;
    while now != 1 {
        now = if now.is_multiple_of(2) {
            now / 2
        } else {
            3 * now + 1
        };
        count += 1;
    }
    count
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init();
    let path = std::env::temp_dir().join("resume.trefoil");
    if std::env::args().nth(1).as_deref() != Some("--resume") && path.exists() {
        fs::remove_file(&path)?;
    }
    let procs = ProcessPool::with_workers(4)?;
    let call = procs.call(steps).journal(&path).function("steps", 1);
    let recorded = call.recorded()?;
    let path_text = path.display();
    println!("{recorded} of {ITEMS} items are recorded in {path_text}");
    let mut longest = 0;
    for (index, count) in (1..).zip(call.imap(0..ITEMS)?) {
        longest = longest.max(count?);
        if index < recorded {
            continue; // the bar begins where it stopped
        }
        let bar = "#".repeat(index * 50 / ITEMS as usize);
        print!("\r[{bar:50}] {index}/{ITEMS}");
        stdout().flush()?;
    }
    println!("\nthe longest sequence has {longest} steps");
    fs::remove_file(path)?;
    Ok(())
}
