//! The feature `auto`: worker entry without a line in `main`.
//!
//! A function pointer in a section of its own (`.init_array`, `__mod_init_func`) is called by the C
//! runtime before `main`, even if it belongs to a library deep in the dependency tree. In a worker
//! that call never returns, so the `main` of a test harness or a doctest never runs there.
//!
//! **Invariants.**
//! - **W9** The runtime calls the entries of an executable's section once each, on the first
//!   thread, with the C library and the environment set up, which is all that `enter` needs;
//!   `std`'s environment, threads and panics work by then on this platform, and its arguments but
//!   with musl, where there are none yet. The entries of a library that is loaded later are called
//!   wherever it is loaded; there no invitation is this copy's, and `enter` only records the call.
//!
//! Tests: `tests/auto.rs`, every doctest of this crate.
#![allow(unsafe_code)]

extern "C" fn constructor() {
    // before `main` is the right place, whatever threads libraries have started
    super::entry::enter(|| Ok(()));
}

trefoil_os::host::constructor::constructor!(constructor);
