//! Writes that fail: whoever wrote learns of it, and no byte is lost or written twice.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Result};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::Stdio;

use futures_io::AsyncWrite;
use rustix::process::{Resource, Rlimit, setrlimit};
use trefoil::io::fs::File;
use trefoil::io::{BufWriter, Command, UnixStream, stderr, stdout};
use trefoil::run;

use crate::support::{alone, pair, poll_once, within_deadline};

/// How many bytes a file may have while there is too little room.
const ROOM: u64 = 1000;

fn limit(current: Option<u64>) {
    let maximum = None;
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

fn bytes() -> Vec<u8> {
    (0..4000_u32).map(|at| (at % 251) as u8).collect()
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("trefoil-writers-{name}-{}", std::process::id()))
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<usize> {
    poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, bytes)).await
}

async fn flush(writer: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    poll_fn(|cx| Pin::new(&mut *writer).poll_flush(cx)).await
}

async fn close(writer: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    poll_fn(|cx| Pin::new(&mut *writer).poll_close(cx)).await
}

/// Writes all through the trait, as any code does that continues after an error: with the bytes
/// that were not accepted. Room comes after the first error. Returns how many there were.
async fn write_on(writer: &mut (impl AsyncWrite + Unpin)) -> usize {
    let bytes = bytes();
    let (mut rest, mut errors) = (&bytes[..], 0);
    let failed = |errors: &mut usize| {
        *errors += 1;
        assert!(*errors < 10, "it goes on failing");
        limit(None);
    };
    while !rest.is_empty() {
        match write(writer, rest).await {
            Ok(count) => rest = &rest[count..],
            Err(_) => failed(&mut errors),
        }
    }
    while flush(writer).await.is_err() {
        failed(&mut errors);
    }
    errors
}

/// A disk that is full for a while: the writer reports that once, and then its file is whole.
#[test]
fn no_byte_is_lost_when_a_file_has_no_room_for_a_while() {
    alone(
        "writers::no_byte_is_lost_when_a_file_has_no_room_for_a_while",
        "",
        || {
            crate::handlers::host_sets(libc::SIGXFSZ, libc::SIG_IGN);
            run(async {
                for writer in ["file", "buffered", "stdout", "stderr", "stderr-buffered"] {
                    let path = path(writer);
                    let file = std::fs::File::create(&path).unwrap();
                    limit(Some(ROOM));
                    let errors = match writer {
                        "file" => write_on(&mut File::from(file)).await,
                        "buffered" => write_on(&mut BufWriter::new(File::from(file))).await,
                        "stdout" => {
                            let before = rustix::io::dup(rustix::stdio::stdout()).unwrap();
                            rustix::stdio::dup2_stdout(&file).unwrap();
                            let errors = write_on(&mut stdout()).await;
                            rustix::stdio::dup2_stdout(before).unwrap();
                            errors
                        }
                        _ => {
                            let before = rustix::io::dup(rustix::stdio::stderr()).unwrap();
                            rustix::stdio::dup2_stderr(&file).unwrap();
                            let errors = match writer {
                                "stderr" => write_on(&mut stderr()).await,
                                _ => write_on(&mut BufWriter::new(stderr())).await,
                            };
                            rustix::stdio::dup2_stderr(before).unwrap();
                            errors
                        }
                    };
                    limit(None);
                    let written = std::fs::read(&path).unwrap();
                    std::fs::remove_file(&path).unwrap();
                    assert_eq!(written.len(), bytes().len(), "{writer}");
                    assert!(written == bytes(), "{writer}");
                    assert_eq!(errors, 1, "{writer}");
                }
                // The methods of a buffered file.
                let path = path("methods");
                let mut writer = BufWriter::new(File::create(&path).await.unwrap());
                writer.write_all(&bytes()).await.unwrap();
                limit(Some(ROOM));
                for _ in 0..3 {
                    assert!(writer.flush().await.is_err());
                    assert!(writer.close().await.is_err());
                    assert_eq!(writer.buffer(), &bytes()[ROOM as usize..]);
                }
                limit(None);
                writer.flush().await.unwrap();
                assert!(std::fs::read(&path).unwrap() == bytes());
                std::fs::remove_file(&path).unwrap();
            });
        },
    );
}

