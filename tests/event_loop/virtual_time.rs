//! The virtual clock jumps, but not while something outside the loop is awaited.

use std::cell::RefCell;
use std::future::pending;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(unix)]
use trefoil::io::UnixStream;
use trefoil::io::{TcpListener, TcpStream};
use trefoil::time::{self, MissedTick, interval, sleep, sleep_until, timeout};
use trefoil::{
    CancelToken, Completer, EventLoop, LoopHandle, TaskError, ThreadPool, join_all, race, spawn,
    yield_now,
};

use crate::deadline::processor_time;
use crate::support::{LONG, echo, pair, within_deadline};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs `future` on a loop with a virtual clock. Also returns the real time that it took.
fn virtually<F: Future>(future: F) -> (F::Output, Duration) {
    let event_loop = EventLoop::builder().virtual_time().build().unwrap();
    let start = Instant::now();
    let output = event_loop.block_on(future);
    (output, start.elapsed())
}

#[test]
fn an_hour_of_timers_takes_no_time_and_is_exact() {
    within_deadline(|| {
        let (log, took) = virtually(async {
            let start = time::now();
            let log = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (1..=60_u32)
                .rev()
                .map(|minute| {
                    let log = log.clone();
                    spawn(async move {
                        sleep(Duration::from_secs(60) * minute).await;
                        log.borrow_mut().push((time::now() - start, minute));
                    })
                })
                .collect();
            let mut beat = interval(Duration::from_secs(1));
            for second in 0..=3600 {
                let due = beat.tick().await;
                assert_eq!(due - start, Duration::from_secs(second));
                assert_eq!(time::now(), due);
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(time::now() - start, HOUR);
            log.take()
        });
        assert_eq!(log.len(), 60);
        for (at, minute) in log {
            assert_eq!(at, Duration::from_secs(60) * minute);
        }
        assert!(took < LONG / 4, "{took:?}");
    });
}

#[test]
fn every_kind_of_deadline_follows_that_clock() {
    within_deadline(|| {
        virtually(async {
            let start = time::now();
            sleep_until(start + HOUR).await;
            assert_eq!(time::now() - start, HOUR);
            let late = timeout(HOUR, pending::<()>()).await;
            assert!(matches!(late, Err(TaskError::TimedOut(_))));
            assert_eq!(time::now() - start, 2 * HOUR);
            let later = LoopHandle::current().call_later(HOUR, time::now);
            assert_eq!(later.await.unwrap() - start, 3 * HOUR);
            // From another thread, whose own clock is the real one.
            let handle = LoopHandle::current();
            let later = thread::spawn(move || {
                assert!(time::now() < start + HOUR);
                handle.call_later(HOUR, time::now)
            });
            assert_eq!(later.join().unwrap().await.unwrap() - start, 4 * HOUR);
            let token = CancelToken::new().with_deadline(time::now() + HOUR);
            assert!(!token.is_cancelled());
            token.cancelled().await;
            assert_eq!(time::now() - start, 5 * HOUR);
            for (missed, next) in [
                (MissedTick::Burst, 2 * HOUR),
                (MissedTick::Delay, 7 * HOUR / 2),
                (MissedTick::Skip, 3 * HOUR),
            ] {
                let mut beat = interval(HOUR).missed_tick(missed);
                let first = beat.tick().await;
                sleep(5 * HOUR / 2).await;
                assert_eq!(beat.tick().await, first + HOUR);
                assert_eq!(beat.tick().await, first + next, "{missed:?}");
            }
        });
    });
}

#[test]
fn what_is_made_outside_of_the_loop_is_counted_inside() {
    within_deadline(|| {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        let now = || event_loop.block_on(async { time::now() });
        let real = Instant::now();
        for _ in 0..3 {
            let start = now();
            event_loop.block_on(sleep(HOUR));
            assert_eq!(now() - start, HOUR);
            let late = event_loop.block_on(timeout(HOUR, pending::<()>()));
            assert!(matches!(late, Err(TaskError::TimedOut(_))));
            assert_eq!(now() - start, 2 * HOUR);
            let task = event_loop.handle().spawn(sleep(HOUR));
            event_loop.block_on(task).unwrap();
            assert_eq!(now() - start, 3 * HOUR);
            let mut beat = interval(HOUR);
            event_loop.block_on(async {
                let first = beat.tick().await;
                assert_eq!(first - start, 3 * HOUR);
                assert_eq!(beat.tick().await - start, 4 * HOUR);
            });
        }
        assert!(real.elapsed() < LONG / 4);
        // Outside the loop again, the clock is the real one, which was never changed.
        assert!(time::now() < real + LONG);
        assert_eq!(
            trefoil::run(async { sleep(Duration::from_millis(1)).await }),
            ()
        );
    });
}

/// Work that takes longer than the clock waits for what is outside.
fn work(pool: &ThreadPool) -> trefoil::Task<i32> {
    pool.spawn(|| {
        thread::sleep(Duration::from_millis(700));
        7
    })
}

#[test]
fn tasks_of_other_executors_are_not_jumped_over() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        virtually(async {
            let start = time::now();
            assert_eq!(timeout(HOUR, work(&pool)).await.unwrap().unwrap(), 7);
            let passed = time::now() - start;
            assert!(passed < HOUR, "{passed:?}");
            // Meanwhile the clock moves on at the real pace.
            let long = work(&pool);
            assert!(matches!(
                timeout(Duration::from_millis(20), long).await,
                Err(TaskError::TimedOut(_))
            ));
        });
        // A task that is no longer awaited does not hold the clock back.
        let ((), took) = virtually(async {
            let mut abandoned = pool.spawn(|| thread::sleep(Duration::from_millis(1)));
            let _ = timeout(Duration::from_nanos(1), &mut abandoned).await;
            while !abandoned.is_finished() {
                thread::yield_now();
            }
            sleep(1000 * HOUR).await;
            drop(abandoned);
            sleep(1000 * HOUR).await;
        });
        assert!(took < LONG / 4, "{took:?}");
    });
}

