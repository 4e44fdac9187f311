//! The event loop, its timers and its sockets, as their users see them.
//!
//! Everything that could hang has a deadline ([`within_deadline`]). What looks at
//! the whole process (descriptors, threads, limits) runs in a process of its own
//! ([`alone`]).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use trefoil::io::{TcpListener, TcpStream, lookup_host};
use trefoil::time::{MissedTick, interval, sleep, sleep_until, timeout};
use trefoil::{Completer, EventLoop, LoopHandle, Task, TaskError, join_all, run, spawn, yield_now};

const LONG: Duration = Duration::from_secs(60);

/// Runs `f` on a thread of its own; a hang is a failure.
fn within_deadline<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    let worker = thread::spawn(move || {
        let _ = tell.send(f());
    });
    match told.recv_timeout(LONG) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Disconnected) => match worker.join() {
            Err(payload) => resume_unwind(payload),
            Ok(()) => unreachable!(),
        },
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
    }
}

/// Runs `f` in a process in which nothing else runs: this test again, by itself.
/// `prelude` is shell code that comes before.
fn alone(test: &str, prelude: &str, f: impl FnOnce() + Send + 'static) {
    if std::env::var("TREFOIL_ALONE").as_deref() == Ok(test) {
        return within_deadline(f);
    }
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{prelude}\nexec \"$0\" --exact {test} --nocapture --test-threads 1"
        ))
        .arg(std::env::current_exe().unwrap())
        .env("TREFOIL_ALONE", test)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn count_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many threads of this process have this name.
fn count_threads(name: &str) -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter(|task| {
            let comm = task.as_ref().unwrap().path().join("comm");
            std::fs::read_to_string(comm).is_ok_and(|comm| comm.trim_end() == name)
        })
        .count()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "still not: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn panic_message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it must panic");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).into(),
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Notes on which thread it is dropped.
struct Dropped(mpsc::Sender<ThreadId>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (near, far)
}

// Running.

#[test]
fn the_root_future_may_borrow_and_need_not_be_send() {
    within_deadline(|| {
        let words = [String::from("a"), String::from("b")];
        let log = RefCell::new(Vec::new());
        let joined = run(async {
            let rc = Rc::new(1);
            yield_now().await;
            log.borrow_mut().push(*rc);
            words.concat()
        });
        assert_eq!(joined, "ab");
        assert_eq!(log.into_inner(), [1]);
    });
}

#[test]
fn tasks_run_in_the_order_in_which_they_became_ready() {
    within_deadline(|| {
        run(async {
            let log = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<Task<()>> = (0..300)
                .map(|n| {
                    let log = log.clone();
                    spawn(async move {
                        for round in 0..3 {
                            log.borrow_mut().push((round, n));
                            yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let log = log.take();
            assert!(
                log.is_sorted(),
                "each round begins when the one before has ended"
            );
            assert_eq!(log.len(), 900);
            // The root future takes its turn like everybody else.
            let ran = Rc::new(Cell::new(0));
            for _ in 0..1000 {
                let ran = ran.clone();
                spawn(async move { ran.set(ran.get() + 1) }).detach();
            }
            yield_now().await;
            assert_eq!(ran.get(), 1000);
        });
    });
}

#[test]
fn one_loop_runs_many_futures_and_keeps_its_tasks() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let early = event_loop.handle().spawn(async { "before it ran" });
        let (completer, promise) = Completer::new();
        let across = event_loop.handle().spawn(promise);
        event_loop.block_on(yield_now());
        event_loop.block_on(async {});
        completer.complete(Ok(5));
        assert_eq!(event_loop.block_on(across).unwrap().unwrap(), 5);
        assert_eq!(early.join().unwrap(), "before it ran");
    });
}

#[test]
fn run_cancels_what_is_left_and_waits_for_its_destructors() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let kept = run(async {
            let mut kept = Vec::new();
            for n in 0..100 {
                let guard = Dropped(tell.clone());
                let task = spawn(async move {
                    let _guard = guard;
                    if n % 2 == 0 {
                        sleep(LONG).await;
                    }
                    pending::<()>().await;
                });
                if n % 4 == 0 {
                    kept.push(task);
                } else {
                    task.detach();
                }
            }
            sleep(Duration::from_millis(1)).await;
            // Never polled at all:
            let guard = Dropped(tell.clone());
            spawn(async move { drop(guard) }).detach();
            kept
        });
        let dropped: Vec<ThreadId> = told.try_iter().collect();
        assert_eq!(dropped, vec![thread::current().id(); 101]);
        for task in kept {
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }
    });
}

