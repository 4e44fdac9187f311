//! A limit on this process's memory, which can be lifted for a while: on Linux on private writable
//! memory, elsewhere on address space.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::sys::limits::limit;

const LIMITED: Resource = if cfg!(target_os = "linux") {
    Resource::Data
} else {
    Resource::As
};

/// A limit that `lift` has lifted.
#[derive(Debug)]
pub struct Allowance(Rlimit);

/// Limits it to `bytes`, or to the hard limit if that is lower.
pub fn allow(bytes: u64) -> io::Result<()> {
    let maximum = limit(LIMITED)?.maximum;
    let current = Some(maximum.map_or(bytes, |maximum| bytes.min(maximum)));
    Ok(setrlimit(LIMITED, Rlimit { current, maximum })?)
}

/// Raises the limit to the hard limit. `None`: the system refuses that.
pub fn lift() -> Option<Allowance> {
    let before = limit(LIMITED).ok()?;
    let most = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    setrlimit(LIMITED, most).ok()?;
    Some(Allowance(before))
}

/// Sets the limit again that was lifted.
pub fn restore(Allowance(before): Allowance) {
    let _ = setrlimit(LIMITED, before);
}
