//! Which item of a call an error is of: a part of each error that can be of an item.
//!
//! Tests: `tests/process/failures.rs::{the_error_of_a_map_names_its_item,
//! what_is_lost_with_the_pool_says_of_which_item_it_is}`.

use std::fmt;
use std::sync::Arc;

/// The item of a `map`, `map_each` or `imap` that an error is of, if it is one's.
#[derive(Clone, Debug, Default)]
pub(super) struct FailedItem {
    pub(super) index: Option<usize>,
    /// What a hook has left.
    pub(super) note: Option<Arc<str>>,
}

/// Before what the error says.
impl fmt::Display for FailedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "item {index}: "),
            None => Ok(()),
        }
    }
}
