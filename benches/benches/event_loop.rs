//! What does a task cost on the loop? Spawn, run and await, beside tokio's
//! current-thread runtime and smol's local executor, each driving itself.

use std::hint::black_box;

use trefoil_benches::{Contender, compare};

fn main() {
    let quick = std::env::args().any(|arg| arg == "--test" || arg == "--quick");
    let (n, rounds) = if quick { (2_000, 3) } else { (100_000, 21) };

    let event_loop = trefoil::EventLoop::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let set = tokio::task::LocalSet::new();
    let smol = smol::LocalExecutor::new();

    compare(
        "spawn + await of a ready local task, one by one",
        n,
        rounds,
        &mut [
            Contender::new("trefoil", |n| {
                event_loop.block_on(async {
                    for i in 0..n {
                        black_box(trefoil::spawn(async move { i }).await.unwrap());
                    }
                });
            }),
            Contender::new("tokio, spawn", |n| {
                runtime.block_on(async {
                    for i in 0..n {
                        black_box(tokio::spawn(async move { i }).await.unwrap());
                    }
                });
            }),
            Contender::new("tokio, LocalSet", |n| {
                set.block_on(&runtime, async {
                    for i in 0..n {
                        black_box(tokio::task::spawn_local(async move { i }).await.unwrap());
                    }
                });
            }),
            Contender::new("smol, LocalExecutor", |n| {
                futures::executor::block_on(smol.run(async {
                    for i in 0..n {
                        black_box(smol.spawn(async move { i }).await);
                    }
                }));
            }),
        ],
    );

    compare(
        "the same in batches of 1,000",
        n,
        rounds,
        &mut [
            Contender::new("trefoil", |n| {
                event_loop.block_on(async {
                    for _ in 0..n / 1000 {
                        let tasks: Vec<_> = (0..1000u64)
                            .map(|i| trefoil::spawn(async move { i }))
                            .collect();
                        for task in tasks {
                            black_box(task.await.unwrap());
                        }
                    }
                });
            }),
            Contender::new("tokio, spawn", |n| {
                runtime.block_on(async {
                    for _ in 0..n / 1000 {
                        let tasks: Vec<_> = (0..1000u64)
                            .map(|i| tokio::spawn(async move { i }))
                            .collect();
                        for task in tasks {
                            black_box(task.await.unwrap());
                        }
                    }
                });
            }),
            Contender::new("tokio, LocalSet", |n| {
                set.block_on(&runtime, async {
                    for _ in 0..n / 1000 {
                        let tasks: Vec<_> = (0..1000u64)
                            .map(|i| tokio::task::spawn_local(async move { i }))
                            .collect();
                        for task in tasks {
                            black_box(task.await.unwrap());
                        }
                    }
                });
            }),
            Contender::new("smol, LocalExecutor", |n| {
                futures::executor::block_on(smol.run(async {
                    for _ in 0..n / 1000 {
                        let tasks: Vec<_> =
                            (0..1000u64).map(|i| smol.spawn(async move { i })).collect();
                        for task in tasks {
                            black_box(task.await);
                        }
                    }
                }));
            }),
        ],
    );
}
