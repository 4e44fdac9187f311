//! A signal begins to keep track of tasks.
#![cfg(unix)]

use std::process::Command;

use rustix::process::{getpid, kill_process};
use trefoil::io::Signal;
use trefoil::{Task, ThreadPool};

use crate::deadline::alone;

/// What the tree has of this task, as it is seen by one that must have been woken before.
fn is_known(task: &Task<()>) -> bool {
    trefoil::inspect::tasks().get(task.id().get()).is_some()
}

/// Sends the signal to this process, and waits until a handler has run.
fn signal(number: i32, signal: rustix::process::Signal) {
    trefoil::run(async {
        let mine = Signal::new(number).unwrap();
        kill_process(getpid(), signal).unwrap();
        mine.recv().await.unwrap();
    });
}

/// Tasks that are spawned after the signal are known, and only these.
fn wakes(number: i32, name: rustix::process::Signal) {
    let pool = ThreadPool::with_threads(1);
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let busy = pool.spawn(move || _ = ends.recv());
    let before = pool.spawn(|| ());
    signal(number, name);
    let after = pool.spawn(|| ());
    assert!(is_known(&after));
    assert!(!is_known(&before), "it is older, and has not begun");
    drop(end);
    busy.join().unwrap();
}

#[test]
fn tasks_are_kept_track_of_from_a_signal_on() {
    alone(
        "signal::tasks_are_kept_track_of_from_a_signal_on",
        "",
        || {
            trefoil::inspect::track_tasks_on_signal(Signal::USR1).unwrap();
            wakes(Signal::USR1, rustix::process::Signal::USR1);
            assert!(trefoil::inspect::track_tasks_on_signal(9).is_err());
        },
    );
}

#[test]
fn the_variable_names_a_signal() {
    const TEST: &str = "signal::the_variable_names_a_signal";
    alone(TEST, "", || {
        if std::env::var_os("SEEDED").is_some() {
            return wakes(Signal::USR2, rustix::process::Signal::USR2);
        }
        let run = |value: &str| {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "--nocapture", TEST]);
            let child = child.env("SEEDED", "1").env("TREFOIL_TASKS", value);
            let output = child.output().unwrap();
            (
                output.status.success(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )
        };
        for value in ["signal:USR2", "signal:SIGUSR2"] {
            let (success, said) = run(value);
            assert!(success, "{value}: {said}");
        }
        let (_, said) = run("signal:NONE");
        let expected = "trefoil: TREFOIL_TASKS=signal:NONE is ignored: there is no such signal";
        assert!(said.contains(expected), "{said}");
    });
}
