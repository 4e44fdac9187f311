//! No task starves the others.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use trefoil::io::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use trefoil::io::{UnixDatagram, UnixListener, UnixStream};
use trefoil::time::{interval, sleep, sleep_until, timeout};
use trefoil::{EventLoop, LoopHandle, Task, run, spawn, yield_now};

use crate::support::{LONG, pair, within_deadline};

/// A future that wakes itself in every poll, without help from the loop.
async fn selfish() {
    std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    })
    .await;
}

#[test]
fn always_ready_tasks_do_not_starve_others() {
    within_deadline(|| {
        run(async {
            let mut greedy: Vec<Task<()>> = (0..4).map(|_| spawn(selfish())).collect();
            // A socket that always has something to read, and one that can always be written to.
            let (near, far) = pair().await;
            greedy.push(spawn(async move {
                let bytes = [0; 1];
                while near.write_all(&bytes).await.is_ok() {}
            }));
            let eaten = Rc::new(Cell::new(0_u64));
            let count = eaten.clone();
            greedy.push(spawn(async move {
                let mut byte = [0];
                while far.read(&mut byte).await.is_ok_and(|n| n > 0) {
                    count.set(count.get() + 1);
                }
            }));
            greedy.push(spawn(async {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let address = socket.local_addr().unwrap();
                loop {
                    let _ = socket.send_to(b"x", address).await;
                }
            }));
            greedy.push(spawn(async {
                let mut beat = interval(Duration::from_nanos(1));
                loop {
                    beat.tick().await;
                }
            }));
            greedy.push(spawn(async {
                loop {
                    sleep(Duration::ZERO).await;
                }
            }));
            // Timers, sockets, other threads and the root future get their turns.
            let start = Instant::now();
            for _ in 0..20 {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(start.elapsed() < LONG / 4, "{:?}", start.elapsed());
            let (near, far) = pair().await;
            spawn(crate::support::echo(far)).detach();
            for n in 0..50 {
                let mut byte = [0];
                near.write_all(&[n]).await.unwrap();
                near.read_exact(&mut byte).await.unwrap();
            }
            let handle = LoopHandle::current();
            let other = thread::spawn(move || {
                (0..50)
                    .map(|_| handle.call_soon(|| 1).join().unwrap())
                    .sum::<i32>()
            });
            while !other.is_finished() {
                yield_now().await;
            }
            assert_eq!(other.join().unwrap(), 50);
            assert!(eaten.get() > 0, "they, too, get on");
            for task in greedy {
                task.cancel();
            }
        });
    });
}

/// A task that waits for nothing, but is woken from other threads all the time.
#[test]
fn a_storm_of_wakers_from_other_threads_starves_no_task() {
    within_deadline(|| {
        run(async {
            let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let storms: Vec<_> = (0..2)
                .map(|_| {
                    let (waker, over) = (waker.clone(), over.clone());
                    let handle = LoopHandle::current();
                    thread::spawn(move || {
                        let mut sent = 0_u64;
                        while !over.load(std::sync::atomic::Ordering::Relaxed) {
                            waker.wake_by_ref();
                            handle.call_soon(|| ()).detach();
                            sent += 1;
                            if sent.is_multiple_of(1000) {
                                // So that the queue does not grow without end.
                                let _ = handle.call_soon(|| ()).join();
                            }
                        }
                    })
                })
                .collect();
            let start = Instant::now();
            for _ in 0..10 {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(start.elapsed() < LONG / 2);
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            while storms.iter().any(|storm| !storm.is_finished()) {
                yield_now().await;
            }
            for storm in storms {
                storm.join().unwrap();
            }
        });
    });
}

#[test]
fn tasks_that_spawn_for_ever_do_not_delay_the_end_of_a_loop() {
    /// Spawns another one of itself whenever it is dropped or polled.
    struct Hydra(Rc<Cell<u32>>, LoopHandle);
    impl Drop for Hydra {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            for _ in 0..2 {
                let again = Hydra(self.0.clone(), self.1.clone());
                // The spawn is refused: to avoid endless recursion, the future is forgotten.
                let again = std::mem::ManuallyDrop::new(again);
                let task = spawn(async move {
                    let _again = again;
                    std::future::pending::<()>().await;
                });
                assert!(task.is_finished());
                task.detach();
            }
        }
    }
    within_deadline(|| {
        let cut = Rc::new(Cell::new(0));
        let start = Instant::now();
        run(async {
            for _ in 0..100 {
                let hydra = Hydra(cut.clone(), LoopHandle::current());
                spawn(async move {
                    let _hydra = hydra;
                    // Each spawns another one, which does the same.
                    fn beget() -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
                        Box::pin(async {
                            spawn(beget()).detach();
                            selfish().await;
                        })
                    }
                    spawn(beget()).detach();
                    selfish().await;
                })
                .detach();
            }
            sleep(Duration::from_millis(5)).await;
        });
        assert_eq!(cut.get(), 100);
        assert!(start.elapsed() < LONG / 2);
    });
}

