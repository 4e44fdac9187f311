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
use std::time::Duration;

use rustix::process::{Signal as Raw, getpid, kill_process};
use trefoil::io::Signal;
use trefoil::{run, timeout};

use crate::children::in_child;
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
