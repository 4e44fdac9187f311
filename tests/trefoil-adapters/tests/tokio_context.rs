//! tokio's own sockets, timers and tasks inside `trefoil::run`, beside ours; its context where a
//! future is dropped; one thread for all.

#[allow(clippy::disallowed_methods)] // that door is for the crate's own protocols
#[path = "../../deadline/mod.rs"]
mod deadline;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use deadline::{alone, within_deadline};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use trefoil::adapters::tokio::{handle, with};
use trefoil::time;

const MOMENT: Duration = Duration::from_millis(5);
const HOUR: Duration = Duration::from_secs(3600);

/// How many threads of this process have this name.
fn count_threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter(|task| {
            let comm = task.as_ref().unwrap().path().join("comm");
            std::fs::read_to_string(comm).is_ok_and(|comm| comm.trim_end() == name)
        })
        .count()
}

/// An echo of tokio's, and how much it has echoed.
async fn echoed(message: &[u8]) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap()
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(message).await.unwrap();
    client.shutdown().await.unwrap();
    let mut echo = Vec::new();
    client.read_to_end(&mut echo).await.unwrap();
    assert_eq!(server.await.unwrap(), message.len() as u64);
    echo
}

#[test]
fn sockets_timers_and_tasks_of_both_kinds_at_once() {
    within_deadline(|| {
        trefoil::run(async {
            let here = std::thread::current().id();
            let counter = Rc::new(Cell::new(0)); // it need not be `Send`
            let counted = counter.clone();
            let ours = trefoil::spawn(async move {
                time::sleep(MOMENT).await;
                counted.set(counted.get() + 1);
            });
            let counted = counter.clone();
            let theirs = trefoil::spawn(with(async move {
                let start = Instant::now();
                tokio::time::sleep(MOMENT).await;
                assert!(start.elapsed() >= MOMENT);
                assert!(
                    tokio::time::timeout(MOMENT, tokio::time::sleep(HOUR))
                        .await
                        .is_err()
                );
                assert_eq!(std::thread::current().id(), here, "the loop polls it");
                assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
                counted.set(counted.get() + 1);
            }));
            let message: Vec<u8> = (0..300_000).map(|at| (at % 251) as u8).collect();
            let echo = with(echoed(&message)).await;
            assert!(echo == message);
            ours.await.unwrap();
            theirs.await.unwrap();
            assert_eq!(counter.get(), 2);
        });
    });
}

#[test]
fn many_loops_share_one_thread() {
    alone("many_loops_share_one_thread", "", || {
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for round in 0..10 {
                        let message = vec![round; 1000];
                        assert_eq!(trefoil::run(with(echoed(&message))), message);
                    }
                });
            }
        });
        assert_eq!(count_threads("trefoil-tokio"), 1);
    });
}

/// Without it, tokio says what is missing; with the thread inside, all that runs on its loop is.
#[test]
fn inside_is_what_has_been_entered() {
    within_deadline(|| {
        let error = trefoil::run(async {
            trefoil::spawn(async { tokio::time::sleep(MOMENT).await }).await
        });
        let said = error.unwrap_err().to_string();
        assert!(said.contains("there is no reactor running"), "{said}");
        assert!(trefoil::run(with(async { Handle::try_current().is_ok() })));
        assert!(Handle::try_current().is_err(), "it has been left again");
        let tokio = handle().unwrap();
        let entered = tokio.enter();
        trefoil::run(async { trefoil::spawn(tokio::time::sleep(MOMENT)).await }).unwrap();
        drop(entered);
    });
}

struct AsksWhenDropped(mpsc::Sender<bool>);

impl Drop for AsksWhenDropped {
    fn drop(&mut self) {
        self.0.send(Handle::try_current().is_ok()).unwrap();
    }
}

/// A pooled connection goes back in a task of its own, say.
#[test]
fn what_is_dropped_is_dropped_inside() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        trefoil::run(async {
            let (given_up, held) = (AsksWhenDropped(tell.clone()), AsksWhenDropped(tell));
            let task = trefoil::spawn(with(async move {
                let _given_up = given_up;
                tokio::time::sleep(HOUR).await;
            }));
            time::sleep(MOMENT).await;
            task.cancel();
            assert!(task.await.is_err());
            // A future may keep what it has captured until it is dropped.
            let mut held = Some(held);
            with(std::future::poll_fn(move |_| {
                assert!(held.is_some());
                let _ = &mut held;
                std::task::Poll::Ready(())
            }))
            .await;
        });
        assert_eq!(told.iter().collect::<Vec<_>>(), [true, true]);
    });
}

#[test]
fn a_pool_polls_it_as_well() {
    within_deadline(|| {
        let pool = trefoil::ThreadPool::with_threads(2);
        let tasks: Vec<_> = (0..20_u8)
            .map(|n| pool.spawn_async(with(async move { echoed(&[n; 100]).await })))
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), [n as u8; 100]);
        }
    });
}
