//! The edges of a loop: too much to wait for, the end of time, wakers that panic or come late.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use trefoil::io::TcpListener;
use trefoil::time::{interval, sleep, sleep_until, timeout};
use trefoil::{Completer, TaskError, run, spawn, yield_now};

use crate::support::{LONG, asleep, pair, wait_until, within_deadline};

const SOON: Duration = Duration::from_millis(5);

#[test]
fn a_task_may_wait_for_more_than_its_budget() {
    within_deadline(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (near, far) = pair().await;
            let writer = spawn(async move {
                sleep(SOON).await;
                near.write_all(b"x").await.map(|()| near)
            });
            // All of them are polled each time, as a simple `select` does.
            let mut accepts: Vec<_> = (0..1000).map(|_| Box::pin(listener.accept())).collect();
            let mut buffer = [0; 8];
            let mut last = Box::pin(far.read(&mut buffer));
            let mut polls = 0;
            let count = poll_fn(|cx| {
                polls += 1;
                for accept in &mut accepts {
                    assert!(accept.as_mut().poll(cx).is_pending());
                }
                last.as_mut().poll(cx)
            })
            .await
            .unwrap();
            assert_eq!(count, 1);
            assert!(polls < 100, "it spins: {polls}");
            writer.await.unwrap().unwrap();
        });
    });
}

/// The latest time that the clock can represent, to the second.
fn end_of_time() -> Instant {
    let now = Instant::now();
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if now.checked_add(Duration::from_secs(middle)).is_some() {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    now + Duration::from_secs(low)
}

#[test]
fn deadlines_at_the_end_of_time() {
    within_deadline(|| {
        let last = end_of_time();
        run(async move {
            let mut far = vec![
                spawn(sleep(Duration::MAX)),
                spawn(sleep(Duration::MAX)),
                spawn(sleep_until(last)),
                spawn(sleep_until(Instant::now() + Duration::from_secs(1 << 40))),
                spawn(async move {
                    let mut beat = interval(Duration::MAX);
                    beat.tick().await;
                    beat.tick().await;
                }),
                spawn(async move {
                    let forever = timeout(Duration::MAX, std::future::pending::<()>());
                    let _ = forever.await;
                }),
            ];
            // With only these timers the loop sleeps until it is woken...
            let (completer, promise) = Completer::new();
            let this = crate::deadline::this_thread();
            let thread = thread::spawn(move || {
                wait_until("the loop sleeps", || asleep(this));
                completer.complete(Ok(()));
            });
            promise.await.unwrap();
            thread.join().unwrap();
            // ...and earlier timers go off in time.
            sleep(SOON).await;
            assert_eq!(timeout(Duration::MAX, async { 3 }).await.unwrap(), 3);
            for task in &mut far {
                assert!(task.try_join().is_none());
                assert!(task.cancel());
            }
        });
        // The same without a loop, on the timer thread.
        let forever = timeout(Duration::MAX, std::future::pending::<()>());
        let nearly = timeout(
            last.saturating_duration_since(Instant::now()) - LONG,
            std::future::pending::<()>(),
        );
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let _ = tell.send(timeout(SOON, std::future::pending::<()>()).join().is_err());
        });
        thread::spawn(move || forever.join());
        thread::spawn(move || nearly.join());
        assert!(told.recv().unwrap());
        // A deadline that has passed.
        let start = Instant::now();
        assert!(matches!(
            timeout(Duration::ZERO, std::future::pending::<()>()).join(),
            Err(TaskError::TimedOut(_))
        ));
        assert!(start.elapsed() < LONG / 2);
    });
}

/// A waker that panics when it is called, and in its destructor.
struct Nasty;

impl Wake for Nasty {
    fn wake(self: Arc<Self>) {
        panic!("in a waker");
    }
}

impl Drop for Nasty {
    fn drop(&mut self) {
        panic!("in a waker's destructor");
    }
}

#[test]
fn a_loop_survives_foreign_wakers() {
    within_deadline(|| {
        run(async {
            for elsewhere in [false, true] {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let waker = Waker::from(Arc::new(Nasty));
                let cx = &mut Context::from_waker(&waker);
                let mut pause = Box::pin(sleep(if elsewhere { LONG } else { SOON }));
                assert!(pause.as_mut().poll(cx).is_pending());
                let mut accept = Box::pin(listener.accept());
                assert!(accept.as_mut().poll(cx).is_pending());
                if elsewhere {
                    // The last clone of the waker is dropped when the loop handles its notes.
                    drop(waker);
                    thread::scope(|scope| {
                        scope.spawn(move || drop((pause, accept)));
                    });
                    yield_now().await;
                    yield_now().await;
                } else {
                    std::mem::forget(waker);
                    let mut client = std::net::TcpStream::connect(address).unwrap();
                    client.write_all(b"x").unwrap();
                    sleep(SOON * 2).await;
                    std::mem::forget((pause, accept));
                }
            }
            assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        });
    });
}

#[test]
fn many_block_ons_with_wakes_between_them() {
    within_deadline(|| {
        let event_loop = trefoil::EventLoop::new().unwrap();
        let mut kept: Option<Waker> = None;
        for round in 0..1000_u32 {
            let (completer, promise) = Completer::new();
            let waiting = event_loop.handle().spawn(promise);
            event_loop.block_on(yield_now());
            // The previous root future's waker is called on another thread, while the loop does not
            // run.
            let stale = kept.take();
            thread::spawn(move || {
                if let Some(waker) = stale {
                    waker.wake();
                }
                completer.complete(Ok(round));
            })
            .join()
            .unwrap();
            assert_eq!(event_loop.block_on(waiting).unwrap().unwrap(), round);
            kept = Some(event_loop.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone()))));
        }
        drop(event_loop);
        // And after the loop has ended.
        kept.unwrap().wake();
    });
}
