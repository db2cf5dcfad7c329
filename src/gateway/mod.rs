//! The life of a script request: one description of the request, one reading of the answer.
//!
//! A script is started with three descriptors; its input is fed, its output read and its standard error logged at
//! the same time, so that no order of reading and writing can bring the two sides to a standstill.

mod dechunk;
pub mod head;
mod output;
mod pipe;
mod process;
pub mod record;
pub mod script;
pub mod settings;
mod stderr;
mod upload;
pub mod vars;

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context as Wakers, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::time::Sleep;

pub use head::{Head, HeadError};
pub use output::{Output, Settled};
pub use process::Permit;
pub use record::{Fault, Record};
pub use script::{NoScript, Script};
pub use settings::Settings;
pub use stderr::Tail;
pub use upload::Upload;
pub use vars::MetaVars;

use crate::spawner::{Child, Ending, Identity, Job, SpawnError, Spawner, Stdio, Step};
use process::{Parts, Process};
use settings::User;

/// Everything a script needs to run once.
pub struct Call {
    /// Program, arguments.
    pub command: (CString, Vec<CString>),
    /// The folder it runs in.
    pub folder: CString,
    /// `NAME=VALUE`.
    pub environment: Vec<CString>,
    /// Owner of the script's file.
    pub owner: (u32, u32),
    /// The request's body.
    pub upload: Upload,
    /// For the log.
    pub context: Arc<Context>,
    /// Its place among the running ones.
    pub permit: Permit,
}

/// Who is speaking, in log lines about a script.
#[derive(Debug)]
pub struct Context {
    /// The request's id.
    pub id: String,
    /// SCRIPT_NAME.
    pub script: String,
    /// The client's address.
    pub client: String,
    /// The process, once it is known; 0 before.
    pub pid: AtomicI32,
    /// What became of it, for whoever has to explain.
    pub record: Record,
}

/// A script's answer, its header understood.
pub struct Answer {
    /// The final header block.
    pub head: Head,
    /// What comes behind it.
    pub output: Output,
}

/// A program and the far ends of its pipes, for a conversation in place of one answer. Its standard error goes to the
/// log. Dropping `child` ends the program; `permit` is to be kept until it is gone.
pub struct Conversation {
    /// What the program reads. Does not block.
    pub stdin: OwnedFd,
    /// What it writes. Does not block.
    pub stdout: OwnedFd,
    /// The process.
    pub child: Child,
    /// For the log.
    pub context: Arc<Context>,
    /// Its place among the running ones.
    pub permit: Permit,
}

/// Why a script has no answer.
#[derive(Debug)]
pub enum Error {
    /// The environment or the arguments are more than the kernel takes (E2BIG).
    TooBig,
    /// The body is over `max-body`.
    BodyTooLarge,
    /// No room on the disk for the body.
    DiskFull,
    /// A descriptor, memory or a process could not be had.
    Resources(io::Error),
    /// The program could not be started.
    NotStarted(Step, i32),
    /// Its user may not be used: the owner is root.
    Identity(String),
    /// Its header block is not CGI.
    Head(HeadError),
    /// It ended, in this way, before its header block did; how many octets it wrote.
    NoHead(String, usize),
    /// It did not answer in time.
    Timeout(&'static str),
    /// The client left before the body was complete.
    ClientGone(String),
    /// The process that starts programs died.
    SpawnerDied,
}

impl Error {
    fn client(error: impl fmt::Display) -> Self {
        Self::ClientGone(error.to_string())
    }
}

impl Context {
    /// For a request whose script is about to start.
    pub fn new(id: String, script: String, client: String) -> Self {
        Self { id, script, client, pid: AtomicI32::new(0), record: Record::default() }
    }

    fn line(&self, line: &str) {
        let pid = self.pid.load(Ordering::Relaxed);
        tracing::info!(target: "script", id = self.id, script = self.script, pid, client = self.client, "{line}");
    }

    /// Something is wrong with the body of an answer whose header has been sent already.
    fn fault(&self, fault: Fault) {
        let cause = fault.slug();
        tracing::warn!(id = self.id, cause, script = self.script, client = self.client, "{fault}");
        self.record.fault(fault);
    }

    /// Logs something about a script that its author should know.
    pub fn remark(&self, text: &str) {
        tracing::warn!(id = self.id, script = self.script, client = self.client, "{text}");
    }

    fn broke_off(&self, error: &io::Error) {
        tracing::warn!(id = self.id, script = self.script, client = self.client, "answer broken off: {error}");
    }

