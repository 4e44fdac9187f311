//! Files off the loop: one position, dropped futures, errors that come late.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};
use trefoil::io::fs::{self, File};
use trefoil::time::timeout;
use trefoil::{join_all, run, spawn};

use crate::support::{
    LONG, alone, count_fds, count_threads, poll_once, wait_until, within_deadline,
};

/// A directory for one test, removed when dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("trefoil-files-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The default of futures-io writes the first slice only, so each slice would be a separate call.
#[test]
fn all_slices_go_at_once() {
    within_deadline(|| {
        let place = Place::new("slices");
        run(async {
            let path = place.at("file");
            let mut file = File::create(&path).await.unwrap();
            let slices = [&b"one, "[..], b"", b"two, ", b"three"].map(IoSlice::new);
            let count = poll_fn(|cx| Pin::new(&mut file).poll_write_vectored(cx, &slices)).await;
            assert_eq!(count.unwrap(), 15);
            // As many as one call moves.
            let large = vec![b'x'; 600 * 1024];
            let slices = [&large[..], &large].map(IoSlice::new);
            let count = poll_fn(|cx| Pin::new(&mut file).poll_write_vectored(cx, &slices)).await;
            assert_eq!(count.unwrap(), 1024 * 1024);
            let nothing = [IoSlice::new(b"")];
            let count = poll_fn(|cx| Pin::new(&mut file).poll_write_vectored(cx, &nothing)).await;
            assert_eq!(count.unwrap(), 0);
            file.flush().await.unwrap();
            let written = std::fs::read(&path).unwrap();
            assert!(written.starts_with(b"one, two, threexx"));
            assert_eq!(written.len(), 15 + 1024 * 1024);
        });
    });
}

#[test]
fn whole_files_and_their_errors() {
    within_deadline(|| {
        let place = Place::new("whole");
        run(async {
            let path = place.at("file");
            let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
            fs::write(&path, &bytes).await.unwrap();
            assert_eq!(fs::read(&path).await.unwrap(), bytes);
            let text = fs::read_to_string(&path).await.unwrap_err();
            assert_eq!(text.kind(), ErrorKind::InvalidData);
            assert_eq!(fs::metadata(&path).await.unwrap().len(), 3_000_000);
            assert_eq!(
                fs::read(place.at("none")).await.unwrap_err().kind(),
                ErrorKind::NotFound
            );
            assert!(fs::write(&place.0, "x").await.is_err());
            let exists = File::create_new(&path).await.unwrap_err();
            assert_eq!(exists.kind(), ErrorKind::AlreadyExists);
            // Many tasks at once, each with a file of its own.
            let tasks: Vec<_> = (0..200_u32)
                .map(|n| {
                    let path = place.at(&format!("many-{n}"));
                    spawn(async move {
                        fs::write(&path, n.to_string()).await?;
                        fs::read_to_string(&path).await
                    })
                })
                .collect();
            for (n, task) in join_all(tasks).await.into_iter().enumerate() {
                assert_eq!(task.unwrap().unwrap(), n.to_string());
            }
        });
        // No loop is needed.
        let read = timeout(LONG, Box::pin(fs::read(place.at("many-7")))).join();
        assert_eq!(read.unwrap().unwrap(), b"7");
    });
}

/// Drops the future of a read that has begun. Returns how many bytes other reads had read until
/// then.
fn give_up_a_read(file: &mut File) -> usize {
    let mut taken = 0;
    loop {
        let mut buffer = [0; 20];
        match poll_once(&mut Box::pin(file.read(&mut buffer))) {
            Poll::Ready(count) => taken += count.unwrap(),
            Poll::Pending => return taken,
        }
    }
}

