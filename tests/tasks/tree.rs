//! `trefoil::inspect::tasks`: what each live task is, what it does, and what it waits for.

use std::sync::mpsc::channel;
use std::thread::yield_now;
use std::time::Duration;

use trefoil::inspect::{LiveTask, LiveWait, TaskPhase, TaskTree, tasks};
use trefoil::io::UnixStream;
use trefoil::{Completer, TaskId, ThreadPool, timeout};

use crate::deadline::within_deadline;

/// The task with this id, once `is_right` is true of it.
fn seen(id: TaskId, is_right: impl Fn(&LiveTask) -> bool) -> (LiveTask, TaskTree) {
    loop {
        let tree = tasks();
        if let Some(task) = tree.get(id.get())
            && is_right(task)
        {
            return (task.clone(), tree);
        }
        yield_now();
    }
}

fn ended(id: TaskId) {
    while tasks().get(id.get()).is_some() {
        yield_now();
    }
}

#[test]
fn a_task_is_queued_runs_and_is_gone() {
    within_deadline(|| {
        let _awake = tasks();
        let pool = ThreadPool::builder()
            .threads(1)
            .name("mill")
            .build()
            .unwrap();
        let (open, gate) = channel::<()>();
        let first = pool.spawn(move || gate.recv().unwrap()).named("first");
        let behind = pool.spawn(|| ());
        let (task, _) = seen(first.id(), |task| task.runs_on.is_some());
        assert_eq!(task.phase, TaskPhase::Running);
        assert_eq!((task.kind, task.polls, task.parent), ("closure", 0, None));
        assert_eq!(task.name.as_deref(), Some("first"));
        assert_eq!(task.spawned_at, first.spawned_at());
        assert!(task.runs_on.unwrap().contains("mill-0"));
        let (task, tree) = seen(behind.id(), |_| true);
        assert_eq!((task.phase, task.runs_on), (TaskPhase::Queued, None));
        assert!(
            tree.to_string()
                .contains("`first` (closure at tests/tasks/tree.rs")
        );
        open.send(()).unwrap();
        let (first_id, behind_id) = (first.id(), behind.id());
        first.join().unwrap();
        behind.join().unwrap();
        ended(first_id);
        ended(behind_id);
    });
}

#[test]
fn children_stand_below_the_task_that_has_spawned_them() {
    within_deadline(|| {
        let _awake = tasks();
        let pool = ThreadPool::with_threads(1);
        let inner = pool.clone();
        let (completer, promise) = Completer::<()>::new();
        let (send, child) = channel();
        let outer = pool.spawn(move || {
            let child = inner
                .spawn_async(async { promise.await.unwrap() })
                .named("chi\nld\x1b[2J");
            send.send(child.id()).unwrap();
            child.join().unwrap();
        });
        let child = child.recv().unwrap();
        let (task, _) = seen(child, |task| task.phase == TaskPhase::Waiting);
        assert_eq!(task.parent, Some(outer.id().get()));
        let (task, tree) = seen(outer.id(), |task| task.waits_for.blocks);
        assert_eq!(task.waits_for.task, Some(child.get()));
        assert!(!task.waits_for.has_deadline);
        let text = tree.to_string();
        let name = "`chi\u{fffd}ld\u{fffd}[2J`"; // no control characters
        let line = text.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.starts_with("│  ├─ #"), "{text}");
        completer.complete(Ok(()));
        outer.join().unwrap();
        ended(child);
    });
}

