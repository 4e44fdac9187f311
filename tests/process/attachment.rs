//! Open files and sockets in arguments, contexts and results.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline::sample;
use crate::support::{Scratch, Test, descriptors, forever, helper, pool, run_helper, tests, until};

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::abort;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use trefoil::process::channel::{Receiver, Sender};
use trefoil::process::{Attachment, channel};
use trefoil::{ProcessPool, Task, TaskError};

pub(crate) fn helpers() {
    helper(&[
        ("attachment_poor", poor),
        ("attachment_closed_streams", closed_streams),
    ]);
}

/// An attachment for any of these.
fn attach(open: impl Into<OwnedFd>) -> Attachment {
    Attachment::new(open.into())
}

/// A connection: ours, and the one that is given away.
fn connection() -> (TcpStream, Attachment) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, attach(listener.accept().unwrap().0))
}

fn refusal<T: std::fmt::Debug>(result: Result<T, TaskError>) -> String {
    match result {
        Err(error @ TaskError::Codec(_)) => error.to_string(),
        other => panic!("a codec error was expected: {other:?}"),
    }
}

/// A value that nobody can decode, behind a connection that somebody has.
#[derive(Debug, Serialize, Deserialize)]
struct Fragile(Attachment, Undecodable);

#[derive(Debug, Serialize)]
struct Undecodable;

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

/// A program with few descriptors, which keeps what workers send.
fn poor() {
    let few = Rlimit {
        current: Some(600),
        maximum: Some(600),
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let procs = pool(1);
    let back = |count| procs.spawn(count, sockets).join();
    let kept = back(200).unwrap();
    match back(200) {
        Err(TaskError::WorkerDied(exit)) => {
            assert!(exit.to_string().contains("descriptors"), "{exit}");
        }
        other => panic!("{other:?}"),
    }
    let taken: Vec<OwnedFd> = kept.into_iter().map(Attachment::into_fd).collect();
    assert_eq!((back(200).unwrap().len(), taken.len()), (200, 200));
}

/// A program and a worker without standard streams.
fn closed_streams() {
    #[allow(unsafe_code)]
    fn close() {
        // SAFETY: nobody here uses them again, and each is closed once in this process.
        drop(unsafe { rustix::stdio::take_stdin() });
        // SAFETY: as above.
        drop(unsafe { rustix::stdio::take_stdout() });
    }
    let number = |file: &Attachment| file.as_fd().as_raw_fd();
    let procs = pool(1);
    procs.spawn((), |()| close()).join().unwrap();
    close();
    for _ in 0..4 {
        let sent = vec![attach(File::open("/dev/null").unwrap()), connection().1];
        let back = procs.spawn(sent, |files: Vec<Attachment>| {
            let numbers = files.iter().map(|file| file.as_fd().as_raw_fd());
            (numbers.collect::<Vec<_>>(), files)
        });
        let (there, files) = back.join().unwrap();
        let here: Vec<_> = files.iter().map(number).collect();
        assert!(
            there.iter().chain(&here).all(|number| *number > 2),
            "{there:?} {here:?}"
        );
    }
}

/// Each variant is tried with the same attachments.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Named(Attachment, String),
    Counted(Attachment, u32),
    Many(Vec<Attachment>),
}

fn sockets(count: usize) -> Vec<Attachment> {
    (0..count)
        .map(|_| attach(UnixStream::pair().unwrap().0))
        .collect()
}

