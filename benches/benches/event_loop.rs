//! What does a task cost on the loop? Spawn, run and await, beside tokio's
//! current-thread runtime and smol's local executor, each driving itself. What does a timer
//! cost, one, or a million that wait; and how late are a hundred thousand that are due within
//! 100 ms?

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use trefoil_benches::{Contender, compare};

/// Longer than the benchmark takes.
const LONG: Duration = Duration::from_secs(3600);

/// Begins to wait.
fn begin<F: Future + Unpin>(mut timer: F, cx: &mut Context<'_>) -> F {
    assert!(matches!(Pin::new(&mut timer).poll(cx), Poll::Pending));
    timer
}

/// Not all at the same time, and in no order.
fn scattered(i: u64) -> Duration {
    LONG + Duration::from_nanos(i * 7919 % 1_000_003 * 1000)
}

/// The deadlines of `n` timers that fall due within 100 ms.
fn soon(start: Instant, i: u64, n: u64) -> Instant {
    start + Duration::from_millis(50) + Duration::from_nanos(i * 7919 % n * 100_000_000 / n)
}

/// This thread's processor time.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn lateness(name: &str, n: u64, run: impl FnOnce(u64) -> Vec<Duration>) {
    let before = cpu();
    let mut late = run(n);
    let spent = cpu() - before;
    late.sort();
    let at = |part: f64| late[((late.len() - 1) as f64 * part) as usize];
    println!(
        "  {name:<28} late p50 {:?}, p99 {:?}, max {:?}; processor {spent:?}",
        at(0.5),
        at(0.99),
        at(1.0),
    );
}

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

    let watched = trefoil::EventLoop::builder()
        .slow_poll(LONG, |_| {})
        .build()
        .unwrap();
    let yields = |event_loop: &trefoil::EventLoop, n: u64| {
        event_loop.block_on(async {
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    trefoil::spawn(async move {
                        for _ in 0..n / 100 {
                            trefoil::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    };
    compare(
        "yield among a hundred tasks",
        n,
        rounds,
        &mut [
            Contender::new("trefoil", |n| yields(&event_loop, n)),
            Contender::new("trefoil, with slow_poll", |n| yields(&watched, n)),
            Contender::new("tokio, LocalSet", |n| {
                set.block_on(&runtime, async {
                    let tasks: Vec<_> = (0..100)
                        .map(|_| {
                            tokio::task::spawn_local(async move {
                                for _ in 0..n / 100 {
                                    tokio::task::yield_now().await;
                                }
                            })
                        })
                        .collect();
                    for task in tasks {
                        task.await.unwrap();
                    }
                });
            }),
        ],
    );

    let timed = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    compare(
        "a timer: begun and cancelled",
        n,
        rounds,
        &mut [
            Contender::new("trefoil", |n| {
                let mut cx = Context::from_waker(Waker::noop());
                event_loop.block_on(async {
                    for i in 0..n {
                        drop(begin(trefoil::time::sleep(scattered(i)), &mut cx));
                    }
                });
            }),
            Contender::new("tokio", |n| {
                let mut cx = Context::from_waker(Waker::noop());
                timed.block_on(async {
                    for i in 0..n {
                        drop(begin(Box::pin(tokio::time::sleep(scattered(i))), &mut cx));
                    }
                });
            }),
            Contender::new("smol", |n| {
                for i in 0..n {
                    drop(begin(smol::Timer::after(scattered(i)), &mut cx));
                }
            }),
        ],
    );
    let sizes: &[u64] = if quick {
        &[2_000]
    } else {
        &[10_000, 100_000, 1_000_000]
    };
    for &many in sizes {
        compare(
            &format!("{many} timers that wait at once, begun and cancelled: each"),
            many,
            if quick { 1 } else { 3 },
            &mut [
                Contender::new("trefoil", |n| {
                    let mut cx = Context::from_waker(Waker::noop());
                    event_loop.block_on(async {
                        let all: Vec<_> = (0..n)
                            .map(|i| begin(trefoil::time::sleep(scattered(i)), &mut cx))
                            .collect();
                        drop(black_box(all));
                    });
                }),
                Contender::new("tokio", |n| {
                    let mut cx = Context::from_waker(Waker::noop());
                    timed.block_on(async {
                        let all: Vec<_> = (0..n)
                            .map(|i| begin(Box::pin(tokio::time::sleep(scattered(i))), &mut cx))
                            .collect();
                        drop(black_box(all));
                    });
                }),
            ],
        );
    }

    let soon_due = if quick { 2_000 } else { 100_000 };
    println!("\n{soon_due} tasks whose timers fall due within 100 ms");
    lateness("trefoil", soon_due, |n| {
        event_loop.block_on(async {
            let start = Instant::now() + Duration::from_millis(n / 1000);
            let tasks: Vec<_> = (0..n)
                .map(|i| {
                    let deadline = soon(start, i, n);
                    trefoil::spawn(async move {
                        trefoil::time::sleep_until(deadline).await;
                        Instant::now() - deadline
                    })
                })
                .collect();
            let mut late = Vec::new();
            for task in tasks {
                late.push(task.await.unwrap());
            }
            late
        })
    });
    lateness("tokio", soon_due, |n| {
        timed.block_on(async {
            let start = Instant::now() + Duration::from_millis(n / 1000);
            let tasks: Vec<_> = (0..n)
                .map(|i| {
                    let deadline = soon(start, i, n);
                    tokio::spawn(async move {
                        tokio::time::sleep_until(deadline.into()).await;
                        Instant::now() - deadline
                    })
                })
                .collect();
            let mut late = Vec::new();
            for task in tasks {
                late.push(task.await.unwrap());
            }
            late
        })
    });
}
