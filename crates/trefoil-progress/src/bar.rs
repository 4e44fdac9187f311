//! A progress bar, and when it is finished.
//!
//! **Job.** Hides the difference between a bar that was made here, which is finished with the call
//! or abandoned at its position, and one of the caller's, which is only advanced.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

const KNOWN: &str = "{wide_bar} {human_pos}/{human_len} [{elapsed_precise}, {eta} left]";
const UNKNOWN: &str = "{spinner} {human_pos} [{elapsed_precise}]";

#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    ours: bool,
}

impl Bar {
    pub(super) fn ours() -> Self {
        let bar = ProgressBar::no_length().with_finish(ProgressFinish::Abandon);
        Self { bar, ours: true }
    }

    pub(super) fn theirs(bar: ProgressBar) -> Self {
        Self { bar, ours: false }
    }

    /// Sets the number of items, if it is known.
    pub(super) fn begin(&self, items: Option<usize>) {
        if let (None, Some(items)) = (self.bar.length(), items) {
            self.bar
                .set_length(self.bar.position().saturating_add(items as u64));
        }
        if self.ours {
            let template = if items.is_some() { KNOWN } else { UNKNOWN };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
        }
    }

    /// Adds this many items that have ended.
    pub(super) fn more(&self, items: u64) {
        self.bar.inc(items);
    }

    /// Adds an item that has ended with this result, and returns the result.
    pub(super) fn after<T>(&self, result: T) -> T {
        self.more(1);
        result
    }

    /// Adds a result that was taken. `item`: whether there was one.
    pub(super) fn passed(&self, item: bool) {
        if item {
            self.more(1);
        } else {
            self.finish();
        }
    }

    /// Notes that the call has ended.
    pub(super) fn finish(&self) {
        if self.ours && !self.bar.is_finished() {
            self.bar.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_of_ours_is_finished_at_the_end_and_abandoned_before_it() {
        let ours = Bar::ours();
        let handle = ours.bar.clone();
        ours.begin(Some(2));
        ours.passed(true);
        assert_eq!((handle.position(), handle.length()), (1, Some(2)));
        ours.passed(false);
        assert_eq!((handle.position(), handle.is_finished()), (2, true));
        ours.passed(false); // asking again is harmless

        let ours = Bar::ours();
        ours.begin(Some(2));
        ours.more(1);
        let handle = ours.bar.downgrade();
        drop(ours);
        assert!(handle.upgrade().is_none());

        let endless = Bar::ours();
        endless.begin(None);
        endless.more(5);
        endless.finish();
        assert_eq!((endless.bar.position(), endless.bar.length()), (5, None));
    }

    #[test]
    fn a_bar_of_theirs_is_only_moved() {
        let bar = ProgressBar::hidden();
        bar.set_length(10);
        let theirs = Bar::theirs(bar.clone());
        theirs.begin(Some(3));
        theirs.more(3);
        theirs.finish();
        let state = (bar.position(), bar.length(), bar.is_finished());
        assert_eq!(state, (3, Some(10), false));
        let more = ProgressBar::no_length();
        more.set_position(5);
        Bar::theirs(more.clone()).begin(Some(usize::MAX));
        assert_eq!(more.length(), Some(u64::MAX));
    }
}
