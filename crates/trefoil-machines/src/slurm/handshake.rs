//! The messages that authenticate a connection before it becomes a worker's.
//!
//! **Protocol.** The pool listens, and a worker connects. Both have a key of 32 bytes, which the
//! worker got in another way. Each proves to the other that it has the key, over random numbers
//! that both have just drawn, so that a recorded handshake is useless:
//!
//! ```text
//!   pool ► worker    MAGIC, number
//!   worker ► pool    number, HMAC(key, "worker", both numbers, hello), length, hello
//!   pool ► worker    HMAC(key, "pool..", both numbers, words), length, words (why not, or empty)
//! ```
//!
//! A message's body has at most [`LONGEST`] bytes, and the pool parses the hello only after its
//! code was verified. The whole handshake has one deadline, however slowly bytes come. The code is
//! HMAC-SHA-256, compared in constant time. Nothing is encrypted.
//!
//! Tests: below, with hostile peers.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long a handshake may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of a hello, and of a refusal.
const LONGEST: usize = 1024;

const MAGIC: [u8; 8] = *b"trefoil1";
const SIZE: usize = 32;

/// A secret that a pool and its workers share.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; SIZE]);

impl Key {
    /// Draws a random key.
    pub(crate) fn new() -> io::Result<Self> {
        random().map(Self)
    }

    /// The key as hexadecimal text.
    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Parses [`hex`](Self::hex)'s text.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let mut key = [0; SIZE];
        if text.len() != 2 * SIZE {
            return None;
        }
        for (byte, two) in key.iter_mut().zip(text.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
        }
        Some(Self(key))
    }

    fn code(&self, of: &[u8; 6], numbers: &[[u8; SIZE]; 2], body: &[u8]) -> Option<Hmac<Sha256>> {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        code.update(of);
        code.update(&numbers[0]);
        code.update(&numbers[1]);
        code.update(body);
        Some(code)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

/// Random bytes, from the system.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The first message of a worker: what the connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Identifies the build of the program, and the copy of trefoil in it (`Program::identity`).
    pub(crate) copy: String,
    /// Both connections of a worker have the same ticket.
    pub(crate) ticket: u64,
    /// True: the connection is the worker's stream. False: it reports the worker's exit.
    pub(crate) is_stream: bool,
    /// The pool's name for the job.
    pub(crate) job: String,
    /// The id of the Slurm job.
    pub(crate) number: u32,
}

impl Hello {
    /// One line for each field.
    fn text(&self) -> String {
        let Self {
            copy,
            ticket,
            is_stream,
            job,
            number,
        } = self;
        format!("{copy}\n{ticket}\n{is_stream}\n{number}\n{job}")
    }

    /// Parses [`text`](Self::text)'s.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(text).ok()?.splitn(5, '\n');
        Some(Self {
            copy: lines.next()?.to_owned(),
            ticket: lines.next()?.parse().ok()?,
            is_stream: lines.next()?.parse().ok()?,
            number: lines.next()?.parse().ok()?,
            job: lines.next()?.to_owned(),
        })
    }
}

/// Why the handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("it does not have the key")]
    Key,
    #[error("its first words are not the protocol's")]
    Broken,
    #[error("{0}")]
    Judged(String),
    #[error("it says nothing: {0}")]
    Silent(#[from] io::Error),
}

/// A stream with one deadline for all reads and writes.
pub(super) struct Until<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl<'a> Until<'a> {
    pub(super) fn new(stream: &'a TcpStream, limit: Duration) -> Self {
        let end = Instant::now() + limit;
        Self { stream, end }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(Some(left)),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a code, and the body that it authenticates.
    fn body(&mut self) -> Result<([u8; SIZE], Vec<u8>), HandshakeError> {
        let code = self.array()?;
        let length = usize::from(u16::from_le_bytes(self.array()?));
        if length > LONGEST {
            return Err(HandshakeError::Broken);
        }
        let mut body = vec![0; length];
        self.read_exact(&mut body)?;
        Ok((code, body))
    }
}

impl Read for Until<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(room)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes the deadline: from here on, it is a stream like any other.
fn over(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)
}

