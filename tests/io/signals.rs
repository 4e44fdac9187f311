//! Signals: each subscription gets each signal, none is lost, and the host's handlers are restored.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{
    Resource, Rlimit, Signal as Raw, getpid, getrlimit, kill_process, setrlimit,
};
use trefoil::io::{Signal, ctrl_c};
use trefoil::time::{sleep, timeout};
use trefoil::{EventLoop, run, spawn, yield_now};

use crate::support::{LONG, alone, count_fds, within_deadline};

const MOMENT: Duration = Duration::from_millis(10);

fn raise(signal: Raw) {
    kill_process(getpid(), signal).unwrap();
}

/// When this returns, the handler has run. (A signal to the process may interrupt another thread,
/// later.)
#[allow(unsafe_code)]
fn raise_here(signal: Raw) {
    // SAFETY: it interrupts this thread, as a signal does anyway.
    assert_eq!(unsafe { libc::raise(signal.as_raw()) }, 0);
}

async fn received(signal: &Signal) {
    timeout(LONG, signal.recv()).await.unwrap().unwrap();
}

async fn silent(signal: &Signal) {
    assert!(timeout(MOMENT, signal.recv()).await.is_err());
}

#[test]
fn each_receives_each_and_many_become_one() {
    alone(
        "signals::each_receives_each_and_many_become_one",
        "",
        || {
            let before = count_fds();
            run(async {
                let one = Signal::new(Signal::USR1).unwrap();
                let two = Signal::new(Signal::USR1).unwrap();
                let other = Signal::new(Signal::USR2).unwrap();
                silent(&one).await;
                raise(Raw::USR1);
                received(&one).await;
                // Signals that come before the first wait, and after dropped waits.
                for _ in 0..10 {
                    assert!(timeout(Duration::ZERO, other.recv()).await.is_err());
                }
                received(&two).await;
                silent(&one).await;
                silent(&two).await;
                for _ in 0..100 {
                    raise(Raw::USR1);
                }
                // Another thread may run the handler, so the last may come a little later.
                let mut times = [0, 0];
                for (signal, times) in [&one, &two].into_iter().zip(&mut times) {
                    received(signal).await;
                    *times += 1;
                    while timeout(MOMENT, signal.recv()).await.is_ok() {
                        *times += 1;
                    }
                }
                assert!(times.iter().all(|times| *times <= 100), "{times:?}");
                silent(&other).await;
                // A later subscription does not see earlier signals.
                raise(Raw::USR2);
                received(&other).await;
                let late = Signal::new(Signal::USR2).unwrap();
                silent(&late).await;
                // Every one of a long row, taken one at a time.
                for _ in 0..200 {
                    let waiting = spawn(async move {
                        let late = Signal::new(Signal::USR2).unwrap();
                        yield_now().await;
                        raise(Raw::USR2);
                        received(&late).await;
                    });
                    waiting.await.unwrap();
                    received(&other).await;
                }
            });
            assert_eq!(count_fds(), before);
        },
    );
}

#[test]
fn on_several_loops_and_off_its_own() {
    alone("signals::on_several_loops_and_off_its_own", "", || {
        let before = count_fds();
        let (tell, told) = mpsc::channel();
        let (go_on, on) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let tell = tell.clone();
                thread::spawn(move || {
                    run(async {
                        let signal = Signal::new(Signal::HUP).unwrap();
                        for _ in 0..20 {
                            let waiting = signal.recv();
                            tell.send(()).unwrap();
                            timeout(LONG, waiting).await.unwrap().unwrap();
                            tell.send(()).unwrap();
                        }
                    });
                })
            })
            .collect();
        let sender = thread::spawn(move || {
            for _ in 0..20 {
                for round in 0..2 {
                    (0..3).for_each(|_| told.recv().unwrap());
                    if round == 0 {
                        raise(Raw::HUP);
                    }
                }
            }
            go_on.send(()).unwrap();
        });
        on.recv_timeout(LONG).unwrap();
        sender.join().unwrap();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());

        let signal = Signal::new(Signal::HUP).unwrap();
        let event_loop = EventLoop::new().unwrap();
        event_loop.block_on(silent(&signal));
        let error = run(signal.recv()).unwrap_err();
        assert!(error.to_string().contains("another event loop"), "{error}");
        raise(Raw::HUP);
        event_loop.block_on(received(&signal));
        thread::spawn(move || drop(signal)).join().unwrap();
        drop(event_loop);
        assert_eq!(count_fds(), before);
    });
}

