//! One operation of the cell, many times: for counting instructions.
//!
//! `cell_instructions NAME N` runs operation NAME N times. Run it under
//! `valgrind --tool=callgrind` with two N and divide the difference: the start of the
//! process cancels out. `benches/instructions.sh` does so for every operation.

use std::hint::black_box;

use trefoil_benches::cell;

fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().expect("the name of an operation");
    let n: u64 = args
        .next()
        .and_then(|n| n.parse().ok())
        .expect("how many times");
    let operation = match name.as_str() {
        "trefoil-future" => cell::trefoil_future,
        "async-task-future" => cell::async_task_future,
        "trefoil-await" => cell::trefoil_await,
        "async-task-await" => cell::async_task_await,
        "trefoil-closure" => cell::trefoil_closure,
        "trefoil-promise" => cell::trefoil_promise,
        "futures-oneshot" => cell::futures_oneshot,
        "tokio-oneshot" => cell::tokio_oneshot,
        other => panic!("no operation {other}"),
    };
    black_box(operation(n));
}