fn say(
    to: &mut Until<'_>,
    key: &Key,
    of: &[u8; 6],
    numbers: &[[u8; SIZE]; 2],
    body: &[u8],
    before: &[u8],
) -> Result<(), HandshakeError> {
    let code = key.code(of, numbers, body).ok_or(HandshakeError::Key)?;
    let length = u16::try_from(body.len()).map_err(|_| HandshakeError::Broken)?;
    let code = code.finalize().into_bytes();
    let words = [before, &code[..], &length.to_le_bytes(), body].concat();
    Ok(to.write_all(&words)?)
}

/// The pool's side: returns the hello of the worker that has connected, if `judge` accepts it.
pub(crate) fn answer(
    stream: &TcpStream,
    key: &Key,
    limit: Duration,
    judge: impl FnOnce(&Hello) -> Result<(), String>,
) -> Result<Hello, HandshakeError> {
    let mut until = Until::new(stream, limit);
    let own = random()?;
    until.write_all(&[&MAGIC[..], &own].concat())?;
    let numbers = [own, until.array()?];
    let (code, body) = until.body()?;
    let right = key
        .code(b"worker", &numbers, &body)
        .ok_or(HandshakeError::Key)?;
    right.verify_slice(&code).map_err(|_| HandshakeError::Key)?;
    let hello = Hello::parse(&body).ok_or(HandshakeError::Broken)?;
    let judged = judge(&hello);
    let words = judged.as_ref().err().map_or("", String::as_str);
    let words = words.get(..LONGEST).unwrap_or(words);
    say(&mut until, key, b"pool..", &numbers, words.as_bytes(), &[])?;
    over(stream)?;
    judged.map(|()| hello).map_err(HandshakeError::Judged)
}