#[test]
fn a_destructor_at_the_end_may_spawn_wake_and_sleep_but_nothing_runs() {
    within_deadline(|| {
        struct Last(Rc<RefCell<Vec<Task<()>>>>, Waker, LoopHandle);
        impl Drop for Last {
            fn drop(&mut self) {
                self.1.wake_by_ref();
                let mut late = self.0.borrow_mut();
                late.push(spawn(async { panic!("must not run") }));
                late.push(self.2.spawn(sleep(Duration::ZERO)));
                late.push(self.2.spawn_with(|| async { panic!("must not run") }));
                late.push(self.2.call_soon(|| panic!("must not run")));
                late.push(self.2.call_later(Duration::ZERO, || panic!("must not run")));
            }
        }
        let late = Rc::new(RefCell::new(Vec::new()));
        run(async {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let last = Last(late.clone(), waker, LoopHandle::current());
            spawn(async move {
                let _last = last;
                pending::<()>().await;
            })
            .detach();
            yield_now().await;
        });
        let late = late.take();
        assert_eq!(late.len(), 5);
        for task in late {
            assert!(matches!(task.join(), Err(TaskError::Closed)));
        }
    });
}

#[test]
fn a_panic_ends_its_task_and_nothing_else() {
    within_deadline(|| {
        run(async {
            let bad = spawn(async {
                yield_now().await;
                panic!("in a task")
            });
            let good = spawn(async {
                sleep(Duration::from_millis(2)).await;
                7
            });
            let error: Result<(), TaskError> = bad.await;
            assert!(
                matches!(error, Err(TaskError::Panicked(panic)) if panic.message() == "in a task")
            );
            assert_eq!(good.await.unwrap(), 7);
        });
    });
}

#[test]
fn a_panic_of_the_root_goes_on_after_the_tasks_were_cancelled() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let message = panic_message(move || {
            run(async move {
                let guard = Dropped(tell);
                spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                })
                .detach();
                yield_now().await;
                panic!("in the root");
            });
        });
        assert_eq!(message, "in the root");
        assert!(told.try_recv().is_ok());
        // The thread is free for another loop, and may block again.
        assert_eq!(run(async { 1 }), 1);
        assert_eq!(Task::ready(2).join().unwrap(), 2);
    });
}

#[test]
fn a_loop_survives_a_panic_in_block_on() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let task = event_loop.handle().spawn(async {
            sleep(Duration::from_millis(1)).await;
            3
        });
        assert_eq!(
            panic_message(|| event_loop.block_on(async { panic!("once") })),
            "once"
        );
        assert_eq!(event_loop.block_on(task).unwrap(), 3);
    });
}

#[test]
fn misuse_panics_in_words() {
    within_deadline(|| {
        let nested = panic_message(|| run(async { run(async {}) }));
        assert!(
            nested.contains("trefoil::run") && nested.contains(".await"),
            "{nested}"
        );
        let event_loop = EventLoop::new().unwrap();
        let nested = panic_message(|| run(async { event_loop.block_on(async {}) }));
        assert!(nested.contains("EventLoop::block_on"), "{nested}");
        let outside = panic_message(|| drop(spawn(async {})));
        assert!(outside.contains("trefoil::run(..)"), "{outside}");
        let outside = panic_message(|| drop(LoopHandle::current()));
        assert!(outside.contains("trefoil::run(..)"), "{outside}");
        let outside = panic_message(|| assert!(poll_once(&mut sleep(LONG)).is_pending()));
        assert!(outside.contains("trefoil::run(..)"), "{outside}");
        let zero = panic_message(|| drop(interval(Duration::ZERO)));
        assert!(zero.contains("above zero"), "{zero}");
    });
}

#[test]
fn a_loop_within_a_loop_ends_without_harm() {
    within_deadline(|| {
        run(async {
            let (tell, told) = mpsc::channel();
            let inner = EventLoop::new().unwrap();
            let task = inner.handle().spawn_with(|| async move {
                let _guard = Dropped(tell);
                pending::<()>().await;
            });
            drop(inner);
            assert!(matches!(task.await, Err(TaskError::Cancelled)));
            assert!(told.try_recv().is_ok() || told.recv().is_err());
            // We are still on the outer one.
            sleep(Duration::from_millis(1)).await;
            assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        });
    });
}

// Other threads.

#[test]
fn no_spawn_from_eight_threads_is_lost() {
    const THREADS: usize = 8;
    const EACH: usize = 12_500;
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let (handle, ran, start) = (event_loop.handle(), ran.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    let mut tasks = Vec::new();
                    for i in 0..EACH {
                        let ran = ran.clone();
                        tasks.push(handle.spawn(async move { ran.fetch_add(1, SeqCst) }));
                        // Now and then the loop finds time to lie down.
                        if i % 64 == n {
                            tasks.pop().unwrap().join().unwrap();
                        }
                    }
                    for task in tasks {
                        task.join().unwrap();
                    }
                })
            })
            .collect();
        let (completer, done) = Completer::new();
        thread::spawn(move || {
            for thread in threads {
                thread.join().unwrap();
            }
            completer.complete(Ok(()));
        });
        event_loop.block_on(done).unwrap();
        assert_eq!(ran.load(SeqCst), THREADS * EACH);
    });
}

