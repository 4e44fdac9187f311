//! Host programs that have their own signal handlers, reset signals, or fork.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use rustix::process::{Signal as Raw, getpid, kill_process};
use trefoil::io::Signal;
use trefoil::run;
use trefoil::time::timeout;

use crate::deadline::rounds;
use crate::support::{LONG, alone, count_fds, poll_once, wait_until};

pub(crate) fn raise(signal: Raw) {
    kill_process(getpid(), signal).unwrap();
}

/// The host program sets a signal's action.
#[allow(unsafe_code)]
pub(crate) fn host_sets(signum: i32, action: usize) {
    // SAFETY: the action is one of the two that are no function.
    let before = unsafe { libc::signal(signum, action) };
    assert_ne!(before, libc::SIG_ERR);
}

#[test]
fn a_host_that_resets_a_signal_can_wait_for_it_again() {
    alone(
        "handlers::a_host_that_resets_a_signal_can_wait_for_it_again",
        "",
        || {
            let before = count_fds();
            run(async {
                for action in [libc::SIG_DFL, libc::SIG_IGN] {
                    let first = Signal::new(Signal::USR1).unwrap();
                    raise(Raw::USR1);
                    timeout(LONG, first.recv()).await.unwrap().unwrap();
                    host_sets(Signal::USR1, action);
                    // While the first is there, and once it has gone.
                    let second = Signal::new(Signal::USR1).unwrap();
                    raise(Raw::USR1);
                    timeout(LONG, second.recv()).await.unwrap().unwrap();
                    timeout(LONG, first.recv()).await.unwrap().unwrap();
                    host_sets(Signal::USR1, action);
                    drop((first, second));
                    let third = Signal::new(Signal::USR1).unwrap();
                    raise(Raw::USR1);
                    timeout(LONG, third.recv()).await.unwrap().unwrap();
                }
                // The last action that the host set is restored: the signal is ignored.
                raise(Raw::USR1);
            });
            assert_eq!(count_fds(), before);
        },
    );
}

static PLAIN: AtomicUsize = AtomicUsize::new(0);
static WITH_INFO: AtomicUsize = AtomicUsize::new(0);
static ON_TOP: AtomicUsize = AtomicUsize::new(0);
static BELOW: AtomicUsize = AtomicUsize::new(0);

extern "C" fn plain(signum: i32) {
    assert_eq!(signum, Signal::USR1);
    PLAIN.fetch_add(1, SeqCst);
}

#[allow(unsafe_code)]
extern "C" fn with_info(signum: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system passes it to a handler that asks for it.
    let info = unsafe { *info };
    assert_eq!((signum, info.si_signo), (Signal::USR2, signum));
    assert!(!context.is_null());
    WITH_INFO.fetch_add(1, SeqCst);
}

/// Calls the previous handler, as handlers should.
#[allow(unsafe_code)]
extern "C" fn on_top(signum: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    ON_TOP.fetch_add(1, SeqCst);
    let below = std::ptr::with_exposed_provenance::<()>(BELOW.load(SeqCst));
    // SAFETY: the test puts a function with these arguments there before this one is installed.
    let below: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
        unsafe { std::mem::transmute(below) };
    below(signum, info, context);
}

/// Installs a handler of the host; gives the address of the one before.
#[allow(unsafe_code)]
pub(crate) fn host_handles(signum: i32, handler: usize, flags: i32) -> usize {
    // SAFETY: plain numbers.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    let mut before = action;
    // SAFETY: the handlers above are safe anywhere, and take what their flags say.
    assert_eq!(0, unsafe { libc::sigaction(signum, &action, &mut before) });
    before.sa_sigaction
}

#[test]
fn handlers_of_the_host_below_and_on_top() {
    alone(
        "handlers::handlers_of_the_host_below_and_on_top",
        "",
        || {
            let before = count_fds();
            let (plain, with_info) = (plain as *const () as usize, with_info as *const () as usize);
            host_handles(Signal::USR1, plain, 0);
            host_handles(Signal::USR2, with_info, libc::SA_SIGINFO);
            run(async {
                for round in 1..=3 {
                    let one = Signal::new(Signal::USR1).unwrap();
                    let two = Signal::new(Signal::USR2).unwrap();
                    raise(Raw::USR1);
                    raise(Raw::USR2);
                    timeout(LONG, one.recv()).await.unwrap().unwrap();
                    timeout(LONG, two.recv()).await.unwrap().unwrap();
                    drop((one, two));
                    raise(Raw::USR1);
                    raise(Raw::USR2);
                    wait_until("both, with ours and without", || {
                        (PLAIN.load(SeqCst), WITH_INFO.load(SeqCst)) == (2 * round, 2 * round)
                    });
                }
                // A handler is installed on top of ours, and stays when ours has no subscription
                // left.
                let first = Signal::new(Signal::USR1).unwrap();
                let ours = host_handles(Signal::USR1, 0, 0);
                BELOW.store(ours, SeqCst);
                host_handles(Signal::USR1, on_top as *const () as usize, libc::SA_SIGINFO);
                raise(Raw::USR1);
                timeout(LONG, first.recv()).await.unwrap().unwrap();
                drop(first);
                raise(Raw::USR1);
                wait_until("all three", || {
                    (ON_TOP.load(SeqCst), PLAIN.load(SeqCst)) == (2, 8)
                });
                let second = Signal::new(Signal::USR1).unwrap();
                raise(Raw::USR1);
                timeout(LONG, second.recv()).await.unwrap().unwrap();
                wait_until("each once", || {
                    (ON_TOP.load(SeqCst), PLAIN.load(SeqCst)) == (3, 9)
                });
                // It is removed, so ours is on top again: dropping the last subscription restores
                // the host's.
                host_handles(Signal::USR1, ours, libc::SA_SIGINFO);
                drop(second);
                assert_eq!(host_handles(Signal::USR1, plain, 0), plain);
                assert_eq!(host_handles(Signal::USR2, 0, 0), with_info);
            });
            assert_eq!(count_fds(), before);
        },
    );
}

