//! Two tasks of one loop count together, without a lock.
//!
//! A task of a loop is interrupted at an `.await`, and nowhere else. Between two of them no other
//! task runs: a plain `Cell` is enough, and no count is lost. A change that extends across an
//! `.await` is not protected, and needs a lock.

use std::cell::Cell;
use std::rc::Rc;

use trefoil::sync::Mutex;
use trefoil::{TaskError, spawn, try_join_all, yield_now};

const ROUNDS: u32 = 100_000;

/// Reads and writes between two awaits.
async fn count(counter: Rc<Cell<u32>>) {
    for _ in 0..ROUNDS {
        counter.set(counter.get() + 1);
        yield_now().await; // the other's turn
    }
}

/// Reads before an await and writes after it: the mistake.
async fn count_across(counter: Rc<Cell<u32>>) {
    for _ in 0..ROUNDS {
        let read = counter.get();
        yield_now().await; // the other reads the same number here
        counter.set(read + 1);
    }
}

/// The same, and right: the lock is held across the await.
async fn count_locked(counter: Rc<Mutex<u32>>) {
    for _ in 0..ROUNDS {
        let mut counter = counter.lock().await;
        let read = *counter;
        yield_now().await;
        *counter = read + 1;
    }
}

fn main() -> Result<(), TaskError> {
    trefoil::run(async {
        let counter = Rc::new(Cell::new(0));
        try_join_all([(); 2].map(|()| spawn(count(counter.clone())))).await?;
        println!("without a lock:           {}", counter.get());

        let counter = Rc::new(Cell::new(0));
        try_join_all([(); 2].map(|()| spawn(count_across(counter.clone())))).await?;
        println!("across an await:          {}", counter.get());

        let counter = Rc::new(Mutex::new(0));
        try_join_all([(); 2].map(|()| spawn(count_locked(counter.clone())))).await?;
        println!("across, and with a lock:  {}", *counter.lock().await);
        Ok(())
    })
}
