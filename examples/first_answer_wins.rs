//! Ask three servers, take the first answer, and stop asking the others.

use std::time::{Duration, Instant};

use trefoil::time::sleep;
use trefoil::{Task, race};

/// A server that answers after a while.
fn ask(name: &'static str, takes: Duration) -> Task<&'static str> {
    trefoil::spawn(async move {
        sleep(takes).await;
        name
    })
}

fn main() -> Result<(), trefoil::TaskError> {
    trefoil::run(async {
        let start = Instant::now();
        let first = race([
            ask("slow", Duration::from_secs(3)),
            ask("quick", Duration::from_millis(20)),
            ask("lost", Duration::from_secs(3600)),
        ])
        .await?;
        println!(
            "{first} answered after {:.0?}; the others were cancelled",
            start.elapsed()
        );
        assert_eq!(first, "quick");
        assert!(start.elapsed() < Duration::from_secs(3));
        Ok(())
    })
}
