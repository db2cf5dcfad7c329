//! Looks at a script's file and its surroundings. Called where something has failed already, or by a command.

use std::ffi::{CStr, OsStr};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::facts::{FileFacts, Right, Stat, Who};
use super::nearest;
use super::program::{self, Kind, Program};
use crate::gateway::Settings;
use crate::gateway::settings::User;

/// How much of a file is read, octets: the loader's name of a binary and the imports of a script stand there.
const HEAD: u64 = 64 << 10;
/// Names of a folder that are looked at.
const NEIGHBOURS: usize = 2000;
/// Modules beside a script that are read with it.
const HELPERS: usize = 32;
/// Programs of one folder among which one with nearly the same name is looked for.
const PROGRAMS: usize = 20_000;
/// Where programs are looked for when the script's environment does not say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Everything about a script's file; `interpreted` where the configuration names what runs it.
pub fn file(file: &Path, settings: &Settings, interpreted: bool) -> FileFacts {
    let owners = Owners::read();
    let metadata = std::fs::metadata(file).ok();
    let head = metadata.as_ref().filter(|metadata| metadata.is_file()).and_then(|_| read(file).ok());
    let above = file.parent().unwrap_or(Path::new("/"));
    let owner = metadata.as_ref().map(|m| (m.uid(), m.gid()));
    let who = owners.who(settings, owner);
    let looks = Looks { owners: &owners, who: &who, path: search_path(settings) };
    let mut facts = FileFacts {
        program: head.as_deref().map(|head| looks.program(head)).unwrap_or_default(),
        stat: metadata.as_ref().map(|metadata| owners.stat(metadata)),
        folders: owners.folders(above),
        head,
        noexec: metadata.as_ref().and_then(|metadata| noexec(file, metadata)),
        interpreted,
        neighbours: names(above),
        who,
        refuse_writable: settings.refuse_writable,
        file: file.to_path_buf(),
        helpers: Vec::new(),
    };
    while let Some(module) = super::file::next_helper(&facts).filter(|_| facts.helpers.len() < HELPERS) {
        // One that cannot be read is known to be so, and not asked for again.
        let head = read(&above.join(&module)).unwrap_or_default();
        facts.helpers.push((module, head));
    }
    facts
}

/// The first octets of a file. A pipe that took its place in the meantime must not hold anybody up.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// What can be said of the files of a folder without looking at them.
pub fn folder(folder: &Path, settings: &Settings) -> FileFacts {
    let owners = Owners::read();
    FileFacts {
        folders: owners.folders(folder),
        who: owners.who(settings, None),
        file: folder.to_path_buf(),
        ..FileFacts::default()
    }
}

/// Owner and mode of each of `files`, or of the nearest folder above it that exists.
pub fn stats(files: impl IntoIterator<Item = PathBuf>) -> Vec<(PathBuf, Stat)> {
    let owners = Owners::read();
    let nearest = |file: PathBuf| {
        file.ancestors().find_map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((path.to_path_buf(), owners.stat(&metadata)))
        })
    };
    files.into_iter().filter_map(nearest).collect()
}

/// The names in a folder, not more than a few thousand, in order.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.take(NEIGHBOURS).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// As whom the scripts of a route run, by name.
pub fn who(settings: &Settings, owner: Option<(u32, u32)>) -> Who {
    Owners::read().who(settings, owner)
}

fn search_path(settings: &Settings) -> String {
    let set = settings.env.iter().find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="));
    set.map_or_else(|| PATH.to_owned(), |path| String::from_utf8_lossy(path).into_owned())
}

/// A look for programs, with the eyes of whoever is to run them: what lies in root's own folders is not here for others.
struct Looks<'a> {
    owners: &'a Owners,
    who: &'a Who,
    path: String,
}

