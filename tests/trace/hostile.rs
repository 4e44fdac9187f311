//! Whatever is in a name or a message: nothing that leaves the process is a terminal's command.

use std::sync::mpsc::channel;
use std::time::Duration;

use trefoil::inspect::on_stuck;
use trefoil::{EventLoop, ProcessPool, Task, ThreadPool, on_unobserved, trace};

use crate::deadline::alone;

/// Clears the screen, begins a line, turns the direction, ends a C string.
const NAME: &str = "a\u{1b}[2J\nforged\u{202e}\u{0}\u{9b}";
/// The same for a thread.
const THREAD: &str = "t\u{1b}[2J\nforged\u{202e}\u{9b}";

/// `cleans`: it is text, in which the characters are replaced; in JSON they are escaped.
fn check(what: &str, text: &str, cleans: bool) {
    let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!text.contains(obeyed), "{what}: {text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("forged")),
        "{what}: {text:?}"
    );
    let mark = if cleans { "\u{fffd}" } else { "\\u202e" };
    assert!(text.contains(mark), "{what}: {text:?}");
}

#[test]
fn no_report_has_what_a_terminal_obeys() {
    alone("hostile::no_report_has_what_a_terminal_obeys", "", || {
        let (send, reports) = channel();
        on_stuck(move |stuck| _ = send.send(stuck.to_string()));
        let pool = ThreadPool::builder()
            .threads(1)
            .name(THREAD)
            .build()
            .unwrap();
        let recording = trace::start().unwrap();
        let recorder = trace::keep_last(Duration::MAX, 1 << 20).unwrap();
        // A task, and a thread that waits for it.
        let (begun, begins) = channel();
        let (go, gate) = channel::<()>();
        let task = pool.spawn(move || {
            begun.send(()).unwrap();
            _ = gate.recv();
        });
        let task = task.named(NAME);
        begins.recv().unwrap();
        let waits = std::thread::Builder::new().name(THREAD.to_owned());
        let waits = waits.spawn(move || task.join().unwrap()).unwrap();
        while trefoil::inspect::tasks().threads().is_empty() {
            std::thread::yield_now();
        }
        let tree = trefoil::inspect::tasks();
        check("the tree", &tree.to_string(), true);
        check("a thread", &tree.threads()[0].to_string(), true);
        check("the tree in JSON", &tree.to_json(), false);
        drop(go);
        waits.join().unwrap();
        for trace in [recorder.trace(), recording.stop()] {
            check("a summary", &trace.summary().to_string(), true);
            let mut json = Vec::new();
            trace.write_json(&mut json).unwrap();
            check("a recording", &String::from_utf8(json).unwrap(), false);
        }
        // A deadlock.
        let (send, handle) = trefoil::sync::channel::bounded::<Task<()>>(1);
        let task = pool.spawn_async(async move { handle.recv().await.unwrap().await.unwrap() });
        send.send_blocking(task.named(NAME)).unwrap();
        check("a deadlock", &reports.recv().unwrap(), true);
        // A loop, and a long poll.
        let (slow, slows) = channel();
        let hook = move |poll: &trefoil::SlowPoll| {
            // The root future may be slow, too, and has no such name.
            if poll.task.name.is_some() {
                _ = slow.send(poll.to_string());
            }
        };
        let event_loop = EventLoop::builder().slow_poll(Duration::ZERO, hook).build();
        let event_loop = event_loop.unwrap();
        let handle = event_loop.handle();
        let sleeps = handle.spawn(std::future::pending::<()>()).named(NAME);
        let task = async move { check("a long poll", &slows.recv().unwrap(), true) };
        let named = handle.spawn_with(|| task).named(NAME);
        event_loop.block_on(named).unwrap();
        check("a tree", &trefoil::inspect::tasks().to_string(), true);
        drop(sleeps);
        // A failure that nobody takes.
        let (send, failures) = channel();
        on_unobserved(move |report| _ = send.send(report.to_string()));
        let fails = ThreadPool::with_threads(1);
        fails
            .spawn(|| std::panic::panic_any(NAME))
            .named(NAME)
            .detach();
        check("a failure", &failures.recv().unwrap(), true);
        // The last words of a worker process.
        let procs = ProcessPool::with_workers(1).unwrap();
        let died = procs.spawn((), |()| -> () {
            eprint!("w\u{1b}[2J\u{202e}\u{9b}");
            std::process::abort()
        });
        check("last words", &died.join().unwrap_err().to_string(), true);
        std::mem::forget(pool); // it will never end
    });
}
