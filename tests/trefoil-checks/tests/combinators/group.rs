//! A [`TaskGroup`], compared with the model.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use trefoil::{Completer, GroupError, GroupHandle, Task, TaskError, TaskGroup, TaskId};

use crate::model::Model;
use crate::probe::{Ledger, Out, Probe, Waiting};

type Joined = Result<Vec<Probe>, GroupError>;
type Next = Option<(TaskId, Result<Probe, TaskError>)>;

/// A future of the group that is polled now and then. It has the group to itself.
enum Live {
    Join(Pin<Box<dyn Future<Output = Joined>>>),
    Next(Pin<Box<dyn Future<Output = Next>>>),
}

struct Member {
    task: usize,
    id: TaskId,
    added: u64,
    /// When the group cancelled it, if it did: then its `Cancelled` is no failure.
    by_group: Option<u64>,
}

/// A group to which members are added and that is polled now and then.
pub(crate) struct Group {
    group: Option<Rc<RefCell<TaskGroup<Probe>>>>,
    handle: GroupHandle<Probe>,
    live: Option<Live>,
    waiting: Waiting,
    /// In the order of `add`, without those that were given.
    members: Vec<Member>,
    ending: bool,
    joined: bool,
    /// What the join has collected.
    values: Vec<(u64, Out)>,
    errors: Vec<(TaskId, Out)>,
    left_out: bool,
}

impl Group {
    pub(crate) fn new() -> Self {
        let group = TaskGroup::new();
        Self {
            handle: group.handle(),
            group: Some(Rc::new(RefCell::new(group))),
            live: None,
            waiting: Waiting::default(),
            members: Vec::new(),
            ending: false,
            joined: false,
            values: Vec::new(),
            errors: Vec::new(),
            left_out: false,
        }
    }

    pub(crate) fn add(
        &mut self,
        task: usize,
        real: Task<Probe>,
        by_handle: bool,
        model: &mut Model,
    ) {
        let id = real.id();
        let added = match &self.group {
            Some(group) if !by_handle && self.live.is_none() => group.borrow().add(real),
            _ => self.handle.add(real),
        };
        assert_eq!(added, id);
        if self.group.is_none() {
            model.cancel(task);
            model.drop_handle(task);
            return;
        }
        let cancelled = self.ending && model.cancel(task);
        let by_group = cancelled.then(|| model.now());
        self.members.push(Member {
            task,
            id,
            added: model.now(),
            by_group,
        });
        self.check_length();
    }

    fn check_length(&self) {
        if let (Some(group), None) = (&self.group, &self.live) {
            assert_eq!(group.borrow().len(), self.members.len());
            assert_eq!(group.borrow().is_empty(), self.members.is_empty());
        }
    }

    /// The place of the member whose end the group heard of first.
    fn first(&self, model: &Model) -> Option<usize> {
        (0..self.members.len())
            .filter_map(|place| {
                let member = &self.members[place];
                Some((model.known(member.task, member.added)?, place))
            })
            .min()
            .map(|(_, place)| place)
    }

    fn cancel_members(&mut self, model: &mut Model) {
        self.ending = true;
        let now = model.now();
        for member in &mut self.members {
            if model.cancel(member.task) {
                member.by_group = Some(now);
            }
        }
    }

    pub(crate) fn cancel(&mut self, model: &mut Model) {
        if let (Some(group), None) = (&self.group, &self.live) {
            group.borrow().cancel();
            self.cancel_members(model);
        }
    }

    fn ready(&self, model: &Model) -> bool {
        let fails = |member: &Member| {
            model.ended(member.task)
                && model.peek(member.task).failed()
                && !(member.by_group.is_some() && model.peek(member.task) == Out::Cancelled)
        };
        match &self.live {
            None => false,
            Some(Live::Next(_)) => self.members.is_empty() || self.first(model).is_some(),
            Some(Live::Join(_)) => {
                self.members.iter().all(|member| model.ended(member.task))
                    || self.members.iter().any(fails)
            }
        }
    }

    /// Checks that a poller that was pending, and need not wait any more, has been woken.
    pub(crate) fn check(&self, model: &Model) {
        assert!(
            !self.ready(model) || self.waiting.woken_or_idle(),
            "a group's owner was not woken"
        );
    }

    /// Begins to wait for all.
    #[allow(clippy::await_holding_refcell_ref)] // it is not borrowed elsewhere meanwhile
    pub(crate) fn join(&mut self, fresh: bool, model: &mut Model) {
        let (Some(group), None) = (&self.group, &self.live) else {
            return;
        };
        let group = group.clone();
        self.live = Some(Live::Join(Box::pin(async move {
            let mut group = group.borrow_mut();
            group.try_join_all().await
        })));
        if self.joined {
            let Poll::Ready(result) = self.poll_join(fresh) else {
                panic!("joining twice waits")
            };
            let error = result.err().expect("joining twice is an error");
            assert!(error.errors().is_empty() && error.to_string().contains("before"));
            self.live = None;
        } else {
            self.poll(fresh, model);
        }
    }

    /// Begins to wait for the next; or, if `once`, looks once and drops the future.
    #[allow(clippy::await_holding_refcell_ref)]
    pub(crate) fn next(&mut self, fresh: bool, once: bool, model: &mut Model) {
        if let (Some(group), None) = (&self.group, &self.live) {
            let group = group.clone();
            self.live = Some(Live::Next(Box::pin(async move {
                let mut group = group.borrow_mut();
                group.next().await
            })));
            self.poll(fresh, model);
            if once {
                self.forget();
            }
        }
    }