impl Looks<'_> {
    fn program(&self, head: &[u8]) -> Program {
        let is_here = |name: &[u8]| Path::new(OsStr::from_bytes(name)).is_file();
        let named = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        match program::kind(head, std::env::consts::ARCH) {
            Kind::Script(line) => match &line.by_env {
                Some(name) if is_here(&line.program) => match self.find(&named(name)) {
                    Some(found) => here(found),
                    None => Program::Missing(format!("{} (by env)", named(name)), self.instead(&named(name))),
                },
                _ if is_here(&line.program) => here(PathBuf::from(OsStr::from_bytes(&line.program))),
                _ => Program::Missing(named(&line.program), self.instead(&named(&line.program))),
            },
            Kind::Native(Some(loader)) if !loader.is_file() => {
                Program::Missing(format!("the loader {}", loader.display()), Vec::new())
            }
            _ => Program::Unknown,
        }
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        let folders = self.path.split(':').filter(|folder| !folder.is_empty());
        folders.map(|folder| Path::new(folder).join(name)).find(|program| self.may_run(program))
    }

    fn may_run(&self, program: &Path) -> bool {
        let Some(stat) = std::fs::metadata(program).ok().filter(std::fs::Metadata::is_file) else { return false };
        let folders = self.owners.folders(program.parent().unwrap_or(Path::new("/")));
        let open = folders.iter().all(|(_, folder)| self.who.may(Right::Execute, folder));
        open && self.who.may(Right::Execute, &self.owners.stat(&stat))
    }

    /// What is here of the family of a program that is not; or else the one with nearly its name.
    fn instead(&self, program: &str) -> Vec<PathBuf> {
        let base = program.rsplit(['/', '\\']).next().unwrap_or_default();
        let base = base.strip_suffix(".exe").unwrap_or(base);
        let family = base.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
        let mut names = vec![base.to_owned(), family.to_owned(), format!("{family}3")];
        match family {
            "bash" | "ksh" | "ash" | "dash" | "zsh" => names.extend(["bash".to_owned(), "sh".to_owned()]),
            "php" | "php-cgi" | "php-cli" => names.extend(["php-cgi".to_owned(), "php".to_owned()]),
            "nodejs" => names.push("node".to_owned()),
            _ => {}
        }
        names.retain(|name| !name.is_empty());
        let mut found: Vec<PathBuf> = names.iter().filter_map(|name| self.find(name)).collect();
        if found.is_empty() {
            let folders = self.path.split(':').filter_map(|folder| std::fs::read_dir(folder).ok());
            let entries = folders.flat_map(|folder| folder.take(PROGRAMS));
            let all: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
            let near = nearest::nearest(base, all.iter().map(String::as_str), 3);
            found.extend(near.iter().find_map(|name| self.find(name)));
        }
        let mut known = Vec::new();
        found.retain(|path| {
            !known.contains(path) && {
                known.push(path.clone());
                true
            }
        });
        found
    }
}

/// The program behind links, which knows its version: python3 is python3.13.
fn here(program: PathBuf) -> Program {
    Program::Here(program.canonicalize().unwrap_or(program))
}

/// The mount point of a file on a file system mounted noexec.
fn noexec(file: &Path, metadata: &std::fs::Metadata) -> Option<PathBuf> {
    let flags = rustix::fs::statvfs(file).ok()?.f_flag;
    if !flags.contains(rustix::fs::StatVfsMountFlags::NOEXEC) {
        return None;
    }
    let same = |path: &&Path| std::fs::metadata(path).is_ok_and(|m| m.dev() == metadata.dev());
    file.canonicalize().ok()?.ancestors().take_while(same).last().map(Path::to_path_buf)
}

/// Names of users and groups.
struct Owners {
    passwd: String,
    group: String,
}

impl Owners {
    fn read() -> Self {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self { passwd: text("/etc/passwd"), group: text("/etc/group") }
    }

    fn name(list: &str, id: u32) -> String {
        let id = id.to_string();
        let entry = list.lines().find(|line| line.split(':').nth(2) == Some(&id));
        entry.and_then(|line| line.split(':').next()).map_or(id.clone(), str::to_owned)
    }

    fn stat(&self, metadata: &std::fs::Metadata) -> Stat {
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let owner = format!("{}:{}", Self::name(&self.passwd, uid), Self::name(&self.group, gid));
        Stat { mode: metadata.mode() & 0o7777, uid, gid, owner, folder: metadata.is_dir() }
    }

    /// `folder` and those above it, the root first.
    fn folders(&self, folder: &Path) -> Vec<(PathBuf, Stat)> {
        let stat = |folder: &Path| Some((folder.to_path_buf(), self.stat(&std::fs::metadata(folder).ok()?)));
        let mut folders: Vec<_> = folder.ancestors().filter_map(stat).collect();
        folders.reverse();
        folders
    }

    fn who(&self, settings: &Settings, owner: Option<(u32, u32)>) -> Who {
        let (uid, gid, groups) = match (&settings.user, owner) {
            (User::Fixed(identity), _) => (identity.uid, identity.gid, identity.groups.clone()),
            (User::Owner, Some((uid, gid))) => (uid, gid, vec![gid]),
            _ => {
                let groups = rustix::process::getgroups().unwrap_or_default();
                let groups = groups.into_iter().map(rustix::process::Gid::as_raw).collect();
                (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw(), groups)
            }
        };
        Who { uid, gid, groups, name: Self::name(&self.passwd, uid) }
    }
}

/// `NAME=VALUE` strings as pairs, secrets masked.
pub fn variables(environment: &[impl AsRef<CStr>]) -> Vec<(String, String)> {
    let pairs = environment.iter().map(|variable| String::from_utf8_lossy(variable.as_ref().to_bytes()).into_owned());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), super::secrets::masked(name, value).to_owned()),
            None => (pair, String::new()),
        })
        .collect()
}
