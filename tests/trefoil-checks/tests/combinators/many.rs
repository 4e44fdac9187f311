//! `join_all`, `try_join_all`, `race`, `as_completed`, `wait` and `timeout` beside
//! what the model says of them.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures::Stream;
use trefoil::task::{AsCompleted, JoinAll, Race, Timeout, TryJoinAll, Wait};
use trefoil::{Task, Until, as_completed, join_all, race, timeout, try_join_all, wait};

use crate::model::Model;
use crate::probe::{Out, Probe, Waiting};

/// Which combinator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    JoinAll,
    TryJoinAll,
    Race,
    AsCompleted,
    /// With a time of zero, or none.
    Wait(Until, bool),
    /// Of the first task alone; with a time of zero, or one without end.
    Timeout(bool),
}

enum Future {
    JoinAll(JoinAll<Probe>),
    TryJoinAll(TryJoinAll<Probe>),
    Race(Race<Probe>),
    AsCompleted(AsCompleted<Probe>),
    Wait(Wait<Probe>),
    Timeout(Timeout<Task<Probe>>),
}

/// A combinator that is polled now and then.
pub(crate) struct Many {
    kind: Kind,
    future: Option<Future>,
    /// Its tasks, without those whose results it has given.
    members: Vec<usize>,
    /// When it was made.
    since: u64,
    waiting: Waiting,
}

/// A task that came back.
pub(crate) type Back = (usize, Task<Probe>);

impl Many {
    /// Takes `tasks`; returns those that it cannot use.
    pub(crate) fn new(kind: Kind, mut tasks: Vec<Back>, model: &mut Model) -> (Self, Vec<Back>) {
        let rest = match kind {
            Kind::Timeout(_) => tasks.split_off(1),
            _ => Vec::new(),
        };
        let (members, mut tasks): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        let time = |zero: bool| if zero { Duration::ZERO } else { Duration::MAX };
        let future = match kind {
            Kind::JoinAll => Future::JoinAll(join_all(tasks)),
            Kind::TryJoinAll => Future::TryJoinAll(try_join_all(tasks)),
            Kind::Race => Future::Race(race(tasks)),
            Kind::AsCompleted => Future::AsCompleted(as_completed(tasks)),
            Kind::Wait(until, zero) => Future::Wait(wait(tasks, until, zero.then_some(time(true)))),
            Kind::Timeout(zero) => Future::Timeout(timeout(time(zero), tasks.remove(0))),
        };
        let many = Self {
            kind,
            future: Some(future),
            members,
            since: model.now(),
            waiting: Waiting::default(),
        };
        (many, rest)
    }

    /// The tasks that have ended, in the order in which this heard of them.
    fn heard(&self, model: &Model) -> Vec<usize> {
        let mut ended: Vec<_> = self
            .members
            .iter()
            .filter_map(|&task| Some((model.known(task, self.since)?, task)))
            .collect();
        ended.sort_by_key(|(at, _)| *at); // stable: before `since`, as they stand
        ended.into_iter().map(|(_, task)| task).collect()
    }

    fn ready(&self, model: &Model) -> bool {
        let heard = self.heard(model);
        let all = heard.len() == self.members.len();
        match self.kind {
            Kind::JoinAll => all,
            Kind::TryJoinAll => all || heard.iter().any(|&task| model.peek(task).failed()),
            Kind::Race | Kind::AsCompleted => self.members.is_empty() || !heard.is_empty(),
            Kind::Wait(_, true) | Kind::Timeout(true) => true,
            Kind::Wait(Until::First, _) => self.members.is_empty() || !heard.is_empty(),
            Kind::Wait(Until::FirstError, _) => {
                all || heard
                    .iter()
                    .any(|&task| model.peek(task).failed_by_itself())
            }
            Kind::Wait(..) | Kind::Timeout(false) => all,
        }
    }

    /// Checks that a poller that was pending, and need not wait any more, has been woken.
    pub(crate) fn check(&self, model: &Model) {
        assert!(
            !self.ready(model) || self.waiting.woken_or_idle(),
            "{:?} over {:?} was not woken",
            self.kind,
            self.members
        );
    }

