//! No part of a task starves the others, nor the loop.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use trefoil::io::UdpSocket;
#[cfg(unix)]
use trefoil::io::{Signal, UnixStream};
use trefoil::time::{interval_at, now, timeout};
use trefoil::{TaskGroup, run, spawn, yield_now};

use crate::support::within_deadline;

type Part = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A socket that can always send, to itself.
async fn sender() -> (Arc<UdpSocket>, std::net::SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (Arc::new(socket), address)
}

/// One part sends, the other one receives: how much of it before the first has ended.
async fn received(join: impl AsyncFnOnce(Part, Part)) -> (u32, u32) {
    const COUNT: u32 = 20_000;
    let ((near, _), (far, to)) = (sender().await, sender().await);
    let (count, meanwhile) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (counted, seen) = (count.clone(), meanwhile.clone());
    let over = Arc::new(AtomicBool::new(false));
    let end = over.clone();
    let send = async move {
        for _ in 0..COUNT {
            near.send_to(&[7; 100], to).await.unwrap();
        }
        seen.store(counted.load(Relaxed), Relaxed);
        while !over.load(Relaxed) {
            let _ = near.send_to(b"end", to).await; // it may be lost
            yield_now().await;
        }
    };
    let receive = async move {
        let mut bytes = [0; 128];
        while far.recv(&mut bytes).await.unwrap() != 3 {
            count.fetch_add(1, Relaxed);
        }
        end.store(true, Relaxed);
    };
    join(Box::pin(send), Box::pin(receive)).await;
    (meanwhile.load(Relaxed), COUNT)
}

#[test]
fn a_sender_does_not_starve_the_receiver_in_its_task() {
    within_deadline(|| {
        run(async {
            async fn check(how: &str, join: impl AsyncFnOnce(Part, Part)) {
                let (received, sent) = received(join).await;
                assert!(received > sent / 2, "{how}: {received} of {sent}");
            }
            check("join!", async |a, b| _ = trefoil::join!(a, b)).await;
            check("TaskGroup", async |a, b| {
                let mut group = TaskGroup::new();
                group.add_future(a);
                group.add_future(b);
                group.try_join_all().await.unwrap();
            })
            .await;
            check("futures::join!", async |a, b| _ = futures::join!(a, b)).await;
            check("futures::join_all", async |a, b| {
                futures::future::join_all([a, b]).await;
            })
            .await;
            check("FuturesUnordered", async |a, b| {
                let mut parts = FuturesUnordered::from_iter([a, b]);
                while parts.next().await.is_some() {}
            })
            .await;
        });
    });
}

/// A result that was there in time is not lost because another part of the task was served first.
#[test]
fn a_timeout_does_not_expire_for_want_of_budget() {
    within_deadline(|| {
        run(async {
            let ((near, to), (far, there)) = (sender().await, sender().await);
            far.send_to(b"waits", there).await.unwrap();
            let done = Cell::new(false);
            let send = async {
                while !done.get() {
                    near.send_to(b"x", to).await.unwrap();
                }
            };
            let limited = async {
                let mut bytes = [0; 8];
                let received = timeout(Duration::ZERO, far.recv(&mut bytes)).await;
                assert!(matches!(received, Ok(Ok(5))), "{received:?}");
                // Now with the socket on which the other part has used up what it may.
                for _ in 0..10 {
                    let sent = timeout(Duration::ZERO, near.send_to(b"y", to)).await;
                    assert!(matches!(sent, Ok(Ok(1))), "{sent:?}");
                }
                done.set(true);
            };
            futures::join!(send, limited);
        });
    });
}

/// In `join!` no part comes always first.
#[test]
fn two_senders_share_one_socket() {
    within_deadline(|| {
        run(async {
            let (socket, to) = sender().await;
            let sent = [Cell::new(0_u32), Cell::new(0)];
            let part = async |own: usize| {
                while sent[0].get() + sent[1].get() < 20_000 {
                    socket.send_to(b"x", to).await.unwrap();
                    sent[own].set(sent[own].get() + 1);
                }
            };
            trefoil::join!(part(0), part(1));
            let [first, second] = sent.map(Cell::into_inner);
            assert!(second > first / 2, "{first} and {second}");
        });
    });
}

/// The branches behind one that is always ready get their turn.
#[cfg(unix)]
#[test]
fn an_always_ready_branch_does_not_starve_those_behind_it() {
    use rustix::process::{getpid, kill_process};
    const ROUNDS: u32 = 10_000;
    macro_rules! comes {
        ($select:path, $near:ident, $to:ident, $other:expr) => {{
            let mut came = false;
            for _ in 0..ROUNDS {
                $select! {
                    sent = $near.send_to(b"x", $to) => _ = sent.unwrap(),
                    _ = $other => came = true,
                }
                if came {
                    break;
                }
            }
            assert!(came, "{} starves", stringify!($other));
        }};
    }
    crate::support::alone(
        "budget::an_always_ready_branch_does_not_starve_those_behind_it",
        "",
        || {
            run(async {
                let ((near, to), (other, there)) = (sender().await, sender().await);
                let signal = Signal::new(Signal::USR1).unwrap();
                kill_process(getpid(), rustix::process::Signal::USR1).unwrap();
                let mut beat = interval_at(now(), Duration::from_secs(3600));
                let (readable, writer) = UnixStream::pair().unwrap();
                writer.write_all(b"!").await.unwrap();
                let mut byte = [0];
                comes!(trefoil::select, near, to, beat.tick());
                comes!(trefoil::select, near, to, signal.recv());
                comes!(trefoil::select, near, to, readable.readable());
                comes!(trefoil::select, near, to, readable.read(&mut byte));
                comes!(trefoil::select, near, to, other.send_to(b"y", there));
            });
        },
    );
}