#[test]
fn what_cannot_be_caught_is_refused_in_words() {
    within_deadline(|| {
        for signum in [-1, 0, 4, 7, 8, 9, 11, 19, 65, 1000] {
            let error = Signal::new(signum).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{signum}");
            assert!(error.to_string().contains(&signum.to_string()), "{error}");
        }
        // The C library keeps this one for itself.
        assert!(Signal::new(32).is_err());
        let last = Signal::new(64).unwrap();
        drop(last);
    });
}

/// Runs `f` in a separate process. Returns how that died.
#[allow(unsafe_code)]
fn fate(test: &str, f: impl FnOnce() + Send + 'static) -> Option<ExitStatus> {
    if std::env::var("TREFOIL_FATE").as_deref() == Ok(test) {
        // A shell's background jobs are started with Ctrl-C ignored.
        // SAFETY: of libc; the default is no function, and nothing else runs here yet.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        within_deadline(f);
        return None;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads", "1"])
        .env("TREFOIL_FATE", test)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    Some(status.unwrap())
}

#[test]
fn the_last_to_go_puts_things_back() {
    let status = fate("signals::the_last_to_go_puts_things_back", || {
        run(async {
            for _ in 0..3 {
                let one = Signal::new(Signal::USR1).unwrap();
                let two = Signal::new(Signal::USR1).unwrap();
                drop(one);
                raise(Raw::USR1);
                received(&two).await;
            }
            raise(Raw::USR1);
            sleep(LONG).await;
        });
    });
    if let Some(status) = status {
        assert_eq!(status.signal(), Some(10), "{status}");
    }
}

#[test]
fn the_second_ctrl_c_ends_what_the_first_began_to_end() {
    let test = "signals::the_second_ctrl_c_ends_what_the_first_began_to_end";
    let status = fate(test, || {
        run(async {
            let pressed = ctrl_c();
            raise(Raw::INT); // before the first poll
            timeout(LONG, pressed).await.unwrap().unwrap();
            let kept = Signal::new(Signal::INT).unwrap();
            raise(Raw::INT);
            received(&kept).await;
            drop(kept);
            raise(Raw::INT);
            sleep(LONG).await;
        });
    });
    if let Some(status) = status {
        assert_eq!(status.signal(), Some(2), "{status}");
    }
}

/// As in programs that were written for tokio, whose handler stays for ever.
#[test]
fn a_ctrl_c_between_two_waits_for_it_goes_to_the_second() {
    let test = "signals::a_ctrl_c_between_two_waits_for_it_goes_to_the_second";
    alone(test, "", || {
        let before = count_fds();
        let event_loop = EventLoop::new().unwrap();
        event_loop.block_on(async {
            for polled in [false, true] {
                let pressed = ctrl_c();
                if polled {
                    timeout(MOMENT, pressed).await.unwrap_err();
                } else {
                    drop(pressed);
                }
                raise(Raw::INT);
                yield_now().await;
                timeout(LONG, ctrl_c()).await.unwrap().unwrap();
            }
            // With `keep`, also one that comes while the first is being handled.
            let pressed = ctrl_c().keep();
            raise(Raw::INT);
            timeout(LONG, pressed).await.unwrap().unwrap();
            raise(Raw::INT);
            timeout(LONG, ctrl_c().keep()).await.unwrap().unwrap();
            timeout(MOMENT, ctrl_c()).await.unwrap_err();
        });
        // Between two futures of the same loop.
        raise(Raw::INT);
        let pressed = event_loop.block_on(async { timeout(LONG, ctrl_c().keep()).await });
        pressed.unwrap().unwrap();
        drop(event_loop);
        assert_eq!(count_fds(), before);
    });
}

/// `keep` needs no further descriptor, and a future that is made after the signal still gets it.
#[test]
fn a_ctrl_c_is_kept_without_descriptors_and_by_the_first_that_goes() {
    let test = "signals::a_ctrl_c_is_kept_without_descriptors_and_by_the_first_that_goes";
    alone(test, "", || {
        run(async {
            let first = ctrl_c();
            let come = Signal::new(Signal::INT).unwrap();
            raise(Raw::INT);
            received(&come).await;
            let second = ctrl_c();
            drop(first);
            drop(second);
            timeout(LONG, ctrl_c()).await.unwrap().unwrap();

            let pressed = ctrl_c();
            let limit = getrlimit(Resource::Nofile);
            let none = Rlimit {
                current: Some(0),
                ..limit
            };
            setrlimit(Resource::Nofile, none).unwrap();
            drop(pressed);
            raise_here(Raw::INT);
            timeout(LONG, ctrl_c()).await.unwrap().unwrap();
            setrlimit(Resource::Nofile, limit).unwrap();
        });
    });
}

#[test]
fn a_loop_that_ends_leaves_ctrl_c_as_it_was() {
    let status = fate("signals::a_loop_that_ends_leaves_ctrl_c_as_it_was", || {
        run(async {
            let pressed = ctrl_c().keep();
            raise(Raw::INT);
            timeout(LONG, pressed).await.unwrap().unwrap();
            drop(ctrl_c());
        });
        raise(Raw::INT);
        thread::sleep(LONG); // another thread may be the one that it ends
    });
    if let Some(status) = status {
        assert_eq!(status.signal(), Some(2), "{status}");
    }
}

#[test]
fn an_ignored_signal_is_ignored_again() {
    alone(
        "signals::an_ignored_signal_is_ignored_again",
        "trap '' USR1",
        || {
            run(async {
                let signal = Signal::new(Signal::USR1).unwrap();
                raise(Raw::USR1);
                received(&signal).await;
                drop(signal);
                raise(Raw::USR1); // it does not end the process
                sleep(MOMENT).await;
            });
        },
    );
}

#[test]
fn signals_while_loops_end_and_subscribers_come_and_go() {
    alone(
        "signals::signals_while_loops_end_and_subscribers_come_and_go",
        "",
        || {
            let before = count_fds();
            let kept = Signal::new(Signal::USR1).unwrap();
            let (stop, stopped) = mpsc::channel::<()>();
            let storm = thread::spawn(move || {
                while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    raise(Raw::USR1);
                    thread::yield_now();
                }
            });
            for _ in 0..200 {
                run(async {
                    let signal = Signal::new(Signal::USR1).unwrap();
                    spawn(async move {
                        loop {
                            signal.recv().await.unwrap();
                        }
                    })
                    .detach();
                    let other = Signal::new(Signal::USR1).unwrap();
                    received(&other).await;
                });
            }
            drop(stop);
            storm.join().unwrap();
            run(received(&kept));
            drop(kept);
            assert_eq!(count_fds(), before);
        },
    );
}

#[test]
fn children_are_not_disturbed() {
    alone("signals::children_are_not_disturbed", "", || {
        run(async {
            let _ours = Signal::new(Signal::TERM).unwrap();
            let mut child = trefoil::io::Command::new("sleep")
                .arg("600")
                .spawn()
                .unwrap();
            child.send_signal(Signal::TERM).unwrap();
            assert_eq!(child.wait().await.unwrap().signal(), Some(15));
            // With a subscription to its end, it still can be waited for.
            let ended = Signal::new(Signal::CHLD).unwrap();
            let mut child = trefoil::io::Command::new("true").spawn().unwrap();
            assert!(child.wait().await.unwrap().success());
            received(&ended).await;
        });
    });
}
