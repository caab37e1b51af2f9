//! One suite over every driver in the registry. A new vendor needs one line in `vendors/samples.rs`.

pub mod corpus;
pub mod play;
pub mod samples;

use std::collections::HashSet;
use std::time::Duration;

use opros::domain::exchange::{Answer, Body, Field, Request};
use opros::domain::state::{End, Outcome};
use opros::domain::{Call, Job};
use opros::vendors::registry::{Entry, VENDORS};
use opros::vendors::{AccountCall, AccountNews, KindSpec, Reading, Vendor, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

use play::{NOW, Party, answer, calls, carry_out, has_something_to_do_when_due, params, patched};

const CANARY: &str = "canary-7f3a9c51-secret";
const OTHER_CANARY: &str = "another-canary-0b6d-of-another-length";

/// Every kind of every vendor with a driver that knows one secret.
fn every_kind(mut test: impl FnMut(&'static Entry, &dyn Vendor, &'static KindSpec)) {
    for vendor in VENDORS {
        let driver = samples::open(vendor.name, CANARY);
        vendor.kinds.iter().for_each(|kind| test(vendor, driver.as_ref(), kind));
    }
}

/// Every call of every kind, with one job and, where calls travel together, with three: alike, and all different.
fn every_call(mut test: impl FnMut(&'static Entry, &dyn Vendor, &'static KindSpec, &Party)) {
    every_kind(|vendor, driver, kind| {
        let own = params(driver, kind);
        for call in calls(kind.traits) {
            let one = Party::new(kind, call, vec![own.clone()]);
            let together = driver.batch(&one.views()[0], call).max;
            assert!(together >= 1, "{}: a batch of none", kind.name);
            test(vendor, driver, kind, &one);
            if together >= 3 {
                test(vendor, driver, kind, &Party::new(kind, call, vec![own.clone(); 3]));
                let mut different = vec![own.clone()];
                different.extend(samples::others(kind.name).map(|patch| patched(driver, kind, &patch)));
                test(vendor, driver, kind, &Party::new(kind, call, different));
            }
        }
    });
}

fn excerpt(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    format!("HTTP {} {:.120}", answer.status, text.chars().take(120).collect::<String>())
}

// ---- the table ----------------------------------------------------------------------------------------------------

#[test]
fn kinds_are_named_after_their_vendor_and_described() {
    let mut seen = HashSet::new();
    for vendor in VENDORS {
        assert!(seen.insert(vendor.name), "{} stands twice in the registry", vendor.name);
        for kind in vendor.kinds {
            assert!(seen.insert(kind.name), "{} stands twice in the registry", kind.name);
            assert_eq!(kind.name.split_once('.').map(|(vendor, _)| vendor), Some(vendor.name), "{}", kind.name);
            assert!(kind.summary.len() > 10, "{} needs a sentence", kind.name);
        }
    }
    every_kind(|vendor, driver, kind| {
        let names = |kinds: &[KindSpec]| kinds.iter().map(|kind| kind.name).collect::<Vec<_>>();
        assert_eq!(names(driver.kinds()), names(vendor.kinds), "{}", kind.name);
    });
}

#[test]
fn an_example_passes_and_what_passed_passes_again_unchanged() {
    every_kind(|_, driver, kind| {
        let example: Value = serde_json::from_str(kind.example).expect("an example is JSON");
        let names = example.as_object().expect("an example is an object").keys();
        names.for_each(|name| assert!(kind.params.contains(&name.as_str()), "{} does not list {name}", kind.name));
        let once = params(driver, kind);
        let twice = driver.check(kind.name, &once).map(|checked| checked.params);
        assert_eq!(twice, Ok(once), "{}", kind.name);
    });
}

#[test]
fn unknown_params_are_refused_by_name() {
    every_kind(|_, driver, kind| {
        let mut example: Value = serde_json::from_str(kind.example).expect("an example is JSON");
        example["zzz_unheard_of"] = json!(1);
        let problems = driver.check(kind.name, &example).expect_err(kind.name);
        assert!(problems.iter().any(|problem| problem.pointer == "/params/zzz_unheard_of"), "{problems:?}");
    });
}

#[test]
fn params_that_are_no_object_are_refused() {
    every_kind(|_, driver, kind| {
        for other in [json!(null), json!([]), json!("x"), json!(1), json!(true)] {
            let problems = driver.check(kind.name, &other).expect_err(kind.name);
            assert!(problems.iter().all(|problem| problem.pointer.starts_with("/params")), "{problems:?}");
        }
    });
}

// ---- requests -----------------------------------------------------------------------------------------------------

/// Everything in a request that is not marked as a secret.
fn open_parts(request: &Request) -> String {
    let mut text = format!("{} {} {request:?} {:?} {:?}", request.op, request.path, request.query, request.body);
    let mut push = |fields: &[Field]| {
        fields.iter().filter(|field| !field.secret).for_each(|field| text.push_str(&format!(" {}", field.value)));
    };
    push(&request.query);
    match &request.body {
        Body::Empty => {}
        Body::Form(fields) => push(fields),
        Body::Json { value, secrets, content_type } => {
            let mut value = value.clone();
            for pointer in *secrets {
                if let Some(secret) = value.pointer_mut(pointer) {
                    *secret = Value::Null;
                }
            }
            text.push_str(&format!(" {value} {content_type}"));
        }
    }
    text
}

/// The same question with two different keys: what is open is the same, what is hashed is the same, and no key shows.
fn assert_keeps_its_secret(one: &Request, other: &Request, told: &str) {
    assert!(!open_parts(one).contains(CANARY), "{told} shows its secret");
    assert_eq!(open_parts(one), open_parts(other), "{told}: something open is derived from the secret");
    assert_eq!(one.hash(), other.hash(), "{told}: the hash depends on the secret");
    assert!(one == other || one.secrets() != other.secrets(), "{told}: an unmarked secret");
}

#[test]
fn no_secret_leaves_its_field_and_the_hash_depends_on_none() {
    every_call(|vendor, driver, kind, party| {
        let other = samples::open(vendor.name, OTHER_CANARY);
        let (call, views) = (party.call, party.views());
        let told = format!("{call} of {}", kind.name);
        assert_keeps_its_secret(&driver.request(call, &views, NOW), &other.request(call, &views, NOW), &told);
        assert!(!format!("{driver:?}").contains(CANARY), "the driver of {} shows its secret", vendor.name);
    });
    for vendor in VENDORS {
        let (one, other) = (samples::open(vendor.name, CANARY), samples::open(vendor.name, OTHER_CANARY));
        for call in [AccountCall::Credentials, AccountCall::Balance] {
            match (one.account_request(call, NOW), other.account_request(call, NOW)) {
                (Some(one), Some(other)) => assert_keeps_its_secret(&one, &other, vendor.name),
                (one, other) => assert_eq!(one, other),
            }
        }
    }
}

#[test]
fn a_request_is_built_the_same_way_every_time() {
    every_call(|_, driver, kind, party| {
        let (call, views) = (party.call, party.views());
        let (one, other) = (driver.request(call, &views, NOW), driver.request(call, &views, NOW));
        assert_eq!(one.hash(), other.hash(), "{call} of {}", kind.name);
        assert!(one.path.starts_with('/') && !one.op.is_empty(), "{one:?}");
    });
}

#[test]
fn a_call_that_never_comes_back_leaves_the_job_due_in_the_future() {
    every_call(|_, driver, kind, party| {
        let call = party.call;
        for days in [0, 1, 30, 3650] {
            let now = NOW + Duration::from_secs(days * 86_400);
            let next = driver.pace(call, &party.views()[0], now);
            assert!(next > now, "{call} of {} after {days} days", kind.name);
        }
    });
}

// ---- answers ------------------------------------------------------------------------------------------------------

/// Reads an answer and carries it out; what must hold of every answer to every call is held here.
fn read(driver: &dyn Vendor, kind: &KindSpec, party: &Party, answer: &Answer) -> Reading {
    let told = format!("{} of {}: {}", party.call, kind.name, excerpt(answer));
    let reading = driver.read(party.call, &party.views(), answer, NOW);
    carry_out(driver, party, &reading, &told);
    for verdict in &reading.verdicts {
        match verdict {
            Verdict::Outcome(Outcome::AccountHeld { .. }) => assert!(
                matches!(reading.account, Some(AccountNews::Pause { .. })),
                "a job is held and nothing pauses: {told}"
            ),
            Verdict::Outcome(Outcome::Unchanged { next_at: Some(at), .. }) => assert!(*at > NOW, "a busy loop: {told}"),
            Verdict::Seen(seen) => assert!(seen.end.is_some() || seen.next_at > NOW, "a busy loop: {told}"),
            Verdict::Outcome(_) | Verdict::Split { .. } => {}
        }
    }
    reading
}

fn took_it(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Outcome(outcome) => {
            matches!(outcome, Outcome::Accepted { .. } | Outcome::Found { .. } | Outcome::Ended(End::Success { .. }))
        }
        Verdict::Seen(_) | Verdict::Split { .. } => false,
    }
}

