//! An account: one named set of credentials, with its pause, its freeze, its breaker and its balance.
//!
//! The rules are here and pure; the engine holds one per account and the store keeps it across restarts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hosts::{HostPolicy, Hosts};
use super::policy::{BREAKER_THRESHOLD, Growth};
use super::{Reason, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseSource {
    Operator,
    /// The vendor said that the key is bad, access has ended or money is gone.
    Vendor,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub by: PauseSource,
    pub reason: Reason,
    pub since: Timestamp,
    /// Only new submits wait; polls and other free calls go on (daily billing without money).
    #[serde(default)]
    pub submits_only: bool,
}

/// What is left of a silence that the vendor asked for, where the clock cannot tell any more.
const LONGEST_FREEZE: Duration = Duration::from_secs(3600);

/// Opens after three failures in a row, then lets one probe through at growing intervals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breaker {
    /// Consecutive calls without a whole readable answer.
    pub failures: u32,
    /// When the next probe may go out; none while closed.
    pub probe_at: Option<Timestamp>,
    /// Since when it is open.
    pub open_since: Option<Timestamp>,
    /// Whether `account.unreachable` was announced for this outage.
    pub announced: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// As a decimal in the vendor's unit.
    pub amount: f64,
    /// `RUB`, `tracks`, `reports`.
    pub unit: String,
    /// The vendor's words, kept as they came.
    pub text: Option<String>,
    pub at: Timestamp,
}

/// What is known of an account and survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Account {
    /// Counts up at every change: an older picture never overwrites a newer one in the store.
    #[serde(default)]
    pub version: u64,
    pub pause: Option<Pause>,
    /// No call before this: the vendor said so (429, Retry-After).
    pub frozen_until: Option<Timestamp>,
    /// When that silence began.
    #[serde(default)]
    pub frozen_since: Option<Timestamp>,
    pub breaker: Breaker,
    #[serde(default)]
    pub hosts: Hosts,
    /// When the newest request was allowed to leave; `min_interval` counts from here.
    pub last_call_at: Option<Timestamp>,
    pub last_success_at: Option<Timestamp>,
    pub last_error: Option<Reason>,
    pub last_error_at: Option<Timestamp>,
    pub balance: Option<Balance>,
    /// The vendor's word.
    #[serde(default)]
    pub tariff_ends_at: Option<Timestamp>,
    /// Whether `account.balance_low` was announced since the balance last stood above the threshold.
    #[serde(default)]
    pub low_announced: bool,
    /// Until when `account.budget_spent` was announced: once for each window.
    #[serde(default)]
    pub budget_announced: Option<Timestamp>,
    /// Since when that window has been full.
    #[serde(default)]
    pub budget_since: Option<Timestamp>,
    /// The vendor driver's own notes on the account, JSON.
    pub memo: Option<String>,
}

/// Why an account makes no call now.
#[derive(Debug, Clone, PartialEq)]
pub enum Gate {
    Open,
    /// Free calls only.
    FreeCallsOnly,
    Paused,
    Frozen(Timestamp),
    /// The breaker is open until then.
    Broken(Timestamp),
    /// The breaker is open and one probe may go out.
    Probe,
}

/// What a call taught about the account's reachability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerNews {
    Nothing,
    Opened,
    Closed,
}

impl Account {
    pub fn gate(&self, now: Timestamp) -> Gate {
        if let Some(pause) = self.pause.as_ref().filter(|pause| !pause.submits_only) {
            let _ = pause;
            return Gate::Paused;
        }
        if let Some(until) = self.frozen_until.filter(|until| *until > now) {
            return Gate::Frozen(until);
        }
        match self.breaker.probe_at {
            Some(at) if at > now => return Gate::Broken(at),
            Some(_) => return Gate::Probe,
            None => {}
        }
        if self.pause.is_some() { Gate::FreeCallsOnly } else { Gate::Open }
    }

    /// A whole readable answer came, whatever it said.
    pub fn answered(&mut self, now: Timestamp) -> BreakerNews {
        self.last_success_at = Some(now);
        let was_open = self.breaker.open_since.is_some();
        self.breaker = Breaker::default();
        if was_open { BreakerNews::Closed } else { BreakerNews::Nothing }
    }

