//! `tokio::sync`: locks whose `try_` methods return a `Result`, and the channels.

mod mutex;
mod once_cell;
mod rw_lock;
mod semaphore;

pub mod broadcast;
pub mod mpsc;
pub mod oneshot;
pub mod watch;

pub use crate::absent::Notify;
pub use mutex::{Mutex, OwnedMutexGuard, TryLockError};
pub use once_cell::{OnceCell, SetError};
pub use rw_lock::RwLock;
pub use semaphore::{
    AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError,
};
pub use trefoil::sync::{
    Barrier, BarrierWaitResult, MutexGuard, RwLockReadGuard, RwLockWriteGuard,
};
