//! What must never be sent.

use super::*;

#[tokio::test]
async fn fifos_sockets_and_devices_are_refused_at_once() {
    let site = Site::new();
    site.write("file", "x");
    let fifo = site.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.path("socket")).unwrap();
    symlink("/dev/zero", site.path("zero")).unwrap();
    symlink("/proc/self/fd/0", site.path("stdin")).unwrap();
    symlink("ring", site.path("ring")).unwrap();
    let tree = site.tree();
    for name in ["fifo", "socket", "zero", "stdin", "ring"] {
        let answer = tokio::time::timeout(std::time::Duration::from_secs(5), status(&tree, &format!("/{name}"))).await;
        assert_eq!(answer, Ok(403), "{name}");
    }
    assert_eq!(status(&tree, "/file").await, 200);
}

#[tokio::test]
async fn links_are_followed_or_kept_inside() {
    let site = Site::new();
    site.write("inside/file", "inside");
    fs::write(site.outside("secret"), "secret").unwrap();
    symlink(site.outside("secret"), site.path("absolute")).unwrap();
    symlink("../secret", site.path("upwards")).unwrap();
    symlink("inside/file", site.path("within")).unwrap();
    symlink("..", site.path("parent")).unwrap();
    let follow = site.tree();
    let beneath = tree_with(&site, |options| options.symlinks = Symlinks::Beneath);
    for name in ["/absolute", "/upwards", "/parent/secret"] {
        assert_eq!(get(&follow, name).await.unwrap().text(), "secret", "{name}");
        assert_eq!(get(&beneath, name).await.err(), Some(Kind::SymlinkEscapes), "{name}");
    }
    for name in ["/within", "/inside/file"] {
        assert_eq!(get(&beneath, name).await.unwrap().text(), "inside", "{name}");
    }
}

/// A name that is a file in one moment and a link to a secret in the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_of_names_never_leaks() {
    let site = Site::new();
    site.write("a", "public");
    site.write("folder/x.txt", "public");
    site.write("scripts/x.txt", "secret");
    fs::write(site.outside("secret"), "secret").unwrap();
    symlink(site.outside("secret"), site.path("b")).unwrap();
    symlink(site.path("scripts"), site.path("link")).unwrap();
    let beneath = tree_with(&site, |options| options.symlinks = Symlinks::Beneath);
    let excluding = tree_with(&site, |options| options.excluded = vec![site.path("scripts")]);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapper = {
        let pairs = [(site.path("a"), site.path("b")), (site.path("folder"), site.path("link"))];
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut rounds = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                pairs.iter().for_each(|(one, other)| exchange(one, other));
                rounds += 1;
            }
            rounds
        })
    };
    let (mut public, mut refused) = (0, 0);
    for round in 0..10_000 {
        let (tree, target) = if round % 2 == 0 { (&beneath, "/a") } else { (&excluding, "/folder/x.txt") };
        match get(tree, target).await {
            Ok(answered) => {
                assert_eq!(answered.text(), "public");
                public += 1;
            }
            Err(Kind::SymlinkEscapes | Kind::NotFound | Kind::OutOfResources) => refused += 1,
            Err(kind) => panic!("{kind:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    let rounds = swapper.join().unwrap();
    assert!(rounds > 1_000 && public > 100 && refused > 100, "{rounds} swaps, {public} public, {refused} refused");
}

#[tokio::test]
async fn nothing_below_an_excluded_folder_is_shown() {
    let site = Site::new();
    site.write("cgi-bin/run.sh", "#!/bin/sh");
    site.write("cgi-bin/data/notes.txt", "notes");
    site.write("cgi-bin/index.html", "index");
    site.write("page.html", "page");
    symlink("cgi-bin", site.path("CGI-BIN")).unwrap();
    symlink("cgi-bin/run.sh", site.path("harmless.txt")).unwrap();
    symlink(".", site.path("self")).unwrap();
    symlink("cgi-bin/data", site.path("data")).unwrap();
    let tree = tree_with(&site, |options| {
        options.excluded = vec![site.path("cgi-bin"), site.path("missing")];
        options.listing = Listing::Nice;
    });
    for target in [
        "/cgi-bin",
        "/cgi-bin/",
        "/cgi-bin/run.sh",
        "/cgi-bin/data/",
        "/cgi-bin/data/notes.txt",
        "/CGI-BIN",
        "/CGI-BIN/run.sh",
        "/harmless.txt",
        "/self/self/cgi-bin/run.sh",
        "/self/cgi-bin/",
        "/data/notes.txt",
        "/data",
        "/data/",
        "/./x/../cgi-bin//run.sh",
    ] {
        assert_eq!(status(&tree, target).await, 404, "{target}");
    }
    assert_eq!(status(&tree, "/page.html").await, 200);
    assert_eq!(status(&tree, "/self/page.html").await, 200);
    assert_eq!(status(&site.tree(), "/cgi-bin/run.sh").await, 200, "the rule and nothing else hides it");
}

#[tokio::test]
async fn a_scripts_text_is_never_sent() {
    let site = Site::new();
    for name in ["a.py", "A.PY", "a.py~", "a.py.bak", "page.html"] {
        site.write(name, "text");
    }
    symlink("a.py", site.path("a.txt")).unwrap();
    let tree = tree_with(&site, |options| options.script_suffixes = vec![".py".to_owned()]);
    for name in ["/a.py", "/A.PY", "/a.py~", "/a.py.bak", "/a.txt"] {
        assert_eq!(status(&tree, name).await, 403, "{name}");
    }
    assert_eq!(status(&tree, "/page.html").await, 200);
}
