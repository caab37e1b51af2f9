//! An account: one named set of credentials, with its pause, its freeze, its breaker and its balance.
//!
//! The rules are here and pure; the engine holds one per account and the store keeps it across restarts.

use std::collections::BTreeMap;
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
    /// Refusals for now in a row, by the kind of call that met them: our own backoff grows by them, whatever the vendor says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, u32>,
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

    /// A call that left at `began` brought no whole readable answer.
    ///
    /// While the breaker is open only a probe's failure is news: what was under way when it opened failed of the same cause.
    pub fn failed(&mut self, reason: Reason, began: Timestamp, now: Timestamp) -> BreakerNews {
        self.last_error = Some(reason);
        self.last_error_at = Some(now);
        let breaker = &mut self.breaker;
        let wait = |failures: u32| Growth::PROBES.nth(failures.saturating_sub(BREAKER_THRESHOLD - 1));
        if let Some(since) = breaker.open_since
            && (began <= since || breaker.probe_at.is_some_and(|at| began < at))
        {
            // Where an operator brought the probe forward, the next one is not made at once either.
            breaker.probe_at = breaker.probe_at.map(|at| if at > now { at } else { now + wait(breaker.failures) });
            return BreakerNews::Nothing;
        }
        breaker.failures = breaker.failures.saturating_add(1);
        if breaker.failures < BREAKER_THRESHOLD {
            return BreakerNews::Nothing;
        }
        breaker.probe_at = Some(now + wait(breaker.failures));
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

    /// The vendor refused a call for now, and may have said for how long: the wait is never shorter than our own, which grows
    /// while refusals of such calls follow one another. `began` is when the refused call left.
    pub fn refused_for_now(
        &mut self,
        call: &str,
        asked: Option<Duration>,
        own: Growth,
        began: Timestamp,
        now: Timestamp,
    ) -> Duration {
        // What was under way together was refused together, and counts once.
        let together = self.frozen_until.is_some_and(|until| began < until);
        let count = self.refusals.entry(call.to_owned()).or_default();
        *count = if together { (*count).max(1) } else { count.saturating_add(1) };
        let wait = asked.unwrap_or_default().max(own.nth(*count));
        self.freeze(wait, now);
        wait
    }

    /// A call of that kind was answered, whatever the answer was: the vendor lets such calls in.
    pub fn let_in(&mut self, call: &str) {
        self.refusals.remove(call);
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
        self.refusals.clear();
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
            account.failed(Reason::new("why", "why"), ahead, ahead);
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

    fn why() -> Reason {
        Reason::new("no_answer", "cut")
    }

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    /// One moment's outage is one moment's outage, however many calls it cut.
    #[test]
    fn calls_that_were_under_way_together_and_fail_together_lengthen_no_wait() {
        for in_flight in [3, 4, 8, 64, 1000] {
            let mut account = Account::default();
            for _ in 0..in_flight {
                account.failed(why(), at(0), at(1));
            }
            assert_eq!(account.gate(at(5)), Gate::Broken(at(6)), "{in_flight}");
            assert_eq!(account.gate(at(6)), Gate::Probe, "{in_flight}");
        }
    }

    #[test]
    fn only_a_probes_own_failure_lengthens_the_wait() {
        let mut account = Account::default();
        for _ in 0..3 {
            account.failed(why(), at(0), at(1));
        }
        // One that left before it opened, and is given up only now.
        account.failed(why(), at(0), at(5));
        assert_eq!(account.gate(at(6)), Gate::Probe);
        account.failed(why(), at(6), at(7));
        assert_eq!(account.gate(at(7)), Gate::Broken(at(17)), "the second wait is ten seconds");
        account.failed(why(), at(0), at(9));
        assert_eq!(account.gate(at(9)), Gate::Broken(at(17)));
        account.failed(why(), at(17), at(18));
        assert_eq!(account.gate(at(18)), Gate::Broken(at(38)), "the third is twenty");
    }

    #[test]
    fn an_operators_resume_is_one_probe_and_no_loop_of_them() {
        let mut account = Account::default();
        for _ in 0..3 {
            account.failed(why(), at(0), at(1));
        }
        account.resume();
        assert_eq!(account.gate(at(1)), Gate::Probe);
        for began in [0, 1] {
            let mut resumed = account.clone();
            resumed.failed(why(), at(began), at(1));
            assert!(matches!(resumed.gate(at(1)), Gate::Broken(until) if until >= at(6)), "{:?}", resumed.breaker);
        }
    }

    /// The law behind every Retry-After: what the vendor asks for may be longer than our own wait, never shorter.
    #[test]
    fn no_wait_that_a_vendor_asks_for_is_shorter_than_our_own_and_ours_grows_while_it_repeats() {
        let asked = [None, Some(0), Some(1), Some(4), Some(59), Some(3600), Some(86_400)];
        for call in ["submit", "poll", "look_up", "cancel", "account"] {
            for own in [Growth::PROBES, Growth::SILENCES] {
                for seconds in asked {
                    let asked = seconds.map(Duration::from_secs);
                    let (mut account, mut now, mut last) = (Account::default(), at(0), Duration::ZERO);
                    for n in 1..20 {
                        let wait = account.refused_for_now(call, asked, own, now, now);
                        assert!(wait >= own.nth(n) && wait >= asked.unwrap_or_default() && wait >= last);
                        assert_eq!(account.gate(now), Gate::Frozen(now + wait));
                        (now, last) = (now + wait, wait);
                    }
                    account.let_in(call);
                    assert_eq!(account.refused_for_now(call, None, own, now, now), own.nth(1));
                }
            }
        }
    }

    #[test]
    fn refusals_of_calls_that_were_under_way_together_count_once_and_each_kind_counts_for_itself() {
        let mut account = Account::default();
        let mut refuse =
            |call: &str, began, now| account.refused_for_now(call, None, Growth::SILENCES, at(began), at(now));
        for _ in 0..16 {
            assert_eq!(refuse("submit", 0, 1), Duration::from_secs(60));
        }
        assert_eq!(refuse("poll", 0, 1), Duration::from_secs(60));
        assert_eq!(refuse("submit", 61, 61), Duration::from_secs(120));
        account.let_in("poll");
        assert_eq!(account.refusals.get("submit"), Some(&2), "a poll that is let in says nothing of submits");
    }
}
