//! Names of signals, which this system does not have.

/// As the manual calls it.
pub(crate) fn signal_name(_signal: i32) -> Option<String> {
    None
}
