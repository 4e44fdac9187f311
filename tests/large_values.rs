//! A large value is not copied through the stack again and again.
//!
//! Each form that takes or returns one runs in a process of its own, whose threads have stacks of
//! [`TIMES`] times the value's size, and [`BASE`]. (A stack that is too small ends the process.)
//! `FIGURES=1` prints the smallest multiple that is enough, which says how many copies there are.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

#[allow(unused_imports, reason = "others use more of it")]
mod support;

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Test, tests};
use trefoil::sync::channel;
use trefoil::{
    Completer, EventLoop, LoopHandle, Scope, Task, TaskError, TaskGroup, ThreadPool, run, spawn,
    spawn_blocking, task_local, timeout, yield_now,
};

/// How large a value is.
const SIZE: usize = 256 << 10;

/// What everything else needs.
const BASE: usize = 128 << 10;

/// The value itself, as its caller has it, is the first of them.
const TIMES: usize = 4;

/// The same for what is sent: its receiver has it, too. (std's channel, not optimised: 18.)
const SENT_TIMES: usize = 6;

/// The same for a result: it is in an `Option` and a pair, and its user looks at it there. (std's
/// thread, not optimised: 8; a task of tokio: 17.)
const RESULT_TIMES: usize = 7;

/// The variable that says how large the stacks are.
const STACK: &str = "TREFOIL_TEST_STACK";

const LONG: Duration = Duration::from_secs(60);

async fn future() -> u8 {
    let value = [1; SIZE];
    yield_now().await;
    black_box(&value)[SIZE - 1]
}

fn closure() -> impl FnOnce() -> u8 + Send + 'static {
    let value = [1; SIZE];
    move || black_box(&value)[SIZE - 1]
}

fn array() -> [u8; SIZE] {
    [1; SIZE]
}

/// What is in a result, which stays where it is.
fn seen<E>(result: &Result<[u8; SIZE], E>) -> u8 {
    result.as_ref().map_or(0, |value| value[7])
}

/// A group with one member.
fn group() -> TaskGroup<[u8; SIZE]> {
    let group = TaskGroup::new();
    group.add(pool().spawn(array));
    group
}

fn quiet() -> impl FnOnce() + Send + 'static {
    let value = [1_u8; SIZE];
    move || _ = black_box(&value)[SIZE - 1]
}

fn body() -> impl for<'scope> FnOnce(&'scope Scope<'scope, 'static>) -> u8 {
    let value = [1; SIZE];
    move |_| black_box(&value)[SIZE - 1]
}

fn each<T>() -> impl Fn(T) -> u8 + Send + Sync + 'static {
    let value = [1; SIZE];
    move |_| black_box(&value)[SIZE - 1]
}

fn telling(told: Completer<u8>) -> impl FnOnce(Result<u8, TaskError>) + Send {
    let value = [1; SIZE];
    move |_| told.complete(Ok(black_box(&value)[SIZE - 1]))
}

fn pool() -> &'static ThreadPool {
    ThreadPool::global()
}

/// Whose workers alone run its work.
fn apart() -> ThreadPool {
    let builder = ThreadPool::builder().threads(1).stack_size(stack());
    builder.build().unwrap()
}

fn in_a_loop(work: impl AsyncFnOnce() -> u8) -> u8 {
    let event_loop = EventLoop::new().unwrap();
    event_loop.block_on(work())
}

/// Code that calls the loop of this thread from another one.
fn beside_a_loop(work: impl FnOnce(LoopHandle) -> u8 + Send + 'static) -> u8 {
    in_a_loop(async || {
        let (handle, (completer, task)) = (LoopHandle::current(), Completer::new());
        let thread = std::thread::Builder::new().stack_size(stack());
        let thread = thread.spawn(move || completer.complete(Ok(work(handle))));
        let value = task.await.unwrap();
        thread.unwrap().join().unwrap();
        value
    })
}

task_local! { static NUMBER: u8; }

macro_rules! forms {
    ($($name:ident => $body:expr;)*) => {
        const FORMS: &[(&str, fn() -> u8)] = &[$((stringify!($name), || $body)),*];
    };
}

