//! Three ways to limit a time: around a wait, around a future, and as a token that the work itself
//! looks at.

use std::time::{Duration, Instant};

use trefoil::{CancelToken, TaskError, ThreadPool, timeout};

/// Counts primes until its token is cancelled.
fn primes_until(token: &CancelToken) -> usize {
    (2u64..)
        .take_while(|_| !token.is_cancelled())
        .filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0))
        .count()
}

fn main() {
    let pool = ThreadPool::with_threads(2);

    // 1. A wait with a limit leaves the work alone: it can be waited for again.
    let token = CancelToken::new();
    let mut task = pool.spawn({
        let token = token.clone();
        move || primes_until(&token)
    });
    let waited = task.join_timeout(Duration::from_millis(30));
    assert!(matches!(waited, Err(TaskError::TimedOut(_))));
    println!("after 30 ms it is still running");
    token.cancel();
    println!(
        "asked to stop, it had found {} primes",
        task.join().unwrap()
    );

    // 2. A time-out around a future; `cancel_on_drop` ties the work to the wait.
    let start = Instant::now();
    let slow = pool
        .spawn(|| primes_until(&CancelToken::current()))
        .cancel_on_drop();
    let late = timeout(Duration::from_millis(30), slow).join();
    assert!(matches!(late, Err(TaskError::TimedOut(_))));
    println!(
        "given up after {:.0?}, and the task was asked to stop",
        start.elapsed()
    );

    // 3. A deadline for a whole tree of work.
    let all = CancelToken::new().with_deadline(Instant::now() + Duration::from_millis(30));
    let counts = pool.map(0..4, |_| primes_until(&all.child()));
    println!("four searches until one deadline: {counts:?} primes");
}