/// Where the loop will not poll again before the operation is done, it must not be refused for
/// ever.
#[test]
fn another_executor_inside_a_task_gets_on() {
    within_deadline(|| {
        run(async {
            let ((near, to), (other, there)) = (sender().await, sender().await);
            const COUNT: u32 = 1_000;
            let many = async |socket: &UdpSocket, to| {
                for _ in 0..COUNT {
                    socket.send_to(b"x", to).await.unwrap();
                }
            };
            // Counted before it is trusted.
            let mut sending = pin!(many(&near, to));
            let mut polls = 1;
            let mut cx = Context::from_waker(Waker::noop());
            while sending.as_mut().poll(&mut cx).is_pending() {
                polls += 1;
                assert!(polls < 3 * COUNT, "it spins");
            }
            futures::executor::block_on(async {
                futures::join!(many(&near, to), many(&other, there));
                futures::join!(many(&near, to), many(&near, to));
                for _ in 0..COUNT {
                    poll_fn(|cx| near.poll_writable(cx)).await.unwrap();
                }
                let mut parts = FuturesUnordered::from_iter([many(&near, to), many(&other, there)]);
                while parts.next().await.is_some() {}
            });
        });
    });
}

/// How many operations a task does before another one runs.
async fn in_one_poll(task: impl AsyncFn(Rc<dyn Fn()>)) -> u32 {
    let (count, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let counted = count.clone();
    let one: Rc<dyn Fn()> = Rc::new(move || {
        counted.set(counted.get() + 1);
        assert!(counted.get() < 10_000, "the poll does not end");
    });
    let note = seen.clone();
    let mut busy = pin!(task(one));
    poll_fn(|cx| {
        let (note, count) = (note.clone(), count.clone());
        if note.get().is_none() {
            assert!(busy.as_mut().poll(cx).is_pending());
            note.set(Some(count.get()));
        }
        Poll::Ready(())
    })
    .await;
    seen.get().unwrap()
}

/// Operations on the same socket, each made anew when it has ended.
#[test]
fn a_task_that_asks_one_socket_in_many_ways_lets_others_run() {
    within_deadline(|| {
        run(async {
            let (socket, to) = sender().await;
            let send = || socket.send_to(b"x", to);
            let count = in_one_poll(async |one| {
                loop {
                    trefoil::select! {
                        sent = send() => _ = sent.unwrap(),
                        sent = send() => _ = sent.unwrap(),
                    }
                    one();
                }
            });
            assert!(count.await < 300);
            let count = in_one_poll(async |one| {
                let mut sends = FuturesUnordered::from_iter((0..10).map(|_| send()));
                while let Some(sent) = sends.next().await {
                    sent.unwrap();
                    sends.push(send());
                    one();
                }
            });
            assert!(count.await < 300);
            let count = in_one_poll(async |one| {
                let ready = std::future::ready;
                let mut pinned = Box::pin(send());
                for free in 0..100 {
                    loop {
                        trefoil::select! {
                            sent = &mut pinned => {
                                sent.unwrap();
                                pinned = Box::pin(send());
                            }
                            () = ready(()) => break, // such as a channel that is never empty
                        }
                        one();
                    }
                    assert!(free < 100);
                }
                pending::<()>().await;
            });
            assert!(count.await < 300);
        });
    });
}

#[test]
fn a_task_with_many_ready_sockets_lets_others_run() {
    const SOCKETS: u32 = 300;
    async fn sockets() -> Vec<(Arc<UdpSocket>, std::net::SocketAddr)> {
        let mut sockets = Vec::new();
        for _ in 0..SOCKETS {
            sockets.push(spawn(sender()).await.unwrap());
        }
        sockets
    }
    within_deadline(|| {
        run(async {
            // Each socket in a part of its own: each has its turn.
            let all = sockets().await;
            let served: Vec<Cell<u32>> = all.iter().map(|_| Cell::new(0)).collect();
            let count = in_one_poll(async |one| {
                let parts = all.iter().zip(&served).map(async |((socket, to), served)| {
                    loop {
                        socket.send_to(b"x", to).await.unwrap();
                        served.set(served.get() + 1);
                        one();
                    }
                });
                let mut parts = parts.map(Box::pin).collect::<Vec<_>>();
                poll_fn(|cx| {
                    for part in &mut parts {
                        let _: Poll<()> = part.as_mut().poll(cx);
                    }
                    Poll::<()>::Pending
                })
                .await;
            })
            .await;
            assert!(served.iter().all(|served| served.get() > 0));
            assert!(count < 900, "{count} operations in one poll");
            // All in one `select`, again and again.
            let all = sockets().await;
            let count = in_one_poll(async |one| {
                loop {
                    let sends = all
                        .iter()
                        .map(|(socket, to)| Box::pin(socket.send_to(b"x", to)));
                    futures::future::select_all(sends).await.0.unwrap();
                    one();
                }
            })
            .await;
            assert!(count < 900, "{count} operations in one poll");
        });
    });
}
