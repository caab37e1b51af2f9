//! A program that plays the four vendors over real HTTP, with the quirks of their pages, and keeps a ledger of every
//! paid submission: the truth about money that tests and the crash harness compare the daemon's own books with.
//!
//! Users meet it as `opros simulate` and `opros demo`. It stands beside the daemon and knows nothing of it: it imports
//! only the clock and the domain's time. The control plane under `/_sim/` has no password: listen on loopback.

mod alta;
mod bodies;
mod call;
mod callback;
pub mod command;
mod control;
mod faults;
mod ledger;
mod log;
mod rlab;
mod server;
mod text;
mod tronk;
mod vagvin;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::clock::{SharedClock, SystemClock};

pub use alta::{AltaSim, Echo};
pub use call::OpClass;
pub use control::{Change, Control};
pub use faults::{Fault, FaultPlan, FaultRule};
pub use ledger::Booking;
pub use log::{SeenRequest, Violation};
pub use rlab::{InfoForm, PoisonRule, Readd, RlabSim};
pub use tronk::TronkSim;
pub use vagvin::{CallbackForm, CallbackStyle, CallbackWhen, SentCallback, VagvinSim};

use world::World;

/// What is played, how fast, and what goes wrong.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Port 0 takes a free one. The control plane has no password, so this should stay on loopback.
    pub listen: SocketAddr,
    pub clock: SharedClock,
    /// Everything that looks random (hashes, journeys, processing times, fault probabilities) follows from this.
    pub seed: u64,
    /// Append-only NDJSON; each booking is written and fsynced before the vendor answers.
    pub ledger_file: Option<PathBuf>,
    /// Off: requests are only counted, for runs of simulated weeks.
    pub log_requests: bool,
    pub tronk: TronkSim,
    pub alta: AltaSim,
    pub rlab: RlabSim,
    pub vagvin: VagvinSim,
    pub faults: FaultPlan,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock: SystemClock::shared(),
            seed: 1,
            ledger_file: None,
            log_requests: true,
            tronk: TronkSim::default(),
            alta: AltaSim::default(),
            rlab: RlabSim::default(),
            vagvin: VagvinSim::default(),
            faults: FaultPlan::default(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error("the simulator cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: std::io::Error },
    #[error("the ledger {} cannot be opened: {source}", path.display())]
    Ledger { path: PathBuf, source: std::io::Error },
    #[error("the fault plan makes no sense: {0}")]
    Plan(String),
    #[error("nothing was changed: {0}")]
    Change(String),
}

/// The four vendors, running. Stops when it is dropped; [`Simulator::stop`] also waits for what is under way.
#[derive(Debug)]
pub struct Simulator {
    world: Arc<World>,
}

impl Simulator {
    pub async fn start(config: SimConfig) -> Result<Simulator, SimError> {
        config.faults.check().map_err(SimError::Plan)?;
        let addr = config.listen;
        let listen = async { TcpListener::bind(addr).await.and_then(|it| it.local_addr().map(|at| (it, at))) };
        let (listener, addr) = listen.await.map_err(|source| SimError::Listen { addr, source })?;
        let world = Arc::new(World::new(config, addr)?);
        world.tasks.spawn(server::accept(world.clone(), listener));
        Ok(Simulator { world })
    }

    pub fn addr(&self) -> SocketAddr {
        self.world.addr
    }

    /// What a client puts before the documented path: `tronk`, `alta`, `rlab`, `rlab-reserve`, `vagvin`.
    pub fn base_url(&self, vendor: &str) -> String {
        format!("http://{}/{vendor}", self.world.addr)
    }

    /// Every paid submission so far, in the order in which it was booked.
    pub fn ledger(&self) -> Vec<Booking> {
        self.world.bring_up_to_date();
        self.world.ledger.entries()
    }

    /// Every request seen, the oldest forgotten when there are very many; empty when `log_requests` is off.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.world.log.requests()
    }

    /// Where manners were broken: polled too fast, batches too large.
    pub fn violations(&self) -> Vec<Violation> {
        self.world.log.violations()
    }

    /// Changes faults and state while the vendors run.
    pub fn control(&self) -> Control {
        Control::new(self.world.clone())
    }

    /// Stops listening and ends what is under way; late bookings and call-backs not yet due never happen.
    pub async fn stop(self) {
        self.world.stop.cancel();
        self.world.tasks.close();
        self.world.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.world.stop.cancel();
    }
}