#[test]
fn a_promise_kept_on_another_thread_wakes_the_loop() {
    within_deadline(|| {
        run(async {
            for n in 0..200 {
                let (completer, task) = Completer::new();
                let thread = thread::spawn(move || completer.complete(Ok(n)));
                // Half of them in the root, half in tasks.
                let got = if n % 2 == 0 {
                    task.await
                } else {
                    spawn(task).await.unwrap()
                };
                assert_eq!(got.unwrap(), n);
                thread.join().unwrap();
            }
        });
    });
}

#[test]
fn join_on_the_loop_is_refused_unless_it_is_done() {
    within_deadline(|| {
        run(async {
            let waiting = spawn(pending::<()>());
            assert!(matches!(waiting.join(), Err(TaskError::WouldBlock)));
            let (_completer, mut promise) = Completer::<()>::new();
            let start = Instant::now();
            assert!(matches!(
                promise.join_timeout(LONG),
                Err(TaskError::WouldBlock)
            ));
            assert!(start.elapsed() < LONG / 2);
            spawn(async {
                let done = spawn(async { 4 });
                yield_now().await;
                assert_eq!(done.join().unwrap(), 4);
                assert!(matches!(
                    spawn(pending::<()>()).join(),
                    Err(TaskError::WouldBlock)
                ));
            })
            .await
            .unwrap();
        });
    });
}

#[test]
fn a_future_that_is_not_send_is_dropped_on_its_loops_thread() {
    within_deadline(|| {
        let (handle_out, handle_in) = mpsc::channel();
        let (stop, stopped) = Completer::<()>::new();
        let looping = thread::spawn(move || {
            run(async {
                handle_out
                    .send((LoopHandle::current(), thread::current().id()))
                    .unwrap();
                let _ = stopped.await;
            });
        });
        let (handle, loop_thread) = handle_in.recv().unwrap();
        let (tell, told) = mpsc::channel();
        let start = |awaits: Task<()>| {
            let tell = tell.clone();
            handle.spawn_with(move || {
                let guard = Rc::new(Dropped(tell));
                async move {
                    let _guard = guard;
                    let _ = awaits.await;
                }
            })
        };
        // Cancelled from here, waiting or perhaps not yet begun.
        for _ in 0..200 {
            let (_never, promise) = Completer::new();
            let task = start(promise);
            assert!(task.cancel());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }
        // Woken and dropped from here at the same time.
        for _ in 0..200 {
            let (completer, promise) = Completer::new();
            let task = start(promise).cancel_on_drop();
            let thread = thread::spawn(move || completer.complete(Ok(())));
            drop(task);
            thread.join().unwrap();
        }
        // Left for the end.
        let mut left = Vec::new();
        for _ in 0..200 {
            let (completer, promise) = Completer::new();
            start(promise).detach();
            left.push(completer);
        }
        stop.complete(Ok(()));
        // Wake-ups race with the end.
        left.into_iter()
            .for_each(|completer| completer.complete(Ok(())));
        looping.join().unwrap();
        drop(tell);
        let mut count = 0;
        for thread in told {
            // A factory that was cancelled before it began may go anywhere: it is `Send`.
            count += usize::from(thread == loop_thread);
            assert!(thread == loop_thread || thread == thread::current().id());
        }
        assert!(count > 0 && count <= 600);
    });
}

#[test]
fn after_the_end_everything_is_closed() {
    within_deadline(|| {
        let (handle, waker, stale_sleep) = run(async {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let mut stale = sleep(LONG);
            assert!(poll_once(&mut stale).is_pending());
            (LoopHandle::current(), waker, stale)
        });
        for _ in 0..2 {
            assert!(matches!(
                handle.spawn(async {}).join(),
                Err(TaskError::Closed)
            ));
            assert!(matches!(
                handle.spawn_with(|| async {}).join(),
                Err(TaskError::Closed)
            ));
            assert!(matches!(
                handle.call_soon(|| {}).join(),
                Err(TaskError::Closed)
            ));
            assert!(matches!(
                handle.call_later(Duration::ZERO, || {}).join(),
                Err(TaskError::Closed)
            ));
        }
        waker.wake_by_ref();
        thread::spawn(move || drop((waker, stale_sleep, handle)))
            .join()
            .unwrap();
    });
}

