//! The judge. It knows nothing of the daemon's code: it reads the vendors' ledger, what the consumers wrote down, what was
//! ordered, and the two database files by SQL of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::evidence::{Evidence, gather, text};

/// Which invariant was broken, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub invariant: &'static str,
    pub evidence: String,
}

/// What the invariants say, for the report.
pub const INVARIANTS: [(&str, &str); 10] = [
    ("I1", "no order is booked twice"),
    ("I2", "what was acknowledged is there"),
    ("I3", "every job has ended, is parked, or has a time"),
    ("I4", "a success has one result, and it is the vendor's for this order"),
    ("I5", "events tell each job's way through the state graph, each step once"),
    ("I6", "consumers saw every event, in order, without a gap"),
    ("I7", "what counts as accepted was booked; what is parked asks its question"),
    ("I8", "both databases are sound"),
    ("I9", "once the faults are over, everything ends in time"),
    ("I10", "nothing was booked before its intent was durable"),
];

const STATES: [&str; 9] =
    ["queued", "submitting", "waiting", "in_doubt", "succeeded", "failed", "cancelled", "expired", "rejected"];

type Judged = Vec<Breach>;

fn breach(found: &mut Judged, invariant: &'static str, evidence: String) {
    found.push(Breach { invariant, evidence });
}

/// Judges a world whose daemon has been stopped, by the evidence in `dir` and the two files under `data`.
pub async fn check(dir: &Path, data: &Path) -> Result<Vec<Breach>, sqlx::Error> {
    let evidence = gather(dir, data).await?;
    let mut found = Vec::new();
    paid_once(&evidence, &mut found);
    nothing_lost(&evidence, &mut found);
    nothing_stuck(&evidence, &mut found);
    results(&evidence, &mut found);
    ways(&evidence, &mut found);
    seen(&evidence, &mut found);
    told(&evidence, &mut found);
    questions(&evidence, &mut found);
    evidence.unsound.iter().for_each(|what| breach(&mut found, "I8", what.clone()));
    if evidence.liveness["rested"] != true {
        breach(&mut found, "I9", format!("after {} s: {}", evidence.liveness["seconds"], evidence.liveness["open"]));
    }
    intents(&evidence, &mut found);
    for complaint in &evidence.complaints {
        let invariant = if text(complaint, "invariant") == "I8" { "I8" } else { "I1" };
        breach(&mut found, invariant, text(complaint, "what").to_owned());
    }
    Ok(found)
}

fn paid_once(all: &Evidence, found: &mut Judged) {
    for order in all.orders.iter().filter(|order| !text(order, "key").is_empty()) {
        let bookings = all.bookings(text(order, "vendor"), text(order, "key"));
        if bookings.len() > 1 {
            let told = bookings.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(" ");
            breach(found, "I1", format!("order {}: booked {} times: {told}", text(order, "name"), bookings.len()));
        }
    }
    for order in &all.orders {
        let jobs = all.of_order(text(order, "name")).len();
        if jobs > 1 {
            breach(found, "I1", format!("order {}: {jobs} jobs", text(order, "name")));
        }
    }
}

fn nothing_lost(all: &Evidence, found: &mut Judged) {
    for order in all.orders.iter().filter(|order| !order["acknowledged"].is_null()) {
        let name = text(order, "name");
        let there = match order["door"].as_str() {
            Some("mailbox") => {
                let (row, job) = (all.mailbox_rows.get(name), all.taken.get(name));
                let known = job.is_some_and(|job| job.is_none_or(|id| all.jobs.iter().any(|job| job.id == id)));
                // Its row shows the same job and the same state as the store.
                let agree = row.is_some_and(|(state, id)| match all.of_order(name).first() {
                    Some(job) => *id == Some(job.id) && STATES.get(job.state) == Some(&state.as_str()),
                    // Only what nobody could understand has no job.
                    None => state == "rejected" && text(order, "key").is_empty(),
                });
                let settled = || all.of_order(name).first().is_none_or(|job| job.state >= 4);
                known && (agree || (all.mailbox_moved && row.is_none() && settled()))
            }
            _ => all.jobs.iter().any(|job| Some(job.id) == order["acknowledged"].as_i64()),
        };
        if !there {
            let row = all.mailbox_rows.get(name);
            breach(found, "I2", format!("order {name} was acknowledged and is not there as it was: row {row:?}"));
        }
    }
}

