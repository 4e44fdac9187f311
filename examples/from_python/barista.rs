//! The barista: one person, four coffees, and a machine that needs no watching.
//!
//! The beans are ground by hand, one cup at a time; while the machine brews, the hands are free.
//! Made one after another, four coffees take four times as long as one. As tasks of a loop they
//! brew at the same time, and only the grinding is done one after another.

use std::time::{Duration, Instant};

use trefoil::sync::Mutex;
use trefoil::time::sleep;
use trefoil::{TaskError, as_completed, spawn};

const GRIND: Duration = Duration::from_millis(20);
const BREW: Duration = Duration::from_millis(200);
const GUESTS: [&str; 4] = ["Ada", "Ben", "Cleo", "Dan"];

/// One coffee. There is one mill, and it serves the tasks in the order in which they ask for it.
async fn coffee(guest: &'static str, mill: &Mutex<()>) -> &'static str {
    {
        let _mine = mill.lock().await;
        println!("  grinding for {guest}");
        sleep(GRIND).await;
    }
    sleep(BREW).await; // the machine does that
    guest
}

fn main() -> Result<(), TaskError> {
    // Lives as long as the program, so that tasks may borrow it.
    static MILL: Mutex<()> = Mutex::new(());

    trefoil::run(async {
        println!("one after another:");
        let start = Instant::now();
        for guest in GUESTS {
            println!("  coffee for {}", coffee(guest, &MILL).await);
        }
        println!("{:.2} s", start.elapsed().as_secs_f64());

        println!("all at once:");
        let start = Instant::now();
        let orders = GUESTS.map(|guest| spawn(coffee(guest, &MILL)));
        let mut ready = as_completed(orders);
        // Served as they come, not as they were ordered.
        while let Some(guest) = ready.next().await {
            println!("  coffee for {}", guest?);
        }
        println!("{:.2} s", start.elapsed().as_secs_f64());
        Ok(())
    })
}
