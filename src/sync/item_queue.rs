//! The queue of a channel: of its items, or of boxes with them, if they are large.
//!
//! Each function that an item is passed through by value may copy it to its own frame. So a channel
//! moves a large one into a box where it is sent, and out of it where it is received. Which of the
//! two it is depends on the type alone: nobody asks at run time.
//!
//! Tests: `tests/large_values.rs`.

use super::waiting_queue::WaitingQueue;
use crate::large::is_large;

pub(super) struct ItemQueue<T> {
    /// Nothing is in it, and nobody waits, if the items are large.
    items: WaitingQueue<T>,
    /// `Some` if the items are large.
    boxes: Option<Box<WaitingQueue<Box<T>>>>,
}

impl<T> ItemQueue<T> {
    /// An empty queue, with one end on each side.
    pub(super) fn new(capacity: Option<usize>) -> Self {
        let boxes = || Box::new(WaitingQueue::new(capacity));
        Self {
            items: WaitingQueue::new(capacity),
            boxes: const { is_large::<T>() }.then(boxes),
        }
    }

    /// The queue of items that are not large.
    #[inline]
    pub(super) fn items(&self) -> &WaitingQueue<T> {
        &self.items
    }

    /// The queue of large items.
    #[inline]
    pub(super) fn boxes(&self) -> &WaitingQueue<Box<T>> {
        self.boxes.as_ref().expect("the items are large")
    }
}

/// Does the same with whichever of the two queues is used.
macro_rules! on {
    ($queues:expr, $queue:ident => $do:expr) => {
        if const { is_large::<T>() } {
            let $queue = $queues.boxes();
            $do
        } else {
            let $queue = $queues.items();
            $do
        }
    };
}
pub(super) use on;
