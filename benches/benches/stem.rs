//! What does it cost to wait for many? The combinators over promises, beside
//! tokio's JoinSet, futures' FuturesUnordered and join_all over oneshot channels.
//!
//! All contenders get the same: n results that are produced in the order in which they
//! were asked for, on one thread, so that nothing but the bookkeeping is timed.

use std::hint::black_box;

use futures::StreamExt;
use futures::executor::block_on;
use futures::stream::FuturesUnordered;
use trefoil::{CancelToken, Completer, Task, TaskGroup};
use trefoil_benches::{Contender, compare};

type Oneshot = futures::channel::oneshot::Receiver<u64>;

fn promises(n: u64) -> (Vec<Completer<u64>>, Vec<Task<u64>>) {
    (0..n).map(|_| Completer::new()).unzip()
}

fn oneshots(n: u64) -> (Vec<futures::channel::oneshot::Sender<u64>>, Vec<Oneshot>) {
    (0..n).map(|_| futures::channel::oneshot::channel()).unzip()
}

fn complete(completers: Vec<Completer<u64>>) {
    for (i, completer) in (0..).zip(completers) {
        completer.complete(Ok(i));
    }
}

fn send(senders: Vec<futures::channel::oneshot::Sender<u64>>) {
    for (i, sender) in (0..).zip(senders) {
        let _ = sender.send(i);
    }
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--test" || arg == "--quick");
    let sizes: &[u64] = if quick {
        &[1_000]
    } else {
        &[1_000, 10_000, 100_000, 1_000_000]
    };

    for &size in sizes {
        // About a million operations a round.
        let times = (1_000_000 / size).clamp(1, if quick { 2 } else { 100 });
        let rounds = if quick { 3 } else { 7 };
        compare(
            &format!("as_completed of {size}, each"),
            size * times,
            rounds,
            &mut [
                Contender::new("trefoil, blocking", |n| {
                    for _ in 0..n / size {
                        let (completers, tasks) = promises(size);
                        let results = trefoil::as_completed(tasks);
                        complete(completers);
                        black_box(results.into_iter().filter(Result::is_ok).count());
                    }
                }),
                Contender::new("trefoil, Stream", |n| {
                    for _ in 0..n / size {
                        let (completers, tasks) = promises(size);
                        let results = trefoil::as_completed(tasks);
                        complete(completers);
                        black_box(block_on(results.count()));
                    }
                }),
                Contender::new("FuturesUnordered", |n| {
                    for _ in 0..n / size {
                        let (senders, receivers) = oneshots(size);
                        let mut results: FuturesUnordered<_> = receivers.into_iter().collect();
                        // It registers when first polled.
                        block_on(futures::future::poll_fn(|cx| {
                            let _ = results.poll_next_unpin(cx);
                            std::task::Poll::Ready(())
                        }));
                        send(senders);
                        black_box(block_on(results.count()));
                    }
                }),
            ],
        );
        compare(
            &format!("join_all of {size}, each"),
            size * times,
            rounds,
            &mut [
                Contender::new("trefoil", |n| {
                    for _ in 0..n / size {
                        let (completers, tasks) = promises(size);
                        let results = trefoil::join_all(tasks);
                        complete(completers);
                        black_box(results.wait().len());
                    }
                }),
                Contender::new("futures", |n| {
                    for _ in 0..n / size {
                        let (senders, receivers) = oneshots(size);
                        let results = futures::future::join_all(receivers);
                        send(senders);
                        black_box(block_on(results).len());
                    }
                }),
            ],
        );
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let group = if quick { 100 } else { 1_000 };
    compare(
        "a group of 1000, each member",
        group * 100,
        11,
        &mut [
            Contender::new("trefoil, TaskGroup", |n| {
                for _ in 0..n / group {
                    let (completers, tasks) = promises(group);
                    let mut members = TaskGroup::new();
                    for task in tasks {
                        members.add(task);
                    }
                    complete(completers);
                    black_box(members.join_all().wait().unwrap().len());
                }
            }),
            Contender::new("tokio, JoinSet", |n| {
                for _ in 0..n / group {
                    runtime.block_on(async {
                        let mut set = tokio::task::JoinSet::new();
                        for i in 0..group {
                            set.spawn(async move { i });
                        }
                        let mut seen = 0;
                        while let Some(result) = set.join_next().await {
                            seen += usize::from(result.is_ok());
                        }
                        black_box(seen);
                    });
                }
            }),
        ],
    );

    compare(
        "race of 2",
        if quick { 1_000 } else { 100_000 },
        11,
        &mut [
            Contender::new("trefoil", |n| {
                for i in 0..n {
                    let (loser, slow) = Completer::new();
                    let (winner, fast) = Completer::new();
                    let race = trefoil::race([slow, fast]);
                    winner.complete(Ok(i));
                    black_box(race.wait().unwrap());
                    drop(loser);
                }
            }),
            Contender::new("futures, select_ok", |n| {
                for i in 0..n {
                    let (loser, slow) = futures::channel::oneshot::channel::<u64>();
                    let (winner, fast) = futures::channel::oneshot::channel();
                    let race = futures::future::select_ok([slow, fast]);
                    let _ = winner.send(i);
                    black_box(block_on(race).unwrap());
                    drop(loser);
                }
            }),
        ],
    );

    let children = if quick { 1_000 } else { 100_000 };
    compare(
        "cancel of a tree, each child (made, cancelled, dropped)",
        children,
        11,
        &mut [Contender::new("trefoil", |n| {
            let root = CancelToken::new();
            let children: Vec<_> = (0..n).map(|_| root.child()).collect();
            root.cancel();
            black_box(children);
        })],
    );
}
