//! As much HTTP as the tour needs: `GET`, one request for each connection.
//!
//! A `Site` is a list of files with a path for each. `serve` answers requests
//! for them until it is cancelled; `get` fetches one. Both are ordinary `async`
//! functions over `trefoil::io`, and run on the same loop.
//!
//! The server knows nothing but its list, so no path leads out of it.

use super::Pools;
use super::input::Input;
use super::part2_files::Facts;
use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use trefoil::io::{TcpListener, TcpStream};
use trefoil::time;

/// How long the server thinks about each page, as a database or a far network
/// would.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);

/// How many pages the tour fetches.
const PAGES: usize = 300;

/// Files above this are no pages: the tour is about waiting, not about copying.
const PAGE_LIMIT: u64 = 100_000;

/// One page: where it is asked for, where it lies, and what is known about it.
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) file: String,
    pub(crate) facts: Facts,
}

/// What is served.
pub(crate) struct Site {
    /// Exactly as many as the tour fetches.
    pub(crate) pages: Vec<Page>,
    by_url: HashMap<String, String>,
}

impl Site {
    /// The first of the input's small files, with the facts that part 2 found;
    /// where there are too few, some are served again.
    pub(crate) fn new(input: &Input, facts: Vec<Facts>) -> io::Result<Self> {
        let small = |file: &str| std::fs::metadata(file).is_ok_and(|meta| meta.len() <= PAGE_LIMIT);
        let known = input.files.iter().zip(facts);
        let known: Vec<_> = known.filter(|(file, _)| small(file)).take(PAGES).collect();
        if known.is_empty() {
            return Err(io::Error::other("no file is small enough to be a page"));
        }
        let pages = known.iter().cycle().take(PAGES).map(|(file, facts)| Page {
            url: escape(file),
            file: (*file).clone(),
            facts: *facts,
        });
        let pages: Vec<Page> = pages.collect();
        let by_url = pages
            .iter()
            .map(|page| (page.url.clone(), page.file.clone()));
        Ok(Self {
            by_url: by_url.collect(),
            pages,
        })
    }
}

/// Answers requests until the task that runs it is cancelled.
pub(crate) async fn serve(listener: TcpListener, site: Arc<Site>, pools: Arc<Pools>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue; // no descriptor is left, say: such an error takes a tenth of a second
        };
        // Each connection is a task of its own. A visitor who hangs up is no
        // concern of the others.
        trefoil::spawn(answer(stream, Arc::clone(&site), Arc::clone(&pools))).detach();
    }
}

async fn answer(stream: TcpStream, site: Arc<Site>, pools: Arc<Pools>) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => request.extend_from_slice(&buffer[..n]),
        }
        if request.len() > 16_384 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let url = request
        .strip_prefix("GET ")
        .and_then(|rest| rest.split(' ').next());
    time::sleep(LATENCY).await;

    // Reading a file blocks, so a thread does it, and the loop awaits it.
    let found = match url.and_then(|url| site.by_url.get(url)).cloned() {
        Some(file) => pools.threads.spawn(move || std::fs::read(file)).await?.ok(),
        None => None,
    };
    let (status, body) = match &found {
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", b"no such page".as_slice()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// Fetches one page.
pub(crate) async fn get(address: SocketAddr, url: &str) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address).await?;
    let request = format!("GET {url} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;

    // One request for each connection: the answer ends where the connection does.
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    body(response).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no page came back for {url}"),
        )
    })
}

/// The body of a response that is complete and says 200.
fn body(mut response: Vec<u8>) -> Option<Vec<u8>> {
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?;
    let head = str::from_utf8(&response[..end]).ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?;
    let length: usize = length.parse().ok()?;
    let good = head.starts_with("HTTP/1.1 200 ") && response.len() == end + 4 + length;
    good.then(|| response.split_off(end + 4))
}

/// A path as it stands in a URL: everything but letters, digits and a few signs is written as
/// bytes.
fn escape(path: &str) -> String {
    let mut url = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => url.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => url.push(byte.into()),
            byte => drop(write!(url, "%{byte:02X}")),
        }
    }
    url
}
