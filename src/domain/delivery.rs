//! Sinks and deliveries: who is told of an event, when again after a failure, and when a sink is given up.
//!
//! The rules are here and pure; the store carries each settlement through [`settle`] in the transaction that writes it.

use std::time::Duration;

use super::{EventType, JobId, Reason, Timestamp};

/// The waits after the first failure, the second, and so on; after one more failure the delivery is dead.
pub const WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];

/// A sink that failed for this long without one success is disabled.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 86_400);
const LONGEST_REST: Duration = Duration::from_secs(86_400);

/// How a sink is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkKind {
    Webhook,
    Command,
}

impl SinkKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            SinkKind::Webhook => "webhook",
            SinkKind::Command => "command",
        }
    }

    pub fn from_name(name: &str) -> Option<SinkKind> {
        [SinkKind::Webhook, SinkKind::Command].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Why and since when a sink is told nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    pub at: Timestamp,
    pub reason: Reason,
}

/// What is known of a sink and survives a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    pub name: String,
    pub kind: SinkKind,
    /// Events up to here were looked at.
    pub cursor: i64,
    pub rest_until: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub last_success_at: Option<Timestamp>,
    pub last_error: Option<Reason>,
    pub last_error_at: Option<Timestamp>,
    pub disabled: Option<Disabled>,
    pub pending: i64,
    pub delivered: i64,
    pub dead: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Pending,
    Delivered,
    Dead,
}

impl Progress {
    pub const ALL: [Progress; 3] = [Progress::Pending, Progress::Delivered, Progress::Dead];

    pub const fn as_str(self) -> &'static str {
        match self {
            Progress::Pending => "pending",
            Progress::Delivered => "delivered",
            Progress::Dead => "dead",
        }
    }

    pub const fn code(self) -> i64 {
        match self {
            Progress::Pending => 0,
            Progress::Delivered => 1,
            Progress::Dead => 2,
        }
    }

    pub fn from_code(code: i64) -> Option<Progress> {
        Self::ALL.into_iter().find(|progress| progress.code() == code)
    }
}

impl std::str::FromStr for Progress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|progress| progress.as_str() == text);
        found.ok_or_else(|| "it is one of pending, delivered, dead".to_owned())
    }
}

/// One event on its way to one sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub seq: i64,
    pub kind: String,
    /// What keeps its order.
    pub lane: String,
    pub job: Option<JobId>,
    pub progress: Progress,
    /// None while an earlier event of its lane is pending.
    pub due_at: Option<Timestamp>,
    pub attempts: u32,
    pub failures: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub status: Option<u16>,
    pub error: Option<Reason>,
}

/// What keeps the order of events: those of a job stay in order, those of an account likewise.
pub fn lane(seq: i64, job: Option<JobId>, account: Option<&str>) -> String {
    match (job, account) {
        (Some(job), _) => format!("job/{job}"),
        (None, Some(account)) => format!("account/{account}"),
        (None, None) => format!("event/{seq}"),
    }
}

/// What one attempt brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Attempt {
    Acknowledged {
        status: Option<u16>,
    },
    Failed {
        reason: Reason,
        status: Option<u16>,
    },
    /// The receiver is there and asks for silence (429, 503 with Retry-After): of the sink as a whole.
    Silence {
        reason: Reason,
        status: u16,
        wait: Duration,
    },
    /// The receiver never wants to hear of us again (410).
    Gone {
        reason: Reason,
        status: u16,
    },
    /// There is nothing to send: retention has removed the event.
    Forgotten,
}

impl Attempt {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Attempt::Acknowledged { .. } => "acknowledged",
            Attempt::Failed { .. } => "failed",
            Attempt::Silence { .. } => "silence",
            Attempt::Gone { .. } => "gone",
            Attempt::Forgotten => "forgotten",
        }
    }
}

/// Carries what an attempt brought into the delivery and its sink; says why, when that disables the sink.
pub fn settle(sink: &mut Sink, delivery: &mut Delivery, attempt: Attempt, now: Timestamp) -> Option<Reason> {
    delivery.updated_at = now;
    delivery.attempts = delivery.attempts.saturating_add(1);
    match attempt {
        Attempt::Acknowledged { status } => {
            end(sink, delivery, Progress::Delivered);
            delivery.status = status;
            delivery.error = None;
            sink.last_success_at = Some(now);
            sink.failing_since = None;
            sink.rest_until = None;
            None
        }
        Attempt::Forgotten => {
            delivery.error = Some(Reason::new("forgotten", "retention removed the event before it could be delivered"));
            end(sink, delivery, Progress::Dead);
            None
        }
        Attempt::Failed { reason, status } => {
            delivery.failures = delivery.failures.saturating_add(1);
            failed(sink, delivery, &reason, status, now);
            match WAITS.get(delivery.failures as usize - 1) {
                Some(wait) => delivery.due_at = Some(now + *wait),
                None => end(sink, delivery, Progress::Dead),
            }
            give_up(sink, now)
        }
        Attempt::Silence { reason, status, wait } => {
            failed(sink, delivery, &reason, Some(status), now);
            let until = now + rest(delivery, wait.min(LONGEST_REST));
            delivery.due_at = Some(until);
            sink.rest_until = Some(sink.rest_until.map_or(until, |old| old.max(until)));
            give_up(sink, now)
        }
        Attempt::Gone { reason, status } => {
            failed(sink, delivery, &reason, Some(status), now);
            delivery.due_at = Some(now);
            disable(sink, reason, now)
        }
    }
}

