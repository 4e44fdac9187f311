//! What a pool has ordered of Dask: workers that are to come, and those that have.
//!
//! **Protocol.** The driver asks for a worker for a slot, and an *order* with a number goes to the
//! placer. The worker that calls back brings the number, and completes the order. An order that the
//! driver has given up is given to the next slot that wants one, or cancelled by the thread that
//! looks (`Connected`). A worker whose order is not there is refused: Dask may start a second one
//! when it has lost the machine of the first.
//!
//! Tests: below;
//! `crates/trefoil-machines/tests/dask/contract.rs::the_threads_are_given_back_and_taken_again`,
//! `crates/trefoil-machines/tests/dask/losses.rs::a_worker_of_dask_that_is_retired_ends_what_it_holds`.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::{Duration, Instant};

use trefoil::process::launch::{Ending, Launched};
use trefoil::{Completer, Task};

use crate::common::dial::Arrived;

/// How long callers get the last failure, until workers are ordered again. It outlasts the pauses
/// between five failed starts in a row (84 ms), after which a slot is given up
/// (`process/sched/back_off.rs`). So the words of one failure reach the callers.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The orders of one pool.
#[derive(Debug, Default)]
pub(super) struct Orders {
    numbers: u64,
    pending: BTreeMap<u64, Order>,
    /// The workers that have slots, with their numbers, by slot.
    present: HashMap<usize, (u64, Arrived)>,
    /// Why there is no worker at present, and since when.
    failed: Option<(String, Instant)>,
    /// The orders that have failed, and that the placer is to cancel.
    unwanted: Vec<u64>,
    /// Dask is lost for good, and why.
    lost: Option<String>,
}

#[derive(Debug)]
struct Order {
    slot: usize,
    completer: Completer<io::Result<Launched>>,
    since: Instant,
}

impl Orders {
    /// Orders a worker for `slot`. Returns the task, and the number if there is a new order.
    pub(super) fn order(&mut self, slot: usize) -> (Task<io::Result<Launched>>, Option<u64>) {
        let now = Instant::now();
        if let Some((_, unwanted)) = self.present.remove(&slot) {
            unwanted.end(); // it came when the slot did not want it any more
        }
        let failed = self
            .failed
            .take_if(|(_, since)| *since + FAILURE_PAUSE <= now);
        drop(failed);
        let failed = self.failed.as_ref().map(|(words, _)| words);
        if let Some(words) = self.lost.as_ref().or(failed) {
            return (Task::ready(Err(io::Error::other(words.clone()))), None);
        }
        let (completer, task) = Completer::new();
        let order = Order {
            slot,
            completer,
            since: now,
        };
        let mut unwanted = self.pending.iter();
        let unwanted = unwanted.find(|(_, order)| order.completer.is_cancelled());
        let unwanted = unwanted.map(|(&number, _)| number);
        let number = unwanted.unwrap_or(self.numbers);
        self.numbers = self.numbers.max(number + 1);
        self.pending.insert(number, order);
        (task, unwanted.is_none().then_some(number))
    }

    /// A worker has called back. Dropping it ends it.
    pub(super) fn arrived(&mut self, mut arrived: Arrived) {
        let number = arrived.hello.name.parse().unwrap_or(u64::MAX);
        let Some(order) = self.pending.remove(&number) else {
            return;
        };
        if order.completer.is_cancelled() {
            return;
        }
        let launched = arrived.launched();
        self.present.insert(order.slot, (number, arrived));
        order.completer.complete(Ok(launched));
    }

    /// The worker of `slot` has ended. Returns its number.
    pub(super) fn ended(&mut self, slot: usize, ending: &mut Ending) -> Option<u64> {
        let (number, arrived) = self.present.remove(&slot)?;
        if self.present.is_empty() {
            let now = Instant::now();
            self.pending
                .values_mut()
                .for_each(|order| order.since = now);
        }
        arrived.end(); // in case that only its stream has ended
        let name = format!("worker {number}");
        let supposed = "Dask may have ended its own worker there (a limit of memory, a cluster that \
            shrinks), or the machine is lost";
        arrived.explain(ending, &name, supposed);
        Some(number)
    }

    /// The worker of this slot must end.
    pub(super) fn kill(&self, slot: usize) {
        if let Some((_, arrived)) = self.present.get(&slot) {
            arrived.end();
        }
    }

    /// Order `number` has come to nothing.
    pub(super) fn failed(&mut self, number: u64, words: String) {
        if let Some(order) = self.pending.remove(&number) {
            order.completer.complete(Ok(Err(io::Error::other(words))));
        }
    }

