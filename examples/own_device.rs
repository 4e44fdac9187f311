//! Each worker has a device and a processor of its own, and so has the one that takes its place.

use trefoil::ProcessPool;
use trefoil::process::worker_index;

/// Which worker this is, its device, and how many processors it may use.
fn place((): ()) -> (usize, String, usize) {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let device = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    (worker_index().unwrap_or_default(), device, processors)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let processors = std::thread::available_parallelism()?.get();
    let procs = ProcessPool::builder()
        .workers(1)
        .env_for(|index| [("CUDA_VISIBLE_DEVICES", (index + 4).to_string())])
        .pin_to(move |index| [index % processors])
        .build()?;
    let before = procs.spawn((), place).join()?;
    let crash = procs.spawn((), |()| -> () { std::process::abort() });
    assert!(crash.join().is_err());
    let after = procs.spawn((), place).join()?;
    let (index, device, width) = &after;
    println!("worker {index} has device {device} and {width} processor");
    println!("so had the one before it: {}", before == after);
    Ok(())
}