#[test]
fn spawns_that_race_with_the_end_all_end() {
    within_deadline(|| {
        for _ in 0..100 {
            let event_loop = EventLoop::new().unwrap();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let handle = event_loop.handle();
                    thread::spawn(move || {
                        (0..50)
                            .map(|n| match n % 3 {
                                0 => handle.spawn(async {}),
                                1 => handle.spawn_with(|| async { drop(Rc::new(())) }),
                                _ => handle.call_soon(|| {}),
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            event_loop.block_on(yield_now());
            drop(event_loop);
            for task in threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
            {
                let end = task.join();
                assert!(
                    matches!(end, Ok(()) | Err(TaskError::Cancelled | TaskError::Closed)),
                    "{end:?}"
                );
            }
        }
    });
}

#[test]
fn calls_soon_and_later() {
    within_deadline(|| {
        run(async {
            let handle = LoopHandle::current();
            let order = Arc::new(AtomicUsize::new(0));
            let next = |order: &Arc<AtomicUsize>| {
                let order = order.clone();
                move || order.fetch_add(1, SeqCst)
            };
            let start = Instant::now();
            let later = handle.call_later(Duration::from_millis(3), next(&order));
            let soon = handle.call_soon(next(&order));
            let second = thread::spawn({
                let (handle, call) = (handle.clone(), next(&order));
                move || handle.call_soon(call)
            })
            .join()
            .unwrap();
            let never = handle.call_later(Duration::from_millis(1), || panic!("was cancelled"));
            assert!(never.cancel());
            assert_eq!(soon.await.unwrap(), 0);
            assert_eq!(second.await.unwrap(), 1);
            assert_eq!(later.await.unwrap(), 2);
            assert!(start.elapsed() >= Duration::from_millis(3));
            let unending = handle.call_later(Duration::MAX, || ());
            yield_now().await;
            assert!(!unending.is_finished());
        });
    });
}

// Time.

#[test]
fn sleepers_wake_in_order_and_never_early() {
    within_deadline(|| {
        run(async {
            let log = Rc::new(RefCell::new(Vec::new()));
            let start = Instant::now() + Duration::from_millis(20);
            let tasks: Vec<Task<()>> = (0..500_u64)
                .map(|n| {
                    let deadline = start + Duration::from_micros(n * 7919 % 500 * 37);
                    let log = log.clone();
                    spawn(async move {
                        sleep_until(deadline).await;
                        let now = Instant::now();
                        assert!(now >= deadline, "{:?} early", deadline - now);
                        log.borrow_mut().push(deadline);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let log = log.take();
            assert_eq!(log.len(), 500);
            assert!(log.is_sorted());
        });
    });
}

#[test]
fn a_short_sleep_is_not_rounded_to_milliseconds() {
    within_deadline(|| {
        let best = (0..50)
            .map(|_| {
                let start = Instant::now();
                run(sleep(Duration::from_micros(100)));
                start.elapsed()
            })
            .min()
            .unwrap();
        assert!(best >= Duration::from_micros(100));
        assert!(best < Duration::from_millis(1), "{best:?}");
    });
}

#[test]
fn a_sleep_of_nothing_yields_once() {
    within_deadline(|| {
        run(async {
            let ran = Rc::new(Cell::new(0));
            let counter = ran.clone();
            let other = spawn(async move {
                for _ in 0..3 {
                    counter.set(counter.get() + 1);
                    yield_now().await;
                }
            });
            assert_eq!(ran.get(), 0);
            sleep(Duration::ZERO).await;
            assert_eq!(ran.get(), 1);
            sleep_until(Instant::now()).await;
            assert_eq!(ran.get(), 2);
            other.await.unwrap();
        });
    });
}

#[test]
fn two_hundred_thousand_timers_and_one_that_matters() {
    within_deadline(|| {
        run(async {
            let mut many: Vec<_> = (0..200_000)
                .map(|n| sleep(LONG + Duration::from_micros(n)))
                .collect();
            for sleep in &mut many {
                assert!(poll_once(sleep).is_pending());
            }
            sleep(Duration::from_millis(1)).await;
            // Half of them go here, half on another thread.
            let half = many.split_off(100_000);
            thread::spawn(move || drop(half)).join().unwrap();
            drop(many);
            sleep(Duration::from_millis(1)).await;
            sleep(Duration::MAX).now_or_pending();
        });
    });
}

trait NowOrPending {
    fn now_or_pending(self);
}

impl<F: Future + Unpin> NowOrPending for F {
    fn now_or_pending(mut self) {
        assert!(poll_once(&mut self).is_pending());
    }
}

#[test]
fn a_sleep_belongs_to_the_loop_of_its_first_poll() {
    within_deadline(|| {
        let mut begun = sleep(LONG);
        let mut ready = sleep(Duration::ZERO);
        run(async {
            assert!(poll_once(&mut begun).is_pending());
            assert!(poll_once(&mut ready).is_pending());
        });
        let outside = panic_message(|| assert!(poll_once(&mut begun).is_pending()));
        assert!(outside.contains("needs an event loop"), "{outside}");
        let elsewhere =
            panic_message(|| run(async { assert!(poll_once(&mut begun).is_pending()) }));
        assert!(elsewhere.contains("another event loop"), "{elsewhere}");
        let elsewhere =
            panic_message(|| run(async { assert!(poll_once(&mut ready).is_pending()) }));
        assert!(elsewhere.contains("another event loop"), "{elsewhere}");
        // Not polled yet: free to move.
        let fresh = sleep(Duration::from_millis(1));
        thread::spawn(move || run(fresh)).join().unwrap();
    });
}

#[test]
fn an_interval_ticks_and_misses_as_it_was_told() {
    within_deadline(|| {
        run(async {
            let period = Duration::from_millis(4);
            let mut beat = interval(period);
            let first = beat.tick().await;
            assert!(first.elapsed() < period * 1000);
            for n in 1..4 {
                assert_eq!(beat.tick().await, first + period * n);
                assert!(Instant::now() >= first + period * n);
            }
            for missed in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
                let mut beat = interval(period).missed_tick(missed);
                let first = beat.tick().await;
                thread::sleep(period * 5 / 2);
                assert_eq!(
                    beat.tick().await,
                    first + period,
                    "a tick that is due comes"
                );
                let next = beat.tick().await;
                match missed {
                    MissedTick::Burst => assert_eq!(next, first + period * 2),
                    MissedTick::Delay => assert!(next >= first + period * 7 / 2),
                    MissedTick::Skip => {
                        assert!(next >= first + period * 3);
                        assert_eq!((next - first).as_nanos() % period.as_nanos(), 0);
                    }
                }
            }
        });
    });
}

#[test]
fn who_is_always_late_lets_the_others_run() {
    within_deadline(|| {
        run(async {
            let late = spawn(async {
                let mut beat = interval(Duration::from_nanos(1));
                loop {
                    beat.tick().await;
                }
            });
            let selfish = spawn(async {
                loop {
                    yield_now().await;
                }
            });
            let start = Instant::now();
            sleep(Duration::from_millis(5)).await;
            assert!(start.elapsed() < LONG / 2);
            assert!(late.cancel() && selfish.cancel());
        });
    });
}

#[test]
fn timeouts_with_a_loop_without_one_and_from_one_to_the_other() {
    within_deadline(|| {
        let short = Duration::from_millis(5);
        // Without.
        let start = Instant::now();
        assert!(matches!(
            timeout(short, pending::<()>()).wait(),
            Err(TaskError::TimedOut)
        ));
        assert!(start.elapsed() >= short);
        assert_eq!(timeout(LONG, async { 1 }).wait().unwrap(), 1);
        // With.
        run(async {
            let start = Instant::now();
            assert!(matches!(
                timeout(short, pending::<()>()).await,
                Err(TaskError::TimedOut)
            ));
            assert!(start.elapsed() >= short);
            assert_eq!(timeout(LONG, async { 2 }).await.unwrap(), 2);
        });
        // Begun on a loop that ends, waited for on a thread, and the other way round.
        let mut moved = Box::pin(timeout(Duration::from_millis(30), pending::<()>()));
        run(async { assert!(poll_once(&mut moved).is_pending()) });
        let mut moved = thread::spawn(move || {
            assert!(poll_once(&mut moved).is_pending());
            moved
        })
        .join()
        .unwrap();
        assert!(matches!(
            run(async { (&mut moved).await }),
            Err(TaskError::TimedOut)
        ));
        // Begun on a loop, waited for on another thread while the first loop sleeps on.
        run(async {
            let mut moved = Box::pin(timeout(short, pending::<()>()));
            assert!(poll_once(&mut moved).is_pending());
            let (completer, ended) = Completer::new();
            thread::spawn(move || completer.complete(Ok(run(moved))));
            assert!(matches!(ended.await.unwrap(), Err(TaskError::TimedOut)));
        });
    });
}

#[test]
fn the_timer_thread_starts_on_need_and_ends() {
    alone("the_timer_thread_starts_on_need_and_ends", "", || {
        run(async {
            let _ = timeout(Duration::from_millis(2), pending::<()>()).await;
            assert_eq!(
                count_threads("trefoil-alarm"),
                0,
                "a loop keeps its own time"
            );
        });
        for _ in 0..2 {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    thread::spawn(move || {
                        let start = Instant::now();
                        let wait = Duration::from_millis(20 - n);
                        let _ = timeout(wait, pending::<()>()).wait();
                        assert!(start.elapsed() >= wait);
                    })
                })
                .collect();
            wait_until("one timer thread", || count_threads("trefoil-alarm") == 1);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            wait_until("the timer thread's end", || {
                count_threads("trefoil-alarm") == 0
            });
        }
    });
}

/// Voluntary and forced switches away from the thread, so far.
fn switches(task: &str) -> u64 {
    std::fs::read_to_string(format!("/proc/self/task/{task}/status"))
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
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
                // What an idle server has: a listener, a connection, a far deadline.
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let (near, _far) = pair().await;
                spawn(async move { listener.accept().await.map(drop) }).detach();
                spawn(async move { near.read(&mut [0; 8]).await }).detach();
                spawn(sleep(LONG)).detach();
                let _ = stopped.await;
            });
        });
        let task = told.recv().unwrap();
        // The measure: a window in which it does not even run once. It has to come soon.
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

/// Wakers that are waited with keep a count, so what a dropped future has left shows.
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
fn whoever_waits_for_a_loop_that_ends_is_woken() {
    within_deadline(|| {
        let (woken, waker) = counted_waker();
        let mut moved = Box::pin(timeout(LONG, pending::<()>()));
        let listener = run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let cx = &mut Context::from_waker(&waker);
            assert!(moved.as_mut().poll(cx).is_pending());
            let mut accept = Box::pin(listener.accept());
            assert!(accept.as_mut().poll(cx).is_pending());
            // Nobody drops this one: it will not be polled again by this loop.
            std::mem::forget(accept);
            listener
        });
        assert_eq!(woken.load(SeqCst), 2);
        drop(listener);
    });
}

