//! Sleeps, intervals and timeouts.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use trefoil::time::{self, MissedTick, interval, interval_at, sleep, sleep_until, timeout};
use trefoil::{Completer, EventLoop, Task, TaskError, run, spawn, yield_now};

use crate::support::{
    LONG, alone, count_threads, panic_message, poll_once, wait_until, within_deadline,
};

/// Deadlines that begin `wait` from now, in the order in which their sleepers woke; `None` if one
/// of them began too late to sleep.
fn woken(wait: Duration) -> Option<Vec<Instant>> {
    run(async move {
        let log = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now() + wait;
        let tasks: Vec<Task<bool>> = (0..500_u64)
            .map(|n| {
                let deadline = start + Duration::from_micros(n * 7919 % 500 * 37);
                let log = log.clone();
                spawn(async move {
                    let in_time = Instant::now() < start;
                    sleep_until(deadline).await;
                    let now = Instant::now();
                    assert!(now >= deadline, "{:?} early", deadline - now);
                    log.borrow_mut().push(deadline);
                    in_time
                })
            })
            .collect();
        let mut all_in_time = true;
        for task in tasks {
            all_in_time &= task.await.unwrap();
        }
        all_in_time.then(|| log.take())
    })
}

#[test]
fn sleepers_wake_in_order_and_never_early() {
    within_deadline(|| {
        let waits = [20, 200, 2_000, 20_000].map(Duration::from_millis);
        let log = waits.into_iter().find_map(woken).unwrap();
        assert_eq!(log.len(), 500);
        assert!(log.is_sorted());
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
        for period in [1, 1 << 40] {
            // Whether the next tick is due or not.
            let mut beat = interval(Duration::from_nanos(period));
            run(async { beat.tick().await });
            let elsewhere = panic_message(|| {
                run(async { beat.tick().await });
            });
            assert!(elsewhere.contains("another event loop"), "{elsewhere}");
        }
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
                    other => panic!("{other:?}"),
                }
            }
        });
    });
}

/// Reset by the task that waits for it, during the wait, and by other tasks.
#[test]
fn an_interval_that_is_reset_wakes_what_waits_for_it() {
    within_deadline(|| {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        event_loop.block_on(async {
            let mut beat = interval(LONG);
            let first = beat.tick().await;
            let beat = Rc::new(RefCell::new(beat));
            let mut reset = false;
            let tick = poll_fn(|cx| {
                let mut beat = beat.borrow_mut();
                let tick = beat.poll_tick(cx);
                if !reset {
                    reset = true;
                    assert!(tick.is_pending());
                    beat.reset_after(LONG * 2);
                    return Poll::Pending;
                }
                tick
            });
            assert_eq!(tick.await, first + LONG * 2);
            for (after, due) in [(LONG * 5, LONG * 7), (LONG / 2, LONG * 15 / 2)] {
                let waited_for = beat.clone();
                let waiting = spawn(poll_fn(move |cx| waited_for.borrow_mut().poll_tick(cx)));
                yield_now().await;
                beat.borrow_mut().reset_after(after);
                assert_eq!(waiting.await.unwrap(), first + due);
                assert_eq!(time::now(), first + due);
            }
        });
    });
}

#[test]
fn an_interval_is_reset_by_the_clock_that_it_ticks_by() {
    within_deadline(|| {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        let mut beat = interval(LONG);
        let mut now = event_loop.block_on(async {
            beat.tick().await;
            sleep(LONG * 10).await;
            time::now()
        });
        beat.reset();
        now += LONG;
        assert_eq!(event_loop.block_on(beat.tick()), now);
        // On another loop, and another thread, in the middle of a wait.
        let late = event_loop.block_on(timeout(Duration::from_secs(1), beat.tick()));
        assert!(late.is_err());
        now += Duration::from_secs(1) + LONG * 3;
        let mut beat = thread::spawn(|| {
            run(async {
                beat.reset_after(LONG * 3);
                beat
            })
        })
        .join()
        .unwrap();
        assert_eq!(event_loop.block_on(beat.tick()), now);
    });
}

/// Something that waits for a deadline, and can be given another one.
trait Wait: Send + 'static {
    fn begin(first: Instant) -> Self;
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    fn set(&mut self, deadline: Instant);
}

impl Wait for time::Sleep {
    fn begin(first: Instant) -> Self {
        sleep_until(first)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(self).poll(cx)
    }

    fn set(&mut self, deadline: Instant) {
        self.reset(deadline);
    }
}

impl Wait for time::Interval {
    fn begin(first: Instant) -> Self {
        interval_at(first, LONG)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_tick(cx).map(drop)
    }

    fn set(&mut self, deadline: Instant) {
        self.reset_at(deadline);
    }
}

/// Where a wait is reset, while a task of the loop waits for it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// Another task of the loop.
    Task,
    /// The loop's thread, between two calls of `block_on`.
    BetweenRuns,
    /// The loop's thread, between two turns that another loop drives.
    BetweenTurns,
    /// Another thread, while the loop sleeps.
    Thread,
    /// Another thread, while the loop does not run.
    ThreadBetweenRuns,
}

