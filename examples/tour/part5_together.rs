//! Part 5, together: loop, threads and processes in one `async` function.
//!
//! `examine` fetches a page on the event loop, has a thread parse it, and has a
//! worker process check the result against the file on disk. Three executors,
//! three `.await`s, one kind of error. A hundred pages are examined, one after
//! another and then each by a task of its own.
//!
//! Then once more, with one page whose check panics in its worker. The first
//! failure ends the whole: its error arrives here, and the tasks that are not
//! yet done are cancelled, because their handles say `cancel_on_drop`.

use super::Pools;
use super::http::{LATENCY, Site, get, serve};
use super::part2_files::facts;
use super::report::{Report, thousands};
use std::cell::Cell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use trefoil::io::TcpListener;
use trefoil::{CancelOnDrop, TaskError, time};

/// How many pages are examined.
const PAGES: usize = 100;

/// How many of them are asked for in the same moment.
const POLITE: usize = 10;

/// The page that fails the last time.
const INJECTED: usize = 40;

/// What travels to the worker that checks: the file, what was found in the page
/// that claims to be it, and whether to fail.
type Claim = (String, [u8; 32], u64, bool);

pub(crate) fn run(
    pools: &Arc<Pools>,
    site: &Arc<Site>,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    report.part("5. Together: fetched on the loop, parsed on threads, checked in processes");
    let count = PAGES.min(site.pages.len());
    let say = |words: &u64| format!("{count} pages, {} words", thousands(*words));

    let alone = report.row(
        "one after another",
        0,
        |_| trefoil::run(async { Examination::open(pools, site, None).await?.in_turn().await }),
        say,
    )?;
    let together = report.row(
        "loop, threads, processes",
        0,
        |_| trefoil::run(async { Examination::open(pools, site, None).await?.at_once().await }),
        say,
    )?;
    let pages = site.pages.iter().take(count);
    let words: u64 = pages
        .filter_map(|page| page.facts)
        .map(|(_, words)| words)
        .sum();
    report.check(
        "the words that part 2 counted",
        [alone, together] == [words; 2],
    );

    let (failure, finished) = report.lone_row(
        "the same, one fails",
        || {
            trefoil::run(async {
                let examination = Examination::open(pools, site, Some(INJECTED)).await?;
                let failure = Rc::clone(&examination).at_once().await.err();
                Ok((failure, examination.finished.get()))
            })
        },
        |(_, finished)| format!("{finished} finished, {} cancelled", count - 1 - finished),
    )?;
    let named = failure.is_some_and(|error| {
        report.note(format_args!("page {INJECTED}: {error}"));
        matches!(error.downcast_ref(), Some(TaskError::Panicked(panic)) if panic.message() == "injected")
    });
    report.check(
        "one failure, named, and the rest cancelled",
        named && finished < count,
    );
    Ok(())
}

/// What the tasks of one run share. It is not `Send`, and need not be: the tasks
/// of a loop never leave its thread.
struct Examination {
    pools: Arc<Pools>,
    site: Arc<Site>,
    address: SocketAddr,
    fail_at: Option<usize>,
    finished: Cell<usize>,
}

impl Examination {
    /// Starts a server on the current loop.
    async fn open(
        pools: &Arc<Pools>,
        site: &Arc<Site>,
        fail_at: Option<usize>,
    ) -> Result<Rc<Self>, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        trefoil::spawn(serve(listener, Arc::clone(site), Arc::clone(pools))).detach();
        Ok(Rc::new(Self {
            pools: Arc::clone(pools),
            site: Arc::clone(site),
            address,
            fail_at,
            finished: Cell::new(0),
        }))
    }

    /// One page, through all three executors. Gives the number of its words.
    async fn examine(&self, at: usize) -> Result<u64, Box<dyn Error>> {
        let page = &self.site.pages[at];
        // On the loop: fetch it.
        let body = get(self.address, &page.url).await?;
        // On a thread: parse it.
        let (digest, words) = self.pools.threads.spawn(move || facts(&body)).await?;
        // In a worker process: check it.
        let claim = (page.file.clone(), digest, words, self.fail_at == Some(at));
        let words = self.pools.processes.spawn(claim, check).await?;

        self.finished.set(self.finished.get() + 1);
        Ok(words)
    }

    async fn in_turn(self: Rc<Self>) -> Result<u64, Box<dyn Error>> {
        let mut words = 0;
        for at in 0..PAGES.min(self.site.pages.len()) {
            words += self.examine(at).await?;
        }
        Ok(words)
    }

    /// A task for each page; a polite visitor, they do not all ask in the same
    /// moment.
    async fn at_once(self: Rc<Self>) -> Result<u64, Box<dyn Error>> {
        let pages = 0..PAGES.min(self.site.pages.len());
        let tasks: Vec<CancelOnDrop<_>> = pages
            .map(|at| {
                let this = Rc::clone(&self);
                let turn = LATENCY * (at / POLITE) as u32;
                trefoil::spawn(async move {
                    time::sleep(turn).await;
                    this.examine(at).await
                })
                .cancel_on_drop()
            })
            .collect();
        let mut words = 0;
        for task in tasks {
            // The first failure leaves this function here, and with it go the
            // handles that are left: dropped, and so cancelled.
            words += task.await??;
        }
        Ok(words)
    }
}

/// Runs in a worker: reads the file itself, and compares.
fn check((file, digest, words, fail): Claim) -> u64 {
    if fail {
        // A panic like any other, without the message on standard error.
        std::panic::resume_unwind(Box::new("injected"));
    }
    let content = std::fs::read(&file).expect("the file is still there");
    assert_eq!(
        facts(&content),
        (digest, words),
        "{file} is not what was served"
    );
    words
}
