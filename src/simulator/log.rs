//! What was asked, how often, and where manners were broken.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use serde::Serialize;

use super::call::{Call, Host, OpClass, Reading};
use super::world::lock;
use crate::domain::Timestamp;

/// Enough for every test that reads the log; with R-Lab's batches a request can name a hundred keys, so keys count.
const MOST_REQUESTS: usize = 100_000;
const MOST_KEYS: usize = 400_000;
const MOST_VIOLATIONS: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeenRequest {
    pub n: u64,
    pub at: Timestamp,
    /// The host: `rlab` and `rlab-reserve` are told apart here.
    pub vendor: &'static str,
    pub op: Cow<'static, str>,
    pub class: OpClass,
    pub keys: Vec<String>,
    /// Which fault befell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    pub at: Timestamp,
    pub vendor: &'static str,
    pub op: Cow<'static, str>,
    pub key: String,
    pub what: String,
    pub request_id: u64,
}

#[derive(Debug)]
pub struct Log {
    keep: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: u64,
    requests: VecDeque<SeenRequest>,
    keys: usize,
    counts: BTreeMap<(&'static str, Cow<'static, str>), u64>,
    violations: VecDeque<Violation>,
}

impl Log {
    pub fn new(keep: bool) -> Self {
        Self { keep, inner: Mutex::default() }
    }

    /// Writes a request down and gives it its number.
    pub fn enter(&self, at: Timestamp, host: Host, reading: &Reading, fault: Option<&'static str>) -> u64 {
        let mut inner = lock(&self.inner);
        inner.seen += 1;
        let n = inner.seen;
        *inner.counts.entry((host.name(), reading.op.clone())).or_default() += 1;
        if self.keep {
            inner.keys += reading.keys.len();
            inner.requests.push_back(SeenRequest {
                n,
                at,
                vendor: host.name(),
                op: reading.op.clone(),
                class: reading.class,
                keys: reading.keys.clone(),
                fault,
            });
            inner.forget_the_oldest();
        }
        n
    }

    pub fn violation(&self, at: Timestamp, call: &Call, key: &str, what: String) {
        let mut inner = lock(&self.inner);
        if inner.violations.len() == MOST_VIOLATIONS {
            inner.violations.pop_front();
        }
        let (vendor, op) = (call.host.name(), call.op.clone());
        inner.violations.push_back(Violation { at, vendor, op, key: key.to_owned(), what, request_id: call.n });
    }

    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.inner).requests.iter().cloned().collect()
    }

    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.inner).violations.iter().cloned().collect()
    }

    /// How often each (vendor, op) was called, also when requests are not kept.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let inner = lock(&self.inner);
        inner.counts.iter().map(|((vendor, op), count)| (format!("{vendor}.{op}"), *count)).collect()
    }
}

impl Inner {
    fn forget_the_oldest(&mut self) {
        while self.requests.len() > MOST_REQUESTS || (self.keys > MOST_KEYS && self.requests.len() > 1) {
            let gone = self.requests.pop_front();
            self.keys -= gone.map_or(0, |request| request.keys.len());
        }
    }
}
