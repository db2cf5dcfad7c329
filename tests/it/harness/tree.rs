//! A fresh temporary folder to be served: site, scripts, configuration, and a place for scripts to leave notes.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Mode};

use crate::wait::until;

/// A folder of its own, removed at the end.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    config: Option<String>,
}

/// Held while a program file is written and while a process is started. A child that is forked while another thread
/// has a script open for writing keeps it open up to its exec, and whoever runs the script then gets "text file busy".
static FORK: Mutex<()> = Mutex::new(());

/// See [`FORK`].
pub fn fork_lock() -> MutexGuard<'static, ()> {
    FORK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tree {
    /// `htdocs` and `cgi-bin`, and a `cgiserve.toml` that keeps the scripts' state inside the tree.
    pub fn new() -> Self {
        let mut tree = Self::bare();
        tree.folder("htdocs");
        tree.folder("cgi-bin");
        tree.config = Some(String::new());
        tree
    }

    /// Python's layout: the folder itself is the site, scripts are in its `cgi-bin`; no configuration file.
    pub fn python() -> Self {
        let tree = Self::bare();
        tree.folder("cgi-bin");
        tree
    }

    fn bare() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cgiserve-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().canonicalize().expect("a temporary folder").join(name);
        fs::create_dir(&root).expect("a fresh folder");
        let tree = Self { root, config: None };
        // Everybody may read: a server that was started as root serves and runs scripts as somebody else.
        chmod(&tree.root, 0o755);
        tree.folder("notes");
        // Without the sticky bit, which would keep scripts from opening the named pipes that the tests make.
        chmod(&tree.root.join("notes"), 0o777);
        tree
    }

    /// Adds to `cgiserve.toml`; keys of the top level have to come before any table.
    pub fn config(mut self, toml: &str) -> Self {
        let text = self.config.get_or_insert_default();
        text.push_str(&toml.replace("@ROOT@", &self.root.display().to_string()));
        text.push('\n');
        self
    }

    /// A program in `cgi-bin`; `@NOTES@` in it is the folder for notes.
    pub fn script(self, name: &str, text: &str) -> Self {
        self.script_at(&format!("cgi-bin/{name}"), text)
    }

    /// A program anywhere.
    pub fn script_at(self, path: &str, text: &str) -> Self {
        let text = text.replace("@NOTES@", &self.root.join("notes").display().to_string());
        let tree = self.file(path, text);
        chmod(&tree.path(path), 0o755);
        tree
    }

    /// A file, with the folders above it.
    pub fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.put(path, bytes);
        self
    }

    /// As [`file`](Self::file), while the tree is being served.
    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        let _alone = fork_lock();
        fs::write(self.root.join(path), bytes).expect("a file");
        chmod(&self.root.join(path), 0o644);
    }

    /// A folder, and those above it.
    pub fn folder(&self, path: &str) {
        let mut at = self.root.clone();
        for piece in Path::new(path) {
            at.push(piece);
            if !at.is_dir() {
                fs::create_dir(&at).expect("a folder");
                chmod(&at, 0o755);
            }
        }
    }

    /// Permission bits of something in the tree.
    pub fn mode(self, path: &str, mode: u32) -> Self {
        chmod(&self.root.join(path), mode);
        self
    }

    /// A symbolic link.
    pub fn link(self, path: &str, to: impl AsRef<Path>) -> Self {
        std::os::unix::fs::symlink(to, self.root.join(path)).expect("a link");
        self
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in it.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// Waits until a script has left the note `name`, complete to its newline, and reads it.
    pub fn note(&self, name: &str) -> String {
        let path = self.root.join("notes").join(name);
        let mut text = String::new();
        until(&format!("the note {name}"), || {
            text = fs::read_to_string(&path).unwrap_or_default();
            text.ends_with('\n')
        });
        text.trim_end().to_owned()
    }

    /// Whether there is a note `name` now.
    pub fn has_note(&self, name: &str) -> bool {
        self.root.join("notes").join(name).exists()
    }

    /// A named pipe among the notes, by which a test tells a script to go on: `read line < @NOTES@/name`.
    pub fn gate(&self, name: &str) -> Gate {
        let path = self.root.join("notes").join(name);
        let all = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, all, 0).expect("a named pipe");
        chmod(&path, 0o666);
        // Open for both: neither side's open then has to wait for the other's.
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).expect("a named pipe");
        Gate { file }
    }

    /// Writes the configuration, if there is one.
    pub(crate) fn settle(&self) {
        if let Some(config) = &self.config {
            let state = self.root.join("state");
            self.put("cgiserve.toml", format!("state-directory = \"{}\"\n{config}", state.display()));
        }
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("KEEP_TREES").is_some() {
            eprintln!("kept: {}", self.root.display());
            return;
        }
        let _ = fs::remove_dir_all(&self.root);
        // A server that was started as root without a configuration made its state folder there.
        let Some(name) = self.root.file_name() else { return };
        for entry in fs::read_dir("/var/lib/cgiserve").into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(&[name.as_bytes(), b"-"].concat()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A named pipe that a script waits at.
#[derive(Debug)]
pub struct Gate {
    file: fs::File,
}

impl Gate {
    /// Lets one `read` of the script go on.
    pub fn open(&mut self) {
        self.say("go");
    }

    /// The same with a word for the script.
    pub fn say(&mut self, word: &str) {
        self.file.write_all(format!("{word}\n").as_bytes()).expect("a named pipe takes a line");
    }
}

/// Sets permission bits, whatever the umask.
pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}
