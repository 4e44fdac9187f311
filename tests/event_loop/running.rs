//! Running tasks: their order, panics, the end of a loop, misuse.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use trefoil::time::{interval, sleep};
use trefoil::{Completer, EventLoop, LoopHandle, Task, TaskError, run, spawn, timeout, yield_now};

use crate::support::{Dropped, LONG, panic_message, poll_once, within_deadline};

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
            // The root future takes its turn like every task.
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
            // This code still runs on the outer loop.
            sleep(Duration::from_millis(1)).await;
            assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        });
    });
}

/// Runs a loop, and uses its clock, where its thread ends.
struct Late {
    virtual_time: bool,
    tell: mpsc::Sender<&'static str>,
}

impl Drop for Late {
    fn drop(&mut self) {
        let events = if self.virtual_time {
            EventLoop::builder().virtual_time().build().unwrap()
        } else {
            EventLoop::new().unwrap()
        };
        let task = events.handle().spawn(async { 1 });
        let ended = events.block_on(async {
            sleep(Duration::from_millis(1)).await;
            let late = timeout(Duration::from_millis(1), pending::<()>());
            assert!(late.await.is_err());
            assert!(LoopHandle::try_current().is_some());
            spawn(async { task.await.unwrap() + 1 }).await.unwrap()
        });
        assert_eq!(ended, 2);
        drop(events);
        assert!(LoopHandle::try_current().is_none());
        let _ = self.tell.send("ended");
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

#[test]
fn a_loop_runs_in_the_destructor_of_a_thread_local() {
    within_deadline(|| {
        for virtual_time in [false, true] {
            for first in [false, true] {
                let (tell, told) = mpsc::channel();
                let thread = thread::spawn(move || {
                    let late = Late { virtual_time, tell };
                    // Destructors of thread-locals run in the order of first use or in reverse, so
                    // one of the two runs after the loop's.
                    if first {
                        LATE.set(Some(late));
                        run(async { sleep(Duration::from_millis(1)).await });
                    } else {
                        run(async { sleep(Duration::from_millis(1)).await });
                        LATE.set(Some(late));
                    }
                });
                thread.join().unwrap();
                assert_eq!(told.recv(), Ok("ended"));
            }
        }
    });
}
