//! A loop that another loop drives.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use trefoil::time::sleep;
use trefoil::{EventLoop, run, spawn};

use crate::support::{LONG, echo, pair, panic_message, within_deadline};

/// Drives `event_loop` as a foreign loop would. Returns how often that loop woke up.
fn drive(event_loop: &EventLoop, until: impl Fn() -> bool) -> usize {
    let mut woken = 0;
    while !until() {
        if event_loop.poll_once() {
            continue;
        }
        if until() {
            break;
        }
        let wait = event_loop
            .next_deadline()
            .map(|at| Timespec::try_from(at.saturating_duration_since(Instant::now())).unwrap());
        woken += 1;
        let wait = wait.unwrap_or(Timespec::try_from(LONG).unwrap());
        poll(&mut [PollFd::new(event_loop, PollFlags::IN)], Some(&wait)).unwrap();
    }
    woken
}

#[test]
fn sockets_timers_and_other_threads_through_a_foreign_loop() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let (tell, told) = mpsc::channel();
        let task = handle.spawn_with(move || async move {
            let (near, far) = pair().await;
            let far = spawn(echo(far));
            for n in 0..20 {
                let mut byte = [0];
                near.write_all(&[n]).await.unwrap();
                near.read_exact(&mut byte).await.unwrap();
                assert_eq!(byte, [n]);
                sleep(Duration::from_micros(300)).await;
            }
            drop(near);
            far.await.unwrap();
            tell.send(()).unwrap();
        });
        drive(&event_loop, || task.is_finished());
        task.join().unwrap();
        told.recv().unwrap();
        // Another thread spawns work while the foreign loop waits for the descriptor only.
        for _ in 0..200 {
            let handle = handle.clone();
            let over = Arc::new(AtomicBool::new(false));
            let tell = over.clone();
            let other = thread::spawn(move || {
                let one = handle.spawn(async { 1 }).join().unwrap();
                handle
                    .call_soon(move || tell.store(true, Ordering::Relaxed))
                    .detach();
                one
            });
            let woken = drive(&event_loop, || over.load(Ordering::Relaxed));
            assert!(woken < 100, "{woken}");
            assert_eq!(other.join().unwrap(), 1);
        }
    });
}

#[test]
fn it_says_when_it_wants_to_be_called_again() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        assert_eq!(event_loop.next_deadline(), None);
        assert!(!event_loop.poll_once());
        let readable = |event_loop: &EventLoop| {
            let mut fds = [PollFd::from_borrowed_fd(event_loop.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
        };
        assert!(!readable(&event_loop));
        // Work that is spawned between two calls makes the descriptor readable, once.
        let task = event_loop.handle().spawn(sleep(LONG));
        assert!(readable(&event_loop));
        assert!(event_loop.next_deadline().unwrap() <= Instant::now());
        while event_loop.poll_once() {}
        assert!(!readable(&event_loop));
        let left = event_loop.next_deadline().unwrap() - Instant::now();
        assert!(left > LONG / 2 && left <= LONG);
        // A task that always has something to do does not make the call hang.
        let busy = event_loop.handle().spawn(async {
            loop {
                trefoil::yield_now().await;
            }
        });
        for _ in 0..10 {
            assert!(event_loop.poll_once());
        }
        assert!(event_loop.next_deadline().unwrap() <= Instant::now());
        // `block_on` in between works as usual; a waker that its future leaves behind wakes
        // nothing.
        let waker = event_loop.block_on(std::future::poll_fn(|cx| {
            std::task::Poll::Ready(cx.waker().clone())
        }));
        busy.cancel();
        task.cancel();
        while event_loop.poll_once() {}
        waker.wake();
        assert!(event_loop.next_deadline().is_some());
        for _ in 0..3 {
            event_loop.poll_once();
        }
        assert_eq!(event_loop.next_deadline(), None);
        // Inside a loop it panics with a message.
        let words = panic_message(|| run(async { assert!(event_loop.poll_once()) }));
        assert!(words.contains("EventLoop::poll_once"), "{words}");
    });
}
