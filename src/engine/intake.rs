//! Understanding what is handed in: from a row or a request to a job that a driver has checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::repeat::{self, Asked};
use crate::domain::{NewJob, Timestamp};
use crate::vendors::{KindSpec, Vendor, registry};

/// The largest params that are taken, in bytes of JSON.
pub const LARGEST_PARAMS: usize = 64 << 10;
/// The longest `dedupe_key` and `tag`, in bytes.
pub const LONGEST_KEY: usize = 200;

/// A job as a client writes it: the insertable columns of the mailbox, the body of `POST /v1/jobs`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobRequest {
    pub kind: String,
    pub params: Value,
    pub account: Option<String>,
    pub dedupe_key: Option<String>,
    pub priority: Option<i64>,
    pub not_before: Option<Timestamp>,
    pub deadline: Option<Timestamp>,
    pub tag: Option<String>,
    /// The client's own token; a mailbox row has it apart.
    pub uid: Option<String>,
}

impl JobRequest {
    /// With what it is asked for, be it understood or not.
    pub fn asked(&self, uid: Option<&str>) -> Asked {
        Asked::order(uid, &self.kind, &self.params, self.account.as_deref())
    }
}

/// What is wrong with one field, in a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldProblem {
    /// A stable word: `unknown_kind`, `bad_params`, `unknown_account`…
    pub code: String,
    /// JSON pointer from the request's root.
    pub pointer: String,
    pub message: String,
}

impl FieldProblem {
    pub fn new(code: &str, pointer: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), pointer: pointer.to_owned(), message: message.into() }
    }
}

/// The accounts' drivers, and the rules that hold for every job.
#[derive(Debug, Clone)]
pub struct Intake {
    accounts: Arc<Drivers>,
}

/// Accounts by name, each with its vendor and driver.
pub type Drivers = BTreeMap<String, (&'static str, Arc<dyn Vendor>)>;

impl Intake {
    pub fn new(accounts: Drivers) -> Self {
        Self { accounts: Arc::new(accounts) }
    }

    /// Checks everything that can be checked before money is spent; all problems at once.
    pub fn understand(&self, request: &JobRequest) -> Result<NewJob, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        check_keys(request, &mut problems);
        let priority = priority(request.priority, &mut problems);
        let spec = kind(&request.kind, &mut problems);
        let account = spec.and_then(|spec| self.account(spec, request.account.as_deref(), &mut problems));
        let checked = match (spec, account) {
            (Some(spec), Some((_, driver))) => check_params(driver.as_ref(), spec, &request.params, &mut problems),
            _ => None,
        };
        match (spec, account, checked) {
            (Some(spec), Some((name, _)), Some(checked)) if problems.is_empty() => Ok(NewJob {
                kind: spec.name.to_owned(),
                account: name.clone(),
                traits: spec.traits,
                params: checked.params.to_string(),
                priority,
                not_before: request.not_before,
                deadline: request.deadline,
                dedupe_key: request.dedupe_key.clone(),
                tag: request.tag.clone(),
                mailbox_uid: None,
                retry_of: None,
                asked: request.asked(request.uid.as_deref()),
                follow: checked.follow,
            }),
            _ => Err(problems),
        }
    }

    fn account(
        &self,
        spec: &KindSpec,
        wanted: Option<&str>,
        problems: &mut Vec<FieldProblem>,
    ) -> Option<(&String, &Arc<dyn Vendor>)> {
        let vendor = spec.name.split('.').next().unwrap_or_default();
        let of_vendor: Vec<&String> =
            self.accounts.iter().filter(|(_, (owner, _))| *owner == vendor).map(|(name, _)| name).collect();
        let names = of_vendor.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let problem = match (wanted, of_vendor.as_slice()) {
            (None, [only]) => return self.accounts.get_key_value(*only).map(|(name, (_, driver))| (name, driver)),
            (_, []) => format!(
                "no account of the vendor {vendor} is configured: add a section [accounts.{vendor}] with vendor = \"{vendor}\""
            ),
            (None, _) => format!("there are several accounts of {vendor}: name one of {names}"),
            (Some(wanted), _) => match self.accounts.get_key_value(wanted) {
                Some((name, (owner, driver))) if *owner == vendor => return Some((name, driver)),
                Some((_, (owner, _))) => {
                    format!(
                        "the account {wanted:?} is one of {owner}, and {} needs one of {vendor}: {names}",
                        spec.name
                    )
                }
                None => format!("no account is called {wanted:?}; the accounts of {vendor} are {names}"),
            },
        };
        problems.push(FieldProblem::new("unknown_account", "/account", problem));
        None
    }
}

fn kind(name: &str, problems: &mut Vec<FieldProblem>) -> Option<&'static KindSpec> {
    let spec = registry::kind(name);
    if spec.is_none() {
        let all: Vec<&str> = registry::kinds().map(|kind| kind.name).collect();
        let near =
            all.iter().copied().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let hint = near
            .filter(|near| strsim::jaro_winkler(near, name) > 0.8)
            .map_or(".".to_owned(), |near| format!("; did you mean {near:?}?"));
        let message = format!("no kind is called {:?}{hint} The kinds are {}.", clip(name), all.join(", "));
        problems.push(FieldProblem::new("unknown_kind", "/kind", message));
    }
    spec
}

fn check_params(
    driver: &dyn Vendor,
    spec: &KindSpec,
    params: &Value,
    problems: &mut Vec<FieldProblem>,
) -> Option<crate::vendors::Checked> {
    if !params.is_object() {
        let message = format!("params must be a JSON object such as {}", spec.example);
        problems.push(FieldProblem::new("bad_params", "/params", message));
        return None;
    }
    if params.to_string().len() > LARGEST_PARAMS {
        let message = format!("params are larger than {} KiB", LARGEST_PARAMS >> 10);
        problems.push(FieldProblem::new("params_too_large", "/params", message));
        return None;
    }
    match driver.check(spec.name, params) {
        Ok(checked) => Some(checked),
        Err(found) => {
            problems.extend(found.into_iter().map(|p| FieldProblem::new("bad_params", &p.pointer, p.message)));
            None
        }
    }
}

fn priority(wanted: Option<i64>, problems: &mut Vec<FieldProblem>) -> u8 {
    match wanted {
        None => 5,
        Some(n @ 0..=9) => n as u8,
        Some(n) => {
            let message = format!("priority is a whole number from 0 (first) to 9 (last), not {n}");
            problems.push(FieldProblem::new("bad_priority", "/priority", message));
            5
        }
    }
}

fn check_keys(request: &JobRequest, problems: &mut Vec<FieldProblem>) {
    for (name, value) in [("dedupe_key", &request.dedupe_key), ("tag", &request.tag)] {
        let Some(value) = value else { continue };
        if value.is_empty() || value.len() > LONGEST_KEY {
            let message = format!("{name} must have 1 to {LONGEST_KEY} bytes; leave it out if there is none");
            problems.push(FieldProblem::new("bad_key", &format!("/{name}"), message));
        }
    }
    if let Some(message) = request.uid.as_deref().and_then(repeat::uid_problem) {
        problems.push(FieldProblem::new("bad_uid", "/uid", message));
    }
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}
