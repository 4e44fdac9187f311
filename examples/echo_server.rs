//! An echo server that also talks to itself: everything on one thread.
//!
//! Shows the three parts of an event loop: tasks that wait at the same time ([`trefoil::spawn`]),
//! sockets ([`trefoil::io`]), and time ([`trefoil::time`]). Run it with `cargo run --example
//! echo_server`; it serves a thousand connections and ends by itself.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trefoil::io::{TcpListener, TcpStream};
use trefoil::time::sleep;
use trefoil::{join_all, spawn, timeout};

const CLIENTS: usize = 1000;

fn main() -> io::Result<()> {
    // `run` makes a loop on this thread, runs the future to its end, and cancels
    // what is then left: here, the server.
    trefoil::run(async {
        // Port 0: the system chooses a free one.
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        println!("serving on {address}");
        // A dropped task goes on by itself; `detach` says that this is meant.
        spawn(serve(listener)).detach();

        let start = Instant::now();
        // All clients at once. Each is a task: none of them blocks the thread.
        let clients = (0..CLIENTS).map(|number| spawn(ask(address, number)));
        let mut answered = 0;
        for result in join_all(clients).await {
            // One `?` for the task (it might have panicked), one for its own result.
            answered += result??;
        }
        println!(
            "{answered} answers to {CLIENTS} clients in {:?}",
            start.elapsed()
        );
        Ok(())
    })
}

/// Takes connections, one task for each.
async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => spawn(echo(stream)).detach(),
            // Most likely too many open files. Others will close theirs; `accept` has waited.
            Err(error) => println!("cannot accept: {error}"),
        }
    }
}

/// Sends back whatever comes, until the peer has nothing more to say.
async fn echo(stream: TcpStream) {
    let mut buffer = [0; 1024];
    // An error here means that the peer has gone: there is nobody to report it to.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

/// Asks three times, with a pause between, and counts the answers.
async fn ask(address: SocketAddr, number: usize) -> io::Result<usize> {
    let stream = TcpStream::connect(address).await?;
    let question = format!("client {number}");
    let mut answer = vec![0; question.len()];
    let mut answers = 0;
    for _ in 0..3 {
        stream.write_all(question.as_bytes()).await?;
        // A deadline around any future.
        timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await??;
        assert_eq!(answer, question.as_bytes());
        answers += 1;
        // A thousand sleeps take as long as one.
        sleep(Duration::from_millis(20)).await;
    }
    Ok(answers)
}
