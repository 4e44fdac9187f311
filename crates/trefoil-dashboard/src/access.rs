//! Who may ask: every request passes [`Access::check`] before anything else looks at it.
//!
//! A page on a loopback address is reachable by every user of the machine, and, through a browser,
//! by every site that its user visits. So, in this order:
//!
//! 1. The method is GET. Nothing else exists, and no GET changes anything.
//! 2. `Host` is an address that this server has, or a loopback name. A site that lets its own name
//!    resolve to 127.0.0.1 (DNS rebinding) sends its own name.
//! 3. `Sec-Fetch-Site` and `Origin`, which browsers set and pages cannot, name this page or none.
//! 4. The token is there: 128 bits from the system, compared in constant time.
//!
//! The token comes once in the address that the program prints, `/?token=..`. The answer moves it
//! into a cookie and redirects to the page, so that it stays in no address bar, history or
//! `Referer`. The cookie is `HttpOnly` (no script reads it) and `SameSite=Strict`. Its path is a
//! second random word, because browsers send cookies to all ports of a host: without that, a server
//! of another user on this machine would get the token from whoever visits both.
//!
//! A program that collects metrics sends the token in `Authorization: Bearer ..`, and gets
//! `/metrics` with it, nothing else. (No page can make a browser send that header without asking,
//! with a method that does not exist here.)
//!
//! Rejected: the token in the fragment and in a script's memory. The page itself would be served to
//! everybody, a reload would lose it, and `EventSource` cannot send it.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Uri};
use subtle::ConstantTimeEq;

/// The page of metrics.
pub(crate) const METRICS: &str = "metrics";
/// The name of the cookie.
const COOKIE_NAME: &str = "trefoil";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request must show.
pub(crate) struct Access {
    token: String,
    /// The first segment of the page's path.
    page: String,
    bound: SocketAddr,
}

/// What a request that passed may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Granted<'a> {
    /// The token came in the address: to be moved into the cookie.
    Enter,
    /// The part of the path below the page's.
    Page(&'a str),
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) why: &'static str,
}

impl Access {
    /// With new random words, for a server that listens on `bound`.
    pub(crate) fn new(bound: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            token: random_word()?,
            page: random_word()?,
            bound,
        })
    }

    /// The address for the user, with the token.
    pub(crate) fn url(&self) -> String {
        let mut shown = self.bound;
        match shown.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => shown.set_ip(IpAddr::from([127, 0, 0, 1])),
            IpAddr::V6(ip) if ip.is_unspecified() => {
                shown.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
            }
            _ => {}
        }
        format!("http://{shown}/?token={}", self.token)
    }

    /// Where the page is.
    pub(crate) fn page_path(&self) -> String {
        format!("/{}/", self.page)
    }

    /// The value of `Set-Cookie`.
    pub(crate) fn cookie(&self) -> String {
        format!(
            "{COOKIE_NAME}={}; Path={}; HttpOnly; SameSite=Strict",
            self.token,
            self.page_path()
        )
    }

    /// Whether this request is answered, and with what.
    pub(crate) fn check<'a>(
        &self,
        method: &Method,
        uri: &'a Uri,
        headers: &HeaderMap,
    ) -> Result<Granted<'a>, Refusal> {
        if method != Method::GET {
            return Err(refusal(405, "Only GET exists here."));
        }
        if uri.authority().is_some() {
            return Err(refusal(400, "This is not a proxy."));
        }
        let host =
            only(headers, &HOST).ok_or_else(|| refusal(400, "A request has one header Host."))?;
        if !self.is_ours(host) {
            let why = "The header Host names neither this server's address nor a loopback name.";
            return Err(refusal(403, why));
        }
        let foreign = "Another site asked. Paste the address into the browser's address bar.";
        let sites = headers.get_all(SEC_FETCH_SITE);
        if !sites
            .iter()
            .all(|site| site == "same-origin" || site == "none")
        {
            return Err(refusal(403, foreign));
        }
        let own_origin = format!("http://{host}");
        let mut origins = headers.get_all(ORIGIN).iter();
        if !origins.all(|origin| {
            origin
                .as_bytes()
                .eq_ignore_ascii_case(own_origin.as_bytes())
        }) {
            return Err(refusal(403, foreign));
        }
        let unknown = refusal(
            401,
            "Open the address that the program has printed: it has a token.",
        );
        let below = uri.path().strip_prefix('/').unwrap_or_default();
        if below.is_empty() {
            let token = uri.query().and_then(|query| query.strip_prefix("token="));
            return match token {
                Some(token) if self.is_token(token) => Ok(Granted::Enter),
                _ => Err(unknown),
            };
        }
        if below == METRICS && self.has_bearer(headers) {
            return Ok(Granted::Page(METRICS));
        }
        if !self.has_cookie(headers) {
            return Err(unknown);
        }
        let below = below.strip_prefix(self.page.as_str());
        match below.and_then(|below| below.strip_prefix('/')) {
            Some(below) => Ok(Granted::Page(below)),
            None => Err(refusal(404, "There is no such page.")),
        }
    }

    fn is_token(&self, given: &str) -> bool {
        given.as_bytes().ct_eq(self.token.as_bytes()).into()
    }

    fn has_bearer(&self, headers: &HeaderMap) -> bool {
        let value = only(headers, &AUTHORIZATION).and_then(|value| value.split_once(' '));
        value.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && self.is_token(token.trim())
        })
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(COOKIE).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .any(|(name, value)| name == COOKIE_NAME && self.is_token(value))
    }

    /// Whether a header `Host` names this server. The port is not compared: behind a tunnel (`ssh
    /// -L`) it is another, and no attack can choose the name but not the port.
    fn is_ours(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host();
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let Ok(ip) = bare.unwrap_or(name).parse::<IpAddr>() else {
            return false;
        };
        // A server for all addresses does not know them; no DNS answers for a literal address.
        ip.is_loopback() || ip == self.bound.ip() || self.bound.ip().is_unspecified()
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// The value of a header that must be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    match values.next() {
        None => first.to_str().ok(),
        Some(_) => None,
    }
}

