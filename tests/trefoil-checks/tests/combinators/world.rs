//! Operations on real tasks and on the model at once.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use trefoil::{Completer, SharedTask, Task, TaskId};

use crate::group::Group;
use crate::many::{Back, Kind, Many};
use crate::model::{Model, Owner};
use crate::op::{At, Op, op};
use crate::probe::{self, Ledger, Out, Probe, Waiting, listen, no_waker_is_kept, reported_here};
use crate::{Watchdog, runner};

type Watch = Pin<Box<dyn Future<Output = ()>>>;

/// The producer of a promise.
struct Producer {
    task: usize,
    completer: Rc<Completer<Probe>>,
    /// `Completer::cancelled`, and the code that awaits it.
    watch: Option<(Watch, Waiting)>,
}

/// A task that the test has itself.
struct Loose {
    task: usize,
    real: Task<Probe>,
    waiting: Waiting,
}

struct Sharer {
    record: usize,
    real: SharedTask<Probe>,
    waiting: Waiting,
}

/// What the callbacks of `Task::on_done` have seen.
type Calls = Arc<Mutex<Vec<(usize, Out)>>>;

#[derive(Default)]
struct World {
    model: Model,
    ledger: Arc<Ledger>,
    numbers: HashMap<TaskId, usize>,
    producers: Vec<Producer>,
    loose: Vec<Loose>,
    many: Vec<Many>,
    groups: Vec<Group>,
    shared: Vec<Sharer>,
    calls: Calls,
}

/// One of `list`, if there is one.
fn pick<T>(list: &mut [T], at: At) -> Option<&mut T> {
    (!list.is_empty()).then(|| &mut list[usize::from(at) % list.len()])
}

/// Takes one out of `list`, if there is one.
fn take<T>(list: &mut Vec<T>, at: At) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(usize::from(at) % list.len()))
}

impl World {
    fn enter(&mut self, task: usize, real: Task<Probe>) {
        self.numbers.insert(real.id(), task);
        self.loose.push(Loose {
            task,
            real,
            waiting: Waiting::default(),
        });
    }

    fn take_loose(&mut self, at: At) -> Option<Back> {
        take(&mut self.loose, at).map(|loose| (loose.task, loose.real))
    }

