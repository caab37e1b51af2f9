//! R-Lab (DeliveryCRM): parcels, a hundred to a request. What is known of the vendor and what is decided here: `README.md`.

use std::collections::HashSet;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use self::adding::Adding;
use self::cadence::Memo;
use self::wire::{MAX_TRACKS, Operation};
use super::{
    AccountCall, AccountReading, Batch, Checked, Common, JobView, KindSpec, ParamProblem, Reading, Vendor, lenient,
};
use crate::domain::exchange::{Answer, Request};
use crate::domain::policy::Growth;
use crate::domain::{Call, Timestamp, Traits};

mod adding;
mod cadence;
mod oneshots;
mod params;
mod refusal;
mod status;
mod track_info;
mod track_number;
mod tracks;
mod wire;

pub const BASE_URL: &str = "https://apilr2.r-lab.biz";

/// What to do when no host answers.
pub const ADVICE: &str = "Look whether this machine reaches the internet; if it does, write to R-Lab's support.";

const TRACK: &str = "rlab.track";

const ONE_SHOT: Traits = Traits { repeatable: true, look_up: false, tell_cancel: false, tracker: false };

pub const KINDS: &[KindSpec] = &[
    KindSpec {
        name: TRACK,
        traits: Traits { repeatable: false, look_up: true, tell_cancel: true, tracker: true },
        summary: "Adds a parcel and follows it until it is delivered (paid once per track).",
        params: params::TRACK_PARAMS,
        example: r#"{"track":"63010828068631","name":"Дмитрий","item_cost":"123.45","order_number":"4321"}"#,
    },
    KindSpec {
        name: "rlab.info",
        traits: ONE_SHOT,
        summary: "Asks once how up to 100 parcels stand that were added before.",
        params: params::LIST_PARAMS,
        example: r#"{"tracks":["19527937484546","63010828068631"]}"#,
    },
    KindSpec {
        name: "rlab.delete",
        traits: ONE_SHOT,
        summary: "Deletes up to 100 parcels at the vendor; they stay paid.",
        params: params::LIST_PARAMS,
        example: r#"{"tracks":["19527937484546"]}"#,
    },
    KindSpec {
        name: "rlab.update",
        traits: ONE_SHOT,
        summary: "Changes a parcel's order data at the vendor; what is not given stays, both e-mail flags excepted.",
        params: params::TRACK_PARAMS,
        example: r#"{"track":"63010828068631","name":"Николай"}"#,
    },
    KindSpec {
        name: "rlab.user_info",
        traits: ONE_SHOT,
        summary: "Asks for the tracks left and the end of the tariff.",
        params: params::NO_PARAMS,
        example: "{}",
    },
];

/// One account's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub common: Common,
    pub user_id: u64,
    /// Used as given: it is not hashed again.
    pub user_key: SecretString,
    /// Real clients send `text/plain`, and the vendor seems to look at none.
    pub content_type: String,
    /// Polls in a row whose answer lacks the track, until the job fails.
    pub unknown_after: u32,
    /// The first wait, and the one after a change.
    pub poll_first: Duration,
    /// The wait grows by this while nothing changes.
    pub poll_factor: f64,
    pub poll_ceiling: Duration,
    /// While the parcel lies at the counter (statuses 2 and 8).
    pub poll_at_counter: Duration,
    /// How long a due track may wait for others to share its request.
    pub batch_wait: Duration,
    /// Statuses 3 and 9 end the job after this long without change.
    pub grace: Duration,
    /// Whether there is a reserve host. Requests are always built for the primary; who sends them chooses the host.
    pub reserve: bool,
    /// The primary silent this long: the reserve is used, and the primary tried again this often.
    pub reserve_after: Duration,
    /// No host answered this long: the account is announced as unreachable.
    pub alert_after: Duration,
    /// How often the balance is asked for; none = never.
    pub balance_every: Option<Duration>,
    /// Below so many tracks the balance is announced as low; none = never.
    pub balance_low: Option<f64>,
}

impl Settings {
    /// An account with the documented defaults.
    pub fn new(user_id: u64, user_key: SecretString) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            common: Common { settle: MINUTE, resubmit: true, pause_on: Vec::new(), loopback: false },
            user_id,
            user_key,
            content_type: "application/json; charset=utf-8".to_owned(),
            unknown_after: 10,
            poll_first: 15 * MINUTE,
            poll_factor: 2.0,
            poll_ceiling: 6 * HOUR,
            poll_at_counter: HOUR,
            batch_wait: Duration::from_secs(30),
            grace: 7 * 24 * HOUR,
            reserve: false,
            reserve_after: 5 * MINUTE,
            alert_after: 20 * MINUTE,
            balance_every: Some(6 * HOUR),
            // One full request.
            balance_low: Some(100.0),
        }
    }
}

/// The driver of one account.
#[derive(Debug)]
pub struct Rlab {
    settings: Settings,
}

impl Rlab {
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// An item for every different track, in the order of the jobs: of two jobs on one track the first speaks for both.
    fn items(&self, call: Call, jobs: &[JobView<'_>], item: impl Fn(&str, &JobView<'_>) -> Value) -> Vec<Value> {
        let mut known = HashSet::new();
        let tracks = jobs.iter().map(|view| (track_of(view, call), view));
        tracks.filter(|(track, _)| known.insert(track.clone())).map(|(track, view)| item(&track, view)).collect()
    }

