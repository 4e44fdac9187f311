//! Events of worker processes, as the parent's subscriber gets them: with worker, call and item;
//! before the item's result; after a crash, too; never at the cost of the worker; and none that
//! nobody listens to.
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use support::within_deadline;
use tracing::field::{Empty, Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Span, Subscriber, subscriber};
use tracing::{debug, enabled, error, info, info_span, warn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use trefoil::{ProcessPool, ProcessPoolBuilder, TaskError};
use trefoil_sandbox::Wrapped;

type Fields = BTreeMap<String, String>;

#[derive(Clone, Debug)]
struct Told {
    level: Level,
    target: String,
    fields: Fields,
    /// The fields of the spans around it, the innermost first.
    inside: Vec<Fields>,
}

impl Told {
    fn message(&self) -> &str {
        &self.fields["message"]
    }

    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Heard {
    told: Vec<Told>,
    spans: BTreeMap<u64, Fields>,
    /// An event with the message "stop" waits until this is set.
    goes_on: bool,
    stands: bool,
}

#[derive(Clone, Default)]
struct Listener(Arc<(Mutex<Heard>, Condvar)>);

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
        let mut fields = Fields::new();
        attributes.record(&mut Collect(&mut fields));
        self.heard().spans.insert(id.into_u64(), fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut heard = self.heard();
        let fields = heard.spans.get_mut(&id.into_u64()).unwrap();
        let before = fields.get("worker.fields").cloned().unwrap_or_default();
        values.record(&mut Collect(fields));
        fields
            .get_mut("worker.fields")
            .unwrap()
            .insert_str(0, &before);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.heard().spans.remove(&id.into_u64());
        self.0.1.notify_all();
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Collect(&mut fields));
        let around = context.event_scope(event);
        let around: Vec<u64> = around
            .into_iter()
            .flatten()
            .map(|span| span.id().into_u64())
            .collect();
        let mut heard = self.heard();
        let inside = around.iter().map(|id| heard.spans[id].clone()).collect();
        let told = Told {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields,
            inside,
        };
        let message = told.message().to_owned();
        heard.told.push(told);
        self.0.1.notify_all();
        if message == "stop" {
            heard.stands = true;
            drop(self.0.1.wait_while(heard, |heard| !heard.goes_on));
        } else if message == "panic" {
            drop(heard);
            panic!("a subscriber's");
        }
    }
}

/// Held while a test has a subscriber: what `tracing` remembers of each call's level is of the
/// whole process, and is wrong for a moment while another thread sets up or drops a subscriber.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool that `builder` makes while this listens to events of this level and above.
    fn build(&self, level: LevelFilter, builder: ProcessPoolBuilder) -> ProcessPool {
        let subscriber = tracing_subscriber::registry().with(self.clone().with_filter(level));
        subscriber::with_default(subscriber, || builder.build().unwrap())
    }

    fn told(&self) -> Vec<Told> {
        self.heard().told.clone()
    }

    /// Waits until `is_so`.
    fn wait(&self, mut is_so: impl FnMut(&Heard) -> bool) {
        drop(self.0.1.wait_while(self.heard(), |heard| !is_so(heard)));
    }
}

/// A builder for each kind of workers: with shared pages, plain, and a launcher's.
fn kinds() -> [ProcessPoolBuilder; 3] {
    let builder = || ProcessPool::builder().forward_events(Level::INFO);
    [
        builder(),
        builder().plain_workers(true),
        builder().launcher(Wrapped::new(["env", "{exe}"])),
    ]
}

/// Runs `test` for each kind of workers.
fn for_each_kind(test: fn(&Listener, ProcessPoolBuilder)) {
    within_deadline(move || {
        let _one = one_at_a_time();
        for builder in kinds() {
            test(&Listener::default(), builder);
        }
    });
}

