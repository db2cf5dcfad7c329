//! What `bind` may say.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::Listen;

/// `name` as an address: a literal, `unix:PATH`, or a host name of this machine. `""` is every address.
pub(super) fn address(name: &str, port: u16) -> Option<Listen> {
    if let Some(path) = name.strip_prefix("unix:") {
        return Some(Listen::Unix(path.into()));
    }
    if name.is_empty() {
        return Some(Listen::Tcp(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)));
    }
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some(Listen::Tcp(SocketAddr::new(ip, port)));
    }
    if let Ok(whole) = name.parse::<SocketAddr>() {
        return Some(Listen::Tcp(whole));
    }
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()?),
        _ => (name, port),
    };
    let mut found = (host, port).to_socket_addrs().ok()?;
    found.next().map(Listen::Tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, wanted) in [
            ("127.0.0.1", Some("127.0.0.1:80")),
            ("127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("::1", Some("[::1]:80")),
            ("[::1]", Some("[::1]:80")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("", Some("[::]:80")),
            ("::", Some("[::]:80")),
            ("0.0.0.0:0", Some("0.0.0.0:0")),
            ("127.0.0.1:70000", None),
            ("127.0.0.1:x", None),
            ("no such host", None),
        ] {
            let wanted = wanted.map(|address| Listen::Tcp(address.parse().unwrap()));
            assert_eq!(address(text, 80), wanted, "{text:?}");
        }
        assert_eq!(address("unix:/run/x.sock", 80), Some(Listen::Unix("/run/x.sock".into())));
        assert!(matches!(address("localhost:8080", 80), Some(Listen::Tcp(a)) if a.port() == 8080));
    }
}
