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
        let words = if is_copy {
            ""
        } else {
            "the executable there is another build of the program"
        };
        sealed.sender().send(words.as_bytes()).await?;
        if is_copy {
            Ok((sealed, hello))
        } else {
            Err(HandshakeError::Refused(words.to_owned()))
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
        if words.is_empty() {
            Ok(sealed)
        } else {
            Err(HandshakeError::Refused(
                String::from_utf8_lossy(&words).into_owned(),
            ))
        }
    };
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    trefoil::timeout(limit, all).await.unwrap_or_else(late)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::future::Future;
    use std::time::Instant;

    use super::*;
    use trefoil::io::TcpListener;
    use trefoil::time::sleep;

    const SOON: Duration = Duration::from_millis(200);
    const DEADLINE: Duration = Duration::from_secs(60);

    fn hello() -> Hello {
        Hello {
            identity: "copy".to_owned(),
            name: "12_3".to_owned(),
            number: 15,
        }
    }

    /// A pool with `key` on one side, `worker` on the other.
    fn meet<F: Future>(
        key: &Key,
        limit: Duration,
        worker: impl FnOnce(TcpStream) -> F,
    ) -> (Result<Hello, HandshakeError>, F::Output) {
        trefoil::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let dialled = TcpStream::connect(listener.local_addr().unwrap());
            let (dialled, accepted) = trefoil::join!(dialled, listener.accept());
            let answer = answer(accepted.unwrap().0, key, "copy", limit);
            let both = async { trefoil::join!(answer, worker(dialled.unwrap())) };
            let (answer, worker) = trefoil::timeout(DEADLINE, both).await.unwrap();
            (answer.map(|(_, hello)| hello), worker)
        })
    }

    /// Until the pool closes the connection.
    async fn closed(stream: &TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all
    }

    #[test]
    fn those_who_have_the_key_meet() {
        let key = Key::new().unwrap();
        let worker = async |stream| call(stream, &key, &hello(), LIMIT).await.is_ok();
        let (answer, called) = meet(&key, LIMIT, worker);
        assert_eq!(answer.unwrap(), hello());
        assert!(called);
    }

    #[test]
    fn a_wrong_key_is_refused_on_both_sides() {
        let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
        let worker = async |stream| call(stream, &other, &hello(), LIMIT).await.err();
        let (answer, called) = meet(&key, LIMIT, worker);
        assert!(matches!(answer, Err(HandshakeError::Key)), "{answer:?}");
        assert!(
            matches!(called, Some(HandshakeError::Key)),
            "{called:?}: and no other error, for which the worker would dial again"
        );
    }

    /// Whoever listens must have the key, too.
    #[test]
    fn what_only_listens_gets_no_hello() {
        let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
        let answers = async |stream: TcpStream| {
            receive_bare(&stream, FIRST).await.unwrap();
            let mut second = [0; FIRST];
            let mut session = sealed::begin(&other, false).unwrap();
            session.write_message(&[], &mut second).unwrap();
            send_bare(&stream, &second).await.unwrap();
            closed(&stream).await
        };
        trefoil::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let dialled = TcpStream::connect(listener.local_addr().unwrap());
            let (dialled, accepted) = trefoil::join!(dialled, listener.accept());
            let hello = hello();
            let call = call(dialled.unwrap(), &key, &hello, LIMIT);
            let (called, heard) = trefoil::join!(call, answers(accepted.unwrap().0));
            assert!(matches!(called, Err(HandshakeError::Key)));
            assert_eq!(heard, b"");
        });
    }

    /// Repeating what a worker has sent leads to a session whose keys nobody has.
    #[test]
    fn what_was_heard_once_opens_nothing() {
        let key = Key::new().unwrap();
        let recorded = trefoil::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (pool, proxy) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), async {
                let between = listener.accept().await.unwrap().0;
                let first = receive_bare(&between, FIRST).await.unwrap();
                (between, first)
            });
            let to = TcpStream::connect(pool.local_addr().unwrap())
                .await
                .unwrap();
            let from = pool.accept().await.unwrap().0;
            let all = async {
                let (between, first) = proxy.await;
                send_bare(&to, &first).await.unwrap();
                let second = receive_bare(&to, FIRST).await.unwrap();
                send_bare(&between, &second).await.unwrap();
                let third = receive_bare(&between, LONGEST).await.unwrap();
                send_bare(&to, &third).await.unwrap();
                [first, third]
            };
            let dialled = TcpStream::connect(address).await.unwrap();
            let hello = hello();
            let (recorded, met, _) = trefoil::join!(
                all,
                answer(from, &key, "copy", LIMIT),
                call(dialled, &key, &hello, LIMIT),
            );
            assert_eq!(met.unwrap().1, hello);
            recorded
        });
        let (answer, ()) = meet(&key, LIMIT, async |stream| {
            send_bare(&stream, &recorded[0]).await.unwrap();
            receive_bare(&stream, FIRST).await.unwrap();
            send_bare(&stream, &recorded[1]).await.unwrap();
            closed(&stream).await;
        });
        let is_invalid = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
        assert!(
            matches!(&answer, Err(HandshakeError::Silent(error)) if is_invalid(error)),
            "{answer:?}"
        );
    }

    #[test]
    fn what_is_too_long_is_not_waited_for() {
        let key = Key::new().unwrap();
        let (answer, heard) = meet(&key, LIMIT, async |stream| {
            stream.write_all(&[0, FIRST as u8 + 1]).await.unwrap();
            closed(&stream).await
        });
        let is_invalid = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
        assert!(
            matches!(&answer, Err(HandshakeError::Silent(error)) if is_invalid(error)),
            "{answer:?}"
        );
        assert_eq!(heard, b"");
        // From one who has the key, too.
        let long = Hello {
            name: "x".repeat(LONGEST),
            ..hello()
        };
        let worker = async |stream| call(stream, &key, &long, LIMIT).await.is_ok();
        let (answer, called) = meet(&key, LIMIT, worker);
        assert!(
            matches!(&answer, Err(HandshakeError::Silent(error)) if is_invalid(error)),
            "{answer:?}"
        );
        assert!(!called);
    }

    #[test]
    fn silence_has_a_deadline_and_so_has_dawdling() {
        let key = Key::new().unwrap();
        let begin = Instant::now();
        let is_late = |answer: &Result<Hello, HandshakeError>| matches!(answer, Err(HandshakeError::Silent(error)) if error.kind() == io::ErrorKind::TimedOut);
        let (answer, _) = meet(&key, SOON, async |stream| closed(&stream).await);
        assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
        assert!(is_late(&answer), "{answer:?}");
        // One byte now and then does not prolong it.
        let (answer, ()) = meet(&key, SOON, async |stream| {
            stream.write_all(&[0, FIRST as u8]).await.unwrap();
            while stream.write_all(&[0]).await.is_ok() && begin.elapsed() < LIMIT {
                sleep(SOON / 10).await;
            }
        });
        assert!(is_late(&answer), "{answer:?}");
        assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
    }

    #[test]
    fn another_build_is_refused_with_words() {
        let key = Key::new().unwrap();
        let other = Hello {
            identity: "another".to_owned(),
            ..hello()
        };
        let worker = async |stream| call(stream, &key, &other, LIMIT).await.err();
        let (answer, called) = meet(&key, LIMIT, worker);
        for error in [answer.err(), called] {
            let words = error.unwrap().to_string();
            assert!(words.contains("another build"), "{words}");
        }
    }
}