/// A disk that stays full: every write, flush and close of bytes that are not there fails.
#[test]
fn nothing_is_accepted_that_a_full_disk_does_not_take() {
    within_deadline(|| {
        run(async {
            let full = || {
                File::from(
                    std::fs::File::options()
                        .write(true)
                        .open("/dev/full")
                        .unwrap(),
                )
            };
            let mut file = full();
            for _ in 0..3 {
                let error = write(&mut file, b"abc").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                assert_eq!(
                    file.write(b"abc").await.unwrap_err().kind(),
                    ErrorKind::StorageFull
                );
                // Nothing was accepted, so nothing is left that could fail.
                flush(&mut file).await.unwrap();
                close(&mut file).await.unwrap();
            }
            let mut writer = BufWriter::with_capacity(8, full());
            writer.write_all(b"abc").await.unwrap();
            for _ in 0..3 {
                for result in [
                    flush(&mut writer).await,
                    close(&mut writer).await,
                    write(&mut writer, b"a large piece").await.map(drop),
                    write(&mut writer, b"defghi").await.map(drop),
                ] {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
                    assert_eq!(writer.buffer(), b"abc");
                }
            }
            let mut source = futures::io::Cursor::new(bytes());
            let copied = futures::io::copy(&mut source, &mut full()).await;
            assert_eq!(copied.unwrap_err().kind(), ErrorKind::StorageFull);
            // Streams: the peer is gone, and the next write finds that out.
            let (near, far) = UnixStream::pair().unwrap();
            drop(far);
            let (_reading, mut writing) = near.into_split();
            assert_eq!(
                write(&mut writing, b"abc").await.unwrap_err().kind(),
                ErrorKind::BrokenPipe
            );
            let (mut near, far) = pair().await;
            drop(far);
            while write(&mut near, b"abc").await.is_ok() {
                trefoil::yield_now().await;
            }
            let mut command = Command::new("true");
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            child.wait().await.unwrap();
            let mut input = BufWriter::new(&mut input);
            input.write_all(b"abc").await.unwrap();
            for _ in 0..2 {
                assert_eq!(
                    input.flush().await.unwrap_err().kind(),
                    ErrorKind::BrokenPipe
                );
                assert_eq!(input.buffer(), b"abc");
            }
        });
    });
}

/// Polls `future` once; `true` if that has begun something that it still waits for.
fn give_up<T>(future: impl Future<Output = T>) -> bool {
    poll_once(&mut pin!(future)).is_pending()
}

/// A write that was given up continues. The caller that writes these bytes again joins it, as a
/// buffer does whose flush was given up; other bytes come after them.
#[test]
fn a_write_that_is_given_up_is_neither_lost_nor_made_twice() {
    within_deadline(|| {
        let path = path("given-up");
        run(async {
            for _ in 0..50 {
                let mut writer = BufWriter::new(File::create(&path).await.unwrap());
                writer.write_all(b"0123456789").await.unwrap();
                give_up(writer.flush());
                writer.write_all(b"abc").await.unwrap();
                give_up(writer.flush());
                give_up(writer.close());
                writer.flush().await.unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), b"0123456789abc");

                let mut file = File::create(&path).await.unwrap();
                let begun = give_up(write(&mut file, b"one, "));
                let count = write(&mut file, b"one, two").await.unwrap();
                flush(&mut file).await.unwrap();
                let whole = match (begun, count) {
                    (true, 5) => &b"one, "[..],
                    (true, _) => unreachable!("it joins the first"),
                    (false, _) => b"one, one, two",
                };
                assert_eq!(std::fs::read(&path).unwrap(), whole);
                give_up(write(&mut file, b"three"));
                assert_eq!(write(&mut file, b"four").await.unwrap(), 4);
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.ends_with("threefour"), "{text}");
                // A method is a new write in any case.
                give_up(file.write(b"five"));
                file.write_all(b"five").await.unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.ends_with("fivefive"), "{text}");
            }
            // One that fails is reported by the next flush or write, once.
            for flushes in [true, false] {
                let mut full = File::options().write(true).open("/dev/full").await.unwrap();
                if !give_up(full.write(b"abc")) {
                    continue;
                }
                let error = match flushes {
                    true => full.flush().await,
                    false => full.write(b"").await.map(drop),
                };
                assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
                full.flush().await.unwrap();
            }
        });
        std::fs::remove_file(&path).unwrap();
    });
}
