//! How many bytes of its standard error a worker had written before the items that it runs.
//!
//! One that has pages stores it there, and must know when the parent is reading. Of a plain worker
//! it is computed here, each time that it has nothing to do. (`worker_stderr` says why.)

use std::sync::Arc;

use crate::process::host::ledger::Ledger;

#[derive(Debug)]
pub(in crate::process::parent) enum Mark {
    Own(u64),
    Ledger(Arc<Ledger>),
}

impl Mark {
    pub(super) fn new(ledger: Option<Arc<Ledger>>) -> Self {
        ledger.map_or(Self::Own(0), Self::Ledger)
    }

    /// The worker is idle, and has `written` so much.
    pub(in crate::process::parent) fn is_idle(&mut self, written: impl FnOnce() -> u64) {
        if let Self::Own(mark) = self {
            *mark = written();
        }
    }

    /// So many bytes have been read here; and whether more are just being read.
    pub(in crate::process::parent) fn reads(&self, count: u64, is_reading: bool) {
        if let Self::Ledger(ledger) = self {
            ledger.reads(count, is_reading);
        }
    }

    /// So many bytes were written before.
    pub(in crate::process::parent) fn get(&self) -> u64 {
        match self {
            Self::Own(mark) => *mark,
            Self::Ledger(ledger) => ledger.marked(),
        }
    }
}
