//! Root futures that spawn tasks when they are dropped: after their output, or after a panic.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

use trefoil::time::{sleep, timeout};
use trefoil::{EventLoop, Task, TaskError, run, spawn, yield_now};

use crate::support::{Dropped, within_deadline};

/// When dropped, spawns a task that never ends by itself, and sends the task.
struct Late(Sender<Task<()>>, Sender<ThreadId>);

impl Late {
    fn new() -> (Self, Receiver<Task<()>>, Receiver<ThreadId>) {
        let (tell, told) = mpsc::channel();
        let (gone, goes) = mpsc::channel();
        (Self(tell, gone), told, goes)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let guard = Dropped(self.1.clone());
        let task = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let _ = self.0.send(task);
    }
}

/// How many other tasks the loop has.
const OTHERS: usize = 3;

fn others() -> Vec<Task<()>> {
    (0..OTHERS).map(|_| spawn(pending::<()>())).collect()
}

fn is_cancelled(mut task: Task<()>) {
    assert!(matches!(task.try_join(), Some(Err(TaskError::Cancelled))));
}

#[test]
fn what_it_spawns_then_ends_with_the_loop() {
    within_deadline(|| {
        for panics in [false, true] {
            let (late, told, goes) = Late::new();
            let mut kept = Vec::new();
            let result = catch_unwind(AssertUnwindSafe(|| {
                // Dropped after its panic, or after the output of `timeout`.
                run(timeout(
                    Duration::from_millis(1),
                    poll_fn(move |_| {
                        let _held = &late;
                        if kept.is_empty() {
                            kept = others();
                        }
                        assert!(!panics, "on purpose");
                        Poll::<()>::Pending
                    }),
                ))
            }));
            assert_eq!(result.is_err(), panics);
            is_cancelled(told.recv().unwrap());
            assert_eq!(goes.recv().unwrap(), thread::current().id());
        }
    });
}

#[test]
fn what_it_spawns_then_is_one_of_the_loops_tasks() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let before = event_loop.block_on(async {
            let before = others();
            yield_now().await;
            before
        });
        let (late, told, goes) = Late::new();
        let output = event_loop.block_on(poll_fn(move |_| {
            let _held = &late;
            Poll::Ready(7)
        }));
        assert_eq!(output, 7);
        let late = told.recv().unwrap();
        // It has its own place in the table, and no other task ends with it.
        event_loop.block_on(async {
            sleep(Duration::from_millis(1)).await;
            assert!(!late.is_finished());
            late.cancel();
            yield_now().await;
        });
        is_cancelled(late);
        assert!(goes.recv().is_ok());
        assert!(before.iter().all(|other| !other.is_finished()));
        drop(event_loop);
        before.into_iter().for_each(is_cancelled);
    });
}

#[test]
fn a_root_future_yields_to_what_it_has_made_ready_since_it_was_woken() {
    within_deadline(|| {
        run(async {
            poll_fn(|cx| {
                cx.waker().wake_by_ref(); // as a lock that is passed on to it does
                Poll::Ready(())
            })
            .await;
            let task = spawn(async {});
            yield_now().await;
            assert!(task.is_finished());
        });
    });
}
