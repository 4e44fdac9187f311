//! What does one task cost? The cell alone, without queue or executor, beside
//! async-task's and the oneshot channels that a promise replaces.

use std::hint::black_box;

use trefoil_benches::{Contender, cell, compare};

fn main() {
    let quick = std::env::args().any(|arg| arg == "--test" || arg == "--quick");
    let (n, rounds) = if quick { (2_000, 3) } else { (200_000, 31) };
    let contender = |name, operation: fn(u64) -> u64| {
        Contender::new(name, move |n| {
            black_box(operation(n));
        })
    };
    compare(
        "spawn + run + join of a ready future",
        n,
        rounds,
        &mut [
            contender("trefoil", cell::trefoil_future),
            contender("async-task", cell::async_task_future),
        ],
    );
    compare(
        "the same, awaited before it runs",
        n,
        rounds,
        &mut [
            contender("trefoil", cell::trefoil_await),
            contender("async-task", cell::async_task_await),
        ],
    );
    compare(
        "queue + run + join of a closure",
        n,
        rounds,
        &mut [contender("trefoil", cell::trefoil_closure)],
    );
    compare(
        "complete + join of a promise",
        n,
        rounds,
        &mut [
            contender("trefoil", cell::trefoil_promise),
            contender("futures oneshot", cell::futures_oneshot),
            contender("tokio oneshot", cell::tokio_oneshot),
        ],
    );
}