#[test]
fn tasks_of_other_executors_are_not_jumped_over_through_map_and_shared() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        virtually(async {
            let mapped = work(&pool).map(|n| n + 1).map(|n| n + 1);
            assert_eq!(timeout(HOUR, mapped).await.unwrap().unwrap(), 9);
            let shared = work(&pool).shared();
            assert_eq!(timeout(HOUR, shared.clone()).await.unwrap().unwrap(), 7);
        });
    });
}

#[test]
fn a_wait_for_many_does_not_jump_over_tasks_of_other_executors() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        virtually(async {
            let all = join_all([work(&pool), work(&pool)]);
            let all = timeout(HOUR, all).await.unwrap();
            assert!(all.iter().all(Result::is_ok));
            // A timer in a race with it is the same.
            let nap = spawn(async {
                sleep(HOUR).await;
                0
            });
            assert_eq!(race([nap, work(&pool)]).await.unwrap(), 7);
        });
    });
}

#[test]
fn tasks_of_other_executors_are_not_jumped_over_by_a_task_that_waits() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        virtually(async {
            let inner = work(&pool);
            let relay = spawn(async move { inner.await.unwrap() });
            assert_eq!(timeout(HOUR, relay).await.unwrap().unwrap(), 7);
        });
    });
}

#[test]
fn sockets_and_promises_from_outside_are_not_jumped_over() {
    within_deadline(|| {
        virtually(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let peer = thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                let mut byte = [0];
                for _ in 0..3 {
                    stream.read_exact(&mut byte).unwrap();
                    thread::sleep(Duration::from_millis(80));
                    stream.write_all(&byte).unwrap();
                }
            });
            let (stream, _) = timeout(HOUR, listener.accept()).await.unwrap().unwrap();
            for n in 0..3 {
                let mut byte = [0];
                stream.write_all(&[n]).await.unwrap();
                timeout(HOUR, stream.read(&mut byte))
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(byte, [n]);
            }
            peer.join().unwrap();
            let (completer, promise) = Completer::new();
            let keeper = thread::spawn(move || {
                thread::sleep(Duration::from_millis(80));
                completer.complete(Ok(5));
            });
            assert_eq!(timeout(HOUR, promise).await.unwrap().unwrap(), 5);
            keeper.join().unwrap();
        });
    });
}