/// After each long poll the loop checks timers and sockets.
#[test]
fn no_task_waits_for_many_long_polls() {
    within_deadline(|| {
        run(async {
            const LONG_POLL: Duration = Duration::from_millis(2);
            let polls = Rc::new(Cell::new(0_u32));
            let count = polls.clone();
            let busy = spawn(async move {
                loop {
                    let start = Instant::now();
                    while start.elapsed() < LONG_POLL {}
                    count.set(count.get() + 1);
                    yield_now().await;
                }
            });
            let (near, far) = pair().await;
            // Until the loop knows that they are long.
            while polls.get() < 20 {
                yield_now().await;
            }
            for _ in 0..10 {
                let before = polls.get();
                sleep(LONG_POLL / 2).await;
                assert!(polls.get() - before <= 3, "{}", polls.get() - before);
                let before = polls.get();
                let mut byte = [0];
                let mut reader = std::pin::pin!(far.read(&mut byte));
                let waits =
                    std::future::poll_fn(|cx| Poll::Ready(reader.as_mut().poll(cx).is_pending()));
                assert!(waits.await);
                near.write_all(b"x").await.unwrap();
                reader.await.unwrap();
                assert!(polls.get() - before <= 3, "{}", polls.get() - before);
            }
            busy.cancel();
        });
    });
}

/// A task that retries an operation which fails at once, or never waits: only the event loop can
/// end it.
#[cfg(unix)]
#[test]
fn a_task_that_retries_at_once_can_be_timed_out() {
    async fn for_ever<R>(mut again: impl AsyncFnMut() -> R) {
        loop {
            let _ = again().await;
        }
    }
    within_deadline(|| {
        run(async {
            let nowhere = std::env::temp_dir().join("there is nothing here");
            let socket = UnixDatagram::unbound().unwrap();
            let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let taken = &taken.local_addr().unwrap();
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let soon = Duration::from_millis(5);
            macro_rules! tries {
                ($($call:expr),*) => { $(
                    assert!(timeout(soon, for_ever(async || $call.await)).await.is_err());
                )* };
            }
            tries!(
                socket.send_to(b"x", &nowhere),
                socket.connect(&nowhere),
                UnixDatagram::bind(nowhere.join("nor here")),
                UnixListener::bind(nowhere.join("nor here")),
                UnixStream::connect(&nowhere),
                TcpListener::bind(taken),
                TcpStream::connect("255.255.255.255:1"),
                UdpSocket::bind("192.0.2.1:1"),
                udp.connect("127.0.0.1:1")
            );
        });
    });
}

#[test]
fn ten_thousand_due_timers_starve_no_task() {
    within_deadline(|| {
        let events = EventLoop::builder().virtual_time().build().unwrap();
        events.block_on(async {
            let (gone_off, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
            let sleepers: Vec<Task<()>> = (0..10_000)
                .map(|_| {
                    let (gone_off, seen) = (gone_off.clone(), seen.clone());
                    spawn(async move {
                        sleep(LONG).await;
                        if gone_off.replace(gone_off.get() + 1) == 0 {
                            let late = async move { seen.set(Some(gone_off.get())) };
                            spawn(late).detach();
                        }
                    })
                })
                .collect();
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
            let before_it = seen.get().unwrap();
            assert!(before_it < 1_000, "{before_it} timers came before it");
        });
    });
}

#[test]
fn timers_that_are_due_get_on_beside_long_polls() {
    within_deadline(|| {
        run(async {
            let polls = Rc::new(Cell::new(0));
            let soon = Instant::now() + Duration::from_millis(20);
            let sleepers: Vec<Task<u32>> = (0..1_000)
                .map(|_| {
                    let polls = polls.clone();
                    spawn(async move {
                        sleep_until(soon).await;
                        polls.get()
                    })
                })
                .collect();
            let long = || {
                let polls = polls.clone();
                spawn(async move {
                    loop {
                        let begun = Instant::now();
                        while begun.elapsed() < Duration::from_micros(500) {}
                        polls.set(polls.get() + 1);
                        yield_now().await;
                    }
                })
                .cancel_on_drop()
            };
            let _long: Vec<_> = (0..100).map(|_| long()).collect();
            let mut seen = Vec::new();
            for sleeper in sleepers {
                seen.push(sleeper.await.unwrap());
            }
            let between = seen.iter().max().unwrap() - seen.iter().min().unwrap();
            assert!(
                between < 250,
                "{between} long polls between the first and the last"
            );
        });
    });
}
