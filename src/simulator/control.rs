//! Changing the vendors while they run: from tests through [`Control`], from outside through `/_sim/`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::SimError;
use super::alta::Echo;
use super::call::Host;
use super::callback;
use super::faults::FaultPlan;
use super::vagvin::{CallbackStyle, SentCallback};
use super::world::{World, lock};
use crate::domain::Timestamp;

/// One thing that happens at a vendor. In JSON: `{"rlab_status": {"track": "…", "status": 1}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// The reports on that phone, plate, VIN, or of that id, are ready now.
    TronkReady {
        key: String,
    },
    /// They have that status from now on.
    TronkStatus {
        key: String,
        status: i64,
    },
    /// What is left of the quota; null for no end.
    TronkRequestsLeft {
        left: Option<u64>,
    },
    AltaBalance {
        kopecks: i64,
    },
    /// The vehicle is at the end of its journey now.
    AltaArrive {
        vehicle: String,
    },
    /// Where comments turn up in `track_list`.
    AltaEcho {
        echo: Echo,
    },
    /// How long a new request is missing from `track_list`.
    AltaListLag {
        ms: u64,
    },
    /// Lifts every block.
    AltaForgive {},
    /// The track stands at that status from now on.
    RlabStatus {
        track: String,
        status: u8,
    },
    RlabBalance {
        tracks: Option<i64>,
    },
    RlabExpired {
        expired: bool,
    },
    RlabPoison {
        track: String,
    },
    /// Puts a track into the account without a booking.
    RlabPlant {
        track: String,
    },
    /// Loses a track.
    RlabForget {
        track: String,
    },
    VagvinBalance {
        kopecks: Option<i64>,
    },
    VagvinCallbackUrl {
        url: Option<String>,
    },
    /// How the orders from now on are answered, round and round.
    VagvinStyles {
        styles: Vec<CallbackStyle>,
    },
    /// Sends a call-back now, for that VIN, ordered or not.
    VagvinSend {
        vin: String,
        #[serde(default)]
        style: CallbackStyle,
    },
}

/// A handle on a running simulator; as many as wanted.
#[derive(Debug, Clone)]
pub struct Control {
    world: Arc<World>,
}

impl Control {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// Puts a plan in place of the old one; its rules count from the beginning.
    pub fn set_faults(&self, plan: FaultPlan) -> Result<(), SimError> {
        plan.check().map_err(SimError::Plan)?;
        lock(&self.world.faults).replace(plan);
        Ok(())
    }

    /// Nothing goes wrong any more.
    pub fn clear_faults(&self) {
        lock(&self.world.faults).replace(FaultPlan::default());
    }

    /// Makes something happen; an error when there is nothing that it could happen to.
    pub fn apply(&self, change: Change) -> Result<(), SimError> {
        let what = format!("{change:?}");
        if self.change(change) {
            Ok(())
        } else {
            Err(SimError::Change(format!("the vendor knows no such thing: {what}")))
        }
    }

    /// How often a track was sent to `addtrack`, whatever came of it.
    pub fn rlab_attempts(&self, track: &str) -> u32 {
        lock(&self.world.rlab).attempts(track)
    }

    /// When Alta's reports on a request brought news so far: what whoever follows it should know.
    pub fn alta_news(&self, hash: &str) -> Option<Vec<Timestamp>> {
        lock(&self.world.alta).news(hash, self.world.clock.now())
    }

    /// The call-backs that VagVin has sent so far, and how they were received.
    pub fn vagvin_callbacks(&self) -> Vec<SentCallback> {
        lock(&self.world.vagvin).callbacks()
    }

    /// Everything countable, as `GET /_sim/state` gives it.
    pub fn state(&self) -> Value {
        let world = &self.world;
        world.bring_up_to_date();
        json!({
            "now": world.clock.now().to_rfc3339(),
            "seed": world.seed,
            "bookings": world.ledger.len(),
            "requests": world.log.counts(),
            "violations": world.log.violations().len(),
            "faults": *lock(&world.faults).plan(),
            "tronk": lock(&world.tronk).summary(),
            "alta": lock(&world.alta).summary(),
            "rlab": lock(&world.rlab).summary(),
            "vagvin": lock(&world.vagvin).summary(),
        })
    }

