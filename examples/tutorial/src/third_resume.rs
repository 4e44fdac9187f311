//! The same, with limits and a progress bar, and a run that was killed continues.

mod files;
mod parser;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use trefoil::ProcessPool;
use trefoil_cache::JournaledCall;
use trefoil_progress::ProgressBar;

fn slow_sum(path: PathBuf) -> Result<i64, String> {
    std::thread::sleep(Duration::from_millis(100)); // as if the files were large
    files::sum(path)
}

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init(); // worker processes begin here
    let paths = files::list()?;
    let procs = ProcessPool::builder().memory_limit(1 << 30).build()?;
    let call = procs.call(slow_sum).timeout(Duration::from_secs(10));
    let journal = call.journal("sums.trefoil").function("sum", 1);
    eprintln!(
        "{} of {} were done before",
        journal.recorded()?,
        paths.len()
    );
    let bar = ProgressBar::new(paths.len() as u64);
    let results: Vec<_> = bar.wrap_iter(journal.imap(paths.clone())?).collect();
    for (path, result) in paths.iter().zip(results) {
        files::report(path, result);
    }
    Ok(())
}
