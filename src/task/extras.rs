//! Data that most tasks do not need: a name, a hook, a token, a span.
//!
//! One record outside the cell, allocated on first use and freed with the cell.

use std::sync::OnceLock;

use super::cancel_token::CancelToken;
use super::id::TaskId;
use super::unobserved::Hook;

/// The record. The cells of most tasks have none (`raw/rare.rs`).
#[derive(Default)]
pub(super) struct TaskExtras {
    /// The task whose code spawned this one.
    pub(super) parent: Option<TaskId>,
    pub(super) name: OnceLock<Box<str>>,
    /// The hook for a failure that is never taken. It replaces the process's hook.
    pub(super) hook: OnceLock<Hook>,
    /// The token that the task's own code checks.
    pub(super) token: OnceLock<CancelToken>,
    /// The task's span, while a subscriber listens to it and the work exists.
    #[cfg(feature = "tracing")]
    pub(super) span: crate::loom::Mutex<Option<crate::loom::Arc<tracing::Span>>>,
}
