//! Sockets that a service manager opened for us (`sd_listen_fds(3)`): systemd's `.socket` units and everything that
//! imitates them. They stand in place of `bind`.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::listener::Bound;

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;
/// Sockets that are taken; a service manager hands over one or two.
const MOST: usize = 64;

/// The sockets that were handed over to this process; `None` if there are none. Call it once.
///
/// # Errors
/// One of them is not a listening stream socket: the service unit is wrong.
pub(super) fn sockets() -> io::Result<Option<Vec<Bound>>> {
    let variable = |name| std::env::var(name).ok();
    let count = count(variable("LISTEN_PID"), variable("LISTEN_FDS"), std::process::id());
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let bound = (FIRST..).take(count).map(|fd| {
        let name = names.next().unwrap_or_default().to_owned();
        crate::sys::adopt(fd)
            .and_then(check)
            .map_err(|error| io::Error::new(error.kind(), format!("descriptor {fd} ({name}) of LISTEN_FDS: {error}")))
    });
    let bound: Vec<Bound> = bound.collect::<io::Result<_>>()?;
    Ok((!bound.is_empty()).then_some(bound))
}

/// The variables are inherited by children too, so they say whom they are for.
fn count(pid: Option<String>, fds: Option<String>, own_pid: u32) -> usize {
    let meant = pid.is_some_and(|pid| pid.parse() == Ok(own_pid));
    let count = fds.and_then(|fds| fds.parse().ok()).unwrap_or(0);
    if meant { usize::min(count, MOST) } else { 0 }
}

fn check(fd: OwnedFd) -> io::Result<Bound> {
    if sockopt::socket_type(&fd)? != SocketType::STREAM || !sockopt::socket_acceptconn(&fd)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a listening stream socket"));
    }
    rustix::io::ioctl_fionbio(&fd, true)?;
    match sockopt::socket_domain(&fd)? {
        AddressFamily::INET | AddressFamily::INET6 => Ok(Bound::Tcp(fd.into())),
        // Whoever made the socket's file removes it.
        AddressFamily::UNIX => Ok(Bound::Unix(fd.into(), None)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "is neither IP nor Unix")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_are_for_one_process() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(count(some("7"), some("2"), 7), 2);
        assert_eq!(count(some("8"), some("2"), 7), 0);
        assert_eq!(count(some("7"), some("999999"), 7), MOST);
        for wrong in [None, some(""), some("-1"), some("x")] {
            assert_eq!(count(some("7"), wrong.clone(), 7), 0);
            assert_eq!(count(wrong, some("2"), 7), 0);
        }
    }

    #[test]
    fn only_listening_sockets_are_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(check(listener.into()), Ok(Bound::Tcp(_))));
        assert!(check(client.into()).is_err());
        assert!(check(std::fs::File::open("/dev/null").unwrap().into()).is_err());
    }
}