/// A task begins to wait until `first`; at `place` the wait is set to `then`. Returns once the wait
/// is over.
fn wait_that_is_reset<W: Wait>(
    event_loop: &EventLoop,
    first: Instant,
    place: Place,
    then: Instant,
) {
    let wait = Arc::new(Mutex::new(W::begin(first)));
    let waits = wait.clone();
    let waits = event_loop.spawn(poll_fn(move |cx| waits.lock().unwrap().poll_end(cx)));
    let set = move || wait.lock().unwrap().set(then);
    match place {
        Place::Task => event_loop.block_on(async {
            yield_now().await;
            set();
        }),
        Place::BetweenRuns => {
            event_loop.block_on(yield_now());
            set();
        }
        Place::BetweenTurns => {
            event_loop.poll_once();
            set();
            while !waits.is_finished() {
                event_loop.poll_once();
            }
        }
        Place::Thread => {
            event_loop.block_on(yield_now());
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(2)); // the loop may sleep by then, or not
                set();
            });
        }
        Place::ThreadBetweenRuns => {
            event_loop.block_on(yield_now());
            thread::spawn(set).join().unwrap();
        }
    }
    event_loop.block_on(waits).unwrap();
}

/// A task is woken for the deadline that was set last, whoever sets it, and where.
#[test]
fn a_wait_that_is_reset_between_polls_wakes_its_task() {
    fn check<W: Wait>() {
        let places = [
            Place::Task,
            Place::BetweenRuns,
            Place::BetweenTurns,
            Place::Thread,
            Place::ThreadBetweenRuns,
        ];
        for place in places {
            for after in [0, 5] {
                let event_loop = EventLoop::new().unwrap();
                let begun = Instant::now();
                let then = begun + Duration::from_millis(after);
                wait_that_is_reset::<W>(&event_loop, begun + LONG * 100, place, then);
                assert!(Instant::now() >= then, "{place:?} {after}");
            }
        }
        // A clock that stands still meanwhile: exact, in both directions.
        for place in [Place::Task, Place::BetweenRuns, Place::ThreadBetweenRuns] {
            for (first, then) in [(LONG * 9, LONG), (LONG, LONG * 9)] {
                let event_loop = EventLoop::builder().virtual_time().build().unwrap();
                let begun = event_loop.block_on(async { time::now() });
                wait_that_is_reset::<W>(&event_loop, begun + first, place, begun + then);
                let ended = event_loop.block_on(async { time::now() });
                assert_eq!(ended, begun + then, "{place:?}");
            }
        }
    }
    within_deadline(|| {
        check::<time::Sleep>();
        check::<time::Interval>();
    });
}

/// Reset when it is due and its task has been woken, but not polled.
#[test]
fn a_wait_that_is_reset_when_it_is_due_goes_on() {
    within_deadline(|| {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        event_loop.block_on(async {
            let begun = time::now();
            let wait = Rc::new(RefCell::new(sleep(LONG)));
            let set = wait.clone();
            // Its timer is the first, so this task runs first.
            let resets = spawn(async move {
                sleep(LONG).await;
                set.borrow_mut().reset(begun + LONG * 3);
            });
            let waits = spawn(poll_fn(move |cx| {
                Pin::new(&mut *wait.borrow_mut()).poll(cx)
            }));
            resets.await.unwrap();
            waits.await.unwrap();
            assert_eq!(time::now(), begun + LONG * 3);
        });
    });
}

/// The loop of its first poll has ended: from its next poll on it belongs to another one.
#[test]
fn a_sleep_that_is_reset_after_its_loop_has_ended_waits_on_another() {
    within_deadline(|| {
        for elsewhere in [false, true] {
            let mut nap = sleep(LONG);
            run(async { assert!(poll_once(&mut nap).is_pending()) });
            let then = Instant::now() + Duration::from_millis(2);
            let nap = match elsewhere {
                false => {
                    nap.reset(then);
                    nap
                }
                true => thread::spawn(move || {
                    nap.reset(then);
                    nap
                })
                .join()
                .unwrap(),
            };
            run(nap);
            assert!(Instant::now() >= then);
        }
    });
}

#[test]
fn an_interval_that_is_always_late_lets_others_run() {
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
            timeout(short, pending::<()>()).join(),
            Err(TaskError::TimedOut(_))
        ));
        assert!(start.elapsed() >= short);
        assert_eq!(timeout(LONG, async { 1 }).join().unwrap(), 1);
        // With.
        run(async {
            let start = Instant::now();
            assert!(matches!(
                timeout(short, pending::<()>()).await,
                Err(TaskError::TimedOut(_))
            ));
            assert!(start.elapsed() >= short);
            assert_eq!(timeout(LONG, async { 2 }).await.unwrap(), 2);
        });
        // Begun on a loop that ends, waited for on a thread, and the other way round.
        // (Not over when it has just begun, however little of a processor there is.)
        let some = Duration::from_millis(500);
        let mut moved = Box::pin(timeout(some, pending::<()>()));
        run(async { assert!(poll_once(&mut moved).is_pending()) });
        let mut moved = thread::spawn(move || {
            assert!(poll_once(&mut moved).is_pending());
            moved
        })
        .join()
        .unwrap();
        assert!(matches!(
            run(async { (&mut moved).await }),
            Err(TaskError::TimedOut(_))
        ));
        // Begun on a loop, waited for on another thread while the first loop sleeps on.
        run(async {
            let mut moved = Box::pin(timeout(some, pending::<()>()));
            assert!(poll_once(&mut moved).is_pending());
            let (completer, ended) = Completer::new();
            thread::spawn(move || completer.complete(Ok(run(moved))));
            assert!(matches!(ended.await.unwrap(), Err(TaskError::TimedOut(_))));
        });
    });
}

