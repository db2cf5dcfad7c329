//! The temporary tree that everybody serves: files, C programs as scripts, and a folder for configurations.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use crate::{packages, workload::LARGE_BYTES};

/// `site/` is served, `run/` holds configurations, sockets and logs. Removed when dropped.
pub(crate) struct Tree {
    root: PathBuf,
    pub(crate) site: PathBuf,
    pub(crate) run: PathBuf,
    /// The vfork floor, `programs/spawnloop.c`.
    pub(crate) spawnloop: PathBuf,
}

impl Tree {
    /// Makes files and programs, readable by everybody, because servers that start as root give root up.
    pub(crate) fn make() -> Result<Tree, String> {
        let root = env::temp_dir().join(format!("cgiserve-bench-{}", process::id()));
        let tree = Tree {
            site: root.join("site"),
            run: root.join("run"),
            spawnloop: root.join("spawnloop"),
            root: root.clone(),
        };
        let scripts = tree.site.join("cgi-bin");
        for folder in [&root, &tree.site, &tree.run, &scripts] {
            make_folder(folder)?;
        }
        make_file(&tree.site.join("1k.bin"), 1 << 10)?;
        make_file(&tree.site.join("100k.bin"), 100 << 10)?;
        make_file(&tree.site.join("100m.bin"), LARGE_BYTES)?;

        compile("musl-gcc", include_str!("programs/hello.c"), &scripts.join("hello"))?;
        compile("musl-gcc", include_str!("programs/count.c"), &scripts.join("count"))?;
        compile("musl-gcc", include_str!("programs/stream.c"), &scripts.join("stream"))?;
        compile("gcc", include_str!("programs/hello.c"), &scripts.join("hello-glibc"))?;
        compile("musl-gcc", include_str!("programs/spawnloop.c"), &tree.spawnloop)?;
        // The program itself and no shell before it, as websocketd runs it.
        let cat = packages::find("cat").ok_or("no cat on this machine")?;
        let copy = scripts.join("ws-cat");
        fs::copy(&cat, &copy).map_err(|e| format!("{}: {e}", copy.display()))?;
        open_to_all(&copy)?;
        Ok(tree)
    }

    /// Where it stands, for whoever has to remove it without a `Drop`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A tree left behind is a nuisance and no error.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A folder that everybody may enter, whatever the umask.
pub(crate) fn make_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    open_to_all(folder)
}

fn open_to_all(path: &Path) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|e| format!("{}: {e}", path.display()))
}

fn make_file(path: &Path, bytes: u64) -> Result<(), String> {
    let block: Vec<u8> = (0..1024_u32).map(|i| b'a' + (i % 26) as u8).collect();
    let write = || {
        let mut file = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
        for _ in 0..bytes / 1024 {
            file.write_all(&block)?;
        }
        file.flush()?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))
    };
    write().map_err(|e: std::io::Error| format!("{}: {e}", path.display()))
}

/// `musl-gcc` links statically: what a program costs then is the kernel's price, not the dynamic linker's.
fn compile(compiler: &str, source: &str, program: &Path) -> Result<(), String> {
    let linkage: &[&str] = if compiler == "musl-gcc" { &["-static", "-s"] } else { &[] };
    let mut child = Command::new(compiler)
        .args(["-O2", "-x", "c", "-", "-o"])
        .arg(program)
        .args(linkage)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{compiler}: {e}"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(source.as_bytes()).map_err(|e| format!("{compiler}: {e}"))?;
    }
    match child.wait() {
        Ok(status) if status.success() => open_to_all(program),
        _ => Err(format!("{compiler} did not build {}", program.display())),
    }
}
