//! This process's end of a pipe to a child: a socket, with a thread that copies between it and the
//! pipe.
//!
//! 1. The child has an ordinary pipe, because programs expect one. This system cannot poll pipes
//!    together with sockets.
//! 2. A thread for each pipe reads from one and writes to the other. It ends when the one that it
//!    reads ends, or when the one that it writes has no reader any more.
//! 3. So each side learns a moment later that the other has closed its end. A child that writes
//!    gets the error at its second write, because the thread has taken the first. The thread of a
//!    dropped end stays until then, or until the child ends.
//!
//! Rejected: mio's named pipes. They read ahead into a buffer of their own as soon as they are
//! registered, and cannot be used before: bytes that they have read could not be handed to another
//! child, nor read without a loop. Also rejected: a thread for each call, because a call cannot be
//! given up.
//!
//! Tests: `tests/io/child_processes.rs`.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::windows::io::{AsSocket, BorrowedSocket, OwnedHandle};
use std::process::Stdio;

use super::pair::pair as sockets;
use super::sockets::to_child;
use crate::loom::thread::Builder;

/// Whether the end counts as a socket. It is one, but its errors must be those of a pipe
/// (`transfer`).
pub const IS_SOCKET: bool = false;

/// How many bytes are copied at once.
const PIPE_COPY_BYTES: usize = 64 << 10;

/// The stack of a thread: enough for a loop over a buffer on the heap.
const STACK: usize = 256 << 10;

/// This process's end of a pipe.
#[derive(Debug)]
pub struct PipeEnd {
    socket: TcpStream,
    reads: bool,
}

impl PipeEnd {
    /// An end that reads what a child writes to `end`.
    pub fn reader(end: impl Read + Send + 'static) -> io::Result<Self> {
        let (socket, far) = sockets()?;
        let closed = far.try_clone();
        start(end, far, closed)?;
        Self::new(socket, true)
    }

    /// An end that writes what a child reads from `end`.
    pub fn writer(end: impl Write + Send + 'static) -> io::Result<Self> {
        let (socket, far) = sockets()?;
        let closed = far.try_clone();
        start(far, end, closed)?;
        Self::new(socket, false)
    }

    fn new(socket: TcpStream, reads: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, reads })
    }

    /// How many bytes can be read without waiting.
    pub fn waiting(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.socket).unwrap_or(0)
    }

    /// This end as the standard stream of another child: a new pipe with a thread that copies.
    pub fn to_stdio(&self) -> io::Result<Stdio> {
        let socket = self.socket.try_clone()?;
        socket.set_nonblocking(false)?;
        let closed = socket.try_clone();
        let (reader, writer) = io::pipe()?;
        if self.reads {
            start(socket, writer, closed)?;
            Ok(reader.into())
        } else {
            start(reader, socket, closed)?;
            Ok(writer.into())
        }
    }
}

/// A standard stream that a worker writes to, and the end that reads it. A worker is this program,
/// whose standard library writes to a socket as to a pipe. (With a pipe and a thread behind it, the
/// output of an item could come after its result, and a worker's last words after its death.)
pub fn pair() -> io::Result<(PipeEnd, OwnedHandle)> {
    let (ours, theirs) = sockets()?;
    Ok((PipeEnd::new(ours, true)?, to_child(theirs)?))
}

impl AsSocket for PipeEnd {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.socket.as_socket()
    }
}

/// Starts a thread that copies everything from `from` to `to` and then closes both. One of them is
/// `socket`. A child that another thread starts may have inherited it, so closing is not enough:
/// the thread shuts it down.
fn start(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    socket: io::Result<TcpStream>,
) -> io::Result<()> {
    let socket = socket?;
    let carry = move || {
        let _ = io::copy(
            &mut BufReader::with_capacity(PIPE_COPY_BYTES, from),
            &mut to,
        );
        let _ = socket.shutdown(Shutdown::Both);
    };
    let thread = Builder::new().name("trefoil-pipe".into()).stack_size(STACK);
    thread.spawn(carry).map(drop)
}
