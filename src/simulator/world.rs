//! What all requests share: the four vendors' books, the ledger, the log, the faults.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alta::Alta;
use super::call::{Call, Host, Incoming, Reading, Refusal, Reply};
use super::faults::FaultBook;
use super::ledger::{Booking, Ledger};
use super::log::Log;
use super::rlab::Rlab;
use super::tronk::Tronk;
use super::vagvin::Vagvin;
use super::{SimConfig, SimError, alta, rlab, tronk, vagvin};
use crate::clock::SharedClock;
use crate::domain::Timestamp;

#[derive(Debug)]
pub struct World {
    pub addr: SocketAddr,
    pub clock: SharedClock,
    pub seed: u64,
    pub ledger: Ledger,
    pub log: Log,
    pub faults: Mutex<FaultBook>,
    pub tronk: Mutex<Tronk>,
    pub alta: Mutex<Alta>,
    pub rlab: Mutex<Rlab>,
    pub vagvin: Mutex<Vagvin>,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// What a vendor needs beside its own books to deal with one call.
#[derive(Debug)]
pub struct Desk<'a> {
    pub now: Timestamp,
    pub seed: u64,
    pub addr: SocketAddr,
    pub ledger: &'a Ledger,
    pub log: &'a Log,
}

impl Desk<'_> {
    /// An empty booking of this call, to be filled in by the vendor.
    pub fn booking(&self, call: &Call, vendor: &'static str, key: &str, remote_id: &str, price: i64) -> Booking {
        Booking {
            n: 0,
            at: self.now,
            vendor: vendor.into(),
            op: call.op.clone(),
            key: key.to_owned(),
            remote_id: remote_id.to_owned(),
            token: None,
            price,
            request_id: call.n,
        }
    }
}

/// A vendor that panicked in one request must not take the others with it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(config: SimConfig, addr: SocketAddr) -> Result<Self, SimError> {
        let path = config.ledger_file;
        let ledger = Ledger::open(path.as_deref())
            .map_err(|source| SimError::Ledger { path: path.unwrap_or_default(), source })?;
        let now = config.clock.now();
        Ok(Self {
            addr,
            seed: config.seed,
            ledger,
            log: Log::new(config.log_requests),
            faults: Mutex::new(FaultBook::new(config.faults, config.seed)),
            tronk: Mutex::new(Tronk::new(config.tronk)),
            alta: Mutex::new(Alta::new(config.alta, config.seed, now)),
            rlab: Mutex::new(Rlab::new(config.rlab)),
            vagvin: Mutex::new(Vagvin::new(config.vagvin)),
            clock: config.clock,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    pub fn desk(&self) -> Desk<'_> {
        Desk { now: self.clock.now(), seed: self.seed, addr: self.addr, ledger: &self.ledger, log: &self.log }
    }

    /// Which of the vendor's calls this is; none when the vendor has no such page.
    pub fn read(host: Host, incoming: &Incoming) -> Option<Reading> {
        match host {
            Host::Tronk => tronk::read(incoming),
            Host::Alta => alta::read(incoming),
            Host::Rlab | Host::RlabReserve => rlab::read(incoming),
            Host::Vagvin => vagvin::read(incoming),
        }
    }

    /// Does what was asked, books what is to be paid, and only then answers. Booking may wait for the disk, so that
    /// part leaves the async threads; and it is never cancelled when the client goes away.
    pub async fn process(self: &Arc<Self>, call: &Arc<Call>) -> Reply {
        if !self.ledger.is_on_disk() {
            return self.answer(call);
        }
        let (world, call) = (self.clone(), call.clone());
        let answered = tokio::task::spawn_blocking(move || world.answer(&call)).await;
        answered.unwrap_or_else(|_| broken("the vendor fell over"))
    }

    fn answer(&self, call: &Call) -> Reply {
        let desk = self.desk();
        let reply = match call.host {
            Host::Tronk => lock(&self.tronk).answer(call, &desk),
            Host::Alta => lock(&self.alta).answer(call, &desk),
            Host::Rlab | Host::RlabReserve => lock(&self.rlab).answer(call, &desk),
            Host::Vagvin => lock(&self.vagvin).answer(call, &desk),
        };
        if self.ledger.is_broken() { broken("the ledger cannot be written") } else { reply }
    }

    pub fn refuse(&self, call: &Call, refusal: Refusal) -> Reply {
        let now = self.clock.now();
        match call.host {
            Host::Tronk => tronk::refuse(call, refusal, now),
            Host::Alta => alta::refuse(call, refusal, lock(&self.alta).error_code()),
            Host::Rlab | Host::RlabReserve => rlab::refuse(refusal),
            Host::Vagvin => vagvin::refuse(refusal),
        }
    }

    /// Charges that fell due while nobody called are booked when somebody looks.
    pub fn bring_up_to_date(&self) {
        lock(&self.alta).settle_all(&self.desk());
    }
}

fn broken(why: &'static str) -> Reply {
    Reply::new(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", why)
}
