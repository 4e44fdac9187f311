//! The unsafe code of the thread pool, besides the jobs in `join`.
//!
//! [`current`] has the pools that this thread works for; [`lender`], what a thread lends to the
//! pool for a while; [`scope`], the scope for which it is lent; [`stage`], the closure and the
//! result of a scope's task; [`pair_arc`], the two owners of such a task; [`drain`], the elements
//! of a vector on their way out; [`fill`], results on their way in.

pub(super) mod current;
pub(super) mod drain;
pub(super) mod fill;
pub(super) mod lender;
pub(super) mod pair_arc;
pub(super) mod scope;
pub(super) mod stage;
