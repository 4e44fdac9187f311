//! The jobs of a simulation: single calls, and random ones.

use super::*;
use crate::process::job::job_id::JobId;

/// The context of the job `id`.
fn context(id: u64, ends: bool) -> Context {
    let mut chunk = Chunk::default();
    if ends {
        chunk.push(&Laden((id, id), end_of_a_channel()))
    } else {
        chunk.push(&(id, id))
    }
    .unwrap();
    Context {
        piece: Piece::whole(Arc::new(chunk), 0),
        type_name: "context",
    }
}

impl World {
    pub(super) fn submit(&mut self) {
        let id = self.next_job;
        self.next_job += 1;
        let each = self.chance(3);
        let mut size = if self.chance(2) { 1 } else { self.random(120) };
        let ends = self.chance(6);
        if ends {
            size = size.min(6); // they are real descriptors
        }
        let timeout = if self.chance(3) {
            Some(Duration::from_millis(self.random(40)))
        } else {
            None
        };
        let known = Known {
            size,
            each,
            retry: if self.chance(3) {
                self.random(4) as u32
            } else {
                0
            },
            timeout,
            until: (self.chance(4)).then(|| self.now + Duration::from_millis(self.random(80))),
            context: self.chance(5),
            ends,
        };
        let sink = BookSink {
            id,
            timeout,
            until: known.until,
            values: HashSet::new(),
            book: self.book.clone(),
        };
        let mut options = CallOptions::default();
        options.until = known.until;
        options.retry = known.retry;
        options.backoff = Duration::from_millis(if self.chance(2) { 3 } else { 0 });
        options.timeout = timeout;
        options.chunk = self.chance(5).then_some(7);
        let mut work = Work::new::<Item, Item>(CODE, Box::new(sink), options);
        work.each = each;
        work.numbered = !each && size != 1;
        work.options.context = known.context.then(|| Arc::new(context(id, ends)));
        self.jobs.insert(id, known);
        self.sched.submit(JobId::new(id), Job::new(work), self.now);
        self.open.push((id, 0, size));
        self.feed(self.open.len() - 1);
    }

    pub(super) fn feed(&mut self, open: usize) {
        let (id, from, size) = self.open[open];
        let to = size.min(from + 1 + self.random(60));
        let mut chunk = Chunk::default();
        let known = self.jobs[&id];
        for item in from..to {
            let item = (id, item);
            if known.ends && !known.context && item.1 % 3 < 2 {
                let attachment = end_of_a_channel();
                chunk.push(&Laden(item, attachment.clone())).unwrap();
                self.attachments.insert(item, attachment);
            } else {
                chunk.push(&item).unwrap();
            }
        }
        let mut book = self.book.lock().unwrap();
        if !book.ended.contains_key(&id) {
            *book.unanswered.entry(id).or_default() += to - from;
        }
        drop(book);
        let feed = Feed {
            id: JobId::new(id),
            base: from as usize,
            chunk: Arc::new(chunk),
            sealed: to == size,
            failure: None,
        };
        self.sched.feed(feed, self.now);
        self.open[open].1 = to;
        if to == size {
            self.open.swap_remove(open);
        }
    }

    /// Submits a call of one item.
    pub(super) fn call(&mut self, priority: i32) -> u64 {
        let mut options = CallOptions::default();
        options.priority = priority;
        self.call_with(options)
    }

    pub(super) fn call_with(&mut self, options: CallOptions) -> u64 {
        self.call_of(1, options)
    }

    /// Submits a call of so many items, which fail together.
    pub(super) fn call_of(&mut self, size: u64, options: CallOptions) -> u64 {
        let id = self.next_job;
        self.next_job += 1;
        let (timeout, until) = (options.timeout, options.until);
        let sink = BookSink {
            id,
            timeout,
            until,
            values: HashSet::new(),
            book: self.book.clone(),
        };
        let mut work = Work::new::<Item, Item>(CODE, Box::new(sink), options);
        work.numbered = size != 1;
        let known = Known {
            size,
            timeout,
            until,
            ..Known::default()
        };
        self.jobs.insert(id, known);
        self.sched.submit(JobId::new(id), Job::new(work), self.now);
        self.open.push((id, 0, size));
        while let Some(open) = self.open.iter().position(|open| open.0 == id) {
            self.feed(open);
        }
        id
    }
}
