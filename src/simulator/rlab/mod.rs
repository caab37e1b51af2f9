//! R-Lab / DeliveryCRM: parcels by the hundred, one account behind two hosts, and answers whose very keys have blanks.

mod life;
mod methods;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::{Value, json};

use super::call::{Call, Incoming, OpClass, Params, Reading, Refusal, Reply};
use super::text;
use super::world::Desk;
use crate::domain::Timestamp;

/// The content type of a .NET handler that nobody changed.
const ASHX: &str = "text/plain; charset=utf-8";
const BAD_KEY: &str = "Некорректный ключ запроса в trackingRequestKey";

/// How `trackInfo` and its neighbours look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InfoForm {
    /// Several lines of text, five fields: the page of 2014.
    Old,
    /// A short phrase, more fields: the sample of 2018.
    New,
    /// Some tracks this way, some that.
    #[default]
    Mixed,
}

/// What one bad track does to the batch that it came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PoisonRule {
    /// The others are added; the answer counts the errors and names nobody.
    #[default]
    Partial,
    /// Nothing is added.
    Whole,
}

/// What adding a track again is answered with. It is never booked twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readd {
    #[default]
    Accept,
    /// It counts as an error.
    Refuse,
}

#[derive(Debug, Clone)]
pub struct RlabSim {
    pub user_id: i64,
    /// Used as given, not hashed again.
    pub user_key: String,
    /// Tracks that can still be added; without a number there is no limit.
    pub balance: Option<i64>,
    /// The last day of the tariff as dd.MM.yyyy; without one it never ends.
    pub expires: Option<String>,
    pub expired: bool,
    /// Tracks that no request may add.
    pub poisoned: BTreeSet<String>,
    pub poison: PoisonRule,
    pub readd: Readd,
    pub form: InfoForm,
    /// The documented limit of one request; for `addtrack`, where the page gives none, it holds too.
    pub batch_limit: usize,
    /// From adding until the first status.
    pub first_status_after: Duration,
    /// From one status to the next, roughly.
    pub step: Duration,
    /// A track that is asked about sooner than this after the last time is a violation. The vendor publishes no number.
    pub min_poll: Duration,
}

impl Default for RlabSim {
    fn default() -> Self {
        Self {
            user_id: 1,
            user_key: text::md5_hex("key"),
            balance: None,
            expires: None,
            expired: false,
            poisoned: BTreeSet::new(),
            poison: PoisonRule::default(),
            readd: Readd::default(),
            form: InfoForm::default(),
            batch_limit: 100,
            first_status_after: Duration::from_secs(20 * 60),
            step: Duration::from_secs(20 * 3600),
            min_poll: Duration::from_secs(30),
        }
    }
}

/// One parcel; small, because there are hundreds of thousands.
#[derive(Debug)]
struct Track {
    added: Timestamp,
    phone: Box<str>,
    email: Box<str>,
    forced: Option<(u8, Timestamp)>,
    last_poll: Timestamp,
}

#[derive(Debug)]
pub struct Rlab {
    pub sim: RlabSim,
    tracks: HashMap<Box<str>, Track>,
    /// How often each track was sent to `addtrack`, whatever came of it.
    attempts: HashMap<Box<str>, u32>,
}

pub fn read(incoming: &Incoming) -> Option<Reading> {
    let op = match incoming.path.as_str() {
        "addtrack.ashx" => "addtrack",
        "gettrackinfo.ashx" => "gettrackinfo",
        "updatetrack.ashx" => "updatetrack",
        "deltrack.ashx" => "deltrack",
        "getuserinfo.ashx" => "getuserinfo",
        _ => return None,
    };
    let class = match op {
        "addtrack" => OpClass::Submit,
        "gettrackinfo" => OpClass::Poll,
        _ => OpClass::Other,
    };
    let json = lenient_json(&incoming.body);
    let keys = items(&json).map(|item| track_of(item).to_owned()).collect();
    Some(Reading { op: op.into(), class, keys, params: Params::default(), json })
}

/// Whatever the content type says; with a BOM; and with single quotes, as one shop's module sends it.
fn lenient_json(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let strict = serde_json::from_str(text);
    strict.or_else(|_| serde_json::from_str(&text.replace('\'', "\""))).unwrap_or(Value::Null)
}