tests! {
    fn a_program_keeps_no_more_than_it_can() {
        run_helper("attachment_poor");
    }

    /// The parent has no copy of it while the item runs.
    fn the_other_side_sees_the_end_when_the_worker_closes_it() {
        fn serves((connection, go_on): (Attachment, Receiver<()>)) {
            let mut connection = TcpStream::from(connection.into_fd());
            let mut asked = [0; 5];
            connection.read_exact(&mut asked).unwrap();
            connection.write_all(&asked).unwrap();
            drop(connection);
            go_on.recv_blocking().unwrap();
        }
        let procs = pool(2);
        for _ in 0..sample(20) {
            let (mut ours, theirs) = connection();
            let (go_on, waits) = channel(1).unwrap();
            let served = procs.spawn((theirs, waits), serves);
            ours.write_all(b"hello").unwrap();
            let mut answer = String::new();
            ours.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "hello");
            go_on.send_blocking(()).unwrap();
            served.join().unwrap();
        }
    }

    fn a_death_closes_it() {
        let procs = pool(2);
        let (mut ours, theirs) = connection();
        let died = procs.spawn(theirs, |theirs: Attachment| -> () {
            TcpStream::from(theirs.into_fd()).write_all(b"half").unwrap();
            abort()
        });
        let mut answer = String::new();
        ours.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "half");
        assert!(matches!(died.join(), Err(TaskError::WorkerDied(_))));
    }

    /// While one worker has a connection, others that run meanwhile do not, although items were
    /// queued behind it.
    fn nobody_else_has_it() {
        fn keeps((_theirs, go_on): (Attachment, Receiver<()>)) {
            let _ = go_on.recv_blocking();
        }
        let procs = pool(2);
        let (go_on, waits) = channel::<()>(1).unwrap();
        let mut all: Vec<_> = (0..8).map(|_| connection()).collect();
        let tasks: Vec<_> = all
            .iter_mut()
            .map(|(_, theirs)| std::mem::replace(theirs, attach(File::open("/dev/null").unwrap())))
            .map(|theirs| procs.spawn((theirs, waits.clone()), keeps))
            .collect();
        drop((go_on, waits)); // each ends
        for task in tasks {
            task.join().unwrap();
        }
        for (mut ours, _) in all {
            assert_eq!(ours.read(&mut [0]).unwrap(), 0, "somebody has it");
        }
    }

    fn an_open_file_is_the_same_one() {
        let scratch = Scratch::new("open_file");
        std::fs::write(&scratch.0, "one two three").unwrap();
        let mut file = File::open(&scratch.0).unwrap();
        let sent = attach(file.try_clone().unwrap());
        let procs = pool(1);
        let read = procs.spawn(sent, |sent: Attachment| {
            let mut word = [0; 3];
            File::from(sent.into_fd()).read_exact(&mut word).unwrap();
            word
        });
        assert_eq!(read.join().unwrap(), *b"one");
        assert_eq!(file.stream_position().unwrap(), 3, "they share a position");
    }

    /// In a worker and in a program, that have closed theirs.
    #[cfg(target_os = "linux")]
    fn it_never_becomes_a_standard_stream() {
        run_helper("attachment_closed_streams");
    }

    /// As a part of other values, too; and it stays usable where it was.
    fn it_comes_back() {
        let procs = pool(2);
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let answer = procs.spawn(vec![Some(attach(theirs))], |mut all: Vec<Option<Attachment>>| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let place = listener.local_addr().unwrap();
            (all.pop().unwrap(), attach(listener), place, attach(File::open("/dev/null").unwrap()))
        });
        let (back, listener, place, null) = answer.join().unwrap();
        UnixStream::from(back.unwrap().into_fd()).write_all(b"x").unwrap();
        let mut all = String::new();
        ours.read_to_string(&mut all).unwrap();
        assert_eq!(all, "x");
        let listener = TcpListener::from(listener.into_fd());
        let _here = TcpStream::connect(place).unwrap();
        listener.accept().unwrap();
        assert_eq!(File::from(null.into_fd()).read(&mut [0]).unwrap(), 0);
    }

    fn a_context_has_it_for_all_items() {
        let scratch = Scratch::new("context");
        let log = attach(File::options().append(true).open(&scratch.0).unwrap());
        let procs = pool(2);
        let lines = sample(200);
        procs.map_with(&log, 0..lines, |log: &Attachment, n: usize| {
            let mut file = File::from(log.as_fd().try_clone_to_owned().unwrap());
            file.write_all(format!("{n}\n").as_bytes()).unwrap();
        }).unwrap();
        let text = std::fs::read_to_string(&scratch.0).unwrap();
        let mut seen: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..lines));
        drop(File::from(log.into_fd()));
    }

    fn an_item_that_runs_again_gets_it_again() {
        let procs = pool(1);
        let (mut ours, theirs) = connection();
        let call = procs.call(|theirs: Attachment| {
            let mut theirs = TcpStream::from(theirs.into_fd());
            let mut word = [0];
            theirs.read_exact(&mut word).unwrap();
            if word == *b"x" {
                abort();
            }
            theirs.write_all(&word).unwrap();
        });
        let task = call.retry(2).spawn(theirs);
        ours.write_all(b"xxo").unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "o");
        task.join().unwrap();
    }

    fn another_variant_may_have_it() {
        let null = || attach(File::open("/dev/null").unwrap());
        let procs = pool(1);
        let back = |sent: Untagged| sent;
        for round in 0..3 {
            let (mut ours, theirs) = connection();
            let sent = match round {
                0 => Untagged::Named(theirs, "a".to_owned()),
                1 => Untagged::Counted(theirs, 7),
                _ => Untagged::Many(vec![null(), theirs, null()]),
            };
            let came = match procs.spawn(sent, back).join().unwrap() {
                Untagged::Named(one, _) | Untagged::Counted(one, _) => one,
                Untagged::Many(mut all) => all.swap_remove(1),
            };
            TcpStream::from(came.into_fd()).write_all(b"x").unwrap();
            let mut all = String::new();
            ours.read_to_string(&mut all).unwrap();
            assert_eq!(all, "x");
        }
    }

    /// Also if the worker has taken it.
    fn what_is_kept_of_a_failed_item_lacks_it() {
        let procs = ProcessPool::builder().workers(1).on_failed_item(|failed| {
            let argument = failed.argument();
            assert!(argument.decode::<(Attachment, u8)>().is_err());
            failed.note(argument.left_out().unwrap_or("nothing"));
        });
        let procs = procs.build().unwrap();
        let error = procs.spawn((connection().1, 7), |(_, n): (Attachment, u8)| {
            assert_ne!(n, 7);
        }).join().unwrap_err();
        assert!(error.note().unwrap().contains("open file"), "{error}");
    }

    fn what_cannot_be_sent_is_an_error() {
        let null = || attach(File::open("/dev/null").unwrap());
        let many = |count: usize| (0..count).map(|_| null()).collect::<Vec<_>>();
        let procs = pool(1);
        let count = |all: Vec<Attachment>| all.len();
        assert_eq!(procs.spawn(many(253), count).join().unwrap(), 253);
        let text = refusal(procs.spawn(many(254), count).join());
        assert!(text.contains("253"), "{text}");
        let back = |count: usize| (0..count).map(|_| attach(File::open("/dev/null").unwrap()))
            .collect::<Vec<_>>();
        assert_eq!(procs.spawn(253, back).join().unwrap().len(), 253);
        let text = refusal(procs.spawn(254, back).join());
        assert!(text.contains("253"), "{text}");
        let error = serde_json::to_string(&null()).unwrap_err();
        assert!(error.to_string().contains("call"), "{error}");
        let error = serde_json::from_str::<Attachment>("1").unwrap_err();
        assert!(error.to_string().contains("call"), "{error}");
        let plain = ProcessPool::builder().workers(1).plain_workers(true).build().unwrap();
        let text = refusal(plain.spawn(null(), |_: Attachment| ()).join());
        assert!(text.contains("only bytes"), "{text}");
        let text = refusal(plain.spawn(1, back).join());
        assert!(text.contains("only bytes"), "{text}");
        assert_eq!(plain.spawn(7, |n: u32| n).join().unwrap(), 7);
    }

    /// Also if its value is not decoded, or its call is cancelled.
    fn nothing_is_left_open() {
        let procs = pool(2);
        procs.map(0..10, |n: u32| n).unwrap();
        let before = descriptors();
        for round in 0..sample(60) {
            let (mut ours, theirs) = connection();
            match round % 4 {
                0 => drop(refusal(procs.spawn(theirs, |theirs| Fragile(theirs, Undecodable)).join())),
                1 => drop(refusal(
                    procs.spawn(Fragile(theirs, Undecodable), |_: Fragile| ()).join(),
                )),
                2 => drop(procs.spawn(theirs, |theirs: Attachment| theirs).join().unwrap()),
                _ => {
                    let endless = procs.call(|_: Attachment| forever::<()>());
                    let task = endless.timeout(Duration::from_millis(20)).spawn(theirs);
                    assert!(task.join().is_err());
                }
            }
            assert_eq!(ours.read(&mut [0]).map_err(|error| error.kind()), Ok(0));
        }
        until(|| descriptors() <= before + 1);
    }

    /// Connections one after the other, as a server hands them out.
    fn connections_are_served_while_workers_crash() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let procs = pool(2);
        let count = sample(100);
        let clients = std::thread::spawn(move || {
            let answers = (0..count).map(|n| {
                let mut one = TcpStream::connect(place).unwrap();
                one.write_all(&[n as u8]).unwrap();
                let mut answer = Vec::new();
                match one.read_to_end(&mut answer) {
                    Ok(_) => answer,
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => Vec::new(),
                    Err(error) => panic!("{error}"),
                }
            });
            answers.collect::<Vec<_>>()
        });
        let tasks: Vec<_> = (0..count).map(|_| {
            let (one, _) = listener.accept().unwrap();
            procs.spawn(attach(one), |one: Attachment| {
                let mut one = TcpStream::from(one.into_fd());
                let mut asked = [0];
                one.read_exact(&mut asked).unwrap();
                if asked[0] % 10 == 3 {
                    abort();
                }
                one.write_all(&asked).unwrap();
            })
        }).collect();
        let died = tasks.into_iter().map(Task::join).filter(Result::is_err).count();
        let answers = clients.join().unwrap();
        let expected: Vec<Vec<u8>> = (0..count)
            .map(|n| if n as u8 % 10 == 3 { vec![] } else { vec![n as u8] }).collect();
        assert_eq!(answers, expected);
        assert_eq!(died, (0..count).filter(|n| *n as u8 % 10 == 3).count());
    }

    /// A value, and through a channel: only calls carry them.
    fn a_channel_refuses_it() {
        let (sender, _receiver): (Sender<Attachment>, Receiver<Attachment>) = channel(1).unwrap();
        let null = attach(File::open("/dev/null").unwrap());
        let text = refusal(sender.send_blocking(null));
        assert!(text.contains("descriptors"), "{text}");
    }
}
