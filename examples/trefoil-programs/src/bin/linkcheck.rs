//! `linkcheck [--timeout SECONDS] DIR`: do the links of Markdown and HTML files lead anywhere?
//!
//! An address is asked for once, however many files name it: all on one loop, 64 at a time at most
//! and two links of each host, within a time limit, and twice more where the fault may pass (no
//! connection, no answer in time, 429, 5xx). Redirects are followed. A link without a host must
//! name a file. What is broken goes to standard output, by file; then the exit code is 1.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use trefoil::sync::Semaphore;
use trefoil::{ThreadPool, spawn, time, timeout, try_join_all};
use trefoil_programs::links::links;
use trefoil_programs::web::Web;

/// Finds the Markdown and HTML files under `dir`.
fn pages(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let ending = path.extension().and_then(OsStr::to_str);
        if path.is_dir() && !path.is_symlink() {
            pages(&path, found)?;
        } else if let Some("md" | "html" | "htm") = ending {
            found.push(path);
        }
    }
    Ok(())
}

fn without_place(link: &str) -> &str {
    link.split('#').next().unwrap_or_default()
}

/// True of a file that is there, a place in the same page, and what no server knows (`mailto:`).
fn leads_somewhere(dir: &Path, page: &Path, link: &str) -> bool {
    let name = link.split(['#', '?']).next().unwrap_or_default();
    let scheme = name
        .split('/')
        .next()
        .is_some_and(|head| head.contains(':'));
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let base = Some(dir)
        .filter(|_| name.starts_with('/'))
        .or(page.parent());
    let path = base.unwrap_or(dir).join(name.trim_start_matches('/'));
    scheme || name.is_empty() || path.exists()
}

/// Asks servers, with limits.
struct Checker {
    web: Web,
    limit: Duration,
    all: Semaphore,
    hosts: RefCell<HashMap<String, Arc<Semaphore>>>,
}

impl Checker {
    /// Asks, up to three times; gives what is wrong.
    async fn check(&self, url: &str) -> Option<String> {
        let host = url.split('/').nth(2).unwrap_or_default().to_owned();
        let two = || Arc::new(Semaphore::new(2));
        let host = Arc::clone(self.hosts.borrow_mut().entry(host).or_insert_with(two));
        let mut fault = None;
        for pause in [0, 200, 1000] {
            time::sleep(Duration::from_millis(pause)).await;
            let _of_host = host.acquire().await;
            let _of_all = self.all.acquire().await;
            fault = Some(match timeout(self.limit, self.web.status(url)).await {
                Ok(Ok(200..300)) => return None,
                Ok(Ok(status @ (429 | 500..))) => format!("status {status}"),
                Ok(Ok(status)) => return Some(format!("status {status}")),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {:?}", self.limit),
            });
        }
        fault
    }
}

/// What is wrong with each of the addresses.
async fn check(urls: BTreeSet<String>, limit: Duration) -> io::Result<HashMap<String, String>> {
    let (web, all, hosts) = (Web::new()?, Semaphore::new(64), RefCell::default());
    let checker = Rc::new(Checker {
        web,
        limit,
        all,
        hosts,
    }); // 64 at a time, in all
    let task = |url: String| {
        let checker = Rc::clone(&checker);
        spawn(async move { checker.check(&url).await.map(|fault| (url, fault)) })
    };
    let faults = try_join_all(urls.into_iter().map(task)).await?;
    Ok(faults.into_iter().flatten().collect())
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (limit, dir) = match &args[..] {
        [dir] => (10.0, Path::new(dir)),
        [word, limit, dir] if word == "--timeout" => (limit.parse()?, Path::new(dir)),
        _ => return Err("usage: linkcheck [--timeout SECONDS] DIR".into()),
    };
    let mut files = Vec::new();
    pages(dir, &mut files)?;
    files.sort();
    let read = ThreadPool::global().try_map(&files, |page| {
        let bytes = fs::read(page)?;
        Ok::<_, io::Error>(links(&String::from_utf8_lossy(&bytes)))
    })?;
    let links = files.iter().zip(&read);
    let links = links.flat_map(|(page, links)| links.iter().map(move |link| (page, link)));

    let remote = |url: &&str| url.starts_with("http://") || url.starts_with("https://");
    let urls = links.clone().map(|(_, link)| without_place(link));
    let urls: BTreeSet<String> = urls.filter(remote).map(str::to_owned).collect();
    let (asked, limit) = (urls.len(), Duration::try_from_secs_f64(limit)?);
    let faults = trefoil::run(check(urls, limit))?;

    let (count, mut broken) = (links.clone().count(), 0);
    for (page, link) in links {
        let fault = match faults.get(without_place(link)) {
            Some(fault) => fault,
            None if leads_somewhere(dir, page, link) => continue,
            None => "no such file",
        };
        broken += 1;
        println!("{}: {link}: {fault}", page.display());
    }
    let files = files.len();
    println!("{files} files, {count} links, {asked} addresses asked, {broken} broken");
    Ok(ExitCode::from(u8::from(broken > 0)))
}
