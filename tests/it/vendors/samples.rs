//! What the suite has to be told about each vendor: one line in [`open`].

use std::time::Duration;

use opros::vendors::registry::{self, Settings};
use opros::vendors::{Common, Vendor, alta, rlab, tronk, vagvin};
use secrecy::SecretString;
use serde_json::{Value, json};

/// Kinds of whose answer their vendor says nothing: design.md §11 takes any 2xx for an acceptance, and it is kept raw.
pub const ANSWER_UNKNOWN: &[&str] = &["vagvin.report", "vagvin.balance"];

/// Vendors of whose balance it is not known how it is written: a bare number may be one.
pub const BALANCE_UNKNOWN: &[&str] = &["vagvin"];

/// What is different in jobs of a kind that may share a request: two of them, beside the kind's own example.
pub fn others(kind: &str) -> [Value; 2] {
    match kind {
        "alta.track" => [["AMFU8899067"], ["54676515"]].map(|wagons| json!({ "wagons": wagons })),
        "rlab.track" => ["19527937484546", "AB123456785RU"].map(|track| json!({ "track": track })),
        other => panic!("jobs of {other} travel together and have no line here"),
    }
}

/// The driver of an account with nothing but this secret in every secret setting.
pub fn open(vendor: &str, secret: &str) -> Box<dyn Vendor> {
    let secret = SecretString::from(secret);
    registry::open(match vendor {
        "tronk" => Settings::Tronk(tronk::Settings::new(common(), secret)),
        "alta" => Settings::Alta(alta::Settings::new("login", "sa000000", secret)),
        "rlab" => Settings::Rlab(rlab::Settings::new(1, secret)),
        "vagvin" => Settings::Vagvin(vagvin::Settings::new(common(), secret)),
        other => panic!("{other} is in the registry and has no line here"),
    })
}

pub fn common() -> Common {
    Common { settle: Duration::from_secs(60), resubmit: false, pause_on: Vec::new(), loopback: false }
}