    /// Logs an ending that is not success.
    pub fn ended(&self, ending: &Ending) {
        self.record.ended(*ending);
        match ending {
            Ending::Exited { status: 0, .. } => {}
            ending => {
                let how = describe(ending);
                tracing::warn!(id = self.id, script = self.script, client = self.client, "the program {how}");
            }
        }
    }
}

/// How a program ended, for the log: "exited with status 3".
pub fn describe(ending: &Ending) -> String {
    match ending {
        Ending::Exited { status, .. } => format!("exited with status {status}"),
        Ending::Signalled { signal, .. } => format!("was ended by signal {signal}"),
        Ending::NotStarted { step, errno } => {
            format!("could not be started: {step:?}: {}", io::Error::from_raw_os_error(*errno))
        }
        Ending::SpawnerDied => "was lost: the spawner died".to_owned(),
    }
}

/// Runs a script up to the end of its header block. `interim` is told of every interim answer (103 Early Hints).
///
/// Dropping the future ends the script with everything it started.
pub async fn run(
    spawner: &Spawner,
    settings: &Arc<Settings>,
    call: Call,
    interim: impl FnMut(Head),
) -> Result<Answer, Error> {
    let context = call.context.clone();
    let mut process = start(spawner, settings, call).await?;
    let mut buffer = BytesMut::new();
    match read_head(&mut process, &mut buffer, settings, interim).await {
        Ok(head) => {
            let output = Output::new(process, buffer, head.content_length, head.chunked);
            Ok(Answer { head, output })
        }
        Err(error) => {
            if matches!(error, Error::Head(_)) {
                hear_out(&mut process, &mut buffer).await;
            }
            context.record.output(&buffer);
            match error {
                Error::Timeout(key) => context.record.killed(key),
                Error::Head(_) => context.record.killed("bad-script-head"),
                Error::ClientGone(_) => context.record.killed("client-left"),
                _ => {}
            }
            Err(error)
        }
    }
}

/// How long a script whose header is refused may go on before it is ended.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Lets a script say a little more: what it dies of often comes behind the line that gave it away.
async fn hear_out(process: &mut Process, buffer: &mut BytesMut) {
    let parts = process.parts();
    let mut open = true;
    let heard = std::future::poll_fn(|wakers| {
        while open && buffer.len() < record::OUTPUT {
            match parts.stdout.poll_read(wakers, buffer) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => open = false,
                Poll::Pending => break,
            }
        }
        if buffer.len() >= record::OUTPUT { Poll::Ready(()) } else { parts.poll_ending(wakers).map(drop) }
    });
    let _ = tokio::time::timeout(LAST_WORDS, heard).await;
}

async fn read_head(
    process: &mut Process,
    buffer: &mut BytesMut,
    settings: &Settings,
    mut interim: impl FnMut(Head),
) -> Result<Head, Error> {
    let mut timer = None;
    loop {
        match head::parse(buffer, settings.head).map_err(Error::Head)? {
            head::Progress::Interim(head, used) => {
                buffer.advance(used);
                interim(head);
            }
            head::Progress::Final(head, used) => {
                buffer.advance(used);
                return Ok(head);
            }
            head::Progress::More => {
                std::future::poll_fn(|wakers| poll_head(process, buffer, &mut timer, wakers)).await?;
            }
        }
    }
}

/// Starts a script for a conversation. The call's upload is not used: what the script reads comes later.
///
/// # Errors
/// What keeps it from being started; that it cannot be executed is told by the child's ending.
pub async fn converse(spawner: &Spawner, settings: &Settings, call: Call) -> Result<Conversation, Error> {
    let (stdin, ours_in) = pipe::halves().map_err(Error::Resources)?;
    let (ours_out, stdout) = pipe::halves().map_err(Error::Resources)?;
    for end in [&ours_in, &ours_out] {
        rustix::fs::fcntl_setfl(end, rustix::fs::OFlags::NONBLOCK).map_err(|e| Error::Resources(e.into()))?;
    }
    let (mut stderr, script_stderr) = pipe::for_errors().map_err(Error::Resources)?;
    stderr.watch().map_err(Error::Resources)?;
    let job = job(settings, call.owner, call.command, call.folder, call.environment)?;
    let child = hand_over(spawner, &job, Stdio { stdin: Some(stdin), stdout, stderr: Some(script_stderr) }).await?;
    tokio::spawn(stderr::log(BytesMut::new(), stderr, child.leader(), call.context.clone()));
    Ok(Conversation { stdin: ours_in, stdout: ours_out, child, context: call.context, permit: call.permit })
}

async fn start(spawner: &Spawner, settings: &Arc<Settings>, call: Call) -> Result<Process, Error> {
    let (stdout, script_stdout) = pipe::for_output().map_err(Error::Resources)?;
    let (stderr, script_stderr) = pipe::for_errors().map_err(Error::Resources)?;
    let (stdin, feeder) = call.upload.start().map_err(Error::Resources)?;
    let job = job(settings, call.owner, call.command, call.folder, call.environment)?;
    let child = hand_over(spawner, &job, Stdio { stdin, stdout: script_stdout, stderr: Some(script_stderr) }).await?;
    let mut process = Process::new(Parts {
        stdout,
        stderr: Some(stderr),
        child,
        feeder,
        settings: settings.clone(),
        context: call.context,
        started: Instant::now(),
        ending: None,
        told_to_end: false,
        permit: call.permit,
    });
    process.parts().head_start().await;
    Ok(process)
}

