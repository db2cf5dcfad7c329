//! The htpasswd file on disk: read once, looked at again while requests come, read again when it is another.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::users::Users;

/// The largest file read, in octets: some fifty thousand users.
const FILE_MAX: u64 = 4 << 20;

/// A file changed more recently than this is read again at the next look even if it seems to be the same: two edits
/// within one tick of the file system's clock differ in nothing else. `htpasswd` truncates the file and fills it, so
/// the state between the two is there to be read, too.
const SETTLED: Duration = Duration::from_secs(2);

/// A file with users, and what it was like at the last look.
#[derive(Debug)]
pub(super) struct Htpasswd {
    path: PathBuf,
    only: Option<Vec<String>>,
    key: ring::hmac::Key,
    /// At most one look in this time; a second, but for tests.
    pub(super) interval: Duration,
    looked: Instant,
    stamp: Option<Stamp>,
    contents: Option<[u8; 32]>,
    /// The last complaint, so that one broken file is one line in the log and not one a second.
    complaint: Option<String>,
}

/// What tells one state of the file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    size: u64,
    inode: (u64, u64),
}

impl Htpasswd {
    /// Names the file without looking at it.
    pub(super) fn new(path: &Path, only: Option<Vec<String>>, key: ring::hmac::Key) -> Self {
        Self {
            path: path.to_owned(),
            only,
            key,
            interval: Duration::from_secs(1),
            looked: Instant::now(),
            stamp: None,
            contents: None,
            complaint: None,
        }
    }

    /// Reads the file if it holds something else than at the last call; `None` if not. Blocks.
    ///
    /// # Errors
    /// Those of opening and reading, and `InvalidData` with path and line number.
    pub(super) fn read(&mut self) -> io::Result<Option<Users>> {
        // Non-blocking, or a named pipe in the file's place would hold the caller for ever.
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path)?;
        let stamp = Stamp::of(&file.metadata()?)?;
        let text = contents(&mut file)?;
        self.stamp = stamp.is_settled().then_some(stamp);
        let digest = ring::digest::digest(&ring::digest::SHA256, &text);
        if self.contents.as_ref().is_some_and(|known| known == digest.as_ref()) {
            return Ok(None);
        }
        self.contents = digest.as_ref().try_into().ok();
        let users = Users::parse(&text, self.only.as_deref(), self.key.clone()).map_err(invalid)?;
        for user in self.only.iter().flatten().filter(|user| !users.knows(user)) {
            tracing::warn!(file = %self.path.display(), user, "this user has no line in the file and cannot get in");
        }
        Ok(Some(users))
    }

    /// Whether it is time for a look.
    pub(super) fn is_due(&self) -> bool {
        self.looked.elapsed() >= self.interval
    }

    /// Looks at the file, and reads it if it changed. Whoever gets `None` goes on with the users there were: the file
    /// is the same, or gone or broken, which is logged. Blocks.
    pub(super) fn look(&mut self) -> Option<Users> {
        self.looked = Instant::now();
        let same = fs::metadata(&self.path).and_then(|metadata| Stamp::of(&metadata));
        if same.is_ok_and(|stamp| self.stamp == Some(stamp)) {
            return None;
        }
        match self.read() {
            Ok(Some(users)) => {
                self.complaint = None;
                tracing::info!(file = %self.path.display(), "read again");
                Some(users)
            }
            Ok(None) => None,
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!(file = %self.path.display(), %error, "the new file does not count, the old users stay");
                    self.complaint = Some(complaint);
                }
                None
            }
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        if !metadata.is_file() {
            return Err(invalid("this is not a regular file"));
        }
        Ok(Self { modified: metadata.modified()?, size: metadata.len(), inode: (metadata.dev(), metadata.ino()) })
    }

    fn is_settled(&self) -> bool {
        self.modified.elapsed().is_ok_and(|age| age >= SETTLED)
    }
}

fn contents(file: &mut File) -> io::Result<Vec<u8>> {
    let mut text = vec![];
    file.take(FILE_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(invalid(format_args!("more than {FILE_MAX} octets")));
    }
    Ok(text)
}

fn invalid(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}
