//! What does it cost to wait for many? The combinators over promises, compared with
//! tokio's JoinSet, futures' FuturesUnordered and join_all over oneshot channels.
//!
//! All contenders get the same: n results that are produced in the order in which they
//! were asked for, on one thread, so that nothing but the bookkeeping is timed.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench waiting -- [--quick] [--only PART,...] [--markdown] [--list]
//! ```

use std::hint::black_box;

use futures::StreamExt;
use futures::executor::block_on;
use futures::stream::FuturesUnordered;
use trefoil::{CancelToken, Completer, Task, TaskGroup};
use trefoil_benches::rows::{Bench, Entry, Kind, Row, Unit};

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

/// About a million operations a round.
fn times(bench: &Bench, size: u64) -> u64 {
    (1_000_000 / size).clamp(1, bench.pick(1, 10, 100))
}

/// The sizes between the least and the greatest.
const IN_DETAILS: [u64; 2] = [10_000, 100_000];

fn as_completed(bench: &mut Bench, size: u64) {
    let times = times(bench, size);
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil, blocking", size * times, || {
            for _ in 0..times {
                let (completers, tasks) = promises(size);
                let results = trefoil::as_completed(tasks);
                complete(completers);
                black_box(results.into_iter().filter(Result::is_ok).count());
            }
        }),
        Entry::whole(Kind::OursToo, "trefoil, Stream", size * times, || {
            for _ in 0..times {
                let (completers, tasks) = promises(size);
                let results = trefoil::as_completed(tasks);
                complete(completers);
                black_box(block_on(results.count()));
            }
        }),
        Entry::whole(Kind::Peer, "FuturesUnordered", size * times, || {
            for _ in 0..times {
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
    ];
    let measured = bench.measure(bench.pick(1, 3, 7), entries);
    let name = format!("`as_completed` of {size}, each");
    let row = Row::new(name, Unit::Ns, &[]).detail(IN_DETAILS.contains(&size));
    bench.report(row, &measured);
}

fn join_all(bench: &mut Bench, size: u64) {
    let times = times(bench, size);
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", size * times, || {
            for _ in 0..times {
                let (completers, tasks) = promises(size);
                let results = trefoil::join_all(tasks);
                complete(completers);
                black_box(results.join().len());
            }
        }),
        Entry::whole(Kind::Peer, "futures", size * times, || {
            for _ in 0..times {
                let (senders, receivers) = oneshots(size);
                let results = futures::future::join_all(receivers);
                send(senders);
                black_box(block_on(results).len());
            }
        }),
    ];
    let measured = bench.measure(bench.pick(1, 3, 7), entries);
    let name = format!("`join_all` of {size}, each");
    let row = Row::new(name, Unit::Ns, &[]).detail(IN_DETAILS.contains(&size));
    bench.report(row, &measured);
}

fn group(bench: &mut Bench) {
    let members = bench.pick(10, 1_000, 1_000);
    let times = bench.pick(1, 30, 100);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", members * times, || {
            for _ in 0..times {
                let (completers, tasks) = promises(members);
                let mut group = TaskGroup::new();
                for task in tasks {
                    group.add(task);
                }
                complete(completers);
                black_box(group.try_join_all().join().unwrap().len());
            }
        }),
        Entry::whole(Kind::Peer, "tokio, JoinSet", members * times, || {
            for _ in 0..times {
                runtime.block_on(async {
                    let mut set = tokio::task::JoinSet::new();
                    for i in 0..members {
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
    ];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    let name = format!("a `TaskGroup` of {members}, each member");
    bench.report(Row::new(name, Unit::Ns, &[]), &measured);
}

fn race(bench: &mut Bench) {
    let n = bench.pick(10, 20_000, 100_000);
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", n, || {
            for i in 0..n {
                let (loser, slow) = Completer::new();
                let (winner, fast) = Completer::new();
                let race = trefoil::race([slow, fast]);
                winner.complete(Ok(i));
                black_box(race.join().unwrap());
                drop(loser);
            }
        }),
        Entry::whole(Kind::Peer, "futures, select_ok", n, || {
            for i in 0..n {
                let (loser, slow) = futures::channel::oneshot::channel::<u64>();
                let (winner, fast) = futures::channel::oneshot::channel();
                let race = futures::future::select_ok([slow, fast]);
                let _ = winner.send(i);
                black_box(block_on(race).unwrap());
                drop(loser);
            }
        }),
    ];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    bench.report(Row::new("`race` of 2", Unit::Ns, &[]), &measured);
}

fn cancel(bench: &mut Bench) {
    let n = bench.pick(10, 100_000, 100_000);
    let entries = vec![Entry::whole(Kind::Ours, "trefoil", n, || {
        let root = CancelToken::new();
        let children: Vec<_> = (0..n).map(|_| root.child()).collect();
        root.cancel();
        black_box(children);
    })];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    let name =
        format!("a child of a `CancelToken`: made, cancelled with its {n} siblings, dropped");
    bench.report(Row::new(name, Unit::Ns, &[]), &measured);
}

fn main() {
    let mut bench = Bench::from_args();
    for size in [1_000, 10_000, 100_000, 1_000_000] {
        if size < bench.pick(10_000, 100_000, u64::MAX) {
            bench.group("as_completed", |bench| as_completed(bench, size));
            bench.group("join_all", |bench| join_all(bench, size));
        }
    }
    bench.group("group", group);
    bench.group("race", race);
    bench.group("cancel", cancel);
    bench.finish();
}