#[test]
fn the_timer_thread_starts_on_need_and_ends() {
    alone("time::the_timer_thread_starts_on_need_and_ends", "", || {
        run(async {
            let _ = timeout(Duration::from_millis(2), pending::<()>()).await;
            assert_eq!(
                count_threads("trefoil-helper"),
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
                        let _ = timeout(wait, pending::<()>()).join();
                        assert!(start.elapsed() >= wait);
                    })
                })
                .collect();
            wait_until("one timer thread", || count_threads("trefoil-helper") == 1);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            wait_until("the timer thread's end", || {
                count_threads("trefoil-helper") == 0
            });
        }
    });
}

/// Like a suspended machine, as far as a test can simulate it: the process runs no code for a
/// while, and finds all timers overdue.
#[test]
fn a_process_that_was_stopped_finds_overdue_timers() {
    alone(
        "time::a_process_that_was_stopped_finds_overdue_timers",
        "",
        || {
            const STOPPED: Duration = Duration::from_millis(300);
            run(async {
                let start = Instant::now();
                let order = Rc::new(RefCell::new(Vec::new()));
                // Deadlines during the stop, the later ones first; and one well after it. Only a
                // task that waits before its deadline has a place in the order.
                let sleepers: Vec<Task<()>> = (1..=20_u32)
                    .rev()
                    .chain([60])
                    .map(|n| {
                        let order = order.clone();
                        spawn(async move {
                            let due = Duration::from_millis(10) * n;
                            let waits = start.elapsed() < due;
                            sleep_until(start + due).await;
                            assert!(start.elapsed() >= due);
                            if waits {
                                order.borrow_mut().push(n);
                            }
                        })
                    })
                    .collect();
                let limit = spawn(timeout(Duration::from_millis(20), pending::<()>()));
                let mut skipping =
                    interval(Duration::from_millis(10)).missed_tick(MissedTick::Skip);
                skipping.tick().await;
                // Another process sends the signals: a stopped process cannot continue by itself.
                let me = std::process::id();
                let mut before = Instant::now();
                let mut stopper = std::process::Command::new("sh")
                    .args([
                        "-c",
                        &format!("kill -STOP {me}; sleep 0.3; kill -CONT {me}"),
                    ])
                    .spawn()
                    .unwrap();
                // Until one tick takes as long as the stop; the missed ticks are not made up for.
                loop {
                    skipping.tick().await;
                    if before.elapsed() >= STOPPED / 2 {
                        assert!(skipping.tick().await >= before + STOPPED / 2);
                        break;
                    }
                    before = Instant::now();
                }
                assert!(matches!(limit.await, Ok(Err(TaskError::TimedOut(_)))));
                for sleeper in sleepers {
                    sleeper.await.unwrap();
                }
                assert!(order.borrow().is_sorted(), "{order:?}");
                assert!(stopper.wait().unwrap().success());
            });
        },
    );
}

/// The thread that polls waits a little instead: nothing spins, and each ends in time.
#[cfg(target_os = "linux")]
#[test]
fn deadlines_without_a_loop_where_the_system_gives_no_thread() {
    use crate::support::{ONE_HEAP, threads_are_refused};
    alone(
        "time::deadlines_without_a_loop_where_the_system_gives_no_thread",
        ONE_HEAP,
        || {
            threads_are_refused(true);
            for count in [1, 20] {
                let polls = Cell::new(0);
                let first = Instant::now() + Duration::from_millis(200);
                let mut all: Vec<_> = (0..count)
                    .map(|n| {
                        let length = Duration::from_millis(200 + n);
                        Box::pin(timeout(
                            length,
                            poll_fn(|_| {
                                polls.set(polls.get() + 1);
                                Poll::<()>::Pending
                            }),
                        ))
                    })
                    .collect();
                let both = poll_fn(|cx| {
                    all.retain_mut(|one| match one.as_mut().poll(cx) {
                        Poll::Pending => true,
                        Poll::Ready(ended) => {
                            assert!(ended.is_err());
                            false
                        }
                    });
                    if all.is_empty() {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                });
                timeout(LONG, both).join().unwrap();
                assert!(Instant::now() >= first);
                // One waits ten milliseconds at a time, or longer on a busy machine, and the others
                // pass meanwhile.
                let rounds = polls.get() / count;
                assert!((1..100).contains(&rounds), "{rounds} rounds of {count}");
            }
            assert_eq!(count_threads("trefoil-helper"), 0);
        },
    );
}
