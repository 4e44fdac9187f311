//! Stands for `std::hint`.

pub use std::hint::*;

/// `PAUSE`.
#[inline]
pub fn spin_loop() {
    if crate::raw_threads::step(crate::machine::Machine::pause).is_none() {
        std::hint::spin_loop();
    }
}