#[test]
fn an_event_has_its_worker_call_and_item_and_comes_before_the_result() {
    for_each_kind(|listener, builder| {
        let procs = listener.build(LevelFilter::INFO, builder.workers(2));
        let line = line!() + 2;
        let halve = |n: u32| {
            info!(n, half = n / 2, "halved");
            std::process::id()
        };
        let pids = procs.call(halve).name("halve").map(0..100).unwrap();
        let mut told = listener.told();
        assert_eq!(told.len(), 100, "before the result");
        told.sort_by_key(|told| told.get("worker.item").parse::<usize>().unwrap());
        for (item, (told, pid)) in told.iter().zip(pids).enumerate() {
            assert_eq!(told.level, Level::INFO);
            assert_eq!(told.target, "trefoil::worker");
            assert_eq!(told.message(), "halved");
            assert_eq!(told.get("worker.pid"), pid.to_string());
            assert_eq!(told.get("worker.function"), "halve");
            assert_eq!(told.get("worker.item"), item.to_string());
            assert_eq!(told.get("worker.target"), module_path!());
            assert!(told.get("worker.file").ends_with("worker_events.rs"));
            assert_eq!(told.get("worker.line"), line.to_string());
            let fields = format!("n={item} half={}", item / 2);
            assert_eq!(told.get("worker.fields"), fields);
        }
        // One call has no index, and is known by its types.
        procs.spawn(7, |n: u64| warn!("alone {n}")).join().unwrap();
        let told = listener.told().pop().unwrap();
        assert_eq!((told.level, told.message()), (Level::WARN, "alone 7"));
        assert_eq!(told.get("worker.function"), "fn(u64) -> ()");
        assert!(!told.fields.contains_key("worker.item"));
    });
}

#[test]
fn an_event_of_another_thread_is_of_the_item_that_runs() {
    for_each_kind(|listener, builder| {
        let procs = listener.build(LevelFilter::INFO, builder.workers(1));
        let work = |n: u32| {
            let thread = std::thread::spawn(move || info!(n, "of another thread"));
            thread.join().unwrap();
        };
        procs.map(0..5, work).unwrap();
        for (item, told) in listener.told().iter().enumerate() {
            assert_eq!(told.get("worker.item"), item.to_string());
            assert_eq!(told.get("worker.fields"), format!("n={item}"));
        }
    });
}

#[test]
fn only_what_somebody_listens_to_is_made() {
    let wants = |(): ()| {
        debug!("too detailed");
        info!("an info");
        error!("an error");
        [
            enabled!(Level::ERROR),
            enabled!(Level::INFO),
            enabled!(Level::DEBUG),
        ]
    };
    within_deadline(move || {
        let _one = one_at_a_time();
        for (asked, listened, made, count) in [
            (Level::INFO, LevelFilter::TRACE, [true, true, false], 2),
            (Level::TRACE, LevelFilter::ERROR, [true, false, false], 1),
            (Level::TRACE, LevelFilter::OFF, [false; 3], 0),
        ] {
            let listener = Listener::default();
            let builder = ProcessPool::builder().workers(1).forward_events(asked);
            let procs = listener.build(listened, builder);
            assert_eq!(procs.spawn((), wants).join().unwrap(), made);
            assert_eq!(listener.told().len(), count, "{asked} {listened}");
        }
        let has_one = |()| tracing::dispatcher::has_been_set();
        for builder in kinds() {
            let procs = builder.workers(1).build().unwrap();
            assert!(!procs.spawn((), has_one).join().unwrap(), "nobody listens");
        }
        let listener = Listener::default();
        let procs = listener.build(LevelFilter::INFO, ProcessPool::builder().workers(1));
        assert!(!procs.spawn((), has_one).join().unwrap(), "not asked for");
    });
}

const FLOOD: u64 = 200_000;

