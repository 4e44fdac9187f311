//! Stands for `std::hint`.

pub use std::hint::*;

/// `PAUSE`.
#[inline]
pub fn spin_loop() {
    if crate::raw_threads::step(crate::machine::Machine::pause).is_none() {
        std::hint::spin_loop();
    }
}

/// The line of `value` is taken from all other cores, because it will be written.
#[inline]
pub fn will_write<T>(value: &T) {
    crate::raw_threads::access((&raw const *value).addr(), crate::lines::Access::Own);
}
