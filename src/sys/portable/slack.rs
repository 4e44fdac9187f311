//! How late the system ends a wait on purpose: that is not known, so a wait is asked for as it is.

use std::time::Duration;

/// For a wait for descriptors.
pub(crate) fn less_of_poll(wait: Duration) -> Duration {
    wait
}

/// For a wait on a futex.
pub(crate) fn less_of_futex(wait: Duration) -> Duration {
    wait
}
