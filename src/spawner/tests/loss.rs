//! `kill -9` of spawner, nursery and server.

use std::process::{Command, Stdio as Wiring};

use super::*;

#[tokio::test]
async fn a_killed_spawner_is_replaced_and_its_jobs_end() {
    let spawner = spawner(1);
    let script = "(setsid sh -c 'echo $$; exec sleep 1000' &); trap '' TERM; sh -c 'echo $$; exec sleep 1000'";
    let (mut output, mut child) = start(&spawner, &shell(script)).await;
    let family = [pid_line(&mut output).await, pid_line(&mut output).await];
    until("the pid is known", || child.pid().is_some()).await;
    let old = spawner.pids()[0];
    kill_9(old);
    assert_eq!(in_time(child.wait()).await, Ending::SpawnerDied);
    in_time(child.gone()).await;
    until("another spawner serves", || spawner.pids().first().is_some_and(|new| *new != old)).await;
    assert_eq!(output_of(&spawner, &shell("echo works")).await, "works");
    let leader = child.pid().unwrap();
    until("the old job is gone", || !family.iter().chain([&leader]).any(|pid| exists(*pid))).await;
    assert!(!exists(old));
    assert_eq!(spawner.in_flight(), 0);
}

#[tokio::test]
async fn a_start_right_after_the_kill_does_not_hang() {
    let spawner = spawner(2);
    for _ in 0..3 {
        spawner.pids().into_iter().for_each(kill_9);
        let (_, stdio) = stdout();
        if let Ok(mut child) = in_time(spawner.start(&shell("exit 0"), stdio)).await {
            let ending = in_time(child.wait()).await;
            assert!(matches!(ending, Ending::SpawnerDied | Ending::Exited { status: 0, .. }), "{ending:?}");
        }
        until("both serve again", || spawner.pids().len() == 2).await;
    }
    assert_eq!(output_of(&spawner, &shell("echo works")).await, "works");
}

#[tokio::test]
async fn a_killed_nursery_is_replaced_when_it_is_needed() {
    let spawner = spawner(1);
    let (mut output, _child) = start(&spawner, &shell("echo $$; exec sleep 1000")).await;
    let running = pid_line(&mut output).await;
    let old = spawner.nursery_pid();
    kill_9(old);
    until("the nursery is gone", || !exists(old)).await;
    assert_eq!(output_of(&spawner, &shell("echo works")).await, "works");
    // Another kind of spawner than there is, so the nursery is asked; the other has its rights.
    let identity = is_root().then(|| Identity { uid: 65_534, gid: 65_534, groups: vec![] });
    let job = Job { sandbox: Sandbox::Off, identity, ..shell("id -u") };
    let user = if is_root() { 65_534 } else { rustix::process::geteuid().as_raw() };
    assert_eq!(output_of(&spawner, &job).await, user.to_string());
    assert_ne!(spawner.nursery_pid(), old);
    assert!(runs(running), "it has nothing to do with that");
}

/// The process above, as the kernel has it now.
fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn nothing_survives_spawner_and_nursery() {
    // Children of all kinds, one of them deaf to TERM.
    let script =
        "(setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done' &); sh -c 'echo $$; exec sleep 1000' &
        (sh -c 'echo $$; exec sleep 1000' </dev/null 2>/dev/null &); wait";
    for everybody in [false, true] {
        for nursery_first in [false, true] {
            let spawner = spawner(1);
            let (mut output, mut child) = start(&spawner, &shell(script)).await;
            let mut family = vec![];
            for _ in 0..3 {
                family.push(pid_line(&mut output).await);
            }
            let mut ours = [spawner.pids(), vec![spawner.nursery_pid()]].concat();
            if everybody {
                ours.push(parent(spawner.nursery_pid()));
            }
            if nursery_first {
                ours.reverse();
            }
            ours.iter().copied().for_each(kill_9);
            assert_eq!(in_time(child.wait()).await, Ending::SpawnerDied);
            until("all of them are gone", || !family.iter().chain(&ours).any(|pid| exists(*pid))).await;
            if !everybody {
                assert_eq!(output_of(&spawner, &shell("echo works")).await, "works");
                continue;
            }
            // Nobody is left who could make another; this program cannot be executed anew here.
            let (_, stdio) = stdout();
            assert!(matches!(in_time(spawner.start(&shell(""), stdio)).await, Err(SpawnError::NoSpawner)));
        }
    }
}

