//! Sockets that clients come to.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{SocketFlags, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::holder;
use crate::config::{Config, Listen};
use crate::connection::Connection;

/// How many connections the kernel keeps ready.
const BACKLOG: i32 = 1024;

/// A socket that is bound, before there is a runtime.
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    /// With its file, if that is ours to remove.
    Unix(std::os::unix::net::UnixListener, Option<PathBuf>),
}

/// A socket that is listened at.
pub(super) struct Listener {
    socket: AsyncFd<OwnedFd>,
    place: Place,
}

enum Place {
    Tcp(SocketAddr),
    Unix(Option<PathBuf>),
}

/// A connection that was accepted, and not given to any reactor yet. It does not block.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
    /// One that nobody made: a rehearsal's.
    Rehearsed(UnixStream, Connection),
}

/// Binds every address of the configuration.
///
/// # Errors
/// The first address that cannot be had, and why.
pub(super) fn bind(config: &Config) -> io::Result<Vec<Bound>> {
    config.listen.iter().map(|listen| one(listen, config)).collect()
}

/// Binds `redirect-port` beside every TCP address.
///
/// # Errors
/// As [`bind`].
pub(super) fn bind_redirects(config: &Config) -> io::Result<Vec<Bound>> {
    let Some(port) = config.redirect_port else { return Ok(Vec::new()) };
    let beside = config.listen.iter().filter_map(|listen| match listen {
        Listen::Tcp(address) => Some(Listen::Tcp(SocketAddr::new(address.ip(), port))),
        Listen::Unix(_) => None,
    });
    beside.map(|listen| one(&listen, config)).collect()
}

fn one(listen: &Listen, config: &Config) -> io::Result<Bound> {
    let (name, bound) = match listen {
        Listen::Tcp(address) => (address.to_string(), tcp(*address).map(Bound::Tcp)),
        Listen::Unix(path) => (path.display().to_string(), unix(path, config)),
    };
    bound.map_err(|error| {
        let holder = match (listen, error.kind()) {
            (Listen::Tcp(address), io::ErrorKind::AddrInUse) => holder::of(*address),
            _ => None,
        };
        let holder = holder.map(|holder| format!(", by {holder}")).unwrap_or_default();
        io::Error::new(error.kind(), format!("cannot listen at {name}: {error}{holder}"))
    })
}

fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use rustix::net::{AddressFamily, SocketType};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = match rustix::net::socket_with(family, SocketType::STREAM, flags, None) {
        // A kernel without IPv6: every address is then every IPv4 address.
        Err(rustix::io::Errno::AFNOSUPPORT) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            return tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()));
        }
        socket => socket?,
    };
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // "Every address" means IPv4 as well, as with Python.
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn unix(path: &Path, config: &Config) -> io::Result<Bound> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket {
        // The socket of a live server is never taken over.
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
        }
        std::fs::remove_file(path)?;
    }
    // For nobody, until it is for whom it shall be. There is one thread yet.
    let umask = rustix::process::umask(Mode::from_raw_mode(0o777));
    let bound = std::os::unix::net::UnixListener::bind(path);
    rustix::process::umask(umask);
    let listener = bound?;
    listener.set_nonblocking(true)?;
    if let Some(identity) = &config.identity {
        std::os::unix::fs::lchown(path, Some(identity.uid), Some(identity.gid))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(config.socket_mode))?;
    Ok(Bound::Unix(listener, Some(path.to_path_buf())))
}

impl Listener {
    /// Hands a bound socket to the runtime.
    pub(super) fn open(bound: Bound) -> io::Result<Self> {
        let (socket, place) = match bound {
            Bound::Tcp(listener) => {
                let place = Place::Tcp(listener.local_addr()?);
                // Connections inherit it. Answers are written whole; waiting for more to send only delays them.
                let _ = sockopt::set_tcp_nodelay(&listener, true);
                (OwnedFd::from(listener), place)
            }
            Bound::Unix(listener, path) => (listener.into(), Place::Unix(path)),
        };
        Ok(Self { socket: crate::sys::watch(socket)?, place })
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accept = |socket: &OwnedFd| Ok(rustix::net::acceptfrom_with(socket, flags)?);
        let (socket, peer) = self.socket.async_io(Interest::READABLE, accept).await?;
        Ok(match self.place {
            Place::Tcp(_) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                // The kernel names the peer of every TCP connection.
                Accepted::Tcp(socket.into(), peer.ok_or(io::ErrorKind::ConnectionAborted)?)
            }
            Place::Unix(_) => Accepted::Unix(socket.into()),
        })
    }

    /// Where it listens; `None` for a Unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) => None,
        }
    }

    /// What a browser on this machine is to be shown.
    pub(super) fn url(&self, tls: bool) -> Option<String> {
        let Place::Tcp(address) = &self.place else { return None };
        let scheme = if tls { "https" } else { "http" };
        let host = match address.ip() {
            ip if ip.is_unspecified() => "localhost".to_owned(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            std::net::IpAddr::V4(ip) => ip.to_string(),
        };
        Some(format!("{scheme}://{host}:{}/", address.port()))
    }

    /// `Serving HTTP on 127.0.0.1 port 8000 (http://127.0.0.1:8000/) ...`
    pub(super) fn banner(&self, tls: bool) -> String {
        match &self.place {
            Place::Tcp(address) => {
                let (protocol, scheme) = if tls { ("HTTPS", "https") } else { ("HTTP", "http") };
                let (host, port) = (address.ip(), address.port());
                let in_url = if address.is_ipv6() { format!("[{host}]") } else { host.to_string() };
                format!("Serving {protocol} on {host} port {port} ({scheme}://{in_url}:{port}/) ...")
            }
            Place::Unix(Some(path)) => format!("Serving HTTP on unix:{} ...", path.display()),
            Place::Unix(None) => "Serving HTTP on a Unix socket that was handed over ...".to_owned(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Place::Unix(Some(path)) = &self.place {
            let _ = std::fs::remove_file(path);
        }
    }
}
