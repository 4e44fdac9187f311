//! Unobserved failures of a loop's tasks, and the places where those tasks were spawned.

use std::future::pending;
use std::panic::Location;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use trefoil::{EventLoop, LoopHandle, Task, TaskError, spawn, yield_now};

use crate::support::within_deadline;

type Told = mpsc::Receiver<(u32, String)>;

/// A loop whose hook sends the line of the spawn and the error.
fn telling() -> (EventLoop, Told) {
    let (tell, told) = mpsc::channel();
    let event_loop = EventLoop::builder()
        .on_unobserved(move |report| {
            assert_eq!(report.spawned_at().file(), file!());
            let _ = tell.send((report.spawned_at().line(), report.error().to_string()));
            panic!("goes no further");
        })
        .build()
        .unwrap();
    (event_loop, told)
}

/// All five ways to start something, on this thread or another; with their lines.
fn start_all(handle: &LoopHandle) -> Vec<(u32, Task<()>)> {
    let here = |task, at: &Location<'_>| (at.line(), task);
    #[rustfmt::skip]
    let started = vec![
        here(handle.spawn(async { panic!("a") }), at()),
        here(handle.spawn_with(|| async { panic!("b") }), at()),
        here(handle.call_soon(|| panic!("c")), at()),
        here(handle.call_later(Duration::from_millis(1), || panic!("d")), at()),
    ];
    started
}

#[track_caller]
fn at() -> &'static Location<'static> {
    Location::caller()
}

fn sorted(told: &Told) -> Vec<u32> {
    let mut lines: Vec<u32> = told.try_iter().map(|(line, _)| line).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn each_untaken_failure_reaches_the_loops_hook_once() {
    within_deadline(|| {
        let (event_loop, told) = telling();
        for elsewhere in [false, true] {
            let handle = event_loop.handle();
            let mut lines = event_loop.block_on(async {
                let started = if elsewhere {
                    thread::spawn(move || start_all(&handle)).join().unwrap()
                } else {
                    start_all(&handle)
                };
                let mut lines = Vec::new();
                for (line, task) in started {
                    lines.push(line);
                    task.detach();
                }
                let line = at().line() + 1;
                drop(spawn(async { panic!("e") }));
                lines.push(line);
                trefoil::time::sleep(Duration::from_millis(5)).await;
                lines
            });
            lines.sort_unstable();
            assert_eq!(sorted(&told), lines, "elsewhere: {elsewhere}");
        }
        // A failure that was taken, and a cancelled task, are not reported.
        event_loop.block_on(async {
            let taken: Result<(), TaskError> = spawn(async { panic!("taken") }).await;
            assert!(taken.is_err());
            let cancelled = spawn(pending::<()>());
            yield_now().await;
            cancelled.cancel();
            cancelled.detach();
            yield_now().await;
        });
        // Tasks that the loop's end cancels are not reported, either. Tasks that are spawned
        // afterwards do not begin.
        let handle = event_loop.handle();
        handle.spawn(pending::<()>()).detach();
        handle.spawn_with(pending::<()>).detach();
        drop(event_loop);
        assert_eq!(sorted(&told), []);
        let (mut lines, tasks): (Vec<_>, Vec<_>) = start_all(&handle).into_iter().unzip();
        drop(tasks);
        lines.sort_unstable();
        assert_eq!(sorted(&told), lines);
        drop(handle);
    });
}

#[test]
fn a_loop_without_a_hook_uses_the_process_s() {
    crate::support::alone(
        "unobserved::a_loop_without_a_hook_uses_the_process_s",
        "",
        || {
            let (tell, told) = mpsc::channel();
            trefoil::on_unobserved(move |report| {
                let _ = tell.send(format!("{report}"));
            });
            trefoil::run(async {
                spawn(async { panic!("lost") }).detach();
                yield_now().await;
            });
            let report = told.try_recv().unwrap();
            assert!(
                report.contains("lost") && report.contains(file!()),
                "{report}"
            );
            let (event_loop, own) = telling();
            event_loop.block_on(async {
                spawn(async { panic!("lost") }).detach();
                yield_now().await;
            });
            assert_eq!(own.try_iter().count(), 1);
            assert!(told.try_recv().is_err());
        },
    );
}
