//! Names of signals.

use rustix::process::Signal;

/// Its name in the manual.
pub(crate) fn signal_name(signal: i32) -> Option<String> {
    let name = format!("{:?}", Signal::from_named_raw(signal)?);
    let name = name.trim_matches('"').replace("Signal::", "SIG");
    let name = name.replace("ABORT", "ABRT").replace("ALARM", "ALRM");
    Some(name.replace("POWER", "PWR"))
}

/// The meaning of an exit code that the system has set: Unix has none.
pub(crate) fn code_name(_code: i32) -> Option<String> {
    None
}
