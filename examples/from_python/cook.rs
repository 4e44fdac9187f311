//! The cook: chopping keeps a hand busy, boiling only takes time. Four dishes, four kitchens.
//!
//! - **One loop**, one pair of hands: the pots boil together, the chopping adds up.
//! - **Several threads**: several pairs of hands; each stands at its pot while it boils.
//! - **Several processes**: the same in kitchens of their own.
//! - **Mixed**: threads chop, and the loop looks after all pots. This is how it is meant.
//!
//! ```text
//! cargo run --release --example cook
//! ```

use std::thread;
use std::time::{Duration, Instant};

use trefoil::{ProcessPool, TaskError, ThreadPool, spawn, time, try_join_all};

const DISHES: u32 = 4;
const BOIL: Duration = Duration::from_millis(300);
/// How fine it is chopped.
const FINE: u32 = 3_000_000;

/// Work for the processor only. Returns the number of pieces, which can be checked.
fn chop(dish: u32) -> u32 {
    let knife = |n: u32| n.rotate_left(dish) ^ n.wrapping_mul(0x9E37_79B9);
    (0..FINE).filter(|n| knife(*n).count_ones() >= 8).count() as u32
}

/// Chops and boils, and blocks its thread all the time.
fn cook(dish: u32) -> u32 {
    let pieces = chop(dish);
    thread::sleep(BOIL);
    pieces
}

/// The same on a loop: while the pot boils, the loop can do other work, but not while it chops.
async fn cook_on_the_loop(dish: u32) -> u32 {
    let pieces = chop(dish);
    time::sleep(BOIL).await;
    pieces
}

fn kitchen(
    name: &str,
    work: impl FnOnce() -> Result<Vec<u32>, TaskError>,
) -> Result<Vec<u32>, TaskError> {
    let start = Instant::now();
    let pieces = work()?;
    println!("{name:<14} {:.2} s", start.elapsed().as_secs_f64());
    Ok(pieces)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init(); // worker processes begin, and end, in this line
    let pool = ThreadPool::with_threads(DISHES as usize);
    let procs = ProcessPool::with_workers(DISHES as usize)?;

    let alone = kitchen("one by one", || Ok((0..DISHES).map(cook).collect()))?;

    let looped = kitchen("one loop", || {
        trefoil::run(async { try_join_all((0..DISHES).map(|n| spawn(cook_on_the_loop(n)))).await })
    })?;

    let threads = kitchen("threads", || Ok(pool.map(0..DISHES, cook)))?;

    let processes = kitchen("processes", || procs.map(0..DISHES, cook))?;

    let mixed = kitchen("mixed", || {
        trefoil::run(async {
            let dishes = (0..DISHES).map(|dish| {
                let chopped = pool.spawn(move || chop(dish));
                spawn(async move {
                    let pieces = chopped.await?; // the loop goes on meanwhile
                    time::sleep(BOIL).await;
                    Ok::<_, TaskError>(pieces)
                })
            });
            try_join_all(dishes).await?.into_iter().collect()
        })
    })?;

    assert!(
        [looped, threads, processes, mixed]
            .iter()
            .all(|it| *it == alone)
    );
    println!(
        "{DISHES} dishes in five ways, {} pieces each time",
        alone.iter().sum::<u32>()
    );
    Ok(())
}
