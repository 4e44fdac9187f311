//! Tasks as spans: what a subscriber sees of tasks that end, panic, are cancelled, or block their
//! loop; and that a subscriber without interest sees nothing.
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use support::within_deadline;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use trefoil::{EventLoop, ThreadPool, adapters, spawn, yield_now};

type Fields = BTreeMap<String, String>;

#[derive(Clone, Debug, Default)]
struct Span {
    name: &'static str,
    fields: Fields,
    entered: u32,
    follows: bool,
    closed: bool,
}

#[derive(Clone, Debug)]
struct Told {
    fields: Fields,
    /// The `task.id` of the span that it stands in.
    inside: Option<String>,
}

#[derive(Clone, Default)]
struct Listener {
    spans: Arc<Mutex<BTreeMap<u64, Span>>>,
    events: Arc<Mutex<Vec<Told>>>,
    /// The most spans that were there at the same time.
    most: Arc<Mutex<usize>>,
}

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut span = Span {
            name: attributes.metadata().name(),
            ..Span::default()
        };
        attributes.record(&mut Collect(&mut span.fields));
        let mut spans = self.spans.lock().unwrap();
        spans.insert(id.into_u64(), span);
        let open = spans.values().filter(|span| !span.closed).count();
        let mut most = self.most.lock().unwrap();
        *most = open.max(*most);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.spans.lock().unwrap();
        values.record(&mut Collect(
            &mut spans.get_mut(&id.into_u64()).unwrap().fields,
        ));
    }

    fn on_follows_from(&self, id: &Id, _: &Id, _: Context<'_, S>) {
        self.spans
            .lock()
            .unwrap()
            .get_mut(&id.into_u64())
            .unwrap()
            .follows = true;
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        self.spans
            .lock()
            .unwrap()
            .get_mut(&id.into_u64())
            .unwrap()
            .entered += 1;
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.spans
            .lock()
            .unwrap()
            .get_mut(&id.into_u64())
            .unwrap()
            .closed = true;
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Collect(&mut fields));
        let inside = context.event_span(event).and_then(|span| {
            let spans = self.spans.lock().unwrap();
            spans[&span.id().into_u64()].fields.get("task.id").cloned()
        });
        self.events.lock().unwrap().push(Told { fields, inside });
    }
}

/// Held while a test has a subscriber: what `tracing` remembers of each call's level is of the
/// whole process, and is wrong for a moment while another thread sets up or drops a subscriber.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener {
    /// Runs `f` with this listener, for spans and events of this level and above.
    fn hear<T>(level: LevelFilter, f: impl FnOnce() -> T) -> (Self, T) {
        let _one = one_at_a_time();
        let listener = Self::default();
        let subscriber = tracing_subscriber::registry().with(listener.clone().with_filter(level));
        let value = tracing::subscriber::with_default(subscriber, f);
        (listener, value)
    }

    fn span(&self, id: trefoil::TaskId) -> Span {
        let spans = self.spans.lock().unwrap();
        let id = id.get().to_string();
        let found = spans
            .values()
            .find(|span| span.fields.get("task.id") == Some(&id));
        found.unwrap_or_else(|| panic!("no span for {id}")).clone()
    }

    fn event(&self, message: &str) -> Told {
        let events = self.events.lock().unwrap();
        let mut found = events
            .iter()
            .filter(|told| told.fields.get("message").is_some_and(|is| is == message));
        let told = found
            .next()
            .unwrap_or_else(|| panic!("no {message} in {events:?}"));
        assert!(found.next().is_none(), "twice: {message}");
        told.clone()
    }
}

#[test]
fn a_task_is_a_span() {
    within_deadline(|| {
        let (listener, (id, child)) = Listener::hear(LevelFilter::TRACE, || {
            trefoil::run(async {
                let task = spawn(async {
                    tracing::info!("first words");
                    let child = spawn(async {});
                    let child_id = child.id();
                    yield_now().await;
                    child.await.unwrap();
                    yield_now().await;
                    child_id
                })
                .named("speaker");
                let id = task.id();
                (id, task.await.unwrap())
            })
        });
        let span = listener.span(id);
        assert_eq!(span.name, "runtime.spawn");
        assert_eq!(span.fields["kind"], "local");
        assert_eq!(span.fields["task.name"], "speaker");
        assert!(span.fields["loc.file"].ends_with("traced.rs"), "{span:?}");
        assert!(span.fields["loc.line"].parse::<u32>().unwrap() > 100);
        // Three polls or four, and the future's end.
        assert!((4..=5).contains(&span.entered), "{span:?}");
        assert!(span.closed && !span.fields.contains_key("task.parent"));
        assert_eq!(
            listener.event("first words").inside,
            Some(id.get().to_string())
        );

        let child = listener.span(child);
        assert_eq!(child.fields["task.parent"], id.get().to_string());
        assert!(child.follows && child.closed && !child.fields.contains_key("task.name"));
    });
}