/// Writes more than can be kept, then says so and waits for an answer.
fn flood(port: u16) {
    info!("stop");
    for n in 0..FLOOD {
        info!(n, "one of many");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_flood_never_blocks_and_what_is_dropped_is_counted() {
    for_each_kind(|listener, builder| {
        let procs = listener.build(LevelFilter::INFO, builder.workers(1));
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let flooding = procs.spawn(port, flood);
        listener.wait(|heard| heard.stands);
        // The subscriber stands still, and the item comes to its end.
        let (mut stream, _) = server.accept().unwrap();
        assert_eq!(listener.told().len(), 1);
        listener.heard().goes_on = true;
        listener.0.1.notify_all();
        stream.write_all(&[0]).unwrap();
        flooding.join().unwrap();
        // The count comes without another event.
        listener.wait(|heard| {
            let dropped = heard.told.iter().filter_map(|told| {
                let dropped = told.fields.get("worker.dropped")?;
                assert_eq!(told.level, Level::WARN);
                Some(dropped.parse::<u64>().unwrap())
            });
            let dropped: u64 = dropped.sum();
            let many = heard.told.iter();
            let many = many.filter(|told| told.message() == "one of many").count() as u64;
            assert!(dropped + many <= FLOOD);
            dropped > 0 && dropped + many == FLOOD
        });
    });
}

#[test]
fn a_crash_loses_no_event_before_it() {
    for_each_kind(|listener, builder| {
        let procs = listener.build(LevelFilter::INFO, builder.workers(1));
        for round in 1..=10 {
            let dies = |n: usize| -> () {
                (0..n).for_each(|n| info!(n, "still here"));
                std::process::abort();
            };
            let died = procs.spawn(round, dies).join();
            assert!(matches!(died, Err(TaskError::WorkerDied(_))), "{died:?}");
            let told = std::mem::take(&mut listener.heard().told);
            assert_eq!(told.len(), round);
        }
        assert_eq!(procs.map(0..3, |n: u32| n).unwrap(), [0, 1, 2]);
    });
}

#[test]
fn a_subscriber_that_panics_does_no_harm() {
    for_each_kind(|listener, builder| {
        let procs = listener.build(LevelFilter::INFO, builder.workers(1));
        let work = |n: u32| {
            info!("panic");
            info!("after it");
            n + 1
        };
        assert_eq!(
            procs.map(0..10, work).unwrap(),
            (1..=10).collect::<Vec<_>>()
        );
        let told = listener.told();
        let after = told.iter().filter(|told| told.message() == "after it");
        assert_eq!((told.len(), after.count()), (20, 10));
    });
}

#[test]
fn spans_are_spans_here() {
    for_each_kind(|listener, builder| {
        let procs = listener.build(LevelFilter::INFO, builder.workers(1));
        let work = |dies: bool| {
            let outer = info_span!("outer", rows = 3, found = Empty);
            let _outer = outer.enter();
            Span::current().record("found", 2);
            let inner = info_span!("inner").entered();
            info!("inside");
            drop(inner);
            info!(parent: None, "outside");
            if dies {
                std::process::abort();
            }
        };
        procs.spawn(false, work).join().unwrap();
        let told = listener.told();
        let [inner, outer] = &told[0].inside[..] else {
            panic!("{told:?}");
        };
        assert_eq!(inner["worker.span"], "inner");
        assert_eq!(outer["worker.span"], "outer");
        assert_eq!(outer["worker.fields"], "rows=3found=2");
        assert_eq!(outer["worker.target"], module_path!());
        assert!(told[1].inside.is_empty());
        // (The last one is closed after the result was made.)
        listener.wait(|heard| heard.spans.is_empty());
        assert!(procs.spawn(true, work).join().is_err());
        listener.wait(|heard| heard.spans.is_empty());
    });
}

#[test]
fn records_of_the_crate_log_keep_their_place() {
    for_each_kind(|listener, builder| {
        let bridge = |()| tracing_log::LogTracer::init().unwrap();
        let builder = builder.workers(1).initializer((), bridge);
        let procs = listener.build(LevelFilter::INFO, builder);
        let line = line!() + 1;
        let work = |()| log::warn!(target: "old", "by {}", "log");
        procs.spawn((), work).join().unwrap();
        let told = &listener.told()[0];
        assert_eq!((told.level, told.message()), (Level::WARN, "by log"));
        assert_eq!(told.get("worker.target"), "old");
        assert!(told.get("worker.file").ends_with("worker_events.rs"));
        assert_eq!(told.get("worker.line"), line.to_string());
        assert!(!told.fields.contains_key("worker.fields"), "{told:?}");
    });
}

#[test]
fn a_long_event_is_cut() {
    for_each_kind(|listener, builder| {
        let procs = listener.build(LevelFilter::INFO, builder.workers(1));
        let work = |n: usize| info!(long = "é".repeat(n), "{}", "ü".repeat(n));
        procs.spawn(10_000, work).join().unwrap();
        procs.spawn(2, work).join().unwrap();
        let told = listener.told();
        let message = told[0].message();
        assert!(message.ends_with("ü…") && (1000..3000).contains(&message.len()));
        let fields = told[0].get("worker.fields");
        assert!(fields.ends_with("é…") && (500..2000).contains(&fields.len()));
        assert_eq!(told[1].message(), "üü");
        assert_eq!(told[1].get("worker.fields"), "long=\"éé\"");
    });
}

#[test]
fn an_initializers_event_is_its_own() {
    for_each_kind(|listener, builder| {
        let builder = builder.workers(1).initializer((), |()| info!("begins"));
        let procs = listener.build(LevelFilter::INFO, builder);
        procs.spawn((), |()| ()).join().unwrap();
        let told = &listener.told()[0];
        assert_eq!(told.get("worker.function"), "initializer");
    });
}
