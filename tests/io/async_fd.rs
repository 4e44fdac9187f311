//! `AsyncFd`: which descriptors can be waited for, and the errors for others.

use std::fs::File;
use std::io::{ErrorKind, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use trefoil::io::AsyncFd;
use trefoil::time::{sleep, timeout};
use trefoil::{EventLoop, run, spawn, yield_now};

use crate::support::{LONG, alone, count_fds, poll_once, within_deadline};

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn a_pipe_says_so_as_long_as_it_is_so() {
    within_deadline(|| {
        run(async {
            let (reader, mut writer) = pipe().unwrap();
            let reader = AsyncFd::new(reader).unwrap();
            assert!(timeout(MOMENT, reader.readable()).await.is_err());
            writer.write_all(b"abc").unwrap();
            let mut byte = [0];
            for expected in *b"abc" {
                // Waiting twice takes nothing out of the pipe.
                reader.readable().await.unwrap();
                reader.readable().await.unwrap();
                reader.get_ref().read_exact(&mut byte).unwrap();
                assert_eq!(byte, [expected]);
            }
            assert!(timeout(MOMENT, reader.readable()).await.is_err());
            // A task waits when data comes, and again after it was read.
            let waiting = Arc::new(reader);
            let task = spawn({
                let waiting = waiting.clone();
                async move { waiting.readable().await }
            });
            yield_now().await;
            writer.write_all(b"d").unwrap();
            task.await.unwrap().unwrap();
            waiting.as_ref().get_ref().read_exact(&mut byte).unwrap();
            assert!(timeout(MOMENT, waiting.readable()).await.is_err());
            // The end is readable, for ever.
            drop(writer);
            for _ in 0..3 {
                waiting.readable().await.unwrap();
                assert_eq!(waiting.as_ref().get_ref().read(&mut byte).unwrap(), 0);
            }
        });
    });
}

#[test]
fn a_full_pipe_is_writable_once_there_is_room_or_no_reader() {
    within_deadline(|| {
        run(async {
            let (mut reader, writer) = pipe().unwrap();
            let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
            rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
            let writer = AsyncFd::new(writer).unwrap();
            let chunk = [7; 4096];
            let mut count = 0;
            while let Ok(Ok(written)) =
                timeout(MOMENT, writer.write_with(|mut writer| writer.write(&chunk))).await
            {
                count += written;
            }
            assert!(count >= 4096);
            assert!(timeout(MOMENT, writer.writable()).await.is_err());
            reader.read_exact(&mut vec![0; count]).unwrap();
            writer.writable().await.unwrap();
            drop(reader);
            writer.writable().await.unwrap();
            // (A child that another test starts has the reader, too, until it executes its
            // program.)
            let error = loop {
                let written = writer.write_with(|mut writer| writer.write(&chunk)).await;
                match written {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[cfg(target_os = "linux")] // elsewhere there are none
#[test]
fn a_counter() {
    use rustix::event::{EventfdFlags, eventfd};
    within_deadline(|| {
        run(async {
            let counter = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
            let counter = AsyncFd::new(counter).unwrap();
            assert!(timeout(MOMENT, counter.readable()).await.is_err());
            rustix::io::write(&counter, &3_u64.to_ne_bytes()).unwrap();
            counter.readable().await.unwrap();
            let mut value = [0; 8];
            rustix::io::read(&counter, &mut value).unwrap();
            assert_eq!(u64::from_ne_bytes(value), 3);
            assert!(timeout(MOMENT, counter.readable()).await.is_err());
        });
    });
}

#[test]
fn a_socket_and_a_borrowed_descriptor() {
    within_deadline(|| {
        run(async {
            let (near, far) = UnixDatagram::pair().unwrap();
            let near = OwnedFd::from(near);
            // Lent and given back, again and again, also from other threads.
            for round in 0..20 {
                let near: &OwnedFd = &near;
                let lent = AsyncFd::new(near.as_fd()).unwrap();
                assert!(timeout(MOMENT / 5, lent.readable()).await.is_err());
                rustix::io::write(&far, b"x").unwrap();
                lent.readable().await.unwrap();
                rustix::io::read(near, &mut [0; 4]).unwrap();
                if round % 2 == 0 {
                    thread::scope(|scope| drop(scope.spawn(move || drop(lent))));
                } else {
                    assert!(lent.into_inner().as_fd().try_clone_to_owned().is_ok());
                }
            }
        });
    });
}

#[test]
fn what_cannot_be_waited_for_is_refused_in_words() {
    within_deadline(|| {
        run(async {
            let file = File::open(std::env::current_exe().unwrap()).unwrap();
            let directory = File::open("/").unwrap();
            for (refused, words) in [(file, "regular file"), (directory, "directory")] {
                let error = AsyncFd::new(refused).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains(words), "{error}");
            }
            // It never blocks, so it is always ready.
            let null = AsyncFd::new(File::open("/dev/null").unwrap()).unwrap();
            null.readable().await.unwrap();
            null.writable().await.unwrap();
        });
    });
}

/// In a process of its own, because no other code may get the descriptor's number meanwhile.
#[test]
fn a_closed_descriptor_is_an_error_at_the_next_question() {
    alone(
        "async_fd::a_closed_descriptor_is_an_error_at_the_next_question",
        "",
        || {
            run(async {
                // Closed before any wait for it.
                let (reader, _writer) = pipe().unwrap();
                let fresh = AsyncFd::new(lent(&reader)).unwrap();
                let number = lent(&reader);
                drop(reader);
                let error = fresh.readable().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                let error = AsyncFd::new(number).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                // Closed while the loop watches it, which the kernel does not report.
                let (reader, _writer) = pipe().unwrap();
                let watched = AsyncFd::new(lent(&reader)).unwrap();
                assert!(timeout(MOMENT, watched.readable()).await.is_err());
                drop(reader);
                for _ in 0..2 {
                    let asked = timeout(LONG, watched.readable()).await.unwrap();
                    let error = asked.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::InvalidInput);
                    assert!(error.to_string().contains("is closed"), "{error}");
                    let asked = timeout(LONG, watched.writable()).await.unwrap();
                    assert_eq!(asked.unwrap_err().kind(), ErrorKind::InvalidInput);
                }
            });
        },
    );
}

/// The descriptor without its owner, as a C library would hand it out.
#[allow(unsafe_code)]
fn lent(owner: &impl AsFd) -> BorrowedFd<'static> {
    let number = owner.as_fd().as_raw_fd();
    // SAFETY: this is what the test is about: the descriptor may be closed, and no other code gets
    // its number.
    unsafe { BorrowedFd::borrow_raw(number) }
}

#[test]
fn the_same_descriptor_twice_on_one_loop_is_an_error_and_on_two_loops_is_none() {
    within_deadline(|| {
        let (reader, mut writer) = pipe().unwrap();
        let reader: &'static _ = Box::leak(Box::new(reader));
        run(async {
            let first = AsyncFd::new(reader).unwrap();
            let second = AsyncFd::new(reader).unwrap();
            assert!(timeout(MOMENT, first.readable()).await.is_err());
            let error = second.readable().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert!(
                error.to_string().contains("watched by this event loop"),
                "{error}"
            );
            // A duplicate is another descriptor, and the first one continues to work.
            let third = AsyncFd::new(reader.try_clone().unwrap()).unwrap();
            assert!(timeout(MOMENT, third.readable()).await.is_err());
            let elsewhere = thread::spawn(move || {
                run(async { AsyncFd::new(reader).unwrap().readable().await })
            });
            let waiting = spawn(async move { first.readable().await });
            yield_now().await;
            writer.write_all(b"x").unwrap();
            waiting.await.unwrap().unwrap();
            third.readable().await.unwrap();
            elsewhere.join().unwrap().unwrap();
            // The first is dropped, so the second is no longer refused.
            reader.read(&mut [0]).map(drop).unwrap();
            let again = spawn(async move { second.readable().await });
            yield_now().await;
            writer.write_all(b"y").unwrap();
            again.await.unwrap().unwrap();
        });
    });
}

/// The system forgets a descriptor that is closed, whatever became of who waited for it.
#[test]
fn a_number_is_watched_again_after_its_descriptor_was_closed() {
    alone(
        "async_fd::a_number_is_watched_again_after_its_descriptor_was_closed",
        "",
        || {
            run(async {
                let (reader, _writer) = pipe().unwrap();
                let number = reader.as_raw_fd();
                let leaked = AsyncFd::new(&reader).unwrap();
                assert!(timeout(MOMENT, leaked.readable()).await.is_err());
                std::mem::forget(leaked);
                drop(reader);
                let (reader, mut writer) = pipe().unwrap();
                assert_eq!(reader.as_raw_fd(), number, "the lowest that is free");
                let reader = AsyncFd::new(reader).unwrap();
                let elapsed = timeout(MOMENT, reader.readable()).await;
                assert!(elapsed.is_err(), "{elapsed:?}");
                writer.write_all(b"x").unwrap();
                timeout(LONG, reader.readable()).await.unwrap().unwrap();
            });
        },
    );
}

trait ReadRef {
    fn read(&self, buffer: &mut [u8]) -> std::io::Result<usize>;
}

impl ReadRef for std::io::PipeReader {
    fn read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Read::read(&mut &*self, buffer)
    }
}

#[test]
fn off_its_loop_it_is_an_error_and_dropping_is_safe_anywhere() {
    alone(
        "async_fd::off_its_loop_it_is_an_error_and_dropping_is_safe_anywhere",
        "",
        || {
            let before = count_fds();
            let (reader, writer) = pipe().unwrap();
            let reader = Arc::new(AsyncFd::new(reader).unwrap());
            let off = poll_once(&mut Box::pin(reader.readable()));
            assert!(matches!(off, std::task::Poll::Ready(Err(_))));
            run(async {
                assert!(timeout(MOMENT, reader.readable()).await.is_err());
            });
            let error = run(reader.readable()).unwrap_err();
            assert!(error.to_string().contains("another event loop"), "{error}");
            drop((reader, writer));
            assert_eq!(count_fds(), before);

            // A waiting future is dropped on another thread while its loop runs.
            run(async {
                let (reader, mut writer) = pipe().unwrap();
                let reader = Arc::new(AsyncFd::new(reader).unwrap());
                for _ in 0..50 {
                    let reader = reader.clone();
                    let mut waiting = Box::pin(async move { reader.readable().await });
                    assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
                    let dropped = thread::spawn(move || drop(waiting));
                    sleep(Duration::from_micros(100)).await;
                    dropped.join().unwrap();
                }
                writer.write_all(b"x").unwrap();
                reader.readable().await.unwrap();
            });
            // The source itself is dropped after its loop has ended.
            let (tell, told) = mpsc::channel();
            let event_loop = EventLoop::new().unwrap();
            let (reader, writer) = pipe().unwrap();
            let reader = AsyncFd::new(reader).unwrap();
            let task = event_loop.handle().spawn(async move {
                assert!(timeout(MOMENT, reader.readable()).await.is_err());
                tell.send(reader).unwrap();
            });
            event_loop.block_on(timeout(LONG, task)).unwrap().unwrap();
            drop(event_loop);
            let reader = told.recv().unwrap();
            thread::spawn(move || drop(reader)).join().unwrap();
            drop(writer);
            assert_eq!(count_fds(), before);
        },
    );
}

/// Regular files by their type, but the kernel reports their changes.
#[cfg(target_os = "linux")]
#[test]
fn files_of_the_kernel_can_be_waited_for() {
    within_deadline(|| {
        run(async {
            let mounts = File::open("/proc/self/mounts").unwrap();
            let mounts = AsyncFd::try_new(mounts).unwrap();
            mounts.readable().await.unwrap();
            // The descriptor comes back with the error.
            let file = File::open(std::env::current_exe().unwrap()).unwrap();
            let (mut file, error) = AsyncFd::try_new(file).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            file.read_exact(&mut [0; 4]).unwrap();
        });
    });
}

/// Urgent data is not readable as long as nothing else is there; what `epoll` watches it with is.
#[cfg(target_os = "linux")]
#[test]
fn an_epoll_descriptor_is_readable_when_there_is_urgent_data() {
    use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create};
    use std::net::{TcpListener, TcpStream};
    within_deadline(|| {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (far, _) = listener.accept().unwrap();
            let watched = create(CreateFlags::CLOEXEC).unwrap();
            add(&watched, &near, EventData::new_u64(0), EventFlags::PRI).unwrap();
            let near = AsyncFd::new(near).unwrap();
            let watched = AsyncFd::new(watched).unwrap();
            assert!(timeout(MOMENT, watched.readable()).await.is_err());
            let flags = rustix::net::SendFlags::OOB;
            assert_eq!(rustix::net::send(&far, b"!", flags), Ok(1));
            timeout(LONG, watched.readable()).await.unwrap().unwrap();
            assert!(timeout(MOMENT, near.readable()).await.is_err());
            (&far).write_all(b"abc").unwrap();
            timeout(LONG, near.readable()).await.unwrap().unwrap();
        });
    });
}

/// The end of a pipe that nobody reads is an error for its writer, as long as it is so.
#[test]
fn a_pipe_without_a_reader_is_writable_for_ever() {
    within_deadline(|| {
        run(async {
            let (reader, mut writer) = pipe().unwrap();
            let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
            rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
            while writer.write(&[0; 4096]).is_ok() {} // so that there is no room
            let writer = AsyncFd::new(writer).unwrap();
            assert!(timeout(MOMENT, writer.writable()).await.is_err());
            drop(reader);
            for _ in 0..3 {
                timeout(LONG, writer.writable()).await.unwrap().unwrap();
            }
        });
    });
}