#[test]
fn a_panic_is_told_of_inside_the_span() {
    within_deadline(|| {
        let (listener, id) = Listener::hear(LevelFilter::TRACE, || {
            trefoil::run(async {
                let task = spawn(async { panic!("as the {} wants it", "test") });
                let id = task.id();
                let error: trefoil::TaskError = task.await.unwrap_err();
                // What the caller gets is the same as without.
                let trefoil::TaskError::Panicked(panic) = error else {
                    panic!("{error}")
                };
                assert_eq!(panic.message(), "as the test wants it");
                assert!(panic.location().unwrap().file().ends_with("traced.rs"));
                id
            })
        });
        let told = listener.event("task panicked");
        assert_eq!(told.inside, Some(id.get().to_string()));
        assert_eq!(told.fields["task.id"], id.get().to_string());
        assert_eq!(told.fields["panic.message"], "as the test wants it");
        assert!(told.fields["panic.location"].contains("traced.rs:"));
        assert!(listener.span(id).closed);
        assert_eq!(listener.events.lock().unwrap().len(), 1);
    });
}

/// A panic is reported even if spans are disabled.
#[test]
fn panics_without_spans() {
    within_deadline(|| {
        let (listener, id) = Listener::hear(LevelFilter::ERROR, || {
            trefoil::run(async {
                let task = spawn(async { panic!("as the test wants it") });
                let id = task.id();
                let _: trefoil::TaskError = task.await.unwrap_err();
                id
            })
        });
        assert!(listener.spans.lock().unwrap().is_empty());
        let told = listener.event("task panicked");
        assert_eq!(
            (told.inside, &told.fields["task.id"]),
            (None, &id.get().to_string())
        );
    });
}

#[test]
fn what_is_cancelled_is_dropped_inside() {
    struct Speaks;
    impl Drop for Speaks {
        fn drop(&mut self) {
            tracing::info!("last words");
        }
    }
    within_deadline(|| {
        let (listener, id) = Listener::hear(LevelFilter::TRACE, || {
            trefoil::run(async {
                let task = spawn(async {
                    let _speaks = Speaks;
                    std::future::pending::<()>().await;
                });
                let id = task.id();
                yield_now().await;
                task.cancel();
                task.await.unwrap_err();
                id
            })
        });
        let inside = Some(id.get().to_string());
        assert_eq!(listener.event("task dropped before its end").inside, inside);
        assert_eq!(listener.event("last words").inside, inside);
        assert!(listener.span(id).closed);
    });
}

/// Closures and futures of a thread pool: the span goes to the thread that runs them.
#[test]
fn tasks_of_a_thread_pool() {
    within_deadline(|| {
        let _one = one_at_a_time();
        let listener = Listener::default();
        let subscriber = tracing_subscriber::registry().with(listener.clone());
        let dispatch = tracing::Dispatch::new(subscriber);
        let pool = {
            let dispatch = dispatch.clone();
            // A listener of the worker's own: the default one is another thread's.
            ThreadPool::builder()
                .threads(1)
                .on_start(move |_| std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
                .build()
                .unwrap()
        };
        let (call, future) = tracing::dispatcher::with_default(&dispatch, || {
            let call = pool.spawn(|| tracing::info!("on a worker"));
            let future = pool.spawn_async(async { yield_now().await });
            (call, future)
        });
        let (call_id, future_id) = (call.id(), future.id());
        call.join().unwrap();
        drop(future); // detached: runs when it will
        drop(pool);
        assert_eq!(listener.span(call_id).fields["kind"], "blocking");
        assert_eq!(
            listener.event("on a worker").inside,
            Some(call_id.get().to_string())
        );
        assert!(listener.span(call_id).closed);
        assert_eq!(listener.span(future_id).fields["kind"], "task");
    });
}

/// Panics when a span is entered, while it is switched on.
struct Panics(Arc<AtomicBool>);

impl<S: Subscriber> Layer<S> for Panics {
    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        assert!(!self.0.load(Ordering::SeqCst), "a listener's");
    }
}

