//! How much memory a process may have: macOS has no limit for that (`docs/PLATFORM.md`).

use std::io;

/// Reads how much memory this process has: there is nothing to compare it with.
#[derive(Debug)]
pub enum Meter {}

impl Meter {
    /// Unsupported here.
    pub fn new() -> io::Result<Self> {
        let message = "this system cannot limit the memory of a process, so `memory_limit` is not \
            available: leave it out (`max_tasks_per_worker` replaces workers that leak)";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    /// What would be read.
    pub fn read(&self) -> Option<(u64, u64)> {
        match *self {}
    }
}

/// Limits this process's memory: unsupported here.
pub fn allow(_bytes: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The limit that [`lift`] has lifted: there is none here.
#[derive(Debug)]
pub enum Allowance {}

/// Lifts the limit: there is none.
pub fn lift() -> Option<Allowance> {
    None
}

/// Sets the limit again that was lifted.
pub fn restore(before: Allowance) {
    match before {}
}
