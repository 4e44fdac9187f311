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
    let state = builder.and_then(|b| {
        if is_pool {
            b.build_responder()
        } else {
            b.build_initiator()
        }
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

#[cfg(all(test, not(miri)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use trefoil::io::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = trefoil::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    /// A session, and what its two sides send each other: the test decides what arrives.
    async fn met() -> (Sealed, TcpStream, Sealed, TcpStream) {
        let key = Key::new().unwrap();
        let (mut calls, mut answers) = (begin(&key, false).unwrap(), begin(&key, true).unwrap());
        let mut message = [0; 48];
        let length = calls.write_message(&[], &mut message).unwrap();
        answers.read_message(&message[..length], &mut []).unwrap();
        let length = answers.write_message(&[], &mut message).unwrap();
        calls.read_message(&message[..length], &mut []).unwrap();
        let ((one, heard), (other, says)) = trefoil::join!(pair(), pair());
        let calls = Sealed::new(one, calls).unwrap();
        (calls, heard, Sealed::new(other, answers).unwrap(), says)
    }

    /// What the other side makes of some of three messages, which were changed on the way.
    fn arrives(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<Result<Vec<u8>, io::ErrorKind>> {
        trefoil::run(async {
            let (calls, heard, answers, says) = met().await;
            let (mut sender, mut messages) = (calls.sender(), Vec::new());
            for message in [&b"one"[..], b"two", b"three"] {
                sender.send(message).await.unwrap();
                let sealed = receive_bare(&heard, LONGEST).await.unwrap();
                assert!(!sealed.windows(3).any(|some| some == &message[..3]));
                messages.push(sealed);
            }
            change(&mut messages);
            for message in messages {
                send_bare(&says, &message).await.unwrap();
            }
            drop(says);
            let (mut receiver, mut all) = (answers.receiver(), Vec::new());
            loop {
                match receiver.receive().await {
                    Ok(message) => all.push(Ok(message.to_vec())),
                    Err(error) => {
                        all.push(Err(error.kind()));
                        return all;
                    }
                }
            }
        })
    }

    #[test]
    fn only_what_was_sent_arrives_and_only_once_in_its_place() {
        let [one, two, three] = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()].map(Ok);
        let wrong = || Err(io::ErrorKind::InvalidData);
        let end = Err(io::ErrorKind::UnexpectedEof);
        assert_eq!(
            arrives(|_| ()),
            [one.clone(), two.clone(), three, end.clone()]
        );
        for byte in [0, 1, 17] {
            assert_eq!(arrives(|all| all[1][byte] ^= 1), [one.clone(), wrong()]);
        }
        assert_eq!(
            arrives(|all| all.insert(1, all[0].clone())),
            [one.clone(), wrong()],
            "repeated"
        );
        assert_eq!(arrives(|all| all.swap(0, 1)), [wrong()], "reordered");
        assert_eq!(arrives(|all| drop(all.remove(0))), [wrong()], "left out");
        assert_eq!(arrives(|all| all[1].truncate(18)), [one.clone(), wrong()]);
        assert_eq!(arrives(|all| all[1].clear()), [one.clone(), wrong()]);
        assert_eq!(arrives(|all| all[1].push(0)), [one.clone(), wrong()]);
        assert_eq!(arrives(|all| all.truncate(2)), [one, two, end]);
    }

    #[test]
    fn what_one_side_has_sent_is_no_message_to_itself() {
        trefoil::run(async {
            let (calls, heard, _answers, _says) = met().await;
            calls.sender().send(b"one").await.unwrap();
            let sealed = receive_bare(&heard, LONGEST).await.unwrap();
            send_bare(&heard, &sealed).await.unwrap();
            let back = calls.receive_first(100).await.unwrap_err();
            assert_eq!(back.kind(), io::ErrorKind::InvalidData);
        });
    }

    #[test]
    fn a_message_cut_short_is_an_end_and_a_long_one_is_not_waited_for() {
        trefoil::run(async {
            let (one, other) = pair().await;
            other.write_all(&[0, 9, 1, 2, 3]).await.unwrap();
            drop(other);
            let short = receive_bare(&one, 9).await.unwrap_err();
            assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
            let (one, other) = pair().await;
            other.write_all(&[0, 10]).await.unwrap();
            let long = trefoil::timeout(Duration::from_secs(60), receive_bare(&one, 9)).await;
            let long = long.unwrap().unwrap_err();
            assert_eq!(long.kind(), io::ErrorKind::InvalidData);
        });
    }
}
