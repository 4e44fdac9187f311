//! Messages on a TCP connection, encrypted and authenticated.
//!
//! A message is its length (two bytes) and at most [`LONGEST`] bytes, which the Noise protocol has
//! encrypted; the first two, which set the session up, are its own. Each side numbers what it
//! sends, and the number is part of what is authenticated: a message that was altered, repeated,
//! left out or reordered is an error, after which the connection is of no use.
//!
//! Tests: below, with a proxy that tampers.

use std::cell::RefCell;
use std::io;

use snow::{HandshakeState, TransportState};
use trefoil::io::{BufReader, TcpStream};

use super::key::Key;

/// Ephemeral keys on both sides, and the pool's key mixed in before the first message.
const PROTOCOL: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// Both sides must have the same, or they do not understand each other: the version of what
/// follows.
const PROLOGUE: &[u8] = b"trefoil dial 1";

/// How many bytes longer a message is when it is encrypted.
const TAG: usize = 16;

/// The most bytes of a message.
pub(super) const LONGEST: usize = u16::MAX as usize - TAG;

/// How much is received at once.
const BUFFER: usize = 1 << 17;

/// A state of the session before its two first messages.
pub(super) fn begin(key: &Key, is_pool: bool) -> io::Result<HandshakeState> {
    let protocol = PROTOCOL.parse().map_err(broken)?;
    let builder = snow::Builder::new(protocol);
    let builder = builder.prologue(PROLOGUE).and_then(|b| b.psk(0, &key.0));
    let state = builder.and_then(|b| match is_pool {
        true => b.build_responder(),
        false => b.build_initiator(),
    });
    state.map_err(broken)
}

/// What the other side has sent is not the protocol's.
pub(super) fn broken(error: snow::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Sends one message as it is. (An empty one is no message of a session.)
pub(super) async fn send_bare(stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), message].concat())
        .await
}

/// Receives one message of at most `longest` bytes as it is.
pub(super) async fn receive_bare(stream: &TcpStream, longest: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > longest {
        let words = format!("a message of {length} bytes, where {longest} are the most");
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// A connection whose session is set up.
#[derive(Debug)]
pub(super) struct Sealed {
    stream: TcpStream,
    session: RefCell<TransportState>,
}

impl Sealed {
    pub(super) fn new(stream: TcpStream, state: HandshakeState) -> io::Result<Self> {
        let session = RefCell::new(state.into_transport_mode().map_err(broken)?);
        Ok(Self { stream, session })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Receives one message of at most `longest` bytes, before there is a [`Receiver`].
    pub(super) async fn receive_first(&self, longest: usize) -> io::Result<Vec<u8>> {
        let sealed = receive_bare(&self.stream, longest + TAG).await?;
        let mut plain = vec![0; sealed.len()];
        let length = self.session.borrow_mut().read_message(&sealed, &mut plain);
        plain.truncate(length.map_err(broken)?);
        Ok(plain)
    }

    /// What sends. There must be one only.
    pub(super) fn sender(&self) -> Sender<'_> {
        Sender {
            of: self,
            sealed: vec![0; 2 + TAG],
        }
    }

    /// What receives. There must be one only: it has received more than it has returned.
    pub(super) fn receiver(&self) -> Receiver<'_> {
        Receiver {
            of: self,
            stream: BufReader::with_capacity(BUFFER, &self.stream),
            sealed: Vec::new(),
            plain: Vec::new(),
        }
    }
}

/// One direction of a connection.
pub(super) struct Sender<'a> {
    of: &'a Sealed,
    sealed: Vec<u8>,
}

impl Sender<'_> {
    /// Sends one message of at most [`LONGEST`] bytes. After an error, or if it is dropped before
    /// it has ended, nothing more can be sent.
    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let needs = 2 + message.len() + TAG;
        if self.sealed.len() < needs {
            self.sealed.resize(needs, 0);
        }
        let sealed = &mut self.sealed[2..];
        let length = self.of.session.borrow_mut().write_message(message, sealed);
        let length = length.map_err(broken)?;
        let bytes = u16::try_from(length).map_err(io::Error::other)?;
        self.sealed[..2].copy_from_slice(&bytes.to_be_bytes());
        self.of.stream.write_all(&self.sealed[..2 + length]).await
    }
}

/// The other direction.
pub(super) struct Receiver<'a> {
    of: &'a Sealed,
    stream: BufReader<&'a TcpStream>,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Receiver<'_> {
    /// Receives one message. An end of the stream is `UnexpectedEof`; anything that the other side
    /// has not sent as this message, `InvalidData`. After an error, or if it is dropped before it
    /// has ended, nothing more can be received.
    pub(super) async fn receive(&mut self) -> io::Result<&[u8]> {
        let mut length = [0; 2];
        self.stream.read_exact(&mut length).await?;
        self.sealed.resize(u16::from_be_bytes(length).into(), 0);
        self.stream.read_exact(&mut self.sealed).await?;
        self.plain.resize(self.sealed.len(), 0);
        let mut session = self.of.session.borrow_mut();
        let length = session.read_message(&self.sealed, &mut self.plain);
        Ok(&self.plain[..length.map_err(broken)?])
    }
}
