//! Limits, identity and sandboxes, as a script meets them.

use super::*;

#[tokio::test]
async fn limits_are_set() {
    let limits = Limits {
        cpu: Some(50),
        address_space: Some(1 << 30),
        file_size: Some(4096),
        open_files: Some(50),
        processes: Some(500),
        core: Some(0),
    };
    let spawner = spawner(1);
    let table = output_of(&spawner, &Job { limits, ..shell("cat /proc/self/limits") }).await;
    for (name, soft, hard) in [
        ("Max cpu time", "50", "51"),
        ("Max address space", "1073741824", "1073741824"),
        ("Max file size", "4096", "4096"),
        ("Max open files", "50", "50"),
        ("Max processes", "500", "500"),
        ("Max core file size", "0", "0"),
    ] {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        let values: Vec<_> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [soft, hard], "{line}");
    }
    // More than the spawner itself has is no error.
    let all = Some(u64::MAX);
    let limits = Limits { cpu: all, address_space: all, file_size: all, open_files: all, processes: all, core: all };
    assert_eq!(output_of(&spawner, &Job { limits, ..shell("echo as much as there is") }).await, "as much as there is");
}

#[tokio::test]
async fn limits_hold() {
    let folder = Folder::new("limits");
    let spawner = spawner(1);
    let limited = |limits: Limits, script: &str| Job { limits, dir: c(folder.path()), ..shell(script) };
    let cpu = limited(Limits { cpu: Some(1), ..Limits::default() }, "while :; do :; done");
    let ending = run(&spawner, &cpu).await.1;
    assert!(matches!(ending, Ending::Signalled { signal: libc::SIGXCPU, .. }), "{ending:?}");
    let file = limited(Limits { file_size: Some(4096), ..Limits::default() }, "exec head -c 10000 /dev/zero >file");
    let ending = run(&spawner, &file).await.1;
    assert!(matches!(ending, Ending::Signalled { signal: libc::SIGXFSZ, .. }), "{ending:?}");
    assert_eq!(std::fs::metadata(folder.0.join("file")).unwrap().len(), 4096);
    // A shell whose redirection fails in `exec` ends.
    let script =
        "exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null 7</dev/null; echo full; exec </dev/null; echo more";
    let open = limited(Limits { open_files: Some(8), ..Limits::default() }, script);
    assert_eq!(output_of(&spawner, &open).await, "full");
    let memory = limited(
        Limits { address_space: Some(64 << 20), ..Limits::default() },
        "head -c 200000000 /dev/zero | tail -c 150000000 >/dev/null 2>&1 || echo too much",
    );
    assert_eq!(output_of(&spawner, &memory).await, "too much");
}

