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
use crate::http::{Site, get, serve};
use crate::part2_files::facts;
use crate::report::Report;
use std::cell::Cell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use trefoil::TaskError;
use trefoil::io::TcpListener;

/// How many pages are examined at a time.
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

pub(crate) fn run(pools: &Arc<Pools>, site: &Arc<Site>, report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.part("5. Together: fetched on the loop, parsed on threads, checked in processes");
    let pages = site.pages.len().min(PAGES);

    let (words, finished) = report.row(
        "all three",
        0,
        |_| trefoil::run(examine_all(pools, site, None)),
        |(words, finished)| match words {
            Ok(words) => format!("{finished} pages, {words} words"),
            Err(error) => format!("{error}"),
        },
    )?;
    let expected: u64 = site.pages.iter().take(pages).filter_map(|page| page.facts).map(|(_, words)| words).sum();
    report.check("the words that part 2 counted", words == Ok(expected) && finished == pages);

    let (words, finished) = report.row(
        "all three, one fails",
        0,
        |_| trefoil::run(examine_all(pools, site, Some(INJECTED.min(pages.saturating_sub(1))))),
        |(_, finished)| format!("{finished} finished, {} cancelled", pages - finished - 1),
    )?;
    let named = match &words {
        Err(error @ TaskError::Panicked(panic)) => {
            report.note(format_args!("the failure: {error}"));
            panic.message().contains("injected")
        }
        _ => false,
    };
    report.check("one failure, named, and the rest cancelled", named && finished < pages);
    Ok(())
}