fn may_take(kind: &KindSpec, status: u16) -> bool {
    samples::ANSWER_UNKNOWN.contains(&kind.name) && (200..300).contains(&status)
}

#[test]
fn the_corpus_is_large_enough() {
    assert!(corpus::hostile().len() >= 60);
}

#[test]
fn nothing_that_nobody_said_is_an_acceptance_a_find_or_a_refusal() {
    let answers = corpus::hostile_answers();
    every_call(|_, driver, kind, party| {
        for answer in &answers {
            let (call, reading) = (party.call, read(driver, kind, party, answer));
            let told = format!("{call} of {}: {}: {reading:?}", kind.name, excerpt(answer));
            let unclear = reading.verdicts.iter().any(|v| matches!(v, Verdict::Outcome(Outcome::Unclear { .. })));
            assert!(!unclear || !reading.readable, "an outage that would not be noticed: {told}");
            if call == Call::Poll || call == Call::Cancel || may_take(kind, answer.status) {
                continue;
            }
            for verdict in &reading.verdicts {
                assert!(!took_it(verdict), "taken for an acceptance: {told}");
                let refused = matches!(verdict, Verdict::Outcome(Outcome::Ended(_) | Outcome::Absent { .. }));
                // Called failed while it may have been taken, a paid job would be ordered and paid again.
                assert!(!refused || kind.traits.repeatable, "taken for a refusal: {told}");
            }
        }
    });
}

