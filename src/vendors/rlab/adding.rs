//! How a track is added again that the vendor answered about and, as its list shows, did not take.
//!
//! Every such answer brings the track one stage further, and no stage leads back. So a track that the vendor cannot take is
//! sent a few times at most, whatever the vendor answers: it fails alone with the vendor's words, or is left to an operator.

use serde::{Deserialize, Serialize};

use crate::domain::Job;

/// "Part of it was added", and the vendor does not say which.
pub const PARTLY_ADDED: &str = "partial";
/// A success that contradicts itself.
pub const CONTRADICTION: &str = "contradiction";
/// The words sound as if the vendor had the track.
pub const ALREADY_THERE: &str = "already_there";
/// The whole request was refused for the sake of one of its tracks.
pub const REFUSED: &str = "vendor_refused";

/// Whole answers that cannot be read: a track that the vendor stumbles over may be why, or an outage.
const UNREADABLE: [&str; 5] = ["empty_answer", "html_answer", "unreadable_answer", "wrong_shape", "driver_panicked"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adding {
    /// With whatever else is due.
    #[default]
    Usual,
    /// With others that shared an unreadable answer, so that new tracks do not share the next one.
    Apart,
    /// In a request of its own: what is answered is about this track.
    Alone,
    /// Likewise, and the vendor's words had once sounded as if it had the track.
    AloneAgain,
}

impl Adding {
    // The signature is serde's.
    pub fn is_usual(&self) -> bool {
        *self == Adding::Usual
    }

    pub fn is_alone(self) -> bool {
        self >= Adding::Alone
    }

    /// How to add a track that is absent although it was sent; none when there is no further stage. An answer that never
    /// came says nothing about the track and changes nothing.
    pub fn after_absence(self, doubted: &Job) -> Option<Adding> {
        let code = doubted.reason.as_ref().map_or("", |reason| reason.code.as_str());
        let next = match code {
            ALREADY_THERE => Adding::AloneAgain,
            PARTLY_ADDED | CONTRADICTION | REFUSED => Adding::Alone,
            code if UNREADABLE.contains(&code) && self == Adding::Usual => Adding::Apart,
            code if UNREADABLE.contains(&code) => Adding::Alone,
            _ => return Some(self),
        };
        (next > self).then_some(next)
    }
}

#[cfg(test)]
#[path = "adding_tests.rs"]
mod tests;
