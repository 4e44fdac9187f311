//! How a host's name becomes addresses.
//!
//! A numeric address needs no lookup: it is parsed at once, and no thread is started. A name is
//! looked up by the system, which blocks, so that happens off the loop.
//!
//! How many lookups run at a time: `MOST_HELPERS` (`src/blocking_calls.rs`).
//!
//! Tests: below;
//! `tests/io/datagrams.rs::names_are_looked_up_off_the_loop_and_numbers_need_no_thread`,
//! `tests/io/faults.rs::files_and_names_without_threads_say_so`.

use std::io;
use std::net::ToSocketAddrs as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::blocking_calls;
use crate::blocking_calls::CallKind;

/// Looks up a host: returns all its addresses, in the order of the system's preference.
///
/// `host` is anything that [`TcpStream::connect`](super::TcpStream::connect) takes: `"name:port"`,
/// `("name", port)`, an address.
///
/// A name is looked up by the system, on a thread that may block. Up to 128 lookups run at a time;
/// more wait for one of these to end ([`stats`](super::stats()) counts them). They delay no
/// operation on files. An address needs no thread.
///
/// # Errors
///
/// If there is no such host, or the text has no valid port.
///
/// # Cancel safety
///
/// If the future is dropped, the lookup still runs to its end.
///
/// ```
/// trefoil::run(async {
///     let addresses = trefoil::io::lookup_host("localhost:80").await?;
///     assert!(addresses.iter().all(|address| address.ip().is_loopback()));
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn lookup_host<A: ToSocketAddrs>(host: A) -> io::Result<Vec<SocketAddr>> {
    host.target(LookupSeal)?.addresses().await
}

/// The result of `call` for the first address with which it succeeds; otherwise the last error.
pub(super) fn first<R>(
    addresses: Vec<SocketAddr>,
    mut call: impl FnMut(SocketAddr) -> io::Result<R>,
) -> io::Result<R> {
    let mut result = Err(no_address());
    for address in addresses {
        result = call(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Types that can be connected or bound to: addresses, `(host, port)`, `"host:port"`.
///
/// This is `std`'s trait of the same name for code that must not block. It is
/// implemented for the same types and for `Vec<SocketAddr>`, and cannot be implemented elsewhere.
///
/// ```
/// use std::net::Ipv4Addr;
/// use trefoil::io::TcpListener;
///
/// trefoil::run(async {
///     TcpListener::bind("127.0.0.1:0").await?;
///     TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
///     TcpListener::bind(("localhost", 0)).await?;
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs {
    #[doc(hidden)]
    fn target(&self, _: LookupSeal) -> io::Result<LookupTarget>;
}

/// Only this crate can construct it, so only it can call `target`.
#[doc(hidden)]
#[derive(Debug)]
pub struct LookupSeal;

/// The addresses, or the name that must be looked up first.
#[doc(hidden)]
#[derive(Debug)]
pub enum LookupTarget {
    /// Addresses that need no lookup.
    Known(Vec<SocketAddr>),
    /// A name and a port.
    Name(String, u16),
}

impl LookupTarget {
    /// Looks up the name, if it is one.
    pub(super) async fn addresses(self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Known(addresses) => Ok(addresses),
            Self::Name(name, port) => {
                let found = blocking_calls::run(CallKind::Lookup, move || {
                    (name.as_str(), port).to_socket_addrs()
                })?;
                Ok(found.await??.collect())
            }
        }
    }
}

macro_rules! one_address {
    ($($type:ty),*) => {
        $(
            impl ToSocketAddrs for $type {
                fn target(&self, _: LookupSeal) -> io::Result<LookupTarget> {
                    Ok(LookupTarget::Known(vec![SocketAddr::from(*self)]))
                }
            }
        )*
    };
}

one_address! { SocketAddr, SocketAddrV4, SocketAddrV6 }
one_address! { (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16) }

impl ToSocketAddrs for [SocketAddr] {
    fn target(&self, _: LookupSeal) -> io::Result<LookupTarget> {
        Ok(LookupTarget::Known(self.to_vec()))
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {
    fn target(&self, seal: LookupSeal) -> io::Result<LookupTarget> {
        self.as_slice().target(seal)
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn target(&self, seal: LookupSeal) -> io::Result<LookupTarget> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => (ip, port).target(seal),
            Err(_) => Ok(LookupTarget::Name(host.into(), port)),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    fn target(&self, seal: LookupSeal) -> io::Result<LookupTarget> {
        (self.0.as_str(), self.1).target(seal)
    }
}

impl ToSocketAddrs for str {
    fn target(&self, seal: LookupSeal) -> io::Result<LookupTarget> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return address.target(seal);
        }
        let (host, port) = self.rsplit_once(':').ok_or_else(|| bad("no port", self))?;
        let port: u16 = port.parse().map_err(|_| bad("no valid port", self))?;
        (host, port).target(seal)
    }
}

impl ToSocketAddrs for String {
    fn target(&self, seal: LookupSeal) -> io::Result<LookupTarget> {
        self.as_str().target(seal)
    }
}

impl<A: ToSocketAddrs + ?Sized> ToSocketAddrs for &A {
    fn target(&self, seal: LookupSeal) -> io::Result<LookupTarget> {
        (**self).target(seal)
    }
}

fn bad(what: &str, text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{what} in {text:?}; expected host:port"),
    )
}

/// The error if there is no address to try.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no address was given")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_known_and_names_are_not() {
        for text in ["127.0.0.1:80", "[::1]:80"] {
            let target = text.target(LookupSeal).unwrap();
            assert!(
                matches!(target, LookupTarget::Known(known) if known == [text.parse().unwrap()])
            );
        }
        assert!(matches!(
            ("::1", 8).target(LookupSeal),
            Ok(LookupTarget::Known(_))
        ));
        assert!(
            matches!("a.example:8".target(LookupSeal), Ok(LookupTarget::Name(name, 8)) if name == "a.example")
        );
        for text in ["a.example", "127.0.0.1", "host:", "host:65536", ""] {
            let error = text.target(LookupSeal).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text}");
        }
    }
}
