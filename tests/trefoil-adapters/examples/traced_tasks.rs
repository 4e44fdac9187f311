//! Tasks as spans: what a program says about itself with the feature `tracing` and any subscriber.
//!
//! A server with a task for each client, one of which panics, and one that keeps the loop to
//! itself. Every line says in which task it was written. Run it with
//! `cargo run -p trefoil-adapters --example traced_tasks`; it ends by itself.

use std::error::Error;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{info, info_span};
use tracing_subscriber::fmt::format::FmtSpan;
use trefoil::io::{TcpListener, TcpStream};
use trefoil::{EventLoop, adapters, spawn, time};

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE) // the level of the tasks' spans
        .with_span_events(FmtSpan::CLOSE) // with the time each was busy, and idle
        .with_ansi(false)
        .init();
    let event_loop = EventLoop::builder()
        .slow_poll(Duration::from_millis(20), adapters::tracing::slow_poll)
        .on_unobserved(adapters::tracing::unobserved)
        .build()?;
    event_loop.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                }; // no descriptor is left, say
                spawn(serve(stream)).named("connection").detach();
            }
        })
        .named("server")
        .detach();

        for word in ["hello", "panic", "block"] {
            let stream = TcpStream::connect(address).await?;
            stream.write_all(word.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            info!(word, answer, "the client has its answer");
        }
        Ok(())
    })
}

async fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut word = [0; 5];
    stream.read_exact(&mut word).await?;
    // Spans of one's own lie inside the task's.
    let _request = info_span!("request", word = %String::from_utf8_lossy(&word)).entered();
    info!("asked");
    match &word {
        b"panic" => panic!("as it was asked to"),
        b"block" => std::thread::sleep(Duration::from_millis(60)), // never do this
        _ => {}
    }
    drop(_request); // before the next wait: an entered span must not be held across it
    time::sleep(Duration::from_millis(1)).await;
    stream.write_all(b"done").await
}
