//! A limit on this process's memory, which can be lifted for a while.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::sys::limits::limit;

/// A limit that `lift` has lifted.
#[derive(Debug)]
pub struct Allowance(Resource, Rlimit);

/// Limits `resource` to `bytes`, or to the hard limit if that is lower.
pub(crate) fn allow(resource: Resource, bytes: u64) -> io::Result<()> {
    let maximum = limit(resource)?.maximum;
    let current = Some(maximum.map_or(bytes, |maximum| bytes.min(maximum)));
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

/// Raises the limit to the hard limit. `None`: the system refuses that.
pub(crate) fn lift(resource: Resource) -> Option<Allowance> {
    let before = limit(resource).ok()?;
    let most = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    setrlimit(resource, most).ok()?;
    Some(Allowance(resource, before))
}

/// Sets the limit again that was lifted.
pub fn restore(Allowance(resource, before): Allowance) {
    let _ = setrlimit(resource, before);
}
