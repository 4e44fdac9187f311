//! Trees of cancel tokens against a list of parents and flags.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use trefoil::CancelToken;

use crate::probe::{self, Waiting, no_waker_is_kept};
use crate::{Watchdog, runner};

/// One step on the token at that place.
#[derive(Clone, Copy, Debug)]
enum Op {
    Root,
    Child(u8),
    /// With a deadline in so many hours, or one that has passed.
    Deadline(u8, u8),
    Clone(u8),
    Cancel(u8),
    Drop(u8),
    Wait(u8),
    Poll(u8, bool),
    /// Drops a wait.
    Leave(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let at = any::<u8>;
    prop_oneof![
        2 => Just(Op::Root),
        8 => at().prop_map(Op::Child),
        2 => (at(), 0..4u8).prop_map(|(at, hours)| Op::Deadline(at, hours)),
        1 => at().prop_map(Op::Clone),
        2 => at().prop_map(Op::Cancel),
        3 => at().prop_map(Op::Drop),
        6 => at().prop_map(Op::Wait),
        6 => (at(), any::<bool>()).prop_map(|(at, fresh)| Op::Poll(at, fresh)),
        3 => at().prop_map(Op::Leave),
    ]
}

/// What is known of a token, dropped ones included: they pass on what comes from above.
struct Node {
    parent: Option<usize>,
    cancelled: bool,
    deadline: Option<Instant>,
}

struct Wait {
    node: usize,
    future: Pin<Box<dyn Future<Output = ()>>>,
    waiting: Waiting,
}

#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    tokens: Vec<(usize, CancelToken)>,
    waits: Vec<Wait>,
}

impl Tree {
    fn enter(&mut self, parent: Option<usize>, deadline: Option<Instant>, token: CancelToken) {
        let above = parent.map(|parent| &self.nodes[parent]);
        let nearest = above.and_then(|node| node.deadline).into_iter();
        let deadline = nearest.chain(deadline).min();
        let passed = deadline.is_some_and(|deadline| deadline <= Instant::now());
        self.nodes.push(Node {
            parent,
            cancelled: passed || above.is_some_and(|node| node.cancelled),
            deadline,
        });
        self.tokens.push((self.nodes.len() - 1, token));
    }

    fn cancel(&mut self, node: usize) {
        self.nodes[node].cancelled = true;
        // A child comes after its parent.
        for child in node + 1..self.nodes.len() {
            let parent = self.nodes[child].parent;
            self.nodes[child].cancelled |=
                parent.is_some_and(|parent| self.nodes[parent].cancelled);
        }
    }

    fn token(&self, at: u8) -> Option<(usize, CancelToken)> {
        let place = usize::from(at) % self.tokens.len().max(1);
        self.tokens.get(place).cloned()
    }

    fn apply(&mut self, op: Op) -> Option<()> {
        match op {
            Op::Root => self.enter(None, None, CancelToken::new()),
            Op::Child(at) => {
                let (node, token) = self.token(at)?;
                self.enter(Some(node), None, token.child());
            }
            Op::Deadline(at, hours) => {
                let (node, token) = self.token(at)?;
                let deadline = Instant::now() + Duration::from_secs(3600) * hours.into();
                self.enter(Some(node), Some(deadline), token.with_deadline(deadline));
            }
            Op::Clone(at) => {
                let clone = self.token(at)?;
                self.tokens.push(clone);
            }
            Op::Cancel(at) => {
                let (node, token) = self.token(at)?;
                token.cancel();
                self.cancel(node);
            }
            Op::Drop(at) => {
                let place = usize::from(at) % self.tokens.len().max(1);
                (place < self.tokens.len()).then(|| self.tokens.swap_remove(place))?;
            }
            Op::Wait(at) => {
                let (node, token) = self.token(at)?;
                self.waits.push(Wait {
                    node,
                    future: Box::pin(token.cancelled()),
                    waiting: Waiting::default(),
                });
            }
            Op::Poll(at, fresh) => {
                let place = usize::from(at) % self.waits.len().max(1);
                let wait = self.waits.get_mut(place)?;
                let future = wait.future.as_mut();
                let polled = wait.waiting.poll(fresh, |cx| future.poll(cx));
                assert_eq!(polled.is_ready(), self.nodes[wait.node].cancelled);
            }
            Op::Leave(at) => {
                let place = usize::from(at) % self.waits.len().max(1);
                if place < self.waits.len() {
                    let wait = self.waits.remove(place);
                    drop(wait.future);
                    wait.waiting.over();
                }
            }
        }
        Some(())
    }

    fn check(&self) {
        for (node, token) in &self.tokens {
            assert_eq!(token.is_cancelled(), self.nodes[*node].cancelled, "{node}");
            assert_eq!(token.deadline(), self.nodes[*node].deadline, "{node}");
        }
        for wait in &self.waits {
            let cancelled = self.nodes[wait.node].cancelled;
            assert!(!cancelled || wait.waiting.woken_or_idle(), "{}", wait.node);
        }
    }
}

#[test]
fn token_trees_do_what_the_model_does() {
    let watchdog = Watchdog::new();
    let operations = prop::collection::vec(op(), 1..80);
    let outcome = runner(500).run(&operations, |operations| {
        watchdog.all_is_well();
        probe::reset();
        let mut tree = Tree::default();
        for op in operations {
            tree.apply(op);
            tree.check();
        }
        let waits = std::mem::take(&mut tree.waits);
        drop(tree);
        for wait in waits {
            drop(wait.future);
            wait.waiting.over();
        }
        no_waker_is_kept();
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// After `cancel` returns, all tokens below are cancelled, even if another thread cancelled first
/// and is not done yet.
#[test]
fn a_second_cancel_is_no_weaker_than_the_first() {
    for _ in 0..200 {
        let root = CancelToken::new();
        let children: Vec<_> = (0..2000).map(|_| root.child()).collect();
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    root.cancel();
                    let left = children.iter().filter(|child| !child.is_cancelled());
                    assert_eq!(left.count(), 0);
                });
            }
        });
    }
}

/// A waker that panics keeps no other from being woken, and no child from being cancelled.
#[test]
fn a_waker_that_panics_stops_nothing() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            std::panic::resume_unwind(Box::new("a waker fails"));
        }
    }
    let root = CancelToken::new();
    let child = root.child();
    let mut first = Box::pin(root.cancelled());
    let waker = std::task::Waker::from(std::sync::Arc::new(Panics));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let mut second = Box::pin(root.cancelled());
    let mut waiting = Waiting::default();
    assert!(
        waiting
            .poll(true, |cx| second.as_mut().poll(cx))
            .is_pending()
    );
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| root.cancel()));
    assert!(child.is_cancelled());
    assert!(waiting.woken_or_idle());
}
