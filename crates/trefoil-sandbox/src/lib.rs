//! Workers of [trefoil](https://docs.rs/trefoil)'s process pools in a sandbox, or behind any other
//! command line.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!("a command line that passes its standard streams on starts workers on Unix only");

#[cfg(target_os = "linux")]
mod call_filter;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod sandbox;
#[cfg(target_os = "linux")]
mod sender;
mod wrapped;

#[cfg(target_os = "linux")]
pub use sandbox::Sandbox;
pub use wrapped::Wrapped;