/// Not a test by itself: the server that the next one kills.
#[tokio::test]
#[ignore = "run by when_the_server_is_killed_everything_goes"]
async fn server_to_be_killed() {
    let spawner = spawner(2);
    let mut pids = [spawner.pids(), vec![spawner.nursery_pid()]].concat();
    let mut children = Vec::new();
    for _ in 0..4 {
        let script = "(setsid sh -c 'echo $$; exec sleep 1000' &); trap '' TERM; sh -c 'echo $$; trap \"\" TERM; while :; do sleep 1000; done'";
        let (mut output, child) = start(&spawner, &shell(script)).await;
        pids.extend([pid_line(&mut output).await, pid_line(&mut output).await]);
        children.push(child);
    }
    eprintln!("pids {}", pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn when_the_server_is_killed_everything_goes() {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spawner::tests::loss::server_to_be_killed", "--ignored", "--nocapture"])
        .stdout(Wiring::null())
        .stderr(Wiring::piped())
        .spawn()
        .unwrap();
    let stderr: std::os::fd::OwnedFd = server.stderr.take().unwrap().into();
    let mut stderr = BufReader::new(Receiver::from_owned_fd(stderr).unwrap());
    let pids: Vec<i32> = loop {
        if let Some((_, pids)) = line(&mut stderr).await.split_once("pids ") {
            break pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
        }
    };
    assert_eq!(pids.len(), 11);
    assert!(pids.iter().all(|pid| runs(*pid)));
    server.kill().unwrap();
    server.wait().unwrap();
    until("everything is gone", || !pids.iter().any(|pid| runs(*pid))).await;
}

#[tokio::test]
async fn a_damaged_message_harms_only_its_own_job() {
    use super::super::wire::{Notice, Request, SandboxView, Start};
    use rustix::net::{RecvFlags, SendFlags};
    use std::os::fd::AsFd;

    let mut nursery = Nursery::fork(1).unwrap();
    let line = nursery.first.pop().unwrap().socket;
    let null = std::fs::File::open("/dev/null").unwrap();
    let message = |id: u64, has_stdin: bool| {
        let start = Start {
            id,
            has_stdin,
            has_stderr: false,
            no_new_privs: true,
            umask: 0o022,
            linger_ms: 0,
            grace_ms: 0,
            limits: [None; 6],
            identity: None,
            sandbox: SandboxView::Standard,
            program: c"/bin/true",
            dir: c"/",
            argv: vec![c"true"],
            env: vec![],
        };
        let mut bytes = Vec::new();
        Request::Start(Box::new(start)).encode(&mut bytes).unwrap();
        bytes
    };
    let send = |bytes: &[u8], fds: usize| {
        let fds: Vec<_> = (0..fds).map(|_| null.as_fd()).collect();
        socket::send(&line, bytes, &fds, SendFlags::empty()).unwrap();
    };
    let answer = || {
        loop {
            let mut buffer = [0; 256];
            let packet = socket::receive(&line, &mut buffer, RecvFlags::empty()).unwrap();
            match Notice::decode(&mut &buffer[..packet.length]).unwrap().unwrap() {
                Notice::Started { .. } => {} // news of its own on a slow machine
                other => return other,
            }
        }
    };
    for (damage, expected) in [
        ((message(1, true), 1), Step::Descriptors),
        ((message(1, false), 0), Step::Descriptors),
        ((message(1, false), 3), Step::Descriptors),
        ((message(1, false)[..40].to_vec(), 1), Step::Message),
        (([message(1, false), vec![0]].concat(), 1), Step::Message),
    ] {
        send(&damage.0, damage.1);
        assert!(matches!(answer(), Notice::NotStarted { id: 1, step, .. } if step == expected), "{expected:?}");
    }
    // Nobody can be told about these.
    for noise in [&b"x"[..], &[0xff; 300], &[1], &[2, 0, 0]] {
        send(noise, 1);
    }
    send(&message(9, false), 1);
    assert!(matches!(answer(), Notice::Ended { id: 9, status: 0, leftovers: false, .. }));
}
