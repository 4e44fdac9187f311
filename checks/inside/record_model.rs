//! A recording thread's sheet, for the models in `checks/`.
//!
//! It exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use super::raw_sheet::{self, Page, Pen};

/// From now on a line is published without being released, for the whole process.
pub fn break_publishing() {
    raw_sheet::fault::set();
}

pub struct Writer(Pen<u64>);
pub struct Reader(Page<u64>);

pub fn sheet(room: usize) -> (Writer, Reader) {
    let (pen, page) = raw_sheet::sheet(room);
    (Writer(pen), Reader(page))
}

impl Writer {
    pub fn write(&mut self, value: u64) -> bool {
        self.0.write(value)
    }
}

impl Reader {
    pub fn read(&self) -> Vec<u64> {
        self.0.read()
    }
}
