//! The thread pool.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

mod blocking;
mod calls;
mod crew;
#[path = "../deadline/mod.rs"]
mod deadline;
mod futures;
mod hostile;
mod imap;
mod lent;
mod pool;
#[path = "../support/refuse.rs"]
mod refuse;
mod siege;
mod stress;
mod within;