/// The worker's side.
pub(crate) fn call(
    stream: &TcpStream,
    key: &Key,
    hello: &Hello,
    limit: Duration,
) -> Result<(), HandshakeError> {
    let mut until = Until::new(stream, limit);
    if until.array()? != MAGIC {
        return Err(HandshakeError::Broken);
    }
    let numbers = [until.array()?, random()?];
    let hello = hello.text();
    say(
        &mut until,
        key,
        b"worker",
        &numbers,
        hello.as_bytes(),
        &numbers[1],
    )?;
    let (code, words) = match until.body() {
        // The pool closes the connection of a worker without the key.
        Err(HandshakeError::Silent(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(HandshakeError::Key);
        }
        body => body?,
    };
    let right = key
        .code(b"pool..", &numbers, &words)
        .ok_or(HandshakeError::Key)?;
    right.verify_slice(&code).map_err(|_| HandshakeError::Key)?;
    over(stream)?;
    match words.is_empty() {
        true => Ok(()),
        false => Err(HandshakeError::Judged(
            String::from_utf8_lossy(&words).into_owned(),
        )),
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_millis(200);

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, dialled)
    }

    fn hello() -> Hello {
        Hello {
            copy: "copy".to_owned(),
            ticket: 7,
            is_stream: true,
            job: "12_3".to_owned(),
            number: 15,
        }
    }

    /// A pool with `key` on one side, `worker` on the other.
    fn meet<T: Send>(
        key: &Key,
        limit: Duration,
        judge: impl FnOnce(&Hello) -> Result<(), String> + Send,
        worker: impl FnOnce(TcpStream) -> T + Send,
    ) -> (Result<Hello, HandshakeError>, T) {
        let (pool, dialled) = pair();
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| worker(dialled));
            let answer = answer(&pool, key, limit, judge);
            drop(pool);
            (answer, worker.join().unwrap())
        })
    }

    fn fine(_: &Hello) -> Result<(), String> {
        Ok(())
    }

    #[test]
    fn those_who_have_the_key_meet() {
        let key = Key::new().unwrap();
        let theirs = Key::from_hex(&key.hex()).unwrap();
        let (answer, call) = meet(&key, LIMIT, fine, |stream| {
            call(&stream, &theirs, &hello(), LIMIT).map(|()| stream.read_timeout().unwrap())
        });
        assert_eq!(answer.unwrap(), hello());
        assert_eq!(call.unwrap(), None, "no deadline is left on the stream");
        assert_eq!(format!("{key:?}"), "Key { .. }");
    }

    #[test]
    fn a_wrong_key_is_refused_on_both_sides() {
        let (key, other) = (Key::new().unwrap(), Key::new().unwrap());
        assert!(key != other);
        let never = |_: &Hello| -> Result<(), String> { panic!("it was parsed") };
        let (answer, called) = meet(&key, LIMIT, never, |stream| {
            call(&stream, &other, &hello(), LIMIT)
        });
        assert!(matches!(answer, Err(HandshakeError::Key)), "{answer:?}");
        assert!(matches!(called, Err(HandshakeError::Key)), "{called:?}");
        // The listener must have it, too.
        let (listens, dialled) = pair();
        let call = std::thread::scope(|scope| {
            let call = scope.spawn(|| call(&dialled, &key, &hello(), LIMIT));
            (&listens)
                .write_all(&[&MAGIC[..], &[1; SIZE]].concat())
                .unwrap();
            (&listens).write_all(&[0; SIZE + 2]).unwrap();
            call.join().unwrap()
        });
        assert!(matches!(call, Err(HandshakeError::Key)), "{call:?}");
    }

    #[test]
    fn what_was_heard_once_opens_nothing() {
        let key = Key::new().unwrap();
        let recorded = {
            let (listens, dialled) = pair();
            std::thread::scope(|scope| {
                scope.spawn(|| call(&dialled, &key, &hello(), SOON));
                (&listens)
                    .write_all(&[&MAGIC[..], &[1; SIZE]].concat())
                    .unwrap();
                let mut heard = vec![0; 2 * SIZE + 2];
                (&listens).read_exact(&mut heard).unwrap();
                let rest = u16::from_le_bytes([heard[2 * SIZE], heard[2 * SIZE + 1]]);
                let mut body = vec![0; rest.into()];
                (&listens).read_exact(&mut body).unwrap();
                heard.extend(body);
                heard
            })
        };
        let (answer, ()) = meet(&key, LIMIT, fine, |mut stream| {
            stream.write_all(&recorded).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert!(matches!(answer, Err(HandshakeError::Key)), "{answer:?}");
    }

    #[test]
    fn what_is_too_long_is_not_waited_for() {
        let key = Key::new().unwrap();
        let (answer, ()) = meet(&key, LIMIT, fine, |mut stream| {
            let long = u16::try_from(LONGEST + 1).unwrap().to_le_bytes();
            stream
                .write_all(&[&[0; 2 * SIZE][..], &long].concat())
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert!(matches!(answer, Err(HandshakeError::Broken)), "{answer:?}");
    }

    #[test]
    fn silence_has_a_deadline_and_so_has_dawdling() {
        let key = Key::new().unwrap();
        let begin = Instant::now();
        let (answer, ()) = meet(&key, SOON, fine, |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert!(
            matches!(answer, Err(HandshakeError::Silent(_))),
            "{answer:?}"
        );
        // One byte now and then does not prolong it.
        let (answer, ()) = meet(&key, SOON, fine, |mut stream| {
            stream.set_read_timeout(Some(SOON / 10)).unwrap();
            let ends = |read: io::Result<usize>| matches!(read, Ok(0));
            while stream.write_all(&[0]).is_ok() && !ends(stream.read(&mut [0; 64])) {}
        });
        assert!(
            matches!(answer, Err(HandshakeError::Silent(_))),
            "{answer:?}"
        );
        assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_refusal_has_words() {
        let key = Key::new().unwrap();
        let judge = |hello: &Hello| Err(format!("no {}", hello.copy));
        let (answer, call) = meet(&key, LIMIT, judge, |stream| {
            call(&stream, &key, &hello(), LIMIT)
        });
        assert_eq!(answer.unwrap_err().to_string(), "no copy");
        assert_eq!(call.unwrap_err().to_string(), "no copy");
        assert!(Key::from_hex("00").is_none() && Key::from_hex(&"xy".repeat(SIZE)).is_none());
    }
}