#[tokio::test]
async fn a_full_process_table_is_no_room() {
    if !is_root() {
        return skip("the count is by user, and this one has processes of its own");
    }
    let spawner = spawner(1);
    // A user that has nothing else running here.
    let identity = Some(Identity { uid: 54_321, gid: 54_321, groups: vec![] });
    let limits = Limits { processes: Some(1), ..Limits::default() };
    let job = |script: &str| Job { identity: identity.clone(), limits, ..shell(script) };
    // The kernel counts the newcomer only after the check, so one more than the limit gets in.
    let mut running = Vec::new();
    for _ in 0..2 {
        let (mut output, child) = start(&spawner, &job("echo ready; exec sleep 1000")).await;
        line(&mut output).await;
        running.push(child);
    }
    let (_, ending) = run(&spawner, &job("echo third")).await;
    assert!(ending.is_no_room(), "{ending:?}");
    for mut child in running {
        child.end();
        in_time(child.wait()).await;
    }
    assert_eq!(output_of(&spawner, &job("echo room again")).await, "room again");
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_had_now_is_no_room() {
    if crate::sys::landlock_abi().unwrap() < 1 {
        return skip("no Landlock");
    }
    let spawner = spawner(1);
    assert_eq!(output_of(&spawner, &shell("echo ready")).await, "ready");
    let pid = spawner.pids()[0];
    let free = (0..).find(|fd| std::fs::symlink_metadata(format!("/proc/{pid}/fd/{fd}")).is_err()).unwrap();
    let limit = |current| {
        let of = rustix::process::Pid::from_raw(pid);
        let maximum = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let limits = rustix::process::Rlimit { current, maximum };
        rustix::process::prlimit(of, rustix::process::Resource::Nofile, limits).unwrap().current
    };
    // Room for the one descriptor that comes with the job, and not for a ruleset.
    let before = limit(Some(free + 1));
    let strict = Job { sandbox: Sandbox::Strict { read: vec![], write: vec![] }, ..shell("echo room again") };
    let (_, ending) = run(&spawner, &strict).await;
    assert!(ending.is_no_room(), "{ending:?}");
    assert!(matches!(ending, Ending::NotStarted { step: Step::Sandbox, .. }), "{ending:?}");
    limit(before);
    assert_eq!(output_of(&spawner, &strict).await, "room again");
}

#[tokio::test]
async fn a_script_runs_as_its_user() {
    let spawner = spawner(1);
    let ids = "grep -E '^(Uid|Gid|Groups):' /proc/self/status | tr -s '\\t ' ' '";
    if !is_root() {
        skip("only root can switch users; a refusal is tested instead");
        let identity = Some(Identity { uid: 0, gid: 0, groups: vec![] });
        let (_, ending) = run(&spawner, &Job { identity, ..shell(ids) }).await;
        assert_eq!(ending, Ending::NotStarted { step: Step::Identity, errno: libc::EPERM });
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let identity = Some(Identity { uid, gid, groups: vec![] });
        assert!(output_of(&spawner, &Job { identity, ..shell(ids) }).await.contains(&format!("Uid: {uid} ")));
        return;
    }
    let identity = Some(Identity { uid: 65_534, gid: 65_533, groups: vec![65_533, 1234] });
    let expected = "Uid: 65534 65534 65534 65534\nGid: 65533 65533 65533 65533\nGroups: 1234 65533";
    for (sandbox, no_new_privs) in
        [(Sandbox::Off, true), (Sandbox::Off, false), (Sandbox::Standard, true), (Sandbox::Standard, false)]
    {
        let job = Job { identity: identity.clone(), sandbox: sandbox.clone(), no_new_privs, ..shell(ids) };
        assert_eq!(output_of(&spawner, &job).await, expected, "{sandbox:?} {no_new_privs}");
        let rights = Job { argv: vec![c("sh"), c("-c"), c("grep -E 'CapEff|CapPrm' /proc/self/status")], ..job };
        assert_eq!(output_of(&spawner, &rights).await, "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000");
    }
    // The folder is entered as the user: what it may not enter it does not get.
    let folder = Folder::new("private");
    std::fs::set_permissions(&folder.0, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let (_, ending) = run(&spawner, &Job { identity, dir: c(folder.path()), ..shell("pwd") }).await;
    assert_eq!(ending, Ending::NotStarted { step: Step::Chdir, errno: libc::EACCES });
}

#[tokio::test]
async fn dangerous_calls_are_refused() {
    let spawner = spawner(1);
    let seccomp = "grep ^Seccomp: /proc/self/status";
    assert_eq!(output_of(&spawner, &Job { sandbox: Sandbox::Off, ..shell(seccomp) }).await, "Seccomp:\t0");
    assert_eq!(output_of(&spawner, &shell(seccomp)).await, "Seccomp:\t2");
    for attempt in [
        "mount -t tmpfs none /mnt",
        "unshare --user true",
        "unshare --mount true",
        "chroot / true",
        "dmesg --syslog",
        "nsenter --uts=/proc/self/ns/uts true",
    ] {
        let script = format!("{{ {attempt}; }} >/dev/null 2>&1 && echo done || echo refused");
        assert_eq!(output_of(&spawner, &shell(&script)).await, "refused", "{attempt}");
    }
    if is_root() {
        // The same attempts are possible without the sandbox, so it was the sandbox that refused.
        let script = "unshare --mount true && chroot / true && nsenter --uts=/proc/self/ns/uts true && echo done";
        assert_eq!(output_of(&spawner, &Job { sandbox: Sandbox::Off, ..shell(script) }).await, "done");
    }
}

#[tokio::test]
async fn the_server_cannot_be_signalled() {
    if crate::sys::landlock_abi().unwrap() < 6 {
        return skip("this kernel's Landlock does not scope signals");
    }
    let spawner = spawner(1);
    let (mut output, _other) = start(&spawner, &shell("echo $$; exec sleep 1000")).await;
    let other = pid_line(&mut output).await;
    for target in [std::process::id() as i32, spawner.pids()[0], spawner.nursery_pid(), other] {
        let script = format!("kill -0 {target} 2>/dev/null && echo yes || echo no");
        assert_eq!(output_of(&spawner, &shell(&script)).await, "no");
        assert_eq!(output_of(&spawner, &Job { sandbox: Sandbox::Off, ..shell(&script) }).await, "yes");
    }
    // Its own children it may.
    let own = "sleep 1000 & kill $! && wait $!; echo $?";
    assert_eq!(output_of(&spawner, &shell(own)).await, "143");
}

#[tokio::test]
async fn strict_confines_files_and_network() {
    if crate::sys::landlock_abi().unwrap() < 4 {
        return skip("this kernel's Landlock knows no network");
    }
    let (scratch, site, secret) = (Folder::new("scratch"), Folder::new("site"), Folder::new("secret"));
    std::fs::write(site.0.join("data"), "data").unwrap();
    std::fs::write(secret.0.join("key"), "key").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sandbox = Sandbox::Strict { read: vec![c(site.path())], write: vec![c(scratch.path())] };
    let (scratch_path, site_path, secret_path) = (scratch.path(), site.path(), secret.path());
    let spawner = spawner(1);
    let table = [
        (format!("cat {site_path}/data"), true),
        (format!("cat {secret_path}/key"), false),
        (format!("ls {secret_path}"), false),
        ("cat /etc/passwd".to_owned(), true),
        ("cat /proc/self/status /proc/cpuinfo".to_owned(), true),
        // Root reads it by CAP_PERFMON, which Landlock does not take away.
        ("cat /proc/$PPID/environ".to_owned(), is_root()),
        ("ls /root".to_owned(), false),
        ("ls /".to_owned(), false),
        ("head -c 1 /dev/urandom".to_owned(), true),
        ("echo x >/dev/null".to_owned(), true),
        ("echo x >/dev/stdout".to_owned(), true),
        (format!("echo x >{site_path}/new"), false),
        (format!("echo x >>{site_path}/data"), false),
        (format!("echo x >{secret_path}/new"), false),
        (
            format!(
                "mkdir {scratch_path}/sub && echo x >{scratch_path}/sub/new && mv {scratch_path}/sub/new {scratch_path}/new && cat {scratch_path}/new"
            ),
            true,
        ),
        (format!("cp /bin/true {scratch_path}/program && chmod 755 {scratch_path}/program"), true),
        (format!("{scratch_path}/program"), false),
        (format!("ln -s {secret_path}/key {scratch_path}/link && cat {scratch_path}/link"), false),
        (format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"), false),
        ("mount -t tmpfs none /mnt".to_owned(), false),
    ];
    for (attempt, allowed) in table {
        let script = format!("{{ {attempt}; }} >/dev/null 2>&1 && echo done || echo refused");
        let job = Job { sandbox: sandbox.clone(), ..shell(&script) };
        assert_eq!(output_of(&spawner, &job).await, if allowed { "done" } else { "refused" }, "{attempt}");
    }
    // It is the sandbox that refuses.
    let script = format!("cat {secret_path}/key && bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' && echo done");
    assert_eq!(output_of(&spawner, &shell(&script)).await, "keydone");
}

#[tokio::test]
async fn a_ruleset_follows_its_folder() {
    if crate::sys::landlock_abi().unwrap() < 1 {
        return skip("no Landlock");
    }
    let folder = Folder::new("anew");
    let scratch = folder.0.join("scratch");
    let spawner = spawner(1);
    let sandbox = Sandbox::Strict { read: vec![], write: vec![c(scratch.to_str().unwrap())] };
    let job = Job { sandbox, ..shell(format!("echo x >{}/file && echo written", scratch.display())) };
    assert_eq!(run(&spawner, &job).await.1, Ending::NotStarted { step: Step::Sandbox, errno: libc::ENOENT });
    // More folders than rulesets are kept, each gone when the next is made.
    for _ in 0..70 {
        std::fs::create_dir(&scratch).unwrap();
        assert_eq!(output_of(&spawner, &job).await, "written");
        std::fs::rename(&scratch, folder.0.join("old")).unwrap();
        std::fs::remove_dir_all(folder.0.join("old")).unwrap();
    }
}

#[tokio::test]
async fn new_privileges_by_request_only() {
    let spawner = spawner(1);
    let status = "grep NoNewPrivs /proc/self/status";
    for no_new_privs in [true, false] {
        let job = Job { no_new_privs, ..shell(status) };
        assert_eq!(output_of(&spawner, &job).await, format!("NoNewPrivs:\t{}", u8::from(no_new_privs)));
    }
    if is_root() {
        return skip("root may sandbox without giving up privileges");
    }
    let sandbox = Sandbox::Strict { read: vec![], write: vec![] };
    let (_, ending) = run(&spawner, &Job { no_new_privs: false, sandbox, ..shell(status) }).await;
    assert_eq!(ending, Ending::NotStarted { step: Step::Sandbox, errno: libc::EPERM });
}
