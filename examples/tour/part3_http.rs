//! Part 3, waiting: a web server, and three hundred pages fetched from it.
//!
//! Server and client run on one event loop, on one thread, and speak HTTP over
//! real sockets. The server takes 20 ms over each page. Fetched one by one that
//! makes six seconds in which nothing happens; fetched all at once, the waits
//! overlap. Nothing is computed, so more threads would not help.

use super::http::{Page, Site, get, serve};
use super::part2_files::facts;
use super::report::Report;
use super::{Pools, report};
use indicatif::ProgressBar;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use trefoil::io::TcpListener;
use trefoil::join_all;

pub(crate) fn run(
    pools: &Arc<Pools>,
    site: &Arc<Site>,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    report.part("3. Waiting: HTTP pages from a server that takes 20 ms over each");
    let say = |right: &usize| format!("{right} pages, each as on disk");

    let alone = report.row(
        "one after another",
        site.pages.len(),
        |bar| trefoil::run(visit(pools, site, bar, false)),
        say,
    )?;
    let together = report.row(
        "event loop, all at once",
        site.pages.len(),
        |bar| trefoil::run(visit(pools, site, bar, true)),
        say,
    )?;
    report.check(
        "every page twice, none damaged",
        [alone, together] == [site.pages.len(); 2],
    );
    Ok(())
}

/// Starts the server and fetches every page. Says how many came back as they
/// lie on the disk. The server is still running when this returns; `run` cancels
/// what is left on its loop.
async fn visit(
    pools: &Arc<Pools>,
    site: &Arc<Site>,
    bar: &ProgressBar,
    at_once: bool,
) -> Result<usize, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    trefoil::spawn(serve(listener, Arc::clone(site), Arc::clone(pools))).detach();

    let mut right = 0;
    if at_once {
        let visits = (0..site.pages.len()).map(|at| {
            let (site, bar) = (Arc::clone(site), bar.clone());
            trefoil::spawn(async move { fetch(address, &site.pages[at], &bar).await })
        });
        for result in join_all(visits).await {
            right += usize::from(result?);
        }
    } else {
        for page in &site.pages {
            right += usize::from(fetch(address, page, bar).await);
        }
    }
    Ok(right)
}

/// Fetches one page; true if it is what lies on the disk.
async fn fetch(address: SocketAddr, page: &Page, bar: &ProgressBar) -> bool {
    let body = get(address, &page.url).await;
    bar.inc(1);
    match body {
        Ok(body) => Some(facts(&body)) == page.facts,
        Err(error) => {
            report::line(format_args!("  {}: {error}", page.url));
            false
        }
    }
}
