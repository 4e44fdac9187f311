//! A server whose connections are served in worker processes: a request that crashes its worker
//! costs one connection.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use trefoil::ProcessPool;
    use trefoil::process::Attachment;

    /// Runs in a worker, which has the connection to itself.
    fn serve(connection: Attachment) -> std::io::Result<()> {
        let mut connection = TcpStream::from(connection.into_fd());
        let mut request = String::new();
        connection.read_to_string(&mut request)?;
        if request.contains("crash") {
            std::process::abort(); // as a parser in C may
        }
        connection.write_all(request.to_uppercase().as_bytes())
    }

    trefoil::init();
    let procs = ProcessPool::with_workers(2)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?;
    let clients = std::thread::spawn(move || {
        ["first", "please crash", "last"].map(|request| {
            let ask = || -> std::io::Result<String> {
                let mut client = TcpStream::connect(server)?;
                client.write_all(request.as_bytes())?;
                client.shutdown(Shutdown::Write)?;
                let mut answer = String::new();
                client.read_to_string(&mut answer)?;
                Ok(answer)
            };
            (request, ask().unwrap_or_else(|error| error.to_string()))
        })
    });
    for connection in listener.incoming().take(3) {
        let served = procs.spawn(
            Attachment::new(connection?.into()),
            |connection: Attachment| serve(connection).map_err(|error| error.to_string()),
        );
        // Others are accepted meanwhile.
        served.on_done(|result| match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("a connection broke: {error}"),
            Err(error) => eprintln!("a connection was lost: {error}"),
        });
    }
    for (request, answer) in clients.join().expect("the clients are well") {
        println!("{request}: {answer:?}");
    }
    Ok(())
}

#[cfg(not(unix))]
fn main() {}
