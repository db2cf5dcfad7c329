//! Who listens at a port that is taken, as far as `/proc` says: the next question of everybody who reads that it is.

use std::fs;
use std::net::SocketAddr;

/// State 0A of `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// `nginx (pid 4711)`, or `None` where it cannot be known: the process is another user's, or there is no `/proc`.
pub(super) fn of(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode =
        tables.iter().find_map(|table| Some(inode(&fs::read_to_string(table).ok()?, address.port())?.to_owned()))?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |fd: fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str());
        if descriptors.flatten().any(holds) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", command.trim_end().escape_debug()));
        }
    }
    None
}

/// The inode of the socket that listens at `port`, from a table like `/proc/net/tcp`.
fn inode(table: &str, port: u16) -> Option<&str> {
    let port = format!(":{port:04X}");
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        (local.ends_with(&port) && state == LISTENING).then(|| fields.nth(5))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 20 0 0 10 -1\n   \
            1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1 0 100 0 0 10 0\n";
        assert_eq!(inode(table, 8080), Some("22"));
        assert_eq!(inode(table, 8081), None);
        assert_eq!(inode("", 1), None);
    }

    #[test]
    fn this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of(listener.local_addr().unwrap()).unwrap();
        assert!(found.ends_with(&format!("(pid {})", std::process::id())), "{found}");
    }
}
