//! Tests that run in processes of their own.
//!
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod job;
mod output;
mod run;
mod threads;

/// Runs the body of a test in a process of its own: see [the crate](crate).
///
/// It belongs on a function with `#[test]`, before or after it; on an `async fn` it comes first,
/// because `#[test]` refuses those.
///
/// | setting | |
/// |---|---|
/// | `timeout = "5s"` | `ms`, `s`, `min`, `h`; from when the body begins. Default: none |
/// | `memory = "1GiB"` | what the body may allocate: `B`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`. Default: no limit |
/// | `retries = 2` | how often it runs again after a failure of any kind. Default: 0 |
/// | `leaks = "allow"` | threads may run on when the body has ended |
///
/// A setting that is not known, or a value without its unit, is a compile error:
///
/// ```compile_fail
/// #[trefoil_isolated::isolated(timeout = 5)]
/// fn slow() {}
/// ```
pub use trefoil_isolated_macros::isolated;

// What the attribute's output calls. Not for anybody else.
#[doc(hidden)]
pub use job::{__Settings, Job as __Job};
#[doc(hidden)]
pub use run::{__inside, __on_loop, __run};