    /// A call brought no whole readable answer.
    pub fn failed(&mut self, reason: Reason, now: Timestamp) -> BreakerNews {
        self.last_error = Some(reason);
        self.last_error_at = Some(now);
        let breaker = &mut self.breaker;
        breaker.failures = breaker.failures.saturating_add(1);
        if breaker.failures < BREAKER_THRESHOLD {
            return BreakerNews::Nothing;
        }
        breaker.probe_at = Some(now + Growth::PROBES.nth(breaker.failures - BREAKER_THRESHOLD + 1));
        if breaker.open_since.is_none() {
            breaker.open_since = Some(now);
            return BreakerNews::Opened;
        }
        BreakerNews::Nothing
    }

    /// An open breaker's probe is brought forward to when something is to be decided: the reserve, or the alert.
    pub fn probe_for(&mut self, hosts: &HostPolicy, alert_after: Duration, now: Timestamp) {
        let alert = self.hosts.silent_since.filter(|_| !self.breaker.announced).map(|since| since + alert_after);
        let decisions = [self.hosts.switch_at(hosts), alert];
        let sooner = decisions.into_iter().flatten().filter(|at| *at > now).min();
        self.breaker.probe_at = self.breaker.probe_at.map(|at| sooner.map_or(at, |sooner| sooner.min(at)));
    }

    /// The vendor asked for silence.
    pub fn freeze(&mut self, wait: Duration, now: Timestamp) {
        let until = now + wait;
        if self.frozen_until.is_none_or(|until| until <= now) {
            self.frozen_since = Some(now);
        }
        self.frozen_until = Some(self.frozen_until.map_or(until, |old| old.max(until)));
    }

    pub fn pause(&mut self, by: PauseSource, reason: Reason, submits_only: bool, now: Timestamp) -> bool {
        let news = match &self.pause {
            None => true,
            // A full pause is stronger than one of submits; an operator's word is not overwritten by the vendor's.
            Some(old) => (old.submits_only && !submits_only) || (by == PauseSource::Operator && old.by != by),
        };
        if news {
            self.pause = Some(Pause { by, reason, since: now, submits_only });
        }
        news
    }

    /// The clock may have been set back since: what was to wait for a time counted from a later one does not wait for years.
    pub fn not_after(&mut self, now: Timestamp) {
        if self.last_call_at.is_some_and(|last| last > now) {
            self.last_call_at = Some(now);
            self.frozen_until = self.frozen_until.map(|until| until.min(now + LONGEST_FREEZE));
            self.breaker.probe_at = self.breaker.probe_at.map(|at| at.min(now));
        }
    }

    /// Lifts the pause, the freeze and the breaker: the operator says that it is mended.
    pub fn resume(&mut self) -> bool {
        let was_paused = self.pause.take().is_some();
        (self.frozen_until, self.frozen_since) = (None, None);
        self.breaker.probe_at = self.breaker.probe_at.map(|_| Timestamp::MIN);
        was_paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_began_when_the_vendor_first_asked_for_it() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut account = Account::default();
        account.freeze(Duration::from_secs(60), at(0));
        account.freeze(Duration::from_secs(60), at(30));
        assert_eq!((account.frozen_since, account.frozen_until), (Some(at(0)), Some(at(90))));
        account.freeze(Duration::from_secs(5), at(200));
        assert_eq!(account.frozen_since, Some(at(200)), "the one before it was over");
        account.resume();
        assert_eq!((account.frozen_since, account.frozen_until), (None, None));
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_account_waiting_for_years() {
        let (now, ahead) = (Timestamp::from_millis(1_000_000), Timestamp::from_millis(100_000_000_000));
        let mut account = Account { last_call_at: Some(ahead), ..Account::default() };
        account.freeze(Duration::from_secs(60), ahead);
        for _ in 0..BREAKER_THRESHOLD {
            account.failed(Reason::new("why", "why"), ahead);
        }
        account.not_after(now);
        assert_eq!(account.last_call_at, Some(now));
        assert_eq!(account.gate(now), Gate::Frozen(now + LONGEST_FREEZE));
        assert_eq!(account.gate(now + LONGEST_FREEZE), Gate::Probe);
        let sound = Account { last_call_at: Some(now), frozen_until: Some(ahead), ..Account::default() };
        let mut same = sound.clone();
        same.not_after(now);
        assert_eq!(same, sound, "a silence that the vendor asked for is kept");
    }
}
