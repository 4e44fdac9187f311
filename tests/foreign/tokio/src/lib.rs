//! Names of tokio over trefoil's public functions, so that tokio's own tests run on trefoil.
//!
//! A name is here if trefoil has a counterpart, or if `docs/FROM_TOKIO.md` has what to write in its
//! place; the tests of other names are listed in `tests/foreign/foreign.txt`. Nothing here waits,
//! wakes or schedules: every such call is one of trefoil's.

mod absent;
pub mod fs;
pub mod io;
mod macros;
pub mod net;
pub mod process;
pub mod runtime;
pub mod signal;
pub mod sync;
pub mod task;
pub mod time;

/// A tool of tests that are about something else.
pub use futures::try_join;
pub use task::spawn;
pub use tokio_macros::{main_rt as main, test};
pub use trefoil::{join, select, task_local};
