//! Part 5, together: loop, threads and processes in one `async` function.
//!
//! `examine` fetches a page on the event loop, has a thread parse it, and has a
//! worker process check the result against the file on disk. Three executors,
//! three `.await`s, one kind of error. A hundred pages are examined at a time,
//! each by a task of its own.
//!
//! Then once more, with one page whose check panics in its worker. The first
//! failure ends the whole: its error arrives here, and the tasks that are not
//! yet done are cancelled, because their handles say `cancel_on_drop`.

use crate::Pools;
use crate::http::{LATENCY, Site, get, serve};
use crate::part2_files::facts;
use crate::report::Report;
use std::cell::Cell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use trefoil::io::TcpListener;
use trefoil::{CancelOnDrop, TaskError, time};

/// How many pages are examined.
const PAGES: usize = 100;

/// The page that fails the second time.
const INJECTED: usize = 40;

/// What travels to the worker that checks: the file, what was found in the page
/// that claims to be it, and whether to fail.
type Claim = (String, [u8; 32], u64, bool);

/// What every task of the run holds. Not `Send`, and it need not be: the tasks
/// of a loop never leave its thread.
struct Run {
    pools: Arc<Pools>,
    site: Arc<Site>,
    address: SocketAddr,
    fail_at: Option<usize>,
    finished: Cell<usize>,
}

pub(crate) fn run(
    pools: &Arc<Pools>,
    site: &Arc<Site>,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    report.part("5. Together: fetched on the loop, parsed on threads, checked in processes");
    let pages = site.pages.len().min(PAGES);

    let all = report.row(
        "all three executors",
        0,
        |_| trefoil::run(examine_all(pools, site, None)),
        |all| format!("{} pages examined", all.finished),
    )?;
    let facts = site.pages.iter().take(pages).filter_map(|page| page.facts);
    let expected: u64 = facts.map(|(_, words)| words).sum();
    let right = all.words.is_ok_and(|words| words == expected);
    report.check(
        "every page, and the words that part 2 counted",
        right && all.finished == pages,
    );

    let injected = INJECTED.min(pages.saturating_sub(1));
    let broken = report.row(
        "the same, one fails",
        0,
        |_| trefoil::run(examine_all(pools, site, Some(injected))),
        |broken| {
            format!(
                "{} finished, {} cancelled",
                broken.finished,
                pages - 1 - broken.finished
            )
        },
    )?;
    let named = broken.words.is_err_and(|error| {
        report.note(format_args!("page {injected}: {error}"));
        matches!(error.downcast_ref(), Some(TaskError::Panicked(panic)) if panic.message() == "injected")
    });
    report.check(
        "one failure, named, and the rest cancelled",
        named && broken.finished < pages,
    );
    Ok(())
}

/// What came of examining all pages.
struct Outcome {
    /// The words of all pages, or the first failure.
    words: Result<u64, Box<dyn Error>>,
    /// How many pages were examined to the end.
    finished: usize,
}

async fn examine_all(
    pools: &Arc<Pools>,
    site: &Arc<Site>,
    fail_at: Option<usize>,
) -> Result<Outcome, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let run = Rc::new(Run {
        pools: Arc::clone(pools),
        site: Arc::clone(site),
        address: listener.local_addr()?,
        fail_at,
        finished: Cell::new(0),
    });
    trefoil::spawn(serve(listener, Arc::clone(site), Arc::clone(pools))).detach();

    let pages = 0..site.pages.len().min(PAGES);
    let tasks = pages.map(|at| trefoil::spawn(examine(Rc::clone(&run), at)).cancel_on_drop());
    let words = sum(tasks.collect()).await;
    Ok(Outcome {
        words,
        finished: run.finished.get(),
    })
}

/// The first failure leaves this function, and with it go the handles that are
/// left: dropped, and so cancelled.
async fn sum(tasks: Vec<CancelOnDrop<Result<u64, Box<dyn Error>>>>) -> Result<u64, Box<dyn Error>> {
    let mut words = 0;
    for task in tasks {
        words += task.await??;
    }
    Ok(words)
}

/// One page, through all three executors.
async fn examine(run: Rc<Run>, at: usize) -> Result<u64, Box<dyn Error>> {
    let page = &run.site.pages[at];
    // A polite visitor: twenty pages at a time, not all at once.
    time::sleep(LATENCY * (at / 20) as u32).await;

    // On the loop: fetch it.
    let body = get(run.address, &page.url).await?;
    // On a thread: parse it.
    let (digest, words) = run.pools.threads.spawn(move || facts(&body)).await?;
    // In a worker process: check it.
    let claim = (page.file.clone(), digest, words, run.fail_at == Some(at));
    let words = run.pools.processes.spawn(claim, check).await?;

    run.finished.set(run.finished.get() + 1);
    Ok(words)
}

/// Reads the file itself, and compares.
fn check((file, digest, words, fail): Claim) -> u64 {
    if fail {
        panic!("injected");
    }
    let content = std::fs::read(&file).expect("the file is still there");
    assert_eq!(
        facts(&content),
        (digest, words),
        "{file} is not what was served"
    );
    words
}
