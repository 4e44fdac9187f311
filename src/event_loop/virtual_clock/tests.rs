//! Tests of the virtual clock, with the loop around it.

use super::*;
use crate::event_loop::{EventLoop, entered_loop, spawn};
use crate::task::Completer;
use crate::timer;
use crate::timer::Alarm;
use std::future::poll_fn;

/// How many tasks this loop remembers.
fn known() -> usize {
    let known = entered_loop::with(|local| {
        let awaited = &local.virtual_clock()?.awaited;
        let known = awaited.take();
        let count = known.tasks.len();
        awaited.set(known);
        Some(count)
    });
    known.flatten().expect("a virtual clock")
}

#[test]
fn what_is_no_longer_waited_for_does_not_stay() {
    let event_loop = EventLoop::builder().virtual_time().build().unwrap();
    event_loop.block_on(async {
        let start = timer::now();
        // A task that waits all the time, added before all others.
        let (first, promise) = Completer::new();
        let first_waits = spawn(promise);
        for n in 0..4 * MIN_KEPT as u32 {
            let (completer, promise) = Completer::<u32>::new();
            let waiter = spawn(promise);
            let mut alarm = Alarm::after(Duration::from_secs(1));
            poll_fn(|cx| alarm.poll_elapsed(cx)).await;
            match n % 3 {
                0 => completer.complete(Ok(n)),
                1 => drop(completer),
                _ => assert!(waiter.cancel()),
            }
            assert_eq!(matches!(waiter.await, Ok(Ok(_))), n % 3 == 0);
            assert!(known() <= 2 * MIN_KEPT, "{} after {n}", known());
        }
        assert!(timer::now() - start >= Duration::from_secs(4 * MIN_KEPT as u64));
        first.complete(Ok(7));
        assert!(matches!(first_waits.await, Ok(Ok(7))));
    });
}
