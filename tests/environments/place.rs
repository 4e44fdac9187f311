//! Changes the environment of a process: limits, mounts, rights, signals.
//!
//! A helper process changes its own environment, which cannot be undone; programs that it executes
//! inherit it.
#![allow(unsafe_code)]

use std::io;

use libc::c_ulong;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Limits `resource` to `most`.
pub(crate) fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(setrlimit(resource, limit)?)
}

/// Limits the number of open files. Those that this process has inherited are closed first: whoever
/// runs the tests may have left some open.
pub(crate) fn files(most: u64) -> io::Result<()> {
    // SAFETY: it takes numbers only, and this process has opened nothing yet.
    said(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } as i32)?;
    limit(Resource::Nofile, most)
}

/// Mounts an empty directory over `path`, for this process and its children.
pub(crate) fn hide(path: &std::ffi::CStr) -> io::Result<()> {
    mounts()?;
    mount(path, c"tmpfs", 0)
}

/// Makes all file systems read-only, for this process and its children.
pub(crate) fn read_only() -> io::Result<()> {
    mounts()?;
    let flags = libc::MS_BIND | libc::MS_REC;
    // SAFETY: strings that end, and numbers.
    said(unsafe {
        libc::mount(
            c"/".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null(),
            flags,
            std::ptr::null(),
        )
    })?;
    mount(
        c"/",
        c"",
        libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY,
    )
}

/// Gives this process its own mounts.
fn mounts() -> io::Result<()> {
    // SAFETY: it takes numbers only.
    said(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount(c"/", c"", libc::MS_REC | libc::MS_PRIVATE)
}

fn mount(path: &std::ffi::CStr, kind: &std::ffi::CStr, flags: c_ulong) -> io::Result<()> {
    // SAFETY: strings that end, and numbers.
    said(unsafe {
        libc::mount(
            c"none".as_ptr(),
            path.as_ptr(),
            kind.as_ptr(),
            flags,
            std::ptr::null(),
        )
    })
}

/// Gives up the rights of root.
pub(crate) fn nobody() -> io::Result<()> {
    // SAFETY: it takes numbers only.
    said(unsafe { libc::setgid(65534) })?;
    // SAFETY: as above.
    said(unsafe { libc::setuid(65534) })
}

/// Children that this process starts from now on are in a new process namespace.
pub(crate) fn apart() -> io::Result<()> {
    // SAFETY: it takes numbers only.
    said(unsafe { libc::unshare(libc::CLONE_NEWPID) })
}

/// Blocks all signals in this thread, and in those that it starts.
pub(crate) fn deaf() -> io::Result<()> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: it fills in the set.
    said(unsafe { libc::sigfillset(all.as_mut_ptr()) })?;
    // SAFETY: it reads the set, which is filled in.
    said(unsafe { libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()) })
}

/// The system discards the children of this process, and their status, when they end.
pub(crate) fn discards() -> io::Result<()> {
    // SAFETY: it takes numbers only.
    match unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Executes another program, which ends when the thread that started this process ends.
pub(crate) fn become_another() {
    use std::os::unix::process::CommandExt;
    let _ = std::process::Command::new("sleep").arg("1000").exec();
}

/// Stops this process.
pub(crate) fn stop() {
    // SAFETY: it takes a number.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// How many microseconds of processor time this process has used.
pub(crate) fn used() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: it fills in what it is given.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: numbers, which were zero before they were filled in.
    let usage = unsafe { usage.assume_init() };
    [usage.ru_utime, usage.ru_stime]
        .map(|time| time.tv_sec * 1_000_000 + time.tv_usec)
        .iter()
        .sum()
}

fn said(result: i32) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
