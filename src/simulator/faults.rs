//! What goes wrong, when, as a script: the same plan and seed give the same run.

use serde::{Deserialize, Deserializer, Serialize};

use super::call::{Host, Reading, Refusal};
use super::text;

/// Rules in order; the first one that applies to a call decides what befalls it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    #[serde(default)]
    pub rules: Vec<FaultRule>,
}

/// Calls are counted per rule, over those that match its vendor, op and key, from when the plan was put in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// `tronk`, `alta`, `rlab`, `rlab-reserve`, `vagvin`, or `*`.
    #[serde(default = "anything")]
    pub vendor: String,
    /// The vendor's own name of the call, or `submit`, `poll`, `list`, `other`, or `*`.
    #[serde(default = "anything")]
    pub op: String,
    /// Which calls, counted from 1. With `first` as well, either is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<Vec<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Only calls about this phone, VIN, track, hash, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of the calls that remain, this share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// An object with `kind`, or the bare name of a kind that needs nothing more.
    #[serde(deserialize_with = "name_or_object")]
    pub then: Fault,
}

/// `book` says whether the vendor did what was asked (and billed it) although its answer is of no use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Reads the request and closes the connection; nothing is booked.
    DropBefore {},
    /// Books, then closes the connection without a word.
    DropAfter {},
    /// Closes the connection at once and books later, on the simulator's clock, when the client is long gone.
    LateBooking {
        after_ms: u64,
    },
    Status {
        code: u16,
        #[serde(default)]
        body: String,
        #[serde(default)]
        content_type: Option<String>,
        /// Seconds, or an HTTP date.
        #[serde(default)]
        retry_after: Option<String>,
        #[serde(default)]
        book: bool,
    },
    /// A page for people, with status 200.
    Html {
        #[serde(default)]
        book: bool,
    },
    /// The first half of the vendor's answer: Content-Length promises all of it, unless `clean`, when only the JSON is cut.
    Truncated {
        #[serde(default = "yes")]
        book: bool,
        #[serde(default)]
        clean: bool,
    },
    Empty {
        #[serde(default)]
        book: bool,
    },
    /// Books at once, answers rightly, but late: on the real clock, as time-outs of sockets are.
    Slow {
        ms: u64,
    },
    /// Never answers.
    Hang {
        #[serde(default)]
        book: bool,
    },
    Huge {
        bytes: u64,
        #[serde(default)]
        book: bool,
    },
    /// So many zeros once unpacked.
    GzipBomb {
        bytes: u64,
        #[serde(default)]
        book: bool,
    },
    Redirect {
        /// The same page when not given, so that a client that follows is seen to come twice.
        #[serde(default)]
        location: Option<String>,
        #[serde(default = "temporary_redirect")]
        code: u16,
        #[serde(default)]
        book: bool,
    },
    BadKey {},
    AccessEnded {},
    NoMoney {},
    /// Bytes that are no text in any encoding.
    Garbage {
        #[serde(default)]
        book: bool,
    },
    /// The right answer behind a UTF-8 byte order mark.
    Bom {},
    /// Sound JSON of another kind.
    WrongShape {
        #[serde(default)]
        book: bool,
    },
    /// Resets the connection.
    Rst {
        #[serde(default)]
        book: bool,
    },
}

/// Whether, and when, a call that meets a fault is carried out all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Done,
    DoneLater { after_ms: u64 },
    Undone,
}

const CLASSES: [&str; 4] = ["submit", "poll", "list", "other"];
/// What the vendors call their calls; a rule for anything else would wait in vain.
const OPS: [&str; 21] = [
    "setqueue",
    "checkqueue",
    "getresult",
    "create",
    "check",
    "result",
    "file",
    "test_secret",
    "add",
    "show",
    "cancel_track",
    "track_list",
    "carr_list",
    "balance",
    "addtrack",
    "deltrack",
    "gettrackinfo",
    "getuserinfo",
    "updatetrack",
    "processing_queue",
    "get_balance",
];

fn anything() -> String {
    "*".to_owned()
}

fn yes() -> bool {
    true
}

fn temporary_redirect() -> u16 {
    307
}

fn name_or_object<'de, D: Deserializer<'de>>(from: D) -> Result<Fault, D::Error> {
    let mut value = serde_json::Value::deserialize(from)?;
    if value.is_string() {
        value = serde_json::json!({ "kind": value });
    }
    Fault::deserialize(value).map_err(serde::de::Error::custom)
}