    fn apply(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Promise | Op::Ready | Op::Complete(..) | Op::DropCompleter(_) => self.produce(op),
            Op::Watch(..) | Op::Unwatch(_) => self.watch(op),
            Op::Combine(..) | Op::PollMany(..) | Op::DropMany(_) => self.combine(op),
            Op::Group
            | Op::Add(..)
            | Op::CancelGroup(_)
            | Op::Next(..)
            | Op::JoinGroup(..)
            | Op::PollGroup(..)
            | Op::Forget(_)
            | Op::DropGroup(_) => self.group(op),
            Op::Share(_)
            | Op::CloneShared(_)
            | Op::PollShared(..)
            | Op::TryShared(_)
            | Op::CancelShared(_)
            | Op::DropShared(_) => self.share(op),
            _ => self.consume(op),
        }
    }

    fn produce(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Promise => {
                let (completer, real) = Completer::new();
                let task = self.model.task(None, None);
                assert_eq!(completer.id(), real.id());
                self.enter(task, real);
                self.producers.push(Producer {
                    task,
                    completer: Rc::new(completer),
                    watch: None,
                });
            }
            Op::Ready => {
                let task = self.model.task(Some(Out::Value(7)), None);
                self.enter(task, Task::ready(self.ledger.probe(7)));
            }
            Op::Complete(at, out) => {
                let producer = take(&mut self.producers, at)?;
                let task = producer.task;
                let out = if out == Out::Panicked {
                    Out::Closed
                } else {
                    out
                };
                producer.into_completer().complete(out.make(&self.ledger));
                self.model.finish(task, out);
            }
            Op::DropCompleter(at) => {
                let producer = take(&mut self.producers, at)?;
                let task = producer.task;
                drop(producer.into_completer());
                self.model.finish(task, Out::Closed);
            }
            _ => unreachable!(),
        }
        Some(())
    }

    fn watch(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Watch(at, fresh) => {
                let producer = pick(&mut self.producers, at)?;
                let completer = producer.completer.clone();
                let (future, waiting) = producer.watch.get_or_insert_with(|| {
                    let future = Box::pin(async move { completer.cancelled().await });
                    (
                        future as Pin<Box<dyn Future<Output = ()>>>,
                        Waiting::default(),
                    )
                });
                let polled = waiting.poll(fresh, |cx| future.as_mut().poll(cx));
                let cancelled = self.model.tasks[producer.task].cancelled;
                assert_eq!(polled.is_ready(), cancelled);
                if cancelled {
                    producer.watch = None;
                }
            }
            Op::Unwatch(at) => pick(&mut self.producers, at)?.watch = None,
            _ => unreachable!(),
        }
        Some(())
    }

    fn consume(&mut self, op: Op) -> Option<()> {
        let model = &mut self.model;
        match op {
            Op::Poll(at, fresh) => {
                let loose = pick(&mut self.loose, at)?;
                let real = Pin::new(&mut loose.real);
                let polled = loose.waiting.poll(fresh, |cx| real.poll(cx));
                assert_eq!(polled.is_ready(), model.ended(loose.task));
                if let std::task::Poll::Ready(result) = polled {
                    assert_eq!(Out::of(&result), model.take(loose.task));
                }
            }
            Op::TryJoin(at) => {
                let loose = pick(&mut self.loose, at)?;
                let result = loose.real.try_join();
                assert_eq!(result.is_some(), model.ended(loose.task));
                if let Some(result) = result {
                    assert_eq!(Out::of(&result), model.take(loose.task));
                }
            }
            Op::JoinForNoTime(at) => {
                let loose = pick(&mut self.loose, at)?;
                let result = loose.real.join_timeout(Duration::ZERO);
                if model.ended(loose.task) {
                    assert_eq!(Out::of(&result), model.take(loose.task));
                } else {
                    assert_eq!(Out::of(&result), Out::Late);
                    loose.waiting = Waiting::default(); // the wait took the waker's place
                }
            }
            Op::Join(at) => {
                let at = usize::from(at) % self.loose.len().max(1);
                if model.ended(self.loose.get(at)?.task) {
                    let loose = self.loose.remove(at);
                    let result = loose.real.join();
                    assert_eq!(Out::of(&result), model.take(loose.task));
                }
            }
            Op::Cancel(at) => {
                let loose = pick(&mut self.loose, at)?;
                assert_eq!(loose.real.cancel(), model.cancel(loose.task));
            }
            Op::Drop(at) => {
                let loose = take(&mut self.loose, at)?;
                drop(loose.real);
                loose.waiting.over();
                model.drop_handle(loose.task);
            }
            Op::CancelOnDrop(at) => {
                let loose = take(&mut self.loose, at)?;
                drop(loose.real.cancel_on_drop());
                model.cancel(loose.task);
                model.drop_handle(loose.task);
            }
            Op::Map(at, panics) => {
                let (task, real) = self.take_loose(at)?;
                let mapped = real.map(move |value| {
                    if panics {
                        std::panic::resume_unwind(Box::new("mapping fails"));
                    }
                    value.mapped()
                });
                let number = self.model.task(None, Some(task));
                self.model.give(task, Owner::Map(number, panics));
                self.enter(number, mapped);
            }
            Op::OnDone(at) => {
                let (task, real) = self.take_loose(at)?;
                let calls = self.calls.clone();
                real.on_done(move |result| calls.lock().unwrap().push((task, Out::of(&result))));
                self.model.give(task, Owner::Callback);
            }
            _ => unreachable!(),
        }
        Some(())
    }

    fn combine(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Combine(kind, bits, turn) => {
                let (chosen, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.loose)
                    .into_iter()
                    .enumerate()
                    .partition(|(place, _)| bits & (1 << (place % 16)) != 0);
                self.loose = left.into_iter().map(|(_, loose)| loose).collect();
                let mut tasks: Vec<Back> = chosen
                    .into_iter()
                    .map(|(_, loose)| (loose.task, loose.real))
                    .collect();
                if turn {
                    tasks.reverse();
                }
                if tasks.is_empty() && matches!(kind, Kind::Timeout(_)) {
                    return None;
                }
                let (many, rest) = Many::new(kind, tasks, &mut self.model);
                self.many.push(many);
                self.take_back(rest);
            }
            Op::PollMany(at, fresh) => {
                let place = usize::from(at) % self.many.len().max(1);
                let (over, back) = self.many.get_mut(place)?.poll(fresh, &mut self.model);
                self.take_back(back);
                if over {
                    self.many.remove(place).end(&mut self.model);
                }
            }
            Op::DropMany(at) => take(&mut self.many, at)?.end(&mut self.model),
            _ => unreachable!(),
        }
        Some(())
    }

    fn take_back(&mut self, tasks: Vec<Back>) {
        for (task, real) in tasks {
            self.enter(task, real);
        }
    }

    fn group(&mut self, op: Op) -> Option<()> {
        let model = &mut self.model;
        match op {
            Op::Group => self.groups.push(Group::new()),
            Op::Add(at, task, by_handle) => {
                let group = pick(&mut self.groups, at)?;
                let loose = take(&mut self.loose, task)?;
                group.add(loose.task, loose.real, by_handle, model);
            }
            Op::CancelGroup(at) => pick(&mut self.groups, at)?.cancel(model),
            Op::Next(at, fresh, once) => pick(&mut self.groups, at)?.next(fresh, once, model),
            Op::JoinGroup(at, fresh) => pick(&mut self.groups, at)?.join(fresh, model),
            Op::PollGroup(at, fresh) => pick(&mut self.groups, at)?.poll(fresh, model),
            Op::Forget(at) => pick(&mut self.groups, at)?.forget(),
            Op::DropGroup(at) => pick(&mut self.groups, at)?.end(model),
            _ => unreachable!(),
        }
        Some(())
    }

    fn share(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Share(at) => {
                let (task, real) = self.take_loose(at)?;
                if self.model.tasks[task].taken {
                    return None; // there is nothing to share; the handle is dropped
                }
                let real = real.shared();
                let record = self.model.share(task);
                self.shared.push(Sharer {
                    record,
                    real,
                    waiting: Waiting::default(),
                });
            }
            Op::CloneShared(at) => {
                let sharer = pick(&mut self.shared, at)?;
                self.model.shared[sharer.record].handles += 1;
                let clone = Sharer {
                    record: sharer.record,
                    real: sharer.real.clone(),
                    waiting: Waiting::default(),
                };
                self.shared.push(clone);
            }
            Op::PollShared(at, fresh) => {
                let sharer = pick(&mut self.shared, at)?;
                let real = Pin::new(&mut sharer.real);
                let result = match sharer.waiting.poll(fresh, |cx| real.poll(cx)) {
                    std::task::Poll::Ready(result) => Some(Out::of(&result)),
                    std::task::Poll::Pending => None,
                };
                let record = &mut self.model.shared[sharer.record];
                assert_eq!(result, record.result);
                record.observed |= result.is_some();
            }
            Op::TryShared(at) => {
                let sharer = pick(&mut self.shared, at)?;
                let record = &mut self.model.shared[sharer.record];
                let result = sharer.real.try_join().map(|result| Out::of(&result));
                assert_eq!(result, record.result);
                record.observed |= result.is_some();
                if result.is_some() {
                    assert_eq!(Some(Out::of(&sharer.real.join())), result);
                }
            }
            Op::CancelShared(at) => {
                let sharer = pick(&mut self.shared, at)?;
                let task = self.model.shared[sharer.record].task;
                assert_eq!(sharer.real.cancel(), self.model.cancel(task));
            }
            Op::DropShared(at) => {
                let sharer = take(&mut self.shared, at)?;
                drop(sharer.real);
                sharer.waiting.over();
                self.model.drop_shared(sharer.record);
            }
            _ => unreachable!(),
        }
        Some(())
    }

    /// All that can be seen is as the model has it.
    fn check(&mut self) {
        let model = &mut self.model;
        let mut reports: Vec<_> = reported_here()
            .into_iter()
            .map(|(id, out)| (self.numbers[&id], out))
            .collect();
        reports.sort_unstable();
        model.reports.sort_unstable();
        assert_eq!(reports, std::mem::take(&mut model.reports), "reports");
        assert_eq!(
            std::mem::take(&mut *self.calls.lock().unwrap()),
            std::mem::take(&mut model.calls),
            "callbacks"
        );
        for producer in &self.producers {
            let cancelled = model.tasks[producer.task].cancelled;
            assert_eq!(producer.completer.is_cancelled(), cancelled);
            if let Some((_, waiting)) = &producer.watch {
                assert!(!cancelled || waiting.woken_or_idle());
            }
        }
        for loose in &self.loose {
            let ended = model.ended(loose.task);
            assert_eq!(loose.real.is_finished(), ended);
            assert!(!ended || loose.waiting.woken_or_idle(), "{}", loose.task);
        }
        for sharer in &self.shared {
            let ended = model.shared[sharer.record].result.is_some();
            assert_eq!(sharer.real.is_finished(), ended);
            assert!(!ended || sharer.waiting.woken_or_idle());
        }
        self.many.iter().for_each(|many| many.check(model));
        self.groups.iter().for_each(|group| group.check(model));
    }

    /// Drops everything, what waits before what it waits for.
    fn end(mut self) {
        let first = 0;
        for _ in 0..self.many.len() {
            self.apply(Op::DropMany(first));
            self.check();
        }
        while !self.shared.is_empty() {
            self.apply(Op::DropShared(first));
            self.check();
        }
        for group in &mut self.groups {
            group.end(&mut self.model);
        }
        self.check();
        while !self.loose.is_empty() {
            self.apply(Op::Drop(first));
            self.check();
        }
        while !self.producers.is_empty() {
            self.apply(Op::DropCompleter(first));
            self.check();
        }
        assert!(self.model.tasks.iter().all(|task| task.end.is_some()));
        let ledger = self.ledger.clone();
        drop(self);
        ledger.settle();
        no_waker_is_kept();
    }
}

impl Producer {
    fn into_completer(mut self) -> Completer<Probe> {
        self.watch = None;
        Rc::into_inner(self.completer).expect("only the watch had it too")
    }
}

#[test]
fn they_do_what_the_model_does() {
    listen();
    let watchdog = Watchdog::new();
    let operations = prop::collection::vec(op(), 1..120);
    let outcome = runner(700).run(&operations, |operations| {
        watchdog.all_is_well();
        probe::reset();
        let mut world = World::default();
        for op in operations {
            world.apply(op);
            world.check();
        }
        world.end();
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