/// Whatever the subscriber does, a future that is cancelled is dropped.
#[test]
fn a_listener_that_panics_while_work_is_dropped_keeps_none_of_it() {
    within_deadline(|| {
        let _one = one_at_a_time();
        let on = Arc::new(AtomicBool::new(false));
        let subscriber = tracing_subscriber::registry().with(Panics(Arc::clone(&on)));
        let pool = ThreadPool::with_threads(1);
        let (work, (tell, told)) = (Arc::new(()), std::sync::mpsc::channel());
        let theirs = Arc::clone(&work);
        let task = tracing::subscriber::with_default(subscriber, || {
            pool.spawn_async(async move {
                let _theirs = theirs;
                tell.send(()).unwrap();
                std::future::pending::<()>().await;
            })
        });
        told.recv().unwrap();
        on.store(true, Ordering::SeqCst);
        assert!(task.cancel());
        task.join().unwrap_err();
        drop(pool);
        assert_eq!(Arc::strong_count(&work), 1, "it was not dropped");
    });
}

/// Work is done, or dropped, whatever the subscriber does: nothing is leaked, and no code waits for
/// ever.
#[test]
fn a_listener_that_panics_on_enter_loses_no_task() {
    /// Counts what has run, and what was dropped.
    struct Work(Arc<Mutex<[u32; 2]>>);
    impl Work {
        fn run(&self) {
            self.0.lock().unwrap()[0] += 1;
        }
    }
    impl Drop for Work {
        fn drop(&mut self) {
            self.0.lock().unwrap()[1] += 1;
        }
    }
    within_deadline(|| {
        let _one = one_at_a_time();
        let counts = Arc::default();
        let work = || Work(Arc::clone(&counts));
        let pool = ThreadPool::with_threads(1);
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let held = pool.spawn(move || gate.recv().unwrap());
        let subscriber =
            tracing_subscriber::registry().with(Panics(Arc::new(AtomicBool::new(true))));
        tracing::subscriber::with_default(subscriber, || {
            let (closure, future, local) = (work(), work(), work());
            let closure = pool.spawn(move || closure.run());
            let future = pool.spawn_async(async move { future.run() });
            let cancelled = work();
            let cancelled = pool.spawn(move || cancelled.run());
            assert!(cancelled.cancel());
            go.send(()).unwrap();
            held.join().unwrap();
            let local = trefoil::run(async {
                let dropped = work();
                spawn(async move {
                    std::future::pending::<()>().await;
                    dropped.run();
                })
                .detach();
                spawn(async move { local.run() }).await
            });
            // It is the task's failure, and says so.
            for ended in [closure.join(), future.join(), local] {
                let error = ended.unwrap_err().to_string();
                assert!(error.contains("a listener's"), "{error}");
            }
        });
        drop(pool);
        assert_eq!(*counts.lock().unwrap(), [3, 5], "run, dropped");
    });
}

/// Nor does a panic of a task, or of what it drops, meet another one of the subscriber, which would
/// abort the program.
#[test]
fn a_listener_that_panics_on_exit_ends_the_task_alone() {
    struct AtTheEnd;
    impl<S: Subscriber> Layer<S> for AtTheEnd {
        fn on_exit(&self, _: &Id, _: Context<'_, S>) {
            panic!("a listener's");
        }
        fn on_close(&self, _: Id, _: Context<'_, S>) {
            panic!("a listener's");
        }
    }
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a destructor's");
        }
    }
    within_deadline(|| {
        let _one = one_at_a_time();
        let pool = ThreadPool::with_threads(1);
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let held = pool.spawn(move || gate.recv().unwrap());
        let subscriber = tracing_subscriber::registry().with(AtTheEnd);
        tracing::subscriber::with_default(subscriber, || {
            let dropped = Panics;
            let dropped = pool.spawn(move || drop(dropped));
            assert!(dropped.cancel());
            let closures = [pool.spawn(|| ()), pool.spawn(|| panic!("its own"))];
            let futures = [
                pool.spawn_async(async {}),
                pool.spawn_async(async { panic!("its own") }),
            ];
            go.send(()).unwrap();
            held.join().unwrap();
            let locals = trefoil::run(async {
                [
                    spawn(async {}).await,
                    spawn(async { panic!("its own") }).await,
                ]
            });
            let ends = [closures, futures].map(|tasks| tasks.map(|task| task.join()));
            for [calm, fails] in ends.into_iter().chain([locals]) {
                let (calm, fails) = (calm.unwrap_err(), fails.unwrap_err());
                assert!(calm.to_string().contains("a listener's"), "{calm}");
                assert!(fails.to_string().contains("its own"), "{fails}");
            }
        });
    });
}

/// A chain of tasks, each spawned by the one before, keeps none of them.
#[test]
fn successors_do_not_keep_their_predecessors() {
    fn next(left: u32) {
        if left > 0 {
            spawn(async move { next(left - 1) }).detach();
        }
    }
    within_deadline(|| {
        let (listener, ()) = Listener::hear(LevelFilter::TRACE, || {
            trefoil::run(async {
                next(1000);
                for _ in 0..1010 {
                    yield_now().await;
                }
            });
        });
        let spans = listener.spans.lock().unwrap();
        assert!(spans.values().all(|span| span.closed));
        assert_eq!((spans.len(), *listener.most.lock().unwrap()), (1000, 2));
    });
}

