//! The same, in worker processes: a file that crashes the parser costs its own result.

mod files;
mod parser;

use std::error::Error;

use trefoil::ProcessPool;

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init(); // worker processes begin here
    let paths = files::list()?;
    let procs = ProcessPool::new()?;
    let results = procs.map_each(paths.clone(), files::sum);
    for (path, result) in paths.iter().zip(results) {
        files::report(path, result);
    }
    Ok(())
}
