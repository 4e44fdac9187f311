//! Two things from the network: one after another, then at once.
//!
//! In Python: `asyncio.gather`. The server is part of the program, and slow; everything runs on one
//! thread.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trefoil::io::{TcpListener, TcpStream};
use trefoil::time::sleep;
use trefoil::{join_all, spawn};

/// How long the server thinks.
const THINKS: Duration = Duration::from_millis(400);

/// One request: sends a line, and receives a line.
async fn fetch(server: SocketAddr, what: &'static str) -> io::Result<String> {
    let stream = TcpStream::connect(server).await?;
    stream.write_all(format!("{what}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn answer(stream: TcpStream) -> io::Result<()> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut buffer = [0; 64];
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => line.extend_from_slice(&buffer[..n]),
        }
    }
    sleep(THINKS).await;
    stream.write_all(b"here is ").await?;
    stream.write_all(line.trim_ascii_end()).await
}

fn main() -> io::Result<()> {
    trefoil::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = listener.local_addr()?;
        spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    spawn(answer(stream)).detach();
                }
            }
        })
        .detach();

        let start = Instant::now();
        let news = fetch(server, "the news").await?;
        let weather = fetch(server, "the weather").await?;
        println!("{news}; {weather}");
        println!("one after another: {:.1} s", start.elapsed().as_secs_f64());

        // A future does nothing until it is awaited; a task runs by itself.
        let start = Instant::now();
        let both = ["the news", "the weather"].map(|what| spawn(fetch(server, what)));
        let mut answers = Vec::new();
        for answer in join_all(both).await {
            answers.push(answer??); // the task might have panicked; the fetch failed
        }
        println!("{}", answers.join("; "));
        println!("at once: {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    })
}
