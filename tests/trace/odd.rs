//! What is told must not be wrong where names are alike, or waits were none.

use std::cell::Cell;
use std::time::Duration;

use trefoil::{Completer, TaskError, ThreadPool, Until, wait};

use crate::deadline::{asleep, eventually};
use crate::held;
use crate::picture::{alone, record};

fn pool(name: &str) -> ThreadPool {
    ThreadPool::builder().threads(1).name(name).build().unwrap()
}

#[test]
fn a_pool_whose_name_begins_another_has_its_own() {
    alone(|| {
        let pools = [pool("milling"), pool("mill"), pool("mill")];
        let recording = record();
        for pool in &pools {
            pool.install(|| ());
        }
        let (trace, _) = recording.stop();
        let summary = trace.summary();
        let names = summary.executors.iter().map(|row| row.name.as_str());
        let names: Vec<&str> = names.filter(|name| name.starts_with("thread")).collect();
        let expected = [
            "thread pool milling",
            "thread pool mill",
            "thread pool mill (2)",
        ];
        assert_eq!(names, expected);
    });
}

/// A join that gave up at once did not park, and the next wait is for something else.
#[test]
fn a_wait_is_not_for_what_was_given_up() {
    alone(|| {
        let pool = pool("given-up");
        let (go, mut task) = held(&pool);
        let recording = record();
        let timed_out = task.join_timeout(Duration::ZERO);
        assert!(matches!(timed_out, Err(TaskError::TimedOut(_))));
        let (completer, other) = Completer::new();
        let me = crate::deadline::this_thread();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let looks = Cell::new(0);
                eventually("the other one has parked", || {
                    looks.set(if asleep(me) { looks.get() + 1 } else { 0 });
                    looks.get() == 5
                });
                completer.complete(Ok(()));
            });
            let (done, left) = wait([other], Until::All, None).join();
            assert_eq!((done.len(), left.len()), (1, 0));
        });
        let id = task.id().get();
        let (_, picture) = recording.stop();
        go.send(()).unwrap();
        task.join().unwrap();
        assert!(picture.named("waits").count() > 0, "{picture:?}");
        let wrong = picture.named("waits").filter(|wait| wait.task() == id);
        assert_eq!(wrong.count(), 0, "{picture:?}");
    });
}

#[test]
fn the_first_name_stays() {
    alone(|| {
        let pool = pool("names");
        let recording = record();
        let task = pool.spawn_async(std::future::pending::<()>()).named("one");
        let task = std::thread::scope(|scope| {
            let other = scope.spawn(|| task.named("two"));
            other.join().unwrap()
        });
        assert_eq!(task.name(), Some("one"));
        let id = task.id().get();
        task.cancel();
        assert!(task.join().is_err());
        let (_, picture) = recording.stop();
        let of_it = picture.events.iter().filter(|event| event.task() == id);
        let names = of_it.map(|event| event.arg("task_name"));
        let names: Vec<&str> = names.collect();
        assert!(
            !names.is_empty() && names.iter().all(|name| *name == "one"),
            "{names:?}"
        );
    });
}
