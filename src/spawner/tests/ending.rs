//! Ending jobs: everything of them, whatever they have done to get away.

use super::*;

/// A grandchild in its own session, whose parent has gone: prints its pid, then sleeps.
const ESCAPE: &str = "(setsid sh -c 'echo $$; exec sleep 1000' &)";

#[tokio::test]
async fn term_first() {
    let spawner = spawner(1);
    let (mut output, mut child) = start(
        &spawner,
        &Job { grace: LONG, ..shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done") },
    )
    .await;
    assert_eq!(line(&mut output).await, "ready");
    child.end();
    assert_eq!(line(&mut output).await, "bye");
    assert!(matches!(in_time(child.wait()).await, Ending::Exited { status: 3, .. }));
}

#[tokio::test]
async fn kill_after_the_grace() {
    let spawner = spawner(1);
    let (mut output, mut child) =
        start(&spawner, &shell("trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1000; done")).await;
    let sleeper = pid_line(&mut output).await;
    let asked = Instant::now();
    child.end();
    assert!(matches!(in_time(child.wait()).await, Ending::Signalled { signal: libc::SIGKILL, .. }));
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert!(!exists(sleeper), "told only when all has gone");
    assert_eq!(spawner.in_flight(), 0);
}

#[tokio::test]
async fn an_escaped_grandchild_is_found() {
    let spawner = spawner(1);
    for leader in ["exec sleep 1000", "trap '' TERM; while :; do sleep 1000; done"] {
        let (mut output, mut child) = start(&spawner, &shell(format!("{ESCAPE}; {leader}"))).await;
        let escaped = pid_line(&mut output).await;
        assert!(runs(escaped));
        child.end();
        in_time(child.wait()).await;
        assert!(!exists(escaped));
    }
}

#[tokio::test]
async fn a_family_that_keeps_moving_is_caught() {
    let spawner = spawner(1);
    // Each generation starts the next in a new session, deaf to TERM, and ends.
    let mut job = shell("trap '' TERM; sh -c \"$RUN\" & sh -c \"$RUN\" & echo ready; sleep 1000");
    job.env.push(c("RUN=trap '' TERM; setsid sh -c \"$RUN\" & exec true"));
    let (mut output, mut child) = start(&spawner, &job).await;
    assert_eq!(line(&mut output).await, "ready");
    child.end();
    in_time(child.wait()).await;
    // All that held the pipe is gone, so it ends.
    let mut rest = String::new();
    in_time(output.read_to_string(&mut rest)).await.unwrap();
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", spawner.pids()[0])).unwrap();
    assert_eq!(children, "");
}

#[tokio::test]
async fn dropping_ends_and_releasing_does_not() {
    let spawner = spawner(1);
    let (mut output, child) = start(&spawner, &shell("echo $$; exec sleep 1000")).await;
    let pid = pid_line(&mut output).await;
    drop(child);
    until("the dropped job is gone", || !exists(pid)).await;
    let folder = Folder::new("release");
    let script = format!("echo $$; while [ ! -e {}/go ]; do sleep 0.01; done; echo done", folder.path());
    let (mut output, mut child) = start(&spawner, &shell(script)).await;
    let pid = pid_line(&mut output).await;
    child.release();
    drop(child);
    // Another job goes the same way, so a TERM would have been there before it.
    assert_eq!(output_of(&spawner, &shell("echo x")).await, "x");
    assert!(runs(pid));
    std::fs::write(folder.0.join("go"), "").unwrap();
    assert_eq!(line(&mut output).await, "done");
}

#[tokio::test]
async fn a_detached_worker_lives_until_its_limit() {
    let spawner = spawner(1);
    let linger = Duration::from_millis(700);
    let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!";
    let (mut output, mut child) = start(&spawner, &Job { linger, ..shell(script) }).await;
    let worker = pid_line(&mut output).await;
    assert!(matches!(in_time(child.wait()).await, Ending::Exited { status: 0, .. }));
    let ended = Instant::now();
    assert!(runs(worker));
    assert_eq!(spawner.in_flight(), 1, "counted until gone");
    in_time(child.gone()).await;
    assert!(ended.elapsed() >= linger - Duration::from_millis(50), "{:?}", ended.elapsed());
    assert!(!exists(worker));
}

#[tokio::test]
async fn a_worker_that_ends_by_itself_is_told() {
    let spawner = spawner(1);
    let script = "setsid sleep 0.2 </dev/null >/dev/null 2>&1 & echo $!";
    let (mut output, mut child) = start(&spawner, &shell(script)).await;
    let worker = pid_line(&mut output).await;
    in_time(child.wait()).await;
    drop(child);
    until("it is gone", || spawner.in_flight() == 0).await;
    assert!(!exists(worker));
}

#[tokio::test]
async fn a_leftover_that_holds_the_answer_open_is_ended_and_a_detached_one_is_not() {
    let spawner = spawner(1);
    let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; \
                  sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & echo $!";
    let (mut output, mut child) = start(&spawner, &shell(script)).await;
    let (detached, holder) = (pid_line(&mut output).await, pid_line(&mut output).await);
    assert!(matches!(in_time(child.wait()).await, Ending::Exited { status: 0, .. }));
    assert!(runs(holder));
    let mut rest = String::new();
    in_time(output.read_to_string(&mut rest)).await.unwrap();
    until("the holder is collected", || !exists(holder)).await;
    assert!(runs(detached));
    child.end();
    in_time(child.gone()).await;
    assert!(!exists(detached));
}

#[tokio::test]
async fn a_stray_that_hides_its_job_is_killed() {
    if std::process::Command::new("setsid").args(["prlimit", "--version"]).output().is_err() {
        return skip("no setsid or prlimit");
    }
    let spawner = spawner(1);
    // In the sandbox it cannot.
    let (text, _) = run(&spawner, &shell("prlimit --rttime=99 true 2>&1 || echo refused")).await;
    assert!(text.contains("refused"), "{text}");
    // Outside it can, and gains nothing: a new session and a changed cookie, so that nothing says whose it is.
    let script = "pid=$( (setsid prlimit --rttime=99 sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' &) ); echo $pid";
    let (mut output, mut child) = start(&spawner, &Job { sandbox: Sandbox::Off, ..shell(script) }).await;
    let stray = pid_line(&mut output).await;
    in_time(child.wait()).await;
    until("the stray is killed", || !exists(stray)).await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_spawner_that_hangs() {
    let spawner = spawner(1);
    let pid = spawner.pids()[0];
    super::super::jobs::signal(pid, rustix::process::Signal::STOP);
    in_time(spawner.shutdown()).await;
    super::super::jobs::signal(pid, rustix::process::Signal::CONT);
    until("it has gone when it can", || !runs(pid)).await;
}

#[tokio::test]
async fn shutdown_ends_everything() {
    let spawner = spawner(2);
    let mut jobs = Vec::new();
    for _ in 0..4 {
        let (mut output, child) =
            start(&spawner, &shell(format!("trap '' TERM; {ESCAPE}; while :; do sleep 1000; done"))).await;
        let pid = pid_line(&mut output).await;
        jobs.push((pid, child));
    }
    let processes = [spawner.pids(), vec![spawner.nursery_pid()]].concat();
    in_time(spawner.shutdown()).await;
    for (pid, mut child) in jobs {
        assert!(!exists(pid));
        let ending = in_time(child.wait()).await;
        assert!(matches!(ending, Ending::Signalled { signal: libc::SIGKILL, .. }), "{ending:?}");
    }
    until("spawners and nursery have gone", || !processes.iter().any(|pid| runs(*pid))).await;
    let (_, stdio) = stdout();
    assert!(matches!(spawner.start(&shell(""), stdio).await, Err(SpawnError::ShuttingDown)));
}
