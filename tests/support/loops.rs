//! Helpers of the tests of the loop and of `io`: deadlines, separate processes, and counts of
//! threads, children and descriptors.
#![allow(dead_code, unused_imports)] // not every program needs all of it

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::process::{WaitId, WaitIdOptions, waitid};
use trefoil::io::{TcpListener, TcpStream};

pub(crate) use crate::deadline::{alone, asleep, within_deadline};

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn count_fds() -> usize {
    let linux = cfg!(target_os = "linux");
    let own = if linux { "/proc/self/fd" } else { "/dev/fd" };
    std::fs::read_dir(own).unwrap().count()
}

/// How many threads of this process have this name.
pub(crate) fn count_threads(name: &str) -> usize {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter(|task| {
            let comm = task.as_ref().unwrap().path().join("comm");
            std::fs::read_to_string(comm).is_ok_and(|comm| comm.trim_end() == name)
        })
        .count()
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "still not: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether no child is left, running or zombie.
#[cfg(unix)]
pub(crate) fn no_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD))
}

/// Waits until there are no children, and no more descriptors than there were: fewer, if something
/// was about to close one when they were counted.
#[cfg(unix)]
pub(crate) fn nothing_left(fds: usize) {
    wait_until("the end of all children", no_children);
    wait_until("the end of its descriptors", || count_fds() <= fds);
}

/// For `alone`, before `threads_are_refused`: small allocations succeed where there is no room for
/// a stack, since there is one heap, which grows by large steps and does not shrink.
pub(crate) const ONE_HEAP: &str =
    "export MALLOC_ARENA_MAX=1 MALLOC_TOP_PAD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824";

/// Whether this process gets no other thread from now on: there is no room for another stack. (No
/// thread may have ended before, since its stack would be used again.)
#[cfg(target_os = "linux")]
pub(crate) fn threads_are_refused(refused: bool) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let used = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
    let room = pages * rustix::param::page_size() as u64 + (1 << 20);
    let current = refused.then_some(room);
    let maximum = None;
    setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
}

/// A pipe without a writer, whose `open` waits for one.
#[cfg(target_os = "linux")]
pub(crate) fn fifo(name: &str) -> std::path::PathBuf {
    use rustix::fs::{CWD, FileType, mknodat};
    let path = std::env::temp_dir().join(format!("trefoil-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    mknodat(CWD, &path, FileType::Fifo, 0o600.into(), 0).unwrap();
    path
}

pub(crate) fn panic_message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it must panic");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).into(),
    }
}

pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Notes on which thread it is dropped.
pub(crate) struct Dropped(pub(crate) mpsc::Sender<ThreadId>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (near, far)
}

/// The operation fails outside a loop, with an error that says what to do.
pub(crate) fn needs_a_loop<T>(operation: impl Future<Output = std::io::Result<T>>) {
    let ended = trefoil::timeout(LONG, operation).join().unwrap();
    let error = ended.err().expect("there is no loop");
    assert!(error.to_string().contains("needs an event loop"), "{error}");
}

pub(crate) async fn echo(stream: TcpStream) {
    let mut buffer = [0; 512];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}
