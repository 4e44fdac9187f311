//! What simulated workers do: they read frames, run items, answer, and die.

use super::*;
use crate::process::job::job_id::INITIALIZE;
use crate::process::sched::start;

impl World {
    /// A worker checks whether the item that it runs is wanted.
    pub(super) fn ring(&mut self, index: usize) {
        // Every second item obeys.
        let obeys = self.chance(2);
        let Some(sim) = &self.sims[index] else {
            return;
        };
        let front = sim.inbox.front().map(|(head, _)| head.sequence);
        let unwanted =
            front.is_some_and(|front| sim.gates.gate(front as usize % GATES).is_unwanted());
        if let (true, Some(item)) = (unwanted, sim.running) {
            assert!(!self.is_wanted(item), "an innocent is cancelled: {item:?}");
            self.rung += 1;
            if let (true, Some(sim)) = (obeys, &mut self.sims[index]) {
                sim.until = self.now;
            }
        }
    }

    /// Whether the result of this item may still be wanted.
    pub(super) fn is_wanted(&self, item: Item) -> bool {
        let (job, index) = item;
        let book = self.book.lock().unwrap();
        let known = self.jobs[&job];
        let late = |item| {
            known
                .timeout
                .is_some_and(|timeout| book.overtime(item, timeout))
        };
        if self.cancelled.contains(&job) || book.ended.contains_key(&job) {
            return false;
        }
        let is_it = |failed: &FailedItem| (failed.of.job.number(), failed.of.at as u64) == item;
        let new = |chore: &Chore| matches!(chore, Chore::Fail(failed) if is_it(failed));
        if self.sched.chores.iter().any(new) || self.failing.iter().any(is_it) {
            return false; // it has failed
        }
        if known.each {
            return !book.errors.contains_key(&item);
        }
        // (What has not begun when the pool ends never does, so what is behind it is unwanted.)
        let ends = self.sched.is_stopped();
        let lost = |item| ends && !self.ran.contains_key(&item);
        let fails = |item| self.fatal.contains(&item) || late(item) || lost(item);
        let below = (0..index).any(|i| fails((job, i)));
        !(below || late(item) || self.panicked.contains(&job))
    }

    /// A worker reads a frame, at any time if it is plain.
    pub(super) fn read(&mut self, worker: usize, bytes: &[u8]) {
        let Some(sim) = &mut self.sims[worker] else {
            return;
        };
        assert!(sim.hello, "nothing is sent before hello");
        self.most_frames = self.most_frames.max(sim.inbox.len() + 1);
        match Frame::decode(bytes).unwrap().unwrap().0 {
            Frame::Batch { batch, items, .. } => {
                let mut reader = Reader(items);
                let items: VecDeque<Item> =
                    std::iter::from_fn(|| reader.bytes().map(item)).collect();
                assert_eq!(items.len() as u64, batch.count);
                let known = self.jobs.get(&items[0].0).copied().unwrap_or_default();
                let noted = u64::from(known.until.is_some()) * u64::MAX;
                let limit = known.timeout.map(|timeout| timeout.as_nanos() as u64);
                assert_eq!(batch.limit, limit.unwrap_or(noted));
                assert_ne!(limit, Some(0), "it has no time to run");
                assert!(self.plain || known.until.is_none_or(|until| self.now < until));
                assert_eq!(batch.context, if known.context { items[0].0 } else { 0 });
                assert!(!known.context || sim.contexts.contains(&batch.context));
                let laden = items.iter().any(|item| self.attachments.contains_key(item));
                assert_eq!(batch.ends, laden);
                if laden || known.context && known.ends {
                    assert!(sim.inbox.is_empty(), "it waits behind another");
                    assert!(items.len() == 1 || !laden);
                }
                let gate = sim.gates.gate(batch.sequence as usize % GATES);
                if self.plain {
                    gate.open(batch.count as u32, 1);
                }
                sim.inbox.push_back((batch, items));
                assert!(sim.inbox.len() <= GATES);
            }
            Frame::Context { id, bytes } => {
                let context = item(Reader(bytes).bytes().unwrap());
                assert_eq!(context, (id, id));
                assert!(sim.contexts.insert(id), "a context comes once");
            }
            Frame::Forget { id } => {
                assert!(sim.contexts.remove(&id));
            }
            Frame::Bye => sim.leaves = true,
            Frame::Recall { sequence, cancel } => {
                assert!(self.plain);
                let gate = sim.gates.gate(sequence as usize % GATES);
                let end = gate.close().into();
                sim.said.extend(Record::Recalled { sequence, end }.bytes());
                if cancel {
                    gate.disown();
                    self.ring(worker);
                }
            }
            Frame::Welcome { .. }
            | Frame::Descriptors(_)
            | Frame::Copy { .. }
            | Frame::Keep(_)
            | Frame::Release(_)
            | Frame::Nudge
            | Frame::Tree
            | Frame::Fork(_)
            | Frame::Home => unreachable!(),
            Frame::Chaos(_) => {} // accidents are this simulation's own business
        }
    }

