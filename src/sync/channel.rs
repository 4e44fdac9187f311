//! Queues between threads and tasks, blocking or async at either end.
//!
//! Multi-producer and multi-consumer; closed when all handles of one side are dropped. Both ends
//! are `Clone`. Re-exported from [`async-channel`](https://docs.rs/async-channel): `send` and
//! `recv` are futures, `send_blocking` and `recv_blocking` wait, `try_send` and `try_recv` do
//! neither; a receiver is a `Stream`.
//!
//! On a worker of a thread pool, wrap a blocking call that may wait for long in
//! `ThreadPool::blocking`, or await instead. On an event loop, await.
//!
//! ```
//! use trefoil::sync::channel;
//!
//! let (sender, receiver) = channel::bounded(2);
//! let producer = std::thread::spawn(move || {
//!     for n in 0..5 {
//!         sender.send_blocking(n).unwrap(); // waits while two are queued
//!     }
//! });
//! let sum: i32 = trefoil::run(async move {
//!     let mut sum = 0;
//!     while let Ok(n) = receiver.recv().await {
//!         sum += n;
//!     }
//!     sum
//! });
//! producer.join().unwrap();
//! assert_eq!(sum, 10);
//! ```

pub use async_channel::{
    Receiver, Recv, RecvError, Send, SendError, Sender, TryRecvError, TrySendError, WeakReceiver,
    WeakSender, unbounded,
};

/// Makes a channel that holds up to `capacity` items.
///
/// A capacity of 0 counts as 1, as in [`process::channel`](crate::process::channel()): there is no
/// rendezvous channel. (In Python's `queue.Queue(0)` it means no limit: [`unbounded`].)
///
/// ```
/// use trefoil::sync::channel;
///
/// let (sender, receiver) = channel::bounded(0);
/// sender.try_send(1).unwrap();
/// assert!(sender.try_send(2).is_err());
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    async_channel::bounded(capacity.max(1))
}
