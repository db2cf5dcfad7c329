//! Starting, what a script finds, and how its end is told.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn output_status_and_usage() {
    let spawner = spawner(1);
    let (text, ending) = run(&spawner, &shell("echo hello; exit 7")).await;
    assert_eq!(text, "hello\n");
    let Ending::Exited { status: 7, usage } = ending else { panic!("{ending:?}") };
    assert!(usage.wall > Duration::ZERO && usage.wall < LONG && usage.peak_rss_kib > 100, "{usage:?}");
    assert_eq!(spawner.in_flight(), 0);
    let (_, ending) = run(&spawner, &shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")).await;
    let Ending::Exited { status: 0, usage } = ending else { panic!("{ending:?}") };
    assert!(usage.cpu > Duration::from_millis(20) && usage.cpu < LONG, "{usage:?}");
}

#[tokio::test]
async fn a_signal_is_told() {
    let spawner = spawner(1);
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGPIPE] {
        let (_, ending) = run(&spawner, &shell(format!("kill -{signal} $$"))).await;
        assert!(matches!(ending, Ending::Signalled { signal: told, .. } if told == signal), "{ending:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_executed_says_why() {
    let folder = Folder::new("exec");
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        c(path.to_str().unwrap())
    };
    let table = [
        (c("/no/such/program"), "/", Step::Exec, libc::ENOENT),
        (file("not-executable", "#!/bin/sh\n", 0o644), "/", Step::Exec, libc::EACCES),
        (file("no-format", "\x01\x02\x03", 0o755), "/", Step::Exec, libc::ENOEXEC),
        (file("no-interpreter", "#!/no/such/interpreter\n", 0o755), "/", Step::Exec, libc::ENOENT),
        (file("dos-lines", "#!/bin/sh\r\necho\r\n", 0o755), "/", Step::Exec, libc::ENOENT),
        (c(folder.path()), "/", Step::Exec, libc::EACCES),
        (c("/bin/sh"), "/no/such/folder", Step::Chdir, libc::ENOENT),
    ];
    let spawner = spawner(1);
    for (program, dir, step, errno) in table {
        let (text, ending) = run(&spawner, &Job { program: program.clone(), dir: c(dir), ..shell("") }).await;
        assert_eq!((text.as_str(), ending), ("", Ending::NotStarted { step, errno }), "{program:?}");
    }
    assert_eq!(output_of(&spawner, &shell("echo still works")).await, "still works");
}

#[tokio::test]
async fn a_program_being_written_is_tried_again() {
    let folder = Folder::new("busy");
    let path = folder.0.join("program");
    std::fs::copy("/bin/true", &path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let spawner = spawner(1);
    let writer = std::fs::File::options().append(true).open(&path).unwrap();
    let job = Job { program: c(path.to_str().unwrap()), ..shell("") };
    let (_, ending) = run(&spawner, &job).await;
    assert_eq!(ending, Ending::NotStarted { step: Step::Exec, errno: libc::ETXTBSY });
    drop(writer);
    assert!(matches!(run(&spawner, &job).await.1, Ending::Exited { status: 0, .. }));
}

#[tokio::test]
async fn a_script_finds_a_clean_house() {
    // What a server inherits or leaks without close-on-exec: before the fork of the spawners, and after.
    let leak = || {
        let fd = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 100).unwrap();
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
        fd
    };
    let _before = leak();
    let spawner = spawner(1);
    // Not in the processes between either, which would hold a dead server's pipes open.
    for pid in [spawner.nursery_pid(), spawner.pids()[0]] {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        assert!(open.flatten().all(|fd| fd.file_name().to_str().unwrap().parse::<i32>().unwrap() < 100));
    }
    let _after = leak();
    let status = "sed -nE '/Sig(Blk|Ign|Cgt)|NoNewPrivs|^Seccomp:/p' /proc/self/status";
    // This process ignores SIGPIPE (bit 12), as every Rust program does.
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = ours.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert!(u64::from_str_radix(ignored, 16).unwrap() & 0x1000 != 0, "{ignored}");
    let job = Job { env: vec![c("ONE=1"), c("PATH=/usr/bin:/bin")], umask: 0o027, dir: c("/usr"), ..shell("") };
    let with = |script: &str| Job { argv: vec![c("sh"), c("-c"), c(script)], ..job.clone() };
    for (script, expected) in [
        ("ls /proc/$$/fd", "0\n1\n2"),
        ("readlink /proc/$$/fd/0 /proc/$$/fd/2", "/dev/null\n/dev/null"),
        ("pwd; umask", "/usr\n0027"),
        ("tr '\\0' '\\n' </proc/$$/environ", "ONE=1\nPATH=/usr/bin:/bin"),
        (
            status,
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2",
        ),
        // Session and group are its own: fields 5 and 6 of stat equal the pid.
        ("set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 = $6 ] && [ $1 = $$ ] && echo own", "own"),
        ("echo error >&2; echo out", "out"),
    ] {
        assert_eq!(output_of(&spawner, &with(script)).await, expected, "{script}");
    }
}

