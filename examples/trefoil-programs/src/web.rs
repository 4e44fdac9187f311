//! As much of HTTP as it takes to ask whether something is there.
//!
//! One request for each connection, over TCP or TLS on the current loop; of the answer only the
//! head is read. Redirects are followed, a few.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_lite::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use http::Uri;
use trefoil::io::TcpStream;

/// What is needed to ask: the certificates that this system trusts.
pub struct Web {
    tls: TlsConnector,
}

impl Web {
    /// Reads the system's certificates, or those of `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// If this TLS library has no protocol version left.
    pub fn new() -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        // Where there are none, every `https` address will say so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// The status of what `url` leads to in the end.
    ///
    /// # Errors
    /// If there is no connection, no certificate that is trusted, no HTTP, or no end of redirects.
    pub async fn status(&self, url: &str) -> io::Result<u16> {
        let mut uri: Uri = url.parse().map_err(io::Error::other)?;
        for _ in 0..6 {
            let (status, moved) = self.get(&uri).await?;
            uri = match moved {
                Some(to) if (300..400).contains(&status) => resolve(&uri, &to)?,
                _ => return Ok(status),
            };
        }
        Err(io::Error::other("redirected again and again"))
    }

    /// Asks once: the status, and where the thing is said to have moved to.
    async fn get(&self, uri: &Uri) -> io::Result<(u16, Option<String>)> {
        let tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: linkcheck\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let stream = TcpStream::connect(format!("{host}:{port}")).await?;
        if !tls {
            return talk(stream, &request).await;
        }
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(io::Error::other)?;
        talk(self.tls.connect(name, stream).await?, &request).await
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

/// Where a redirect leads: to another address, or to another place of the same server.
fn resolve(uri: &Uri, to: &str) -> io::Result<Uri> {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let whole = if to.contains("://") {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}")
    } else {
        let (dir, _) = uri.path().rsplit_once('/').unwrap_or_default();
        format!("{scheme}://{authority}{dir}/{to}")
    };
    let whole = whole.split('#').next().unwrap_or_default();
    whole.parse().map_err(io::Error::other)
}

/// Sends the request, and reads the head of the answer.
async fn talk<S>(mut stream: S, request: &str) -> io::Result<(u16, Option<String>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut reader = BufReader::new(stream.take(1 << 16));
    let (mut line, mut moved) = (String::new(), None);
    reader.read_line(&mut line).await?;
    let status = line.strip_prefix("HTTP/1.");
    let status = status.and_then(|rest| rest.get(2..5)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
    while !line.trim().is_empty() {
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            return Err(io::Error::other("the answer breaks off"));
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("location") {
            moved = Some(value.trim().to_owned());
        }
    }
    Ok((status, moved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say() {
        let from: Uri = "http://one.example:8080/a/b?c".parse().unwrap();
        let to = |location| resolve(&from, location).unwrap().to_string();
        assert_eq!(to("https://two.example/x#y"), "https://two.example/x");
        assert_eq!(to("//two.example/x"), "http://two.example/x");
        assert_eq!(to("/x?y"), "http://one.example:8080/x?y");
        assert_eq!(to("x"), "http://one.example:8080/a/x");
    }
}
