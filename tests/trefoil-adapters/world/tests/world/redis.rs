//! redis with its features `tokio-comp` and `smol-comp`: a future takes tokio's runtime where it is
//! polled inside one, otherwise smol's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use redis::{AsyncCommands, AsyncConnectionConfig, Client};
use trefoil::adapters::tokio::with;
use trefoil::io::{BufReader, TcpStream};
use trefoil::{join_all, spawn};

use crate::deadline::{alone, eventually, threads_named};
use crate::listening;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server of the protocol, with a map for each connection.
async fn serve() -> SocketAddr {
    let (listener, address) = listening().await;
    spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            spawn(connection(stream)).detach();
        }
    })
    .detach();
    address
}

async fn connection(stream: TcpStream) {
    let mut reader = BufReader::new(&stream);
    let mut values = HashMap::new();
    while let Some(command) = command(&mut reader).await {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let answer = match words[..] {
            ["SET", key, value] => {
                values.insert(key.to_owned(), value.to_owned());
                "+OK\r\n".to_owned()
            }
            ["GET", key] => match values.get(key) {
                Some(value) => format!("${}\r\n{value}\r\n", value.len()),
                None => "$-1\r\n".to_owned(),
            },
            ["CLIENT", ..] => "+OK\r\n".to_owned(),
            _ => format!("-ERR unknown command '{}'\r\n", words[0]),
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A command's words, each with its length before it; `None` at the end of the stream.
async fn command(reader: &mut BufReader<&TcpStream>) -> Option<Vec<String>> {
    let count = number(reader, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(reader, '$').await? + 2];
        reader.read_exact(&mut word).await.unwrap();
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).unwrap());
    }
    Some(words)
}

async fn number(reader: &mut BufReader<&TcpStream>, kind: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await.unwrap();
    let line = line.strip_suffix("\r\n")?;
    Some(line.strip_prefix(kind).unwrap().parse().unwrap())
}

/// One connection, fifty requests at once, and an error of the server's.
async fn talk(address: SocketAddr) {
    let client = Client::open(format!("redis://{address}/")).unwrap();
    // Its own half a second is too short for a busy machine.
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connecting = client.get_multiplexed_async_connection_with_config(&patient);
    let connection = connecting.await.unwrap();
    join_all((0..50).map(|number| {
        let mut connection = connection.clone();
        async move {
            let key = format!("key {number}");
            let none: Option<u32> = connection.get(&key).await.unwrap();
            assert_eq!(none, None);
            let () = connection.set(&key, number).await.unwrap();
            let some: Option<u32> = connection.get(&key).await.unwrap();
            assert_eq!(some, Some(number));
        }
    }))
    .await;
    let mut connection = connection;
    let error = connection.del::<_, ()>("key").await.unwrap_err();
    assert!(
        error.to_string().contains("unknown command 'DEL'"),
        "{error}"
    );
}

/// (A thread has its name a moment after it has been started.)
fn only_thread(one: &str, none: &str) {
    eventually(one, || threads_named(one) == 1);
    assert_eq!(threads_named(none), 0, "{none}");
}

#[test]
fn over_tokio() {
    alone("redis::over_tokio", "", || {
        trefoil::run(with(async { talk(serve().await).await }));
        only_thread("trefoil-tokio", "async-io");
    });
}

#[test]
fn over_smol() {
    alone("redis::over_smol", "", || {
        trefoil::run(async { talk(serve().await).await });
        only_thread("async-io", "trefoil-tokio");
    });
}