#[test]
fn one_position_whatever_is_given_up() {
    within_deadline(|| {
        let place = Place::new("position");
        run(async {
            let path = place.at("file");
            let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let mut file = File::options()
                .read(true)
                .write(true)
                .open(&path)
                .await
                .unwrap();
            // Reads that are dropped at any stage lose nothing.
            let mut read = Vec::new();
            while read.len() < 100 {
                let mut buffer = [0; 7];
                match timeout(Duration::ZERO, file.read(&mut buffer)).await {
                    Ok(count) => read.extend_from_slice(&buffer[..count.unwrap()]),
                    Err(_) => {
                        let count = file.read(&mut buffer[..3]).await.unwrap();
                        read.extend_from_slice(&buffer[..count]);
                    }
                }
            }
            assert_eq!(read, bytes[..read.len()]);
            // The bytes of a dropped read are put back before a write, and before a relative seek.
            let at = read.len() + give_up_a_read(&mut file);
            file.write_all(b"here").await.unwrap();
            let taken = give_up_a_read(&mut file);
            let position = file.seek(SeekFrom::Current(0)).await.unwrap();
            assert_eq!(position, (at + 4 + taken) as u64);
            let now = std::fs::read(&path).unwrap();
            assert_eq!(&now[at..at + 4], b"here");
            assert_eq!(
                (&now[..at], &now[at + 4..]),
                (&bytes[..at], &bytes[at + 4..])
            );
            // The result of a dropped seek is not returned by another.
            for target in [10, 20, 30] {
                let _ = timeout(Duration::ZERO, file.seek(SeekFrom::Start(target + 1))).await;
                assert_eq!(file.seek(SeekFrom::Start(target)).await.unwrap(), target);
                let _ = timeout(Duration::ZERO, file.seek(SeekFrom::Current(1))).await;
                let here = file.seek(SeekFrom::Current(1)).await.unwrap();
                assert!(here == target + 1 || here == target + 2, "{here}");
            }
            assert!(file.seek(SeekFrom::Current(-1000)).await.is_err());
            assert_eq!(file.seek(SeekFrom::End(-1)).await.unwrap(), 99_999);
            let mut rest = Vec::new();
            file.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, bytes[99_999..]);
            assert_eq!(file.read(&mut [0; 4]).await.unwrap(), 0);
            let eof = file.read_exact(&mut [0; 4]).await.unwrap_err();
            assert_eq!(eof.kind(), ErrorKind::UnexpectedEof);
            file.seek(SeekFrom::Start(5)).await.unwrap();
            let mut one = [0];
            file.read(&mut one).await.unwrap();
            assert_eq!(one, [5]);
            let std = file.into_std().await.unwrap();
            assert_eq!(std::io::Seek::stream_position(&mut &std).unwrap(), 6);
        });
    });
}

#[test]
fn the_traits_write_as_the_methods_do() {
    within_deadline(|| {
        let place = Place::new("traits");
        run(async {
            let mut full = File::options().write(true).open("/dev/full").await.unwrap();
            let poll = |cx: &mut std::task::Context<'_>, full: &mut File| {
                Pin::new(full).poll_write(cx, b"abc")
            };
            let error = poll_fn(|cx| poll(cx, &mut full)).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
            full.flush().await.unwrap();
            assert_eq!(
                full.write(b"abc").await.unwrap_err().kind(),
                ErrorKind::StorageFull
            );
            assert_eq!(
                full.write_all(b"abc").await.unwrap_err().kind(),
                ErrorKind::StorageFull
            );

            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .open(place.at("file"))
                .await
                .unwrap();
            for piece in [&b"abc"[..], b"def", b"ghi"] {
                let count = poll_fn(|cx| Pin::new(&mut file).poll_write(cx, piece));
                assert_eq!(count.await.unwrap(), 3);
            }
            let sought = poll_fn(|cx| Pin::new(&mut file).poll_seek(cx, SeekFrom::Start(1)));
            assert_eq!(sought.await.unwrap(), 1);
            let mut buffer = [0; 16];
            let count = poll_fn(|cx| Pin::new(&mut file).poll_read(cx, &mut buffer));
            assert_eq!(count.await.unwrap(), 8);
            assert_eq!(&buffer[..8], b"bcdefghi");
            // The file is dropped during a write, which continues.
            let _begun = poll_once(&mut Box::pin(poll_fn(|cx| {
                Pin::new(&mut file).poll_write(cx, b"jkl")
            })));
            drop(file);
            wait_until("the end of the write", || {
                std::fs::read(place.at("file")).unwrap() == b"abcdefghijkl"
            });
        });
    });
}