fn nothing_stuck(all: &Evidence, found: &mut Judged) {
    for job in &all.jobs {
        let parked = job.state == 3 && job.reason.is_some();
        if job.state < 4 && !job.due && !parked {
            let state = STATES.get(job.state);
            breach(found, "I3", format!("job {} is {state:?} and nothing will ever touch it", job.id));
        }
    }
}

fn results(all: &Evidence, found: &mut Judged) {
    for order in &all.orders {
        let (name, vendor, key) = (text(order, "name"), text(order, "vendor"), text(order, "key"));
        for job in all.of_order(name).into_iter().filter(|job| job.state == 4) {
            let bookings = all.bookings(vendor, key);
            let result = job.result.as_deref().unwrap_or_default();
            // A wagon's tracking may end before its first report.
            let no_report = vendor == "alta" && (result.is_empty() || result.contains("no data"));
            if !result.contains(key) && !no_report {
                breach(found, "I4", format!("order {name}: the result is not about {key}: {result:.200}"));
            }
            let ids: Vec<&str> = bookings.iter().map(|booking| text(booking, "remote_id")).collect();
            let remote = job.remote.as_deref().unwrap_or_default();
            if vendor != "vagvin" && !ids.contains(&remote) {
                breach(found, "I4", format!("order {name}: succeeded as {remote:?}, the vendor booked {ids:?}"));
            }
        }
    }
}

fn ways(all: &Evidence, found: &mut Judged) {
    for job in &all.jobs {
        let told = all.events_of(job.id);
        let count = |kind: &str| told.iter().filter(|event| **event == kind).count();
        let ends: Vec<usize> = (0..told.len()).filter(|at| is_end(told[*at])).collect();
        let state = STATES.get(job.state).copied().unwrap_or_default();
        let wrong = match (job.state >= 4, ends.as_slice()) {
            (true, [end]) if told[*end] != format!("job.{state}") => Some("its end is told as another"),
            (true, [end]) if told[end + 1..].iter().any(|event| *event != "job.updated") => {
                Some("it goes on after its end")
            }
            (true, [_]) => None,
            (true, _) => Some("its end is not told exactly once"),
            (false, []) => None,
            (false, _) => Some("an end is told and it has not ended"),
        };
        let of_job = || all.attempts.iter().filter(|attempt| attempt.job == job.id);
        let accepted = of_job().filter(|attempt| attempt.outcome.as_deref() == Some("accepted")).count();
        let unclear = of_job().filter(|attempt| attempt.unclear).count();
        let open = of_job().filter(|attempt| attempt.outcome.is_none()).count();
        let wrong = wrong
            .or((count("job.accepted") != accepted).then_some("acceptances and their events differ in number"))
            .or((count("job.in_doubt") != unclear).then_some("doubts and their events differ in number"))
            .or((matches!(job.state, 2 | 4) && accepted != 1).then_some("it was not accepted exactly once"))
            .or((open != usize::from(matches!(job.state, 1 | 3))).then_some("an attempt is open that should not be"));
        if let Some(wrong) = wrong {
            let what = format!(
                "job {} ({state}): {wrong}: {told:?}, {accepted} accepted, {unclear} unclear, {open} open",
                job.id
            );
            breach(found, "I5", what);
        }
    }
}

fn is_end(kind: &str) -> bool {
    ["job.succeeded", "job.failed", "job.cancelled", "job.expired", "job.rejected"].contains(&kind)
}

fn seen(all: &Evidence, found: &mut Judged) {
    let want: Vec<(i64, String)> = all.events.iter().map(|event| (event.seq, event.kind.clone())).collect();
    compare(found, "the stream", &all.stream, &want);
    if all.mailbox_moved {
        // What the new one has not was told in the old one.
        return;
    }
    let want: Vec<(i64, String)> = all.mailbox_events.iter().map(|(seq, kind, _)| (*seq, kind.clone())).collect();
    compare(found, "the mailbox", &all.mailbox_seen, &want);
    let told: BTreeSet<(i64, &str)> = all
        .events
        .iter()
        .filter(|event| event.uid.is_some())
        .filter_map(|event| Some((event.mailbox_seq?, event.kind.as_str())))
        .collect();
    let written: BTreeSet<(i64, &str)> =
        all.mailbox_events.iter().map(|(seq, kind, _)| (*seq, kind.as_str())).collect();
    if told != written {
        let differ: Vec<_> = told.symmetric_difference(&written).take(5).collect();
        breach(found, "I6", format!("store and mailbox tell different events: {differ:?}"));
    }
    let ids: BTreeSet<&str> = all.mailbox_events.iter().map(|(.., id)| id.as_str()).collect();
    if ids.len() != all.mailbox_events.len() {
        breach(found, "I6", "two events of the mailbox have one id".to_owned());
    }
}