impl FaultPlan {
    pub fn one(rule: FaultRule) -> Self {
        Self { rules: vec![rule] }
    }

    /// Says what no call could ever match or no server could ever answer.
    pub fn check(&self) -> Result<(), String> {
        self.rules
            .iter()
            .enumerate()
            .try_for_each(|(at, rule)| rule.check().map_err(|why| format!("rules[{at}]: {why}")))
    }
}

impl FaultRule {
    /// `then` befalls every call of that vendor and op until it is narrowed down.
    pub fn on(vendor: &str, op: &str, then: Fault) -> Self {
        let (vendor, op) = (vendor.to_owned(), op.to_owned());
        Self { vendor, op, nth: None, first: None, key: None, probability: None, then }
    }

    #[must_use]
    pub fn nth(mut self, calls: impl Into<Vec<u64>>) -> Self {
        self.nth = Some(calls.into());
        self
    }

    #[must_use]
    pub fn first(mut self, calls: u64) -> Self {
        self.first = Some(calls);
        self
    }

    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    #[must_use]
    pub fn probability(mut self, share: f64) -> Self {
        self.probability = Some(share);
        self
    }

    fn check(&self) -> Result<(), String> {
        if self.vendor != "*" && !Host::ALL.iter().any(|host| host.name() == self.vendor) {
            return Err(format!("there is no vendor {:?}", self.vendor));
        }
        if self.op != "*" && !CLASSES.iter().chain(&OPS).any(|op| *op == self.op) {
            return Err(format!("no vendor has a call {:?}", self.op));
        }
        if self.probability.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err("`probability` lies between 0 and 1".to_owned());
        }
        match self.then {
            Fault::Status { code, .. } | Fault::Redirect { code, .. } if !(200..=599).contains(&code) => {
                Err(format!("no server answers with status {code}"))
            }
            _ => Ok(()),
        }
    }

    fn matches(&self, host: Host, reading: &Reading) -> bool {
        let op = self.op == "*" || self.op == reading.op || self.op == reading.class.name();
        let vendor = self.vendor == "*" || self.vendor == host.name();
        vendor && op && self.key.as_ref().is_none_or(|key| reading.keys.contains(key))
    }

    fn wants(&self, call_number: u64) -> bool {
        if self.nth.is_none() && self.first.is_none() {
            return true;
        }
        self.nth.as_ref().is_some_and(|calls| calls.contains(&call_number))
            || self.first.is_some_and(|calls| call_number <= calls)
    }
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Fault::DropBefore {} => "drop_before",
            Fault::DropAfter {} => "drop_after",
            Fault::LateBooking { .. } => "late_booking",
            Fault::Status { .. } => "status",
            Fault::Html { .. } => "html",
            Fault::Truncated { .. } => "truncated",
            Fault::Empty { .. } => "empty",
            Fault::Slow { .. } => "slow",
            Fault::Hang { .. } => "hang",
            Fault::Huge { .. } => "huge",
            Fault::GzipBomb { .. } => "gzip_bomb",
            Fault::Redirect { .. } => "redirect",
            Fault::BadKey {} => "bad_key",
            Fault::AccessEnded {} => "access_ended",
            Fault::NoMoney {} => "no_money",
            Fault::Garbage { .. } => "garbage",
            Fault::Bom {} => "bom",
            Fault::WrongShape { .. } => "wrong_shape",
            Fault::Rst { .. } => "rst",
        }
    }

    pub fn effect(&self) -> Effect {
        match *self {
            Fault::DropAfter {} | Fault::Slow { .. } | Fault::Bom {} => Effect::Done,
            Fault::DropBefore {} | Fault::BadKey {} | Fault::AccessEnded {} | Fault::NoMoney {} => Effect::Undone,
            Fault::LateBooking { after_ms } => Effect::DoneLater { after_ms },
            Fault::Status { book, .. }
            | Fault::Html { book }
            | Fault::Truncated { book, .. }
            | Fault::Empty { book }
            | Fault::Hang { book }
            | Fault::Huge { book, .. }
            | Fault::GzipBomb { book, .. }
            | Fault::Redirect { book, .. }
            | Fault::Garbage { book }
            | Fault::WrongShape { book }
            | Fault::Rst { book } => {
                if book {
                    Effect::Done
                } else {
                    Effect::Undone
                }
            }
        }
    }

    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Fault::BadKey {} => Some(Refusal::BadKey),
            Fault::AccessEnded {} => Some(Refusal::AccessEnded),
            Fault::NoMoney {} => Some(Refusal::NoMoney),
            _ => None,
        }
    }
}

