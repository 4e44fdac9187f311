//! Readers and writers with a buffer: lines of any length in pieces of any size, nothing lost when
//! a future is dropped or fails.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncBufReadExt, Cursor};
use futures::{StreamExt, TryStreamExt};
use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};
#[cfg(unix)]
use trefoil::io::UnixStream;
use trefoil::io::{BufReader, BufWriter, Lines};
use trefoil::{run, yield_now};

use crate::support::{pair, poll_once, within_deadline};

/// A reader that returns one byte at a time, and between two bytes is pending or, sometimes, fails.
struct Drops {
    bytes: Vec<u8>,
    given: usize,
    dry: bool,
    fails_at: Option<usize>,
}

impl Drops {
    fn of(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            given: 0,
            dry: false,
            fails_at: None,
        }
    }
}

impl AsyncRead for Drops {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        self.dry = !self.dry;
        if self.dry {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.fails_at == Some(self.given) {
            self.fails_at = None;
            return Poll::Ready(Err(Error::other("for a moment")));
        }
        let Some(byte) = self.bytes.get(self.given) else {
            return Poll::Ready(Ok(0));
        };
        buffer[0] = *byte;
        self.given += 1;
        Poll::Ready(Ok(1))
    }
}

/// The lines of `text`, read with every capacity and in the smallest pieces.
fn lines_of(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for capacity in [0, 1, 2, 7, 8192] {
        let text = text.to_owned();
        let drops = BufReader::with_capacity(capacity, Drops::of(text.clone())).lines();
        let whole = BufReader::with_capacity(capacity, Cursor::new(text)).lines();
        let drops: Vec<String> = run(drops.try_collect()).unwrap();
        let whole: Vec<String> = run(whole.try_collect()).unwrap();
        assert_eq!(drops, whole, "{capacity}");
        all.push(whole);
    }
    all.dedup();
    assert_eq!(all.len(), 1);
    all.pop().unwrap()
}

#[test]
fn lines_and_their_ends() {
    within_deadline(|| {
        let none: [&str; 0] = [];
        assert_eq!(lines_of(""), none);
        assert_eq!(lines_of("\n"), [""]);
        assert_eq!(
            lines_of("one\ntwo\r\n\n\r\nlast"),
            ["one", "two", "", "", "last"]
        );
        assert_eq!(lines_of("a\rb\r\r\nlast\r"), ["a\rb\r", "last\r"]);
        assert_eq!(lines_of("ends\n\n"), ["ends", ""]);
        let long = "ä".repeat(20_000);
        assert_eq!(
            lines_of(&format!("{long}\nshort\n{long}")),
            [&long, "short", &long]
        );
        // The same as the standard library's `lines`.
        let odd = "\r\n\n\ra\n\r\n b\r\r\n";
        assert_eq!(lines_of(odd), odd.lines().collect::<Vec<_>>());
    });
}

#[test]
fn the_end_of_lines_stays_the_end() {
    within_deadline(|| {
        run(async {
            let mut lines = BufReader::new(Cursor::new("one")).lines();
            assert_eq!(lines.next().await.unwrap().unwrap(), "one");
            assert!(lines.next().await.is_none());
            assert!(lines.next().await.is_none());
            assert!(lines.next_line().await.unwrap().is_none());
        });
    });
}