    fn poll_join(&mut self, fresh: bool) -> Poll<Joined> {
        let Some(Live::Join(live)) = &mut self.live else {
            panic!("no join goes on")
        };
        self.waiting.poll(fresh, |cx| live.as_mut().poll(cx))
    }

    /// Polls what goes on.
    pub(crate) fn poll(&mut self, fresh: bool, model: &mut Model) {
        let ready = self.ready(model);
        match &mut self.live {
            None => {}
            Some(Live::Next(live)) => {
                let polled = self.waiting.poll(fresh, |cx| live.as_mut().poll(cx));
                assert_eq!(
                    polled.is_ready(),
                    ready,
                    "next, {} members",
                    self.members.len()
                );
                let Poll::Ready(next) = polled else { return };
                self.forget();
                match (next, self.first(model)) {
                    (None, None) => assert!(self.members.is_empty()),
                    (Some((id, result)), Some(place)) => {
                        let expected = self.members[place].id;
                        let first = self.members[place].by_group;
                        let place = self.members.iter().position(|m| m.id == id).unwrap();
                        let member = self.members.remove(place);
                        // Those that the group cancelled at once may come in any order.
                        let tied = member.by_group.is_some() && member.by_group == first;
                        assert!(id == expected || tied);
                        assert_eq!(Out::of(&result), model.take(member.task));
                    }
                    (next, first) => panic!("{} and {first:?}", next.is_some()),
                }
                self.check_length();
            }
            Some(Live::Join(_)) => {
                let polled = self.poll_join(fresh);
                assert_eq!(
                    polled.is_ready(),
                    ready,
                    "join, {} members",
                    self.members.len()
                );
                self.follow_join(polled, model);
            }
        }
    }

    fn follow_join(&mut self, polled: Poll<Joined>, model: &mut Model) {
        while let Some(place) = self.first(model) {
            let member = self.members.remove(place);
            match model.take(member.task) {
                Out::Cancelled if member.by_group.is_some() => self.left_out = true,
                value @ Out::Value(_) => self.values.push((member.added, value)),
                failure => {
                    self.errors.push((member.id, failure));
                    if self.errors.len() == 1 {
                        self.cancel_members(model);
                    }
                }
            }
        }
        let Poll::Ready(result) = polled else { return };
        self.live = None;
        self.joined = true;
        let mut values = std::mem::take(&mut self.values);
        let errors = std::mem::take(&mut self.errors);
        let left_out = self.left_out;
        match result {
            Ok(real) => {
                assert!(errors.is_empty() && !left_out);
                values.sort_by_key(|(added, _)| *added);
                let real: Vec<_> = real.iter().map(|v| Out::Value(v.key)).collect();
                let values: Vec<_> = values.into_iter().map(|(_, value)| value).collect();
                assert_eq!(real, values);
            }
            Err(error) => {
                assert!(!errors.is_empty() || left_out);
                let real = error.errors().iter().map(|(id, e)| (*id, Out::of_error(e)));
                let real: Vec<_> = real.collect();
                assert_eq!(real, errors);
                assert_eq!(
                    error.to_string().contains("group was cancelled"),
                    errors.is_empty()
                );
            }
        }
        self.check_length();
    }

    /// Drops the future that goes on, if one does; the members stay.
    pub(crate) fn forget(&mut self) {
        self.live = None;
    }

    /// Drops the group; its handle stays.
    pub(crate) fn end(&mut self, model: &mut Model) {
        self.live = None;
        if self.group.take().is_some() {
            std::mem::take(&mut self.waiting).over();
            let members = std::mem::take(&mut self.members);
            for member in &members {
                model.cancel(member.task);
            }
            for member in members {
                model.drop_handle(member.task);
            }
        }
    }
}

/// A member that ended before it was added counts like any other: its end wakes the owner, and
/// comes after earlier ends.
#[test]
fn a_member_that_has_ended_wakes_the_owner() {
    for fails in [false, true] {
        let ledger = std::sync::Arc::new(Ledger::default());
        let mut group = TaskGroup::new();
        let handle = group.handle();
        let (completer, task) = Completer::new();
        group.add(task);
        let mut waiting = Waiting::default();
        {
            let mut join = Box::pin(group.try_join_all());
            assert!(waiting.poll(true, |cx| join.as_mut().poll(cx)).is_pending());
            if fails {
                let (failing, failed) = Completer::new();
                failing.complete(Err(TaskError::timed_out()));
                handle.add(failed);
                assert!(
                    waiting.woken_or_idle(),
                    "a group's first failure cancels the rest"
                );
                assert!(waiting.poll(true, |cx| join.as_mut().poll(cx)).is_ready());
                assert!(completer.is_cancelled());
                continue;
            }
        }
        {
            let mut next = Box::pin(group.next());
            assert!(waiting.poll(true, |cx| next.as_mut().poll(cx)).is_pending());
            handle.add(Task::ready(ledger.probe(2)));
            assert!(waiting.woken_or_idle(), "there is a next");
        }
        completer.complete(Ok(ledger.probe(3)));
        let mut keys = Vec::new();
        while let Some((_, result)) = group.next().join() {
            keys.push(result.unwrap().key);
        }
        assert_eq!(keys, [2, 3]);
    }
    let ledger = std::sync::Arc::new(Ledger::default());
    let mut group = TaskGroup::new();
    let (first, task) = Completer::new();
    group.add(task);
    first.complete(Ok(ledger.probe(1)));
    group.add(Task::ready(ledger.probe(2)));
    assert_eq!(group.next().join().unwrap().1.unwrap().key, 1);
}
