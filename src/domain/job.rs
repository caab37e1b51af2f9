//! A job: one request to a vendor, carried to its final answer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::repeat::Asked;

/// The number that the socket, the CLI and the store use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a job stands. The words are public: they stand in the mailbox, on the socket and in the CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Will be submitted when it is due and the account has room.
    Queued,
    /// The intent is on disk; the request may be on its way.
    Submitting,
    /// The vendor took it; the next look has a due time.
    Waiting,
    /// The request may have reached the vendor, and nobody knows. Never sent again by itself.
    InDoubt,
    Succeeded,
    Failed,
    Cancelled,
    Expired,
    /// The row could not be understood; nothing was sent.
    Rejected,
}

impl State {
    pub const ALL: [State; 9] = [
        State::Queued,
        State::Submitting,
        State::Waiting,
        State::InDoubt,
        State::Succeeded,
        State::Failed,
        State::Cancelled,
        State::Expired,
        State::Rejected,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Submitting => "submitting",
            State::Waiting => "waiting",
            State::InDoubt => "in_doubt",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
            State::Rejected => "rejected",
        }
    }

    /// The number in the store. Unfinished states are below [`State::FIRST_FINAL`], which the partial indexes repeat.
    pub const fn code(self) -> i64 {
        match self {
            State::Queued => 0,
            State::Submitting => 1,
            State::Waiting => 2,
            State::InDoubt => 3,
            State::Succeeded => 4,
            State::Failed => 5,
            State::Cancelled => 6,
            State::Expired => 7,
            State::Rejected => 8,
        }
    }

    pub const FIRST_FINAL: i64 = 4;

    pub fn from_code(code: i64) -> Option<State> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    pub const fn is_final(self) -> bool {
        self.code() >= Self::FIRST_FINAL
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no state is called {0:?}; the states are queued, submitting, waiting, in_doubt, succeeded, failed, cancelled, expired, rejected"
)]
pub struct UnknownState(pub String);

/// What kind of request this is, as far as its life is concerned. Set from the vendor's table when the job is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Traits {
    /// Sending it twice costs nothing and does no harm: a lost answer is simply asked for again.
    pub repeatable: bool,
    /// The vendor can be asked whether it has the request.
    pub look_up: bool,
    /// The vendor can be told that the job is cancelled.
    pub tell_cancel: bool,
    /// Observes for days or weeks instead of ending with one answer.
    pub tracker: bool,
}

impl Traits {
    pub const fn bits(self) -> i64 {
        self.repeatable as i64
            | (self.look_up as i64) << 1
            | (self.tell_cancel as i64) << 2
            | (self.tracker as i64) << 3
    }

    pub const fn from_bits(bits: i64) -> Traits {
        Traits { repeatable: bits & 1 != 0, look_up: bits & 2 != 0, tell_cancel: bits & 4 != 0, tracker: bits & 8 != 0 }
    }
}

/// The next call that a due job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Starts the work at the vendor, and often bills it.
    Submit,
    /// Asks how it stands.
    Poll,
    /// Asks whether the vendor has a request whose answer was lost.
    LookUp,
    /// Tells the vendor that the job is cancelled.
    Cancel,
}

impl Call {
    pub const ALL: [Call; 4] = [Call::Submit, Call::Poll, Call::LookUp, Call::Cancel];