// Sockets.

#[test]
fn what_must_be_send_is_send() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    fn send_sync<T: Send + Sync>() {}
    send_sync::<TcpListener>();
    send_sync::<TcpStream>();
    send_sync::<LoopHandle>();
    drop(send(TcpStream::connect("127.0.0.1:1")));
    drop(send(sleep(LONG)));
    drop(send(lookup_host("localhost:1")));
    let mut beat = interval(LONG);
    drop(send(beat.tick()));
    drop(send(async {
        let (near, far) = pair().await;
        near.write_all(b"x").await.unwrap();
        far.read_to_end(&mut Vec::new()).await.unwrap();
    }));
}

async fn echo(stream: TcpStream) {
    let mut buffer = [0; 512];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

#[test]
fn a_thousand_echo_connections_half_of_them_reset() {
    alone(
        "a_thousand_echo_connections_half_of_them_reset",
        "ulimit -n 4096",
        || {
            const CONNECTIONS: usize = 1000;
            let before = count_fds();
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let server = spawn(async move {
                    let mut served = Vec::new();
                    for _ in 0..CONNECTIONS {
                        let (stream, _) = listener.accept().await.unwrap();
                        served.push(spawn(echo(stream)));
                    }
                    served
                });
                let met = Rc::new(Cell::new(0));
                let clients: Vec<_> = (0..CONNECTIONS)
                    .map(|n| {
                        let met = met.clone();
                        spawn(async move {
                            let stream = TcpStream::connect(address).await.unwrap();
                            let message = n.to_le_bytes();
                            let mut answer = [0; 8];
                            for round in 0..4 {
                                stream.write_all(&message).await.unwrap();
                                stream.read_exact(&mut answer).await.unwrap();
                                assert_eq!(answer, message);
                                if round == 1 {
                                    // All are connected at once before anybody goes.
                                    met.set(met.get() + 1);
                                    while met.get() < CONNECTIONS {
                                        yield_now().await;
                                    }
                                    if n % 2 == 0 {
                                        // Closing with unread data, or with this option, resets.
                                        let socket = socket2::SockRef::from(&stream);
                                        socket.set_linger(Some(Duration::ZERO)).unwrap();
                                        stream.write_all(&message).await.unwrap();
                                        return false;
                                    }
                                }
                            }
                            true
                        })
                    })
                    .collect();
                let mut whole = 0;
                for client in clients {
                    whole += usize::from(client.await.unwrap());
                }
                assert_eq!(whole, CONNECTIONS / 2);
                for served in server.await.unwrap() {
                    served.await.unwrap();
                }
            });
            assert_eq!(count_fds(), before);
        },
    );
}

