//! Lock, semaphore, event and condition, one by one.
//!
//! Each is in [`trefoil::sync`] and works from threads (the methods that end in `_blocking`, as
//! here) and from async code (the plain names) at the same time. The documentation of that module
//! says when to use which.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use trefoil::sync::{Condvar, Event, Mutex, Semaphore};
use trefoil::{Task, TaskError, ThreadPool, join_all};

/// Waits for all tasks; the first error is the result.
fn all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Result<Vec<T>, TaskError> {
    join_all(tasks).join().into_iter().collect()
}

/// A lock owns the value that it protects: the value can only be reached through the lock.
fn lock(pool: &ThreadPool) -> Result<(), TaskError> {
    let balance = Arc::new(Mutex::new(0));
    let deposits = (0..4).map(|_| {
        let balance = Arc::clone(&balance);
        pool.spawn(move || {
            for _ in 0..1000 {
                *balance.lock_blocking() += 1; // unlocked at the end of the line
            }
        })
    });
    all(deposits)?;
    println!("lock: four threads paid in {}", *balance.lock_blocking());
    Ok(())
}

/// A semaphore admits a fixed number. Dropping the permit that `acquire` returns gives the place
/// back.
fn semaphore(pool: &ThreadPool) -> Result<(), TaskError> {
    let places = Arc::new(Semaphore::new(2));
    let inside = Arc::new(Mutex::new((0, 0))); // now, and at most
    let guests = (0..6).map(|_| {
        let (places, inside) = (Arc::clone(&places), Arc::clone(&inside));
        pool.spawn(move || {
            let _place = places.acquire_blocking();
            {
                let mut inside = inside.lock_blocking();
                inside.0 += 1;
                inside.1 = inside.0.max(inside.1);
            }
            sleep(Duration::from_millis(10));
            inside.lock_blocking().0 -= 1;
        })
    });
    all(guests)?;
    let most = inside.lock_blocking().1;
    println!("semaphore: six guests, never more than {most} inside");
    Ok(())
}

/// An event happens once, and then all waiting threads go on.
fn event(pool: &ThreadPool) -> Result<(), TaskError> {
    let start = Arc::new(Event::new());
    let ready = Arc::new(Semaphore::new(0));
    let runners = (1..=3).map(|n| {
        let (start, ready) = (Arc::clone(&start), Arc::clone(&ready));
        pool.spawn(move || {
            ready.add_permits(1);
            start.wait_blocking();
            n
        })
    });
    let runners: Vec<Task<u32>> = runners.collect();
    for _ in 0..3 {
        ready.acquire_blocking().forget(); // one runner is ready
    }
    println!("event: all are ready, nobody runs");
    assert!(runners.iter().all(|runner| !runner.is_finished()));
    start.set();
    println!("event: {:?} have run", all(runners)?);
    Ok(())
}

/// A condition is waited for under a lock: "until there are three dishes".
fn condition(pool: &ThreadPool) -> Result<(), TaskError> {
    let kitchen = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let waiter = pool.spawn({
        let kitchen = Arc::clone(&kitchen);
        move || {
            let (dishes, more) = &*kitchen;
            // Unlocks while it waits, and holds the lock again when it returns.
            let dishes = more.wait_while_blocking(dishes.lock_blocking(), |d| d.len() < 3);
            dishes.join(", ")
        }
    });
    for dish in ["soup", "fish", "cake"] {
        kitchen.0.lock_blocking().push(dish);
        kitchen.1.notify_all();
    }
    println!("condition: the waiter carries {}", waiter.join()?);
    Ok(())
}

fn main() -> Result<(), TaskError> {
    // Threads that wait for one another: there must be one for each, even if there are fewer
    // processors.
    let pool = ThreadPool::with_threads(6);
    lock(&pool)?;
    semaphore(&pool)?;
    event(&pool)?;
    condition(&pool)
}