#[test]
fn a_large_directory_and_one_that_is_given_up() {
    alone(
        "files::a_large_directory_and_one_that_is_given_up",
        "",
        || {
            let place = Place::new("directory");
            for n in 0..1000 {
                std::fs::write(place.at(&n.to_string()), b"").unwrap();
            }
            let before = count_fds();
            run(async {
                let mut entries = fs::read_dir(&place.0).await.unwrap();
                let mut numbers = Vec::new();
                loop {
                    match timeout(Duration::ZERO, entries.next_entry()).await {
                        Err(_) => {}
                        Ok(entry) => match entry.unwrap() {
                            None => break,
                            Some(entry) => {
                                let name = entry.file_name().into_string().unwrap();
                                numbers.push(name.parse::<u32>().unwrap());
                            }
                        },
                    }
                }
                assert!(entries.next_entry().await.unwrap().is_none());
                numbers.sort_unstable();
                assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
                let mut entries = fs::read_dir(&place.0).await.unwrap();
                entries.next_entry().await.unwrap().unwrap();
                assert!(fs::read_dir(place.at("none")).await.is_err());
            });
            wait_until("the end of all descriptors", || count_fds() <= before);
        },
    );
}

/// The bytes of a dropped read are not lost if a seek fails.
#[test]
fn a_seek_that_fails_loses_nothing() {
    let place = Place::new("seek");
    let path = place.at("numbers");
    std::fs::write(&path, (0..=255_u8).collect::<Vec<_>>()).unwrap();
    run(async {
        let mut buffer = [0; 100];
        // The thread may have read before the first poll is over; then there is nothing to drop.
        let mut file = loop {
            let mut file = File::open(&path).await.unwrap();
            if poll_once(&mut Box::pin(file.read(&mut buffer))).is_pending() {
                break file;
            }
        };
        assert!(file.seek(SeekFrom::Current(-1000)).await.is_err());
        let mut byte = [1; 1];
        file.read(&mut byte).await.unwrap();
        assert_eq!(byte, [0], "what was read and not taken is lost");
    });
}

/// Two handles of one open file have one position, and each keeps it open.
#[test]
fn a_clone_shares_the_position_and_outlives_the_first() {
    within_deadline(|| {
        let place = Place::new("clone");
        run(async {
            let path = place.at("file");
            let mut one = File::create(&path).await.unwrap();
            let mut two = one.try_clone().await.unwrap();
            one.write_all(b"one, ").await.unwrap();
            two.write_all(b"two").await.unwrap();
            assert_eq!(one.stream_position().await.unwrap(), 8);
            two.rewind().await.unwrap();
            one.write_all(b"ONE").await.unwrap();
            drop(one);
            two.write_all(b"; ").await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"ONE; two");
        });
    });
}

/// A path that removes what is there when it is dropped, as those of the crate `tempfile` do.
struct Temporary(PathBuf);

