//! A channel between any processes.
//!
//! **Job.** [`channel`] makes a [`Sender`] and a [`Receiver`]; either end, and clones of it, travel
//! inside arguments and results (`baggage`). Items arrive once each, whole or not at all, in the order in
//! which one sender sent them.
//!
//! ```text
//!   Sender ──record──► pipe ──record──► Receiver
//!     │   └─payload──► file ──payload──┘   │
//!     └──── waits ◄─── bell ◄──── rings ───┘        reserved, received: on the file's first page
//! ```
//!
//! **Protocol.**
//! 1. An item is encoded. One that does not fit into a record goes into the file, into
//!    pages that nobody else gets (`tail` only grows).
//! 2. The sender takes a place: it counts `reserved` up, as long as that is less than the capacity
//!    ahead of `received`. Then it writes the record, [`RECORD`](pipe::RECORD) bytes, which the kernel
//!    takes and hands out in one piece.
//! 3. A receiver reads a record, counts `received` up, rings the bell if somebody waits for a place, and
//!    takes the item out of the file, whose pages are given back.
//! 4. Who finds no place counts himself as waiting, quiets the bell, looks again and sleeps until
//!    the bell rings. Who gets a place and sees another rings it again.
//!
//! **Ends.** The pipe's write end is only in senders, its read end only in receivers. So the kernel says
//! when all peers are gone, however they went.
//!
//! **Deaths.** Between a place taken and its record written, or a record read and its place given back, a
//! killed process leaves the two counters too far apart. How many records there are is known to
//! the pipe. Where the counters say that there is no place, the pipe says that there are
//! fewer records, and nothing has moved for [`QUIET`](pipe::QUIET), the difference was somebody
//! dead's, and `received` is put right. (Had he been stopped only, there will be one item more than the
//! capacity for a moment.) A bell that rang for somebody dead is made up for by looking again after
//! some time, ever more rarely. Payload pages of the dead are freed with the channel.
//!
//! **Invariants.**
//! - **W21** A record is written and read by one system call each, and its size divides a page: readers
//!   never see parts of two.
//! - **W22** Nothing that comes out of the pipe or the file is believed: lengths and places are checked
//!   against the file before they are used, and what cannot be decoded is an error.
//!
//! **Rejected.** Tokens in a second pipe, one for each place: who dies with a token in his hand takes it
//! along. A ring in shared memory: who dies inside of it leaves it broken. Sockets that keep messages
//! apart: they hold some two hundred, whatever the capacity.
//!
//! Tests: `tests/process_channel.rs`; `sys::tally`.

mod pipe;
mod receiver;
mod sender;
mod watch;

pub use receiver::{IntoIter, Iter, Receiver};
pub use sender::Sender;

use std::io;

use super::portable::Portable;
use pipe::Pipe;

/// Makes a channel for `capacity` items between any processes of this program.
///
/// Either end can be cloned, and sent to a worker (or back from one) as or inside an argument or a result.
/// Serialising an end anywhere else is an error. The items themselves can be whatever arguments can,
/// but hold no ends.
///
/// A capacity of 0 counts as 1, and one above 16,320 as that (or less, where this user has very many
/// pipes). An item has arrived when it was received: items that a killed receiver had taken
/// are lost with it, those that it had not are the others'.
///
/// Costs five descriptors here and three more in each process that has an end. A small item takes about two
/// system calls, one larger than 62 bytes about five.
///
/// # Errors
/// If the system refuses a descriptor or memory.
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
    let (sends, receives) = Pipe::pair(capacity)?;
    Ok((Sender::new(sends), Receiver::new(receives)))
}