#[test]
fn another_vendors_answer_is_no_acceptance() {
    every_call(|vendor, driver, kind, party| {
        let others = corpus::WELL_MEANT.iter().chain(corpus::REFUSALS).filter(|(of, _)| *of != vendor.name);
        for (_, body) in others {
            for status in corpus::STATUSES {
                let answer = answer(status, *body);
                let reading = read(driver, kind, party, &answer);
                let judged = matches!(party.call, Call::Submit | Call::LookUp) && !may_take(kind, status);
                let taken = reading.verdicts.iter().any(took_it);
                assert!(!judged || !taken, "{} of {}: {}: {reading:?}", party.call, kind.name, excerpt(&answer));
            }
        }
    });
}

#[test]
fn a_vendors_own_refusal_is_no_acceptance() {
    every_call(|vendor, driver, kind, party| {
        for (_, body) in corpus::REFUSALS.iter().filter(|(of, _)| *of == vendor.name) {
            for status in corpus::STATUSES {
                let answer = answer(status, *body);
                let reading = read(driver, kind, party, &answer);
                let judged = party.call == Call::Submit && !may_take(kind, status);
                let taken = reading.verdicts.iter().any(took_it);
                assert!(!judged || !taken, "{} of {}: {}: {reading:?}", party.call, kind.name, excerpt(&answer));
            }
        }
    });
}

#[test]
fn a_vendors_own_good_answers_are_legal_for_every_call() {
    every_call(|vendor, driver, kind, party| {
        for (_, body) in corpus::WELL_MEANT.iter().filter(|(of, _)| *of == vendor.name) {
            for status in corpus::STATUSES {
                let _ = read(driver, kind, party, &answer(status, *body));
            }
        }
    });
}

