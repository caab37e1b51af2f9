use std::time::Duration;

use super::*;
use crate::domain::State;
use crate::vendors::Vendor;
use crate::vendors::rlab::TRACK;
use crate::vendors::rlab::tests::{NOW, Parcel, driver, job, settings};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The waits after these polls, for a job whose share of the spread is nothing.
fn waits(memo: Memo, polls: std::ops::RangeInclusive<u32>) -> Vec<Duration> {
    let job = unspread();
    polls.map(|polls| next_poll(&settings(), &job, &memo, polls, NOW).since(NOW)).collect()
}

/// The spread adds one to the number before it scatters it.
fn unspread() -> Job {
    job(-1, TRACK, State::Waiting)
}

#[test]
fn waits_double_while_nothing_changes_up_to_the_ceiling() {
    let minutes = [30, 60, 120, 240, 360, 360].map(|minutes| minutes * MINUTE);
    assert_eq!(waits(Memo::default(), 1..=6), minutes);
}

#[test]
fn a_change_brings_the_wait_back_to_the_start() {
    let memo = Memo { base: 7, status: Some(4), ..Memo::default() };
    assert_eq!(waits(memo, 7..=9), [15 * MINUTE, 30 * MINUTE, 60 * MINUTE]);
}

#[test]
fn at_the_counter_it_is_asked_hourly() {
    for status in [2, 8] {
        let memo = Memo { status: Some(status), ..Memo::default() };
        assert_eq!(waits(memo, 1..=3), [HOUR, HOUR, HOUR]);
    }
}

#[test]
fn the_last_poll_of_the_grace_comes_when_it_ends() {
    let since = NOW - (7 * 24 * HOUR - 20 * MINUTE);
    let memo = Memo { status: Some(3), since: Some(since), ..Memo::default() };
    assert_eq!(waits(memo, 9..=9), [20 * MINUTE]);
}

#[test]
fn two_hundred_thousand_tracks_added_at_once_come_due_over_as_long_as_their_first_wait() {
    let settings = settings();
    let mut minutes = [0u32; 30];
    for id in 1..=200_000 {
        let wait = first_poll(&settings, &job(id, TRACK, State::Submitting), NOW).since(NOW);
        minutes[(wait.as_secs() / 60) as usize] += 1;
    }
    // Half of the first wait to one and a half: 7.5 to 22.5 minutes, 13,333 a minute.
    let busy: Vec<u32> = minutes.iter().copied().filter(|count| *count > 0).collect();
    assert_eq!(busy.len(), 16);
    assert!(busy.iter().all(|count| *count < 13_600), "{minutes:?}");
}

#[test]
fn later_waits_never_exceed_the_ceiling_and_drift_apart() {
    let settings = settings();
    let due = |id| next_poll(&settings, &job(id, TRACK, State::Waiting), &Memo::default(), 20, NOW).since(NOW);
    let waits: Vec<Duration> = (1..1000).map(due).collect();
    let (least, most) = (waits.iter().min().copied(), waits.iter().max().copied());
    assert!(most <= Some(6 * HOUR) && least >= Some(6 * HOUR * 7 / 8));
    assert!(most.zip(least).is_some_and(|(most, least)| most - least > 40 * MINUTE));
}

#[test]
fn the_pace_of_a_poll_is_what_an_unchanged_answer_would_set() {
    let mut parcel = Parcel::new(5, "X1", State::Waiting);
    parcel.job.polls = 3;
    let paced = driver().pace(crate::domain::Call::Poll, &parcel.view(), NOW);
    assert_eq!(paced, next_poll(&settings(), &parcel.job, &Memo::default(), 4, NOW));
}

#[test]
fn the_first_sight_of_a_parcel_is_no_change() {
    let mut job = unspread();
    job.polls = 1;
    assert_eq!(changed(&job, Memo::default(), Some(0), NOW).base, 0);
    job.seen = Some("before".to_owned());
    let memo = changed(&job, Memo { missing: 4, ..Memo::default() }, Some(9), NOW);
    assert_eq!(memo, Memo { base: 1, status: Some(9), since: Some(NOW), ..Memo::default() });
}

#[test]
fn notes_survive_a_restart_and_unreadable_ones_are_none() {
    let memo = Memo { base: 3, status: Some(9), since: Some(NOW), missing: 2, ..Memo::default() };
    let mut job = unspread();
    job.memo = memo.to_json();
    assert_eq!(Memo::of(&job), memo);
    assert_eq!(Memo::default().to_json().as_deref(), Some("{}"));
    job.memo = Some("[1".to_owned());
    assert_eq!(Memo::of(&job), Memo::default());
}