#[test]
fn a_hundred_loops_leave_nothing() {
    alone("a_hundred_loops_leave_nothing", "", || {
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

#[test]
fn many_bytes_both_ways_at_once() {
    within_deadline(|| {
        run(async {
            const TOTAL: usize = 16 << 20;
            let pattern = |at: usize| (at * 31 + (at >> 8) * 7) as u8;
            let (near, far) = pair().await;
            let streams = [Arc::new(near), Arc::new(far)];
            let mut tasks = Vec::new();
            for stream in &streams {
                let writer = stream.clone();
                tasks.push(spawn(async move {
                    let bytes: Vec<u8> = (0..TOTAL).map(pattern).collect();
                    for chunk in bytes.chunks(300_007) {
                        writer.write_all(chunk).await.unwrap();
                    }
                    writer.shutdown(Shutdown::Write).unwrap();
                }));
                let reader = stream.clone();
                tasks.push(spawn(async move {
                    let mut bytes = vec![1, 2, 3];
                    assert_eq!(reader.read_to_end(&mut bytes).await.unwrap(), TOTAL);
                    assert!(
                        bytes[3..]
                            .iter()
                            .enumerate()
                            .all(|(at, &byte)| byte == pattern(at))
                    );
                }));
            }
            for result in join_all(tasks).await {
                result.unwrap();
            }
        });
    });
}

#[test]
fn the_futures_io_traits_vectored_too() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let mut byte = [0];
            let waiting = spawn(async move {
                near.read_exact(&mut byte).await.unwrap();
                near
            });
            yield_now().await;
            far.write_all(b"x").await.unwrap();
            let near = waiting.await.unwrap();
            // More slices than the system takes at once: first small ones, which all fit
            // into its buffers, then more bytes than it buffers.
            let small: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
            let whole = [small.clone(), small.repeat(160)].concat();
            let expected = whole.clone();
            let writer = spawn(async move {
                let mut written = 0;
                while written < whole.len() {
                    let size = if written < 50_000 { 10 } else { 4096 };
                    let slices: Vec<_> = whole[written..]
                        .chunks(size)
                        .map(std::io::IoSlice::new)
                        .collect();
                    written += poll_fn(|cx| Pin::new(&mut &near).poll_write_vectored(cx, &slices))
                        .await
                        .unwrap();
                }
                let mut near = near;
                poll_fn(|cx| Pin::new(&mut near).poll_flush(cx))
                    .await
                    .unwrap();
                poll_fn(|cx| Pin::new(&mut near).poll_close(cx))
                    .await
                    .unwrap();
                near
            });
            let mut far = far;
            // Registered, so that short counts matter.
            far.peek(&mut [0]).await.unwrap();
            let mut got = Vec::new();
            loop {
                let size = if got.len() < 1 << 20 { 4 } else { 1000 };
                let mut parts = vec![vec![0; size]; 1500];
                let mut slices: Vec<_> = parts
                    .iter_mut()
                    .map(|part| std::io::IoSliceMut::new(part))
                    .collect();
                let count = poll_fn(|cx| Pin::new(&mut far).poll_read_vectored(cx, &mut slices))
                    .await
                    .unwrap();
                if count == 0 {
                    break;
                }
                got.extend_from_slice(&parts.concat()[..count]);
            }
            assert!(got == expected);
            let mut near = writer.await.unwrap();
            poll_fn(|cx| Pin::new(&mut &far).poll_write(cx, b"back"))
                .await
                .unwrap();
            let mut back = [0; 16];
            assert_eq!(
                poll_fn(|cx| Pin::new(&mut near).poll_read(cx, &mut back))
                    .await
                    .unwrap(),
                4
            );
        });
    });
}

