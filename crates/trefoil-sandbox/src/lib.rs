//! Workers of [trefoil](https://docs.rs/trefoil)'s process pools in a sandbox, with limits, or
//! behind any other command line.
//!
#![doc = include_str!("../README.md")]

#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#[path = "linux/mod.rs"]
mod system;
#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[path = "portable.rs"]
mod system;

mod limits;
mod sandbox;
#[cfg(unix)]
mod wrapped;

pub use limits::{Cpu, Limits};
pub use sandbox::Sandbox;
#[cfg(unix)]
pub use wrapped::Wrapped;

/// How many processors this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn not_prepared() -> std::io::Error {
    std::io::Error::other("it was not prepared")
}
