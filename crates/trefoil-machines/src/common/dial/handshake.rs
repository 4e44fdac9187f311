//! The first messages of a connection: who is there, and whether it may stay.
//!
//! ```text
//!   worker ► pool    Noise: ephemeral key, a tag that only the pool's key makes
//!   pool ► worker    Noise: ephemeral key, such a tag; or an empty message: you do not have the key
//!   worker ► pool    hello           (from here on, everything is encrypted)
//!   pool ► worker    why not, or nothing
//! ```
//!
//! The first message alone proves little, because whoever has recorded it can repeat it. The hello
//! is in the third, which depends on the pool's ephemeral key. Until then a stranger costs the pool
//! a hash, and no operation on a curve, since the tag is checked first. Everything together has a
//! deadline, however slowly bytes come, and nothing longer than [`LONGEST`] is received.
//!
//! Tests: below, with hostile peers.

use std::io;
use std::time::Duration;

use trefoil::io::TcpStream;

use super::key::Key;
use super::sealed::{self, Sealed, broken, receive_bare, send_bare};

/// How long a handshake may take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of a hello, and of a refusal.
const LONGEST: usize = 1024;

/// The size of both first messages.
const FIRST: usize = 48;

/// What a worker says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Identifies the build of the program, and the copy of trefoil in it (`Program::identity`).
    pub(crate) identity: String,
    /// What its launcher knows it by.
    pub(crate) name: String,
    /// Its number in `worker_pids`.
    pub(crate) number: u32,
}

impl Hello {
    /// One line for each field.
    fn text(&self) -> String {
        format!("{}\n{}\n{}", self.identity, self.number, self.name)
    }

    /// Parses [`text`](Self::text)'s.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(text).ok()?.splitn(3, '\n');
        Some(Self {
            identity: lines.next()?.to_owned(),
            number: lines.next()?.parse().ok()?,
            name: lines.next()?.to_owned(),
        })
    }
}

/// Why the handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("it does not have the key")]
    Key,
    #[error("{0}")]
    Refused(String),
    #[error("it does not answer as a pool does: {0}")]
    Silent(#[from] io::Error),
}

/// The pool's side: returns the connection and the hello of the worker that has dialled, if that is
/// a copy of this program.
pub(super) async fn answer(
    stream: TcpStream,
    key: &Key,
    identity: &str,
    limit: Duration,
) -> Result<(Sealed, Hello), HandshakeError> {
    let all = async {
        let mut session = sealed::begin(key, true)?;
        let first = receive_bare(&stream, FIRST).await?;
        if session.read_message(&first, &mut []).is_err() {
            let _ = send_bare(&stream, &[]).await;
            return Err(HandshakeError::Key);
        }
        let mut second = [0; FIRST];
        let length = session.write_message(&[], &mut second).map_err(broken)?;
        send_bare(&stream, &second[..length]).await?;
        let sealed = Sealed::new(stream, session)?;
        let hello = sealed.receive_first(LONGEST).await?;
        let hello = Hello::parse(&hello).ok_or(io::ErrorKind::InvalidData);
        let hello = hello.map_err(io::Error::from)?;
        let is_copy = hello.identity == identity;
        let words = match is_copy {
            true => "",
            false => "the executable there is another build of the program",
        };
        sealed.sender().send(words.as_bytes()).await?;
        match is_copy {
            true => Ok((sealed, hello)),
            false => Err(HandshakeError::Refused(words.to_owned())),
        }
    };
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    trefoil::timeout(limit, all).await.unwrap_or_else(late)
}

/// The worker's side.
pub(super) async fn call(
    stream: TcpStream,
    key: &Key,
    hello: &Hello,
    limit: Duration,
) -> Result<Sealed, HandshakeError> {
    let all = async {
        let mut session = sealed::begin(key, false)?;
        let mut first = [0; FIRST];
        let length = session.write_message(&[], &mut first).map_err(broken)?;
        send_bare(&stream, &first[..length]).await?;
        let second = receive_bare(&stream, FIRST).await?;
        if session.read_message(&second, &mut []).is_err() {
            return Err(HandshakeError::Key);
        }
        let sealed = Sealed::new(stream, session)?;
        sealed.sender().send(hello.text().as_bytes()).await?;
        let words = sealed.receive_first(LONGEST).await?;
        match words.is_empty() {
            true => Ok(sealed),
            false => Err(HandshakeError::Refused(
                String::from_utf8_lossy(&words).into_owned(),
            )),
        }
    };
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    trefoil::timeout(limit, all).await.unwrap_or_else(late)
}
