//! How a channel between processes is made, and what its two ends hold.
//!
//! What fits into it, and what the death of an end leaves: `channel/pipe.rs`. Which ends count as
//! gone: `sched/rules/ends.rs`.
//!
//! Tests: `tests/process/channel.rs`.

use std::io;

use super::pipe::ChannelPipe;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::process::value::portable::Portable;

/// Makes a channel for `capacity` items between any processes of this program.
///
/// Either end can be cloned, and sent to a worker (or back from one) as or inside an argument or a
/// result. Serialising an end anywhere else is an error. The items themselves can be whatever
/// arguments can, but hold no ends and no shared memory.
///
/// A capacity of 0 counts as 1. An item has arrived when it was received: items that a killed
/// receiver had already taken are lost; the rest go to the other receivers.
///
/// The end of the channel comes when all peers are gone: dropped, or their processes ended or
/// killed. (A child that is forked has copies.) An end that was sent in an argument belongs to
/// the call from when it has been decoded. The sender's own copies are dropped as usual. Copies
/// that belong to a call that may be retried, to an initializer or to the context of a `map_with`
/// stay open until the call, the pool or the `map_with` has ended.
///
/// Costs four descriptors here, and three for each end that a process receives (four for both ends
/// in one argument); its clones share them, but an end that travels into one process in two calls
/// has three each time. An item of up to 123 encoded bytes takes about two microseconds while both
/// sides are busy; a larger one longer. (In channels for more than 8,160, 16,320 and 32,640 items,
/// an item is large from 60, 28 and 12 bytes on.) A checksum travels with each item: one that does
/// not arrive as it was sent is an error ([`Codec`](crate::TaskError::Codec)).
///
/// If a process is killed in the middle of sending or receiving, the room for one item that it held
/// is found again after a second or two in which the channel stands still. (A process that is
/// stopped there so long, and continues, sends one item above the capacity.)
///
/// # Errors
/// If the system refuses a descriptor or memory; [`Unsupported`](io::ErrorKind::Unsupported) on
/// macOS, FreeBSD and Windows, where no descriptor travels to a worker;
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if the system has no room for that many items.
/// Where users have no privileges and the usual limits, there is room for 65,280.
///
/// # Examples
///
/// ```
/// use trefoil::{ProcessPool, process};
/// use trefoil::process::channel::Sender;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     trefoil::init();
///     let procs = ProcessPool::with_workers(2)?;
///     let (tx, rx) = process::channel::<String>(8)?;
///     for name in ["Ada", "Grace"] {
///         procs.spawn((name.to_owned(), tx.clone()), greet).detach();
///     }
///     drop(tx);
///     let mut greetings: Vec<String> = rx.into_iter().collect(); // until all senders are gone
///     greetings.sort();
///     assert_eq!(greetings, ["hello Ada", "hello Grace"]);
///     Ok(())
/// }
///
/// fn greet((name, tx): (String, Sender<String>)) {
///     tx.send_blocking(format!("hello {name}")).unwrap();
/// }
/// ```
pub fn channel<T: Portable>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let (sends, receives) = ChannelPipe::pair(capacity)?;
    Ok((Sender::new(sends), Receiver::new(receives)))
}
