//! A driver with a bug: it panics over one job, and harms no other.

use std::sync::Arc;

use opros::domain::exchange::{Answer, Request};
use opros::domain::state::QUARANTINED;
use opros::domain::{Call, Job, JobId, State, Timestamp};
use opros::engine::account::AccountSetup;
use opros::engine::intake::JobRequest;
use opros::vendors::{
    AccountCall, AccountReading, Batch, Checked, Due, Floor, JobView, KindSpec, ParamProblem, Reading, Vendor,
};
use serde_json::{Value, json};

use super::{phone, tronk};
use crate::support::{TestDaemon, hours, minutes, rlab_account, seconds};

const POISON: &str = "poison";

/// Where the driver panics over jobs with this tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Nowhere: it builds polls only when [`gate`] lets it.
    Gate,
    Due,
    Batch,
    Floor,
    Request,
    ReadSubmit,
    ReadPoll,
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Vendor>,
    at: At,
}

impl Faulty {
    fn touch(&self, at: At, job: &Job) {
        assert!(self.at != at || job.tag.as_deref() != Some(POISON), "a bug, on purpose");
    }
}

impl Vendor for Faulty {
    fn kinds(&self) -> &'static [KindSpec] {
        self.inner.kinds()
    }
    fn check(&self, kind: &str, params: &Value) -> Result<Checked, Vec<ParamProblem>> {
        self.inner.check(kind, params)
    }
    fn due(&self, job: &Job, now: Timestamp) -> Due {
        self.touch(At::Due, job);
        self.inner.due(job, now)
    }
    fn batch(&self, job: &JobView<'_>, call: Call) -> Batch {
        self.touch(At::Batch, job.job);
        self.inner.batch(job, call)
    }
    fn widest_batch(&self) -> usize {
        self.inner.widest_batch()
    }
    fn floor(&self, call: Call, job: &JobView<'_>) -> Option<Floor> {
        self.touch(At::Floor, job.job);
        self.inner.floor(call, job)
    }
    fn request(&self, call: Call, jobs: &[JobView<'_>], now: Timestamp) -> Request {
        jobs.iter().for_each(|job| self.touch(At::Request, job.job));
        if self.at == At::Gate && call == Call::Poll {
            gate::pass();
        }
        self.inner.request(call, jobs, now)
    }
    fn pace(&self, call: Call, job: &JobView<'_>, now: Timestamp) -> Timestamp {
        self.inner.pace(call, job, now)
    }
    fn read(&self, call: Call, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading {
        let at = if call == Call::Submit { At::ReadSubmit } else { At::ReadPoll };
        jobs.iter().for_each(|job| self.touch(at, job.job));
        self.inner.read(call, jobs, answer, now)
    }
    fn changes(&self, kind: &str, before: Option<&Value>, after: &Value) -> Value {
        self.inner.changes(kind, before, after)
    }
    fn account_request(&self, call: AccountCall, now: Timestamp) -> Option<Request> {
        self.inner.account_request(call, now)
    }
    fn read_account(&self, call: AccountCall, answer: &Answer, now: Timestamp) -> AccountReading {
        self.inner.read_account(call, answer, now)
    }
}

/// Between the choice of a batch and its begin.
pub(super) mod gate {
    use std::sync::atomic::{AtomicBool, Ordering};

    static SHUT: AtomicBool = AtomicBool::new(false);
    static SOMEBODY_WAITS: AtomicBool = AtomicBool::new(false);

    pub(super) fn pass() {
        if SHUT.load(Ordering::Acquire) {
            SOMEBODY_WAITS.store(true, Ordering::Release);
            tokio::task::block_in_place(|| {
                while SHUT.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
            });
        }
    }

    pub(in super::super) fn shut() {
        SHUT.store(true, Ordering::Release);
    }

    pub(in super::super) fn open() {
        SHUT.store(false, Ordering::Release);
    }

    pub(in super::super) async fn somebody_waits() {
        while !SOMEBODY_WAITS.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn faulty(at: At, setup: AccountSetup) -> AccountSetup {
    let inner = Arc::clone(&setup.driver);
    AccountSetup { driver: Arc::new(Faulty { inner, at }), ..setup }
}

async fn poison(daemon: &TestDaemon, kind: &str, params: Value) -> JobId {
    let request = JobRequest { kind: kind.to_owned(), params, tag: Some(POISON.to_owned()), ..JobRequest::default() };
    let new = daemon.engine().intake().understand(&request).unwrap();
    daemon.engine().submit(vec![new]).await.unwrap()[0].job().unwrap()
}

fn is_set_aside(job: &Job) -> bool {
    job.due_at.is_none() && job.reason.as_ref().is_some_and(|reason| reason.code == QUARANTINED)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_its_driver_panics_over_is_set_aside_before_anything_is_sent_and_the_others_go_on() {
    let wraps: [(At, crate::support::Wrap); 4] = [
        (At::Due, |setup| faulty(At::Due, setup)),
        (At::Batch, |setup| faulty(At::Batch, setup)),
        (At::Floor, |setup| faulty(At::Floor, setup)),
        (At::Request, |setup| faulty(At::Request, setup)),
    ];
    for (at, wrap) in wraps {
        let mut daemon = TestDaemon::start_with(|sim| tronk(sim, ""), |_| {}, wrap).await;
        let bad = poison(&daemon, "tronk.report", phone(9)).await;
        daemon.submit_all("tronk.report", (1..=3).map(phone)).await;
        daemon.advance(minutes(5)).await;
        assert_eq!(daemon.count(State::Succeeded).await, 3, "{at:?}");
        let job = daemon.job(bad).await;
        assert!(job.state == State::Queued && is_set_aside(&job), "{at:?}: {job:?}");
        assert_eq!(daemon.sim.ledger().len(), 3, "{at:?}");
        daemon.restart().await;
        daemon.advance(minutes(5)).await;
        assert_eq!(daemon.engine().store().set_aside(9).await.unwrap(), [bad], "{at:?}: also after a restart");
        let why = daemon.engine().why(&daemon.job(bad).await).sentence;
        assert!(why.contains(&format!("opros release {bad}")), "{why}");
        // Let go, it is tried again, and set aside again.
        daemon.engine().release(bad).await.unwrap();
        daemon.advance(minutes(5)).await;
        assert!(is_set_aside(&daemon.job(bad).await), "{at:?}");
    }
}

/// What is paid for is asked about; it is set aside when its answers cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_its_driver_panics_over_sets_a_paid_job_aside_and_neither_loses_nor_repeats_it() {
    let daemon = TestDaemon::start_with(|sim| tronk(sim, ""), |_| {}, |setup| faulty(At::ReadPoll, setup)).await;
    let bad = poison(&daemon, "tronk.report", phone(9)).await;
    daemon.submit_all("tronk.report", (1..=3).map(phone)).await;
    daemon.advance(minutes(10)).await;
    assert_eq!((daemon.count(State::Succeeded).await, daemon.sim.ledger().len()), (3, 4));
    let job = daemon.job(bad).await;
    assert!(job.state == State::Waiting && is_set_aside(&job), "{job:?}");
    assert_eq!(job.polls, 2);

    let daemon = TestDaemon::start_with(|sim| tronk(sim, ""), |_| {}, |setup| faulty(At::ReadSubmit, setup)).await;
    let bad = poison(&daemon, "tronk.report", phone(9)).await;
    daemon.advance(minutes(10)).await;
    assert_eq!((daemon.job(bad).await.state, daemon.calls("tronk.setqueue")), (State::InDoubt, 1));
}

/// Lesson 14 for our own bugs: of a hundred in one request the one is found, and the others are read.
#[tokio::test(flavor = "multi_thread")]
async fn one_answer_that_panics_spoils_no_batch() {
    let settings = "poll_first = \"15m\"\npoll_ceiling = \"15m\"";
    let daemon =
        TestDaemon::start_with(|sim| rlab_account(sim, settings), |_| {}, |setup| faulty(At::ReadPoll, setup)).await;
    let bad = poison(&daemon, "rlab.track", json!({ "track": "0000000099" })).await;
    let good = daemon.submit_all("rlab.track", (1..=20).map(|n| json!({ "track": format!("{n:010}") }))).await;
    daemon.advance(hours(12)).await;
    let job = daemon.job(bad).await;
    assert!(is_set_aside(&job), "{job:?}");
    for id in good {
        let job = daemon.job(id).await;
        assert!(job.state.is_final() || (job.errors == 0 && job.last_observed() > daemon.now() - hours(2)), "{job:?}");
    }
    assert!(daemon.engine().runner("rlab").unwrap().account().breaker.open_since.is_none(), "no fault of the vendor's");
    daemon.advance(seconds(1)).await;
}
