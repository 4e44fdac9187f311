//! Work that lives and fails together, from threads and a loop in one group.
//!
//! Three downloads run on the event loop while three sums run on threads; all are members of one
//! group. In the second round one member fails: the group cancels the others, waits for them, and
//! reports the error.

use std::time::Duration;

use trefoil::time::sleep;
use trefoil::{CancelToken, TaskGroup, ThreadPool};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ThreadPool::with_threads(2);

    let sizes = trefoil::run(async {
        let mut group = TaskGroup::new();
        for n in 1..=3u64 {
            group.add(pool.spawn(move || (1..=n * 1_000_000).sum::<u64>()));
            group.add(trefoil::spawn(async move {
                sleep(Duration::from_millis(10 * n)).await; // a download
                n
            }));
        }
        group.try_join_all().await
    })?;
    println!("all went well: {sizes:?}");

    let mut group = TaskGroup::new();
    let bad = group.add(pool.spawn(|| -> u64 { "forty-two".parse().expect("not a number") }));
    group.add(pool.spawn(|| {
        // Long work looks at its token now and then.
        let token = CancelToken::current();
        let mut n = 0u64;
        while !token.is_cancelled() {
            n = std::hint::black_box(n + 1);
        }
        n
    }));
    let error = group.try_join_all().join().unwrap_err();
    println!("one failed, the other was stopped: {error}");
    assert_eq!(error.errors().len(), 1);
    assert_eq!(error.errors()[0].0, bad);
    Ok(())
}
