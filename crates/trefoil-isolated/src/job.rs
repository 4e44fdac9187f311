//! What travels to the process of a test, and back.

use serde::{Deserialize, Serialize};

/// What the attribute says.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // for the attribute's output only
pub struct __Settings {
    /// In milliseconds; 0: none.
    pub timeout: u64,
    /// In bytes; 0: no limit.
    pub memory: u64,
    pub retries: u32,
    pub may_leak: bool,
    pub should_panic: bool,
    pub name: &'static str,
}

/// What the process of a test must know besides its body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The file that gets its output; `None`: where output goes anyway.
    pub(crate) output: Option<String>,
    pub(crate) may_leak: bool,
}

/// How a body has ended that did not panic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It has returned a success.
    Passed,
    /// It has returned something else, and said what.
    Failed,
    /// These threads still run.
    Leaked(Vec<String>),
}
