//! Tasks that wake themselves: they run again after the others, whatever happens to them meanwhile.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use trefoil::{EventLoop, TaskError, ThreadPool, spawn, yield_now};

use crate::support::within_deadline;

/// Yields for ever; counts how often, and when it is dropped.
async fn yields(count: Rc<Cell<usize>>, dropped: Rc<Cell<bool>>) {
    struct Says(Rc<Cell<bool>>);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let _says = Says(dropped);
    loop {
        count.set(count.get() + 1);
        yield_now().await;
    }
}

#[test]
fn a_task_cancelled_after_a_yield_is_not_polled_again() {
    within_deadline(|| {
        trefoil::run(async {
            let (count, dropped) = <(Rc<Cell<usize>>, Rc<Cell<bool>>)>::default();
            let yielder = spawn(yields(count.clone(), dropped.clone()));
            yield_now().await;
            let so_far = count.get();
            assert!(so_far > 0 && yielder.cancel());
            assert!(matches!(yielder.await, Err(TaskError::Cancelled)));
            assert!(dropped.get());
            assert_eq!(count.get(), so_far);
        });
    });
}

#[test]
fn a_loop_that_ends_drops_yielded_tasks() {
    within_deadline(|| {
        let (count, dropped) = <(Rc<Cell<usize>>, Rc<Cell<bool>>)>::default();
        let event_loop = EventLoop::new().unwrap();
        let [task] = event_loop.block_on(async {
            let task = spawn(yields(count.clone(), dropped.clone()));
            yield_now().await;
            [task]
        });
        assert!(count.get() > 0 && !dropped.get());
        drop(event_loop);
        assert!(dropped.get());
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    });
}

#[test]
fn a_yield_lets_all_others_run_once() {
    within_deadline(|| {
        trefoil::run(async {
            let order = Rc::new(std::cell::RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..3)
                .map(|task| {
                    let order = order.clone();
                    spawn(async move {
                        for _ in 0..3 {
                            order.borrow_mut().push(task);
                            yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        });
    });
}

/// A pool's worker does part of a poll: a wake-up there does not count as the task's own.
#[test]
fn a_wake_up_by_a_thread_that_helps_with_the_poll() {
    within_deadline(|| {
        let pool = Rc::new(ThreadPool::with_threads(2));
        trefoil::run(async {
            for _ in 0..200 {
                let pool = pool.clone();
                let mut polls = 0;
                spawn(poll_fn(move |cx| {
                    polls += 1;
                    if polls == 3 {
                        return Poll::Ready(());
                    }
                    let waker = cx.waker();
                    pool.broadcast(|index| {
                        if index == 1 {
                            waker.wake_by_ref();
                        }
                    });
                    Poll::Pending
                }))
                .await
                .unwrap();
            }
        });
    });
}

#[test]
fn wake_ups_from_elsewhere_while_it_yields_are_not_lost() {
    within_deadline(|| {
        const ROUNDS: usize = 2_000;
        let rung = Arc::new(AtomicUsize::new(0));
        trefoil::run(async {
            let (send, receive) = std::sync::mpsc::channel::<std::task::Waker>();
            let ringer = std::thread::spawn({
                let rung = rung.clone();
                move || {
                    for waker in receive {
                        rung.fetch_add(1, Ordering::SeqCst);
                        waker.wake();
                    }
                }
            });
            let rung = rung.clone();
            let task = spawn(async move {
                for round in 1..=ROUNDS {
                    let mut yields = round % 4;
                    let mut asked = false;
                    poll_fn(|cx| {
                        if !asked {
                            asked = true;
                            send.send(cx.waker().clone()).unwrap();
                        }
                        if rung.load(Ordering::SeqCst) == round {
                            return Poll::Ready(());
                        }
                        if yields > 0 {
                            yields -= 1;
                            cx.waker().wake_by_ref();
                        }
                        Poll::Pending
                    })
                    .await;
                }
            });
            task.await.unwrap();
            ringer.join().unwrap();
        });
        assert_eq!(rung.load(Ordering::SeqCst), ROUNDS);
    });
}

/// The previous root future was woken in its last poll: that does not wake the next one.
#[test]
fn a_wake_of_the_last_root_future_gives_the_next_one_no_place() {
    let event_loop = EventLoop::new().unwrap();
    let ran = Rc::new(Cell::new(false));
    let runs = ran.clone();
    event_loop.block_on(async move {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        })
        .await;
        spawn(async move { runs.set(true) }).detach();
    });
    assert!(!ran.get());
    event_loop.block_on(async {
        yield_now().await;
        assert!(ran.get(), "what was ready has not run");
    });
}
