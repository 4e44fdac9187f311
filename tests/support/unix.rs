//! What the tests do to other processes, and ask about them: with signals, and of Linux's `/proc`.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::End;

/// How a process has ended that was killed.
pub(crate) const KILLED: End = (None, Some(9));
/// One that has called `abort`.
pub(crate) const ABORTED: End = (None, Some(6));
/// One that was asked to end.
pub(crate) const TERMINATED: End = (None, Some(15));
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
    std::path::Path::new(&format!("/proc/{pid}")).exists()
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
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "pid (name) S ...", and the name may contain anything.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.chars().take(1).collect()
}

/// The processes that have this one as their parent.
pub(crate) fn children() -> usize {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let parent = |stat: &str| Some(stat.rsplit_once(") ")?.1.split(' ').nth(1)? == own);
    let stats =
        processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| parent(stat) == Some(true)).count()
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What must not grow: descriptors, threads, children.
pub(crate) fn census() -> (usize, usize, bool) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let children = !matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD));
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    (descriptors(), threads, children)
}

/// While it is there nobody else appends to a file: one call does that whole.
pub(crate) struct Alone;

pub(crate) fn alone() -> Alone {
    Alone
}
