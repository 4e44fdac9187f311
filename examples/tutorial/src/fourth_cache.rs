//! The same, for a folder that changes: only new and changed files are read.

mod files;
mod parser;

use std::error::Error;
use std::fs;

use trefoil::ProcessPool;
use trefoil_cache::{Cache, CachedCall};

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init(); // worker processes begin here
    let paths = files::list()?;
    let cache = Cache::open("cache")?;
    let sums = cache.function("sum", 1, files::sum).keyed_by(|path| {
        let file = fs::metadata(path).ok();
        (
            path.clone(),
            file.map(|file| (file.len(), file.modified().ok())),
        )
    });
    let procs = ProcessPool::builder().memory_limit(1 << 30).build()?;
    let results = procs
        .call(files::sum)
        .cached(&sums)
        .map_each(paths.clone())?;
    for (path, result) in paths.iter().zip(results) {
        files::report(path, result);
    }
    eprintln!("{} files were known", cache.stats().hits);
    Ok(())
}
