//! Removes a variable from this process's environment.
//!
//! **Invariants.**
//! - **K1** `init` is called first in `main`, before other threads are started, as its
//!   documentation demands: no thread reads the environment through C meanwhile.
//!
//! Tests: `crates/trefoil-capsules/tests/capsules/main.rs`.
#![allow(unsafe_code)]

/// Processes that this one starts do not have this variable.
pub(crate) fn forget(name: &str) {
    // SAFETY: K1: `init` alone calls this, while there is one thread.
    unsafe { std::env::remove_var(name) };
}
