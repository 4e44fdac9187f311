//! The time for which a worker reports panics does not count as its item's.
//!
//! With `RUST_BACKTRACE=1` the first report of a process reads the program's debug information, for
//! seconds; what the item has done wrong has happened before, and is what its caller must learn. So
//! the panic hook notes in the frame's gate that the running item reports a panic, and afterwards
//! for how long, on whichever thread. (A plain worker shares no gate.) In that time there is no
//! limit to memory (`memory_limit`).
//!
//! Tests: `tests/process/crashes.rs::a_panic_is_no_late_item`.

use std::panic;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::process::pages::gate::{Gate, MOST_REPORTING};
use crate::process::pages::raw_ledger::Front;
use trefoil_os::host::private_memory::{self, Allowance};

/// The frame that runs, as the panic hook sees it.
pub(super) struct PanicReports {
    front: Front,
    sequence: AtomicU64,
    /// The memory of items is limited.
    is_limited: bool,
    reports: Mutex<Reports>,
}

struct Reports {
    /// The number of the item that has reported last, and for how long it has.
    item: u32,
    reported: Duration,
    /// How many threads report, and since when at least one does.
    threads: usize,
    since: Instant,
    /// What the limit to memory was before.
    lifted: Option<Allowance>,
}

impl PanicReports {
    /// Installs the hook.
    pub(super) fn new(front: Front, is_limited: bool) -> Arc<Self> {
        let reports = Mutex::new(Reports {
            item: 0,
            reported: Duration::ZERO,
            threads: 0,
            since: Instant::now(),
            lifted: None,
        });
        let own = Arc::new(Self {
            front,
            sequence: AtomicU64::new(0),
            is_limited,
            reports,
        });
        let (reports, before) = (own.clone(), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            reports.begins();
            before(info);
            reports.ends();
        }));
        own
    }

    /// This frame begins to run.
    #[inline]
    pub(super) fn frame(&self, sequence: u64) {
        self.sequence.store(sequence, Ordering::Relaxed);
    }

    fn gate(&self) -> &Gate {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.front.gate(sequence as usize)
    }

    fn begins(&self) {
        let gate = self.gate();
        let mut reports = self.reports.lock();
        if reports.threads == 0 {
            reports.item = gate.running();
            reports.reported = gate.reported(reports.item);
            reports.since = Instant::now();
            reports.lifted = self.is_limited.then(private_memory::lift).flatten();
        }
        reports.threads += 1;
        gate.reports(reports.item, MOST_REPORTING);
    }

    fn ends(&self) {
        let mut reports = self.reports.lock();
        reports.threads -= 1;
        if reports.threads == 0 {
            let reported = reports.reported + reports.since.elapsed();
            self.gate().reports(reports.item, reported);
            if let Some(before) = reports.lifted.take() {
                private_memory::restore(before);
            }
        }
    }
}
