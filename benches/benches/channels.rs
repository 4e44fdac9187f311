//! What does a message cost? `sync::channel` and `sync::Mutex`, compared with std,
//! crossbeam-channel, tokio and flume: a stream from one thread to another, an answer for each
//! message, and the same between two tasks of one event loop, which is ours for all.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench channels -- [--quick] [--only PART,...] [--markdown]
//! [--list]
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::thread;

use trefoil::sync::channel;
use trefoil_benches::rows::{Bench, Entry, Kind, Row, Unit};

/// What the capacity of a bounded channel is here.
const CAPACITY: usize = 100;

/// Sends `n` messages from a thread, and receives them here.
fn streams(n: u64, mut send: impl FnMut(u64) + Send, mut recv: impl FnMut() -> u64) {
    thread::scope(|scope| {
        scope.spawn(move || (0..n).for_each(&mut send));
        let sum: u64 = (0..n).map(|_| recv()).sum();
        assert_eq!(sum, n * (n - 1) / 2);
    });
}

/// Sends `n` messages to a thread, which answers each before the next one is sent.
fn answers(
    n: u64,
    ask: impl Fn(u64),
    asked: impl Fn() -> u64 + Send,
    answer: impl Fn(u64) + Send,
    answered: impl Fn() -> u64,
) {
    thread::scope(|scope| {
        scope.spawn(move || (0..n).for_each(|_| answer(asked())));
        for i in 0..n {
            ask(i);
            assert_eq!(answered(), i);
        }
    });
}

/// An entry for threads: makes the channels, and names what sends and what receives.
macro_rules! threads {
    ($how:ident, $kind:ident, $name:literal, $n:expr, $make:expr, |$s:ident, $i:ident| $send:expr, |$r:ident| $recv:expr) => {
        Entry::whole(Kind::$kind, $name, $n, || threads!(@$how $n, $make, |$s, $i| $send, |$r| $recv))
    };
    (@stream $n:expr, $make:expr, |$s:ident, $i:ident| $send:expr, |$r:ident| $recv:expr) => {{
        let ($s, $r) = $make;
        streams($n, move |$i| $send, move || $recv);
    }};
    (@answer $n:expr, $make:expr, |$s:ident, $i:ident| $send:expr, |$r:ident| $recv:expr) => {{
        let (there, here) = ($make, $make);
        let ask = { let $s = there.0; move |$i| $send };
        let asked = { let $r = there.1; move || $recv };
        let answer = { let $s = here.0; move |$i| $send };
        let answered = { let $r = here.1; move || $recv };
        answers($n, ask, asked, answer, answered);
    }};
}