#[test]
#[allow(unsafe_code)]
fn a_fork_in_the_middle_of_handlers() {
    alone("handlers::a_fork_in_the_middle_of_handlers", "", || {
        let stop = Arc::new(AtomicBool::new(false));
        let mut signal = Some(Signal::new(Signal::USR1).unwrap());
        let storm = thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(SeqCst) {
                    // SAFETY: it is handled, by this thread.
                    unsafe { libc::raise(Signal::USR1) };
                }
            }
        });
        for _ in 0..200 {
            // SAFETY: the child uses nothing that the other threads could have locked, but its
            // allocator, which is prepared for that.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: a plain number. The alarm ends the child if it would run for ever.
                unsafe { libc::alarm(20) };
                drop(signal.take());
                // SAFETY: it ends here.
                unsafe { libc::_exit(0) };
            }
            let mut child = 0;
            // SAFETY: the child is ours, and the pointer valid. If it hangs, the test's deadline
            // ends it.
            assert_eq!(unsafe { libc::waitpid(pid, &mut child, 0) }, pid);
            assert_eq!(child, 0);
        }
        stop.store(true, SeqCst);
        storm.join().unwrap();
        run(signal.take().unwrap().recv()).unwrap();
    });
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);
/// Whether ours was on top when the latest signal came.
static ABOVE: AtomicBool = AtomicBool::new(false);

#[allow(unsafe_code)]
extern "C" fn notes_what_is_above(signum: i32) {
    // SAFETY: plain numbers.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a question, which changes nothing.
    unsafe { libc::sigaction(signum, std::ptr::null(), &mut action) };
    let ours = notes_what_is_above as *const () as usize;
    ABOVE.store(action.sa_sigaction != ours, SeqCst);
    HANDLED.fetch_add(1, SeqCst);
}

/// A signal that arrives while the system installs our handler is handled before the call that
/// installs it returns.
#[test]
#[allow(unsafe_code)]
fn a_signal_that_comes_as_the_handler_is_installed_is_received() {
    alone(
        "handlers::a_signal_that_comes_as_the_handler_is_installed_is_received",
        "",
        || {
            host_handles(Signal::USR1, notes_what_is_above as *const () as usize, 0);
            // SAFETY: it is this thread's own name.
            let here = unsafe { libc::pthread_self() };
            // The round that has begun; `usize::MAX`: there are no more.
            let begun = Arc::new(AtomicUsize::new(0));
            let sender = thread::spawn({
                let begun = begun.clone();
                move || {
                    for round in 1.. {
                        while begun.load(SeqCst) < round {
                            thread::yield_now();
                        }
                        if begun.load(SeqCst) == usize::MAX {
                            break;
                        }
                        for _ in 0..round % 300 {
                            std::hint::spin_loop();
                        }
                        // SAFETY: that thread joins this one before it ends.
                        unsafe { libc::pthread_kill(here, Signal::USR1) };
                    }
                }
            });
            run(async {
                for round in rounds(60_000).map(|round| round + 1) {
                    begun.store(round, SeqCst);
                    let signal = Signal::new(Signal::USR1).unwrap();
                    while HANDLED.load(SeqCst) < round {
                        thread::yield_now();
                    }
                    let received = poll_once(&mut Box::pin(signal.recv())).is_ready();
                    assert_eq!(received, ABOVE.load(SeqCst), "in round {round}");
                    if round % 64 == 0 {
                        trefoil::yield_now().await; // for its budget
                    }
                }
            });
            begun.store(usize::MAX, SeqCst);
            sender.join().unwrap();
        },
    );
}

/// What `errno` was when the handler below ours was called.
#[cfg(target_os = "linux")]
static ERRNO: AtomicUsize = AtomicUsize::new(0);

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn errno() -> *mut i32 {
    // SAFETY: it may be called anywhere.
    unsafe { libc::__errno_location() }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
extern "C" fn notes_errno(_signum: i32) {
    // SAFETY: this thread's own number.
    ERRNO.store(unsafe { *errno() } as usize, SeqCst);
}

/// The code that a signal interrupts may be about to look at `errno`.
#[cfg(target_os = "linux")]
#[test]
#[allow(unsafe_code)]
fn a_ring_that_fails_leaves_errno_as_it_was() {
    alone(
        "handlers::a_ring_that_fails_leaves_errno_as_it_was",
        "",
        || {
            host_handles(Signal::USR1, notes_errno as *const () as usize, 0);
            let _signal = Signal::new(Signal::USR1).unwrap();
            // A full counter: the next ring is refused.
            for number in 3..64 {
                let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
                if link.is_ok_and(|link| link.to_string_lossy().contains("eventfd")) {
                    let full = (u64::MAX - 1).to_ne_bytes();
                    // SAFETY: eight bytes; the descriptor does not block.
                    unsafe { libc::write(number, full.as_ptr().cast(), full.len()) };
                }
            }
            // SAFETY: this thread's own number.
            unsafe { *errno() = libc::EDOM };
            // SAFETY: it is handled.
            unsafe { libc::raise(Signal::USR1) };
            assert_eq!(ERRNO.load(SeqCst), libc::EDOM as usize);
        },
    );
}
