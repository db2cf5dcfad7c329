//! One request without a socket: everything as in the server, but nobody listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Handle;

use super::drain::Drain;
use super::listener::Accepted;
use super::serve::{self, Common};
use super::{Current, privileges, workers};
use crate::access_log::LogFile;
use crate::app::{App, Witness};
use crate::config::{Config, Listen};
use crate::connection::{Connection, Seat};
use crate::explain::Evidence;
use crate::spawner::Nursery;

/// Largest answer that is kept, octets; beyond it the client hangs up.
const MOST: u64 = 256 << 20;

/// A server without an address.
pub struct Rehearsal {
    app: Arc<App>,
    connection: Connection,
}

/// Makes everything that a server has, runs `work`, and takes it down again.
///
/// # Errors
/// What keeps a server from starting.
pub fn rehearse<T>(mut config: Config, work: impl AsyncFnOnce(&Rehearsal) -> T) -> io::Result<T> {
    let nursery = Nursery::fork(1)?;
    privileges::raise_descriptor_limit();
    // Scripts do without it if they must, as they do in the server.
    let _ = App::make_state_folder(&config);
    if let Some(identity) = &config.identity {
        privileges::give_up_root(identity)?;
    }
    // Whoever rehearses reads what happened from the witness.
    config.access = None;
    config.explain = false;
    let log = Arc::new(LogFile::open(Some(Path::new("/dev/null")))?);
    let runtime = workers::runtime()?;
    runtime.block_on(async {
        let spawner = nursery.attach(&[Handle::current()])?;
        let port = config.listen.iter().find_map(|listen| match listen {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let local = port.unwrap_or(SocketAddr::new(here, 8000));
        let (peer, tls) = (Some(SocketAddr::new(here, 0)), config.tls.is_some());
        let connection = Connection { peer, local: Some(local), tls, elsewhere: None };
        let mut app = App::new(config, spawner.clone(), log);
        app.witness = Some(Witness::default());
        let rehearsal = Rehearsal { app: Arc::new(app), connection };
        let outcome = work(&rehearsal).await;
        spawner.shutdown().await;
        Ok(outcome)
    })
}

impl Rehearsal {
    /// Sends `request`, octets as on a connection, and returns all that comes back before the connection closes.
    ///
    /// # Errors
    /// The server hung up without a word.
    pub async fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        let drain = Drain::new();
        let seat = Arc::new(Seat::new(drain.signal(), Box::new(())));
        let current = Current::shared(self.app.clone());
        let common = Arc::new(Common { current, drain, encryption: None, elsewhere: None, make_room: Arc::default() });
        let server = tokio::spawn(serve::connection(Accepted::Rehearsed(theirs, self.connection), common, seat));
        let (read, mut write) = ours.split();
        let mut read = read.take(MOST);
        let mut answer = Vec::new();
        let (sent, received) = tokio::join!(write.write_all(request), read.read_to_end(&mut answer));
        // A script need not read all that it is sent; then the answer counts.
        let _ = sent;
        // A broken answer ends in a reset, behind what came before.
        match received {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
            _ => {}
        }
        drop(ours);
        let _ = server.await;
        Ok(answer)
    }

    /// What the scripts of the requests so far did.
    pub fn seen(&self) -> Vec<Arc<Evidence>> {
        self.app.witness.as_ref().map(Witness::take).unwrap_or_default()
    }

    /// From now on scripts are found, and told what they would see, but not started.
    pub fn only_look(&self) {
        if let Some(witness) = &self.app.witness {
            witness.look_only();
        }
    }

    /// The application that is rehearsed.
    pub fn app(&self) -> &App {
        &self.app
    }
}
