//! The address at which a pool listens for workers that dial back.
//!
//! Tests: below.

#[cfg(feature = "slurm")]
use std::net::UdpSocket;
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

/// The address of this machine from which it reaches the first of these hosts that is another
/// machine, or else the loopback address. (On Debian the host's own name means the latter.)
#[cfg(feature = "slurm")]
pub(crate) fn own_address_to(hosts: impl Iterator<Item = String>) -> Option<IpAddr> {
    let mut here = None;
    for own in hosts.filter_map(|host| way_to(&host)) {
        if !own.is_loopback() {
            return Some(own);
        }
        here = here.or(Some(own));
    }
    here
}

/// The address of this machine from which it reaches this one. Nothing is sent there.
#[cfg(feature = "slurm")]
fn way_to(host: &str) -> Option<IpAddr> {
    let mut addresses = (host, 9).to_socket_addrs().ok()?;
    addresses.find_map(|address| {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0; 16], 0).into(),
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(address).ok()?;
        socket.local_addr().ok().map(|own| own.ip())
    })
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "slurm")]
    fn the_address_for_a_cluster_is_that_for_another_machine_of_it() {
        let own = |hosts: &[&str]| own_address_to(hosts.iter().map(|host| (*host).to_owned()));
        assert!(own(&["127.0.0.1"]).unwrap().is_loopback());
        assert_eq!(own(&["no such host", ""]), None);
        // (This machine may have no network, or only one of the two protocols.)
        for other in ["192.0.2.1", "2001:db8::1"] {
            if let Some(way) = way_to(other) {
                assert_eq!(own(&["127.0.0.1", "no such host", other]), Some(way));
                assert!(
                    !way.is_loopback() && way.is_ipv4() == other.contains('.'),
                    "{way}"
                );
            }
        }
        if way_to("::1").is_some() {
            assert!(own(&["::1"]).unwrap().is_ipv6());
        }
    }

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
