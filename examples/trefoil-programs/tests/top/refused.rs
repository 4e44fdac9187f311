//! What cannot be looked at, and the reasons that are given.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::TOP;
use crate::support::{Ended, Running, Scratch};
use crate::watched::Watched;

fn once(folder: &Path, pid: u32) -> Ended {
    let pid = pid.to_string();
    let arguments = ["--once", &pid].map(OsStr::new);
    Running::start(TOP, &arguments, &[("XDG_RUNTIME_DIR", folder)]).end()
}

fn refusal(folder: &Path, pid: u32) -> String {
    let ended = once(folder, pid);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    ended.err
}

#[test]
fn there_is_no_such_process() {
    let folder = Scratch::private("top-none");
    assert!(refusal(&folder.0, 0x7fff_fff0).contains("there is no process 2147483632"));
}

/// Without the variable there is no socket, and no thread for one.
#[test]
fn a_program_that_does_not_listen_has_nothing_of_it() {
    let folder = Scratch::private("top-asleep");
    for variables in [&[][..], &[("TREFOIL_TOP", "")], &[("TREFOIL_TOP", "0")]] {
        let watched = Watched::start(&folder.0, variables);
        let reason = refusal(&folder.0, watched.pid());
        assert!(
            reason.contains("must call trefoil_dashboard::listen()"),
            "{reason}"
        );
        assert!(!folder.0.join("trefoil").exists());
        let threads = fs::read_dir(format!("/proc/{}/task", watched.pid())).unwrap();
        let names = threads.map(|thread| {
            let path = thread.unwrap().path().join("comm");
            fs::read_to_string(path).unwrap_or_default()
        });
        let names: Vec<String> = names.collect();
        assert!(
            !names.iter().any(|name| name.contains("trefoil")),
            "{names:?}"
        );
        watched.end();
    }
}

#[test]
fn a_dead_socket_is_removed() {
    let folder = Scratch::private("top-dead");
    let sockets = folder.0.join("trefoil");
    fs::create_dir(&sockets).unwrap();
    fs::set_permissions(&sockets, Permissions::from_mode(0o700)).unwrap();
    // Somebody was killed, and his number is this process's now.
    let own = sockets.join(format!("{}.sock", std::process::id()));
    drop(UnixListener::bind(&own).unwrap());
    // (A process that another test starts has it until it executes its program.)
    while UnixStream::connect(&own).is_ok() {
        std::thread::yield_now();
    }
    let reason = refusal(&folder.0, std::process::id());
    assert!(
        reason.contains("nobody listens") && reason.contains("was removed"),
        "{reason}"
    );
    assert!(!own.exists());

    // Those of processes that have ended go when somebody else listens; others stay.
    let gone = sockets.join("2147483632.sock");
    drop(UnixListener::bind(&gone).unwrap());
    drop(UnixListener::bind(&own).unwrap());
    let other = sockets.join("notes.txt");
    fs::write(&other, "").unwrap();
    let watched = Watched::start(&folder.0, &[("TREFOIL_TOP", "1")]);
    assert!(!gone.exists() && own.exists() && other.exists());
    let pid = watched.pid();
    let socket = sockets.join(format!("{pid}.sock"));
    assert!(socket.exists());
    // Killed, it leaves its socket.
    drop(watched);
    assert!(socket.exists());
    assert!(refusal(&folder.0, pid).contains("there is no process"));
}

/// A socket with the right name that another process has made.
#[test]
fn a_socket_of_another_process_is_refused() {
    let folder = Scratch::private("top-other");
    let watched = Watched::start(&folder.0, &[("TREFOIL_TOP", "1")]);
    let sockets = folder.0.join("trefoil");
    let false_name = sockets.join(format!("{}.sock", std::process::id()));
    symlink(sockets.join(format!("{}.sock", watched.pid())), &false_name).unwrap();
    let reason = refusal(&folder.0, std::process::id());
    assert!(reason.contains("is that of process"), "{reason}");
}

#[test]
fn a_folder_that_others_can_enter_is_refused() {
    let folder = Scratch::private("top-open");
    let sockets = folder.0.join("trefoil");
    fs::create_dir(&sockets).unwrap();
    fs::set_permissions(&sockets, Permissions::from_mode(0o755)).unwrap();
    let own = sockets.join(format!("{}.sock", std::process::id()));
    let _listens = UnixListener::bind(&own).unwrap();
    let reason = refusal(&folder.0, std::process::id());
    assert!(reason.contains("does not listen"), "{reason}");

    // Nor is a link to a folder a folder.
    let elsewhere = Scratch::private("top-link");
    symlink(&sockets, elsewhere.0.join("trefoil")).unwrap();
    let reason = refusal(&elsewhere.0, std::process::id());
    assert!(reason.contains("does not listen"), "{reason}");
}

/// A process that is stopped accepts nothing, and does not hold up the one who looks.
#[test]
fn a_program_that_is_stopped_does_not_answer() {
    use rustix::process::{Pid, Signal, kill_process};
    let folder = Scratch::private("top-stopped");
    let watched = Watched::start(&folder.0, &[("TREFOIL_TOP", "1")]);
    let pid = Pid::from_raw(watched.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let reason = refusal(&folder.0, watched.pid());
    assert!(reason.contains("does not answer"), "{reason}");
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(once(&folder.0, watched.pid()).code, Some(0));
}
