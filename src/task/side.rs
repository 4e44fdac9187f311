//! Data that most tasks never need: a name, a hook, a token, a span.
//!
//! One record beside the cell, allocated on first use and freed with the cell.

use std::sync::OnceLock;

use super::cancel_token::CancelToken;
use super::unobserved::Hook;

/// The record. A cell has a place for it: a word that is empty for most tasks.
#[derive(Default)]
pub(super) struct Side {
    pub(super) name: OnceLock<Box<str>>,
    /// What is known of its failure, beside the error.
    pub(super) note: OnceLock<Box<str>>,
    /// The hook for a failure that is never taken, instead of the process's.
    pub(super) hook: OnceLock<Hook>,
    /// What the task's own code polls to learn that it should end.
    pub(super) token: OnceLock<CancelToken>,
    /// While a subscriber listens to it, and the work is there.
    #[cfg(feature = "tracing")]
    pub(super) span: crate::loom::Mutex<Option<tracing::Span>>,
}
