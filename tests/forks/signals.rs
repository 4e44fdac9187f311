//! A forked child and the signals that its parent waits for.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Signal as Raw, getpid, kill_process};
use trefoil::io::Signal;
use trefoil::{run, timeout};

use crate::children::{ending, in_child, in_sudden_child, leave, split};
use crate::support::{Test, tests};

const PATIENCE: Duration = Duration::from_secs(10);

tests! {
    /// As a daemon does, which closes every descriptor and opens its own files.
    fn a_child_writes_nothing_to_the_number_of_its_parents_bell() {
        let signal = Signal::new(Signal::USR1).unwrap();
        in_child(|| {
            let file = rustix::fs::memfd_create("a log", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            let bells = eventfds();
            assert!(!bells.is_empty());
            for bell in &bells {
                take_number(file.as_fd(), *bell);
            }
            kill_process(getpid(), Raw::USR1).unwrap();
            assert_eq!(length(&file), 0);
            // The child may wait for the same signal itself, and leave the numbers alone.
            for _ in 0..2 {
                let own = Signal::new(Signal::USR1).unwrap();
                kill_process(getpid(), Raw::USR1).unwrap();
                run(timeout(PATIENCE, own.recv())).unwrap().unwrap();
            }
            assert_eq!(length(&file), 0);
            for bell in &bells {
                assert!(number_is_open(*bell), "{bell}");
            }
        });
        kill_process(getpid(), Raw::USR1).unwrap();
        run(timeout(PATIENCE, signal.recv())).unwrap().unwrap();
    }

    /// A lock that another thread of the parent holds when it forks is not held in the child.
    fn a_child_is_not_held_up_by_what_its_parents_threads_were_doing() {
        let stop = Arc::new(AtomicBool::new(false));
        let (stops, wakes) = (stop.clone(), Arc::new(AtomicUsize::new(0)));
        let thread = std::thread::spawn(move || {
            while !stops.load(Ordering::SeqCst) {
                drop(Signal::new(Signal::USR2).unwrap());
                let wakes = wakes.clone();
                trefoil::on_unobserved(move |_| _ = wakes.fetch_add(1, Ordering::SeqCst));
            }
        });
        for _ in 0..60 {
            in_sudden_child(|| {
                drop(Signal::new(Signal::USR2).unwrap());
                let (completer, task) = trefoil::Completer::<u8>::new();
                task.detach();
                completer.complete(Err(trefoil::TaskError::failed("on purpose")));
                trefoil::on_unobserved(|_| ());
            });
        }
        stop.store(true, Ordering::SeqCst);
        thread.join().unwrap();
    }

    /// It knows which handler was there before its parent's, and that the parent's is in place.
    fn a_child_restores_the_handler_that_was_there_before() {
        let signal = Signal::new(Signal::USR2).unwrap();
        in_child(move || {
            drop(Signal::new(Signal::USR2).unwrap());
            kill_process(getpid(), Raw::USR2).unwrap(); // the inherited one still exists
            drop(signal);
        });
        let signal = Signal::new(Signal::USR2).unwrap();
        match split() {
            Some(child) => assert_eq!(ending(child), -1, "it is not killed by the signal"),
            None => {
                drop((Signal::new(Signal::USR2), signal));
                _ = kill_process(getpid(), Raw::USR2);
                leave(0);
            }
        }
        kill_process(getpid(), Raw::USR2).unwrap();
        run(timeout(PATIENCE, signal.recv())).unwrap().unwrap();
    }

    fn a_child_reports_failures_as_its_parent_does() {
        let seen = Arc::new(AtomicUsize::new(0));
        let sees = seen.clone();
        trefoil::on_unobserved(move |_| _ = sees.fetch_add(1, Ordering::SeqCst));
        in_child(|| {
            let (completer, task) = trefoil::Completer::<u8>::new();
            task.detach();
            completer.complete(Err(trefoil::TaskError::failed("on purpose")));
            assert_eq!(seen.load(Ordering::SeqCst), 1);
        });
        assert_eq!(seen.load(Ordering::SeqCst), 0);
    }

    fn a_child_waits_for_signals_and_its_parent_knows_nothing_of_them() {
        let signal = Signal::new(Signal::USR1).unwrap();
        in_child(|| {
            let (first, second) = (Signal::new(Signal::USR1), Signal::new(Signal::USR1));
            let (first, second) = (first.unwrap(), second.unwrap());
            kill_process(getpid(), Raw::USR1).unwrap();
            run(async {
                timeout(PATIENCE, first.recv()).await.unwrap().unwrap();
                timeout(PATIENCE, second.recv()).await.unwrap().unwrap();
            });
        });
        let none = run(timeout(Duration::from_millis(5), signal.recv()));
        assert!(none.is_err(), "{none:?}");
    }
}

/// The numbers of all counters of this process.
fn eventfds() -> Vec<i32> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let counters = open.filter(|entry| {
        std::fs::read_link(entry.path())
            .is_ok_and(|link| link.to_string_lossy().contains("eventfd"))
    });
    let names = counters.map(|entry| entry.file_name().into_string().unwrap());
    names.map(|name| name.parse().unwrap()).collect()
}

fn number_is_open(number: i32) -> bool {
    std::fs::exists(format!("/proc/self/fd/{number}")).unwrap()
}

/// Closes what has this number, and gives the number to `file`.
#[allow(unsafe_code)]
fn take_number(file: BorrowedFd<'_>, number: i32) {
    // SAFETY: the child is about to lose what it has inherited, which is what the test is about.
    let mut lost = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    rustix::io::dup2(file, &mut lost).unwrap();
}

fn length(file: &OwnedFd) -> u64 {
    let file = File::from(file.try_clone().unwrap());
    file.metadata().unwrap().len()
}
