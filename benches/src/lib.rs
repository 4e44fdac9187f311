//! Code that the benchmarks share, and that turns their figures into tables and plots.
//!
//! The contenders of one question run in turn, A B C A B C …, in one process, so
//! that a drift of the machine's speed meets all of them alike (`rows.rs`, `bench.rs`). A row is
//! judged by its goals (`judge.rs`) and kept (`record.rs`); tables and plots are made of that
//! (`report`).

pub mod bench;
pub mod busy;
pub mod cell;
pub mod judge;
pub mod machine;
pub mod record;
pub mod report;
pub mod rows;
pub mod work;

pub use judge::median;