fn refusal(status: u16, why: &'static str) -> Refusal {
    Refusal {
        status: StatusCode::from_u16(status).expect("the numbers above are statuses"),
        why,
    }
}

/// 128 bits from the system, in hexadecimal digits.
pub(crate) fn random_word() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().fold(String::new(), |mut word, byte| {
        let _ = write!(word, "{byte:02x}");
        word
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(bound: &str) -> Access {
        Access::new(bound.parse().unwrap()).unwrap()
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn status(access: &Access, method: &str, path: &str, pairs: &[(&str, &str)]) -> u16 {
        let method = method.parse().unwrap();
        let uri: Uri = path.parse().unwrap();
        let checked = access.check(&method, &uri, &headers(pairs));
        checked.map_or_else(|refused| refused.status.as_u16(), |_| 200)
    }

    #[test]
    fn words_are_long_and_differ() {
        let (one, two) = (random_word().unwrap(), random_word().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }

    #[test]
    fn hosts_of_a_loopback_server() {
        let access = access("127.0.0.1:8787");
        for ours in [
            "127.0.0.1:8787",
            "localhost:8787",
            "LOCALHOST",
            "[::1]:9000",
            "127.0.0.1",
        ] {
            assert!(access.is_ours(ours), "{ours}");
        }
        for other in [
            "evil.example",
            "evil.example:8787",
            "localhost.evil.example:8787",
            "127.0.0.1.evil.example",
            "192.168.1.5:8787",
            "user@127.0.0.1:8787",
            "0.0.0.0:8787",
            "",
            "a b",
        ] {
            assert!(!access.is_ours(other), "{other}");
        }
    }

    #[test]
    fn hosts_of_other_servers() {
        assert!(access("192.168.1.5:80").is_ours("192.168.1.5"));
        assert!(!access("192.168.1.5:80").is_ours("192.168.1.6"));
        assert!(access("0.0.0.0:80").is_ours("192.168.1.6:80"));
        assert!(!access("0.0.0.0:80").is_ours("node17:80"));
    }

    #[test]
    fn addresses_that_a_browser_can_open() {
        assert!(
            access("0.0.0.0:80")
                .url()
                .starts_with("http://127.0.0.1:80/?token=")
        );
        assert!(
            access("[::]:80")
                .url()
                .starts_with("http://[::1]:80/?token=")
        );
    }

    #[test]
    fn what_a_request_must_show() {
        let access = access("127.0.0.1:8787");
        let host = ("host", "127.0.0.1:8787");
        let enter = format!("/?token={}", access.token);
        let cookie = format!("other=1; trefoil={}", access.token);
        let cookie = ("cookie", cookie.as_str());
        let page = access.page_path();
        let sample = format!("{page}events");

        assert_eq!(status(&access, "GET", &enter, &[host]), 200);
        assert_eq!(status(&access, "GET", &page, &[host, cookie]), 200);
        assert_eq!(status(&access, "GET", &sample, &[host, cookie]), 200);

        for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"] {
            assert_eq!(
                status(&access, method, &page, &[host, cookie]),
                405,
                "{method}"
            );
        }
        assert_eq!(status(&access, "GET", &page, &[cookie]), 400, "no host");
        assert_eq!(
            status(&access, "GET", &page, &[host, host, cookie]),
            400,
            "two hosts"
        );
        assert_eq!(
            status(&access, "GET", "http://127.0.0.1/", &[host, cookie]),
            400
        );
        let rebound = ("host", "evil.example:8787");
        assert_eq!(status(&access, "GET", &enter, &[rebound]), 403);
        for site in ["cross-site", "same-site", "", "none, cross-site"] {
            let site = ("sec-fetch-site", site);
            assert_eq!(
                status(&access, "GET", &page, &[host, cookie, site]),
                403,
                "{site:?}"
            );
        }
        for site in ["same-origin", "none"] {
            let site = ("sec-fetch-site", site);
            assert_eq!(
                status(&access, "GET", &page, &[host, cookie, site]),
                200,
                "{site:?}"
            );
        }
        for origin in [
            "null",
            "http://evil.example",
            "http://127.0.0.1:9999",
            "https://127.0.0.1:8787",
        ] {
            let origin = ("origin", origin);
            assert_eq!(
                status(&access, "GET", &page, &[host, cookie, origin]),
                403,
                "{origin:?}"
            );
        }
        let origin = ("origin", "http://127.0.0.1:8787");
        assert_eq!(status(&access, "GET", &page, &[host, cookie, origin]), 200);

        let shorter = format!("/?token={}", &access.token[1..]);
        for path in [
            "/",
            "/?token=",
            "/?token=0",
            &shorter,
            &page,
            &sample,
            "/else",
        ] {
            assert_eq!(status(&access, "GET", path, &[host]), 401, "{path}");
        }
        let wrong = ("cookie", "trefoil=0123456789abcdef0123456789abcdef");
        assert_eq!(status(&access, "GET", &page, &[host, wrong]), 401);
        assert_eq!(status(&access, "GET", "/else", &[host, cookie]), 404);
        // A collector of metrics has the token in a header, and gets nothing else for it.
        let bearer = format!("Bearer {}", access.token);
        let bearer = ("authorization", bearer.as_str());
        assert_eq!(status(&access, "GET", "/metrics", &[host, bearer]), 200);
        assert_eq!(status(&access, "POST", "/metrics", &[host, bearer]), 405);
        assert_eq!(status(&access, "GET", "/metrics", &[rebound, bearer]), 403);
        for more in [
            ("authorization", "Bearer 0123456789abcdef0123456789abcdef"),
            ("authorization", access.token.as_str()),
            ("authorization", "Basic dHJlZm9pbDp0cmVmb2ls"),
            ("sec-fetch-site", "none"),
        ] {
            let found = status(&access, "GET", "/metrics", &[host, more]);
            assert_eq!(found, 401, "{more:?}");
        }
        let twice = &[host, bearer, bearer];
        assert_eq!(status(&access, "GET", "/metrics", twice), 401);
        for path in [page.as_str(), sample.as_str(), "/metrics/", "/"] {
            assert_eq!(status(&access, "GET", path, &[host, bearer]), 401, "{path}");
        }
        // The page's path alone opens nothing, and the token in its query neither.
        let query = format!("{page}?token={}", access.token);
        assert_eq!(status(&access, "GET", &query, &[host]), 401);
    }
}