#[test]
fn a_read_that_stops_at_urgent_data_does_not_strand_what_follows() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let mut buffer = [0; 64];
            // Registered, so that short reads count.
            spawn(async move {
                sleep(Duration::from_millis(2)).await;
                near.write_all(b"1").await.unwrap();
                sleep(Duration::from_millis(2)).await;
                let socket = socket2::SockRef::from(&near);
                near.write_all(b"abc").await.unwrap();
                socket.send_out_of_band(b"!").unwrap();
                near.write_all(b"def").await.unwrap();
                sleep(LONG).await;
            })
            .detach();
            let mut got = Vec::new();
            while got.len() < 7 {
                let count = far.read(&mut buffer).await.unwrap();
                got.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(got, b"1abcdef");
        });
    });
}

#[test]
fn many_acceptors_and_readers_none_forgotten() {
    within_deadline(|| {
        run(async {
            let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
            let address = listener.local_addr().unwrap();
            // Acceptors that give up leave nothing behind that could swallow a wake-up.
            for _ in 0..100 {
                let accept = listener.accept();
                assert!(timeout(Duration::ZERO, accept).await.is_err());
            }
            let given_up: Vec<_> = (0..8)
                .map(|_| {
                    let listener = listener.clone();
                    spawn(async move { listener.accept().await.map(|_| ()) })
                })
                .collect();
            let acceptors: Vec<_> = (0..8)
                .map(|_| {
                    let listener = listener.clone();
                    spawn(async move { listener.accept().await })
                })
                .collect();
            yield_now().await;
            assert!(given_up.iter().all(Task::cancel));
            let mut clients = Vec::new();
            for _ in 0..8 {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
            for acceptor in join_all(acceptors).await {
                acceptor.unwrap().unwrap();
            }
            // Two readers of one stream: the bytes come once, the end comes to both.
            let (near, far) = pair().await;
            let far = Rc::new(far);
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let far = far.clone();
                    spawn(async move {
                        let mut count = 0;
                        loop {
                            match far.read(&mut [0; 1]).await.unwrap() {
                                0 => return count,
                                n => count += n,
                            }
                        }
                    })
                })
                .collect();
            yield_now().await;
            near.write_all(b"0123456789").await.unwrap();
            drop(near);
            let counts: usize = join_all(readers)
                .await
                .into_iter()
                .map(Result::unwrap)
                .sum();
            assert_eq!(counts, 10);
        });
    });
}

#[test]
fn a_stream_that_is_always_ready_lets_the_others_run() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let stop = Rc::new(Cell::new(false));
            let stopped = stop.clone();
            let busy = spawn(async move {
                // Never has to wait.
                while !stopped.get() {
                    near.write_all(b"x").await.unwrap();
                    far.read_exact(&mut [0]).await.unwrap();
                }
            });
            sleep(Duration::from_millis(5)).await;
            stop.set(true);
            busy.await.unwrap();
        });
    });
}

#[test]
fn a_socket_belongs_to_the_loop_of_its_first_use() {
    within_deadline(|| {
        let (listener, near, far) = run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let near = TcpStream::connect(address).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            (listener, near, far)
        });
        // Outside a loop.
        let error = timeout(LONG, near.write(b"x")).wait().unwrap().unwrap_err();
        assert!(error.to_string().contains("needs an event loop"), "{error}");
        // On another one.
        run(async {
            let error = near.write(b"x").await.unwrap_err();
            assert!(error.to_string().contains("another event loop"), "{error}");
            let error = listener.accept().await.unwrap_err();
            assert!(error.to_string().contains("another event loop"), "{error}");
            // `far` was accepted there, and first used here.
            far.write_all(b"x").await.unwrap();
        });
    });
}