#[tokio::test]
async fn stdin_and_stderr_are_passed() {
    let spawner = spawner(1);
    let (mut output, mut stdio) = stdout();
    let (their_stdin, our_stdin) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (our_stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    stdio.stdin = Some(their_stdin);
    stdio.stderr = Some(their_stderr);
    let mut child = spawner.start(&shell("cat; echo careful >&2"), stdio).await.unwrap();
    rustix::io::write(&our_stdin, b"question").unwrap();
    drop(our_stdin);
    let mut text = String::new();
    in_time(output.read_to_string(&mut text)).await.unwrap();
    let mut errors = String::new();
    in_time(Receiver::from_owned_fd(our_stderr).unwrap().read_to_string(&mut errors)).await.unwrap();
    assert_eq!((text.as_str(), errors.as_str()), ("question", "careful\n"));
    assert!(matches!(in_time(child.wait()).await, Ending::Exited { status: 0, .. }));
}

#[tokio::test]
async fn the_pid_is_told_while_it_runs_and_with_its_end() {
    let spawner = spawner(1);
    let (mut output, child) = start(&spawner, &shell("echo $$; exec sleep 1000")).await;
    let pid = pid_line(&mut output).await;
    until("the pid is known", || child.pid().is_some()).await;
    assert_eq!(child.pid(), Some(pid));
    let (mut output, mut child) = start(&spawner, &shell("echo $$")).await;
    let pid = pid_line(&mut output).await;
    in_time(child.wait()).await;
    assert_eq!(child.pid(), Some(pid));
}

#[tokio::test]
async fn a_large_environment_fits_and_a_larger_one_is_refused() {
    let spawner = spawner(1);
    let with = |bytes: usize| {
        let mut job = shell("echo ${#BIG0} ${#BIG1}");
        job.env.extend((0..2).map(|n| c(format!("BIG{n}={}", "x".repeat(bytes)))));
        job
    };
    let (_, stdio) = stdout();
    assert!(matches!(spawner.start(&with(100_000), stdio).await, Err(SpawnError::TooBig)));
    assert_eq!(spawner.in_flight(), 0);
    for _ in 0..3 {
        assert_eq!(output_of(&spawner, &with(95_000)).await, "95000 95000");
    }
    // The kernel's own limit is 128 KiB for one string.
    let mut job = shell("");
    job.env.push(c(format!("BIG={}", "x".repeat(140_000))));
    assert_eq!(run(&spawner, &job).await.1, Ending::NotStarted { step: Step::Exec, errno: libc::E2BIG });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_jobs_leave_nothing() {
    let spawner = spawner(2);
    let pids = spawner.pids();
    let open = |pid: i32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(output_of(&spawner, &shell("echo first")).await, "first");
    until("the other one has started", || pids.iter().all(|pid| open(*pid) >= 6)).await;
    let before: Vec<_> = pids.iter().map(|pid| open(*pid)).collect();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let spawner = spawner.clone();
            tokio::spawn(async move {
                for round in 0..50 {
                    let script = ["exit 3", "kill -9 $$", "sleep 1000 & exit 0", "exec sleep 1000", ":"][round % 5];
                    let mut job = shell(script);
                    if round % 5 == 4 {
                        job.program = c("/no/such/program");
                    }
                    let (_output, mut child) = start(&spawner, &job).await;
                    if round % 5 == 2 {
                        in_time(child.wait()).await;
                    }
                    if round % 5 == 2 || round % 5 == 3 {
                        child.end();
                    }
                    if (round + task) % 2 == 0 {
                        in_time(child.gone()).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    until("every job is gone", || spawner.in_flight() == 0).await;
    assert_eq!(spawner.pids(), pids, "no spawner has died");
    let children = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    until("no child and no zombie is left", || pids.iter().all(|pid| children(*pid).is_empty())).await;
    // Two rulesets at most have come; no descriptor stays with every job.
    let after: Vec<_> = pids.iter().map(|pid| open(*pid)).collect();
    assert!(after.iter().zip(&before).all(|(after, before)| after <= &(before + 1)), "{before:?} {after:?}");
}
