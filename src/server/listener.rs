//! Sockets that clients come to.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::{Config, Listen};

/// How many connections the kernel keeps ready.
const BACKLOG: i32 = 1024;

/// A socket that is bound, before there is a runtime.
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

/// A socket that is listened at.
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// A connection that was accepted.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// Binds every address of the configuration.
///
/// # Errors
/// The first address that cannot be had, and why.
pub(super) fn bind(config: &Config) -> io::Result<Vec<Bound>> {
    config.listen.iter().map(one).collect()
}

fn one(listen: &Listen) -> io::Result<Bound> {
    let (name, bound) = match listen {
        Listen::Tcp(address) => (address.to_string(), tcp(*address).map(Bound::Tcp)),
        Listen::Unix(path) => (path.display().to_string(), unix(path)),
    };
    bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen at {name}: {error}")))
}

fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // "Every address" means IPv4 as well, as with Python.
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn unix(path: &Path) -> io::Result<Bound> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket {
        // The socket of a live server is never taken over.
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(Bound::Unix(listener, path.to_path_buf()))
}

impl Listener {
    /// Hands a bound socket to the runtime.
    pub(super) fn open(bound: Bound) -> io::Result<Self> {
        Ok(match bound {
            Bound::Tcp(listener) => {
                let address = listener.local_addr()?;
                Self::Tcp(TcpListener::from_std(listener)?, address)
            }
            Bound::Unix(listener, path) => Self::Unix(UnixListener::from_std(listener)?, path),
        })
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                Accepted::Tcp(stream, peer)
            }
            Self::Unix(listener, _) => Accepted::Unix(listener.accept().await?.0),
        })
    }

    /// `Serving HTTP on 127.0.0.1 port 8000 (http://127.0.0.1:8000/) ...`
    pub(super) fn banner(&self, tls: bool) -> String {
        match self {
            Self::Tcp(_, address) => {
                let (protocol, scheme) = if tls { ("HTTPS", "https") } else { ("HTTP", "http") };
                let (host, port) = (address.ip(), address.port());
                let in_url = if address.is_ipv6() { format!("[{host}]") } else { host.to_string() };
                format!("Serving {protocol} on {host} port {port} ({scheme}://{in_url}:{port}/) ...")
            }
            Self::Unix(_, path) => format!("Serving HTTP on {} ...", path.display()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}