#[test]
fn a_line_that_is_given_up_is_not_lost() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let mut reader = BufReader::new(near);
            let mut line = String::new();
            far.write_all(b"be").await.unwrap();
            reader.get_ref().readable().await.unwrap();
            assert!(poll_once(&mut Box::pin(reader.read_line(&mut line))).is_pending());
            assert_eq!((line.as_str(), reader.buffer()), ("", &b"be"[..]));
            let mut bytes = Vec::new();
            assert!(poll_once(&mut Box::pin(reader.read_until(b'!', &mut bytes))).is_pending());
            assert!(bytes.is_empty());
            let mut lines = reader.lines();
            assert!(poll_once(&mut Box::pin(lines.next())).is_pending());
            far.write_all(b"gun\nrest").await.unwrap();
            assert_eq!(lines.next().await.unwrap().unwrap(), "begun");
            assert!(poll_once(&mut Box::pin(lines.next())).is_pending());
            let mut reader = lines.into_inner();
            assert_eq!(reader.fill_buf().await.unwrap(), b"rest");
            drop(far);
            assert_eq!(reader.read_line(&mut line).await.unwrap(), 4);
            assert_eq!(reader.read_line(&mut line).await.unwrap(), 0);
            assert_eq!(line, "rest");
        });
    });
}

#[test]
fn an_error_in_the_middle_of_a_line_loses_nothing() {
    within_deadline(|| {
        run(async {
            let mut drops = Drops::of("one\ntwo\n");
            drops.fails_at = Some(6);
            let mut reader = BufReader::new(drops);
            let mut text = String::new();
            assert_eq!(reader.read_line(&mut text).await.unwrap(), 4);
            let failed = reader.read_line(&mut text).await.unwrap_err();
            assert_eq!(failed.to_string(), "for a moment");
            assert_eq!(text, "one\n");
            assert_eq!(reader.read_line(&mut text).await.unwrap(), 4);
            assert_eq!(text, "one\ntwo\n");
        });
    });
}

#[test]
fn what_is_not_text_is_an_error_and_the_next_line_comes() {
    within_deadline(|| {
        run(async {
            let odd = b"\xff\xfe\ntext\n\xff\n";
            let mut reader = BufReader::new(Cursor::new(odd));
            let mut line = String::from("before ");
            let error = reader.read_line(&mut line).await.unwrap_err();
            assert_eq!(
                (error.kind(), line.as_str()),
                (ErrorKind::InvalidData, "before ")
            );
            let mut lines = reader.lines();
            assert_eq!(lines.next().await.unwrap().unwrap(), "text");
            let error = lines.next().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(lines.next().await.is_none());
        });
    });
}

/// Searching it again at each piece would take some 10¹⁰ steps.
#[test]
fn a_long_line_in_the_smallest_pieces_is_searched_once() {
    within_deadline(|| {
        run(async {
            let long = "x".repeat(300_000);
            let mut lines = BufReader::new(Drops::of(long.clone())).lines();
            assert_eq!(lines.next().await.unwrap().unwrap(), long);
            // Also if the future is dropped at each piece.
            let mut reader = BufReader::new(Drops::of(format!("{long}\n")));
            let mut line = String::new();
            let mut given_up = 0;
            while poll_once(&mut Box::pin(reader.read_line(&mut line))).is_pending() {
                given_up += 1;
            }
            assert!(given_up > long.len());
            assert_eq!(line.trim_end(), long);
        });
    });
}

#[test]
fn a_search_that_was_given_up_is_not_gone_on_with_where_another_begins() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let mut reader = BufReader::with_capacity(4, near);
            let mut text = String::new();
            let mut bytes = Vec::new();
            far.write_all(b"a!bcdefg").await.unwrap();
            while reader.buffer().len() < 8 {
                assert!(poll_once(&mut Box::pin(reader.read_line(&mut text))).is_pending());
                yield_now().await;
            }
            // For another byte.
            assert_eq!(reader.read_until(b'!', &mut bytes).await.unwrap(), 2);
            assert!(poll_once(&mut Box::pin(reader.read_line(&mut text))).is_pending());
            // From another place on.
            reader.read_exact(&mut [0; 5]).await.unwrap();
            far.write_all(b"\nnext").await.unwrap();
            assert_eq!(reader.read_line(&mut text).await.unwrap(), 2);
            assert_eq!((&bytes[..], text.as_str()), (&b"a!"[..], "g\n"));
        });
    });
}