#[test]
fn a_loop_says_what_its_tasks_wait_for() {
    within_deadline(|| {
        let _awake = tasks();
        trefoil::run(async {
            let sleeper = trefoil::spawn(trefoil::time::sleep(Duration::from_secs(600)));
            while tasks()
                .get(sleeper.id().get())
                .is_none_or(|task| task.polls == 0)
            {
                trefoil::yield_now().await;
            }
            let (task, _) = seen(sleeper.id(), |task| task.waits_for.timer);
            assert_eq!(
                (task.kind, task.phase),
                ("local future", TaskPhase::Waiting)
            );
            assert_eq!(task.waits_for.to_string(), "a timer");
            let root = tasks();
            let root = root.tasks().iter().find(|task| task.kind == "root future");
            assert_eq!(root.unwrap().phase, TaskPhase::Running);
            sleeper.cancel();
            // Input or a timer, whichever comes first.
            let (near, _far) = UnixStream::pair().unwrap();
            let reader = trefoil::spawn(async move {
                _ = timeout(Duration::from_secs(600), near.read(&mut [0])).await;
            });
            trefoil::yield_now().await;
            let (task, _) = seen(reader.id(), |task| task.waits_for.read);
            assert!(task.waits_for.timer && !task.waits_for.write);
            // The end of another task; of something that the loop does not know; of nothing.
            let reads = reader.id().get();
            let awaits = trefoil::spawn(async { reader.await });
            let pending = trefoil::spawn(std::future::pending::<()>());
            let yields = trefoil::spawn(async {
                loop {
                    trefoil::yield_now().await;
                }
            });
            trefoil::yield_now().await;
            let (task, _) = seen(awaits.id(), |task| task.phase == TaskPhase::Waiting);
            assert_eq!(task.waits_for.task, Some(reads));
            let (task, _) = seen(pending.id(), |task| task.phase == TaskPhase::Waiting);
            assert_eq!(task.waits_for, LiveWait::default());
            seen(yields.id(), |task| task.phase == TaskPhase::Queued);
        });
    });
}

#[test]
fn a_task_that_nothing_can_end_any_more_leaves_the_tree() {
    within_deadline(|| {
        let _awake = tasks();
        let (completer, task) = Completer::<u32>::new();
        let id = task.id();
        assert_eq!(tasks().get(id.get()).unwrap().kind, "promise");
        drop((completer, task));
        ended(id);
        let pool = ThreadPool::with_threads(1);
        let task = pool.spawn_async(std::future::pending::<()>());
        let id = task.id();
        seen(id, |task| task.phase == TaskPhase::Waiting);
        task.cancel();
        ended(id);
    });
}

#[test]
fn a_task_that_is_older_appears_when_it_runs() {
    crate::deadline::alone(
        "tree::a_task_that_is_older_appears_when_it_runs",
        "",
        || {
            let pool = ThreadPool::with_threads(1);
            let (completer, promise) = Completer::<u32>::new();
            let (wake, notify) = trefoil::sync::channel::unbounded::<()>();
            let task = pool
                .spawn_async(async move {
                    notify.recv().await.unwrap();
                    promise.await.unwrap()
                })
                .named("older");
            let id = task.id();
            assert!(tasks().get(id.get()).is_none_or(|task| task.polls <= 1));
            wake.send_blocking(()).unwrap();
            let (task_seen, _) = seen(id, |task| task.waits_for.task.is_some());
            assert_eq!(task_seen.name.as_deref(), Some("older"));
            completer.complete(Ok(7));
            assert_eq!(task.join().unwrap(), 7);
        },
    );
}

#[test]
fn json_has_the_documented_form() {
    within_deadline(|| {
        let _awake = tasks();
        let (_completer, task) = Completer::<u32>::new();
        let task = task.named("a \"quoted\" name");
        let json = tasks().to_json();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["pid"], std::process::id());
        let id = task.id().get();
        let all = value["tasks"].as_array().unwrap();
        let own = all.iter().find(|task| task["id"] == id).unwrap();
        assert_eq!(own["name"], "a \"quoted\" name");
        assert_eq!(
            (&own["kind"], &own["state"]),
            (&"promise".into(), &"waiting".into())
        );
        assert!(own["for_us"].is_u64() && own["polls"] == 0);
        let site = own["spawned_at"].as_str().unwrap();
        assert!(site.starts_with("tests/tasks/tree.rs:"), "{site}");
        assert!(value["calls"].is_array());
    });
}

#[test]
fn what_exceeds_the_memory_is_counted() {
    crate::deadline::alone("tree::what_exceeds_the_memory_is_counted", "", || {
        let _awake = tasks();
        let count = (1 << 18) + 1000;
        let halves: Vec<_> = (0..count).map(|_| Completer::<u8>::new()).collect();
        let tree = tasks();
        assert_eq!(tree.tasks().len() as u64 + tree.without_details(), count);
        assert_eq!(tree.without_details(), 1000);
        drop(halves);
        let tree = tasks();
        assert_eq!((tree.tasks().len(), tree.without_details()), (0, 0));
    });
}
