//! What [trefoil](https://docs.rs/trefoil) asks of the operating system.
//!
//! This crate is a part of trefoil: any version may change anything here, so depend on trefoil
//! instead, which asks for exactly one version of it. [`sys`] has what all executors ask for;
//! `host`, with the feature `processes`, what worker processes ask for besides; [`loom`] is the one
//! door to atomics, cells, locks and threads; [`printable`] cleans texts for terminals.
#![allow(
    clippy::new_without_default,
    reason = "it has what trefoil uses, and no more"
)]
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[cfg(not(any(
    target_os = "linux",
    target_os = "macos",
    target_os = "freebsd",
    windows
)))]
compile_error!(
    "trefoil supports Linux, macOS, FreeBSD and Windows: docs/PLATFORM.md says what other systems \
     lack"
);

#[cfg(feature = "processes")]
pub mod host;
pub mod loom;
pub mod printable;
pub mod sys;