fn job(
    settings: &Settings,
    file_owner: (u32, u32),
    (program, argv): (CString, Vec<CString>),
    dir: CString,
    env: Vec<CString>,
) -> Result<Job, Error> {
    let identity = match &settings.user {
        User::Server => None,
        User::Fixed(identity) => Some(identity.clone()),
        User::Owner => Some(owner(file_owner)?),
    };
    Ok(Job {
        program,
        argv,
        env,
        dir,
        limits: settings.limits,
        identity,
        sandbox: settings.sandbox.clone(),
        umask: settings.umask,
        no_new_privs: settings.no_new_privs,
        linger: settings.total.unwrap_or(std::time::Duration::from_secs(24 * 3600)),
        grace: settings.grace,
    })
}

async fn hand_over(spawner: &Spawner, job: &Job, stdio: Stdio) -> Result<Child, Error> {
    spawner.start(job, stdio).await.map_err(|error| match error {
        SpawnError::TooBig => Error::TooBig,
        other => Error::Resources(io::Error::other(other)),
    })
}

/// The owner of a script's file, never root: a file that root owns is what every package installs.
fn owner((uid, gid): (u32, u32)) -> Result<Identity, Error> {
    if uid == 0 || gid == 0 {
        return Err(Error::Identity("user = \"owner\", but the file belongs to root".to_owned()));
    }
    Ok(Identity { uid, gid, groups: vec![gid] })
}

/// Waits for more of the header block.
fn poll_head(
    process: &mut Process,
    buffer: &mut BytesMut,
    timer: &mut Option<Pin<Box<Sleep>>>,
    wakers: &mut Wakers<'_>,
) -> Poll<Result<(), Error>> {
    let parts = process.parts();
    let closed = match parts.stdout.poll_read(wakers, buffer) {
        Poll::Ready(Ok(0)) => true,
        Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
        // It could not be waited for: what the script has to say will not be heard.
        Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::Resources(error))),
        Poll::Pending => false,
    };
    let ending = match parts.poll_ending(wakers) {
        Poll::Ready(Ending::NotStarted { step, errno }) => {
            return Poll::Ready(Err(Error::NotStarted(step, errno)));
        }
        Poll::Ready(Ending::SpawnerDied) => return Poll::Ready(Err(Error::SpawnerDied)),
        Poll::Ready(ending) => Some(describe(&ending)),
        Poll::Pending => None,
    };
    if parts.feeder.as_mut().is_some_and(|feeder| feeder.poll_broken(wakers)) {
        return Poll::Ready(Err(Error::client("the client left in mid-upload")));
    }
    let wrote = buffer.len();
    let now = Instant::now();
    let settings = &parts.settings;
    // Closed without a header: the exit says why, and comes at once unless the program works on.
    let (deadline, verdict) = match (closed, ending) {
        (true, Some(how)) => return Poll::Ready(Err(Error::NoHead(how, wrote))),
        (true, None) => (Some(now + output::STATUS), "closed"),
        (false, Some(_)) => (Some(now + output::HELD_OPEN), "left"),
        (false, None) => {
            let first = settings.first_byte.map(|t| (parts.started + t, "first-byte-timeout"));
            let total = settings.total.map(|t| (parts.started + t, "timeout"));
            match (first, total) {
                (Some(a), Some(b)) => {
                    if a.0 <= b.0 {
                        (Some(a.0), a.1)
                    } else {
                        (Some(b.0), b.1)
                    }
                }
                (Some(a), None) | (None, Some(a)) => (Some(a.0), a.1),
                (None, None) => (None, ""),
            }
        }
    };
    let Some(deadline) = deadline else { return Poll::Pending };
    let deadline = match timer {
        // The short waits began when they were first seen.
        Some(running) if verdict == "closed" || verdict == "left" => deadline.min(running.deadline().into_std()),
        _ => deadline,
    };
    match poll_timer(timer, deadline, wakers) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(()) => Poll::Ready(Err(match verdict {
            "closed" => Error::NoHead("closed its output and works on".to_owned(), wrote),
            "left" => Error::NoHead("exited and left its output to a child".to_owned(), wrote),
            key => Error::Timeout(key),
        })),
    }
}

/// Polls the one timer of a request, set to `deadline`.
fn poll_timer(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Instant, wakers: &mut Wakers<'_>) -> Poll<()> {
    let deadline = tokio::time::Instant::from_std(deadline);
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    if timer.deadline() != deadline {
        timer.as_mut().reset(deadline);
    }
    timer.as_mut().poll(wakers)
}
