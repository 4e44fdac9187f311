//! Names of signals.

/// Those that end a process unless it handles them.
const NAMES: &[(i32, &str)] = &[
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGIO, "SIGIO"),
    (libc::SIGKILL, "SIGKILL"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGPROF, "SIGPROF"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGSYS, "SIGSYS"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGVTALRM, "SIGVTALRM"),
    (libc::SIGXCPU, "SIGXCPU"),
    (libc::SIGXFSZ, "SIGXFSZ"),
    #[cfg(target_os = "linux")]
    (libc::SIGPWR, "SIGPWR"),
    #[cfg(target_os = "linux")]
    (libc::SIGSTKFLT, "SIGSTKFLT"),
];

/// The name of a signal that has ended a process, as the manual writes it.
pub fn signal_name(signal: i32) -> Option<String> {
    let (_, name) = NAMES.iter().find(|(number, _)| *number == signal)?;
    Some((*name).to_owned())
}

/// The number of the signal with this name, which may lack its `SIG`.
#[cfg(feature = "inspect")]
pub fn signal_number(name: &str) -> Option<i32> {
    let short = |name: &str| name.strip_prefix("SIG").unwrap_or(name).to_owned();
    let wanted = short(name);
    let (number, _) = NAMES.iter().find(|(_, name)| short(name) == wanted)?;
    Some(*number)
}

/// The meaning of an exit code that the system has set: Unix has none.
pub fn code_name(_code: i32) -> Option<String> {
    None
}
