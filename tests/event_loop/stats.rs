//! The numbers of a loop, seen by itself and by other threads.

use std::future::pending;
use std::sync::mpsc;
use std::thread;

use trefoil::time::sleep;
use trefoil::{EventLoop, LoopHandle, spawn, yield_now};

use crate::support::{LONG, wait_until, within_deadline};

#[test]
fn a_loop_counts_its_tasks_timers_and_polls() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        assert_eq!(handle.stats(), Default::default());
        event_loop.block_on(async {
            let waits = spawn(pending::<()>());
            let sleeps = spawn(sleep(LONG));
            assert_eq!((handle.stats().tasks, handle.stats().ready), (2, 2));
            yield_now().await;
            let now = handle.stats();
            assert_eq!((now.tasks, now.timers), (2, 1));
            waits.cancel();
            sleeps.cancel();
            while handle.stats().tasks > 0 {
                yield_now().await;
            }
            assert_eq!((handle.stats().ready, handle.stats().timers), (0, 0));
        });
        let before = handle.stats().polls;
        event_loop.block_on(async {
            for _ in 0..10_000 {
                yield_now().await;
            }
        });
        assert_eq!(handle.stats().polls - before, 10_001);
    });
}

#[test]
fn other_threads_see_what_a_loop_is_doing() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = trefoil::Completer::<()>::new();
        let running = thread::spawn(move || {
            trefoil::run(async move {
                let _all: Vec<_> = (0..5).map(|_| spawn(sleep(LONG))).collect();
                tell.send(LoopHandle::current()).unwrap();
                let _ = stopped.await;
            });
        });
        let handle = told.recv().unwrap();
        wait_until("the loop sleeps", || {
            let now = handle.stats();
            (now.tasks, now.ready, now.timers) == (5, 0, 5)
        });
        assert!(handle.stats().polls >= 6);
        stop.complete(Ok(()));
        running.join().unwrap();
        let end = handle.stats();
        assert_eq!(
            (end.tasks, end.ready, end.timers),
            (0, 0, 0),
            "the loop has ended"
        );
    });
}
