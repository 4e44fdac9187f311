//! The socket where there is none: see `socket.rs`.

use std::io;
use std::ops::Deref;
use std::path::Path;

use crate::board::Board;

/// Returns an error: on this system there is no socket for `trefoil-top`.
///
/// # Errors
/// `Unsupported`.
pub fn listen() -> io::Result<Socket> {
    Socket::open(Board::new())
}

/// Returns `None`, whatever the environment variable `TREFOIL_TOP` is: on this system there is no
/// socket for `trefoil-top`.
///
/// # Errors
/// None.
pub fn listen_if_asked() -> io::Result<Option<Socket>> {
    Ok(None)
}

/// A socket for `trefoil-top`. On this system there is none.
#[derive(Debug)]
pub struct Socket {
    board: Board,
    never: std::convert::Infallible,
}

impl Socket {
    pub(crate) fn open(_board: Board) -> io::Result<Self> {
        let message = "on this system there is no socket for trefoil-top";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    /// The socket's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self.never {}
    }

    /// Closes the socket.
    pub fn close(self) {}
}

impl Deref for Socket {
    type Target = Board;

    fn deref(&self) -> &Board {
        &self.board
    }
}
