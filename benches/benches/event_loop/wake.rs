//! Work from another thread: a round trip to a loop that sleeps, and a million messages and spawns
//! while it runs.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::task::AtomicWaker;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

use crate::peers::runtimes;
use crate::roles;

/// A bell between a thread and a future, the same for all contenders.
#[derive(Default)]
pub struct Bell {
    pub rung: AtomicU64,
    pub waker: AtomicWaker,
}

pub struct Heard<'a>(pub &'a Bell, pub u64);

impl Future for Heard<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.waker.register(cx.waker());
        if self.0.rung.load(Ordering::Acquire) >= self.1 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// The thread that asks: `ask(i)`, and sleeps until it is answered.
fn asks(
    n: u64,
    cpu: usize,
    answered: Arc<AtomicU64>,
    ask: impl Fn(u64) + Send + 'static,
) -> thread::JoinHandle<Duration> {
    thread::spawn(move || {
        roles::pin(cpu);
        let mut start = Instant::now();
        let warm = n / 10;
        for i in 1..=n + warm {
            if i == warm + 1 {
                start = Instant::now();
            }
            ask(i);
            while answered.load(Ordering::Acquire) < i {
                thread::park();
            }
        }
        start.elapsed()
    })
}

/// `n` round trips from a thread on processor `cpu` to a future that is driven here.
fn round_trips_of(
    n: u64,
    cpu: usize,
    drive: impl FnOnce(Pin<Box<dyn Future<Output = ()>>>),
) -> Duration {
    let bell = Arc::new(Bell::default());
    let answered = Arc::new(AtomicU64::new(0));
    let thread = asks(n, cpu, answered.clone(), {
        let bell = bell.clone();
        move |i| {
            bell.rung.store(i, Ordering::Release);
            bell.waker.wake();
        }
    });
    let asker: Thread = thread.thread().clone();
    drive(Box::pin(async move {
        for i in 1..=n + n / 10 {
            Heard(&bell, i).await;
            answered.store(i, Ordering::Release);
            asker.unpark();
        }
    }));
    thread.join().expect("it only waits")
}

/// By hand: `epoll` and `eventfd`.
fn raw(n: u64, cpu: usize) -> Duration {
    let event =
        Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("eventfd"));
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
    let edge = EventFlags::IN | EventFlags::ET;
    epoll::add(&epoll, &*event, EventData::new_u64(0), edge).expect("it can be watched");
    let answered = Arc::new(AtomicU64::new(0));
    let thread = asks(n, cpu, answered.clone(), {
        let event = event.clone();
        move |_| {
            rustix::io::write(&*event, &1_u64.to_ne_bytes()).expect("it has room");
        }
    });
    let mut events: Vec<Event> = Vec::with_capacity(8);
    for i in 1..=n + n / 10 {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).expect("it waits");
        answered.store(i, Ordering::Release);
        thread.thread().unpark();
    }
    thread.join().expect("it only waits")
}

/// A sleeping loop is woken, answers, and sleeps again.
pub fn round_trips(bench: &mut Bench) {
    let here = runtimes();
    for (cpu, name, n, goals) in [
        (
            0,
            "same processor",
            bench.pick(10, 2_000, 10_000),
            &[Goal::AtMost(3_600.0), Goal::Ahead][..],
        ),
        (
            1,
            "other processor",
            bench.pick(10, 500, 2_000),
            &[Goal::Ahead],
        ),
    ] {
        roles::pin(0);
        let entries = vec![
            Entry::inside(Kind::Ours, "trefoil", n, 1, |n| {
                round_trips_of(n, cpu, |future| here.ours.block_on(future))
            }),
            Entry::inside(Kind::Peer, "tokio", n, 1, |n| {
                round_trips_of(n, cpu, |future| here.on_tokio(future))
            }),
            Entry::inside(Kind::Peer, "smol", n, 1, |n| {
                round_trips_of(n, cpu, |future| here.on_smol(future))
            }),
            Entry::inside(Kind::Peer, "futures, LocalPool", n, 1, |n| {
                round_trips_of(n, cpu, |future| here.on_pool(future))
            }),
            Entry::inside(Kind::Floor, "raw epoll + eventfd", n, 1, |n| raw(n, cpu)),
        ];
        let measured = bench.measure(bench.few_rounds(), entries);
        roles::unpin();
        let name = format!("round trip to a sleeping loop, {name}");
        bench.report(Row::new(name, Unit::Us, goals), &measured);
    }
}

/// From the first message sent by another thread to the last one received here.
fn from_a_thread<S: Send + 'static>(
    send: S,
    work: impl FnOnce(S) + Send + 'static,
    drive: impl FnOnce(),
) -> Duration {
    let begin = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let begin = begin.clone();
        move || {
            while !begin.load(Ordering::Acquire) {
                thread::park();
            }
            work(send);
        }
    });
    begin.store(true, Ordering::Release);
    let start = Instant::now();
    thread.thread().unpark();
    drive();
    let time = start.elapsed();
    thread.join().expect("it only sends");
    time
}