forms! {
    run_future => run(future());
    block_on_future => EventLoop::new().unwrap().block_on(future());
    loop_spawn => {
        let event_loop = EventLoop::new().unwrap();
        let task = event_loop.spawn(future());
        event_loop.block_on(task).unwrap()
    };
    spawn_future => in_a_loop(async || spawn(future()).await.unwrap());
    handle_spawn => beside_a_loop(|handle| handle.spawn(future()).join().unwrap());
    handle_block_on => beside_a_loop(|handle| handle.block_on(future()));
    spawn_with => beside_a_loop(|handle| handle.spawn_with(future).join().unwrap());
    call_soon => beside_a_loop(|handle| handle.call_soon(closure()).join().unwrap());
    call_later => beside_a_loop(|handle| handle.call_later(Duration::ZERO, closure()).join().unwrap());
    spawn_async => pool().spawn_async(future()).join().unwrap();
    spawn_async_apart => apart().spawn_async(future()).join().unwrap();
    group_future => {
        let mut group = TaskGroup::new();
        group.add_future(future());
        group.next().join().unwrap().1.unwrap()
    };
    group_handle_future => {
        let mut group = TaskGroup::new();
        group.handle().add_future(future());
        group.next().join().unwrap().1.unwrap()
    };
    group_try_future => {
        let mut group = TaskGroup::new();
        group.add_try_future(async { let value = [1; SIZE]; yield_now().await; Ok(black_box(&value)[SIZE - 1]) });
        group.next().join().unwrap().1.unwrap()
    };
    timeout_join => timeout(LONG, future()).join().unwrap();
    timeout_await => in_a_loop(async || spawn(timeout(LONG, future())).await.unwrap().unwrap());
    task_local_scope => in_a_loop(async || spawn(NUMBER.scope(7, future())).await.unwrap());
    task_local_inherit => in_a_loop(async || spawn(NUMBER.inherit(future())).await.unwrap());
    sync_scope => NUMBER.sync_scope(7, closure());

    pool_spawn => pool().spawn(closure()).join().unwrap();
    pool_spawn_apart => apart().spawn(closure()).join().unwrap();
    spawn_blocking_closure => spawn_blocking(closure()).join().unwrap();
    install => pool().install(closure());
    install_apart => apart().install(closure());
    blocking => pool().blocking(closure());
    join_first => pool().join(closure(), || ()).0;
    join_second => pool().join(|| (), closure()).1;
    map => pool().map(0..2, each())[0];
    map_task => pool().map_task(0..2, each()).join().unwrap()[0];
    map_each => *pool().map_each(0..2, each())[0].as_ref().unwrap();
    map_reduce => pool().map_reduce(0..2, each(), || 0, |a, _| a);
    imap => pool().imap(0..2, each()).next().unwrap();
    broadcast => pool().broadcast(each())[0];
    spawn_broadcast => pool().spawn_broadcast(each()).join().unwrap()[0];
    task_map => Task::ready(1).map(each::<u8>()).join().unwrap();
    on_done => {
        let ((completer, task), (told, tells)) = (Completer::new(), Completer::new());
        task.on_done(telling(told));
        completer.complete(Ok(7));
        tells.join().unwrap()
    };

    scope => trefoil::scope(body());
    pool_scope => pool().scope(body());
    scope_spawn => trefoil::scope(|s| s.spawn(closure()).join().unwrap());
    scope_spawn_unjoined => trefoil::scope(|s| { s.spawn(closure()); 1 });
    channel_try => {
        let (sender, receiver) = channel::unbounded();
        assert!(sender.try_send(array()).is_ok());
        u8::from(matches!(&receiver.try_recv(), Ok(item) if item[7] == 1))
    };
    channel_blocking => {
        let (sender, receiver) = channel::bounded(2);
        assert!(sender.send_blocking(array()).is_ok());
        u8::from(matches!(&receiver.recv_blocking(), Ok(item) if item[7] == 1))
    };
    scope_spawn_detached => trefoil::scope(|s| { s.spawn_detached(quiet()); 1 });

    result_spawn => seen(&pool().spawn(array).join());
    result_spawn_apart => seen(&apart().spawn(array).join());
    result_spawn_async => seen(&pool().spawn_async(async { array() }).join());
    result_spawn_async_apart => seen(&apart().spawn_async(async { array() }).join());
    result_spawn_blocking => seen(&spawn_blocking(array).join());
    result_ready => seen(&Task::ready(array()).join());
    result_completer => {
        let (completer, task) = Completer::new();
        completer.complete(Ok(array()));
        seen(&task.join())
    };
    result_join_timeout => seen(&pool().spawn(array).join_timeout(LONG));
    result_try_join => Task::ready(array()).try_join().as_ref().map_or(0, seen);
    result_await => in_a_loop(async || seen(&pool().spawn(array).await));
    result_loop_spawn => in_a_loop(async || seen(&spawn(async { array() }).await));
    result_handle_spawn => beside_a_loop(|handle| seen(&handle.spawn(async { array() }).join()));
    result_handle_block_on => beside_a_loop(|handle| handle.block_on(async { array() })[7]);
    result_call_soon => beside_a_loop(|handle| seen(&handle.call_soon(array).join()));
    result_map => seen(&Task::ready(1).map(|_| array()).join());
    result_join_all => seen(&trefoil::join_all([pool().spawn(array)]).join()[0]);
    result_try_join_all => trefoil::try_join_all([pool().spawn(array)]).join().unwrap()[0][7];
    result_race => seen(&trefoil::race([pool().spawn(array)]).join());
    result_race_await => in_a_loop(async || seen(&trefoil::race([pool().spawn(array)]).await));
    result_as_completed => {
        let mut results = trefoil::as_completed([pool().spawn(array)]).into_iter();
        results.next().as_ref().map_or(0, seen)
    };
    result_as_completed_await => in_a_loop(async || {
        let mut results = trefoil::as_completed([pool().spawn(array)]);
        results.next().await.as_ref().map_or(0, seen)
    });
    result_as_completed_keyed => {
        let mut results = trefoil::as_completed_keyed([(1, pool().spawn(array))]).into_iter();
        results.next().as_ref().map_or(0, |(_, result)| seen(result))
    };
    result_group_next => group().next().join().as_ref().map_or(0, |(_, result)| seen(result));
    result_group_try_next => {
        let mut group = TaskGroup::new();
        group.add(Task::ready(array()));
        group.try_next().as_ref().map_or(0, |(_, result)| seen(result))
    };
    result_timeout => timeout(LONG, pool().spawn(array)).join().as_ref().map_or(0, seen);
    result_shared => seen(&pool().spawn(array).shared().join());
    result_imap => pool().imap(0..2, |_| array()).next().as_ref().map_or(0, |value| value[7]);
    result_imap_unordered => {
        let mut results = pool().imap_unordered(0..2, |_| array());
        results.next().as_ref().map_or(0, |value| value[7])
    };
    result_join_first => pool().join(array, || ()).0[7];
    result_join_second => pool().join(|| (), array).1[7];
    result_scope => trefoil::scope(|_| array())[7];
    result_scope_spawn => trefoil::scope(|s| seen(&s.spawn(array).join()));
}

