//! How much memory a worker may use.
//!
//! **Job.** A limit for one item, and a limit for what stays.
//!
//! 1. Before an item the worker looks how much it has (`sys::private_memory`), and sets the
//!    kernel's limit for private memory that much above it, where there is such a limit. So an item
//!    can allocate up to the limit, whatever items before it have left behind; what goes beyond
//!    fails in the allocator, and Rust's answer to that is to say so and to abort. The parent
//!    recognises it by that message (`parent/worker_stderr.rs`).
//! 2. What is resident of its own after an item is compared with the limit, too: a worker that
//!    holds more is replaced, so what items leave behind does not add up.
//! 3. A look costs two microseconds. Items that follow closely share one.
//! 4. While a panic is reported there is no limit: a backtrace needs memory, and where it gets
//!    none, the standard library deadlocks (to report that, it takes the lock under which it prints
//!    backtraces).
//!
//! **Rejected.** `RLIMIT_AS`: it counts address space that is only reserved, of which each
//! thread's allocator arena takes 64 MiB. One fixed limit: the item that meets it would
//! be the one after those that leaked.
//!
//! Tests: `tests/process/limits.rs`.

use std::io;
use std::panic;
use std::time::{Duration, Instant};

use crate::loom::Mutex;
use crate::sys::private_memory::{self, Allowance, Meter};

/// Items that follow one another this closely are one.
const CLOSE: Duration = Duration::from_micros(50);

/// How much memory this process may have.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    limit: u64,
    meter: Meter,
    looked: Option<Instant>,
}

impl MemoryLimit {
    /// Limits this process.
    pub(crate) fn new(limit: u64) -> io::Result<Self> {
        let memory = Self {
            limit,
            meter: Meter::new()?,
            looked: None,
        };
        let (_, data) = memory.meter.read().ok_or(io::ErrorKind::InvalidData)?;
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
        let Some((resident, data)) = self.meter.read() else {
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
        private_memory::allow(data.saturating_add(self.limit))
    }
}

/// Chains a panic hook that takes the limit away while the others run.
fn lift_for_panics() {
    /// How many threads report a panic, and what the limit was before the first of them.
    type Lifted = (u32, Option<Allowance>);
    let lifted: Mutex<Lifted> = Mutex::new((0, None));
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let enter = |(reports, before): &mut Lifted| {
            *reports += 1;
            if *reports == 1 {
                *before = private_memory::lift();
            }
        };
        let leave = |(reports, before): &mut Lifted| {
            *reports -= 1;
            if *reports == 0
                && let Some(before) = before.take()
            {
                private_memory::restore(before);
            }
        };
        enter(&mut lifted.lock());
        others(info);
        leave(&mut lifted.lock());
    }));
}
