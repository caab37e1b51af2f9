//! Every input there is, by name.

use std::time::Duration;

use opros::domain::state::{Begin, End, Input, Observation, Outcome, Resolution};
use opros::domain::{Call, Job, Reason, Timestamp};

use super::NOW;

pub(crate) const LATER: Timestamp = Timestamp::from_millis(NOW.as_millis() + 60_000);

pub(crate) fn reason() -> Reason {
    Reason::new("why", "for a reason")
}

pub(crate) fn success() -> End {
    End::Success { result: "{}".into() }
}

pub(crate) fn failure() -> End {
    End::Failure { reason: reason(), result: None }
}

pub(crate) fn observation() -> Observation {
    Observation { fingerprint: "f".into(), data: "{}".into(), changes: serde_json::json!({}), raw: "{}".into() }
}

/// Every outcome of a call; those whose content matters stand here once for each.
pub(crate) fn every_outcome() -> Vec<Outcome> {
    let observed = |end| Outcome::Observed { observation: observation(), memo: None, next_at: LATER, end };
    vec![
        Outcome::NotTaken { reason: reason(), again_at: None },
        Outcome::AccountHeld { reason: reason() },
        Outcome::Unclear { reason: reason() },
        Outcome::Accepted { remote_id: Some("1".into()), memo: None, next_at: LATER },
        Outcome::Unchanged { memo: None, next_at: Some(LATER) },
        Outcome::Unchanged { memo: None, next_at: None },
        observed(None),
        observed(Some(Box::new(success()))),
        Outcome::Progressed { partial: None, memo: None, next_at: LATER },
        Outcome::Ended(success()),
        Outcome::Ended(failure()),
        Outcome::Found { remote_id: "1".into(), memo: None, next_at: LATER },
        Outcome::Absent { settle: Duration::from_secs(60), resubmit: false, memo: None },
        Outcome::Absent { settle: Duration::from_secs(60), resubmit: true, memo: Some("notes".into()) },
        Outcome::Told { refused: None },
        Outcome::Told { refused: Some(reason()) },
        Outcome::UnknownError { reason: reason() },
        Outcome::NotMade { due_at: NOW },
    ]
}

const OUTCOMES: [&str; 18] = [
    "not taken",
    "account held",
    "unclear",
    "accepted",
    "unchanged",
    "nothing left to ask",
    "observed",
    "observed, the last",
    "progressed",
    "success",
    "failure",
    "found",
    "absent twice",
    "absent twice, resubmit",
    "told",
    "told, refused",
    "unknown error",
    "not made",
];

type Make = Box<dyn Fn(&Job) -> Input>;

pub(crate) fn every_input() -> Vec<(&'static str, Make)> {
    let mut all: Vec<(&'static str, Make)> = Vec::new();
    let mut add = |name: &'static str, make: Make| all.push((name, make));
    add("begin submit", Box::new(|_| submit("token")));
    for (name, call) in [
        ("begin submit as a free call", Call::Submit),
        ("begin poll", Call::Poll),
        ("begin look-up", Call::LookUp),
        ("begin cancel", Call::Cancel),
    ] {
        add(name, Box::new(move |_| Input::Begin(Begin::Free { call, next_at: LATER })));
    }
    for call in Call::ALL {
        for (what, outcome) in OUTCOMES.into_iter().zip(every_outcome()) {
            // Names live as long as the test run: there are 72 of them.
            let name: &'static str = format!("{call}: {what}").leak();
            add(name, Box::new(move |job| Input::End { turn: job.turn, call, outcome: outcome.clone() }));
        }
    }
    for end in [success(), failure()] {
        let name = if matches!(end, End::Success { .. }) { "delivered success" } else { "delivered failure" };
        add(name, Box::new(move |_| Input::Delivered { remote_id: Some("2".into()), end: end.clone() }));
    }
    add("recover", Box::new(|_| Input::Recover));
    add("restored", Box::new(|_| Input::Restored { token: "token".into() }));
    add("expire", Box::new(|_| Input::Expire));
    add("give up", Box::new(|_| Input::GiveUp { reason: reason() }));
    add("cancel", Box::new(|_| Input::Cancel));
    add("resolve: resubmit", Box::new(|_| Input::Resolve(Resolution::Resubmit)));
    add("resolve: adopt", Box::new(|_| Input::Resolve(Resolution::Adopt("2".into()))));
    add("resolve: fail", Box::new(|_| Input::Resolve(Resolution::Fail)));
    add("wake", Box::new(|_| Input::Wake));
    add("postpone", Box::new(|_| Input::Postpone { until: LATER }));
    add("hold", Box::new(|_| Input::Hold { reason: reason() }));
    add(
        "quarantine",
        Box::new(|_| Input::Hold { reason: Reason::new(opros::domain::state::QUARANTINED, "for a reason") }),
    );
    add("release", Box::new(|_| Input::Release));
    all
}

pub(crate) fn submit(token: &str) -> Input {
    Input::Begin(Begin::Submit { token: token.into(), request_hash: "hash".into() })
}