    fn change(&self, change: Change) -> bool {
        let world = &self.world;
        let now = world.clock.now();
        match change {
            Change::TronkReady { key } => return lock(&world.tronk).make_ready(&key, now),
            Change::TronkStatus { key, status } => return lock(&world.tronk).force_status(&key, status),
            Change::TronkRequestsLeft { left } => lock(&world.tronk).sim.requests_left = left,
            Change::AltaBalance { kopecks } => lock(&world.alta).set_balance(kopecks),
            Change::AltaArrive { vehicle } => return lock(&world.alta).arrive(&vehicle, now),
            Change::AltaEcho { echo } => lock(&world.alta).sim.echo = echo,
            Change::AltaListLag { ms } => lock(&world.alta).sim.list_lag = Duration::from_millis(ms),
            Change::AltaForgive {} => lock(&world.alta).forgive(),
            Change::RlabStatus { track, status } => return lock(&world.rlab).set_status(&track, status, now),
            Change::RlabBalance { tracks } => lock(&world.rlab).sim.balance = tracks,
            Change::RlabExpired { expired } => lock(&world.rlab).sim.expired = expired,
            Change::RlabPoison { track } => drop(lock(&world.rlab).sim.poisoned.insert(track)),
            Change::RlabPlant { track } => lock(&world.rlab).plant(&track, now),
            Change::RlabForget { track } => return lock(&world.rlab).forget(&track),
            Change::VagvinBalance { kopecks } => lock(&world.vagvin).sim.balance = kopecks,
            Change::VagvinCallbackUrl { url } => lock(&world.vagvin).sim.callback_url = url,
            Change::VagvinStyles { styles } => lock(&world.vagvin).sim.styles = styles,
            Change::VagvinSend { vin, style } => return self.send(&vin, style),
        }
        true
    }

    fn send(&self, vin: &str, style: CallbackStyle) -> bool {
        let deliveries = lock(&self.world.vagvin).out_of_the_blue(vin, style, &self.world.desk());
        let any = !deliveries.is_empty();
        let world = self.world.clone();
        self.world.tasks.spawn(async move {
            for delivery in deliveries {
                callback::deliver_once(&world, &delivery).await;
            }
        });
        any
    }
}

/// The control plane over HTTP.
pub fn serve(world: &Arc<World>, method: &Method, path: &str, body: &Bytes) -> Response<Body> {
    let control = Control::new(world.clone());
    let read = method == Method::GET || method == Method::HEAD;
    let change = method == Method::PUT || method == Method::POST;
    match path {
        "/" if read => text(StatusCode::OK, &index(world)),
        "/_sim/ledger" if read => {
            world.bring_up_to_date();
            json_answer(&world.ledger.entries())
        }
        "/_sim/requests" if read => json_answer(&world.log.requests()),
        "/_sim/violations" if read => json_answer(&world.log.violations()),
        "/_sim/callbacks" if read => json_answer(&control.vagvin_callbacks()),
        "/_sim/state" if read => json_answer(&control.state()),
        "/_sim/faults" if read => json_answer(lock(&world.faults).plan()),
        "/_sim/faults" if change => changed(parse(body).and_then(|plan| control.set_faults(plan).map_err(words))),
        "/_sim/state" if change => changed(parse(body).and_then(|change| control.apply(change).map_err(words))),
        _ => text(StatusCode::NOT_FOUND, "there is nothing here; GET / lists what there is\n"),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(words)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn changed(outcome: Result<(), String>) -> Response<Body> {
    match outcome {
        Ok(()) => text(StatusCode::NO_CONTENT, ""),
        Err(why) => text(StatusCode::UNPROCESSABLE_ENTITY, &format!("{why}\n")),
    }
}

fn index(world: &World) -> String {
    let hosts: Vec<_> = Host::ALL.iter().map(|host| format!("  http://{}/{}\n", world.addr, host.name())).collect();
    format!(
        "The vendors of opros, played for tests. Nothing here costs anything.\n\nBase addresses:\n{}\nControl:\n  \
         GET /_sim/ledger  /_sim/requests  /_sim/violations  /_sim/callbacks  /_sim/state  /_sim/faults\n  \
         PUT /_sim/faults  {{\"rules\":[{{\"vendor\":\"tronk\",\"op\":\"submit\",\"nth\":[1],\"then\":\"drop_after\"}}]}}\n  \
         PUT /_sim/state   {{\"rlab_status\":{{\"track\":\"19527937484546\",\"status\":1}}}}\n",
        hosts.concat()
    )
}

fn text(status: StatusCode, body: &str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

fn json_answer(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(body) => answer(StatusCode::OK, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