/// An operator says that the receiver is mended: what is pending goes out at once, with a fresh schedule.
pub fn enable(sink: &mut Sink) {
    sink.disabled = None;
    sink.failing_since = None;
    sink.rest_until = None;
}

/// How long a receiver is left alone that asks for it: never shorter than the schedule would. A wait that is worth less than
/// the schedule's costs a step of it, or "0" said for ever would be asked for ever.
fn rest(delivery: &mut Delivery, asked: Duration) -> Duration {
    let step = usize::try_from(delivery.failures).unwrap_or(usize::MAX).min(WAITS.len() - 1);
    if asked >= WAITS[step] {
        return asked;
    }
    delivery.failures = (delivery.failures + 1).min(WAITS.len() as u32 - 1);
    WAITS[step]
}

fn end(sink: &mut Sink, delivery: &mut Delivery, progress: Progress) {
    delivery.progress = progress;
    delivery.due_at = None;
    sink.pending -= 1;
    match progress {
        Progress::Delivered => sink.delivered += 1,
        Progress::Dead => sink.dead += 1,
        Progress::Pending => {}
    }
}

fn failed(sink: &mut Sink, delivery: &mut Delivery, reason: &Reason, status: Option<u16>, now: Timestamp) {
    delivery.status = status;
    delivery.error = Some(reason.clone());
    sink.failing_since.get_or_insert(now);
    sink.last_error = Some(reason.clone());
    sink.last_error_at = Some(now);
}

fn give_up(sink: &mut Sink, now: Timestamp) -> Option<Reason> {
    sink.failing_since.filter(|since| now.since(*since) >= GIVE_UP_AFTER)?;
    let last = sink.last_error.as_ref().map(|last| last.message.clone()).unwrap_or_default();
    let reason =
        Reason::new("failed_for_five_days", format!("every delivery failed for five days; the last one: {last}"));
    disable(sink, reason, now)
}

fn disable(sink: &mut Sink, reason: Reason, now: Timestamp) -> Option<Reason> {
    if sink.disabled.is_some() {
        return None;
    }
    sink.disabled = Some(Disabled { at: now, reason: reason.clone() });
    Some(reason)
}

/// Which events a sink wants. An empty list wants all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `job.succeeded`, or `job` for all of them.
    pub types: Vec<String>,
    /// `tronk.report`, or `tronk`.
    pub kinds: Vec<String>,
    pub accounts: Vec<String>,
    pub tags: Vec<String>,
}

impl Filter {
    /// Whether the event's own fields have to be read to judge it.
    pub fn looks_inside(&self) -> bool {
        !self.kinds.is_empty() || !self.tags.is_empty()
    }

    /// `kind` and `tag` are the job's. An event without a field that is asked for is not wanted.
    pub fn wants(&self, event: EventType, account: Option<&str>, kind: Option<&str>, tag: Option<&str>) -> bool {
        let covered = |wishes: &[String], word: Option<&str>| {
            wishes.is_empty() || word.is_some_and(|word| wishes.iter().any(|wish| covers(wish, word)))
        };
        let named = |wishes: &[String], word: Option<&str>| {
            wishes.is_empty() || word.is_some_and(|word| wishes.iter().any(|wish| wish == word))
        };
        covered(&self.types, Some(event.as_str()))
            && covered(&self.kinds, kind)
            && named(&self.accounts, account)
            && named(&self.tags, tag)
    }
}

