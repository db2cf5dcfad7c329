//! What a script is to the system: its start, its surroundings, its standard error, its end.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::raw::End;
use crate::server::{Server, command, launch, serve};
use crate::tree::Tree;
use crate::wait::alive;

#[test]
fn a_script_works_in_its_own_folder() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\npwd -P\n";
    let server = serve(Tree::new().script("x", script).script("deep/er/x", script));
    for (target, folder) in [("/cgi-bin/x", "cgi-bin"), ("/cgi-bin/deep/er/x", "cgi-bin/deep/er")] {
        let folder = server.tree.path(folder).display().to_string();
        assert_eq!(server.get(target).expect(200).text().trim_end(), folder);
    }
}

/// A server whose own start was prepared by these commands of a shell.
fn serve_after(shell: &str, tree: Tree) -> Server {
    tree.settle();
    let inner = command(&tree);
    let mut outer = std::process::Command::new("/bin/sh");
    outer.arg("-c").arg(format!("{shell}; exec \"$0\" \"$@\"")).arg(inner.get_program()).args(inner.get_args());
    outer.args(["-b", "127.0.0.1", "0"]).current_dir("/").env_clear();
    launch(outer, tree)
}

#[test]
fn a_script_has_three_descriptors() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nls /proc/self/fd\n";
    // The server itself inherits one that it knows nothing of.
    let server = serve_after("exec 7</dev/null", Tree::new().script("x", script));
    for with_body in [false, true] {
        let response =
            if with_body { server.post("/cgi-bin/x", "text/plain", b"body") } else { server.get("/cgi-bin/x") };
        // The fourth is what `ls` reads the folder with.
        assert_eq!(response.expect(200).text(), "0\n1\n2\n3\n");
    }
}

#[test]
fn signals_are_as_a_fresh_login_has_them() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\ngrep -E '^Sig(Blk|Ign)' /proc/self/status\n";
    // As under nohup, and in a shell's background.
    let server = serve_after("trap '' HUP INT QUIT PIPE", Tree::new().script("x", script));
    let text = server.get("/cgi-bin/x").expect(200).text();
    assert_eq!(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn neither_server_nor_scripts_run_as_root() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nid -u\nid -G\n";
    let server = serve(Tree::new().script("x", script));
    let text = server.get("/cgi-bin/x").expect(200).text();
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    if rustix::process::geteuid().is_root() {
        assert!(!text.split_whitespace().any(|id| id == "0"), "{text}");
        assert!(!uids.split_whitespace().any(|id| id == "0"), "{uids}");
    } else {
        assert_eq!(text.lines().next(), Some(rustix::process::geteuid().as_raw().to_string().as_str()));
    }
}

#[test]
fn a_failing_exit_after_a_whole_answer_is_delivered_and_logged() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nwhole\\n'\nexit 3\n";
    let server = serve(Tree::new().script("exits_with_3", script));
    let response = server.get("/cgi-bin/exits_with_3").expect(200);
    assert_eq!(response.text(), "whole\n");
    server.wait_for_log(|line| line.contains("exits_with_3") && line.contains("exited with status 3"));
}

#[test]
fn a_crash_in_mid_answer_is_visible_to_the_client() {
    let tree = Tree::new()
        .script("dies_half_way", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhalf'\nkill -SEGV $$\n")
        .script(
            "dies_later",
            "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhalf'\nread go < @NOTES@/go\nkill -KILL $$\n",
        );
    let server = serve(tree);
    let response = server.get("/cgi-bin/dies_half_way");
    assert_eq!((response.end, response.text().as_str()), (End::Aborted, "half"));
    server.wait_for_log(|line| line.contains("dies_half_way") && line.contains("signal 11"));
    let mut gate = server.tree.gate("go");
    let mut client = server.connect();
    client.send("GET /cgi-bin/dies_later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    gate.open();
    assert_eq!(client.response().end, End::Aborted);
    assert!(crate::h2::get(server.address, "/cgi-bin/dies_half_way", &[]).reset.is_some());
}

#[test]
fn a_crash_is_visible_even_to_http_1_0() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhalf'\nkill -SEGV $$\n";
    let server = serve(Tree::new().script("dies_half_way", script));
    // Nothing but a reset can say so where the end of the connection is the end of the answer.
    let response = server.ask("GET /cgi-bin/dies_half_way HTTP/1.0\r\n\r\n");
    assert_eq!(response.end, End::Aborted, "{response:?}");
}

#[test]
fn standard_error_is_logged_line_by_line() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\necho \"$UNIQUE_ID $$\"\necho 'first line' >&2\nprintf 'last \\033[31m line' >&2\n";
    let server = serve(Tree::new().script("complains", script));
    let text = server.get("/cgi-bin/complains").expect(200).text();
    let (id, pid) = text.trim_end().split_once(' ').unwrap();
    for words in ["first line", "last \\u{1b}[31m line"] {
        let line = server.wait_for_log(|line| line.contains(words));
        for part in [id, &format!("pid={pid}"), "/cgi-bin/complains", "127.0.0.1"] {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
}

#[test]
fn a_flood_on_standard_error_blocks_nobody_and_is_bounded() {
    let script = "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x >&2\necho >&2\ni=0\nwhile [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); done >&2\nprintf 'Content-Type: text/plain\\n\\nanswer\\n'\n";
    let server = serve(Tree::new().script("floods_stderr", script));
    assert_eq!(server.get("/cgi-bin/floods_stderr").expect(200).text(), "answer\n");
    server.wait_for_log(|line| line.contains("octets more on standard error"));
    assert!(server.log().len() < 1 << 20, "{} octets of log", server.log().len());
}

#[test]
fn a_child_that_holds_the_output_does_not_hold_the_answer() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nanswer\\n'\nsleep 600 &\n";
    let server = serve(Tree::new().script("child_holds_stdout", script));
    let mut client = server.connect();
    assert_eq!(client.get("/cgi-bin/child_holds_stdout").expect(200).text(), "answer\n");
    // And in step.
    assert_eq!(client.get("/cgi-bin/child_holds_stdout").expect(200).text(), "answer\n");
}

#[test]
fn a_proper_daemon_survives_its_request() {
    let script =
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nsetsid sleep 600 </dev/null >/dev/null 2>&1 &\necho $!\n";
    let server = serve(Tree::new().script("starts_a_daemon", script).script("x", script));
    let mut client = server.connect();
    let pid = client.get("/cgi-bin/starts_a_daemon").expect(200).text().trim().parse().unwrap();
    drop(client);
    // Whatever follows the first request's end has happened when a second one is through.
    server.get("/cgi-bin/x").expect(200);
    assert!(alive(pid));
}

#[test]
fn the_answer_ends_with_the_output_and_the_program_may_work_on() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nanswer\\n'\nexec >&-\nread go < @NOTES@/go\necho done > @NOTES@/done\n";
    let server = serve(Tree::new().script("works_on", script));
    let mut gate = server.tree.gate("go");
    assert_eq!(server.get("/cgi-bin/works_on").expect(200).text(), "answer\n");
    assert!(!server.tree.has_note("done"));
    gate.open();
    assert_eq!(server.tree.note("done"), "done");
}

