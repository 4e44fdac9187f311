//! The one thing in the tour that safe Rust cannot do: crash.
//!
//! Part 4 wants a real segmentation fault, raised by the processor and not by
//! a polite signal. It happens in a worker process, where it belongs.

/// Reads from an address where there is nothing.
#[expect(unsafe_code, reason = "safe code cannot crash")]
pub(crate) fn segfault() -> u8 {
    let nowhere = std::ptr::without_provenance::<u8>(16);
    // SAFETY: a volatile read may touch memory that no Rust allocation covers, and
    // then means whatever the machine makes of it. The first page is never mapped,
    // so the machine ends this process before anything can be seen of the value.
    unsafe { nowhere.read_volatile() }
}