/// `tronk` and `tronk.*` cover `tronk.report`, and not `tronka.report`; `*` covers everything.
pub fn covers(wish: &str, word: &str) -> bool {
    let wish = wish.trim_end_matches(".*");
    wish == "*" || word.strip_prefix(wish).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink() -> Sink {
        Sink {
            name: "shop".to_owned(),
            kind: SinkKind::Webhook,
            cursor: 0,
            rest_until: None,
            failing_since: None,
            last_success_at: None,
            last_error: None,
            last_error_at: None,
            disabled: None,
            pending: 1,
            delivered: 0,
            dead: 0,
        }
    }

    fn delivery() -> Delivery {
        Delivery {
            seq: 1,
            kind: "job.succeeded".to_owned(),
            lane: "job/1".to_owned(),
            job: Some(JobId(1)),
            progress: Progress::Pending,
            due_at: Some(Timestamp::MIN),
            attempts: 0,
            failures: 0,
            created_at: Timestamp::MIN,
            updated_at: Timestamp::MIN,
            status: None,
            error: None,
        }
    }

    fn fails() -> Attempt {
        Attempt::Failed { reason: Reason::new("status", "it answered 500"), status: Some(500) }
    }

    #[test]
    fn ten_failures_are_the_end_and_the_waits_between_them_are_the_published_ones() {
        let (mut sink, mut delivery, mut now) = (sink(), delivery(), Timestamp::from_millis(1_000));
        let mut waits = Vec::new();
        while delivery.progress == Progress::Pending {
            assert_eq!(settle(&mut sink, &mut delivery, fails(), now), None);
            if let Some(at) = delivery.due_at {
                waits.push(at.since(now).as_secs());
                now = at;
            }
        }
        assert_eq!(waits, [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert_eq!((delivery.attempts, delivery.progress), (10, Progress::Dead));
        assert_eq!((sink.pending, sink.delivered, sink.dead), (0, 0, 1));
    }

    #[test]
    fn five_days_without_a_success_disable_a_sink_and_one_success_starts_them_anew() {
        let (mut sink, start) = (sink(), Timestamp::from_millis(1_000));
        settle(&mut sink, &mut delivery(), fails(), start);
        assert_eq!(settle(&mut sink, &mut delivery(), fails(), start + GIVE_UP_AFTER - Duration::from_secs(1)), None);
        let mut healed = sink.clone();
        settle(&mut healed, &mut delivery(), Attempt::Acknowledged { status: Some(200) }, start + GIVE_UP_AFTER);
        assert_eq!(settle(&mut healed, &mut delivery(), fails(), start + GIVE_UP_AFTER), None);
        let reason = settle(&mut sink, &mut delivery(), fails(), start + GIVE_UP_AFTER).expect("disabled");
        assert_eq!(reason.code, "failed_for_five_days");
        assert!(sink.disabled.is_some());
        assert_eq!(settle(&mut sink, &mut delivery(), fails(), start + GIVE_UP_AFTER), None, "announced once");
    }

    #[test]
    fn silence_rests_the_whole_sink_and_costs_no_step_of_the_schedule() {
        let (mut sink, mut delivery, now) = (sink(), delivery(), Timestamp::from_millis(1_000));
        let silence = |seconds| Attempt::Silence {
            reason: Reason::new("silence", "it answered 429"),
            status: 429,
            wait: Duration::from_secs(seconds),
        };
        settle(&mut sink, &mut delivery, silence(120), now);
        assert_eq!(sink.rest_until, Some(now + Duration::from_secs(120)));
        assert_eq!((delivery.attempts, delivery.failures, delivery.due_at), (1, 0, sink.rest_until));
        for (step, wait) in WAITS.into_iter().enumerate() {
            settle(&mut sink, &mut delivery, silence(0), now);
            assert_eq!(delivery.due_at, Some(now + wait), "never sooner than the schedule, which goes on: step {step}");
        }
        settle(&mut sink, &mut delivery, silence(0), now);
        assert_eq!((delivery.due_at, delivery.progress), (Some(now + WAITS[8]), Progress::Pending));
    }

    #[test]
    fn a_filter_wants_what_all_of_its_lists_name() {
        let filter = Filter {
            types: vec!["job.succeeded".to_owned(), "account".to_owned()],
            accounts: vec!["shop".to_owned()],
            ..Filter::default()
        };
        assert!(filter.wants(EventType::JobSucceeded, Some("shop"), Some("tronk.report"), None));
        assert!(filter.wants(EventType::AccountPaused, Some("shop"), None, None));
        assert!(!filter.wants(EventType::JobFailed, Some("shop"), None, None));
        assert!(!filter.wants(EventType::JobSucceeded, Some("other"), None, None));
        let kinds = Filter { kinds: vec!["tronk".to_owned()], ..Filter::default() };
        assert!(kinds.wants(EventType::JobFailed, None, Some("tronk.report"), None));
        assert!(!kinds.wants(EventType::JobFailed, None, Some("tronka.report"), None));
        assert!(!kinds.wants(EventType::AccountPaused, Some("tronk"), None, None));
        assert!(Filter::default().wants(EventType::JobRejected, None, None, None));
    }
}
