//! How much memory a worker may use.
//!
//! **Job.** A limit for one item, and a limit for what stays.
//!
//! 1. Before an item the worker looks how much it has (`/proc/self/statm`), and sets the
//!    kernel's limit for private memory (`RLIMIT_DATA`) that much above it. So an item can
//!    allocate up to the limit, whatever items before it have left behind; what goes
//!    beyond fails in the allocator, and Rust's answer to that is to say so and
//!    to abort. The parent recognises it by that message
//!    (`parent/worker_stderr.rs`).
//! 2. What is resident of its own after an item is compared with the limit, too: a worker that holds
//!    more is replaced, so what items leave behind does not add up.
//! 3. A look costs two microseconds. Items that follow closely share one.
//! 4. While a panic is reported there is no limit: a backtrace needs memory, and where it gets none, the
//!    standard library deadlocks (to report that, it takes the lock under which it prints backtraces).
//!
//! **Rejected.** `RLIMIT_AS`: it counts address space that is only reserved, of which each
//! thread's allocator arena takes 64 MiB. One fixed limit: the item that meets it would
//! be the one after those that leaked.
//!
//! Tests: `tests/process/limits.rs`.

use std::fs::File;
use std::io;
use std::panic;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::loom::Mutex;
use crate::sys::limits::limit;

/// Items that follow one another this closely are one.
const CLOSE: Duration = Duration::from_micros(50);

/// How much memory this process may have.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    limit: u64,
    statm: File,
    page: u64,
    looked: Option<Instant>,
}

impl MemoryLimit {
    /// Limits this process.
    pub(crate) fn new(limit: u64) -> io::Result<Self> {
        let memory = Self {
            limit,
            statm: File::open("/proc/self/statm")?,
            page: rustix::param::page_size() as u64,
            looked: None,
        };
        let (_, data) = memory.read().ok_or(io::ErrorKind::InvalidData)?;
        memory.allow(data)?;
        lift_for_panics();
        Ok(memory)
    }

    /// Before an item: true if it may begin here, and then it has its limit.
    pub(crate) fn fits(&mut self) -> bool {
        let now = Instant::now();
        if self.looked.is_some_and(|last| now - last < CLOSE) {
            return true;
        }
        let first = self.looked.replace(now).is_none();
        let Some((resident, data)) = self.read() else {
            return true;
        };
        // The first item of a process runs in any case, or none ever would.
        if !first && resident > self.limit {
            return false;
        }
        let _ = self.allow(data);
        true
    }

    /// The item that runs now may add the limit to `data`.
    fn allow(&self, data: u64) -> io::Result<()> {
        let maximum = limit(Resource::Data)?.maximum;
        let wanted = data.saturating_add(self.limit);
        let current = Some(maximum.map_or(wanted, |maximum| wanted.min(maximum)));
        Ok(setrlimit(Resource::Data, Rlimit { current, maximum })?)
    }

    /// How many bytes are resident and this process's own, and how much it has reserved to write to.
    fn read(&self) -> Option<(u64, u64)> {
        let mut buffer = [0; 256];
        let length = rustix::io::pread(&self.statm, &mut buffer, 0).ok()?;
        let (resident, shared, data) = parse(std::str::from_utf8(&buffer[..length]).ok()?)?;
        let own = resident.saturating_sub(shared);
        Some((own * self.page, data * self.page))
    }
}

/// Chains a panic hook that takes the limit away while the others run.
fn lift_for_panics() {
    /// How many threads report a panic, and what the limit was before the first of them.
    type Lifted = (u32, Option<Rlimit>);
    let lifted: Mutex<Lifted> = Mutex::new((0, None));
    let lift = |limits: &Rlimit| {
        let most = Rlimit {
            current: limits.maximum,
            ..*limits
        };
        setrlimit(Resource::Data, most).is_ok()
    };
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let enter = |(reports, before): &mut Lifted| {
            *reports += 1;
            if *reports == 1 {
                *before = limit(Resource::Data).ok().filter(lift);
            }
        };
        let leave = |(reports, before): &mut Lifted| {
            *reports -= 1;
            if *reports == 0
                && let Some(before) = before.take()
            {
                let _ = setrlimit(Resource::Data, before);
            }
        };
        enter(&mut lifted.lock());
        others(info);
        leave(&mut lifted.lock());
    }));
}

/// Resident, shared and data pages.
fn parse(statm: &str) -> Option<(u64, u64, u64)> {
    let mut fields = statm.split_whitespace().map(|field| field.parse().ok());
    let resident = fields.nth(1)??;
    let shared = fields.next()??;
    let data = fields.nth(2)??;
    Some((resident, shared, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statm_is_read() {
        assert_eq!(parse("10 7 3 1 0 5 0\n"), Some((7, 3, 5)));
        assert_eq!(parse("10 7"), None);
        assert_eq!(parse("a b c d e f g"), None);
    }
}
