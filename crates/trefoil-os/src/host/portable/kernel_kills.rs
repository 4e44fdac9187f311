//! Whether the system killed a worker because memory ran out: it does not report that.

/// Whether one of its kills explains a death: not known.
#[must_use]
pub fn claim() -> bool {
    false
}

/// All kills so far explain no later death.
pub fn forget() {}
