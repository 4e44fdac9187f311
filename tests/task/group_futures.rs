//! Groups whose members are tasks and other futures.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::deadline::within_deadline;
use trefoil::{Completer, Task, TaskError, TaskGroup, ThreadPool, join_all, timeout, try_join_all};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Sends its name when it is dropped.
struct Says(mpsc::Sender<&'static str>, &'static str);

impl Drop for Says {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

/// Wakes itself in each poll, for ever.
async fn restless() -> u64 {
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[test]
fn tasks_values_and_results_are_members_of_one_group() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let mut group = TaskGroup::new();
        let task = pool.spawn(|| 0_u64);
        let id = task.id();
        assert_eq!(group.add(task), id, "a task keeps its id");
        group.add_future(async { 1 });
        group.add_try_future(async { Ok(Task::ready(1_u64).await? + 1) });
        group.add(pool.spawn(|| 3).cancel_on_drop());
        group.add_try_future(pool.spawn(|| 4).shared());
        group.add_try_future(async { try_join_all([Task::ready(5_u64)]).await.map(|all| all[0]) });
        assert_eq!(group.try_join_all().join().unwrap(), [0, 1, 2, 3, 4, 5]);

        let mut results = TaskGroup::new();
        results.add_future(async { "12".parse::<u8>() });
        results.add_future(async { "x".parse::<u8>() });
        let results = results.try_join_all().join().unwrap();
        assert!(
            results[0].is_ok() && results[1].is_err(),
            "another error is part of the value"
        );

        let mut nested = TaskGroup::new();
        nested.add_future(timeout(Duration::from_secs(60), Task::ready(7)));
        assert!(matches!(
            nested.try_join_all().join().unwrap()[..],
            [Ok(Ok(7))]
        ));

        let mut lists = TaskGroup::new();
        lists.add_future(join_all([Task::ready(7)]));
        assert!(matches!(
            lists.try_join_all().join().unwrap()[0][..],
            [Ok(7)]
        ));
    });
}

#[test]
fn the_waiting_thread_polls_woken_futures() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        let completers: Vec<_> = (0..100_u64)
            .map(|n| {
                let (completer, task) = Completer::new();
                group.add_future(async move { task.await.unwrap_or(0) + n });
                completer
            })
            .collect();
        let polled = Arc::new(Mutex::new(0));
        let count = polled.clone();
        group.add_future(poll_fn(move |_| {
            *count.lock().unwrap() += 1;
            Poll::<u64>::Pending
        }));
        let others = thread::spawn(move || {
            for completer in completers.into_iter().rev() {
                completer.complete(Ok(1000));
            }
        });
        let mut sum = 0;
        for _ in 0..100 {
            sum += group.next().join().unwrap().1.unwrap();
        }
        others.join().unwrap();
        assert_eq!(sum, 100 * 1000 + 99 * 50);
        assert_eq!(group.len(), 1);
        assert!(poll(group.next()).is_pending());
        assert_eq!(*polled.lock().unwrap(), 1, "it was never woken");
    });
}

#[test]
fn a_loop_polls_them_and_goes_on() {
    within_deadline(|| {
        let naps = trefoil::run(async {
            let mut group = TaskGroup::new();
            for ms in [20_u64, 1] {
                group.add_future(async move {
                    trefoil::time::sleep(Duration::from_millis(ms)).await;
                    ms
                });
            }
            let first = group.next().await.unwrap().1.unwrap();
            (first, group.try_join_all().await.unwrap())
        });
        assert_eq!(naps, (1, vec![20]));
    });
}

#[test]
fn the_first_failure_drops_the_rest() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let mut group = TaskGroup::new();
        let says = Says(tell.clone(), "waited");
        group.add_future(async move {
            let _says = says;
            pending::<u64>().await
        });
        let failing = group.add_try_future(async { Err(TaskError::Closed) });
        let error = group.try_join_all().join().unwrap_err();
        assert!(matches!(error.errors(), [(id, TaskError::Closed)] if *id == failing));
        assert_eq!(told.try_recv(), Ok("waited"));

        let mut group = TaskGroup::new();
        let panicking = group
            .add_try_future(async { Task::<u8>::ready(0).await.map(|_| panic!("out of cheese")) });
        group.add_future(async { 1 });
        let error = group.try_join_all().join().unwrap_err();
        let [(id, TaskError::Panicked(panic))] = error.errors() else {
            panic!("{error}");
        };
        assert_eq!((*id, panic.message()), (panicking, "out of cheese"));
    });
}

#[test]
fn cancelling_and_dropping_a_group_drops_its_futures() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let member = |name| {
            let says = Says(tell.clone(), name);
            async move {
                let _says = says;
                pending::<()>().await;
            }
        };
        let mut group = TaskGroup::new();
        group.add_future(member("sleeping"));
        assert!(poll(group.next()).is_pending());
        group.add_future(member("never polled"));
        group.cancel();
        let both = [told.try_recv().unwrap(), told.try_recv().unwrap()];
        assert!(both.contains(&"sleeping") && both.contains(&"never polled"));
        group.add_future(member("late"));
        assert_eq!(told.try_recv(), Ok("late"));
        assert!(group.try_join_all().join().unwrap_err().errors().is_empty());

        let mut group = TaskGroup::new();
        let (completer, task) = Completer::<()>::new();
        let says = Says(tell.clone(), "with the group");
        group.add_try_future(async move {
            let _says = says;
            task.await
        });
        assert!(poll(group.next()).is_pending());
        let handle = group.handle();
        drop(group);
        assert_eq!(told.try_recv(), Ok("with the group"));
        completer.complete(Ok(())); // wakes nothing
        handle.add_future(member("behind the group"));
        assert_eq!(told.try_recv(), Ok("behind the group"));
    });
}

#[test]
fn futures_that_wake_themselves_delay_no_others() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        group.add_future(restless());
        let (completer, task) = Completer::new();
        group.add(task);
        assert!(group.try_next().is_none());
        assert!(poll(group.next()).is_pending());
        thread::spawn(move || completer.complete(Ok(7)));
        assert!(matches!(group.next().join(), Some((_, Ok(7)))));
        assert!(group.try_next().is_none());
    });
}

#[test]
fn members_add_members_and_try_next_polls() {
    within_deadline(|| {
        let mut group = TaskGroup::new();
        let handle = group.handle();
        group.add_future(async move {
            handle.add_future(async { 2 });
            1
        });
        assert!(matches!(group.try_next(), Some((_, Ok(1)))));
        assert!(matches!(group.try_next(), Some((_, Ok(2)))));
        assert!(group.try_next().is_none());
    });
}
