//! A server that ends as it should: at Ctrl-C it accepts no more connections, lets the ones that it
//! has finish, and does not wait for ever for those that do not.
//!
//! 1. Ctrl-C ends the task that accepts; its listener is closed with it.
//! 2. The connections are tasks in a [`TaskGroup`](trefoil::TaskGroup): they get some time to
//!    finish.
//! 3. Those that have not finished by then are cancelled, and their destructors run.
//!
//! A second Ctrl-C meanwhile ends the program at once: once the `ctrl_c` future is done, the signal
//! has its usual effect again. In this example the program sends the signal itself.
//!
//! ```text
//! cargo run --example graceful_shutdown
//! ```

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use trefoil::io::{TcpListener, TcpStream, ctrl_c};
use trefoil::time::sleep;
use trefoil::{GroupHandle, Task, TaskError, TaskGroup, spawn, timeout};

/// How long the connections may take to finish after Ctrl-C.
const GRACE: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    trefoil::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // From here on Ctrl-C waits to be received.
        let stop = ctrl_c();

        let mut serving = TaskGroup::new();
        let accepting = spawn(accept(listener, serving.handle()));
        let customers = customers(address).await?;

        stop.await?;
        println!("Ctrl-C: no more callers");
        accepting.cancel();
        // Its listener is closed once it has ended.
        assert!(matches!(accepting.await, Err(TaskError::Cancelled)));
        assert!(TcpStream::connect(address).await.is_err());

        let drained = timeout(GRACE, async {
            let (mut served, mut failed) = (0, 0);
            while let Some((_id, result)) = serving.next().await {
                match result {
                    Ok(()) => served += 1,
                    Err(_) => failed += 1,
                }
                println!("served {served}, failed {failed}");
            }
        });
        if drained.await.is_err() {
            println!("some take too long: they are cancelled");
            serving.cancel();
            // Wait for them all the same: after this loop no task is left.
            while let Some((_id, result)) = serving.next().await {
                assert!(matches!(result, Err(TaskError::Cancelled)));
            }
        }
        for customer in customers {
            println!("{}", customer.await??);
        }
        println!("ended in order");
        Ok(())
    })
}

async fn accept(listener: TcpListener, serving: GroupHandle<()>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        }; // no descriptor is left, say
        serving.add(spawn(async move {
            // That a customer has gone is not an error of the server.
            let _ = serve(stream).await;
        }));
    }
}

/// Answers after as many milliseconds as the customer asks for.
async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 2];
    stream.read_exact(&mut request).await?;
    stream.write_all(b"so").await?;
    sleep(Duration::from_millis(u16::from_be_bytes(request).into())).await;
    stream.write_all(b"up").await
}

/// Three customers: one is served at once, one after a while, one never. Once the server serves all
/// three, the program sends itself Ctrl-C.
async fn customers(address: SocketAddr) -> io::Result<Vec<Task<io::Result<String>>>> {
    let mut customers = Vec::new();
    for (name, milliseconds) in [("quick", 0_u16), ("slow", 50), ("endless", 60_000)] {
        let stream = TcpStream::connect(address).await?;
        stream.write_all(&milliseconds.to_be_bytes()).await?;
        let mut bowl = [0; 2];
        stream.read_exact(&mut bowl).await?;
        customers.push(spawn(async move {
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await?;
            Ok(match rest.as_str() {
                "up" => format!("the {name} one has all he asked for"),
                _ => format!("the {name} one was sent away"),
            })
        }));
    }
    kill_process(getpid(), Signal::INT)?; // as the terminal does
    Ok(customers)
}
