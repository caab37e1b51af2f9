//! What the driver notes on a tracked job between two calls.

use serde::{Deserialize, Serialize};

use crate::domain::{Job, Reason, Timestamp};

/// Kept small: five thousand of these are rewritten while reports come in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memo {
    /// Which of the job's hashes `show` is due for; none: `track_list` is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show: Option<usize>,
    /// How each hash stood in the list when its newest `show` was decided on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Option<String>>,
    /// The list's date of the report that those marks belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// The newest report that was read.
    #[serde(skip_serializing_if = "is_zero")]
    pub reported: Timestamp,
    /// When the newest `show` had been answered.
    #[serde(skip_serializing_if = "is_zero")]
    pub shown: Timestamp,
    /// The list is of no use to this job before then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_from: Option<Timestamp>,
    /// The first records came.
    #[serde(skip_serializing_if = "is_false")]
    pub begun: bool,
    /// The list had it, and on track.
    #[serde(skip_serializing_if = "is_false")]
    pub listed: bool,
    /// A vehicle was on track.
    #[serde(skip_serializing_if = "is_false")]
    pub rolled: bool,
    /// A complete list does not name it any more.
    #[serde(skip_serializing_if = "is_false")]
    pub gone: bool,
    /// The round of `show` that is due is the last, and this is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Ending>,
    /// Hashes (by position) that the vendor kept refusing to show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mute: Vec<usize>,
    /// How many of the hashes the vendor was told to cancel, and what it said against it.
    #[serde(skip_serializing_if = "is_none_told")]
    pub told: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objection: Option<Reason>,
}

/// Why a tracked job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Untracked,
    Arrived,
    FirstReport,
    Until,
}

impl Memo {
    /// Notes that cannot be read are no notes: the job starts over with the list, which costs nothing.
    pub fn of(job: &Job) -> Self {
        job.memo.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// The text, if it is not what stands on the job already.
    pub fn news(&self, job: &Job) -> Option<String> {
        if *self == Self::of(job) { None } else { self.text() }
    }
}

fn is_zero(at: &Timestamp) -> bool {
    *at == Timestamp::MIN
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_none_told(told: &usize) -> bool {
    *told == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_memo_is_two_characters_and_a_full_one_comes_back() {
        assert_eq!(Memo::default().text().as_deref(), Some("{}"));
        let full = Memo {
            show: Some(1),
            marks: vec![Some("a".into()), None],
            modified: Some(Timestamp::from_millis(5)),
            last: Some(Ending::FirstReport),
            told: 1,
            objection: Some(Reason::new("a", "b")),
            ..Memo::default()
        };
        let text = full.text().unwrap();
        assert_eq!(serde_json::from_str::<Memo>(&text).unwrap(), full);
    }
}
