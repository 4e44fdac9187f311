//! Names inside a future, which the tree shows.

use std::time::Duration;

use trefoil::StepExt;
use trefoil::inspect::{TaskTree, tasks};

use crate::deadline::within_deadline;

fn names(tree: &TaskTree, id: u64) -> Vec<&'static str> {
    let steps = tree.get(id).unwrap().steps.iter();
    steps.map(|step| step.name).collect()
}

#[test]
fn the_tree_shows_the_steps_that_a_task_is_in() {
    within_deadline(|| {
        let _awake = tasks();
        trefoil::run(async {
            let (next, steps) = trefoil::sync::channel::bounded::<()>(1);
            let task = trefoil::spawn(async move {
                let request = async {
                    steps.recv().step("header").await.unwrap();
                    steps.recv().step("body").await.unwrap();
                };
                request.step("request").await;
                steps.recv().await.unwrap();
            });
            let id = task.id().get();
            let expected: [&[&str]; 3] = [&["request", "header"], &["request", "body"], &[]];
            for expected in expected {
                while names(&tasks(), id) != expected {
                    trefoil::yield_now().await;
                }
                let tree = tasks();
                for name in expected {
                    assert!(tree.to_string().contains(&format!("in step `{name}` for ")));
                    assert!(
                        tree.to_json()
                            .contains(&format!("{{\"name\":\"{name}\",\"for_us\":"))
                    );
                }
                next.send(()).await.unwrap();
            }
            task.await.unwrap();
        });
    });
}

#[test]
fn a_dropped_step_is_forgotten_and_the_oldest_four_are_shown() {
    within_deadline(|| {
        let _awake = tasks();
        trefoil::run(async {
            let never = || std::future::pending::<()>();
            let task = trefoil::spawn(async move {
                let first = never().step("dropped");
                let _late = trefoil::timeout(Duration::from_millis(1), first).await;
                let (a, b) = (never().step("a"), never().step("b"));
                let (c, d) = (never().step("c"), never().step("d"));
                trefoil::join!(a, b, c, d, never().step("e"));
            });
            let id = task.id().get();
            while names(&tasks(), id) != ["a", "b", "c", "d"] {
                trefoil::yield_now().await;
            }
            task.cancel();
        });
    });
}
