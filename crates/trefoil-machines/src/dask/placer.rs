//! The process of Python that places workers on the cluster.
//!
//! **Protocol.** `placer.py` describes it: both sides write lines. Two threads write and read them,
//! so that nobody waits for that process, which may be busy or stopped. When it ends, or is killed,
//! the scheduler removes its tasks, and with them the workers.
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/dask/contract.rs::a_placer_that_is_stopped_holds_nobody_up`,
//! `crates/trefoil-machines/tests/dask/losses.rs::a_killed_placer_is_an_error_in_words`.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const PLACER: &str = include_str!("placer.py");
const HOLDER: &str = include_str!("holder.py");

/// How often the workers that are awaited are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A line for the process.
pub(super) struct Line(Vec<u8>);

impl Line {
    pub(super) fn new(name: &str) -> Self {
        Self(name.as_bytes().to_vec())
    }

    /// Adds a word: this name with a value, which may be any bytes.
    pub(super) fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.extend([b" ", name.as_bytes(), b"="].concat());
        for &byte in value.as_ref().as_bytes() {
            match byte {
                b'%' | 0..=32 | 127..=255 => self.0.extend(format!("%{byte:02x}").bytes()),
                byte => self.0.push(byte),
            }
        }
        self
    }

    fn about(name: &str, number: u64) -> Self {
        Self(format!("{name} {number}").into_bytes())
    }

    fn write(mut self, to: &mut impl Write) -> io::Result<()> {
        self.0.push(b'\n');
        to.write_all(&self.0)
    }
}

/// What becomes of the workers that are awaited.
pub(super) struct Look {
    /// These are not wanted any more.
    pub(super) unwanted: Vec<u64>,
    pub(super) is_awaiting: bool,
}

/// What the process reports.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is connected: how many workers the cluster has room for, and an address of this machine
    /// that the cluster reaches.
    Ready(usize, String),
    /// The task of this worker has ended, and why.
    Ended(u64, String),
    /// There is no cluster, or not any more. Nothing comes after it.
    Error(String),
}

impl Answer {
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.split_once(' ')?;
        let two = || rest.split_once(' ').unwrap_or((rest, ""));
        match name {
            "ready" => Some(Self::Ready(two().0.parse().ok()?, two().1.to_owned())),
            "ended" => Some(Self::Ended(two().0.parse().ok()?, two().1.to_owned())),
            "error" => Some(Self::Error(rest.to_owned())),
            _ => None,
        }
    }
}

/// The process, until it is dropped.
#[derive(Debug)]
pub(super) struct Placer {
    process: Child,
    lines: mpsc::Sender<Line>,
}

impl Placer {
    /// Starts the process, and gives it its first line. `on_answer` gets what it answers, on a
    /// thread of its own. `look` is asked now and then which workers are not wanted any more, while
    /// it says that some are awaited.
    pub(super) fn start(
        python: &Path,
        connect: Line,
        on_answer: impl FnMut(Answer) + Send + 'static,
        look: impl FnMut() -> Look + Send + 'static,
    ) -> io::Result<Self> {
        let mut command = Command::new(python);
        command
            .args(["-c", PLACER, HOLDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0); // an interrupt from the terminal does not end it before the pool
        let python = python.display().to_string();
        let mut process = command.spawn().map_err(|error| {
            let words = format!(
                "the Python interpreter `{python}` cannot be started ({error}): install one, with \
                 Dask's `distributed`, or name it with `.python(path)`"
            );
            io::Error::new(error.kind(), words)
        })?;
        let pipes = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let (lines, ordered) = mpsc::channel();
        let placer = Self { process, lines };
        if let (Some(stdin), Some(stdout), Some(stderr)) = pipes {
            let start = |name: &str| thread::Builder::new().name(name.to_owned());
            start("trefoil-dask-out").spawn(move || write(stdin, &ordered, look))?;
            start("trefoil-dask-in").spawn(move || read(stdout, stderr, &python, on_answer))?;
        }
        placer.send(connect);
        Ok(placer)
    }

    /// Never waits.
    pub(super) fn send(&self, line: Line) {
        let _ = self.lines.send(line); // (if the process is gone, its end is reported)
    }

    pub(super) fn place(&self, number: u64) {
        self.send(Line::about("place", number));
    }

    pub(super) fn cancel(&self, number: u64) {
        self.send(Line::about("cancel", number));
    }
}

impl Drop for Placer {
    /// When its connection is gone, the scheduler removes everything that it had: the process has
    /// nothing to do.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes what is sent, until nothing more can be.
fn write(mut stdin: ChildStdin, lines: &mpsc::Receiver<Line>, mut look: impl FnMut() -> Look) {
    let (mut is_awaiting, mut looked) = (false, Instant::now());
    loop {
        let line = if is_awaiting {
            lines.recv_timeout(LOOK)
        } else {
            lines.recv().map_err(Into::into)
        };
        let written = match line {
            Ok(line) => line.write(&mut stdin),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let mut all = written;
        if !is_awaiting || looked.elapsed() >= LOOK {
            let news = look();
            (is_awaiting, looked) = (news.is_awaiting, Instant::now());
            for number in news.unwanted {
                all = all.and_then(|()| Line::about("cancel", number).write(&mut stdin));
            }
        }
        if all.is_err() {
            return; // `read` sees its end, too
        }
    }
}

fn read(stdout: ChildStdout, stderr: ChildStderr, python: &str, mut on_answer: impl FnMut(Answer)) {
    // (Read all the time: a process whose standard error is full stands still.)
    let tail = thread::Builder::new()
        .name("trefoil-dask-stderr".to_owned())
        .spawn(move || tail(stderr));
    let mut is_ready = false;
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        let Some(answer) = Answer::parse(&line) else {
            if is_ready {
                break;
            }
            continue; // what starts Python may print something first
        };
        is_ready |= matches!(answer, Answer::Ready(..));
        let is_last = matches!(answer, Answer::Error(_));
        on_answer(answer);
        if is_last {
            return;
        }
    }
    let words = tail
        .ok()
        .and_then(|tail| tail.join().ok())
        .unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    on_answer(Answer::Error(if is_ready {
        format!(
            "the process of `{python}` that places workers on Dask has ended: it was killed, or has failed"
        )
    } else {
        format!("`{python}` has ended, and says: {}", words.trim())
    }));
}

/// Reads to the end, and returns the last bytes.
fn tail(mut stderr: ChildStderr) -> Vec<u8> {
    const MOST: usize = 16 << 10;
    let (mut tail, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        tail.extend_from_slice(&buffer[..count]);
        let excess = tail.len().saturating_sub(MOST);
        tail.drain(..excess);
    }
    tail
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn words_of_any_bytes_are_one_word_each() {
        let value = OsStr::from_bytes(b"a b%\n\xff=c");
        let line = Line::new("hold")
            .with("argument", value)
            .with("argument", "");
        assert_eq!(line.0, b"hold argument=a%20b%25%0a%ff=c argument=");
    }

    #[test]
    fn answers_are_read() {
        let answer = |line| Answer::parse(line);
        let ready = Answer::Ready(24, "10.0.0.1".to_owned());
        assert_eq!(answer("ready 24 10.0.0.1"), Some(ready));
        let ended = Answer::Ended(7, "out of luck".to_owned());
        assert_eq!(answer("ended 7 out of luck"), Some(ended));
        assert_eq!(
            answer("error no luck"),
            Some(Answer::Error("no luck".to_owned()))
        );
        for wrong in ["", "ready", "ready many 1", "ended x y", "hello there"] {
            assert_eq!(answer(wrong), None, "{wrong}");
        }
    }

    /// The shell stands in for Python.
    fn start(
        script: &str,
        look: impl FnMut() -> Look + Send + 'static,
    ) -> (Placer, mpsc::Receiver<Answer>) {
        let name = format!(
            "trefoil-placer-{}-{:p}",
            std::process::id(),
            &raw const look
        );
        let path = std::env::temp_dir().join(name);
        // (By another process: what this one has open to be written, a child of another thread may
        // have open, too, and then it cannot be executed.)
        let made = Command::new("sh")
            .args(["-c", "printf %s \"$1\" > \"$0\" && chmod 700 \"$0\""])
            .arg(&path)
            .arg(format!("#!/bin/sh\nrm \"$0\"\n{script}\n"))
            .status();
        assert!(made.unwrap().success());
        let (says, said) = mpsc::channel();
        let placer = Placer::start(
            &path,
            Line::new("connect"),
            move |answer| says.send(answer).unwrap(),
            look,
        );
        (placer.unwrap(), said)
    }

    fn calm() -> Look {
        Look {
            unwanted: Vec::new(),
            is_awaiting: false,
        }
    }

    const SOON: Duration = Duration::from_secs(60);

    /// More than a pipe has room for, to a process that does not read yet.
    #[test]
    fn nobody_waits_for_a_process_that_does_not_read() {
        const MANY: u64 = 20_000;
        let script = format!(
            "read -r x; echo ready 300 here; kill -STOP $$; n=0; while [ $n -lt {MANY} ]; do read -r x; n=$((n+1)); done; echo ended 1 $x; cat"
        );
        let (placer, said) = start(&script, calm);
        assert_eq!(
            said.recv_timeout(SOON),
            Ok(Answer::Ready(300, "here".to_owned()))
        );
        (0..MANY).for_each(|number| placer.place(number));
        let pid = rustix::process::Pid::from_child(&placer.process);
        let stat = format!("/proc/{pid}/stat");
        while cfg!(target_os = "linux") && !std::fs::read_to_string(&stat).unwrap().contains(") T ")
        {
            thread::yield_now(); // it has not stopped yet
        }
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
        let last = format!("place {}", MANY - 1);
        assert_eq!(said.recv_timeout(SOON), Ok(Answer::Ended(1, last)));
    }

    #[test]
    fn workers_that_nobody_wants_are_cancelled() {
        let mut rounds = 0;
        let look = move || {
            rounds += 1;
            Look {
                unwanted: if rounds == 3 { vec![8, 9] } else { Vec::new() },
                is_awaiting: rounds < 3,
            }
        };
        let (placer, said) = start(
            "read -r x; read -r a; read -r b; read -r c; echo ended 1 $a, $b, $c",
            look,
        );
        placer.place(7);
        let words = "place 7, cancel 8, cancel 9".to_owned();
        assert_eq!(said.recv_timeout(SOON), Ok(Answer::Ended(1, words)));
    }

    #[test]
    fn its_end_has_words() {
        let (_placer, said) = start("echo no luck >&2", calm);
        let Ok(Answer::Error(words)) = said.recv_timeout(SOON) else {
            panic!("it lives")
        };
        assert!(words.ends_with("has ended, and says: no luck"), "{words}");
        let (placer, said) = start("read -r x; echo ready 1 here; read -r x; exit", calm);
        assert!(matches!(said.recv_timeout(SOON), Ok(Answer::Ready(..))));
        placer.place(1);
        let Ok(Answer::Error(words)) = said.recv_timeout(SOON) else {
            panic!("it lives")
        };
        assert!(words.contains("it was killed, or has failed"), "{words}");
        for number in 0..100_000 {
            placer.place(number);
        }
        let (placer, said) = start("echo error no luck; cat", calm);
        assert_eq!(
            said.recv_timeout(SOON),
            Ok(Answer::Error("no luck".to_owned()))
        );
        drop(placer);
    }
}
