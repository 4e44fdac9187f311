//! `process`: trefoil's own names.

pub use trefoil::io::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