#[test]
fn lines_and_bytes_take_turns_on_one_stream() {
    within_deadline(|| {
        run(async {
            let (near, far) = pair().await;
            let answering = trefoil::spawn(async move {
                let mut reader = BufReader::with_capacity(4, &far);
                let mut asked = String::new();
                while reader.read_line(&mut asked).await? > 0 {
                    let mut body = vec![0; asked.trim_end().parse().unwrap()];
                    reader.read_exact(&mut body).await?;
                    reader.get_ref().write_all(&body).await?;
                    asked.clear();
                }
                Result::Ok(())
            });
            let (reader, writer) = near.split();
            let mut writer = BufWriter::with_capacity(16, writer);
            for length in [0, 3, 4, 5, 1000] {
                let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
                writer
                    .write_all(format!("{length}\n").as_bytes())
                    .await
                    .unwrap();
                writer.write_all(&body).await.unwrap();
                writer.flush().await.unwrap();
                let mut echo = vec![0; length];
                reader.read_exact(&mut echo).await.unwrap();
                assert_eq!(echo, body);
            }
            writer.close().await.unwrap();
            answering.await.unwrap().unwrap();
        });
    });
}

async fn generic(mut reader: impl AsyncBufRead + Unpin) -> (String, Vec<String>) {
    let mut first = Vec::new();
    reader.read_until(b',', &mut first).await.unwrap();
    let rest = reader.lines().map(std::result::Result::unwrap);
    (String::from_utf8(first).unwrap(), rest.collect().await)
}

#[cfg(unix)]
#[test]
fn other_crates_read_through_the_trait() {
    within_deadline(|| {
        let (first, rest) = run(generic(BufReader::with_capacity(
            3,
            Drops::of("abcde,f\n\ng"),
        )));
        assert_eq!(
            (first.as_str(), &rest[..]),
            ("abcde,", &["f".into(), String::new(), "g".into()][..])
        );
        // And a reader that is not `Unpin`.
        let pinned = Box::pin(futures::stream::once(async { Ok("of,a,stream") }).into_async_read());
        let mut text = String::new();
        run(BufReader::new(pinned).read_to_string(&mut text)).unwrap();
        assert_eq!(text, "of,a,stream");
        fn is_send<T: Send>() {}
        is_send::<Lines<UnixStream>>();
        is_send::<BufWriter<UnixStream>>();
    });
}

#[test]
fn more_than_there_is_can_be_said_to_be_taken() {
    within_deadline(|| {
        run(async {
            let mut reader = BufReader::new(Cursor::new("abc"));
            reader.consume(7);
            assert_eq!(reader.fill_buf().await.unwrap(), b"abc");
            reader.consume(usize::MAX);
            assert_eq!(reader.fill_buf().await.unwrap(), b"");
        });
    });
}

/// A writer that takes a few bytes at a time, and fails at a given point.
#[derive(Default)]
struct Sink {
    taken: Vec<u8>,
    calls: usize,
    fails_at_call: Option<usize>,
    flushed: usize,
}

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.calls += 1;
        if self.fails_at_call == Some(self.calls) {
            return Poll::Ready(Err(Error::other("for a moment")));
        }
        let count = bytes.len().min(5);
        self.taken.extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.flushed = self.taken.len();
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_flush(cx)
    }
}

#[test]
fn small_pieces_are_collected_and_large_ones_are_not_copied() {
    within_deadline(|| {
        run(async {
            let mut writer = BufWriter::with_capacity(8, Sink::default());
            writer.write_all(b"abc").await.unwrap();
            writer.write_all(b"defgh").await.unwrap();
            assert_eq!(
                (writer.get_ref().calls, writer.buffer()),
                (0, &b"abcdefgh"[..])
            );
            // The buffer is full, so its contents are written first.
            writer.write_all(b"i").await.unwrap();
            assert_eq!(writer.get_ref().taken, b"abcdefgh");
            assert_eq!(writer.buffer(), b"i");
            writer.write_all(b"0123456789").await.unwrap();
            writer.flush().await.unwrap();
            let sink = writer.into_inner();
            assert_eq!(sink.taken, b"abcdefghi0123456789");
            assert_eq!(sink.flushed, sink.taken.len());
        });
    });
}