    /// Polls once. True: it is over. Tasks may come back.
    pub(crate) fn poll(&mut self, fresh: bool, model: &mut Model) -> (bool, Vec<Back>) {
        let ready = self.ready(model);
        let heard = self.heard(model);
        let future = self.future.as_mut().unwrap();
        let waiting = &mut self.waiting;
        let members = std::mem::take(&mut self.members);
        macro_rules! poll {
            ($future:expr) => {
                poll!($future, poll)
            };
            ($future:expr, $poll:ident) => {
                match waiting.poll(fresh, |cx| Pin::new($future).$poll(cx)) {
                    Poll::Ready(output) => {
                        assert!(ready, "{:?} is ready too early", self.kind);
                        output
                    }
                    Poll::Pending => {
                        assert!(!ready, "{:?} is not ready in time", self.kind);
                        self.members = members;
                        return (false, Vec::new());
                    }
                }
            };
        }
        match future {
            Future::JoinAll(all) => {
                let outs: Vec<_> = poll!(all).iter().map(Out::of).collect();
                let expected: Vec<_> = members.iter().map(|&task| model.take(task)).collect();
                assert_eq!(outs, expected);
            }
            Future::TryJoinAll(all) => {
                let result = poll!(all);
                let failed = heard.iter().find(|&&task| model.peek(task).failed());
                match (result, failed) {
                    (Ok(values), None) => {
                        let outs: Vec<_> = values.iter().map(|v| Out::Value(v.key)).collect();
                        let expected: Vec<_> =
                            members.iter().map(|&task| model.take(task)).collect();
                        assert_eq!(outs, expected);
                    }
                    (Err(error), Some(&failed)) => {
                        assert_eq!(Out::of_error(&error), model.take(failed));
                        end_the_rest(&members, failed, model);
                    }
                    (result, failed) => panic!(
                        "{:?}, but the first that failed is {failed:?}",
                        result.map(|values| values.len())
                    ),
                }
            }
            Future::Race(all) => {
                let result = Out::of(&poll!(all));
                match members.iter().find(|&&task| model.ended(task)) {
                    None => assert_eq!(result, Out::Closed),
                    Some(&winner) => {
                        assert_eq!(result, model.take(winner));
                        end_the_rest(&members, winner, model);
                    }
                }
            }
            Future::AsCompleted(all) => {
                assert_eq!(all.size_hint(), (members.len(), Some(members.len())));
                match poll!(all, poll_next) {
                    None => assert!(members.is_empty()),
                    Some(result) => {
                        assert_eq!(Out::of(&result), model.take(heard[0]));
                        self.members = members;
                        self.members.retain(|&task| task != heard[0]);
                        return (false, Vec::new());
                    }
                }
            }
            Future::Wait(all) => {
                let (done, pending) = poll!(all);
                let (ended, left): (Vec<_>, Vec<_>) =
                    members.iter().partition(|&&task| model.ended(task));
                assert_eq!((done.len(), pending.len()), (ended.len(), left.len()));
                let back = ended
                    .into_iter()
                    .chain(left)
                    .zip(done.into_iter().chain(pending));
                return (true, back.collect());
            }
            Future::Timeout(one) => match poll!(one) {
                Ok(result) => assert_eq!(Out::of(&result), model.take(members[0])),
                Err(error) => {
                    assert_eq!(Out::of_error(&error), Out::Late);
                    assert!(!model.ended(members[0]), "it was there at the deadline");
                    self.members = members; // it has it still
                }
            },
        }
        (true, Vec::new())
    }

    /// Drops it where it stands.
    pub(crate) fn end(mut self, model: &mut Model) {
        drop(self.future.take());
        self.waiting.over();
        for task in self.members {
            model.drop_handle(task);
        }
    }
}

/// All but one are cancelled, then dropped.
fn end_the_rest(members: &[usize], but: usize, model: &mut Model) {
    for &task in members {
        if task != but {
            model.cancel(task);
            model.drop_handle(task);
        }
    }
}
