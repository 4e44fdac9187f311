//! Memory as a limit: no more items begin than fit, and what dies for want of it runs once more,
//! alone.

use trefoil::ProcessPool;

/// Its call declares half a gigabyte. (Really it needs less.)
fn load(file: usize) -> usize {
    let rows = vec![1u8; 1 << 20];
    file + rows.len()
}

/// Item 3 needs more than its worker may have, at its first attempt. (A file says whether it has
/// been tried.)
fn merge((item, tried): (u32, std::path::PathBuf)) -> u32 {
    let is_greedy = item == 3 && std::fs::File::create_new(tried).is_ok();
    let bytes = if is_greedy { 8 << 30 } else { 1 << 20 };
    std::hint::black_box(vec![1u8; bytes]).len() as u32 >> 20
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let procs = ProcessPool::builder()
        .workers(4)
        .memory_budget(0.8) // of the machine, or of its control group
        .memory_limit(256 << 20) // for one item
        .build()?;
    let loaded = procs.call(load).expected_memory(512 << 20).map(0..8)?;
    println!("{} files, as many at a time as fit", loaded.len());

    let tried = std::env::temp_dir().join(format!("trefoil-tried-{}", std::process::id()));
    let items = (1..=4).map(|item| (item, tried.clone()));
    let merged = procs.call(merge).retry_alone().map(items)?;
    std::fs::remove_file(tried)?;
    println!(
        "{merged:?}: item 3 had {} attempt more",
        procs.stats().retried
    );
    Ok(())
}
