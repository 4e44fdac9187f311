//! Snapshots of a loop's tasks, from any thread, at any time.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use trefoil::event_loop::{TaskInfo, TaskState};
use trefoil::time::{sleep, timeout};
use trefoil::{EventLoop, LoopHandle, Snapshot, ThreadPool, run, spawn, yield_now};

use crate::support::{LONG, pair, within_deadline};

fn named<'a>(snapshot: &'a Snapshot, name: &str) -> &'a TaskInfo {
    let found = snapshot
        .tasks()
        .iter()
        .find(|t| t.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("no {name}: {snapshot}"))
}

#[test]
fn what_each_waits_for_and_whose_child_it_is() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        run(async {
            let (near, far) = pair().await;
            let (release, held) = mpsc::channel::<()>();
            let job = pool.spawn(move || held.recv());
            let job_id = job.id();
            let line = line!() + 1;
            let parent = spawn(async move {
                let child = spawn(sleep(LONG)).named("child");
                child.await.unwrap();
            })
            .named("parent");
            let reading = spawn(async move {
                let _ = timeout(LONG, near.read(&mut [0])).await;
            })
            .named("reading");
            let outside = spawn(job).named("outside");
            let channel = spawn(pending::<()>()).named("channel");
            for _ in 0..5 {
                yield_now().await;
            }
            let queued = spawn(async {}).named("queued");
            let snapshot = LoopHandle::current().snapshot();
            assert!(snapshot.is_complete());
            assert_eq!(snapshot.tasks().len(), 6, "{snapshot}");
            assert!(snapshot.tasks().is_sorted_by_key(|task| task.id));
            let (p, c) = (named(&snapshot, "parent"), named(&snapshot, "child"));
            assert_eq!((p.parent, c.parent), (None, Some(parent.id())));
            assert_eq!(p.waits_for.task, Some(c.id));
            assert_eq!(p.spawned_at.line(), line);
            assert!(c.waits_for.timer && !c.waits_for.read && c.waits_for.task.is_none());
            assert_eq!((p.state, p.polls), (TaskState::Waiting, 1));
            let r = named(&snapshot, "reading").waits_for;
            assert!(r.read && r.timer && !r.write);
            assert_eq!(named(&snapshot, "outside").waits_for.task, Some(job_id));
            let nothing = named(&snapshot, "channel").waits_for;
            assert_eq!(nothing, trefoil::event_loop::WaitsFor::default());
            assert_eq!(named(&snapshot, "queued").state, TaskState::Queued);
            assert_eq!(p.time_in_polls, None);
            let root = snapshot.root().unwrap();
            assert!(root.spawned_at.file().ends_with("snapshot.rs"));
            // The tree: a child is shown below its parent, indented.
            let text = snapshot.to_string();
            assert_eq!(text, format!("{snapshot:?}"));
            let at = |what: &str| {
                let line = text.lines().position(|line| line.contains(what));
                let line = line.unwrap_or_else(|| panic!("no {what}: {text}"));
                (line, text.lines().nth(line).unwrap().find('#').unwrap())
            };
            let (above, below) = (at("`parent`"), at("`child`"));
            assert_eq!(below.0, above.0 + 1, "{text}");
            assert!(below.1 > above.1, "{text}");
            drop((far, release));
            outside.await.unwrap().unwrap().unwrap_err();
            parent.cancel();
            reading.await.unwrap();
            channel.cancel();
            queued.await.unwrap();
            yield_now().await;
        });
    });
}

