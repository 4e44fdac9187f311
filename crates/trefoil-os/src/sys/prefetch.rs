//! Asks for a cache line that will be written soon.
//!
//! A processor that reads a line which another one has changed gets a copy, and asks again when it
//! writes: the line moves twice. If it asks for the line to write it, the line moves once.
//!
//! - **Y96** Such a request has no precondition: it changes nothing that a program sees, whatever
//!   the address. x86-64 processors since 2006 have the instruction or pass it by.
//!
//! Tests: below; `benches/simulated/limits.txt`.
#![allow(unsafe_code)]

/// The caller will write to the line of `value`.
#[cfg(all(target_arch = "x86_64", not(miri), not(simulated)))]
#[inline(always)]
pub fn will_write<T>(value: &T) {
    // SAFETY: Y96: it is a request, and changes nothing.
    unsafe {
        std::arch::asm!(
            "prefetchw [{}]",
            in(reg) value,
            options(readonly, nostack, preserves_flags)
        );
    }
}

#[cfg(simulated)]
pub use simulated::hint::will_write; // see `loom.rs`

/// The caller will write to the line of `value`: elsewhere nothing is asked.
#[cfg(all(any(not(target_arch = "x86_64"), miri), not(simulated)))]
#[inline(always)]
pub fn will_write<T>(_: &T) {}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_asked_for_stays_as_it_is() {
        let value = 7;
        super::will_write(&value);
        super::will_write(&());
        assert_eq!(value, 7);
    }
}