#[cfg(unix)]
#[test]
fn peers_on_the_same_loop_do_not_hold_its_clock_for_long() {
    within_deadline(|| {
        let ((), took) = virtually(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    spawn(echo(stream)).detach();
                }
            })
            .detach();
            let mut beat = interval(Duration::from_secs(1));
            for _ in 0..=3600 {
                beat.tick().await;
            }
            let (near, far) = UnixStream::pair().unwrap();
            let start = time::now();
            spawn(async move {
                for n in 0..48_u8 {
                    sleep(HOUR).await;
                    far.write_all(&[n]).await.unwrap();
                }
            })
            .detach();
            let mut byte = [0];
            while near.read(&mut byte).await.unwrap() > 0 {}
            assert_eq!(byte, [47]);
            assert!(time::now() - start >= 48 * HOUR);
            let (near, far) = pair().await;
            assert!(matches!(
                timeout(HOUR, near.read(&mut byte)).await,
                Err(TaskError::TimedOut(_))
            ));
            drop(far);
        });
        assert!(took < LONG / 2, "{took:?}");
    });
}

#[test]
fn a_loop_with_nothing_but_time_ends_in_time() {
    within_deadline(|| {
        // Many timers over a century.
        let begun = processor_time();
        virtually(async {
            let mut tasks = Vec::new();
            for n in 0..20_000_u64 {
                tasks.push(spawn(sleep(Duration::from_secs(
                    n * 7919 % 20_000 * 86_400,
                ))));
            }
            for task in tasks {
                task.await.unwrap();
            }
            sleep(Duration::MAX / 4).now_or_never_ends();
        });
        assert!(processor_time() - begun < LONG / 2);
        // Driven by another loop.
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        let task = event_loop.handle().spawn(sleep(HOUR));
        let mut turns = 0;
        while !task.is_finished() {
            event_loop.poll_once();
            assert!(
                event_loop
                    .next_deadline()
                    .is_none_or(|at| at <= Instant::now())
            );
            turns += 1;
            assert!(turns < 100);
        }
    });
}

/// The work at each idle moment does not depend on the number of waiting tasks.
#[test]
fn twenty_thousand_promises_do_not_slow_the_clock() {
    within_deadline(|| {
        const MANY: u32 = 20_000;
        let begun = processor_time();
        virtually(async {
            let start = time::now();
            let (completers, promises): (Vec<_>, Vec<_>) =
                (0..MANY).map(|_| Completer::<u32>::new()).unzip();
            let waiters: Vec<_> = promises
                .into_iter()
                .map(|promise| spawn(timeout(1000 * HOUR, promise)))
                .collect();
            // The promises are completed from the last on, with an idle moment between any two.
            for (n, completer) in completers.into_iter().enumerate().rev() {
                sleep(Duration::from_secs(1)).await;
                completer.complete(Ok(n as u32));
            }
            for (n, waiter) in waiters.into_iter().enumerate() {
                assert_eq!(waiter.await.unwrap().unwrap().unwrap(), n as u32);
            }
            assert!(time::now() - start >= MANY * Duration::from_secs(1));
            assert!(time::now() - start < 2 * MANY * Duration::from_secs(1));
        });
        let took = processor_time() - begun;
        assert!(took < LONG / 4, "{took:?}");
    });
}

