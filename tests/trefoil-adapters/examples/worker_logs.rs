//! The logs of worker processes, where those of the parent are.
//!
//! Three items, one of which kills its worker: its last words have arrived, too. Each line says
//! which item of which call has written it. Run it with
//! `cargo run -p trefoil-adapters --example worker_logs`; it ends by itself.

use std::error::Error;

use tracing::{Level, info, info_span, warn};
use trefoil::ProcessPool;

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::init(); // first, so that a worker does not install the parent's subscriber
    tracing_subscriber::fmt().with_ansi(false).init();

    let procs = ProcessPool::builder()
        .workers(2)
        .forward_events(Level::INFO)
        .initializer((), |()| tracing_log::LogTracer::init().unwrap()) // for the crate log
        .build()?;
    let call = procs.call(resize).name("resize");
    for (item, result) in call.map_each([640, 0, 800]).into_iter().enumerate() {
        match result {
            Ok(pixels) => info!(item, pixels, "done"),
            Err(error) => warn!(item, "{error}"),
        }
    }
    Ok(())
}

fn resize(width: u32) -> u32 {
    let _span = info_span!("picture", width).entered();
    info!("begins");
    if width == 0 {
        log::error!("a picture without a width");
        std::process::abort();
    }
    width * width * 3 / 4
}
