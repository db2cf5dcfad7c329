//! Users by name, out of `/etc/passwd` and `/etc/group`.

use crate::spawner::Identity;

/// Who serves and runs scripts where the server was started as root and nobody said as whom.
const UNPRIVILEGED: [&str; 4] = ["cgiserve", "www-data", "http", "nobody"];

/// The user called `name`, with all its groups.
pub(super) fn by_name(name: &str) -> Option<Identity> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
    find(name, &passwd, &group)
}

/// The first of the usual unprivileged users that this system has.
pub(super) fn unprivileged() -> Option<Identity> {
    UNPRIVILEGED.iter().find_map(|name| by_name(name)).filter(|identity| identity.uid != 0)
}

fn find(name: &str, passwd: &str, group: &str) -> Option<Identity> {
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|entry| entry[0] == name)?;
    let (uid, gid) = (entry.get(2)?.parse().ok()?, entry.get(3)?.parse().ok()?);
    let mut groups = vec![gid];
    for line in group.lines() {
        let fields: Vec<_> = line.split(':').collect();
        if let (Some(id), Some(members)) = (fields.get(2).and_then(|id| id.parse().ok()), fields.get(3))
            && members.split(',').any(|member| member == name)
            && !groups.contains(&id)
        {
            groups.push(id);
        }
    }
    Some(Identity { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_comes_with_its_groups() {
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\n";
        let group = "root:x:0:\nweb:x:33:\ndata:x:50:alice,web\nother:x:51:alice\n";
        let identity = find("web", passwd, group).unwrap();
        assert_eq!((identity.uid, identity.gid, identity.groups), (33, 33, vec![33, 50]));
        assert!(find("nobody", passwd, group).is_none());
    }
}