impl AsRef<std::path::Path> for Temporary {
    fn as_ref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// As with `std`, whose functions drop their arguments when they return.
#[test]
fn a_path_that_is_passed_by_value_is_dropped_after_the_call() {
    within_deadline(|| {
        let place = Place::new("guards");
        let there = place.at("there");
        let file = || {
            std::fs::write(&there, "abc").unwrap();
            Temporary(there.clone())
        };
        let directory = || {
            std::fs::create_dir(&there).unwrap();
            Temporary(there.clone())
        };
        run(async {
            File::open(file()).await.unwrap();
            let mut options = File::options();
            options.read(true).write(true).open(file()).await.unwrap();
            assert_eq!(fs::read(file()).await.unwrap(), b"abc");
            assert_eq!(fs::read_to_string(file()).await.unwrap(), "abc");
            assert_eq!(fs::metadata(file()).await.unwrap().len(), 3);
            assert_eq!(fs::symlink_metadata(file()).await.unwrap().len(), 3);
            assert!(fs::try_exists(file()).await.unwrap());
            fs::canonicalize(file()).await.unwrap();
            let open = std::fs::metadata(file()).unwrap().permissions();
            fs::set_permissions(file(), open).await.unwrap();
            let other = place.at("other");
            assert_eq!(fs::copy(file(), &other).await.unwrap(), 3);
            fs::rename(file(), &other).await.unwrap();
            std::fs::remove_file(&other).unwrap();
            fs::hard_link(file(), &other).await.unwrap();
            fs::symlink(&other, &there).await.unwrap();
            let link = fs::read_link(Temporary(there.clone())).await;
            assert_eq!(link.unwrap(), other);
            fs::remove_file(file()).await.unwrap();
            fs::remove_dir(directory()).await.unwrap();
            fs::remove_dir_all(directory()).await.unwrap();
            let mut entries = fs::read_dir(directory()).await.unwrap();
            assert!(entries.next_entry().await.unwrap().is_none());
            assert!(!there.exists(), "and it is dropped");
        });
        #[cfg(unix)]
        run(async {
            use trefoil::io::{UnixDatagram, UnixListener, UnixStream};
            let listener = UnixListener::bind(&there).await.unwrap();
            UnixStream::connect(Temporary(there.clone())).await.unwrap();
            drop(listener);
            let socket = || async {
                let receiver = UnixDatagram::bind(&there).await.unwrap();
                (receiver, Temporary(there.clone()))
            };
            let sender = UnixDatagram::unbound().unwrap();
            let (_receiver, path) = socket().await;
            sender.send_to(b"abc", path).await.unwrap();
            let (_receiver, path) = socket().await;
            sender.connect(path).await.unwrap();
            let bound = UnixListener::bind(Temporary(there.clone())).await.unwrap();
            assert!(
                !there.exists(),
                "the path is dropped once the file is there"
            );
            drop(bound);
        });
    });
}

/// A file with these bytes, of which a read that was given up has read some, and nothing was taken.
#[cfg(target_os = "linux")]
async fn read_ahead(path: &PathBuf, bytes: &[u8]) -> File {
    std::fs::write(path, bytes).unwrap();
    loop {
        let mut options = File::options();
        let mut file = options.read(true).write(true).open(path).await.unwrap();
        // The thread may have read before the first poll is over; then there is nothing to drop.
        if poll_once(&mut Box::pin(file.read(&mut [0; 4]))).is_pending() {
            wait_until("the read", || file_position(&file) == 4);
            return file;
        }
    }
}

/// Where the system's next read would begin.
#[cfg(target_os = "linux")]
fn file_position(file: &File) -> u64 {
    use std::os::fd::AsRawFd;
    let about = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let about = std::fs::read_to_string(about).unwrap();
    let position = about.lines().find_map(|line| line.strip_prefix("pos:"));
    position.unwrap().trim().parse().unwrap()
}

#[cfg(target_os = "linux")] // `read_ahead` looks into `/proc`
#[test]
fn a_file_that_is_shortened_has_no_bytes_of_before() {
    within_deadline(|| {
        let place = Place::new("shorter");
        run(async {
            let path = place.at("file");
            for (size, left) in [(0, &b""[..]), (2, b"ab"), (10, b"abcdef\0\0\0\0")] {
                let mut file = read_ahead(&path, b"abcdef").await;
                file.set_len(size).await.unwrap();
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).await.unwrap();
                assert_eq!(bytes, left);
            }
            // A refused one changes nothing.
            let mut file = read_ahead(&path, b"abcdef").await;
            assert!(file.set_len(u64::MAX).await.is_err());
            assert_eq!(file.read(&mut [0; 1]).await.unwrap(), 1);
            assert_eq!(file.stream_position().await.unwrap(), 1);
        });
    });
}