/// Attempts to connect wait for room in a listener's queue, which the kernel does not report.
#[cfg(unix)]
#[test]
fn pauses_between_attempts_are_not_jumped_over() {
    within_deadline(|| {
        let path = std::env::temp_dir().join(format!("trefoil-queue-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let connect = || UnixStream::connect(&path);
        let (mut queued, took) = virtually(async {
            let mut queued = Vec::new();
            while let Ok(stream) = timeout(Duration::from_millis(5), connect()).await {
                queued.push(stream.unwrap());
                assert!(queued.len() < 100);
            }
            // If no room comes, the clock moves on after a while.
            let start = time::now();
            assert!(timeout(HOUR / 6, connect()).await.is_err());
            assert_eq!(time::now() - start, HOUR / 6);
            queued
        });
        assert!(took < LONG, "{took:?}"); // ten minutes in less than one
        // Another thread makes room, after a real while.
        let patience = Duration::from_millis(80);
        thread::scope(|scope| {
            let (begin, begun) = mpsc::channel();
            let listener = &listener;
            scope.spawn(move || {
                let () = begun.recv().unwrap();
                thread::sleep(patience);
                listener.accept().unwrap();
            });
            let (stream, took) = virtually(async {
                let start = time::now();
                begin.send(()).unwrap();
                let stream = timeout(Duration::from_secs(20), connect()).await;
                (stream, time::now() - start)
            });
            let (stream, passed) = stream;
            queued.push(stream.expect("its time does not run away").unwrap());
            assert!(
                took >= patience && passed >= patience / 2,
                "{passed:?} {took:?}"
            );
        });
        std::fs::remove_file(&path).unwrap();
    });
}

/// The loop is driven by another loop, whose waits count as its own.
#[test]
fn work_elsewhere_does_not_stop_the_clock_of_a_loop_that_others_drive() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        let (go_on, told) = mpsc::channel::<()>();
        let stuck = pool.spawn(move || told.recv());
        let patience = Duration::from_millis(20);
        let late = event_loop.handle().spawn(async move {
            let start = time::now();
            assert!(timeout(patience, stuck).await.is_err());
            time::now() - start
        });
        let real = Instant::now();
        while !late.is_finished() {
            if !event_loop.poll_once() && !late.is_finished() {
                let wait = event_loop.next_deadline().unwrap();
                thread::sleep(wait.saturating_duration_since(Instant::now()));
            }
            assert!(real.elapsed() < LONG / 2, "its time stands still");
        }
        let (passed, took) = (late.join().unwrap(), real.elapsed());
        assert!(patience <= passed && passed <= took, "{passed:?} {took:?}");
        drop(go_on);
        // Between its turns and a `block_on`, with nothing outside, it stands still.
        let now = || event_loop.block_on(async { time::now() });
        let before = now();
        assert!(!event_loop.poll_once());
        thread::sleep(patience);
        while event_loop.poll_once() {}
        assert_eq!(now(), before);
    });
}

/// The pauses between attempts follow the loop's clock.
#[cfg(unix)]
#[test]
fn attempts_are_as_far_apart_as_ever() {
    within_deadline(|| {
        let ((), _) = virtually(async {
            sleep(1000 * HOUR).await;
            // A listener whose queue is full: the next attempt begins only after a while.
            let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
            rustix::net::listen(&silent, 0).unwrap();
            let address = silent.local_addr().unwrap();
            let mut queued = Vec::new();
            while let Ok(stream) = timeout(HOUR, TcpStream::connect(address)).await {
                queued.push(stream.unwrap());
                assert!(queued.len() < 100);
            }
            let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let other = good.local_addr().unwrap();
            let start = time::now();
            let stream = TcpStream::connect(&[address, other][..]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), other);
            let took = time::now() - start;
            assert!(took >= Duration::from_millis(250), "{took:?}");
            assert!(took < HOUR, "{took:?}");
        });
    });
}

