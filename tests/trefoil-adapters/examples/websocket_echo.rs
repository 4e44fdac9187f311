//! WebSockets on the event loop, by tokio-tungstenite, which runs over our sockets as they are.
//!
//! A server that echoes, and a thousand messages from a few clients at once. Run it with
//! `cargo run -p trefoil-adapters --example websocket_echo`; it ends by itself.

use std::error::Error;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{accept_async, client_async};
use trefoil::io::{TcpListener, TcpStream};
use trefoil::{spawn, try_join_all};

const CLIENTS: usize = 10;
const MESSAGES: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    trefoil::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        spawn(serve(listener)).detach();
        let clients = (0..CLIENTS).map(|number| spawn(talk(address, number)));
        let mut echoed = 0;
        for client in try_join_all(clients).await? {
            echoed += client?;
        }
        println!("{echoed} messages came back to {CLIENTS} clients");
        Ok(())
    })
}

async fn serve(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue; // no descriptor is left, say: such an error takes a tenth of a second
        };
        spawn(async move {
            let mut socket = accept_async(stream).await?;
            while let Some(message) = socket.next().await {
                let message = message?;
                if message.is_text() || message.is_binary() {
                    socket.send(message).await?;
                }
            }
            Ok::<_, tungstenite::Error>(())
        })
        .detach();
    }
}

async fn talk(address: SocketAddr, number: usize) -> Result<usize, tungstenite::Error> {
    let stream = TcpStream::connect(address).await?;
    let (socket, _) = client_async(format!("ws://{address}/"), stream).await?;
    let (mut sender, mut receiver) = socket.split();
    // One task sends while this one receives.
    let sending = spawn(async move {
        for count in 0..MESSAGES {
            sender
                .send(Message::text(format!("{number}: {count}")))
                .await?;
        }
        sender.close().await
    });
    let mut echoed = 0;
    while let Some(message) = receiver.next().await {
        if let Message::Text(text) = message? {
            assert_eq!(text.as_str(), format!("{number}: {echoed}"));
            echoed += 1;
        }
    }
    sending.await.map_err(std::io::Error::from)??;
    Ok(echoed)
}