    /// One step of one worker.
    pub(super) fn work(&mut self, index: usize) {
        let (mut panics, dies) = (
            self.hostile && self.chance(200),
            self.hostile && self.chance(60),
        );
        let retires = self.hostile && self.chance(80);
        let is_heavy = self.hostile && self.chance(80);
        let asks = self.hostile && self.chance(30);
        let reads = self.chance(2);
        let until = self.now + Duration::from_millis(if self.chance(20) { 60 } else { 0 });
        let runs = |sim: &&mut Sim| !(sim.frozen || sim.killed && sim.held);
        let Some(sim) = self.sims[index].as_mut().filter(runs) else {
            return;
        };
        if !sim.hello {
            sim.hello = true;
            start::hello(&mut self.sched, SlotId(index));
            return;
        }
        if reads && let Some(frame) = sim.unread.pop_front() {
            return self.read(index, &frame);
        }
        if let Some(item) = sim.running {
            if dies {
                return self.die(index);
            }
            if self.now < sim.until {
                return;
            }
            if item.0 == INITIALIZE.number() {
                panics = self.hostile && self.fragile && self.next_job > 20;
                self.broken |= panics;
                sim.initialized = !panics;
            }
            let limit = sim.inbox.front().map_or(0, |(batch, _)| batch.limit);
            let nanos = (self.now - sim.since).as_nanos() as u64;
            if limit != 0 && nanos >= limit {
                sim.said.extend(Record::Late { nanos }.bytes());
            } else if panics {
                let (message, place) = ("oh".to_owned(), None);
                sim.said.extend(Record::Panic { message, place }.bytes());
                self.panicked.insert(item.0);
            } else {
                let value = postcard::to_stdvec(&item).unwrap();
                sim.said.extend(wire::value_head(value.len()));
                sim.said.extend(value);
            }
            sim.running = None;
            if asks && item.0 != INITIALIZE.number() && !sim.retires {
                (sim.retires, sim.asks) = (true, true);
                self.asked += 1;
            }
            if panics && item.0 == INITIALIZE.number() {
                self.hear(index, true); // at once, so that later output is after it
            }
            return;
        }
        let Some((batch, items)) = sim.inbox.front_mut() else {
            if sim.leaves {
                self.die(index);
            }
            return;
        };
        let gate = sim.gates.gate(batch.sequence as usize % GATES);
        // (One that retires before its first item breaks the pool.)
        let may = sim.begun > 0 && sim.served > 0 && !sim.retires;
        if may && is_heavy {
            sim.said.extend(Record::Heavy.bytes());
        } else if may && retires {
            sim.retires = true;
            self.retired += 1;
            gate.close();
            sim.said.extend(Record::Retire { asked: false }.bytes());
        }
        if sim.retires {
            gate.close();
        }
        sim.since = self.now;
        if batch.limit != 0 {
            let since = self.now - self.epoch.instant;
            gate.starts(self.epoch.nanos + since.as_nanos() as u64);
        }
        if gate.pass().is_some() {
            if self.plain {
                sim.said.extend(Record::Begun.bytes());
            }
            let item = items.pop_front().unwrap();
            sim.begun += 1;
            sim.running = Some(item);
            sim.until = until;
            if batch.ends {
                sim.said.extend(Record::Taken.bytes());
                self.laden += 1;
            }
            let foreign = |id: &u64| *id != item.0 && self.jobs[id].ends;
            assert!(!sim.contexts.iter().any(foreign), "others' ends are open");
            if item.0 == INITIALIZE.number() {
                return;
            }
            sim.served += 1;
            assert!(sim.initialized, "{item:?} comes before the initializer");
            assert!(!sim.retires, "{item:?} begins on a worker that retires");
            assert!(self.replace_after.is_none_or(|most| sim.served <= most));
            let is_denied = self.book.lock().unwrap().is_denied(item);
            assert!(
                !is_denied,
                "it was said of {item:?} that it would not begin"
            );
            let known = self.jobs[&item.0];
            // (A plain worker may not have heard yet that its time is over.)
            let in_time = known.until.is_none_or(|until| self.now < until);
            assert!(in_time || self.plain, "{item:?} begins too late");
            let runs = self.ran.entry(item).or_insert(0);
            *runs += 1;
            assert!(
                *runs == 1 || self.fatal.contains(&item),
                "{item:?} runs twice"
            );
            assert!(*runs <= 1 + known.retry, "{item:?} runs too often");
            let running = self.sims.iter().flatten().filter_map(|sim| sim.running);
            let times = running.filter(|one| *one == item).count();
            assert_eq!(times, 1, "{item:?} runs twice at once");
            self.book.lock().unwrap().started.insert(item, self.now);
        } else {
            if std::mem::take(&mut sim.asks) {
                sim.said.extend(Record::Retire { asked: true }.bytes());
            }
            let end = Record::End {
                sequence: batch.sequence,
                begun: sim.begun,
                nanos: sim.begun * 30_000,
            };
            sim.said.extend(end.bytes());
            sim.begun = 0;
            sim.inbox.pop_front();
        }
    }

