//! Which of a vendor's hosts is used: the primary until it has been silent for long enough, then the reserve until the
//! primary answers again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::exchange::Host;

/// Fewer failures than this are not enough to call a host down.
const FAILURES: u32 = 3;

/// What an account's settings say of its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPolicy {
    /// Whether there is a reserve host.
    pub reserve: bool,
    /// The primary silent this long: the reserve is used, and the primary tried again this often.
    pub reserve_after: Duration,
}

/// Since when a host has not answered, and to how many calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Silence {
    pub since: Option<Timestamp>,
    pub failures: u32,
}

/// What is known of an account's hosts; survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hosts {
    pub primary: Silence,
    pub reserve: Silence,
    /// Since when the reserve is used; none while the primary is.
    pub on_reserve: Option<Timestamp>,
    /// While the reserve is used: when the primary was tried last.
    pub primary_tried_at: Option<Timestamp>,
    /// Since when no host that was in use has answered.
    pub silent_since: Option<Timestamp>,
}

/// What an answer or a choice brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostNews {
    Nothing,
    /// From now on the reserve is used.
    ToReserve,
    /// The primary answers again.
    ToPrimary,
}

impl Hosts {
    pub fn in_use(&self) -> Host {
        if self.on_reserve.is_some() { Host::Reserve } else { Host::Primary }
    }

    /// The host of the next call; changes over to the reserve where it is time to.
    pub fn choose(&mut self, policy: &HostPolicy, now: Timestamp) -> (Host, HostNews) {
        if !policy.reserve {
            // The reserve may have been taken out of the settings while it was in use.
            self.on_reserve = None;
            self.primary_tried_at = None;
        } else if self.on_reserve.is_none() && self.switch_at(policy).is_some_and(|at| at <= now) {
            self.on_reserve = Some(now);
            self.primary_tried_at = Some(now);
            return (Host::Reserve, HostNews::ToReserve);
        }
        (self.in_use(), HostNews::Nothing)
    }

    /// When the primary's silence is long enough for the reserve; none while it is not down.
    pub fn switch_at(&self, policy: &HostPolicy) -> Option<Timestamp> {
        let waits = policy.reserve && self.on_reserve.is_none() && self.primary.failures >= FAILURES;
        self.primary.since.filter(|_| waits).map(|since| since + policy.reserve_after)
    }

    /// When the primary is to be tried again; none while it is used.
    pub fn trial_at(&self, policy: &HostPolicy) -> Option<Timestamp> {
        let used = self.on_reserve.filter(|_| policy.reserve)?;
        Some(self.primary_tried_at.unwrap_or(used) + policy.reserve_after)
    }

    /// The primary is tried now.
    pub fn tried(&mut self, now: Timestamp) {
        self.primary_tried_at = Some(now);
    }

    /// A whole readable answer of that host.
    pub fn answered(&mut self, host: Host) -> HostNews {
        self.silent_since = None;
        match host {
            Host::Primary => {
                let was_on_reserve = self.on_reserve.is_some();
                *self = Hosts::default();
                if was_on_reserve { HostNews::ToPrimary } else { HostNews::Nothing }
            }
            Host::Reserve => {
                self.reserve = Silence::default();
                HostNews::Nothing
            }
        }
    }

    /// A call to that host brought no whole readable answer. True when it was the host in use.
    pub fn failed(&mut self, host: Host, now: Timestamp) -> bool {
        let silence = match host {
            Host::Primary => &mut self.primary,
            Host::Reserve => &mut self.reserve,
        };
        silence.since.get_or_insert(now);
        silence.failures = silence.failures.saturating_add(1);
        let in_use = self.in_use() == host;
        if in_use {
            self.silent_since.get_or_insert(now);
        }
        in_use
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000) + Duration::from_secs(seconds)
    }

    fn policy(reserve: bool) -> HostPolicy {
        HostPolicy { reserve, reserve_after: Duration::from_secs(300) }
    }

    #[test]
    fn the_reserve_is_taken_after_five_silent_minutes_and_left_when_the_primary_answers() {
        let (policy, mut hosts) = (policy(true), Hosts::default());
        for seconds in [0, 10, 20] {
            assert!(hosts.failed(Host::Primary, at(seconds)));
        }
        assert_eq!(hosts.choose(&policy, at(299)), (Host::Primary, HostNews::Nothing));
        assert_eq!(hosts.choose(&policy, at(300)), (Host::Reserve, HostNews::ToReserve));
        assert_eq!(hosts.choose(&policy, at(301)), (Host::Reserve, HostNews::Nothing));
        assert_eq!(hosts.answered(Host::Reserve), HostNews::Nothing);
        assert_eq!(hosts.trial_at(&policy), Some(at(600)));
        hosts.tried(at(600));
        assert!(!hosts.failed(Host::Primary, at(601)), "the reserve is in use, and it answers");
        assert_eq!((hosts.trial_at(&policy), hosts.silent_since), (Some(at(900)), None));
        assert_eq!(hosts.answered(Host::Primary), HostNews::ToPrimary);
        assert_eq!(hosts, Hosts::default());
    }

    #[test]
    fn two_failures_are_no_reason_however_long_ago() {
        let (policy, mut hosts) = (policy(true), Hosts::default());
        hosts.failed(Host::Primary, at(0));
        hosts.failed(Host::Primary, at(1));
        assert_eq!(hosts.choose(&policy, at(100_000)), (Host::Primary, HostNews::Nothing));
    }

    proptest! {
        #[test]
        fn the_laws_of_choosing(
            reserve in any::<bool>(),
            steps in prop::collection::vec((1_u64..400, any::<bool>(), any::<bool>()), 1..80),
        ) {
            let (policy, mut hosts, mut now) = (policy(reserve), Hosts::default(), at(0));
            let (mut failures, mut since, mut last_answer) = (0, None, at(0));
            for (wait, trial, answers) in steps {
                now = now + Duration::from_secs(wait);
                let (mut host, news) = hosts.choose(&policy, now);
                if news == HostNews::ToReserve {
                    prop_assert!(failures >= 3 && now.since(since.unwrap()) >= policy.reserve_after);
                }
                prop_assert!(reserve || host == Host::Primary);
                prop_assert_eq!(hosts.trial_at(&policy).is_some(), host == Host::Reserve);
                if trial && hosts.trial_at(&policy).is_some_and(|at| at <= now) {
                    hosts.tried(now);
                    host = Host::Primary;
                }
                if answers {
                    hosts.answered(host);
                    last_answer = now;
                } else {
                    hosts.failed(host, now);
                }
                match (host, answers) {
                    (Host::Primary, true) => (failures, since) = (0, None),
                    (Host::Primary, false) => {
                        failures += 1;
                        since.get_or_insert(now);
                    }
                    (Host::Reserve, _) => {}
                }
                prop_assert!(hosts.silent_since.is_none_or(|since| since >= last_answer));
                prop_assert!(!answers || hosts.silent_since.is_none());
                let stored = serde_json::to_string(&hosts).unwrap();
                prop_assert_eq!(serde_json::from_str::<Hosts>(&stored).unwrap(), hosts.clone());
            }
        }
    }
}