fn is_slow_poll_of_greedy(told: &Told) -> bool {
    let is = |field: &str, value: &str| told.fields.get(field).is_some_and(|is| is == value);
    is("message", "task blocks its event loop") && is("task.name", "greedy")
}

#[test]
fn slow_polls_and_lost_failures() {
    within_deadline(|| {
        // The watchdog has a thread of its own, so the process's default must hear it.
        let listener = Listener::default();
        let subscriber =
            tracing_subscriber::registry().with(listener.clone().with_filter(LevelFilter::INFO));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let event_loop = EventLoop::builder()
            .slow_poll(Duration::from_millis(5), adapters::tracing::slow_poll)
            .on_unobserved(adapters::tracing::unobserved)
            .build()
            .unwrap();
        let events = listener.events.clone();
        event_loop.block_on(async {
            let greedy = spawn(async move {
                // On a busy machine, a poll of the root future may be slow, too.
                while !events.lock().unwrap().iter().any(is_slow_poll_of_greedy) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
            .named("greedy");
            greedy.await.unwrap();
            spawn(async { panic!("as the test wants it") }).detach();
            yield_now().await;
            yield_now().await;
        });
        let events = listener.events.lock().unwrap().clone();
        let slow = events.iter().find(|told| is_slow_poll_of_greedy(told));
        let slow = slow.unwrap();
        assert!(slow.fields["spawned_at"].contains("traced.rs:"));
        let lost = listener.event("the failure of a task was never taken");
        assert!(lost.fields["error"].contains("as the test wants it"));
    });
}

/// Does something with each new span, except for those that this makes.
struct OnNewSpan<F>(F);

impl<S: Subscriber, F: Fn() + Send + Sync + 'static> Layer<S> for OnNewSpan<F> {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        (self.0)();
    }
}

/// Runs `f` with a subscriber that calls `on_new_span` for each task.
fn with_new_spans<T>(on_new_span: impl Fn() + Send + Sync + 'static, f: impl FnOnce() -> T) -> T {
    let _one = one_at_a_time();
    let layer = OnNewSpan(on_new_span).with_filter(LevelFilter::TRACE);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, f)
}

#[test]
fn a_listener_may_spawn_where_tasks_are_spawned() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(1));
        let (tell, told) = std::sync::mpsc::channel();
        let inside = pool.clone();
        let spawns = move || {
            tell.send(inside.spawn_async(async { 1 })).unwrap();
            tell.send(inside.spawn(|| 1)).unwrap();
        };
        let task = with_new_spans(spawns, || pool.spawn_async(async { 2 }));
        assert_eq!(task.join().unwrap(), 2);
        assert!(told.iter().take(2).all(|task| task.join().unwrap() == 1));

        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let (tell, told) = std::sync::mpsc::channel();
        let spawner = std::thread::spawn(move || {
            let inside = handle.clone();
            let spawns = move || {
                tell.send(inside.spawn_with(|| async { 1 })).unwrap();
                tell.send(inside.spawn(async { 1 })).unwrap();
            };
            with_new_spans(spawns, || handle.spawn_with(|| async { 2 }))
        });
        let task = spawner.join().unwrap();
        assert_eq!(event_loop.block_on(task).unwrap(), 2);
        for task in told.iter().take(2) {
            assert_eq!(event_loop.block_on(task).unwrap(), 1);
        }
    });
}

#[test]
fn a_listener_that_panics_at_a_new_span_holds_no_lock() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let panics = || panic!("a bad listener");
        let dropped = Arc::new(());
        let held = dropped.clone();
        let spawned = with_new_spans(panics, || {
            catch_unwind(AssertUnwindSafe(|| {
                pool.spawn_async(async move { drop(held) }).detach();
            }))
        });
        assert!(spawned.is_err());
        assert_eq!(Arc::strong_count(&dropped), 1);
        assert_eq!(pool.spawn_async(async { 3 }).join().unwrap(), 3);

        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let spawner = std::thread::spawn(move || {
            let spawned = with_new_spans(panics, || {
                catch_unwind(AssertUnwindSafe(|| {
                    handle.spawn_with(|| async { 3 }).detach();
                }))
            });
            assert!(spawned.is_err());
            handle.spawn_with(|| async { 4 })
        });
        let task = spawner.join().unwrap();
        assert_eq!(event_loop.block_on(task).unwrap(), 4);
    });
}
