//! What the suite has to be told about each vendor: one line in [`open`].

use std::time::Duration;

use opros::vendors::registry::{self, Settings};
use opros::vendors::{Common, Vendor, rlab, tronk, vagvin};
use secrecy::SecretString;

/// Kinds of whose answer their vendor says nothing: design.md §11 takes any 2xx for an acceptance, and it is kept raw.
pub const ANSWER_UNKNOWN: &[&str] = &["vagvin.report", "vagvin.balance"];

/// The driver of an account with nothing but this secret in every secret setting.
pub fn open(vendor: &str, secret: &str) -> Box<dyn Vendor> {
    let secret = SecretString::from(secret);
    registry::open(match vendor {
        "tronk" => Settings::Tronk(tronk::Settings::new(common(), secret)),
        "rlab" => Settings::Rlab(rlab::Settings::new(1, secret)),
        "vagvin" => Settings::Vagvin(vagvin::Settings::new(common(), secret)),
        other => panic!("{other} is in the registry and has no line here"),
    })
}

pub fn common() -> Common {
    Common { settle: Duration::from_secs(60), resubmit: false, pause_on: Vec::new(), loopback: false }
}
