//! What can happen to tasks, drawn at random.

use proptest::prelude::*;
use trefoil::Until;

use crate::many::Kind;
use crate::probe::{MAPPED, Out};

/// Chooses among what there is.
pub(crate) type At = u8;

/// One step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Promise,
    Ready,
    Complete(At, Out),
    DropCompleter(At),
    /// Polls `Completer::cancelled`.
    Watch(At, bool),
    Unwatch(At),
    Poll(At, bool),
    TryJoin(At),
    /// Of a task that has ended.
    Join(At),
    JoinForNoTime(At),
    Cancel(At),
    Drop(At),
    CancelOnDrop(At),
    Map(At, bool),
    OnDone(At),
    /// Of the tasks whose bit is set, or of none.
    Combine(Kind, u16, bool),
    PollMany(At, bool),
    DropMany(At),
    Group,
    Add(At, At, bool),
    CancelGroup(At),
    Next(At, bool, bool),
    JoinGroup(At, bool),
    PollGroup(At, bool),
    Forget(At),
    DropGroup(At),
    Share(At),
    CloneShared(At),
    PollShared(At, bool),
    TryShared(At),
    CancelShared(At),
    DropShared(At),
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let at = any::<At>;
    let flag = any::<bool>;
    let out = prop_oneof![
        4 => (0..MAPPED).prop_map(Out::Value),
        1 => Just(Out::Cancelled),
        1 => Just(Out::Closed),
        2 => Just(Out::Late),
    ];
    let until = prop_oneof![
        Just(Until::First),
        Just(Until::FirstError),
        Just(Until::All)
    ];
    let kind = prop_oneof![
        2 => Just(Kind::JoinAll),
        2 => Just(Kind::TryJoinAll),
        2 => Just(Kind::Race),
        2 => Just(Kind::AsCompleted),
        2 => (until, prop::bool::weighted(0.2)).prop_map(|(until, zero)| Kind::Wait(until, zero)),
        1 => flag().prop_map(Kind::Timeout),
    ];
    let tasks = prop_oneof![
        14 => Just(Op::Promise),
        2 => Just(Op::Ready),
        10 => (at(), out).prop_map(|(at, out)| Op::Complete(at, out)),
        2 => at().prop_map(Op::DropCompleter),
        2 => (at(), flag()).prop_map(|(at, fresh)| Op::Watch(at, fresh)),
        1 => at().prop_map(Op::Unwatch),
        4 => (at(), flag()).prop_map(|(at, fresh)| Op::Poll(at, fresh)),
        1 => at().prop_map(Op::TryJoin),
        1 => at().prop_map(Op::Join),
        1 => at().prop_map(Op::JoinForNoTime),
        1 => at().prop_map(Op::Cancel),
        1 => at().prop_map(Op::Drop),
        1 => at().prop_map(Op::CancelOnDrop),
        2 => (at(), prop::bool::weighted(0.2)).prop_map(|(at, panics)| Op::Map(at, panics)),
        1 => at().prop_map(Op::OnDone),
    ];
    let many = prop_oneof![
        4 => (kind, any::<u16>(), flag()).prop_map(|(kind, bits, turn)| Op::Combine(kind, bits, turn)),
        8 => (at(), flag()).prop_map(|(at, fresh)| Op::PollMany(at, fresh)),
        1 => at().prop_map(Op::DropMany),
    ];
    let groups = prop_oneof![
        1 => Just(Op::Group),
        5 => (at(), at(), flag()).prop_map(|(at, task, handle)| Op::Add(at, task, handle)),
        1 => at().prop_map(Op::CancelGroup),
        3 => (at(), flag(), flag()).prop_map(|(at, fresh, once)| Op::Next(at, fresh, once)),
        2 => (at(), flag()).prop_map(|(at, fresh)| Op::JoinGroup(at, fresh)),
        4 => (at(), flag()).prop_map(|(at, fresh)| Op::PollGroup(at, fresh)),
        1 => at().prop_map(Op::Forget),
        1 => at().prop_map(Op::DropGroup),
    ];
    let shared = prop_oneof![
        2 => at().prop_map(Op::Share),
        2 => at().prop_map(Op::CloneShared),
        4 => (at(), flag()).prop_map(|(at, fresh)| Op::PollShared(at, fresh)),
        1 => at().prop_map(Op::TryShared),
        1 => at().prop_map(Op::CancelShared),
        3 => at().prop_map(Op::DropShared),
    ];
    prop_oneof![10 => tasks, 5 => many, 5 => groups, 3 => shared]
}
