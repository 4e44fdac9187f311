//! Stands for `std::sync`: the locks are the standard library's for Linux, which is a word that
//! threads spin on for a hundred looks and then sleep on.

pub use std::sync::*;

pub use crate::atomic;
pub use crate::raw_mutex::{Condvar, Mutex, MutexGuard, WaitTimeoutResult};
pub use crate::raw_rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
