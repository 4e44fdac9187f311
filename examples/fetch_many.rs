//! Many sites at once, but never more than ten at a time: how to get each answer, how to give up
//! slow sites, and that a broken site does not affect the others. In Python: `asyncio.Semaphore`
//! with `gather`. The sites are servers in this program.
//!
//! ```text
//! cargo run --example fetch_many
//! ```

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use trefoil::io::{TcpListener, TcpStream};
use trefoil::sync::Semaphore;
use trefoil::time::sleep;
use trefoil::{TaskError, join_all, spawn, timeout};

const SITES: usize = 60;
const AT_ONCE: usize = 10;
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> io::Result<()> {
    trefoil::run(async {
        let mut sites = Vec::new();
        for number in 0..SITES {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            sites.push(listener.local_addr()?);
            // A dropped task goes on by itself, and ends with the loop.
            spawn(site(listener, number)).detach();
        }

        // All are started now; the semaphore lets ten of them go on at a time.
        let start = Instant::now();
        let permits = Rc::new(Semaphore::new(AT_ONCE));
        let fetches = sites.into_iter().map(|site| {
            let permits = permits.clone();
            spawn(async move {
                let _permit = permits.acquire().await;
                // The time counts from here; waiting for the semaphore does not count. A fetch that
                // is given up closes its connection.
                timeout(PATIENCE, fetch(site)).await
            })
        });

        let (mut pages, mut bytes) = (0, 0);
        let (mut broken, mut slow) = (Vec::new(), Vec::new());
        for (number, result) in join_all(fetches).await.into_iter().enumerate() {
            // The outer result is the task's: it might have panicked.
            match result? {
                Ok(Ok(page)) => {
                    pages += 1;
                    bytes += page.len();
                }
                Ok(Err(error)) => broken.push((number, error.kind())),
                Err(TaskError::TimedOut(_)) => slow.push(number),
                Err(error) => return Err(error.into()),
            }
        }
        println!("{pages} pages, {bytes} bytes");
        println!("broken: {broken:?}");
        println!("given up: {slow:?}");
        println!(
            "{SITES} sites in {:.1?}, {AT_ONCE} at a time",
            start.elapsed()
        );
        Ok(())
    })
}

/// One page over one connection.
async fn fetch(site: SocketAddr) -> io::Result<String> {
    let stream = TcpStream::connect(site).await?;
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, page) = answer
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    if !head.starts_with("HTTP/1.0 200") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(page.to_owned())
}

/// A site that takes its time. Number 13 breaks off, number 42 never answers.
async fn site(listener: TcpListener, number: usize) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _gone = answer(stream, number).await;
        }
    }
}

async fn answer(stream: TcpStream, number: usize) -> io::Result<()> {
    let mut request = [0; 512];
    let _read = stream.read(&mut request).await?;
    sleep(Duration::from_millis(10)).await;
    match number {
        13 => stream.write_all(b"HTTP/1.0 2").await,
        42 => pending().await,
        _ => {
            let page = format!("<h1>site {number:02}</h1>");
            let answer = format!("HTTP/1.0 200 OK\r\n\r\n{page}");
            stream.write_all(answer.as_bytes()).await
        }
    }
}