/// A plan under way: how often each rule has been looked at.
#[derive(Debug)]
pub struct FaultBook {
    plan: FaultPlan,
    counts: Vec<u64>,
    seed: u64,
}

impl FaultBook {
    pub fn new(plan: FaultPlan, seed: u64) -> Self {
        let counts = vec![0; plan.rules.len()];
        Self { plan, counts, seed }
    }

    /// Puts another plan in place and counts from the beginning.
    pub fn replace(&mut self, plan: FaultPlan) {
        *self = Self::new(plan, self.seed);
    }

    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Counts the call with every rule that matches it, and gives the fault of the first that applies.
    pub fn befall(&mut self, host: Host, reading: &Reading) -> Option<Fault> {
        let mut chosen = None;
        for (at, (rule, count)) in self.plan.rules.iter().zip(&mut self.counts).enumerate() {
            if !rule.matches(host, reading) {
                continue;
            }
            *count += 1;
            let lucky = rule.probability.is_none_or(|share| draw(self.seed, at, *count) < share);
            if chosen.is_none() && lucky && rule.wants(*count) {
                chosen = Some(rule.then.clone());
            }
        }
        chosen
    }
}

/// Depends on the rule and the number of the call alone: neither threads nor other rules can change it.
fn draw(seed: u64, rule: usize, call_number: u64) -> f64 {
    let bits = text::chance(seed, &format!("fault {rule} {call_number}"));
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::call::{OpClass, Params};

    fn reading(op: &'static str, class: OpClass, key: &str) -> Reading {
        let (params, json) = (Params::default(), serde_json::Value::Null);
        Reading { op: op.into(), class, keys: vec![key.to_owned()], params, json }
    }

    #[test]
    fn a_plan_reads_bare_names_and_objects_and_refuses_misspellings() {
        let text = r#"{"rules":[{"vendor":"tronk","op":"submit","nth":[2],"then":"drop_after"},
            {"then":{"kind":"status","code":503,"retry_after":"7","book":true}}]}"#;
        let plan: FaultPlan = serde_json::from_str(text).unwrap();
        assert_eq!(plan.rules[0].then, Fault::DropAfter {});
        assert_eq!(plan.rules[1].vendor, "*");
        assert_eq!(plan.rules[1].then.effect(), Effect::Done);
        let again: FaultPlan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
        assert_eq!(plan, again);
        for wrong in [r#"{"rules":[{"then":"drop_afterr"}]}"#, r#"{"rules":[{"nht":[1],"then":"rst"}]}"#] {
            assert!(serde_json::from_str::<FaultPlan>(wrong).is_err(), "{wrong}");
        }
        let nowhere = FaultPlan::one(FaultRule::on("trnok", "*", Fault::Bom {}));
        assert!(nowhere.check().unwrap_err().contains("trnok"));
    }

    #[test]
    fn a_rule_counts_only_the_calls_that_are_its_own() {
        let rule = FaultRule::on("tronk", "submit", Fault::DropBefore {}).key("7").nth([2]);
        let mut book = FaultBook::new(FaultPlan::one(rule), 1);
        let mine = reading("setqueue", OpClass::Submit, "7");
        assert_eq!(book.befall(Host::Tronk, &mine), None);
        assert_eq!(book.befall(Host::Tronk, &reading("setqueue", OpClass::Submit, "8")), None);
        assert_eq!(book.befall(Host::Tronk, &reading("checkqueue", OpClass::Poll, "7")), None);
        assert_eq!(book.befall(Host::Tronk, &mine), Some(Fault::DropBefore {}));
        assert_eq!(book.befall(Host::Tronk, &mine), None);
    }

    #[test]
    fn chances_are_the_same_for_the_same_seed() {
        let plan = FaultPlan::one(FaultRule::on("*", "*", Fault::Bom {}).probability(0.25));
        let run = |seed| {
            let mut book = FaultBook::new(plan.clone(), seed);
            (0..400)
                .map(|_| book.befall(Host::Alta, &reading("show", OpClass::Poll, "h")).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        let hits = run(3).into_iter().filter(|hit| *hit).count();
        assert!((70..130).contains(&hits), "{hits} of 400");
    }
}