    fn track_request(&self, call: Call, jobs: &[JobView<'_>]) -> Request {
        let test_mode = jobs.first().is_some_and(is_test);
        let bare = || self.items(call, jobs, |track, _| wire::bare_item(track));
        let (operation, items) = match call {
            Call::Submit => (Operation::Add, self.items(call, jobs, |track, view| wire::full_item(track, view.params))),
            Call::Poll | Call::LookUp => (Operation::Get, bare()),
            Call::Cancel if jobs.first().is_some_and(|view| tracks::checks_deletion(view.job)) => {
                (Operation::Get, bare())
            }
            Call::Cancel => (Operation::Delete, bare()),
        };
        wire::request(&self.settings, operation, items, test_mode)
    }

    fn one_shot_request(&self, view: &JobView<'_>) -> Request {
        let tracks = tracks_of(view.params);
        let bare = || tracks.iter().map(|track| wire::bare_item(track)).collect();
        let (operation, items) = match view.job.kind.as_str() {
            "rlab.info" => (Operation::Get, bare()),
            "rlab.delete" => (Operation::Delete, bare()),
            "rlab.update" => {
                (Operation::Update, tracks.iter().map(|track| wire::full_item(track, view.params)).collect())
            }
            _ => (Operation::UserInfo, Vec::new()),
        };
        wire::request(&self.settings, operation, items, is_test(view))
    }
}

fn is_track(view: &JobView<'_>) -> bool {
    view.job.kind == TRACK
}

fn is_test(view: &JobView<'_>) -> bool {
    view.params.get("test_mode") == Some(&Value::Bool(true))
}

/// The number under which the vendor has, or is to have, this parcel. An operator may have adopted it under another one.
fn track_of(view: &JobView<'_>, call: Call) -> String {
    let adopted = view.job.remote_id.as_deref().filter(|_| matches!(call, Call::Poll | Call::Cancel));
    match adopted {
        Some(track) => track_info::same(track),
        None => lenient::string_field(view.params, "track").unwrap_or_default(),
    }
}

/// The numbers that a one-shot speaks of.
fn tracks_of(params: &Value) -> Vec<String> {
    match params.get("tracks").and_then(Value::as_array) {
        Some(tracks) => tracks.iter().filter_map(lenient::string).collect(),
        None => lenient::string_field(params, "track").into_iter().collect(),
    }
}

impl Vendor for Rlab {
    fn kinds(&self) -> &'static [KindSpec] {
        KINDS
    }

    fn check(&self, kind: &str, params: &Value) -> Result<Checked, Vec<ParamProblem>> {
        match kind {
            TRACK => params::track(params),
            "rlab.info" | "rlab.delete" => params::list(params),
            "rlab.update" => params::update(params),
            "rlab.user_info" => params::none(params),
            _ => Err(vec![ParamProblem::at("", format!("R-Lab has no kind {kind:?}"))]),
        }
    }

    fn widest_batch(&self) -> usize {
        MAX_TRACKS
    }

    fn batch(&self, view: &JobView<'_>, call: Call) -> Batch {
        if !is_track(view) {
            return Batch::SINGLE;
        }
        let test = is_test(view);
        let (key, max) = match call {
            Call::Submit => match (Memo::of(view.job).adding, test) {
                (Adding::Alone | Adding::AloneAgain, _) => return Batch::SINGLE,
                (Adding::Apart, false) => ("add_apart", MAX_TRACKS),
                (Adding::Apart, true) => ("add_test_apart", MAX_TRACKS),
                (Adding::Usual, false) => ("add", MAX_TRACKS),
                (Adding::Usual, true) => ("add_test", MAX_TRACKS),
            },
            Call::Poll | Call::LookUp if test => ("get_test", MAX_TRACKS),
            Call::Poll | Call::LookUp => ("get", MAX_TRACKS),
            Call::Cancel if tracks::deletes_alone(view.job) => return Batch::SINGLE,
            Call::Cancel if tracks::checks_deletion(view.job) => ("del_check", MAX_TRACKS),
            Call::Cancel if test => ("del_test", MAX_TRACKS),
            Call::Cancel => ("del", MAX_TRACKS),
        };
        let wait = match call {
            // Somebody waits to hear whether it was paid; those that lost one answer together are due together anyway.
            Call::LookUp => self.settings.batch_wait.min(Duration::from_secs(1)),
            Call::Submit | Call::Poll | Call::Cancel => self.settings.batch_wait,
        };
        Batch { key, max, wait }
    }

    fn request(&self, call: Call, jobs: &[JobView<'_>], _now: Timestamp) -> Request {
        match jobs.first().filter(|view| !is_track(view)) {
            Some(view) => self.one_shot_request(view),
            None => self.track_request(call, jobs),
        }
    }

    fn pace(&self, call: Call, view: &JobView<'_>, now: Timestamp) -> Timestamp {
        if call == Call::Poll && is_track(view) {
            // The poll that begins now is not yet counted.
            let polls = view.job.polls.saturating_add(1);
            return cadence::next_poll(&self.settings, view.job, &Memo::of(view.job), polls, now);
        }
        now + Growth::ERRORS.first
    }

    fn read(&self, call: Call, jobs: &[JobView<'_>], answer: &Answer, now: Timestamp) -> Reading {
        match jobs.first().filter(|view| !is_track(view)) {
            Some(view) => oneshots::read(self, view, answer, now),
            None => tracks::read(self, call, jobs, answer, now),
        }
    }

    fn account_request(&self, _call: AccountCall, _now: Timestamp) -> Option<Request> {
        Some(wire::request(&self.settings, Operation::UserInfo, Vec::new(), false))
    }

    fn read_account(&self, _call: AccountCall, answer: &Answer, now: Timestamp) -> AccountReading {
        oneshots::read_account(self, answer, now)
    }

    fn balance_every(&self) -> Option<Duration> {
        self.settings.balance_every
    }

    fn balance_low(&self) -> Option<f64> {
        self.settings.balance_low
    }
}

#[cfg(test)]
mod tests;
