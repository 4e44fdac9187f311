//! The crate `futures` with our tasks, streams and sockets: no adapter between them.

use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use futures::{FutureExt, SinkExt, pin_mut};
use trefoil::io::{TcpListener, TcpStream};
use trefoil::{TaskError, ThreadPool, as_completed, spawn, time};

use crate::deadline::within_deadline;

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn its_combinators_take_tasks_of_every_executor() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        trefoil::run(async {
            let both = try_join(pool.spawn(|| 1), spawn(async { 2 })).await;
            assert_eq!(both.unwrap(), (1, 2));

            let many: FuturesUnordered<_> = (0..100_u64).map(|n| pool.spawn(move || n)).collect();
            let sum = many.try_fold(0, |sum, n| async move { Ok::<_, TaskError>(sum + n) });
            assert_eq!(sum.await.unwrap(), 4950);

            let never = time::sleep(LONG);
            pin_mut!(never);
            match select(pool.spawn(|| 3), never).await {
                Either::Left((answer, _)) => assert_eq!(answer.unwrap(), 3),
                Either::Right(_) => panic!("an hour went by"),
            }

            let failed = pool.spawn(|| -> u8 { panic!("on purpose") });
            assert!(FutureExt::map(failed, |result| result.is_err()).await);
        });
    });
}

#[test]
fn its_executor_waits_for_tasks() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let sum = futures::executor::block_on(async {
            let results = as_completed((0..10_u64).map(|n| pool.spawn(move || n)));
            results
                .try_fold(0, |sum, n| async move { Ok(sum + n) })
                .await
        });
        assert_eq!(sum.unwrap(), 45);
    });
}

#[test]
fn its_streams_limit_what_runs_at_once() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let squares: Vec<u64> = trefoil::run(
            pool.imap(0..100_u64, |n| n)
                .stream()
                .map(|n| spawn(async move { n * n }))
                .buffered(8)
                .try_collect(),
        )
        .unwrap();
        assert_eq!(squares, (0..100).map(|n| n * n).collect::<Vec<_>>());
    });
}

#[test]
fn its_channels_wake_our_loop_and_our_pool() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        trefoil::run(async {
            let (answer, question) = oneshot::channel();
            let (mut sender, receiver) = mpsc::channel(1);
            let sum = pool.spawn_async(receiver.fold(0, |sum, n: u64| async move { sum + n }));
            let sending = spawn(async move {
                for n in 0..100 {
                    sender.send(n).await.unwrap();
                }
                answer.send(()).unwrap();
            });
            question.await.unwrap();
            sending.await.unwrap();
            assert_eq!(sum.await.unwrap(), 4950);
        });
    });
}

#[test]
fn its_io_extensions_take_our_sockets() {
    within_deadline(|| {
        trefoil::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let echo = spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let (mut reader, mut writer) = AsyncReadExt::split(stream);
                futures::io::copy(&mut reader, &mut writer).await.unwrap()
            });
            let mut stream = TcpStream::connect(address).await.unwrap();
            AsyncWriteExt::write_all(&mut stream, b"there and back")
                .await
                .unwrap();
            AsyncWriteExt::close(&mut stream).await.unwrap();
            let mut text = String::new();
            AsyncReadExt::read_to_string(&mut stream, &mut text)
                .await
                .unwrap();
            assert_eq!((text.as_str(), echo.await.unwrap()), ("there and back", 14));
        });
    });
}