#[cfg(target_os = "linux")] // a filter
#[test]
fn a_call_that_gets_no_thread_loses_nothing() {
    alone(
        "files::a_call_that_gets_no_thread_loses_nothing",
        "",
        || {
            let place = Place::new("no-thread");
            run(async {
                let mut files = Vec::new();
                for name in ["seek", "write", "set_len"] {
                    files.push(read_ahead(&place.at(name), b"abcdef").await);
                }
                wait_until("the end of its threads", || {
                    count_threads("trefoil-helper") == 0
                });
                let clones = [libc::SYS_clone3, libc::SYS_clone];
                crate::refuse::refuse(&clones, libc::EAGAIN).unwrap();
                for (at, file) in files.iter_mut().enumerate() {
                    let error = match at {
                        0 => file.seek(SeekFrom::Current(0)).await.err(),
                        1 => file.write(b"X").await.err(),
                        _ => file.set_len(1).await.err(),
                    };
                    assert_eq!(error.unwrap().kind(), ErrorKind::ResourceBusy);
                    assert_eq!(file_position(file), 4);
                    let mut next = [0; 4];
                    assert_eq!(file.read(&mut next).await.unwrap(), 4);
                    assert_eq!(&next, b"abcd");
                }
            });
        },
    );
}

/// The system writes less than it was asked to when it runs out of room, and reports that only to
/// the next write. A caller that makes room and goes on must write no byte twice.
#[cfg(unix)]
#[test]
fn a_write_that_finds_too_little_room_returns_its_number() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let test = "files::a_write_that_finds_too_little_room_returns_its_number";
    alone(test, "", || {
        crate::handlers::host_sets(libc::SIGXFSZ, libc::SIG_IGN);
        let current = Some(1_000_000);
        let maximum = None;
        setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
        let place = Place::new("room");
        run(async {
            let path = place.at("file");
            let mut file = File::create(&path).await.unwrap();
            let bytes = vec![7; 700_000];
            assert_eq!(file.write(&bytes).await.unwrap(), 700_000);
            assert_eq!(file.write(&bytes).await.unwrap(), 300_000);
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 1_000_000);
            assert!(file.write(&bytes).await.is_err());
            // The error belongs to that call alone.
            file.flush().await.unwrap();
            assert_eq!(file.stream_position().await.unwrap(), 1_000_000);
            // The same through the traits.
            file.seek(SeekFrom::Start(700_000)).await.unwrap();
            let written = poll_fn(|cx| Pin::new(&mut file).poll_write(cx, &bytes)).await;
            assert_eq!(written.unwrap(), 300_000);
            file.flush().await.unwrap();
            file.seek(SeekFrom::Start(700_000)).await.unwrap();
            assert!(file.write_all(&bytes).await.is_err());
            file.flush().await.unwrap();
            // A standard stream may be such a file.
            let path = place.at("stderr");
            rustix::stdio::dup2_stderr(std::fs::File::create(&path).unwrap()).unwrap();
            let mut stderr = trefoil::io::stderr();
            assert_eq!(stderr.write(&bytes).await.unwrap(), 700_000);
            assert_eq!(stderr.write(&bytes).await.unwrap(), 300_000);
            assert!(stderr.write(&bytes).await.is_err());
        });
    });
}

/// A FIFO, and a file that reads and writes it.
#[cfg(target_os = "linux")]
fn fifo(path: &PathBuf) -> File {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
    let file = std::fs::File::options().read(true).write(true).open(path);
    file.unwrap().into()
}

/// Waits until no call runs on another thread. Only in a process of its own.
#[cfg(target_os = "linux")]
fn calls_have_ended() {
    let count = || count_threads("trefoil-helper") == 0;
    wait_until("the end of its threads", count);
}