    /// The scheduler reads some of a worker's output.
    pub(super) fn hear(&mut self, index: usize, all: bool) {
        let Some(length) = self.sims[index].as_ref().map(|sim| sim.said.len()) else {
            return;
        };
        let some = if all {
            length
        } else {
            self.random(length as u64 + 1) as usize
        };
        let Some(sim) = &mut self.sims[index] else {
            return;
        };
        sim.heard.extend(sim.said.drain(..some));
        let used = self
            .sched
            .receive(
                SlotId(index),
                &sim.heard,
                None,
                &mut Extras::default(),
                self.now,
            )
            .unwrap();
        sim.heard.drain(..used);
        let heard = sim.heard.is_empty() && sim.said.is_empty();
        if let (true, Some(item)) = (heard, sim.running)
            && let Some(attachment) = self.attachments.get(&item)
            && self.jobs[&item.0].retry == 0
        {
            assert_eq!(Arc::strong_count(attachment), 1, "its ends are closed here");
        }
    }

    /// Makes killed workers end soon.
    pub(super) fn execute(&mut self) {
        for index in 0..self.sims.len() {
            let sim = self.sims[index].as_ref();
            let sim = sim.filter(|sim| sim.killed && !sim.held);
            let known = sim.map(|sim| (sim.running, sim.condemned, sim.replaced));
            let Some((running, condemned, replaced)) = known else {
                continue;
            };
            if self.chance(16) {
                if let Some(item) = running.filter(|item| item.0 != INITIALIZE.number()) {
                    self.executed += 1;
                    // No gate keeps a plain worker from an item between the kill and its death.
                    let since = self.plain && condemned != running;
                    let innocent = !since && !replaced && self.is_wanted(item);
                    assert!(!innocent, "an innocent is killed: {item:?}");
                }
                self.die(index);
            }
        }
    }

    pub(super) fn die(&mut self, index: usize) {
        self.hear(index, true);
        let Some(sim) = self.sims[index].take() else {
            return;
        };
        // (It may have been ready in its last moment, so that its predecessor leaves.)
        self.accepts.remove(&self.sched.workers[index].number());
        assert!(sim.heard.is_empty());
        self.fatal
            .extend(sim.running.filter(|item| item.0 != INITIALIZE.number()));
        let mut exit = WorkerExit::new(100 + index as u32);
        exit.cause = Cause::Outside;
        self.sched.died(SlotId(index), &exit, false, self.now);
        self.hopeless |= rules::is_hopeless(&self.sched, SlotId(index));
    }
}