#[test]
fn from_another_thread_while_it_sleeps_runs_rests_and_after_its_end() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        assert!(handle.snapshot().tasks().is_empty());
        event_loop.block_on(async {
            spawn(pending::<()>()).named("stays").detach();
            yield_now().await;
        });
        // While the loop does not run.
        named(&handle.snapshot(), "stays");
        let ask = handle.clone();
        event_loop.block_on(async {
            // While the loop sleeps, which a snapshot does not wake.
            let asked = thread::spawn(move || ask.snapshot());
            while !asked.is_finished() {
                sleep(Duration::from_millis(5)).await;
            }
            named(&asked.join().unwrap(), "stays");
        });
        // While the loop runs all the time.
        let over = Arc::new(AtomicBool::new(false));
        event_loop.block_on(async {
            let busy = spawn(async {
                loop {
                    yield_now().await;
                }
            });
            let (ask, told) = (handle.clone(), over.clone());
            let asker = thread::spawn(move || {
                for _ in 0..200 {
                    let snapshot = ask.snapshot();
                    if !snapshot.is_complete() {
                        continue; // a machine so busy that the loop has not run for a second
                    }
                    named(&snapshot, "stays");
                    assert!(snapshot.tasks().len() >= 2, "{snapshot}");
                }
                told.store(true, Ordering::Release);
            });
            while !over.load(Ordering::Acquire) {
                yield_now().await;
                if asker.is_finished() {
                    break;
                }
            }
            busy.cancel();
            asker.join().unwrap();
        });
        drop(event_loop);
        let snapshot = handle.snapshot();
        assert!(snapshot.is_complete() && snapshot.tasks().is_empty());
    });
}

#[test]
fn a_loop_that_is_stuck_is_not_waited_for() {
    within_deadline(|| {
        let (handles, handle) = mpsc::channel::<LoopHandle>();
        let (release, held) = mpsc::channel::<()>();
        let stuck = thread::spawn(move || {
            run(async move {
                spawn(pending::<()>()).detach();
                yield_now().await;
                handles.send(LoopHandle::current()).unwrap();
                held.recv().unwrap();
                yield_now().await;
            });
        });
        let handle = handle.recv().unwrap();
        let start = Instant::now();
        let snapshot = handle.snapshot();
        assert!(start.elapsed() < LONG / 2);
        assert!(!snapshot.is_complete() && snapshot.tasks().is_empty());
        assert!(snapshot.to_string().contains("stuck"));
        release.send(()).unwrap();
        stuck.join().unwrap();
    });
}

#[test]
fn a_watched_loop_counts_the_time_in_polls() {
    within_deadline(|| {
        let event_loop = EventLoop::builder()
            .slow_poll(LONG, |_| {})
            .build()
            .unwrap();
        event_loop.block_on(async {
            let busy = spawn(async {
                for _ in 0..3 {
                    thread::sleep(Duration::from_millis(100));
                    yield_now().await;
                }
                pending::<()>().await;
            });
            for _ in 0..5 {
                yield_now().await;
            }
            let snapshot = LoopHandle::current().snapshot();
            let task = &snapshot.tasks()[0];
            assert_eq!(task.polls, 4);
            assert!(task.time_in_polls.unwrap() >= Duration::from_millis(300));
            assert_eq!(snapshot.root().unwrap().state, TaskState::Running);
            busy.cancel();
            yield_now().await;
            // The task that gets the place in the table next starts with fresh counts.
            spawn(pending::<()>()).detach();
            yield_now().await;
            let snapshot = LoopHandle::current().snapshot();
            assert!(snapshot.tasks()[0].time_in_polls.unwrap() < Duration::from_millis(300));
        });
    });
}

/// A chain of parents, each deeper than the one before: nothing recurses.
#[test]
fn a_deep_tree_is_drawn() {
    fn descend(left: u32) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            if left > 0 {
                spawn(descend(left - 1)).detach();
            }
            pending::<()>().await;
        })
    }
    within_deadline(|| {
        run(async {
            spawn(descend(20_000)).detach();
            for _ in 0..20_010 {
                yield_now().await;
            }
            let snapshot = LoopHandle::current().snapshot();
            assert_eq!(snapshot.tasks().len(), 20_001);
            assert_eq!(snapshot.to_string().lines().count(), 20_003);
        });
    });
}
