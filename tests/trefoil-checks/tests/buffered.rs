//! Random programs over `io::BufReader` and `io::BufWriter`, beside std's.
//!
//! Both read the same bytes through a source that returns them in random pieces, and sometimes
//! nothing yet (here) or an interruption (std). After each step the results, the errors and what is
//! left must be equal. The writers must hand on the same bytes in the end.
#![cfg(not(loom))]

use std::io::{self, BufRead, Cursor, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};
use proptest::prelude::*;
use trefoil::io::{BufReader, BufWriter};

/// Bytes that come and go in pieces of these sizes, again and again; a size of 0 is a delay.
#[derive(Clone, Debug)]
struct Pieces {
    bytes: Cursor<Vec<u8>>,
    sizes: Vec<usize>,
    turn: usize,
}

impl Pieces {
    fn new(bytes: Vec<u8>, sizes: Vec<usize>) -> Self {
        Self {
            bytes: Cursor::new(bytes),
            sizes,
            turn: 0,
        }
    }

    /// The size of the next piece of at most `most` bytes, or `None` for a delay.
    fn next(&mut self, most: usize) -> Option<usize> {
        self.turn += 1;
        let size = self.sizes[self.turn % self.sizes.len()];
        (size > 0).then_some(size.min(most))
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(size) = self.next(buffer.len()) else {
            return Err(ErrorKind::Interrupted.into());
        };
        self.bytes.read(&mut buffer[..size])
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(size) = self.next(bytes.len()) else {
            return Err(ErrorKind::Interrupted.into());
        };
        self.bytes.write(&bytes[..size])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(size) = self.next(buffer.len()) else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        Poll::Ready(self.bytes.read(&mut buffer[..size]))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(size) = self.next(bytes.len()) else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        Poll::Ready(self.bytes.write(&bytes[..size]))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Exact(usize),
    Until(u8),
    Line,
    /// Looks at what is buffered, and takes one byte. (How much is buffered is no promise.)
    Consume,
    Text,
    Rest,
}

/// What a step gave, as both sides spell it.
type Outcome = (Result<usize, ErrorKind>, Vec<u8>);

fn outcome<N>(result: io::Result<N>, bytes: Vec<u8>, number: impl Fn(N) -> usize) -> Outcome {
    (result.map(number).map_err(|error| error.kind()), bytes)
}

async fn here(source: Pieces, capacity: usize, steps: &[Step]) -> Vec<Outcome> {
    let mut reader = BufReader::with_capacity(capacity, source);
    let mut seen = Vec::new();
    for step in steps {
        let (mut bytes, mut text) = (Vec::new(), String::new());
        seen.push(match *step {
            Step::Exact(count) => {
                bytes.resize(count, 0);
                let result = reader.read_exact(&mut bytes).await;
                whole(result, bytes)
            }
            Step::Until(end) => {
                let result = reader.read_until(end, &mut bytes).await;
                outcome(result, bytes, |n| n)
            }
            Step::Line => {
                let result = reader.read_line(&mut text).await;
                outcome(result, text.into_bytes(), |n| n)
            }
            Step::Consume => {
                let result = reader.fill_buf().await;
                let result = result.map(|buffer| buffer.len().min(1));
                reader.consume(*result.as_ref().unwrap_or(&0));
                outcome(result, bytes, |n| n)
            }
            Step::Text => {
                let result = reader.read_to_string(&mut text).await;
                outcome(result, text.into_bytes(), |n| n)
            }
            Step::Rest => {
                let result = reader.read_to_end(&mut bytes).await;
                outcome(result, bytes, |n| n)
            }
        });
    }
    seen
}

fn std(source: Pieces, capacity: usize, steps: &[Step]) -> Vec<Outcome> {
    let mut reader = io::BufReader::with_capacity(capacity, source);
    let mut seen = Vec::new();
    for step in steps {
        let (mut bytes, mut text) = (Vec::new(), String::new());
        seen.push(match *step {
            Step::Exact(count) => {
                bytes.resize(count, 0);
                let result = reader.read_exact(&mut bytes);
                whole(result, bytes)
            }
            Step::Until(end) => {
                let result = reader.read_until(end, &mut bytes);
                outcome(result, bytes, |n| n)
            }
            Step::Line => {
                let result = reader.read_line(&mut text);
                outcome(result, text.into_bytes(), |n| n)
            }
            Step::Consume => {
                let result = loop {
                    match reader.fill_buf() {
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        result => break result.map(|buffer| buffer.len().min(1)),
                    }
                };
                reader.consume(*result.as_ref().unwrap_or(&0));
                outcome(result, bytes, |n| n)
            }
            Step::Text => {
                let result = reader.read_to_string(&mut text);
                outcome(result, text.into_bytes(), |n| n)
            }
            Step::Rest => {
                let result = reader.read_to_end(&mut bytes);
                outcome(result, bytes, |n| n)
            }
        });
    }
    seen
}

/// What is in a buffer that was not filled is no promise.
fn whole(result: io::Result<()>, bytes: Vec<u8>) -> Outcome {
    let bytes = if result.is_ok() { bytes } else { Vec::new() };
    outcome(result, bytes, |()| 0)
}

/// Letters, ends of lines, some of more than one byte, and now and then what is no text.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        6 => "[a-d]{0,6}".prop_map(String::into_bytes),
        3 => Just(b"\n".to_vec()),
        1 => Just("ä€\r\n".as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..2),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let sizes = prop::collection::vec(0_usize..12, 0..6);
    sizes.prop_map(|sizes| [&sizes[..], &[3]].concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_usize..20).prop_map(Step::Exact),
        3 => prop_oneof![Just(b'a'), Just(b'\n'), any::<u8>()].prop_map(Step::Until),
        4 => Just(Step::Line),
        2 => Just(Step::Consume),
        1 => Just(Step::Text),
        1 => Just(Step::Rest),
    ];
    prop::collection::vec(step, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn readers_read_what_stds_read(bytes in contents(), sizes in sizes(), capacity in 1_usize..20, steps in steps()) {
        let source = Pieces::new(bytes, sizes);
        let ours = trefoil::run(here(source.clone(), capacity, &steps));
        prop_assert_eq!(ours, std(source, capacity, &steps));
    }

    #[test]
    fn writers_write_what_stds_write(
        writes in prop::collection::vec((contents(), any::<bool>()), 0..10), sizes in sizes(), capacity in 1_usize..40,
    ) {
        let sink = Pieces::new(Vec::new(), sizes);
        let mut std = io::BufWriter::with_capacity(capacity, sink.clone());
        for (bytes, flush) in &writes {
            std.write_all(bytes).unwrap();
            if *flush {
                std.flush().unwrap();
            }
        }
        std.flush().unwrap();
        let ours = trefoil::run(async {
            let mut ours = BufWriter::with_capacity(capacity, sink);
            for (bytes, flush) in &writes {
                ours.write_all(bytes).await.unwrap();
                if *flush {
                    ours.flush().await.unwrap();
                }
            }
            ours.flush().await.unwrap();
            ours.into_inner()
        });
        prop_assert_eq!(ours.bytes.into_inner(), std.into_inner().unwrap().bytes.into_inner());
    }
}
