//! How much memory an item may allocate, and how much may remain after it.
//!
//! **Job.** Limits what one item may allocate, and what may remain allocated after items.
//!
//! 1. Before an item the worker reads how much private memory it has (`host::private_memory`), adds
//!    the limit, and sets the sum as the kernel's limit, where the kernel has one for private
//!    memory. So an item can allocate as much as the limit, whatever earlier items have left
//!    allocated. An allocation beyond that fails, and Rust prints a message and aborts. The
//!    parent recognizes the message (`parent/worker_stderr.rs`), and then the cause of the death
//!    is memory (`sched/verdict.rs`).
//! 2. After an item the worker's resident private memory is compared with the limit, too: a worker
//!    that holds more is replaced, so that what items leave behind does not add up. It runs further
//!    items until its successor is ready, unless it holds more than one and a half limits.
//! 3. Reading these values costs two microseconds, so items that follow one another closely share
//!    one reading.
//! 4. A copy of a fork server shares pages with it until one of the two writes there; only pages of
//!    its own count. The kernel counts those by looking at each page, so that is done only where
//!    they may be too many: since the last count there were so many page faults, and so much more
//!    became resident.
//! 5. While a panic is reported there is no limit (`panic_report`): a backtrace needs memory. If it
//!    gets none, the standard library deadlocks: to report that, it takes the lock that it holds
//!    while it prints backtraces.
//!
//! **Rejected.** `RLIMIT_AS`, except on FreeBSD: it counts address space that is only reserved, and
//! each thread's allocator arena reserves 64 MiB. One fixed limit: it would be reached by the item
//! that comes after those that leaked.
//!
//! Tests: `tests/process/limits.rs`.

use std::io;
use std::time::{Duration, Instant};

use trefoil_os::host::own_memory;
use trefoil_os::host::private_memory::{self, Meter};

/// Items that follow one another this closely share one reading.
const CLOSE: Duration = Duration::from_micros(50);

/// Whether an item may begin.
pub(super) enum Fit {
    Fits,
    /// It may, but the process is to be replaced.
    Heavy,
    /// It may not: the process holds far too much.
    TooHeavy,
}

/// The memory limit of this process.
pub(crate) struct MemoryLimit {
    limit: u64,
    meter: Meter,
    looked: Option<Instant>,
    /// In a copy of a fork server: what of its memory is its own.
    own: Option<OwnMemory>,
}

impl MemoryLimit {
    /// Limits this process.
    pub(crate) fn new(limit: u64) -> io::Result<Self> {
        let memory = Self {
            limit,
            meter: Meter::new()?,
            looked: None,
            own: None,
        };
        let (_, data) = memory.meter.read().ok_or(io::ErrorKind::InvalidData)?;
        memory.allow(data)?;
        Ok(memory)
    }

    /// Limits this process, a copy of a fork server: what it shares with that does not count.
    pub(crate) fn in_copy(limit: u64) -> io::Result<Self> {
        let mut memory = Self::new(limit)?;
        let (resident, _) = memory.meter.read().ok_or(io::ErrorKind::InvalidData)?;
        memory.own = Some(OwnMemory::none(resident));
        Ok(memory)
    }

    /// Called before an item. If it may begin in this process, its limit is set. So many
    /// bytes of arguments have `arrived` ahead: they count as the item's.
    pub(super) fn fits(&mut self, arrived: u64) -> Fit {
        let now = Instant::now();
        if self.looked.is_some_and(|last| now - last < CLOSE) {
            return Fit::Fits;
        }
        let first = self.looked.replace(now).is_none();
        let Some((mut resident, data)) = self.meter.read() else {
            return Fit::Fits;
        };
        if let Some(own) = &mut self.own {
            resident = own.count(resident, self.limit.saturating_add(arrived));
        }
        // The first item of a process runs in any case; otherwise none might ever run.
        let holds = resident.saturating_sub(arrived);
        if !first && holds > self.limit.saturating_add(self.limit / 2) {
            return Fit::TooHeavy;
        }
        let _ = self.allow(data.saturating_sub(arrived));
        if first || holds <= self.limit {
            Fit::Fits
        } else {
            Fit::Heavy
        }
    }

    /// Lets the next item allocate up to the limit, above the `data` bytes that are allocated now.
    fn allow(&self, data: u64) -> io::Result<()> {
        private_memory::allow(data.saturating_add(self.limit))
    }
}

/// How many bytes were this process's own at the last count, and what has changed since.
struct OwnMemory {
    bytes: u64,
    resident: u64,
    faults: u64,
}

impl OwnMemory {
    /// Of a process that has just been copied.
    fn none(resident: u64) -> Self {
        Self {
            bytes: 0,
            resident,
            faults: own_memory::faulted(),
        }
    }

    /// How many bytes of the `resident` ones are its own; possibly more than there are, if these
    /// are no more than `enough`.
    fn count(&mut self, resident: u64, enough: u64) -> u64 {
        // Each fault may have made one page its own that was shared; memory that was not there
        // before is resident now, however few faults brought it.
        let faults = own_memory::faulted();
        let copied = faults.saturating_sub(self.faults);
        let grown = resident.saturating_sub(self.resident);
        let most = (self.bytes + copied + grown).min(resident);
        if most <= enough {
            return most;
        }
        let bytes = own_memory::own().unwrap_or(most);
        *self = Self {
            bytes,
            resident,
            faults,
        };
        bytes
    }
}
