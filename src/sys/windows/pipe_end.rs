//! Our end of a pipe to a child: a socket, with a thread that carries between it and the pipe.
//!
//! 1. The child has an ordinary pipe, for that is what programs expect. A pipe cannot be waited for
//!    beside sockets here.
//! 2. A thread for each pipe reads the one and writes the other. It ends when what it reads ends,
//!    or when nobody takes what it writes.
//! 3. So the other side learns a moment later that an end was closed: a child that writes learns it
//!    by its second write, for the thread has taken the first. Until then, or until the child ends,
//!    the thread of a dropped end stays.
//!
//! Rejected: mio's named pipes, which read ahead into a buffer of their own as soon as they are
//! registered, and answer nothing before: what has been read could not be handed to another child,
//! nor be asked for without a loop. A thread for each call, which cannot be given up.
//!
//! Tests: `tests/io/child_processes.rs`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::process::Stdio;

use super::pair::{pair as sockets, pair_for_files};
use super::sockets::to_child;
use crate::loom::thread::Builder;

/// It is one, and yet its errors are those of a pipe: `transfer`.
pub(crate) const IS_SOCKET: bool = false;

/// How much is carried at once.
const PIECE: usize = 64 << 10;

/// Enough for a loop over a buffer on the heap.
const STACK: usize = 256 << 10;

/// Our end of a pipe.
#[derive(Debug)]
pub(crate) struct PipeEnd {
    socket: TcpStream,
    reads: bool,
}

impl PipeEnd {
    /// Of what a child writes.
    pub(crate) fn reader(end: impl Read + Send + 'static) -> io::Result<Self> {
        let (socket, far) = sockets()?;
        let closed = far.try_clone();
        start(end, far, closed)?;
        Self::new(socket, true)
    }

    /// Of what a child reads.
    pub(crate) fn writer(end: impl Write + Send + 'static) -> io::Result<Self> {
        let (socket, far) = sockets()?;
        let closed = far.try_clone();
        start(far, end, closed)?;
        Self::new(socket, false)
    }

    fn new(socket: TcpStream, reads: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, reads })
    }

    /// How many bytes there are to read.
    pub(crate) fn waiting(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.socket).unwrap_or(0)
    }

    /// The same end for another child: a pipe of its own, with a thread.
    pub(crate) fn to_stdio(&self) -> io::Result<Stdio> {
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

/// What a worker writes to, and our end of it. A worker is this program, whose library writes to a
/// socket as to a pipe. (Behind a pipe and a thread, what an item has written could come after its
/// result, and a worker's last words after its death.)
pub(crate) fn pair() -> io::Result<(PipeEnd, Stdio)> {
    let (theirs, ours) = pair_for_files()?;
    Ok((PipeEnd::new(ours, true)?, to_child(theirs)?.into()))
}

impl AsSocket for PipeEnd {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.socket.as_socket()
    }
}

/// Carries all that comes from the one to the other, on a thread of its own, and closes both. One
/// of them is `socket`: a child of another thread's may have that, too, so to close it is not
/// enough.
fn start(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    socket: io::Result<TcpStream>,
) -> io::Result<()> {
    let socket = socket?;
    let carry = move || {
        let mut piece = vec![0; PIECE];
        loop {
            match from.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    if to.write_all(&piece[..count]).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = socket.shutdown(Shutdown::Both);
    };
    let thread = Builder::new().name("trefoil-pipe".into()).stack_size(STACK);
    thread.spawn(carry).map(drop)
}