#[test]
fn sockets_and_their_futures_are_dropped_anywhere() {
    alone("sockets_and_their_futures_are_dropped_anywhere", "", || {
        let before = count_fds();
        let left = run(async {
            let mut left = Vec::new();
            for round in 0..50 {
                let (near, far) = pair().await;
                let mut waiting = Box::pin(async move {
                    let _ = near.read(&mut [0; 8]).await;
                });
                // Registered, and waiting with a waker of this task.
                poll_fn(|cx| {
                    assert!(waiting.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                if round % 2 == 0 {
                    thread::spawn(move || drop(waiting)).join().unwrap();
                    // The other side learns of it: the descriptor is closed.
                    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
                } else {
                    left.push((waiting, far));
                }
            }
            left
        });
        drop(left);
        assert_eq!(count_fds(), before);
    });
}

#[test]
fn connecting_tries_every_address_and_names_are_looked_up_off_the_loop() {
    alone(
        "connecting_tries_every_address_and_names_are_looked_up_off_the_loop",
        "",
        || {
            run(async {
                let gone = {
                    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                    listener.local_addr().unwrap()
                };
                let refused = TcpStream::connect(gone).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let stream = TcpStream::connect(&[gone, address][..]).await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), address);
                let none: &[SocketAddr] = &[];
                assert_eq!(
                    TcpStream::connect(none).await.unwrap_err().kind(),
                    ErrorKind::InvalidInput
                );
                assert_eq!(
                    TcpStream::connect("nonsense").await.unwrap_err().kind(),
                    ErrorKind::InvalidInput
                );
                assert_eq!(
                    TcpListener::bind(address).await.unwrap_err().kind(),
                    ErrorKind::AddrInUse
                );
                assert_eq!(count_threads("trefoil-io"), 0, "numbers need no thread");

                let found = lookup_host(("localhost", address.port())).await.unwrap();
                assert!(found.contains(&address), "{found:?}");
                assert!(count_threads("trefoil-io") > 0);
                TcpStream::connect(format!("localhost:{}", address.port()))
                    .await
                    .unwrap();
                assert!(lookup_host("no.such.host.invalid:80").await.is_err());
            });
            wait_until("the end of the idle threads", || {
                count_threads("trefoil-io") == 0
            });
        },
    );
}

#[test]
fn no_descriptor_left_is_an_error_and_not_a_spin() {
    alone(
        "no_descriptor_left_is_an_error_and_not_a_spin",
        "ulimit -n 64",
        || {
            run(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let mut clients = Vec::new();
                let error = loop {
                    match TcpStream::connect(address).await {
                        Ok(stream) => clients.push(stream),
                        Err(error) => break error,
                    }
                };
                assert!(error.to_string().contains("os error 24"), "{error}");
                let error = listener.accept().await.unwrap_err();
                assert!(error.to_string().contains("os error 24"), "{error}");
                // It is told, each time it asks; and goes on once there is room.
                assert!(listener.accept().await.is_err());
                clients.pop();
                listener.accept().await.unwrap();
            });
        },
    );
}

#[test]
fn a_reset_is_an_error_and_an_end_is_an_end() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let waiting = spawn(async move {
                let end = far.read(&mut [0; 8]).await;
                (far, end)
            });
            yield_now().await;
            socket2::SockRef::from(&near)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(near);
            let (far, end) = waiting.await.unwrap();
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert!(far.write(b"x").await.is_err());

            // The end comes with the last words, in one event.
            let (near, far) = pair().await;
            let reader = spawn(async move {
                let mut words = Vec::new();
                far.read_to_end(&mut words).await.map(|count| (far, count))
            });
            yield_now().await;
            near.write_all(b"last words").await.unwrap();
            drop(near);
            let (far, count) = reader.await.unwrap().unwrap();
            assert_eq!(count, 10);
            assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
            let short = far.read_exact(&mut [0; 8]).await.unwrap_err();
            assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
        });
    });
}

#[test]
fn a_foreign_executor_on_the_loops_thread() {
    within_deadline(|| {
        run(async {
            // A future polled by hand, woken through a waker of its own.
            struct Flag(AtomicBool, Waker);
            impl std::task::Wake for Flag {
                fn wake(self: Arc<Self>) {
                    self.0.store(true, SeqCst);
                    self.1.wake_by_ref();
                }
            }
            let outer = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let flag = Arc::new(Flag(AtomicBool::new(true), outer));
            let waker = Waker::from(flag.clone());
            let (near, far) = pair().await;
            let mut inner = pin!(async {
                sleep(Duration::from_millis(2)).await;
                far.read_exact(&mut [0; 3]).await
            });
            let writer = spawn(async move {
                for byte in b"abc" {
                    near.write_all(&[*byte]).await.unwrap();
                    sleep(Duration::from_millis(1)).await;
                }
            });
            poll_fn(|_| {
                if flag.0.swap(false, SeqCst) {
                    return inner.as_mut().poll(&mut Context::from_waker(&waker));
                }
                Poll::Pending
            })
            .await
            .unwrap();
            writer.await.unwrap();
        });
    });
}
