//! A hint to the processor: this memory will be wanted soon.
//!
//! **Job.** Who goes through a list of pointers waits for memory at each, as the processor cannot look past the
//! few hundred instructions that are done with one. If it is told of the next ones early it fetches them
//! meanwhile. On other processors than x86-64 nothing is said.
//!
//! - **Y99** To prefetch has no precondition: the instruction is part of x86-64, changes nothing that a program
//!   can see, and ignores addresses that are not mapped.
//!
//! Tests: below; what it is worth, `benches/`.
#![allow(unsafe_code)]

/// What lies at this address will be written soon, and another processor may have it: it is fetched for us alone, so that
/// the write does not wait for it a second time.
#[inline(always)]
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) fn to_write(address: *const ()) {
    // SAFETY: Y99: `prefetchw`, which x86-64 processors that do not have it take for nothing.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

/// What lies at this address will be written soon, and another processor may have it.
#[inline(always)]
#[cfg(any(not(target_arch = "x86_64"), miri))]
pub(crate) fn to_write(_address: *const ()) {}

#[cfg(test)]
mod tests {
    #[test]
    fn any_address_will_do() {
        let here = 7;
        super::to_write((&raw const here).cast());
        super::to_write(std::ptr::null());
        super::to_write(std::ptr::without_provenance(usize::MAX));
        assert_eq!(here, 7);
    }
}