#[test]
fn the_last_octet_under_a_length_is_the_end_of_the_answer() {
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\nContent-Length: 7\\n\\nanswer\\n'\nread go < @NOTES@/go\necho done > @NOTES@/done\n";
    let server = serve(Tree::new().script("works_on", script));
    let mut gate = server.tree.gate("go");
    let mut client = server.connect();
    assert_eq!(client.get("/cgi-bin/works_on").expect(200).text(), "answer\n");
    client.get("/none").expect(404);
    gate.open();
    assert_eq!(server.tree.note("done"), "done");
}

/// The processes that this one has started, and those that they have.
fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .flat_map(|child| child.parse())
        .flat_map(|child| [vec![child], family(child)].concat())
        .collect()
}

fn spawners(server: &Server) -> Vec<u32> {
    let is_spawner =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "cgiserve:spawn\n");
    family(server.pid()).into_iter().filter(is_spawner).collect()
}

/// Sets a limit of a process that runs, as its user, for root may lack the right to: as many as that, or all it may.
fn allow(pid: u32, what: &str, most: Option<usize>) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let id = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u32>().unwrap()
    };
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let name = if what == "nofile" { "Max open files" } else { "Max processes" };
    let values = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let hard = values.split_whitespace().nth(1).unwrap();
    let soft = most.map_or(hard.to_owned(), |most| most.to_string());
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--{what}={soft}:{hard}")]).gid(id("Gid:")).uid(id("Uid:"));
    assert_eq!(crate::server::run(&mut command).code, Some(0));
}

#[test]
fn without_descriptors_it_is_503_and_over_with_the_next() {
    let hello = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n";
    let server =
        serve(Tree::new().script("x", hello).config("[limits]\nspawners = 1\n[scripts]\nmax-running = 1\nqueue = 0"));
    let mut client = server.connect();
    client.get("/cgi-bin/x").expect(200);
    let spawner = spawners(&server)[0];
    for pid in [server.pid(), spawner] {
        let count = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let free = (0..).find(|fd| std::fs::symlink_metadata(format!("/proc/{pid}/fd/{fd}")).is_err());
        let open = count();
        allow(pid, "nofile", free);
        for _ in 0..3 {
            client.get("/cgi-bin/x").expect_failure(503, "out-of-resources");
        }
        allow(pid, "nofile", None);
        crate::wait::until("the place to be free", || client.get("/cgi-bin/x").head.status == 200);
        crate::wait::until("all descriptors to be closed", || count() <= open);
    }
    assert_eq!(spawners(&server), [spawner], "nobody had to be replaced");
}

#[test]
fn without_more_threads_what_waits_for_disks_goes_on() {
    let count = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nwc -c\n";
    let server = serve(Tree::new().script("count", count));
    // More than is kept in memory, of no known length.
    let body = "x".repeat(200_000);
    let head = "POST /cgi-bin/count HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    // As many as there are, and no more.
    allow(server.pid(), "nproc", Some(0));
    for _ in 0..4 {
        assert_eq!(server.ask(&request).expect(200).text().trim(), "200000");
        assert!(server.get("/ajax/processcount").expect(200).text().contains("processcount"));
    }
    allow(server.pid(), "nproc", None);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_killed_server_leaves_no_script_behind() {
    let script = "#!/bin/sh\necho $$ > @NOTES@/pid\nexec sleep 600\n";
    let mut server = serve(Tree::new().script("silent", script));
    let mut client = server.connect();
    client.send("GET /cgi-bin/silent HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let pid = server.tree.note("pid").parse().unwrap();
    server.signal(rustix::process::Signal::KILL);
    server.ended();
    crate::wait::until_gone(pid);
}