fn unbounded_stream(bench: &mut Bench) {
    let n = bench.pick(10, 200_000, 1_000_000);
    let entries = vec![
        threads!(
            stream,
            Ours,
            "trefoil",
            n,
            channel::unbounded(),
            |s, i| s.send_blocking(i).unwrap(),
            |r| r.recv_blocking().unwrap()
        ),
        threads!(
            stream,
            Peer,
            "std",
            n,
            std::sync::mpsc::channel(),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
        threads!(
            stream,
            Peer,
            "crossbeam-channel",
            n,
            crossbeam_channel::unbounded(),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
        threads!(
            stream,
            Peer,
            "flume",
            n,
            flume::unbounded(),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
        Entry::whole(Kind::Peer, "tokio", n, || {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            streams(
                n,
                move |i| sender.send(i).unwrap(),
                move || receiver.blocking_recv().unwrap(),
            );
        }),
    ];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    bench.report(
        Row::new(
            "a stream between two threads, unbounded, each message",
            Unit::Ns,
            &[],
        ),
        &measured,
    );
}

fn bounded_stream(bench: &mut Bench) {
    let n = bench.pick(10, 100_000, 500_000);
    let entries = vec![
        threads!(
            stream,
            Ours,
            "trefoil",
            n,
            channel::bounded(CAPACITY),
            |s, i| s.send_blocking(i).unwrap(),
            |r| r.recv_blocking().unwrap()
        ),
        threads!(
            stream,
            Peer,
            "std",
            n,
            std::sync::mpsc::sync_channel(CAPACITY),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
        threads!(
            stream,
            Peer,
            "crossbeam-channel",
            n,
            crossbeam_channel::bounded(CAPACITY),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
        threads!(
            stream,
            Peer,
            "flume",
            n,
            flume::bounded(CAPACITY),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
        Entry::whole(Kind::Peer, "tokio", n, || {
            let (sender, mut receiver) = tokio::sync::mpsc::channel(CAPACITY);
            streams(
                n,
                move |i| sender.blocking_send(i).unwrap(),
                move || receiver.blocking_recv().unwrap(),
            );
        }),
    ];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    let name = format!("a stream between two threads, {CAPACITY} at a time, each message");
    bench.report(Row::new(name, Unit::Ns, &[]), &measured);
}

fn thread_answers(bench: &mut Bench) {
    let n = bench.pick(10, 2_000, 10_000);
    let entries = vec![
        threads!(
            answer,
            Ours,
            "trefoil",
            n,
            channel::unbounded(),
            |s, i| s.send_blocking(i).unwrap(),
            |r| r.recv_blocking().unwrap()
        ),
        threads!(
            answer,
            Peer,
            "std",
            n,
            std::sync::mpsc::channel(),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
        threads!(
            answer,
            Peer,
            "crossbeam-channel",
            n,
            crossbeam_channel::unbounded(),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
        threads!(
            answer,
            Peer,
            "flume",
            n,
            flume::unbounded(),
            |s, i| s.send(i).unwrap(),
            |r| r.recv().unwrap()
        ),
    ];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    bench.report(
        Row::new("a message to a thread, and its answer", Unit::Us, &[]),
        &measured,
    );
}

/// An entry for two tasks of our loop, of which the second answers each message.
macro_rules! tasks {
    ($kind:ident, $name:literal, $n:expr, $make:expr, |$s:ident, $i:ident| $send:expr, |$r:ident| $recv:expr) => {
        Entry::whole(Kind::$kind, $name, $n, || {
            trefoil::run(async {
                let (ask, asked) = $make;
                let (answer, answered) = $make;
                let task = trefoil::spawn(async move {
                    #[allow(unused_mut)]
                    let (mut $r, $s) = (asked, answer);
                    for _ in 0..$n {
                        let $i: u64 = $recv;
                        $send;
                    }
                });
                #[allow(unused_mut)]
                let (mut $r, $s) = (answered, ask);
                for $i in 0..$n {
                    $send;
                    assert_eq!($recv, $i);
                }
                task.await.unwrap();
            })
        })
    };
}

fn task_answers(bench: &mut Bench) {
    let n = bench.pick(10, 50_000, 200_000);
    let entries = vec![
        tasks!(
            Ours,
            "trefoil",
            n,
            channel::bounded(1),
            |s, i| s.send(i).await.unwrap(),
            |r| r.recv().await.unwrap()
        ),
        tasks!(
            Peer,
            "tokio",
            n,
            tokio::sync::mpsc::channel(1),
            |s, i| s.send(i).await.unwrap(),
            |r| r.recv().await.unwrap()
        ),
        tasks!(
            Peer,
            "flume",
            n,
            flume::bounded(1),
            |s, i| s.send_async(i).await.unwrap(),
            |r| r.recv_async().await.unwrap()
        ),
    ];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    bench.report(
        Row::new(
            "a message to a task of the same loop, and its answer",
            Unit::Ns,
            &[],
        ),
        &measured,
    );
}

/// An entry for two tasks of our loop, of which one sends and the other receives.
macro_rules! task_streams {
    ($kind:ident, $name:literal, $n:expr, $make:expr, |$s:ident, $i:ident| $send:expr, |$r:ident| $recv:expr) => {
        Entry::whole(Kind::$kind, $name, $n, || {
            trefoil::run(async {
                let ($s, receiver) = $make;
                let task = trefoil::spawn(async move {
                    #[allow(unused_mut)]
                    let mut $r = receiver;
                    let mut sum = 0;
                    for _ in 0..$n {
                        sum += $recv;
                    }
                    black_box::<u64>(sum);
                });
                for $i in 0..$n {
                    $send;
                }
                task.await.unwrap();
            })
        })
    };
}

fn task_stream(bench: &mut Bench) {
    let n = bench.pick(10, 100_000, 500_000);
    let entries = vec![
        task_streams!(
            Ours,
            "trefoil",
            n,
            channel::bounded(CAPACITY),
            |s, i| s.send(i).await.unwrap(),
            |r| r.recv().await.unwrap()
        ),
        task_streams!(
            Peer,
            "tokio",
            n,
            tokio::sync::mpsc::channel(CAPACITY),
            |s, i| s.send(i).await.unwrap(),
            |r| r.recv().await.unwrap()
        ),
        task_streams!(
            Peer,
            "flume",
            n,
            flume::bounded(CAPACITY),
            |s, i| s.send_async(i).await.unwrap(),
            |r| r.recv_async().await.unwrap()
        ),
    ];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    let name =
        format!("a stream between two tasks of one loop, {CAPACITY} at a time, each message");
    bench.report(Row::new(name, Unit::Ns, &[]), &measured);
}

/// Two threads take a lock in turns.
fn in_turns(n: u64, add: impl Fn() + Sync) {
    thread::scope(|scope| {
        scope.spawn(|| (0..n / 2).for_each(|_| add()));
        (0..n / 2).for_each(|_| add());
    });
}

fn mutex(bench: &mut Bench) {
    let n = bench.pick(10, 500_000, 2_000_000);
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", n, || {
            let lock = Arc::new(trefoil::sync::Mutex::new(0_u64));
            in_turns(n, || *lock.lock_blocking() += 1);
            assert_eq!(*lock.lock_blocking(), n / 2 * 2);
        }),
        Entry::whole(Kind::Peer, "std", n, || {
            let lock = Arc::new(std::sync::Mutex::new(0_u64));
            in_turns(n, || *lock.lock().unwrap() += 1);
            assert_eq!(*lock.lock().unwrap(), n / 2 * 2);
        }),
    ];
    let measured = bench.measure(bench.pick(1, 5, 11), entries);
    bench.report(
        Row::new("a `Mutex` that two threads want, each turn", Unit::Ns, &[]),
        &measured,
    );
}

fn main() {
    let mut bench = Bench::from_args();
    bench.group("unbounded", unbounded_stream);
    bench.group("bounded", bounded_stream);
    bench.group("answers", thread_answers);
    bench.group("task answers", task_answers);
    bench.group("task stream", task_stream);
    bench.group("mutex", mutex);
    bench.finish();
}
