//! The processors on which a process may run.

use std::io;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// While it lives, this thread runs on certain processors only, and so does, for ever, each process
/// that it starts.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Pinned(CpuSet);

/// # Errors
/// If there are none, or the system does not let this process use all of them.
pub fn pin(processors: &[usize]) -> io::Result<Pinned> {
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let mut set = CpuSet::new();
    for processor in processors {
        if *processor >= CpuSet::MAX_CPU {
            return refused("there is no processor with such a number");
        }
        set.set(*processor);
    }
    if processors.is_empty() {
        return refused("the set is empty");
    }
    let pinned = Pinned(sched_getaffinity(None)?);
    // The kernel leaves out processors that this process may not use, unless none is left.
    match sched_setaffinity(None, &set).and_then(|()| sched_getaffinity(None)) {
        Ok(now) if now == set => Ok(pinned),
        Ok(_) | Err(Errno::INVAL) => refused(
            "some of them do not exist, or the control group of this process does not have them",
        ),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0); // the thread has had them before
    }
}
