//! tokio's traits on our streams, by tokio's own functions: what is copied arrives, however
//! little room there is at a time, vectored or not, and ends arrive as ends.

use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use crate::support::{connected, noise, within_deadline};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter,
    ReadBuf, copy_bidirectional_with_sizes,
};
use trefoil::io::{Command, TcpListener, TcpStream, UnixStream, fs};
use trefoil::{spawn, time, yield_now};

/// Both directions through a middle man with small buffers; a slow reader makes every write a
/// partial one; each side's end goes through by itself.
#[test]
fn copied_both_ways_through_small_buffers() {
    for (buffer, length) in [
        (1, 20_000),
        (7, 50_000),
        (4096, 1 << 20),
        (1 << 16, 2 << 20),
    ] {
        within_deadline(move || {
            trefoil::run(async move {
                let (near, mut left) = connected().await;
                let (mut right, far) = UnixStream::pair().unwrap();
                let middle = spawn(async move {
                    copy_bidirectional_with_sizes(&mut left, &mut right, buffer, buffer).await
                });
                let sent = noise(length);
                let back = noise(length / 2);
                let (near_reader, near_writer) = near.into_split();
                let (far_reader, far_writer) = far.into_split();
                let talk = |mut writer: Box<dyn AsyncWrite + Unpin>, what: hyper::body::Bytes| {
                    spawn(async move {
                        writer.write_all(&what).await.unwrap();
                        writer.shutdown().await.unwrap();
                        // Still open: the end has come by `shutdown`.
                        writer
                    })
                };
                let hear = |mut reader: Box<dyn AsyncRead + Unpin>, pause: bool| {
                    spawn(async move {
                        let mut got = Vec::new();
                        let mut piece = [0; 50_000];
                        loop {
                            match reader.read(&mut piece).await.unwrap() {
                                0 => return got,
                                count => got.extend_from_slice(&piece[..count]),
                            }
                            if pause && got.len() % 5 == 0 {
                                time::sleep(Duration::from_micros(200)).await;
                            }
                        }
                    })
                };
                let talking = talk(Box::new(near_writer), sent.clone());
                let answering = talk(Box::new(far_writer), back.clone());
                let heard = hear(Box::new(far_reader), true);
                let answer = hear(Box::new(near_reader), false);
                assert!(heard.await.unwrap() == sent);
                assert!(answer.await.unwrap() == back);
                let (there, here) = middle.await.unwrap().unwrap();
                assert_eq!((there, here), (length as u64, length as u64 / 2));
                drop((talking.await.unwrap(), answering.await.unwrap()));
            });
        });
    }
}

/// One end is over, the other direction goes on.
#[test]
fn shutdown_closes_one_direction() {
    within_deadline(|| {
        trefoil::run(async {
            let (mut near, far) = connected().await;
            near.write_all(b"question").await.unwrap();
            AsyncWriteExt::shutdown(&mut near).await.unwrap();
            AsyncWriteExt::shutdown(&mut near).await.unwrap(); // twice is as once
            let mut question = String::new();
            far.read_to_string(&mut question).await.unwrap();
            assert_eq!(question, "question");
            far.write_all(b"answer").await.unwrap();
            drop(far);
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "answer");
            let error = AsyncWriteExt::write(&mut near, b"more").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn vectored_writes_are_one_call() {
    within_deadline(|| {
        trefoil::run(async {
            let (mut near, mut far) = UnixStream::pair().unwrap();
            assert!(AsyncWrite::is_write_vectored(&near));
            let pieces: Vec<Vec<u8>> = (0..100).map(|n| vec![n; usize::from(n)]).collect();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let whole = pieces.concat();
            let count = AsyncWriteExt::write_vectored(&mut near, &slices)
                .await
                .unwrap();
            assert_eq!(count, whole.len());
            let mut got = vec![0; count];
            AsyncReadExt::read_exact(&mut far, &mut got).await.unwrap();
            assert!(got == whole);
        });
    });
}

/// Memory without a value is written from its unfilled part on, no further than there is room, and
/// what was filled stays.
#[test]
fn a_partly_filled_buffer_is_filled_further() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            far.write_all(b"cdefgh").await.unwrap();
            let mut memory = [MaybeUninit::<u8>::uninit(); 6];
            let mut buffer = ReadBuf::uninit(&mut memory);
            buffer.put_slice(b"ab");
            for expected in [&b"abcdef"[..], b"abcdef"] {
                // The second time there is no room, which is no end and no wait.
                std::future::poll_fn(|cx| Pin::new(&mut &near).poll_read(cx, &mut buffer))
                    .await
                    .unwrap();
                assert_eq!(buffer.filled(), expected);
            }
            let mut rest = [0; 2];
            near.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"gh");
        });
    });
}

/// A shared reference is a stream as well: one task reads while another writes.
#[test]
fn references_read_and_write() {
    within_deadline(|| {
        trefoil::run(async {
            let (near, far) = connected().await;
            let near = Rc::new(near);
            let reading = spawn({
                let near = near.clone();
                async move {
                    let mut line = String::new();
                    BufReader::new(&*near).read_line(&mut line).await.unwrap();
                    line
                }
            });
            yield_now().await;
            let mut writer = BufWriter::new(&*near);
            writer.write_all(b"out").await.unwrap();
            writer.flush().await.unwrap();
            let mut got = [0; 3];
            far.read_exact(&mut got).await.unwrap();
            far.write_all(b"in\n").await.unwrap();
            assert_eq!((&got, reading.await.unwrap().as_str()), (b"out", "in\n"));
        });
    });
}

/// A child's pipes, and files.
#[test]
fn pipes_and_files() {
    within_deadline(|| {
        trefoil::run(async {
            let mut child = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (mut input, mut output) =
                (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let sent = noise(500_000);
            let copy = sent.clone();
            let writing = spawn(async move {
                AsyncWriteExt::write_all(&mut input, &copy).await.unwrap();
                AsyncWriteExt::shutdown(&mut input).await.unwrap();
            });
            let mut got = Vec::new();
            AsyncReadExt::read_to_end(&mut output, &mut got)
                .await
                .unwrap();
            writing.await.unwrap();
            assert!(got == sent);
            assert!(child.wait().await.unwrap().success());

            let path = std::env::temp_dir().join(format!("trefoil-tokio-{}", std::process::id()));
            let mut file = fs::File::create(&path).await.unwrap();
            tokio::io::copy(&mut &sent[..], &mut file).await.unwrap();
            AsyncWriteExt::shutdown(&mut file).await.unwrap();
            let mut got = Vec::new();
            let mut file = fs::File::open(&path).await.unwrap();
            AsyncReadExt::read_to_end(&mut file, &mut got)
                .await
                .unwrap();
            std::fs::remove_file(&path).unwrap();
            assert!(got == sent);
        });
    });
}

/// A reset is an error, and a stream off its loop is one in words.
#[test]
fn errors_come_through() {
    within_deadline(|| {
        let stray = trefoil::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut near = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (far, _) = listener.accept().await.unwrap();
            near.write_all(b"never read").await.unwrap();
            drop(far); // with bytes unread: a reset
            let error = AsyncReadExt::read(&mut near, &mut [0; 8])
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            near
        });
        trefoil::run(async move {
            let mut stray = stray;
            let error = AsyncReadExt::read(&mut stray, &mut [0; 8])
                .await
                .unwrap_err();
            assert!(error.to_string().contains("another event loop"), "{error}");
        });
    });
}
