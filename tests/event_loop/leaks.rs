//! That nothing is left behind: wakers, wake-ups, descriptors, threads.

use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use trefoil::io::TcpListener;
use trefoil::time::{interval, sleep, sleep_until, timeout};
use trefoil::{Completer, run, spawn, yield_now};

use crate::support::{LONG, alone, count_fds, echo, pair, wait_until, within_deadline};

/// How often the thread was switched away from so far, voluntarily or not.
fn switches(task: &str) -> u64 {
    std::fs::read_to_string(format!("/proc/self/task/{task}/status"))
        .unwrap()
        .lines()
        .filter(|line| line.contains("voluntary_ctxt_switches:"))
        .filter_map(|line| line.split(':').nth(1))
        .map(|count| count.trim().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn an_idle_loop_is_woken_by_nothing() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = Completer::<()>::new();
        let looping = thread::spawn(move || {
            run(async {
                let me = std::fs::read_link("/proc/thread-self").unwrap();
                tell.send(me.file_name().unwrap().to_str().unwrap().to_owned())
                    .unwrap();
                // An idle server: a listener, a connection, and a distant deadline.
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let (near, _far) = pair().await;
                spawn(async move { listener.accept().await.map(drop) }).detach();
                spawn(async move { near.read(&mut [0; 8]).await }).detach();
                spawn(sleep(LONG)).detach();
                spawn(sleep(Duration::MAX)).detach();
                spawn(sleep_until(Instant::now() + Duration::from_secs(1 << 40))).detach();
                spawn(async {
                    let mut beat = interval(Duration::MAX);
                    beat.tick().await;
                    beat.tick().await;
                })
                .detach();
                let _ = stopped.await;
            });
        });
        let task = told.recv().unwrap();
        // There must soon be a window in which the thread does not run once.
        wait_until("300 ms of nothing", || {
            let before = switches(&task);
            thread::sleep(Duration::from_millis(300));
            switches(&task) == before
        });
        let settled = switches(&task);
        thread::sleep(Duration::from_millis(300));
        assert_eq!(switches(&task), settled);
        stop.complete(Ok(()));
        looping.join().unwrap();
    });
}

/// A waker with a count, which shows whether a dropped future has left a clone.
fn counted_waker() -> (Arc<AtomicUsize>, Waker) {
    struct Counted(Arc<AtomicUsize>);
    impl std::task::Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let woken = Arc::new(AtomicUsize::new(0));
    (woken.clone(), Waker::from(Arc::new(Counted(woken))))
}

#[test]
fn dropped_futures_leave_no_waker_behind() {
    within_deadline(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (near, _far) = pair().await;
            let mut buffer = [0; 8];
            for on_another_thread in [false, true] {
                let (woken, waker) = counted_waker();
                let cx = &mut Context::from_waker(&waker);
                let mut accept = Box::pin(listener.accept());
                let mut read = Box::pin(near.read(&mut buffer));
                let mut pause = Box::pin(sleep(LONG));
                let mut limit = Box::pin(timeout(LONG, pending::<()>()));
                for _ in 0..2 {
                    assert!(accept.as_mut().poll(cx).is_pending());
                    assert!(read.as_mut().poll(cx).is_pending());
                    assert!(pause.as_mut().poll(cx).is_pending());
                    assert!(limit.as_mut().poll(cx).is_pending());
                }
                if on_another_thread {
                    thread::scope(|scope| {
                        scope.spawn(move || drop((accept, read, pause, limit)));
                    });
                    // The loop reads the notes in its next turns.
                    yield_now().await;
                    yield_now().await;
                } else {
                    drop((accept, read, pause, limit));
                }
                drop(waker);
                assert_eq!(
                    Arc::strong_count(&woken),
                    1,
                    "another thread: {on_another_thread}"
                );
                assert_eq!(woken.load(SeqCst), 0);
            }
        });
    });
}

#[test]
fn waiters_for_a_loop_that_ends_are_woken() {
    within_deadline(|| {
        let (woken, waker) = counted_waker();
        let mut moved = Box::pin(timeout(LONG, pending::<()>()));
        let listener = run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let cx = &mut Context::from_waker(&waker);
            assert!(moved.as_mut().poll(cx).is_pending());
            let mut accept = Box::pin(listener.accept());
            assert!(accept.as_mut().poll(cx).is_pending());
            // This one is never dropped: this loop will not poll it again.
            std::mem::forget(accept);
            listener
        });
        assert_eq!(woken.load(SeqCst), 2);
        drop(listener);
    });
}

#[test]
fn a_hundred_loops_leave_nothing() {
    alone("leaks::a_hundred_loops_leave_nothing", "", || {
        run(async {});
        let (fds, threads) = (
            count_fds(),
            std::fs::read_dir("/proc/self/task").unwrap().count(),
        );
        for _ in 0..100 {
            run(async {
                let (near, far) = pair().await;
                spawn(echo(far)).detach();
                near.write_all(b"x").await.unwrap();
                near.read_exact(&mut [0]).await.unwrap();
                spawn(async move {
                    sleep(LONG).await;
                    drop(near);
                })
                .detach();
                yield_now().await;
            });
        }
        assert_eq!(count_fds(), fds);
        assert_eq!(
            std::fs::read_dir("/proc/self/task").unwrap().count(),
            threads
        );
    });
}
