//! The outlooks of all slots, each alone and in ever larger groups: one change costs as many steps
//! as the number of slots has binary digits, and a question about all of them none.
//!
//! It is a binary tree in an array: node 1 is all slots, node `n` has the halves `2 n` and
//! `2 n + 1`, and the last `width` nodes are the slots.
//!
//! Tests: `src/process/sched/simulated/sim_crowd.rs`.

use super::outlook::Outlook;

/// What holds of each slot, and of all together.
#[derive(Default)]
pub(super) struct OutlookTree {
    nodes: Vec<Outlook>,
    /// For how many slots there is room: a power of two.
    width: usize,
}

impl OutlookTree {
    /// Has room for so many slots.
    pub(super) fn widen(&mut self, slots: usize) {
        if slots <= self.width {
            return;
        }
        let before = std::mem::take(&mut self.nodes);
        let old_width = std::mem::replace(&mut self.width, slots.next_power_of_two());
        self.nodes.resize(2 * self.width, Outlook::default());
        for (index, own) in before.into_iter().skip(old_width).enumerate() {
            self.nodes[self.width + index] = own;
        }
        for at in (1..self.width).rev() {
            self.nodes[at] = self.nodes[2 * at].and(&self.nodes[2 * at + 1]);
        }
    }

    /// What holds of all.
    pub(super) fn all(&self) -> Outlook {
        self.nodes.get(1).cloned().unwrap_or_default()
    }

    /// What holds of one.
    pub(super) fn of(&self, index: usize) -> &Outlook {
        &self.nodes[self.width + index]
    }

    /// This holds of one from now on. Returns how many nodes have changed.
    pub(super) fn set(&mut self, index: usize, own: Outlook) -> usize {
        let (mut at, mut new, mut changed) = (self.width + index, own, 0);
        while at > 0 && self.nodes[at] != new {
            self.nodes[at] = new;
            changed += 1;
            at /= 2;
            if at == 0 {
                break;
            }
            new = self.nodes[2 * at].and(&self.nodes[2 * at + 1]);
        }
        changed
    }

    /// The first slot from `from` on of which that holds. (If it holds of two together, it must
    /// hold of one of them, and the reverse.)
    pub(super) fn find(&self, from: usize, which: impl Fn(&Outlook) -> bool) -> Option<usize> {
        if from >= self.width {
            return None;
        }
        let mut at = self.width + from;
        while !which(&self.nodes[at]) {
            // On to the next group behind this one.
            while at % 2 == 1 {
                at /= 2;
            }
            if at == 0 {
                return None;
            }
            at += 1;
        }
        while at < self.width {
            at *= 2;
            if !which(&self.nodes[at]) {
                at += 1;
            }
        }
        Some(at - self.width)
    }

    /// Looks at all, in order, but into no group that `look` does not want to see. It gets the slot
    /// where the group is one.
    pub(super) fn search(&self, look: &mut dyn FnMut(&Outlook, Option<usize>) -> bool) {
        if self.width > 0 {
            self.search_in(1, look);
        }
    }

    fn search_in(&self, at: usize, look: &mut dyn FnMut(&Outlook, Option<usize>) -> bool) {
        let slot = at.checked_sub(self.width);
        if look(&self.nodes[at], slot) && slot.is_none() {
            self.search_in(2 * at, look);
            self.search_in(2 * at + 1, look);
        }
    }
}
