//! What the tests do to other processes, and ask about them: with signals, and of Linux's `/proc`,
//! elsewhere of `ps` and `/dev/fd`.

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, test_kill_process, waitid,
};

use super::End;

/// How a process has ended that was killed.
pub(crate) const KILLED: End = (None, Some(9));
/// One that has called `abort`.
pub(crate) const ABORTED: End = (None, Some(6));
/// One that was asked to end.
pub(crate) const TERMINATED: End = (None, Some(15));
/// As by Ctrl-C.
pub(crate) const INTERRUPTED: End = (None, Some(2));
/// One that has used memory that is not its own.
pub(crate) const VIOLATED: End = (None, Some(11));

pub(crate) fn signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), signal);
}

pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// It stands still until somebody lets it go on.
pub(crate) fn suspend(pid: u32) {
    signal(pid, Signal::STOP);
}

pub(crate) fn resume(pid: u32) {
    signal(pid, Signal::CONT);
}

/// It runs, is stopped, or has not been reaped.
pub(crate) fn is_there(pid: u32) -> bool {
    let pid = Pid::from_raw(pid as i32).unwrap();
    test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

/// It runs no more; whoever has inherited it may not have reaped it.
pub(crate) fn is_dead(pid: u32) -> bool {
    matches!(&*state(pid), "" | "Z")
}

/// It stands still, or is gone.
pub(crate) fn is_suspended(pid: u32) -> bool {
    matches!(&*state(pid), "" | "T")
}

/// One letter, if there is such a process.
fn state(pid: u32) -> String {
    if !cfg!(target_os = "linux") {
        let state = ps(&["-o", "stat=", "-p", &pid.to_string()]);
        return state.trim_start().chars().take(1).collect();
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "pid (name) S ...", and the name may contain anything.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.chars().take(1).collect()
}

fn ps(arguments: &[&str]) -> String {
    let output = std::process::Command::new("ps").args(arguments).output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

/// The processes that have this one as their parent.
pub(crate) fn children() -> usize {
    let own = std::process::id().to_string();
    if !cfg!(target_os = "linux") {
        let parents = ps(&["-A", "-o", "ppid="]);
        let ours = parents.lines().filter(|parent| parent.trim() == own);
        return ours.count() - 1; // without `ps` itself
    }
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let parent = |stat: &str| Some(stat.rsplit_once(") ")?.1.split(' ').nth(1)? == own);
    let stats =
        processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| parent(stat) == Some(true)).count()
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> usize {
    let linux = cfg!(target_os = "linux");
    let own = if linux { "/proc/self/fd" } else { "/dev/fd" };
    std::fs::read_dir(own).unwrap().count()
}

/// What must not grow: descriptors, threads, children.
pub(crate) fn census() -> (usize, usize, bool) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let children = !matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD));
    // (Elsewhere threads are not counted.)
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    (descriptors(), threads, children)
}

/// While it is there nobody else appends to a file: one call does that whole.
pub(crate) struct Alone;

pub(crate) fn alone() -> Alone {
    Alone
}