/// What has no position keeps the bytes of a read that was given up, and takes writes as before.
#[cfg(target_os = "linux")]
#[test]
fn a_file_without_a_position_is_written_after_a_read_that_was_given_up() {
    let test = "files::a_file_without_a_position_is_written_after_a_read_that_was_given_up";
    alone(test, "", || {
        let place = Place::new("fifo");
        run(async {
            let mut line = fifo(&place.at("fifo"));
            let mut bytes = [0; 16];
            assert!(poll_once(&mut Box::pin(line.read(&mut bytes))).is_pending());
            let mut other = std::fs::File::options();
            let mut other = other.write(true).open(place.at("fifo")).unwrap();
            std::io::Write::write_all(&mut other, b"late").unwrap();
            calls_have_ended();
            let sought = line.seek(SeekFrom::Current(0)).await.unwrap_err();
            assert_eq!(sought.kind(), ErrorKind::NotSeekable);
            assert_eq!(
                line.set_len(0).await.unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            line.write_all(b"hello").await.unwrap();
            assert_eq!(
                poll_fn(|cx| Pin::new(&mut line).poll_write(cx, b"!"))
                    .await
                    .unwrap(),
                1
            );
            line.flush().await.unwrap();
            for expected in [&b"late"[..], b"hello!"] {
                let count = line.read(&mut bytes).await.unwrap();
                assert_eq!(&bytes[..count], expected);
            }
        });
    });
}

/// An end that a read found which was given up is none for a file that has grown since. That of a
/// pipe is one: it was taken.
#[cfg(target_os = "linux")]
#[test]
fn an_end_that_was_found_before_does_not_answer_a_later_read() {
    let test = "files::an_end_that_was_found_before_does_not_answer_a_later_read";
    alone(test, "", || {
        let place = Place::new("end");
        run(async {
            let path = place.at("file");
            for round in 0..4 {
                std::fs::write(&path, b"").unwrap();
                // The thread may have read before the first poll is over.
                let mut file = loop {
                    let mut file = File::open(&path).await.unwrap();
                    if poll_once(&mut Box::pin(file.read(&mut [0; 4]))).is_pending() {
                        break file;
                    }
                };
                calls_have_ended();
                std::fs::write(&path, b"abc").unwrap();
                let mut bytes = [0; 3];
                let mut all = Vec::new();
                match round {
                    0 => assert_eq!(file.read(&mut bytes).await.unwrap(), 3),
                    1 => file.read_exact(&mut bytes).await.unwrap(),
                    2 => assert_eq!(file.read_to_end(&mut all).await.unwrap(), 3),
                    _ => {
                        let mut text = String::new();
                        assert_eq!(file.read_to_string(&mut text).await.unwrap(), 3);
                    }
                }
            }
            let writer = fifo(&place.at("fifo"));
            let mut reader = File::open(place.at("fifo")).await.unwrap();
            assert!(poll_once(&mut Box::pin(reader.read(&mut [0; 4]))).is_pending());
            drop(writer);
            calls_have_ended();
            let _writer = std::fs::File::options()
                .write(true)
                .open(place.at("fifo"))
                .unwrap();
            let end = timeout(LONG, reader.read(&mut [0; 4])).await;
            assert_eq!(end.unwrap().unwrap(), 0);
        });
    });
}

/// Entries that are not fetched for want of a thread are asked for again, and the end is not
/// reported before them.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_does_not_end_for_want_of_a_thread() {
    let test = "files::a_directory_does_not_end_for_want_of_a_thread";
    alone(test, "", || {
        let place = Place::new("entries");
        for n in 0..600 {
            std::fs::write(place.at(&n.to_string()), b"").unwrap();
        }
        async fn count(entries: &mut fs::ReadDir) -> (usize, Option<ErrorKind>) {
            let mut found = 0;
            loop {
                match entries.next_entry().await {
                    Ok(Some(_)) => found += 1,
                    Ok(None) => return (found, None),
                    Err(error) => return (found, Some(error.kind())),
                }
            }
        }
        run(async {
            let mut entries = fs::read_dir(&place.0).await.unwrap();
            calls_have_ended();
            let clones = [libc::SYS_clone3, libc::SYS_clone];
            crate::refuse::refuse(&clones, libc::EAGAIN).unwrap();
            let (found, error) = count(&mut entries).await;
            assert!(found < 600);
            assert_eq!(error, Some(ErrorKind::ResourceBusy));
            for _ in 0..3 {
                let still = count(&mut entries).await;
                assert_eq!(
                    still,
                    (0, Some(ErrorKind::ResourceBusy)),
                    "it has not ended"
                );
            }
        });
    });
}