#[test]
fn an_acceptance_that_was_cut_is_none() {
    every_kind(|vendor, driver, kind| {
        let one = Party::new(kind, Call::Submit, vec![params(driver, kind)]);
        for (_, body) in corpus::WELL_MEANT.iter().filter(|(of, _)| *of == vendor.name) {
            for end in (0..body.len()).filter(|end| body.is_char_boundary(*end)) {
                for status in [200, 500] {
                    let answer = answer(status, &body[..end]);
                    let reading = read(driver, kind, &one, &answer);
                    let taken = reading.verdicts.iter().any(took_it) && !(end == 0 && may_take(kind, status));
                    assert!(!taken, "{}: {}: {reading:?}", kind.name, excerpt(&answer));
                }
            }
        }
    });
}

#[test]
fn account_calls_read_anything() {
    for vendor in VENDORS {
        let driver = samples::open(vendor.name, CANARY);
        for call in [AccountCall::Credentials, AccountCall::Balance] {
            for answer in corpus::hostile_answers() {
                let reading = driver.read_account(call, &answer, NOW);
                let told = format!("{}: {}: {reading:?}", vendor.name, excerpt(&answer));
                for news in &reading.news {
                    match news {
                        // Some vendors have no words for a bad key; theirs are the HTTP statuses for it.
                        AccountNews::Pause { .. } => assert!(matches!(answer.status, 401..=403), "a pause: {told}"),
                        AccountNews::TariffEnds(_) => assert!(may_be_balance(vendor.name, &answer), "a tariff: {told}"),
                        AccountNews::Balance(_) => assert!(may_be_balance(vendor.name, &answer), "a balance: {told}"),
                    }
                }
                let asked = driver.account_request(call, NOW).is_some();
                assert!(!asked || reading.unclear.is_some() || !reading.news.is_empty(), "silence: {told}");
            }
        }
    }
}

/// A finite number with nothing around it, where nobody knows how the vendor writes its balance.
fn may_be_balance(vendor: &str, answer: &Answer) -> bool {
    let text = String::from_utf8_lossy(&answer.body);
    let number = text.trim().trim_matches('"').parse::<f64>();
    let known = !samples::BALANCE_UNKNOWN.contains(&vendor);
    !known && (200..300).contains(&answer.status) && number.is_ok_and(f64::is_finite)
}

#[test]
fn a_job_that_is_due_has_something_to_do_or_is_put_off() {
    every_call(|_, driver, kind, party| {
        let [job] = &party.jobs[..] else { return };
        if job.next_call().is_none() {
            return;
        }
        for late in [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3650 * 86_400)] {
            // Woken, adopted, or long overdue.
            let due = Job { due_at: Some(NOW + late), ..job.clone() };
            has_something_to_do_when_due(driver, &due, kind.name);
        }
    });
}

// ---- anything at all ----------------------------------------------------------------------------------------------

/// JSON whose names no vendor uses.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("x_[a-z]{0,6}", inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(body: Vec<u8>, at in 0..corpus::STATUSES.len()) {
        every_call(|_, driver, kind, party| {
            let _ = read(driver, kind, party, &answer(corpus::STATUSES[at], body.clone()));
        });
    }

    #[test]
    fn any_json_is_read_and_none_is_an_acceptance(value in anything(), at in 0..corpus::STATUSES.len()) {
        every_call(|_, driver, kind, party| {
            let status = corpus::STATUSES[at];
            let reading = read(driver, kind, party, &answer(status, value.to_string()));
            let taken = reading.verdicts.iter().any(took_it);
            assert!(party.call != Call::Submit || may_take(kind, status) || !taken, "{value}: {reading:?}");
        });
    }

    #[test]
    fn any_params_are_checked_and_what_passes_is_stable(value in anything(), at in 0usize..16) {
        every_kind(|_, driver, kind| {
            let mut fields: Value = serde_json::from_str(kind.example).expect("an example is JSON");
            fields[kind.params.get(at % kind.params.len().max(1)).copied().unwrap_or("x")] = value.clone();
            match driver.check(kind.name, &fields) {
                Ok(once) => {
                    let twice = driver.check(kind.name, &once.params).map(|checked| checked.params);
                    assert_eq!(twice, Ok(once.params), "{}", kind.name);
                }
                Err(problems) => {
                    assert!(!problems.is_empty(), "refused without a word: {fields}");
                    assert!(problems.iter().all(|problem| problem.pointer.starts_with("/params")), "{problems:?}");
                }
            }
        });
    }
}
