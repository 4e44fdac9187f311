//! Loops as a whole: without descriptors, thousands of them, on every kind of thread, and how they
//! end.

use std::future::pending;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use trefoil::io::{TcpListener, TcpStream};
use trefoil::time::{sleep, timeout};
use trefoil::{EventLoop, TaskError, ThreadPool, run, spawn, yield_now};

use crate::support::{LONG, alone, count_fds, pair, panic_message, wait_until, within_deadline};

fn all_threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_loop_without_descriptors_is_an_error() {
    alone(
        "loops::a_loop_without_descriptors_is_an_error",
        "ulimit -n 32",
        || {
            let mut taken = Vec::new();
            loop {
                match std::fs::File::open("/dev/null") {
                    Ok(file) => taken.push(file),
                    Err(error) => break assert_eq!(error.raw_os_error(), Some(24)),
                }
            }
            // No descriptor, then one of the three, then two.
            for room in 0..3 {
                taken.truncate(taken.len() - room.min(1));
                let error = EventLoop::new().unwrap_err();
                assert_eq!(error.raw_os_error(), Some(24));
                let words = panic_message(|| run(async {}));
                assert!(
                    words.contains("trefoil::run") && words.contains("24"),
                    "{words}"
                );
                let left: Vec<_> =
                    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
                assert_eq!(left.len(), room, "nothing was kept");
            }
            taken.pop();
            run(async {
                // The loop runs, and every operation that needs another descriptor fails with a
                // message.
                for _ in 0..3 {
                    let error = TcpListener::bind("127.0.0.1:0").await.unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(24));
                    let error = TcpStream::connect("127.0.0.1:9").await.unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(24));
                }
                sleep(Duration::from_millis(1)).await;
            });
        },
    );
}

#[test]
fn thousands_of_loops_one_after_another_and_many_at_once() {
    alone(
        "loops::thousands_of_loops_one_after_another_and_many_at_once",
        "ulimit -n 4096",
        || {
            run(async {});
            let (fds, threads) = (count_fds(), all_threads());
            for _ in 0..3000 {
                let event_loop = EventLoop::new().unwrap();
                let task = event_loop.handle().spawn(pending::<()>());
                event_loop.block_on(yield_now());
                drop(event_loop);
                assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            }
            // (A thread is listed for a moment after it was joined.)
            let nothing_left = || count_fds() <= fds && all_threads() <= threads;
            wait_until("the end of the loops", nothing_left);
            // All loops are on one thread, and each awaits a task of the previous one.
            let loops: Vec<_> = (0..500).map(|_| EventLoop::new().unwrap()).collect();
            let mut chain = loops[0].handle().spawn(async { 0 });
            for event_loop in &loops[1..] {
                chain = event_loop
                    .handle()
                    .spawn(async move { chain.await.unwrap() + 1 });
            }
            for event_loop in &loops {
                event_loop.block_on(yield_now());
            }
            assert_eq!(chain.join().unwrap(), 499);
            drop(loops);
            wait_until("the end of the loops", nothing_left);
        },
    );
}

#[test]
fn a_loop_that_goes_while_others_hold_its_tasks() {
    within_deadline(|| {
        for _ in 0..50 {
            let (out, held) = mpsc::channel();
            let looping = thread::spawn(move || {
                run(async move {
                    let (near, far) = pair().await;
                    out.send(trefoil::LoopHandle::current().spawn(async move {
                        let _far = far;
                        near.read(&mut [0]).await.map(drop)
                    }))
                    .unwrap();
                    yield_now().await;
                });
            });
            // A thread waits for it; it ends with its loop.
            let task = held.recv().unwrap();
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            looping.join().unwrap();
        }
    });
}

#[test]
fn loops_within_every_kind_of_thread() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        // On a worker, which awaits work of its own pool.
        let sum = pool.spawn(|| {
            run(async {
                let pool = ThreadPool::with_threads(1);
                let inner = pool.spawn(|| run(async { spawn(async { 20 }).await.unwrap() }));
                inner.await.unwrap() + 1
            })
        });
        assert_eq!(sum.join().unwrap(), 21);
        // Both sides of a join, each with a loop.
        let (a, b) = pool.join(
            || run(async { 1 }),
            || {
                run(async {
                    sleep(Duration::ZERO).await;
                    2
                })
            },
        );
        assert_eq!(a + b, 3);
        // In a callback, on the thread that ends a task; there, too, the loop ends before the code
        // after it runs.
        let (completer, task) = trefoil::Completer::new();
        let (tell, told) = mpsc::channel();
        task.on_done(move |_| tell.send(run(async { 5 })).unwrap());
        thread::spawn(move || completer.complete(Ok(())))
            .join()
            .unwrap();
        assert_eq!(told.recv().unwrap(), 5);
        // On the thread of a running loop it is refused with a message, and the running loop is not
        // affected.
        run(async {
            let nested = spawn(async { run(async {}) }).await;
            assert!(
                matches!(nested, Err(TaskError::Panicked(panic)) if panic.message().contains("trefoil::run"))
            );
            // But a loop may run on a thread whose task this loop awaits.
            assert_eq!(pool.spawn(|| run(async { 6 })).await.unwrap(), 6);
        });
    });
}

/// A loop in a thread-local ends with its thread.
#[test]
fn a_loop_that_ends_among_the_last_things_of_its_thread() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<EventLoop>> = const { std::cell::RefCell::new(None) };
    }
    within_deadline(|| {
        for first in [false, true] {
            let (tell, told) = mpsc::channel();
            let (out, handles) = mpsc::channel();
            thread::spawn(move || {
                if first {
                    KEPT.set(None);
                }
                let event_loop = EventLoop::new().unwrap();
                event_loop.block_on(async {
                    let guard = crate::support::Dropped(tell);
                    let (near, far) = pair().await;
                    spawn(async move {
                        let _guard = (guard, far);
                        let _ = timeout(LONG, near.read(&mut [0])).await;
                        sleep(LONG).await;
                    })
                    .detach();
                    yield_now().await;
                });
                out.send(event_loop.handle()).unwrap();
                KEPT.set(Some(event_loop));
            })
            .join()
            .unwrap();
            assert!(told.recv().is_ok());
            let handle = handles.recv().unwrap();
            assert!(matches!(
                handle.spawn(async {}).join(),
                Err(TaskError::Closed)
            ));
        }
    });
}