    /// Nothing will come of any order.
    pub(super) fn lost(&mut self, words: &str) {
        self.lost = Some(words.to_owned());
        self.fail_all(words);
    }

    /// No worker can be had at present: all orders fail, and so does what is ordered in the next
    /// moment.
    pub(super) fn fail(&mut self, words: String) {
        self.fail_all(&words);
        self.failed = Some((words, Instant::now()));
    }

    fn fail_all(&mut self, words: &str) {
        for (number, order) in std::mem::take(&mut self.pending) {
            self.unwanted.push(number);
            order.completer.complete(Ok(Err(io::Error::other(words))));
        }
    }

    /// Whether [`look`](Self::look) may have something to do later.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.unwanted.is_empty()
    }

    /// The orders that are to be cancelled: those that nobody wants any more, and all if there has
    /// been no worker for `patience`, which fail with these words.
    pub(super) fn look(&mut self, patience: Duration, words: &str) -> Vec<u64> {
        let unwanted = &mut self.unwanted;
        self.pending.retain(|&number, order| {
            let is_unwanted = order.completer.is_cancelled();
            unwanted.extend(is_unwanted.then_some(number));
            !is_unwanted
        });
        let oldest = self.pending.values().map(|order| order.since).min();
        let is_late = oldest.is_some_and(|since| since + patience <= Instant::now());
        if is_late && self.present.is_empty() {
            self.fail(words.to_owned());
        }
        std::mem::take(&mut self.unwanted)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1000);

    fn words<T>(task: Task<io::Result<T>>) -> Option<String> {
        task.join().unwrap().err().map(|error| error.to_string())
    }

    #[test]
    fn a_worker_brings_its_number() {
        let mut orders = Orders::default();
        let (task, new) = orders.order(5);
        assert_eq!(new, Some(0));
        for stranger in ["1", "x", ""] {
            orders.arrived(Arrived::named(stranger));
            assert!(!task.is_finished(), "{stranger}");
        }
        orders.arrived(Arrived::named("0"));
        assert_eq!(words(task), None);
        orders.arrived(Arrived::named("0")); // a second one, which Dask has started
        assert!(!orders.is_waiting());
        let mut ending = Ending::default();
        assert_eq!(orders.ended(5, &mut ending), Some(0));
        assert!(ending.loses_records && ending.note.is_some());
        assert_eq!(orders.ended(5, &mut ending), None);
        assert_eq!(orders.order(5).1, Some(1));
    }

    #[test]
    fn what_is_not_wanted_is_given_to_the_next_or_cancelled() {
        let mut orders = Orders::default();
        drop(orders.order(0).0.cancel_on_drop());
        let (task, new) = orders.order(1);
        assert_eq!(new, None, "it gets the order of the other slot");
        assert!(orders.look(LONG, "").is_empty() && orders.is_waiting());
        task.cancel();
        assert_eq!(
            (orders.look(LONG, ""), orders.is_waiting()),
            (vec![0], false)
        );
        let (task, new) = orders.order(1);
        assert_eq!(new, Some(1));
        task.cancel();
        orders.arrived(Arrived::named("1"));
        assert!(orders.present.is_empty(), "it was not wanted any more");
    }

    #[test]
    fn a_failure_is_of_one_order_and_patience_of_all() {
        let mut orders = Orders::default();
        let (one, other) = (orders.order(0).0, orders.order(1).0);
        orders.failed(0, "out of luck".to_owned());
        orders.failed(7, "unknown".to_owned());
        assert_eq!(words(one).unwrap(), "out of luck");
        orders.arrived(Arrived::named("1"));
        assert_eq!(words(other), None);
        let third = orders.order(0).0;
        assert!(
            orders.look(Duration::ZERO, "late").is_empty(),
            "a worker is there"
        );
        orders.ended(1, &mut Ending::default());
        assert_eq!(orders.look(Duration::ZERO, "late"), [2]);
        assert_eq!(words(third).unwrap(), "late");
        let (fourth, new) = orders.order(0);
        assert_eq!(
            (words(fourth).unwrap().as_str(), new),
            ("late", None),
            "it is not tried at once"
        );
        orders.failed = None;
        let fifth = orders.order(0).0;
        orders.lost("gone");
        assert_eq!(words(fifth).unwrap(), "gone");
        assert_eq!(words(orders.order(0).0).unwrap(), "gone");
    }
}
