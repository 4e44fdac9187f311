//! The flight recorder: the last seconds, on demand and when something is wrong.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use trefoil::{EventLoop, ProcessPool, Task, ThreadPool, trace};

use crate::deadline::eventually;
use crate::picture::{Picture, alone};

const LONG: Duration = Duration::from_secs(3600);

/// An empty folder that is there until the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trefoil-keep-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// The complete files.
    fn files(&self) -> Vec<String> {
        let all = fs::read_dir(&self.0).unwrap();
        let names = all.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".json")).collect()
    }

    /// Waits for a file of this kind that contains `what`.
    fn wait_for(&self, why: &str, what: &str) {
        let is_of_kind = |name: &String| name.ends_with(&format!("-{why}.json"));
        let text = |name: String| fs::read_to_string(self.0.join(name)).unwrap();
        eventually("a file is written", || {
            let mut files = self.files().into_iter().filter(is_of_kind).map(text);
            files.any(|text| text.contains(what))
        });
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_last_tasks_are_there_and_the_first_are_counted() {
    alone(|| {
        let recorder = trace::keep_last(LONG, 64 << 10).unwrap();
        assert!(trace::keep_last(LONG, 64 << 10).is_err(), "there is one");
        let pool = ThreadPool::with_threads(1);
        let run = || pool.install(|| pool.spawn(|| ()).id().get());
        let first = run();
        let mut last = first;
        for _ in 0..3000 {
            last = run();
        }
        let trace = recorder.trace();
        // 56 KiB for events, of 32 bytes each.
        assert!(trace.events() <= 1792, "{} events", trace.events());
        assert!(trace.lost() > 3000, "{} lost", trace.lost());
        let picture = Picture::of(&trace);
        let has = |task: u64| picture.events.iter().any(|event| event.task() == task);
        assert!(has(last) && !has(first));
        // It goes on, and a recording runs at the same time.
        let recording = trace::start().unwrap();
        let more = run();
        assert!(recording.stop().events() > 0);
        let picture = Picture::of(&recorder.trace());
        assert!(picture.events.iter().any(|event| event.task() == more));
        drop(recorder);
        drop(trace::keep_last(LONG, 64 << 10).unwrap());
    });
}

#[test]
fn what_is_older_than_the_window_is_not_there() {
    alone(|| {
        let window = Duration::from_millis(50);
        let recorder = trace::keep_last(window, 1 << 20).unwrap();
        let pool = ThreadPool::with_threads(1);
        let old = pool.spawn(|| ());
        let id = old.id().get();
        old.join().unwrap();
        let since = Instant::now();
        while since.elapsed() < 2 * window {
            std::thread::yield_now();
        }
        let trace = recorder.trace();
        assert!(trace.duration() <= window && trace.lost() == 0);
        let picture = Picture::of(&trace);
        assert!(!picture.events.iter().any(|event| event.task() == id));
    });
}

#[test]
fn a_slow_poll_a_dead_worker_and_a_late_item_write_files() {
    alone(|| {
        let folder = Folder::new("trouble");
        let recorder = trace::keep_last(LONG, 1 << 20).unwrap();
        let recorder = recorder.pause(Duration::ZERO).write_to(&folder.0).unwrap();

        let (tell, told) = std::sync::mpsc::channel();
        let slow = EventLoop::builder().slow_poll(Duration::from_millis(1), move |slow| {
            // On a busy machine, a poll of the root future may be slow, too.
            if slow.task.name.as_deref() == Some("greedy") {
                _ = tell.send(());
            }
        });
        slow.build().unwrap().block_on(async {
            let greedy = async move { told.recv().unwrap() };
            trefoil::spawn(greedy).named("greedy").await.unwrap();
        });
        folder.wait_for("slow-poll", "\"greedy\"");

        let workers = ProcessPool::with_workers(1).unwrap();
        assert!(workers.spawn((), die).join().is_err());
        folder.wait_for("worker-died", "");
        let limited = workers.call(hang).timeout(Duration::from_millis(20));
        assert!(limited.spawn(()).join().is_err());
        folder.wait_for("late-item", "");
        recorder.write(folder.0.join("mine.json")).unwrap();
        assert!(folder.files().contains(&"mine.json".to_owned()));
    });
}

#[test]
fn no_worker_that_its_pool_ends_writes_one() {
    alone(|| {
        let folder = Folder::new("routine");
        let recorder = trace::keep_last(LONG, 1 << 20).unwrap();
        let _recorder = recorder.pause(Duration::ZERO).write_to(&folder.0).unwrap();
        let workers = ProcessPool::builder().workers(1).max_tasks_per_worker(1);
        let workers = workers.build().unwrap();
        assert!(workers.map(0..3, |n: u32| n).is_ok()); // each in a process of its own
        let began = folder.0.join("began");
        let cancelled = workers.spawn(began.clone(), |began: PathBuf| {
            fs::write(began, "").unwrap();
            hang(());
        });
        // (An item that was only sent is given back.)
        eventually("it runs", || began.exists());
        assert!(cancelled.cancel());
        eventually("it is replaced", || workers.stats().died == 1);
        drop(workers);
        assert!(trefoil::Process::spawn((), |()| ()).unwrap().join().is_ok());
        let workers = ProcessPool::with_workers(1).unwrap();
        assert!(workers.spawn((), die).join().is_err());
        folder.wait_for("worker-died", "");
        assert_eq!(folder.files().len(), 1);
    });
}

fn die((): ()) {
    std::process::abort();
}

fn hang((): ()) {
    loop {
        std::thread::park();
    }
}

#[test]
fn there_are_no_more_files_than_were_asked_for() {
    alone(|| {
        let folder = Folder::new("few");
        let recorder = trace::keep_last(LONG, 1 << 20).unwrap().at_most(1);
        let _recorder = recorder.pause(Duration::ZERO).write_to(&folder.0).unwrap();
        let workers = ProcessPool::with_workers(1).unwrap();
        for _ in 0..3 {
            assert!(workers.spawn((), die).join().is_err());
        }
        folder.wait_for("worker-died", "");
        assert_eq!(folder.files().len(), 1);
    });
}

#[test]
fn tasks_that_wait_for_each_other_write_a_file() {
    crate::deadline::alone(
        "keep::tasks_that_wait_for_each_other_write_a_file",
        "",
        || {
            let folder = Folder::new("stuck");
            let recorder = trace::keep_last(LONG, 1 << 20).unwrap();
            let _recorder = recorder.write_to(&folder.0).unwrap();
            trefoil::inspect::on_stuck(|_| ());
            let pool = ThreadPool::with_threads(2);
            let (send, handle) = std::sync::mpsc::channel::<Task<()>>();
            let one = pool.spawn(move || handle.recv().unwrap().join().unwrap());
            let one = one.named("first-of-two");
            let two = pool.spawn(move || one.join().unwrap());
            send.send(two).unwrap();
            folder.wait_for("stuck", "first-of-two");
            std::mem::forget(pool);
        },
    );
}
