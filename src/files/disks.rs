//! Which files lie on a disk of this machine.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::open::on_other_thread;

/// File systems that ask another machine or another process, by `statfs(2)`'s number: NFS, SMB three times, FUSE, 9P,
/// Ceph, AFS, Coda, Lustre, GPFS.
const REMOTE: [u32; 11] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x7375_7245,
    0x0bd0_0bd0,
    0x4750_4653,
];
/// Devices remembered at most; then all are asked anew.
const DEVICES_MAX: usize = 1024;

/// What is known about devices. Elsewhere than on a local disk even `stat` may hang, and its clock is not ours: such
/// files are left to threads that may wait, and never kept in memory.
#[derive(Debug, Default)]
pub(super) struct Disks {
    local: Mutex<HashMap<u64, bool>>,
}

impl Disks {
    /// Whether `file`, which lies on `device`, can be asked and read without waiting for anybody but a disk.
    pub(super) async fn local(&self, device: u64, file: &Arc<OwnedFd>) -> bool {
        if rustix::fs::major(device) != 0 {
            return true; // a block device; network file systems have none
        }
        let known = self.local.lock().unwrap_or_else(PoisonError::into_inner).get(&device).copied();
        if let Some(local) = known {
            return local;
        }
        let file = Arc::clone(file);
        let kind = on_other_thread(move || rustix::fs::fstatfs(&*file).map(|stat| i128::from(stat.f_type))).await;
        let local = matches!(kind, Ok(Ok(kind)) if !is_remote(kind));
        let mut devices = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.len() >= DEVICES_MAX {
            devices.clear();
        }
        devices.insert(device, local);
        local
    }
}

/// The numbers have 32 bits whatever type a platform gives them.
fn is_remote(kind: i128) -> bool {
    REMOTE.iter().any(|&remote| i128::from(remote) == kind & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_file_systems() {
        assert!(is_remote(0x6969));
        assert!(is_remote(0xff53_4d42));
        assert!(!is_remote(0xef53), "ext4");
        assert!(!is_remote(0x0102_1994), "tmpfs");
        assert!(!is_remote(0x794c_7630), "overlay");
    }

    #[tokio::test]
    async fn a_temporary_folder_is_local() {
        let folder = std::fs::File::open(std::env::temp_dir()).unwrap();
        let stat = rustix::fs::fstat(&folder).unwrap();
        let disks = Disks::default();
        let file = Arc::new(OwnedFd::from(folder));
        assert!(disks.local(stat.st_dev, &file).await);
        assert!(disks.local(0, &file).await, "asked");
        assert_eq!(disks.local.lock().unwrap().get(&0), Some(&true));
    }
}
