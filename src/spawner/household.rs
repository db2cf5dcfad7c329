//! Who makes the spawners, as the server sees it: asks the nursery, has it replaced when it has died, and takes in what
//! comes to this process when everybody above a script has been killed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use super::family;
use super::line::lock;
use super::nursery::{self, Newborn, Wanted};
use super::orphans::{LOOK, Orphans};
use super::serve::Kind;
use crate::sys;

/// How long a nursery may take to make a spawner, and its keeper to make a nursery.
const BIRTH: Duration = Duration::from_secs(5);

/// The processes above the spawners.
#[derive(Debug)]
pub(super) struct Household {
    /// One question at a time.
    control: tokio::sync::Mutex<Control>,
    nursery: AtomicI32,
    /// Whether nursery and keeper, having died both, can be replaced.
    replaceable: bool,
    /// Those that came to this process because nobody else is left.
    orphans: Mutex<Orphans>,
    /// Where deaths are heard.
    home: Handle,
}

/// Whom to ask for more.
#[derive(Debug)]
struct Control {
    nursery: AsyncFd<OwnedFd>,
    /// Until it turns out to have died.
    keeper: Option<AsyncFd<OwnedFd>>,
}

impl Household {
    pub(super) fn new(nursery: Newborn, keeper: Newborn, replaceable: bool, home: Handle) -> io::Result<Arc<Self>> {
        // Best effort: without it, what the keeper leaves goes to init.
        let _ = sys::become_subreaper();
        let control = Control { nursery: sys::watch(nursery.socket)?, keeper: Some(sys::watch(keeper.socket)?) };
        let household = Arc::new(Self {
            control: tokio::sync::Mutex::new(control),
            nursery: AtomicI32::new(nursery.pid),
            replaceable,
            orphans: Mutex::default(),
            home,
        });
        household.watch_over(keeper.pid);
        household.watch_over(nursery.pid);
        Ok(household)
    }

    /// The nursery in service.
    pub(super) fn nursery_pid(&self) -> i32 {
        self.nursery.load(Ordering::Relaxed)
    }

    /// Has spawners made for as long as `wanted` says so, and hands each to `take`. One caller at a time: another that
    /// waited meanwhile finds that none is missing any more.
    pub(super) async fn bear(
        self: &Arc<Self>,
        kind: Kind,
        wanted: impl Fn() -> bool,
        take: impl Fn(Newborn) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut control = self.control.lock().await;
        let mut replaced = false;
        while wanted() {
            match ask(&control.nursery, Wanted::Spawner(kind)).await {
                Err(error) if !replaced && nursery::is_over(control.nursery.get_ref()) => {
                    tracing::error!(%error, "the nursery has died; it is replaced");
                    replaced = true;
                    self.replace(&mut control).await?;
                }
                born => {
                    let newborn = born?;
                    self.watch_over(newborn.pid);
                    take(newborn)?;
                }
            }
        }
        Ok(())
    }

    async fn replace(self: &Arc<Self>, control: &mut Control) -> io::Result<()> {
        let kept = match &control.keeper {
            Some(keeper) => ask(keeper, Wanted::Nursery).await,
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let keeper_is_over = control.keeper.as_ref().is_none_or(|keeper| nursery::is_over(keeper.get_ref()));
        let Newborn { socket, pid } = match kept {
            Err(error) if keeper_is_over && self.replaceable => {
                tracing::error!(%error, "its keeper has died, too: another nursery has no more rights than the server");
                control.keeper = None;
                nursery::call()?
            }
            kept => kept?,
        };
        control.nursery = sys::watch(socket)?;
        self.nursery.store(pid, Ordering::Relaxed);
        self.watch_over(pid);
        Ok(())
    }

    /// When this process of ours has died: collects it if that is for this process to do, and ends what has been left
    /// to it. Best effort, for kernels without `pidfd_open` and when there are no descriptors.
    pub(super) fn watch_over(self: &Arc<Self>, pid: i32) {
        let Some(Ok(handle)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return };
        let _here = self.home.enter();
        let Ok(handle) = sys::watch_for(handle, Interest::READABLE) else { return };
        let household = Arc::downgrade(self);
        self.home.spawn(async move {
            let _ = handle.readable().await;
            collect(pid);
            while let Some(household) = household.upgrade() {
                if household.take_in() == 0 {
                    return;
                }
                drop(household);
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// Ends those left to this process, and collects those that have ended. How many there were.
    fn take_in(&self) -> usize {
        let left = lock(&self.orphans).end(|pid| {
            if family::is_helper(pid) {
                // Left by its parent before that could collect it; or it lives, and nothing happens.
                collect(pid);
                return false;
            }
            // Nobody but scripts has a cookie; a browser that `--open` started may be here, too.
            family::is_of_a_job(pid)
        });
        left.iter().copied().for_each(collect);
        left.len()
    }

    /// No more questions: nursery and keeper go when the spawners have gone.
    pub(super) async fn close(&self) {
        let control = self.control.lock().await;
        for socket in [Some(&control.nursery), control.keeper.as_ref()].into_iter().flatten() {
            let _ = shutdown(socket.get_ref(), Shutdown::Both);
        }
    }
}

/// Takes this child from the table if it has ended.
fn collect(pid: i32) {
    let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
}

async fn ask(control: &AsyncFd<OwnedFd>, wanted: Wanted) -> io::Result<Newborn> {
    let born = tokio::time::timeout(BIRTH, async {
        nursery::ask(control.get_ref(), wanted)?;
        control.async_io(Interest::READABLE, |control| nursery::answer(control, RecvFlags::DONTWAIT)).await
    });
    match born.await {
        Ok(answered) => answered?,
        Err(late) => {
            // An answer that comes after all would be taken for the next one's: no more questions.
            let _ = shutdown(control.get_ref(), Shutdown::Both);
            Err(late.into())
        }
    }
}
