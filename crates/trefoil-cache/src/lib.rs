//! Results on a disk, for the executors of [trefoil](https://docs.rs/trefoil).
//!
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod cache;
mod digest;
mod journal;
mod key;
mod regular;
mod value;

pub use cache::cached::{Cached, CachedCall, CachedExecutor, OnExecutor, Runs};
pub use cache::entry::Meta;
pub use cache::explain::Explanation;
pub use cache::function::{Answer, AsyncFunction, Entry, Function};
pub use cache::limit::{Age, Bytes, DAY, Limit};
pub use cache::version::Version;
pub use cache::{Cache, CacheError, Stats, Trouble};
pub use journal::{JournalError, Journaled, JournaledCall, JournaledExecutor, Resumed};
pub use key::Key;
