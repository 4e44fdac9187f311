//! The address at which a pool listens for workers that dial back.
//!
//! Tests: below.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};

/// Listens at one address of this machine: a name or a number, perhaps with a port. The error says
/// what is wrong with it.
pub(crate) fn listen(text: &str) -> Result<TcpListener, String> {
    let bare = text.trim_matches(['[', ']']).parse::<IpAddr>();
    let found = match bare {
        Ok(ip) => Ok(vec![SocketAddr::new(ip, 0)]),
        Err(_) => {
            let with_port = text.to_socket_addrs();
            let found = with_port.or_else(|_| (text, 0).to_socket_addrs());
            found.map(Iterator::collect)
        }
    };
    let named = found.map_err(|error| format!("`{text}` is no address to listen at: {error}"))?;
    if named.iter().any(|address| address.ip().is_unspecified()) {
        let words = "the workers must know where to call back: `listen` takes one address of this \
            machine, and not all";
        return Err(words.to_owned());
    }
    TcpListener::bind(&named[..]).map_err(|error| {
        format!(
            "nothing can listen at {named:?}: {error}; name an address of this machine with \
             `listen`"
        )
    })
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one() {
        for right in ["127.0.0.1", "127.0.0.1:0", "localhost"] {
            let listener = listen(right).unwrap();
            assert!(listener.local_addr().unwrap().ip().is_loopback(), "{right}");
        }
        for (wrong, word) in [
            ("0.0.0.0", "one address"),
            ("no such host", "is no address"),
            ("192.0.2.1", "listen"),
        ] {
            let words = listen(wrong).unwrap_err();
            assert!(words.contains(word), "{words}");
        }
    }
}