trait NeverEnds {
    fn now_or_never_ends(self);
}

impl<F: Future + Unpin> NeverEnds for F {
    fn now_or_never_ends(mut self) {
        assert!(crate::support::poll_once(&mut self).is_pending());
    }
}

#[test]
fn a_clock_that_runs_on_from_its_end_stays_there() {
    within_deadline(|| {
        trefoil::run(async {
            time::pause();
            sleep(Duration::MAX).await;
            let end = time::now();
            assert_eq!(end.checked_add(Duration::from_secs(1)), None);
            time::resume();
            // The end is a whole number of seconds after the start, so a second must pass.
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(1100) {
                assert_eq!(time::now(), end);
                thread::sleep(Duration::from_millis(10));
            }
            // Everything is due.
            sleep(Duration::from_secs(1)).await;
            assert!(timeout(Duration::MAX, pending::<()>()).await.is_err());
            time::pause();
            time::advance(Duration::from_secs(1)).await;
            assert_eq!(time::now(), end);
        });
    });
}

/// A deadline beyond the clock's range is at the end of that range: nothing waits for ever, and a
/// later deadline is due at once.
#[test]
fn the_longest_of_all_times_ends_with_the_clock() {
    within_deadline(|| {
        let outside = (
            sleep(Duration::MAX),
            timeout(Duration::MAX, pending::<()>()),
        );
        let ((), took) = virtually(async move {
            let start = time::now();
            let longest = spawn(sleep(Duration::MAX));
            let almost = spawn(sleep(Duration::from_secs(1 << 62)));
            let mut beat = interval(Duration::MAX);
            assert_eq!(beat.tick().await, start);
            let late = LoopHandle::current().call_later(Duration::MAX, || 7);
            almost.await.unwrap();
            assert!(!longest.is_finished());
            longest.await.unwrap();
            outside.0.await;
            assert!(matches!(outside.1.await, Err(TaskError::TimedOut(_))));
            assert_eq!(late.await.unwrap(), 7);
            beat.tick().await;
            let end = time::now();
            assert_eq!(end.checked_add(Duration::from_secs(1)), None);
            for more in [Duration::from_secs(1), Duration::MAX] {
                sleep(more).await;
                assert!(timeout(more, pending::<()>()).await.is_err());
                assert_eq!(time::now(), end);
            }
        });
        assert!(took < LONG / 4, "{took:?}");
    });
}

#[test]
fn a_thousand_years_take_no_time_and_are_exact() {
    within_deadline(|| {
        let year = HOUR * 8766;
        let (_, took) = virtually(async {
            let start = time::now();
            let shorter = spawn(sleep(250 * year));
            let given_up = spawn(sleep(180 * year));
            let mut log = Vec::new();
            for _ in 0..10 {
                sleep(100 * year).await;
                log.push((time::now() - start).as_secs() / year.as_secs());
                given_up.cancel();
                assert_eq!(shorter.is_finished(), log.len() > 2);
            }
            assert_eq!(log, [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
            for length in [500 * year, HOUR, Duration::from_nanos(1), 1000 * year] {
                let start = time::now();
                assert!(timeout(length, pending::<()>()).await.is_err());
                assert_eq!(time::now() - start, length);
                sleep(length).await;
                assert_eq!(time::now() - start, 2 * length);
            }
        });
        assert!(took < LONG / 4, "{took:?}");
    });
}

/// A sleep that a task waits for, which others may reset.
async fn wait_for(nap: Rc<RefCell<time::Sleep>>) -> Instant {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *nap.borrow_mut()).poll(cx)).await;
    time::now()
}

