//! How an open file or a socket is sent to another process.
//!
//! It is sent as the end of a channel is: alone, to an idle worker, and the parent closes its copy
//! when the worker has opened it (W25, W26). So the other side of a connection sees its end when
//! the worker closes it.
//!
//! Tests: `tests/process/attachment.rs`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::attachments::{self, Taken};
use super::reason;
use super::scope;
use super::slow_close::SlowClose;

/// An open file, a socket or a pipe that can be sent to another process: in an argument, a context
/// or a result of a call, alone or as a part of a tuple, a struct, a vector or an option. (On
/// Unix.)
///
/// The receiver gets a descriptor of its own for the same open file. It is never that of a standard
/// stream, even if the receiver has closed that. For example, the parent accepts connections, and
/// workers serve them:
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{Shutdown, TcpListener, TcpStream};
///
/// use trefoil::ProcessPool;
/// use trefoil::process::Attachment;
///
/// /// Runs in a worker: a crash here costs one connection.
/// fn serve(connection: Attachment) -> usize {
///     let mut connection = TcpStream::from(connection.into_fd());
///     let mut request = String::new();
///     connection.read_to_string(&mut request).unwrap();
///     connection.write_all(request.to_uppercase().as_bytes()).unwrap();
///     request.len()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// client.write_all(b"hello")?;
/// client.shutdown(Shutdown::Write)?;
///
/// let (connection, _) = listener.accept()?;
/// let served = procs.spawn(Attachment::new(connection.into()), serve);
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?; // until the worker closes the connection
/// assert_eq!((answer.as_str(), served.join()?), ("HELLO", 5));
/// # Ok(())
/// # }
/// ```
///
/// # What is shared
/// The *open file*: its position, its flags (whether it waits: `O_NONBLOCK`) and its locks
/// (`flock`) are the same in both processes. Sending it duplicates the descriptor, and the value
/// stays usable. The parent closes its duplicate when the worker has decoded the item, or when the
/// call has ended if the item may run again ([`retry`](crate::ProcessCall::retry)), or if it is
/// part of a context. No worker has an attachment of an item that it does not run: such an item is
/// sent alone, to an idle worker.
///
/// # Errors
/// In a call: one argument or result can contain 253 of them; the system may refuse a descriptor
/// (each item that waits for a worker has its own, so `map` many with
/// [`imap`](crate::ProcessPool::imap)); and a plain worker
/// ([`plain_workers`](crate::ProcessPoolBuilder::plain_workers)), or one on another machine, gets
/// bytes only. Each is [`TaskError::Codec`](crate::TaskError::Codec). In any other serializer or
/// deserializer it is that one's error. What has come from workers and was not taken
/// ([`into_fd`](Self::into_fd)) is at most half of the descriptors that this process may have, or
/// 253; a worker that sends more is replaced.
///
/// A result is checked by nobody: a worker that is hostile can send any descriptor that it can
/// open, and its type, mode and flags are for you to check.
///
/// # Cost
/// A duplicate, a message of its own with the descriptor, and one item for each frame. One that has
/// come from a worker and is dropped is closed on a thread for that, because closing it may wait: a
/// socket does not linger then (`SO_LINGER`), whoever else has it.
#[derive(Debug)]
pub struct Attachment {
    file: SlowClose,
    /// It has come with a value, and this is what it was taken from.
    taken: Option<Taken>,
}

impl Attachment {
    /// An open file that can be sent: `Attachment::new(file.into())`, with a
    /// [`File`](std::fs::File), a [`TcpStream`](std::net::TcpStream), a
    /// [`UnixStream`](std::os::unix::net::UnixStream), a [`PipeReader`](std::io::PipeReader).
    #[must_use]
    pub fn new(descriptor: OwnedFd) -> Self {
        Self {
            file: SlowClose::never(descriptor),
            taken: None,
        }
    }

    /// Its descriptor.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.file().as_fd()
    }

    /// Its descriptor, to make a file or a socket of it:
    /// `TcpStream::from(attachment.into_fd())`.
    #[must_use]
    pub fn into_fd(mut self) -> OwnedFd {
        self.file.take_file().into()
    }
}

/// While its value is decoded, another attempt may ask for it: the next variant of an enum that is
/// `untagged`.
impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take()
            && let Some(file) = self.file.take()
        {
            scope::give_back(taken, file);
        }
    }
}

impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

impl From<OwnedFd> for Attachment {
    fn from(descriptor: OwnedFd) -> Self {
        Self::new(descriptor)
    }
}

impl From<Attachment> for OwnedFd {
    fn from(attachment: Attachment) -> Self {
        attachment.into_fd()
    }
}

/// Works only inside an argument or a result of a call into another process; elsewhere it is an
/// error.
impl Serialize for Attachment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let send = || {
            let copy = self.as_fd().try_clone_to_owned();
            let copy = copy.map_err(|error| reason::set(&error.to_string()))?;
            let copy = attachments::AttachedFile::new(copy);
            copy.set_end();
            scope::attach(&copy)
        };
        send().map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Works only inside an argument or a result of a call into another process; elsewhere it is an
/// error.
impl<'de> Deserialize<'de> for Attachment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let (file, taken) = scope::take(number).map_err(D::Error::custom)?;
        let taken = Some(taken);
        Ok(Self { file, taken })
    }
}