#[test]
fn a_flush_that_has_failed_goes_on_where_it_was() {
    within_deadline(|| {
        run(async {
            let sink = Sink {
                fails_at_call: Some(2),
                ..Sink::default()
            };
            let mut writer = BufWriter::new(sink);
            writer.write_all(b"0123456789").await.unwrap();
            assert!(writer.flush().await.is_err());
            assert_eq!(writer.buffer(), b"56789");
            writer.write_all(b"abc").await.unwrap();
            writer.flush().await.unwrap();
            assert_eq!(writer.get_ref().taken, b"0123456789abc");
        });
    });
}

#[cfg(unix)]
#[test]
fn a_flush_that_is_given_up_goes_on_where_it_was() {
    within_deadline(|| {
        run(async {
            let (near, far) = UnixStream::pair().unwrap();
            let bytes: Vec<u8> = (0..1_000_000).map(|at| (at % 251) as u8).collect();
            let mut writer = BufWriter::with_capacity(bytes.len() + 1, near);
            writer.write_all(&bytes).await.unwrap();
            assert!(poll_once(&mut Box::pin(writer.flush())).is_pending());
            assert!(
                writer.buffer().len() < bytes.len(),
                "some of it is on its way"
            );
            let reading = trefoil::spawn(async move {
                let mut read = Vec::new();
                far.read_to_end(&mut read).await.map(|_| read)
            });
            writer.close().await.unwrap();
            assert!(reading.await.unwrap().unwrap() == bytes);
        });
    });
}

#[test]
fn a_writer_that_takes_nothing_is_an_error() {
    within_deadline(|| {
        run(async {
            let mut full = [0; 4];
            let mut writer = BufWriter::with_capacity(8, Cursor::new(&mut full[..]));
            writer.write_all(b"abcdef").await.unwrap();
            let error = writer.flush().await.unwrap_err();
            assert_eq!(
                (error.kind(), writer.buffer()),
                (ErrorKind::WriteZero, &b"ef"[..])
            );
        });
    });
}

/// A line that is too long is an error before it has ended, and little more than it is kept.
#[test]
fn a_limit_to_the_length_of_a_line() {
    within_deadline(|| {
        run(async {
            for end in ["\n", "\r\n"] {
                let text = format!("12345{end}{end}1234{end}123456{end}1{end}");
                for pieces in [false, true] {
                    let mut lines: Pin<Box<dyn futures::Stream<Item = Result<String>>>> =
                        match pieces {
                            true => Box::pin(BufReader::new(Drops::of(&*text)).lines().max_len(5)),
                            false => Box::pin(
                                BufReader::new(Cursor::new(text.clone())).lines().max_len(5),
                            ),
                        };
                    for line in ["12345", "", "1234"] {
                        assert_eq!(StreamExt::next(&mut lines).await.unwrap().unwrap(), line);
                    }
                    for _ in 0..2 {
                        let error = StreamExt::next(&mut lines).await.unwrap().unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::InvalidData);
                        assert_eq!(error.to_string(), "a line is longer than 5 bytes");
                    }
                }
            }
            let mut lines = BufReader::new(futures::io::repeat(b'x'))
                .lines()
                .max_len(1 << 20);
            assert!(lines.next().await.unwrap().is_err());
            assert!(lines.into_inner().buffer().len() < 2 << 20);
            // The last line has no end.
            for (text, fits) in [("12345", true), ("123456", false), ("12345\r", false)] {
                let mut lines = BufReader::new(Cursor::new(text)).lines().max_len(5);
                assert_eq!(lines.next().await.unwrap().is_ok(), fits, "{text:?}");
            }
        });
    });
}