fn items(json: &Value) -> impl Iterator<Item = &Value> {
    json["trackingData"].as_array().into_iter().flatten()
}

fn track_of(item: &Value) -> &str {
    item["trackingUserClientTrack"].as_str().map_or("", str::trim)
}

pub fn refuse(refusal: Refusal) -> Reply {
    failed(match refusal {
        Refusal::BadKey => BAD_KEY,
        Refusal::AccessEnded => "Срок действия тарифа истек",
        Refusal::NoMoney => "Недостаточно средств на балансе",
    })
}

fn done(info: &str, data: Value) -> Reply {
    ashx(&json!({"resultState": 0, "resultInfo": info, "resultData": data}))
}

/// The key has blanks around it in every answer that is not a full success: so the page has it.
fn partly(info: &str) -> Reply {
    ashx(&json!({"resultState": 1, " resultInfo ": info, "resultData": null}))
}

fn failed(info: &str) -> Reply {
    ashx(&json!({"resultState": 2, " resultInfo ": info, "resultData": null}))
}

fn ashx(value: &Value) -> Reply {
    Reply::json(value).content_type(ASHX)
}

impl Rlab {
    pub fn new(sim: RlabSim) -> Self {
        Self { sim, tracks: HashMap::new(), attempts: HashMap::new() }
    }

    pub fn answer(&mut self, call: &Call, desk: &Desk<'_>) -> Reply {
        if !call.incoming.post {
            return Reply::not_found();
        }
        if !call.json.is_object() {
            return failed("Некорректный формат запроса");
        }
        if !self.is_signed(call) {
            return failed(BAD_KEY);
        }
        if call.keys.len() > self.sim.batch_limit {
            let (count, limit) = (call.keys.len(), self.sim.batch_limit);
            desk.log.violation(desk.now, call, &count.to_string(), format!("more than {limit} tracks in one request"));
            return failed("Превышено максимальное количество треков в запросе");
        }
        match &*call.op {
            "getuserinfo" => self.user_info(),
            _ if call.keys.is_empty() => failed("Не указаны данные в trackingData"),
            "addtrack" => self.add(call, desk),
            "gettrackinfo" => self.info(call, desk),
            "updatetrack" => self.update(call),
            _ => self.delete(call),
        }
    }

    /// Tracks joined in the order of the request, nothing between them.
    fn is_signed(&self, call: &Call) -> bool {
        let id = match &call.json["trackingUserId"] {
            Value::String(text) => text.trim().parse().ok(),
            number => number.as_i64(),
        };
        let (user, key) = (self.sim.user_id, &self.sim.user_key);
        let text = if call.op == "getuserinfo" {
            format!("{user}:{key}")
        } else {
            format!("{user}:{}:{key}", call.keys.concat())
        };
        id == Some(user) && call.json["trackingRequestKey"] == *text::md5_hex(&text)
    }

    /// From now on the track stands there, until it is set again. False: nobody added it.
    pub fn set_status(&mut self, track: &str, status: u8, now: Timestamp) -> bool {
        let found = self.tracks.get_mut(track);
        found.map(|it| it.forced = Some((status, now))).is_some()
    }

    /// Puts a track into the account as if it had been added long ago; nothing is booked.
    pub fn plant(&mut self, track: &str, now: Timestamp) {
        self.tracks.entry(track.into()).or_insert_with(|| Track::new(now, "", ""));
    }

    /// Loses a track; asked about it, the vendor will leave it out.
    pub fn forget(&mut self, track: &str) -> bool {
        self.tracks.remove(track).is_some()
    }

    pub fn attempts(&self, track: &str) -> u32 {
        self.attempts.get(track).copied().unwrap_or_default()
    }

    pub fn summary(&self) -> Value {
        let again = self.attempts.values().filter(|count| **count > 1).count();
        json!({"tracks": self.tracks.len(), "balance": self.sim.balance, "expired": self.sim.expired,
            "poisoned": self.sim.poisoned, "sent_to_addtrack_more_than_once": again})
    }
}

impl Track {
    fn new(added: Timestamp, phone: &str, email: &str) -> Self {
        Self { added, phone: phone.into(), email: email.into(), forced: None, last_poll: Timestamp::MIN }
    }
}
