//! A chat: every line that a guest writes goes to all guests, on one thread and without a lock.
//!
//! Each guest has a task that writes to it, and a channel to that task. A slow guest loses lines
//! and does not keep the others waiting. The room is an ordinary `Rc<RefCell<..>>`: nothing else
//! runs between two `.await`s. The guests are part of the program, too, so that it ends by itself.
//!
//! ```text
//! cargo run --example chat_server
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use trefoil::io::{BufReader, Lines, ReadHalf, TcpListener, TcpStream};
use trefoil::spawn;
use trefoil::sync::channel::{Sender, bounded};

/// How many lines may wait for one guest.
const BEHIND: usize = 1000;

/// The guests by name, each with the channel to the task that writes to it.
#[derive(Default)]
struct Room {
    guests: RefCell<BTreeMap<String, Sender<String>>>,
}

impl Room {
    fn tell_all(&self, line: &str) {
        for guest in self.guests.borrow().values() {
            // Full: the guest misses this line. Closed: the guest is just leaving.
            let _ = guest.try_send(format!("{line}\n"));
        }
    }
}

async fn serve(listener: TcpListener) {
    let room = Rc::new(Room::default());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue; // no descriptor is left, say: such an error takes a tenth of a second
        };
        let room = room.clone();
        spawn(async move {
            // An error means that the guest has gone.
            let _ = attend(stream, &room).await;
        })
        .detach();
    }
}

async fn attend(stream: TcpStream, room: &Room) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let Some(name) = lines.next().await.transpose()? else {
        return Ok(());
    };
    let (sender, waiting) = bounded::<String>(BEHIND);
    // It ends when the sender has been dropped and all lines are written; then the guest reads the
    // end of the stream.
    let writing = spawn(async move {
        while let Ok(line) = waiting.recv().await {
            writer.write_all(line.as_bytes()).await?;
        }
        Ok::<_, io::Error>(())
    });
    room.guests.borrow_mut().insert(name.clone(), sender);
    room.tell_all(&format!("{name} has come"));
    while let Some(Ok(line)) = lines.next().await {
        room.tell_all(&format!("{name}: {line}"));
    }
    room.guests.borrow_mut().remove(&name);
    room.tell_all(&format!("{name} has gone"));
    writing.await?
}

/// Connects a guest, and waits until the room has accepted it.
async fn come(
    address: SocketAddr,
    name: &str,
) -> io::Result<(
    Lines<ReadHalf<TcpStream>>,
    impl AsyncFn(&str) -> io::Result<()>,
)> {
    let (reader, writer) = TcpStream::connect(address).await?.into_split();
    let say = async move |line: &str| writer.write_all(format!("{line}\n").as_bytes()).await;
    say(name).await?;
    let mut lines = BufReader::new(reader).lines();
    // The guest's own name has come back: the room has accepted it.
    lines.next().await.transpose()?;
    Ok((lines, say))
}

fn main() -> io::Result<()> {
    trefoil::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        spawn(serve(listener)).detach();

        let (mut ada, ada_says) = come(address, "Ada").await?;
        let (mut ben, ben_says) = come(address, "Ben").await?;
        ada_says("Is anybody there?").await?;
        let heard = ben.next().await.transpose()?.unwrap_or_default();
        println!("Ben hears    {heard}");
        ben_says("I am.").await?;
        drop(ben_says); // Ben leaves: dropping the writing half ends the stream

        // Ada has heard everything, in the order in which it was said.
        for _ in 0..4 {
            let heard = ada.next().await.transpose()?.unwrap_or_default();
            println!("Ada hears    {heard}");
        }

        // Then a crowd, all at once.
        let crowd: Vec<_> = (0..50)
            .map(|n| {
                spawn(async move {
                    let name = format!("guest {n}");
                    let (mut lines, say) = come(address, &name).await?;
                    say("Hello!").await?;
                    // Until the guest's own greeting comes back.
                    let mine = format!("{name}: Hello!");
                    while lines
                        .next()
                        .await
                        .transpose()?
                        .is_some_and(|line| line != mine)
                    {}
                    Ok::<_, io::Error>(())
                })
            })
            .collect();
        for guest in crowd {
            guest.await??;
        }
        let (mut greetings, mut gone) = (0, 0);
        while gone < 50 {
            let line = ada.next().await.transpose()?.unwrap_or_default();
            greetings += usize::from(line.ends_with(": Hello!"));
            gone += usize::from(line.ends_with(" has gone"));
        }
        println!("Ada has heard {greetings} greetings, and {gone} guests leave");
        drop(ada_says);
        Ok(())
    })
}
