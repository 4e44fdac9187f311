//! The tour of trefoil, with a page that shows it.
//!
//! ```text
//! cargo run --release -p trefoil-dashboard --example watched_tour -- --dashboard [DIR]
//! ```
//!
//! It prints the address of the page, and begins when Enter is pressed: so there is time to open
//! it. At the end the page stays until Enter is pressed again.

#[allow(unexpected_cfgs)] // its recording is a feature of trefoil's
#[path = "../../../examples/tour/main.rs"]
mod tour;

use std::error::Error;
use std::process::ExitCode;

use trefoil_dashboard::{Dashboard, Watched, serve};

fn main() -> ExitCode {
    trefoil::init(); // a worker process goes no further
    match std::env::args_os().any(|argument| argument == tour::DASHBOARD) {
        true => tour::run(watch),
        false => tour::main(),
    }
}

/// What is watched, and the page, which outlives it.
struct Page(Option<[Watched; 2]>, Dashboard);

impl Drop for Page {
    fn drop(&mut self) {
        wait(&format!(
            "The page stays until Enter is pressed: {}",
            self.1.url()
        ));
        drop(self.0.take()); // before the pools end
    }
}

fn watch(pools: &tour::Pools) -> Result<Page, Box<dyn Error>> {
    let dashboard = serve("127.0.0.1:0")?;
    let failures = dashboard.recorder();
    trefoil::on_unobserved(move |report| failures.failure(report));
    let watched = [
        dashboard.watch_threads(&pools.threads, "threads"),
        dashboard.watch_processes(&pools.processes, "processes"),
    ];
    wait(&format!(
        "Open this page and press Enter: {}",
        dashboard.url()
    ));
    Ok(Page(Some(watched), dashboard))
}

/// Until a line comes, or there is no input.
fn wait(text: &str) {
    println!("{text}");
    let _ = std::io::stdin().read_line(&mut String::new());
}