#[test]
fn a_sleep_that_is_reset_wakes_what_waits_for_it_at_the_new_time() {
    within_deadline(|| {
        virtually(async {
            let start = time::now();
            for (first, then) in [(60, 5), (5, 60), (5, 0)] {
                let [first, then] = [first, then].map(Duration::from_secs);
                let start = time::now();
                let nap = Rc::new(RefCell::new(sleep(first)));
                let waiting = spawn(wait_for(nap.clone()));
                yield_now().await;
                nap.borrow_mut().reset(start + then);
                assert_eq!(nap.borrow().is_elapsed(), then.is_zero());
                assert_eq!(waiting.await.unwrap() - start, then);
                assert!(nap.borrow().is_elapsed());
                // Done, and to be waited for again.
                nap.borrow_mut().reset(start + HOUR);
                assert!(!nap.borrow().is_elapsed());
                assert_eq!(nap.borrow().deadline(), Some(start + HOUR));
                assert_eq!(wait_for(nap).await - start, HOUR);
            }
            assert_eq!(time::now() - start, HOUR * 3);
        });
    });
}

/// It may be reset outside its loop; then it is polled again.
#[test]
fn a_sleep_that_is_reset_elsewhere_is_armed_by_the_next_poll() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let mut nap = sleep(HOUR);
        event_loop.block_on(async {
            assert!(crate::support::poll_once(&mut nap).is_pending());
        });
        let mut nap = thread::spawn(move || {
            nap.reset(Instant::now());
            nap
        })
        .join()
        .unwrap();
        event_loop.block_on(&mut nap);
        assert!(nap.is_elapsed());
        // On another loop, too.
        nap.reset(Instant::now());
        EventLoop::new().unwrap().block_on(nap);
    });
}

#[test]
fn intervals_begin_where_they_are_told_to() {
    within_deadline(|| {
        virtually(async {
            let second = Duration::from_secs(1);
            let start = time::now();
            let mut beat = time::interval_at(start + second * 5, second * 2);
            assert_eq!(beat.tick().await - start, second * 5);
            assert_eq!(beat.tick().await - start, second * 7);
            sleep(second).await;
            beat.reset();
            assert_eq!(beat.tick().await - start, second * 10);
            assert!(timeout(second, beat.tick()).await.is_err()); // at 11, with a wait begun
            beat.reset_after(second * 3);
            assert_eq!(beat.tick().await - start, second * 14);
            beat.reset_after(Duration::ZERO);
            assert_eq!(beat.tick().await - start, second * 14);
            beat.reset_at(start + second * 20);
            assert_eq!(beat.tick().await - start, second * 20);
            assert_eq!(beat.tick().await - start, second * 22);
            // One that begins in the past is late.
            let mut late =
                time::interval_at(start + second * 19, second * 2).missed_tick(MissedTick::Skip);
            assert_eq!(late.tick().await - start, second * 19);
            assert_eq!(late.tick().await - start, second * 23);
        });
    });
}

#[test]
fn a_clock_that_is_moved_lets_go_off_what_is_due() {
    within_deadline(|| {
        let (_, took) = virtually(async {
            let start = time::now();
            let log = Rc::new(RefCell::new(Vec::new()));
            for minute in [3, 1, 2, 61] {
                let log = log.clone();
                spawn(async move {
                    sleep(Duration::from_secs(60 * minute)).await;
                    log.borrow_mut().push(minute);
                })
                .detach();
            }
            time::advance(HOUR).await;
            assert_eq!(*log.borrow(), [1, 2, 3]);
            assert_eq!(time::now() - start, HOUR);
            // Also while something outside is awaited, when the clock would run at the real pace.
            let pool = ThreadPool::with_threads(1);
            let (release, stuck) = mpsc::channel::<()>();
            let outside = pool.spawn(move || stuck.recv().is_err());
            let waiting = spawn(outside);
            time::advance(HOUR).await;
            assert_eq!(*log.borrow(), [1, 2, 3, 61]);
            drop(release);
            assert!(waiting.await.unwrap().unwrap());
            time::advance(Duration::ZERO).await;
        });
        assert!(took < HOUR);
    });
}

