//! The tree of live tasks, and deadlocks that are named.
//!
//! Deadlocks need processes of their own: their threads never end, and there is one hook.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

mod activity;
#[path = "../deadline/mod.rs"]
mod deadline;
mod endings;
mod find;
mod program;
mod seeded;
mod signal;
mod steps;
mod stuck;
mod tree;