fn stack() -> usize {
    std::env::var(STACK).unwrap().parse().unwrap()
}

/// Runs the form as which this process was started, on threads with small stacks.
fn run_form(name: &str) {
    let (_, form) = FORMS.iter().find(|(form, _)| *form == name).unwrap();
    let builder = ThreadPool::builder().threads(1).stack_size(stack());
    builder.caller_helps(true).build_global().unwrap();
    let thread = std::thread::Builder::new().stack_size(stack());
    assert_eq!(thread.spawn(form).unwrap().join().unwrap(), 1);
}

/// Whether a stack of this size is enough.
fn fits(name: &str, stack: usize) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let command = command
        .env(support::HELPER, name)
        .env(STACK, stack.to_string());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.unwrap().success()
}

fn main() {
    if let Ok(name) = std::env::var(support::HELPER) {
        return run_form(&name);
    }
    if std::env::var_os("FIGURES").is_some() {
        return FORMS.iter().for_each(|(name, _)| {
            let (mut low, mut high) = (0, 40 * SIZE);
            while high - low > SIZE / 16 {
                let middle = usize::midpoint(low, high);
                *if fits(name, BASE / 2 + middle) {
                    &mut high
                } else {
                    &mut low
                } = middle;
            }
            println!("{name:24} {:.1}", high as f64 / SIZE as f64);
        });
    }
    support::main(&[TESTS]);
}

tests! {
    fn a_large_value_is_copied_a_few_times_at_most() {
        let times = |name: &str| match name.split('_').next() {
            Some("channel") => SENT_TIMES,
            Some("result") => RESULT_TIMES,
            _ => TIMES,
        };
        let too_many = |name: &&str| !fits(name, BASE + times(name) * SIZE);
        let worse: Vec<&str> = FORMS.iter().map(|(name, _)| *name).filter(too_many).collect();
        assert!(worse.is_empty(), "too many times its size: {worse:?}");
    }
}
