//! Processes that the driver has given up are reaped when they end.
//!
//! Tests: this is one.
#![allow(clippy::disallowed_methods)] // a child of the test's

use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::hostile::driver;
use super::*;

#[test]
fn one_that_ends_wakes_the_driver_and_is_reaped() {
    let mut driver = driver();
    let mut command = Command::new("cat");
    let mut children = [(); 2].map(|()| command.stdin(Stdio::piped()).spawn().unwrap());
    for child in &children {
        let process = Handle::open(Pid::from_child(child)).unwrap();
        driver.abandoned.push(Arc::new(process));
    }
    for left in [1, 0] {
        drop(children[left].stdin.take());
        let sleep = driver.sleep_on(Some(Duration::from_secs(30)));
        let news = sleep.sleep();
        let stray =
            |(source, _): &(EventSource, PollFlags)| matches!(source, EventSource::Abandoned);
        assert!(news.iter().any(stray), "it sleeps on");
        driver.take_in(news);
        assert_eq!(driver.abandoned.len(), left);
        // It was reaped.
        assert!(children[left].try_wait().is_err());
    }
}
