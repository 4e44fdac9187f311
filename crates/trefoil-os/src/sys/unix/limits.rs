//! This process's resource limits: `getrlimit`, which a filter may refuse.
//!
//! rustix assumes that this call cannot fail.
//!
//! - **Y29** `getrlimit` fills in a local variable, or fails.
//!
//! Tests: its own test.
#![allow(unsafe_code)]

use std::io;

use rustix::process::{Resource, Rlimit};

use crate::sys::refused::refused;

/// The limits of `resource`.
pub fn limit(resource: Resource) -> io::Result<Rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: Y29: a local variable, which no other code knows.
    if unsafe { libc::getrlimit(resource as _, &raw mut limit) } != 0 {
        return Err(refused("prlimit64")(io::Error::last_os_error()));
    }
    #[allow(clippy::unnecessary_cast)] // the numbers have 32 bits on some machines
    let finite = |number: libc::rlim_t| (number != libc::RLIM_INFINITY).then_some(number as u64);
    Ok(Rlimit {
        current: finite(limit.rlim_cur),
        maximum: finite(limit.rlim_max),
    })
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn limits_are_what_they_are() {
        for resource in [Resource::Nofile, Resource::Data, Resource::Core] {
            assert_eq!(
                limit(resource).unwrap(),
                rustix::process::getrlimit(resource)
            );
        }
    }
}
