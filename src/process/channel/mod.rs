//! A channel between processes.
//!
//! [`process::channel`](crate::process::channel()) makes a [`Sender`] and a [`Receiver`]. Both can be cloned, and either end travels inside the argument or the
//! result of a call; so any two processes of the program can talk while they run.
//!
//! ```
//! use trefoil::ProcessPool;
//! use trefoil::process::{channel, channel::Sender};
//!
//! # trefoil::process::init();
//! let procs = ProcessPool::with_workers(1)?;
//! let (sender, receiver) = channel(16)?; // at most 16 items wait
//! let count = procs.spawn(sender, |sender: Sender<u64>| {
//!     for n in 0..10 {
//!         sender.send_blocking(n).unwrap();
//!     }
//! });
//! let items: Vec<u64> = receiver.into_iter().collect(); // until the last sender is gone
//! assert_eq!(items.len(), 10);
//! count.join()?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Each item arrives once, whole or not at all; those of one sender arrive in their order. When all peers are gone, killed
//! ones included, sending and receiving end in an error (a receiver gives what is left first).

pub(crate) mod pair;
mod pipe;
mod receiver;
mod sender;

#[doc(hidden)] // the documented path is `process::channel`
pub use pair::channel;
pub use receiver::{IntoIter, Iter, Receiver};
pub use sender::Sender;
