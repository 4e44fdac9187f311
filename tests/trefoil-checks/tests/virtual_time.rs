//! Random programs of timers, on a loop with virtual time and on tokio with its clock paused.
//!
//! A program sleeps, spawns, sets limits, races and ticks. Both runtimes run the same
//! source (the macro `interpreter!`), which notes what happened at which millisecond, and the notes
//! must be equal.//!
//! Three differences are intended and left out: `sleep(0)` yields here; tokio takes a tick that is
//! at most 5 ms late for one in time; and `MissedTick::Delay` keeps the schedule here after a tick
//! that is late by less than a period.
#![cfg(not(loom))]

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use proptest::prelude::*;

/// One step of a program. Times are in milliseconds.
#[derive(Clone, Debug)]
enum Step {
    Sleep(u64),
    /// Runs beside what follows; the whole program awaits it.
    Spawn(Vec<Step>),
    /// Spawned and awaited at once.
    Await(Vec<Step>),
    Limit(u64, Vec<Step>),
    /// The first of two ends it; the other is dropped.
    Race(Vec<Step>, Vec<Step>),
    /// So many ticks of a period, each followed by work that may be longer than the period.
    Ticks {
        period: u64,
        works: Vec<u64>,
        missed: Missed,
    },
}

#[derive(Clone, Copy, Debug)]
enum Missed {
    Burst,
    Skip,
}

/// So many that no two timers of a program are due in the same millisecond, in either order.
fn times() -> impl Strategy<Value = u64> {
    1_u64..1_000_000_000
}

fn programs() -> impl Strategy<Value = Vec<Step>> {
    let missed = prop_oneof![Just(Missed::Burst), Just(Missed::Skip)];
    let leaf = prop_oneof![
        3 => times().prop_map(Step::Sleep),
        1 => (times(), prop::collection::vec(times(), 1..6), missed)
            .prop_map(|(period, works, missed)| Step::Ticks { period, works, missed }),
    ];
    let steps = leaf.prop_recursive(4, 40, 4, |inner| {
        let some = prop::collection::vec(inner, 0..4);
        prop_oneof![
            some.clone().prop_map(Step::Spawn),
            (times(), some.clone()).prop_map(|(first, mut steps)| {
                steps.insert(0, Step::Sleep(first)); // how many turns a hand-over takes is no promise
                Step::Await(steps)
            }),
            (times(), some.clone()).prop_map(|(limit, steps)| Step::Limit(limit, steps)),
            (some.clone(), some).prop_map(|(a, b)| Step::Race(a, b)),
        ]
    });
    prop::collection::vec(steps, 1..6)
}

/// What happened: when, in which branch of the program (a path), and what.
type Note = (u128, Vec<usize>, &'static str);
type Notes = Rc<RefCell<Vec<Note>>>;

/// The interpreter, in terms of the functions that a runtime's module has.
macro_rules! interpreter {
    () => {
        type Running = Pin<Box<dyn Future<Output = ()>>>;

        #[derive(Clone)]
        struct Program {
            began: Instant,
            notes: Notes,
            spawned: Rc<RefCell<Vec<Spawned>>>,
        }

        impl Program {
            fn note(&self, path: &[usize], what: &'static str) {
                let at = now().duration_since(self.began);
                assert_eq!(at.as_nanos() % 1_000_000, 0, "a whole millisecond");
                let note = (at.as_millis(), path.to_vec(), what);
                self.notes.borrow_mut().push(note);
            }

            fn run(&self, steps: Vec<Step>, path: Vec<usize>) -> Running {
                let program = self.clone();
                Box::pin(async move {
                    for (at, step) in steps.into_iter().enumerate() {
                        let path = [&path[..], &[at]].concat();
                        program.step(step, path).await;
                    }
                })
            }

            async fn step(&self, step: Step, path: Vec<usize>) {
                match step {
                    Step::Sleep(ms) => {
                        sleep(Duration::from_millis(ms)).await;
                        self.note(&path, "slept");
                    }
                    Step::Spawn(steps) => {
                        let task = spawn(self.run(steps, path));
                        self.spawned.borrow_mut().push(task);
                    }
                    Step::Await(steps) => {
                        finished(spawn(self.run(steps, path.clone()))).await;
                        self.note(&path, "awaited");
                    }
                    Step::Limit(ms, steps) => {
                        let limit = Duration::from_millis(ms);
                        let late = timeout(limit, self.run(steps, path.clone())).await;
                        self.note(&path, if late.is_err() { "late" } else { "in time" });
                    }
                    Step::Race(a, b) => {
                        let a = self.run(a, [&path[..], &[0]].concat());
                        let b = self.run(b, [&path[..], &[1]].concat());
                        // The left one is always polled first.
                        let first = futures::future::select(a, b).await;
                        let left = matches!(first, futures::future::Either::Left(_));
                        self.note(&path, if left { "left" } else { "right" });
                    }
                    Step::Ticks {
                        period,
                        works,
                        missed,
                    } => {
                        let mut ticks = ticks(Duration::from_millis(period), missed);
                        for work in works {
                            ticks.tick().await;
                            self.note(&path, "tick");
                            sleep(Duration::from_millis(work)).await;
                        }
                    }
                }
            }
        }

        async fn whole(steps: Vec<Step>) -> Vec<Note> {
            let program = Program {
                began: now(),
                notes: Notes::default(),
                spawned: Rc::default(),
            };
            program.run(steps, Vec::new()).await;
            program.note(&[], "main");
            loop {
                let Some(task) = program.spawned.borrow_mut().pop() else {
                    break;
                };
                finished(task).await;
            }
            program.note(&[], "end");
            let mut notes = program.notes.take();
            notes.sort();
            notes
        }
    };
}

mod here {
    use std::time::{Duration, Instant};

    use trefoil::time::{Interval, MissedTick, interval, now, sleep};
    use trefoil::{EventLoop, Task, spawn, timeout};

    use super::*;

    type Spawned = Task<()>;

    async fn finished(task: Spawned) {
        task.await.unwrap();
    }

    fn ticks(period: Duration, missed: Missed) -> Interval {
        interval(period).missed_tick(match missed {
            Missed::Burst => MissedTick::Burst,
            Missed::Skip => MissedTick::Skip,
        })
    }

    interpreter!();

    pub(super) fn run(steps: Vec<Step>) -> Vec<Note> {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        event_loop.block_on(whole(steps))
    }
}

mod theirs {
    use std::time::Duration;

    use tokio::runtime::Builder;
    use tokio::task::{JoinHandle, LocalSet, spawn_local as spawn};
    use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

    use super::*;

    type Spawned = JoinHandle<()>;

    fn now() -> Instant {
        Instant::now()
    }

    async fn finished(task: Spawned) {
        task.await.unwrap();
    }

    fn ticks(period: Duration, missed: Missed) -> Interval {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(match missed {
            Missed::Burst => MissedTickBehavior::Burst,
            Missed::Skip => MissedTickBehavior::Skip,
        });
        ticks
    }

    interpreter!();

    pub(super) fn run(steps: Vec<Step>) -> Vec<Note> {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, whole(steps))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn notes_are_tokios(program in programs()) {
        prop_assert_eq!(here::run(program.clone()), theirs::run(program));
    }
}