#[test]
fn the_real_clock_cannot_be_moved() {
    within_deadline(|| {
        let said = crate::support::panic_message(|| trefoil::run(time::advance(HOUR)));
        assert!(said.contains("virtual_time()"), "{said}");
    });
}

#[test]
fn the_clock_of_a_loop_that_runs_is_stopped_and_goes_on() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let real = Instant::now();
        event_loop.block_on(async {
            let start = time::now();
            let before = spawn(sleep(HOUR)); // its deadline stays
            yield_now().await;
            time::pause();
            time::pause();
            let later = spawn(async move {
                sleep(2 * HOUR).await;
                time::now() - start
            });
            before.await.unwrap();
            let passed = time::now() - start;
            assert!((HOUR..HOUR + MINUTE).contains(&passed), "{passed:?}");
            let passed = later.await.unwrap();
            assert!(
                (2 * HOUR..2 * HOUR + MINUTE).contains(&passed),
                "{passed:?}"
            );
            time::advance(HOUR).await;
            assert!(time::now() - start >= 3 * HOUR);
            time::resume();
            time::resume();
            // At the real pace again: a result from outside comes in time.
            let (completer, task) = Completer::new();
            let (begins, begun) = mpsc::channel();
            thread::spawn(move || {
                begun.recv().unwrap();
                completer.complete(Ok(time::now()));
            });
            let (there, short) = (time::now(), Instant::now());
            sleep(Duration::from_millis(15)).await;
            assert!(short.elapsed() >= Duration::from_millis(15));
            assert!(time::now() - there >= Duration::from_millis(15));
            begins.send(()).unwrap();
            let outside = timeout(HOUR, task).await.unwrap().unwrap();
            assert!(time::now() > outside + 2 * HOUR, "it keeps its lead");
            time::pause();
        });
        event_loop.block_on(sleep(HOUR)); // it stands still
        assert!(real.elapsed() < MINUTE);
    });
}

#[cfg(unix)]
#[test]
fn a_clock_that_was_stopped_on_the_way_waits_for_pools_and_sockets() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        trefoil::run(async {
            time::pause();
            let (near, far) = UnixStream::pair().unwrap();
            let (begins, begun) = mpsc::channel();
            let task = pool.spawn(move || begun.recv().unwrap());
            let late = spawn(async move { timeout(HOUR, task).await });
            let real = Instant::now();
            let nap = timeout(Duration::from_millis(20), pending::<()>()).await;
            assert!(nap.is_err() && real.elapsed() >= Duration::from_millis(20));
            begins.send(()).unwrap();
            late.await.unwrap().unwrap().unwrap();
            far.write_all(b"x").await.unwrap();
            let mut buffer = [0];
            timeout(HOUR, near.read_exact(&mut buffer))
                .await
                .unwrap()
                .unwrap();
        });
    });
}

/// Nothing lies behind the end, so every wait is over there, however short.
#[test]
fn a_clock_at_its_end_ends_every_wait() {
    within_deadline(|| {
        virtually(async {
            time::advance(Duration::MAX).await;
            let end = time::now();
            for nanos in [1, 1_000_000, 999_999_999, 1_000_000_000, u64::MAX] {
                sleep(Duration::from_nanos(nanos)).await;
                let late = timeout(Duration::from_nanos(nanos), pending::<()>()).await;
                assert!(late.is_err());
            }
            interval(MINUTE).tick().await;
            assert_eq!(time::now(), end);
        });
        // The wait that brings the clock there.
        virtually(async {
            sleep(Duration::MAX).await;
            sleep(Duration::from_nanos(1)).await;
        });
    });
}

#[test]
#[should_panic(expected = "needs a paused clock")]
fn a_clock_that_goes_is_not_moved() {
    trefoil::run(async {
        time::pause();
        time::resume();
        time::advance(HOUR).await;
    });
}

#[test]
#[should_panic(expected = "none runs here")]
fn only_a_loop_has_a_clock_to_stop() {
    time::pause();
}
