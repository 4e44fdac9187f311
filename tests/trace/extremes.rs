//! No time and all the time, and as much of everything as a number can say.

use std::future::{pending, ready};
use std::time::{Duration, Instant};

use trefoil::sync::Event;
use trefoil::{
    EventLoop, ProcessPool, Shutdown, Task, TaskError, ThreadPool, Until, time, timeout, trace,
};

use crate::deadline::alone;

/// Polls this once or twice.
async fn briefly(future: impl Future) {
    trefoil::select! {
        _ = future => {}
        () = trefoil::yield_now() => {}
    }
}

fn ended() -> Task<()> {
    let task = ThreadPool::with_threads(1).spawn(|| ());
    while !task.is_finished() {
        std::thread::yield_now();
    }
    task
}

type Case = (&'static str, fn(Duration));

/// Each public parameter that is a time: what it is of, and code that ends with any time.
const TIMES: &[Case] = &[
    ("time::sleep", |time| {
        trefoil::run(briefly(time::sleep(time)));
    }),
    ("time::interval", |time| {
        let tick = async |period| _ = time::interval(period).tick().await;
        match time.is_zero() {
            true => assert!(std::panic::catch_unwind(|| time::interval(time)).is_err()),
            false => trefoil::run(briefly(tick(time))),
        }
    }),
    ("time::interval_at", |time| {
        let period = time.max(Duration::from_nanos(1));
        let tick = async |period| _ = time::interval_at(Instant::now(), period).tick().await;
        trefoil::run(tick(period));
    }),
    ("Interval::reset_after", |time| {
        trefoil::run(async {
            let mut interval = time::interval(Duration::MAX);
            interval.reset_after(time);
            briefly(interval.tick()).await;
        });
    }),
    ("timeout", |time| {
        trefoil::run(async {
            timeout(time, ready(())).await.unwrap();
            briefly(timeout(time, pending::<()>())).await;
        });
    }),
    ("LoopHandle::call_later", |time| {
        let event_loop = EventLoop::new().unwrap();
        let task = event_loop.handle().call_later(time, || ());
        event_loop.block_on(async { briefly(task).await });
    }),
    ("EventLoopBuilder::slow_poll", |time| {
        let event_loop = EventLoop::builder().slow_poll(time, |_| {}).build();
        event_loop.unwrap().block_on(trefoil::yield_now());
    }),
    ("Task::join_timeout", |time| {
        ended().join_timeout(time).unwrap();
        let mut never = ThreadPool::with_threads(1).spawn(|| ()).cancel_on_drop();
        if time.is_zero() {
            _ = never.join_timeout(time);
        }
    }),
    ("wait", |time| {
        let wait = trefoil::wait([ended()], Until::All, Some(time));
        trefoil::run(async { _ = wait.await });
    }),
    ("Event::wait_timeout_blocking", |time| {
        let event = Event::new();
        event.set();
        assert!(event.wait_timeout_blocking(time));
    }),
    ("Receiver::recv_timeout", |time| {
        let (sender, receiver) = trefoil::process::channel::<u32>(1).unwrap();
        sender.send_blocking(1).unwrap();
        match receiver.recv_timeout(time) {
            Ok(value) => assert_eq!(value, 1),
            Err(error) => assert!(time.is_zero(), "{error}"),
        }
    }),
    ("ProcessPoolBuilder, ProcessCall", |time| {
        let procs = ProcessPool::builder().workers(1).grace(time);
        let procs = procs.max_restarts(u32::MAX, time).build().unwrap();
        let call = procs.call(|n: u32| n + 1).timeout(time).backoff(time);
        match call.spawn(1).join() {
            Ok(value) => assert_eq!(value, 2),
            Err(error) => assert!(matches!(error, TaskError::TimedOut(_)), "{error}"),
        }
        procs.shutdown_timeout(Shutdown::Wait, time);
    }),
    ("Actor::timeout", |time| {
        let procs = ProcessPool::with_workers(1).unwrap();
        let actor = procs.actor(1, |n: u32| n).unwrap().timeout(time);
        match actor.call(1, |n: u32, state: &mut u32| n + *state).join() {
            Ok(value) => assert_eq!(value, 2),
            Err(_) => assert!(time.is_zero()),
        }
    }),
    ("trace::keep_last, Recorder::pause", |time| {
        let recorder = trace::keep_last(time, 1 << 16).unwrap().pause(time);
        ended().join().unwrap();
        let events = recorder.trace().events();
        assert_eq!(events > 0, !time.is_zero(), "{events} events in {time:?}");
    }),
];

#[test]
fn no_time_and_all_the_time() {
    alone("extremes::no_time_and_all_the_time", "", || {
        for (what, code) in TIMES {
            for time in [
                Duration::ZERO,
                Duration::from_secs(18_446_744_074),
                Duration::MAX,
            ] {
                eprintln!("{what}: {time:?}"); // the last one is that which hangs
                code(time);
            }
        }
    });
}

#[test]
fn as_many_as_a_number_can_say() {
    alone("extremes::as_many_as_a_number_can_say", "", || {
        let recorder = trace::keep_last(Duration::MAX, usize::MAX).unwrap();
        let recorder = recorder.at_most(u64::MAX);
        let recording = trace::start_limited(usize::MAX).unwrap();
        ended().join().unwrap();
        assert!(recording.stop().events() > 0 && recorder.trace().events() > 0);
        drop(recorder);
        for bytes in [0, 1] {
            let recorder = trace::keep_last(Duration::MAX, bytes).unwrap();
            ended().join().unwrap();
            drop(recorder.trace());
        }
        assert_eq!(
            trefoil::inspect::task_parts().nth(usize::MAX).map(|_| ()),
            None
        );
    });
}
