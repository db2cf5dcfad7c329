//! HTTPS: rustls with its own defaults (TLS 1.2 and 1.3, no renegotiation, no early data), HTTP/2 or HTTP/1.1 by ALPN.

mod certificate;
mod encrypted;
mod self_signed;

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{Config, ConfigError, Problem, Tls};

/// From accept to the end of the handshake; a client that needs longer is gone.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The first octet of every TLS connection: a handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// For those who speak plain HTTP to an HTTPS port, mostly by a forgotten `s` in the address.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 47\r\n\
    Connection: close\r\n\r\nThis port speaks HTTPS: write https:// instead.";

/// Turns accepted sockets into encrypted connections. Clones share the certificate.
#[derive(Clone)]
pub(super) struct Encryption {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// The certificate as it is now; handshakes that have begun keep the one they were given.
struct Certificate(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Encryption {
    /// As `config` wants it; `None` where it wants none. Call it before root is given up: keys are often root's alone.
    ///
    /// # Errors
    /// Files that cannot be read, or do not belong together.
    pub(super) fn new(config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(tls) = &config.tls else { return Ok(None) };
        let key = certify(tls, config)?;
        let certificate = Arc::new(Certificate(RwLock::new(Arc::new(key))));
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let versions = builder.with_safe_default_protocol_versions().map_err(|error| impossible(&error))?;
        let mut server = versions.with_no_client_auth().with_cert_resolver(certificate.clone());
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Sessions are resumed by tickets, so the server remembers nothing of a client that has left.
        server.ticketer = ring::Ticketer::new().map_err(|error| impossible(&error))?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(server)), certificate }))
    }

    /// Reads the certificate anew. Connections go on with the old one, new ones get the new; one made on the spot
    /// stays, because people have told their browsers to trust it.
    ///
    /// # Errors
    /// As [`Encryption::new`]; the old certificate stays.
    pub(super) fn reload(&self, config: &Config) -> Result<(), ConfigError> {
        if let Some(tls @ Tls::Files { .. }) = &config.tls {
            let key = Arc::new(certify(tls, config)?);
            *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = key;
        }
        Ok(())
    }

    /// The handshake. To be called in the connection's own task, for it waits for the client.
    ///
    /// # Errors
    /// The client was too slow, or does not speak TLS; it has been told, and the connection is over.
    pub(super) async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        timeout(HANDSHAKE, self.shake(stream)).await.map_err(|_late| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn shake(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
            // What was sent has to be read, or the kernel's reset overtakes the answer.
            let _ = stream.read(&mut [0; 4096]).await?;
            stream.write_all(NOT_TLS).await?;
            stream.shutdown().await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.acceptor.accept(stream).await
    }
}

fn certify(tls: &Tls, config: &Config) -> Result<CertifiedKey, ConfigError> {
    let made = match tls {
        Tls::Files { cert, key, password_file } => {
            certificate::read(cert, key.as_deref().unwrap_or(cert), password_file.as_deref())
        }
        Tls::SelfSigned => self_signed::make(&config.listen),
    };
    made.map_err(|problem| ConfigError(vec![problem]))
}

/// What ring and rustls say only where the system has no randomness.
fn impossible(error: &rustls::Error) -> ConfigError {
    ConfigError(vec![Problem { place: "TLS".into(), key: "tls".into(), what: error.to_string(), hint: String::new() }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_has_the_length_it_says() {
        let text = std::str::from_utf8(NOT_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