/// A webhook tells at least once, under the event's own id, and the events of one job in their order.
fn told(all: &Evidence, found: &mut Judged) {
    let mut first: BTreeMap<i64, usize> = BTreeMap::new();
    for (at, hook) in all.hooks.iter().enumerate() {
        let seq = hook["seq"].as_i64().unwrap_or(-1);
        first.entry(seq).or_insert(at);
        let event = all.events.iter().find(|event| event.seq == seq);
        if event.is_none_or(|event| event.kind != text(hook, "type")) {
            breach(found, "I6", format!("the webhook told {hook}, the store has {event:?}"));
        }
    }
    let mut before: BTreeMap<i64, usize> = BTreeMap::new();
    for event in &all.events {
        let Some(at) = first.get(&event.seq) else {
            breach(found, "I6", format!("the webhook never told of event {} ({})", event.seq, event.kind));
            continue;
        };
        let job = event.job.unwrap_or_default();
        if before.insert(job, *at).is_some_and(|before| before > *at) && job > 0 {
            breach(found, "I6", format!("the webhook told event {} of job {job} out of its order", event.seq));
        }
    }
}

/// Numbers from 1 on without a gap, each seen once by a consumer that remembers, and as the database has them.
fn compare(found: &mut Judged, whose: &str, seen: &[Value], want: &[(i64, String)]) {
    let seen: Vec<(i64, String)> =
        seen.iter().map(|event| (event["seq"].as_i64().unwrap_or(-1), text(event, "type").to_owned())).collect();
    if let Some(at) = want.iter().zip(1..).position(|((seq, _), n)| *seq != n) {
        breach(found, "I6", format!("{whose}: numbers have a gap at {}", at + 1));
    }
    if seen != want {
        let at = seen.iter().zip(want).position(|(a, b)| a != b).unwrap_or(seen.len().min(want.len()));
        let (saw, is) = (seen.get(at), want.get(at));
        breach(
            found,
            "I6",
            format!(
                "{whose}: of {} events {} were seen; first difference: saw {saw:?}, is {is:?}",
                want.len(),
                seen.len()
            ),
        );
    }
}

fn questions(all: &Evidence, found: &mut Judged) {
    for order in &all.orders {
        let (name, vendor, key) = (text(order, "name"), text(order, "vendor"), text(order, "key"));
        for job in all.of_order(name) {
            let mut of_job = all.attempts.iter().filter(|attempt| attempt.job == job.id);
            let accepted = of_job.any(|attempt| attempt.outcome.as_deref() == Some("accepted"));
            if accepted && all.bookings(vendor, key).is_empty() {
                breach(found, "I7", format!("order {name} counts as accepted, and the vendor has no booking"));
            }
            if job.state == 3 && !all.events_of(job.id).contains(&"job.in_doubt") {
                breach(found, "I7", format!("order {name} is parked without a word"));
            }
        }
    }
}

fn intents(all: &Evidence, found: &mut Judged) {
    for order in all.orders.iter().filter(|order| !text(order, "key").is_empty()) {
        let name = text(order, "name");
        let jobs: Vec<i64> = all.of_order(name).iter().map(|job| job.id).collect();
        for booking in all.bookings(text(order, "vendor"), text(order, "key")) {
            let at = booking["at"].as_i64().unwrap_or_default();
            let mut intents = all.attempts.iter().filter(|attempt| jobs.contains(&attempt.job));
            if !intents.any(|attempt| attempt.at <= at) {
                breach(found, "I10", format!("order {name} was booked at {at}, and no intent is older: {booking}"));
            }
        }
    }
}
