//! Who has which cache line.

use crate::costs::Ns;

/// What is done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A load that takes the line from all other cores.
    Own,
    /// A store.
    Write,
    /// A read-modify-write.
    Change,
}

/// One line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// The cores that have it, a bit each.
    pub(crate) holders: u64,
    /// The one holder has changed it.
    pub(crate) dirty: bool,
    /// Until when it is on its way.
    pub(crate) busy_until: Ns,
}

/// All lines that were ever used: a table with open addressing, because every access looks here.
#[derive(Debug)]
pub(crate) struct Lines {
    /// The number of a line, which is never 0.
    numbers: Vec<usize>,
    lines: Vec<Line>,
    used: usize,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self::of_size(1 << 16)
    }

    fn of_size(size: usize) -> Self {
        Self {
            numbers: vec![0; size],
            lines: vec![Line::default(); size],
            used: 0,
        }
    }

    /// The line at this address.
    pub(crate) fn at(&mut self, address: usize) -> &mut Line {
        if self.used * 2 > self.numbers.len() {
            let mut larger = Self::of_size(self.numbers.len() * 2);
            for (number, line) in self.numbers.iter().zip(&self.lines) {
                if *number != 0 {
                    *larger.place(*number) = *line;
                }
            }
            *self = larger;
        }
        self.place(address >> 6)
    }

    fn place(&mut self, number: usize) -> &mut Line {
        let mask = self.numbers.len() - 1;
        let mut at = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) & mask;
        while self.numbers[at] != number && self.numbers[at] != 0 {
            at = (at + 1) & mask;
        }
        self.used += usize::from(self.numbers[at] == 0);
        self.numbers[at] = number;
        &mut self.lines[at]
    }
}
