//! What the server gives up, and the one thing it takes: more descriptors.

use std::io;

use rustix::process::{Gid, Resource, Rlimit, Uid};

use crate::spawner::Identity;

/// Lifts the soft limit on descriptors to the hard one: a connection is one, a running script three.
pub(super) fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // Best effort: with fewer descriptors the server takes fewer connections.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Turns root into `identity`, groups included, for good. Must be called while there is one thread.
///
/// # Errors
/// The kernel's, and that it did not work: a server that stays root must not serve.
pub(super) fn give_up_root(identity: &Identity) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let groups: Vec<Gid> = identity.groups.iter().map(|&g| Gid::from_raw(g)).collect();
    crate::sys::become_user(uid, gid, &groups)?;
    if rustix::process::geteuid() != uid || rustix::process::getegid() != gid {
        return Err(io::Error::other("root could not be given up"));
    }
    Ok(())
}
