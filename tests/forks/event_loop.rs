//! A forked child and the event loop of its parent: they share the set of watched descriptors,
//! which the child must not change.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::children::{ending, in_child, leave, split};
use crate::support::{Test, tests};
use trefoil::io::{AsyncFd, Command, UnixStream};
use trefoil::{EventLoop, TaskError, spawn, timeout, yield_now};

const PATIENCE: Duration = Duration::from_secs(30);

tests! {
    fn a_child_that_drops_a_socket_leaves_its_parents_watched() {
        let event_loop = EventLoop::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        event_loop.block_on(async {
            let mut room = [0];
            let waited = timeout(Duration::from_millis(1), near.read(&mut room)).await;
            assert!(waited.is_err(), "the loop watches it from now on");
        });
        let mut near = Some(near);
        in_child(|| drop(near.take()));
        let near = near.unwrap();
        event_loop.block_on(async {
            let reading = spawn(async move { near.read(&mut [0; 8]).await });
            yield_now().await;
            far.write_all(b"abc").await.unwrap();
            let read = timeout(Duration::from_secs(30), reading).await;
            assert_eq!(read.unwrap().unwrap().unwrap(), 3);
        });
    }

    fn a_child_that_waits_for_a_socket_fails_and_its_parent_misses_nothing() {
        let event_loop = EventLoop::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let (watched, _open) = UnixStream::pair().unwrap();
        let (own, _open) = UnixStream::pair().unwrap();
        event_loop.block_on(async {
            let (mut room, mut next) = ([0; 8], [0; 8]);
            let mut begun = pin!(near.read(&mut room));
            let early = timeout(Duration::from_millis(1), begun.as_mut()).await;
            assert!(early.is_err(), "the loop watches it from now on");
            let watched = AsyncFd::new(watched.as_fd()).unwrap();
            watched.writable().await.unwrap();
            let Some(child) = split() else {
                let results = [
                    begun.await.map(drop),
                    watched.readable().await,
                    own.read(&mut [0; 8]).await.map(drop),
                    spawn(async move { own.read(&mut [0; 8]).await.map(drop) }).await.unwrap(),
                ];
                let explains = |error: &io::Error| error.to_string().contains("forked");
                let fail = results.iter().all(|result| result.as_ref().is_err_and(explains));
                // Its timers go on, while its parent's sockets are busy.
                trefoil::time::sleep(Duration::from_millis(300)).await;
                if !fail {
                    eprintln!("{results:?}");
                }
                leave(i32::from(!fail));
            };
            far.write_all(b"abc").await.unwrap();
            assert_eq!(timeout(PATIENCE, begun).await.unwrap().unwrap(), 3);
            for _ in 0..20 {
                let reading = near.read(&mut next);
                far.write_all(b"abc").await.unwrap();
                assert_eq!(timeout(PATIENCE, reading).await.unwrap().unwrap(), 3);
                trefoil::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(ending(child), 0);
        });
    }

    fn a_child_does_not_end_what_its_parent_has() {
        let event_loop = EventLoop::new().unwrap();
        let command = || Command::new("cat").stdin(Stdio::piped()).kill_on_drop(true).spawn();
        let mut cat = Some(command().unwrap());
        let (near, far) = UnixStream::pair().unwrap();
        let (reader, writer) = far.into_split();
        let mut writer = Some(writer);
        in_child(|| drop((cat.take(), writer.take())));
        let (mut cat, writer) = (cat.unwrap(), writer.unwrap());
        event_loop.block_on(async {
            writer.write_all(b"abc").await.unwrap();
            assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 3);
            drop((reader, writer));
            assert_eq!(cat.wait().await.unwrap().code(), Some(0));
        });
    }

    fn a_parents_loop_takes_nothing_from_a_child() {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        in_child(|| {
            let with = || async { 3 };
            let tasks = [handle.spawn(async { 1 }), handle.call_soon(|| 2), handle.spawn_with(with)];
            for mut task in tasks {
                let ended = task.join_timeout(Duration::from_secs(5));
                assert!(matches!(ended, Err(TaskError::Closed)), "{ended:?}");
            }
        });
        let task = handle.spawn(async { 4 });
        assert_eq!(event_loop.block_on(task).unwrap(), 4);
    }

    fn what_waits_for_a_parents_loop_keeps_no_child_busy() {
        let mut event_loop = Some(EventLoop::new().unwrap());
        let task = event_loop.as_ref().unwrap().handle().spawn(async { 5 });
        in_child(|| {
            let event_loop = event_loop.take().unwrap();
            let late = event_loop.block_on(timeout(Duration::from_millis(1), pending::<()>()));
            assert!(matches!(late, Err(TaskError::TimedOut(_))), "{late:?}");
            let begin = Instant::now();
            drop(event_loop);
            assert!(begin.elapsed() < Duration::from_secs(4), "it waited for what nobody takes");
        });
        assert_eq!(event_loop.unwrap().block_on(task).unwrap(), 5);
    }

    fn tasks_of_a_parents_loops_are_closed() {
        let (send, receive) = mpsc::channel();
        let (end, ended) = trefoil::sync::channel::unbounded();
        let elsewhere = thread::spawn(move || {
            let event_loop = EventLoop::new().unwrap();
            send.send(event_loop.handle()).unwrap();
            event_loop.block_on(async { ended.recv().await.unwrap() });
        });
        let handle = receive.recv().unwrap();
        let here = EventLoop::new().unwrap();
        let of_both = || [handle.spawn(pending::<()>()), here.handle().spawn(pending())];
        let mut waiting = Vec::from(of_both());
        // Both loops take those, but not those that follow.
        handle.spawn(async {}).join().unwrap();
        here.block_on(here.handle().spawn(async {})).unwrap();
        waiting.extend(of_both());
        waiting.push(here.handle().spawn(async {})); // would end in the child, too
        in_child(|| {
            for task in &mut waiting {
                let ended = task.join_timeout(Duration::from_secs(5));
                assert!(matches!(ended, Err(TaskError::Closed)), "{ended:?}");
            }
            let awaited = here.block_on(waiting.pop().unwrap());
            assert!(matches!(awaited, Err(TaskError::Closed)), "{awaited:?}");
        });
        end.try_send(()).unwrap();
        elsewhere.join().unwrap();
    }
}