/// Each by its own channel.
pub fn messages(bench: &mut Bench) {
    let n = bench.pick(100, 100_000, 1_000_000);
    let here = runtimes();
    let entries = vec![
        Entry::inside(Kind::Ours, "trefoil", n, 1, |n| {
            let (sender, receiver) = trefoil::sync::channel::unbounded();
            let send = move |sender: trefoil::sync::channel::Sender<u64>| {
                (0..n).for_each(|i| sender.try_send(i).expect("it is unbounded"));
            };
            from_a_thread(sender, send, || {
                here.ours
                    .block_on(async { while receiver.recv().await.is_ok() {} });
            })
        }),
        Entry::inside(Kind::Peer, "tokio", n, 1, |n| {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            let send = move |sender: tokio::sync::mpsc::UnboundedSender<u64>| {
                (0..n).for_each(|i| sender.send(i).expect("it is received"));
            };
            from_a_thread(sender, send, || {
                here.on_tokio(async { while receiver.recv().await.is_some() {} });
            })
        }),
        Entry::inside(Kind::Peer, "smol", n, 1, |n| {
            let (sender, receiver) = smol::channel::unbounded();
            let send = move |sender: smol::channel::Sender<u64>| {
                (0..n).for_each(|i| sender.try_send(i).expect("it is unbounded"));
            };
            from_a_thread(sender, send, || {
                here.on_smol(async { while receiver.recv().await.is_ok() {} });
            })
        }),
        Entry::inside(Kind::Peer, "futures, LocalPool", n, 1, |n| {
            let (sender, mut receiver) = futures::channel::mpsc::unbounded();
            let send = move |sender: futures::channel::mpsc::UnboundedSender<u64>| {
                (0..n).for_each(|i| sender.unbounded_send(i).expect("it is received"));
            };
            from_a_thread(sender, send, || {
                here.on_pool(async { while receiver.next().await.is_some() {} });
            })
        }),
        Entry::inside(Kind::Floor, "std mpsc, a thread that blocks", n, 1, |n| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let send = move |sender: std::sync::mpsc::Sender<u64>| {
                (0..n).for_each(|i| sender.send(i).expect("it is received"));
            };
            from_a_thread(sender, send, || while receiver.recv().is_ok() {})
        }),
    ];
    let measured = bench.measure(bench.few_rounds(), entries);
    let name = format!("{n} messages from another thread, each");
    let goals: &[Goal] = &[Goal::AtMost(50.0), Goal::Ahead];
    bench.report(Row::new(name, Unit::Ns, goals), &measured);
}

/// Counts to `n`, then rings. Only the loop writes to it.
struct Count {
    left: AtomicU64,
    bell: Bell,
}

impl Count {
    /// Never freed: a shared reference count would cost more than some spawns.
    fn new(n: u64) -> &'static Self {
        Box::leak(Box::new(Self {
            left: AtomicU64::new(n),
            bell: Bell::default(),
        }))
    }

    fn down(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.bell.rung.store(1, Ordering::Release);
            self.bell.waker.wake();
        }
    }
}

/// Tasks, each run once on the loop.
pub fn spawns(bench: &mut Bench) {
    let n = bench.pick(100, 100_000, 1_000_000);
    let here = runtimes();
    let executor: &'static smol::Executor<'static> = Box::leak(Box::new(smol::Executor::new()));
    let entries = vec![
        Entry::inside(Kind::Ours, "trefoil", n, 1, |n| {
            let count = Count::new(n);
            let send = move |handle: trefoil::LoopHandle| {
                for _ in 0..n {
                    handle.spawn(async move { count.down() }).detach();
                }
            };
            from_a_thread(here.ours.handle(), send, || {
                here.ours.block_on(Heard(&count.bell, 1));
            })
        }),
        Entry::inside(Kind::OursToo, "trefoil, call_soon", n, 1, |n| {
            let count = Count::new(n);
            let send = move |handle: trefoil::LoopHandle| {
                for _ in 0..n {
                    handle.call_soon(move || count.down()).detach();
                }
            };
            from_a_thread(here.ours.handle(), send, || {
                here.ours.block_on(Heard(&count.bell, 1));
            })
        }),
        Entry::inside(Kind::Peer, "tokio", n, 1, |n| {
            let count = Count::new(n);
            let send = move |handle: tokio::runtime::Handle| {
                for _ in 0..n {
                    handle.spawn(async move { count.down() });
                }
            };
            from_a_thread(here.tokio.handle().clone(), send, || {
                here.on_tokio(Heard(&count.bell, 1));
            })
        }),
        Entry::inside(Kind::Peer, "smol", n, 1, |n| {
            let count = Count::new(n);
            let send = move |executor: &'static smol::Executor<'static>| {
                for _ in 0..n {
                    executor.spawn(async move { count.down() }).detach();
                }
            };
            from_a_thread(executor, send, || {
                smol::block_on(executor.run(Heard(&count.bell, 1)));
            })
        }),
    ];
    let measured = bench.measure(bench.few_rounds(), entries);
    let name = format!("{n} spawns from another thread, each");
    let goals: &[Goal] = &[Goal::AtMost(50.0), Goal::Ahead];
    bench.report(Row::new(name, Unit::Ns, goals), &measured);
}