    pub const fn as_str(self) -> &'static str {
        match self {
            Call::Submit => "submit",
            Call::Poll => "poll",
            Call::LookUp => "look_up",
            Call::Cancel => "cancel",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A stored code and sentence: why a job ended, waits or is in doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A stable word for programs, such as `vendor_refused`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Reason {
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// The hot row of a job: everything that its life depends on. Its params, results and answers lie apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    /// `vendor.operation`.
    pub kind: String,
    pub account: String,
    pub traits: Traits,
    pub state: State,
    /// 0 first … 9.
    pub priority: u8,
    /// When the engine touches it next; none while nothing is to be done by itself.
    pub due_at: Option<Timestamp>,
    pub deadline: Option<Timestamp>,
    /// A stored wish, carried out as soon as the state allows.
    pub cancel_requested: bool,
    pub dedupe_key: Option<String>,
    pub tag: Option<String>,
    /// What the vendor calls it.
    pub remote_id: Option<String>,
    /// The token of the newest attempt to submit; an open attempt while `submitting` or `in_doubt`.
    pub attempt: Option<String>,
    /// Goes up when a call begins and when it ends. The answer to an older call must miss, and so must the same answer twice.
    pub turn: u32,
    /// Paid.
    pub submissions: u32,
    pub polls: u32,
    /// Consecutive.
    pub errors: u32,
    /// Answers in a row that were the vendor's own errors of unknown meaning; lost answers between them do not count.
    pub unknown_errors: u32,
    /// Look-ups that were complete and found nothing since the job came into doubt.
    pub absences: u32,
    /// When the request whose answer is unknown may last have been on its way; look-ups prove nothing before `settle` after it.
    pub doubt_since: Option<Timestamp>,
    /// The vendor driver's own small notes, JSON.
    pub memo: Option<String>,
    /// Fingerprint of what was last observed; an equal answer is no news.
    pub seen: Option<String>,
    /// Why it failed, is in doubt, or had to go back.
    pub reason: Option<Reason>,
    pub created_at: Timestamp,
    /// When the vendor took it.
    pub submitted_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// The token of the mailbox row that shows it.
    pub mailbox_uid: Option<String>,
    pub retry_of: Option<JobId>,
    /// When the vendor was last heard about it, as it was known when the newest look began; see [`Job::last_observed`].
    pub observed_at: Option<Timestamp>,
    /// Since when its last good look is announced as too old.
    pub stale_since: Option<Timestamp>,
    /// The client's token, when the job was ordered with one at another door than the mailbox.
    pub uid: Option<String>,
}

impl Job {
    /// When the vendor last gave a good answer about it, or took it.
    ///
    /// A look that brings nothing new is not written, so while nothing is wrong the begin of the newest look stands for its
    /// answer; once a look has failed, what was known before it counts.
    pub fn last_observed(&self) -> Timestamp {
        let known = self.observed_at.or(self.submitted_at).unwrap_or(self.created_at);
        let is_well = self.errors == 0 && self.reason.is_none() && self.stale_since.is_none();
        if is_well { known.max(self.updated_at) } else { known }
    }

    /// The vendor's part of `vendor.operation`.
    pub fn vendor(&self) -> &str {
        self.kind.split_once('.').map_or(self.kind.as_str(), |(vendor, _)| vendor)
    }

    /// The call that this job needs next, were it due now; none when it needs no call.
    pub fn next_call(&self) -> Option<Call> {
        match self.state {
            State::Queued => Some(Call::Submit),
            State::Waiting if self.cancel_requested && self.traits.tell_cancel => Some(Call::Cancel),
            State::Waiting => Some(Call::Poll),
            State::InDoubt if self.traits.look_up => Some(Call::LookUp),
            State::InDoubt | State::Submitting => None,
            State::Succeeded | State::Failed | State::Cancelled | State::Expired | State::Rejected => None,
        }
    }
}

/// A job as it is handed in, understood and checked, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub kind: String,
    pub account: String,
    pub traits: Traits,
    /// JSON object, as the vendor's driver normalised it.
    pub params: String,
    pub priority: u8,
    pub not_before: Option<Timestamp>,
    pub deadline: Option<Timestamp>,
    pub dedupe_key: Option<String>,
    pub tag: Option<String>,
    /// The row's token, when the job came through the mailbox.
    pub mailbox_uid: Option<String>,
    pub retry_of: Option<JobId>,
    /// What tells it from a new order when it is asked for again.
    pub asked: Asked,
    /// What the vendor calls it, when nothing has to be submitted: the job starts `waiting`.
    pub follow: Option<String>,
}

impl NewJob {
    /// The client's token, whichever door it came through.
    pub fn uid(&self) -> Option<&str> {
        self.mailbox_uid.as_deref().or(self.asked.uid.as_deref())
    }
}
