//! Jobs, driver and state table against vendors that have a bad track among good ones.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::state::{Begin, Input, Outcome, step};
use crate::domain::{Call, Reason, State, Timestamp};
use crate::vendors::rlab::tests::{NOW, Parcel, answer, driver, with_reason};
use crate::vendors::rlab::track_of;
use crate::vendors::{Batch, JobView, Vendor, Verdict};

/// How the vendor answers an adding with a bad track in it.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Counts,
    /// It adds what is good, and says only that it was a part.
    DoesNotCount,
    Refuses,
    SaysAlready,
    Contradicts,
    /// A page of HTML; what is good may have been taken or not.
    Falls {
        took: bool,
    },
}

const MOODS: [Mood; 7] = [
    Mood::Counts,
    Mood::DoesNotCount,
    Mood::Refuses,
    Mood::SaysAlready,
    Mood::Contradicts,
    Mood::Falls { took: false },
    Mood::Falls { took: true },
];

struct BadTracks {
    bad: HashSet<String>,
    /// One for each adding with a bad track, over and over.
    moods: Vec<Mood>,
    has: HashSet<String>,
    adds: Vec<Vec<String>>,
    paid: Vec<String>,
}

impl BadTracks {
    fn new(bad: &[&str], moods: Vec<Mood>) -> Self {
        let bad = bad.iter().map(|track| (*track).to_owned()).collect();
        Self { bad, moods, has: HashSet::new(), adds: Vec::new(), paid: Vec::new() }
    }

    fn list(&self, tracks: &[String]) -> String {
        let has = tracks.iter().filter(|track| self.has.contains(*track));
        let items: Vec<Value> = has.map(|track| json!({"trackNumber": track, "trackMainStatus": 0})).collect();
        json!({"resultState": 0, "resultInfo": "", "resultData": items}).to_string()
    }

    fn add(&mut self, tracks: Vec<String>) -> String {
        let failed = tracks.iter().filter(|track| self.bad.contains(*track)).count();
        let hurt = self.adds.iter().filter(|tracks| tracks.iter().any(|track| self.bad.contains(track))).count();
        let mood = self.moods[hurt % self.moods.len()];
        let takes = matches!(mood, Mood::Counts | Mood::DoesNotCount | Mood::Falls { took: true });
        if failed == 0 || takes {
            let good: Vec<String> = tracks.iter().filter(|track| !self.bad.contains(*track)).cloned().collect();
            self.paid.extend(good.iter().filter(|track| !self.has.contains(*track)).cloned());
            self.has.extend(good);
        }
        self.adds.push(tracks);
        let said = |state: u8, words: String| json!({"resultState": state, " resultInfo ": words}).to_string();
        match mood {
            _ if failed == 0 => said(0, "Данные добавлены в базу".to_owned()),
            Mood::Counts => said(1, format!("Часть данных добавлены в базу, ошибок {failed}")),
            Mood::DoesNotCount => said(1, "Часть данных добавлены в базу".to_owned()),
            Mood::Refuses => said(2, "Некорректный трек номер".to_owned()),
            Mood::SaysAlready => said(2, "Трек уже недействителен".to_owned()),
            Mood::Contradicts => said(0, format!("Данные добавлены, ошибок {failed}")),
            Mood::Falls { .. } => "<html>Server Error in '/' Application".to_owned(),
        }
    }

    /// How often each bad track was sent.
    fn sent(&self) -> BTreeMap<&str, usize> {
        let mut sent = BTreeMap::new();
        for track in self.adds.iter().flatten().filter(|track| self.bad.contains(*track)) {
            *sent.entry(track.as_str()).or_default() += 1;
        }
        sent
    }
}

/// One request for these jobs, from beginning to end, as the engine does it.
fn call(vendor: &mut BadTracks, call: Call, group: &mut [&mut Parcel], now: Timestamp) {
    for parcel in group.iter_mut() {
        let begin = match call {
            Call::Submit => Begin::Submit { token: "t".to_owned(), request_hash: "h".to_owned() },
            Call::Poll | Call::LookUp | Call::Cancel => {
                Begin::Free { call, next_at: driver().pace(call, &parcel.view(), now) }
            }
        };
        parcel.job = step(parcel.job.clone(), Input::Begin(begin), now).expect("legal").job;
    }
    let views: Vec<JobView<'_>> = group.iter().map(|parcel| parcel.view()).collect();
    let tracks = views.iter().map(|view| track_of(view, call)).collect();
    let body = if call == Call::Submit { vendor.add(tracks) } else { vendor.list(&tracks) };
    let reading = driver().read(call, &views, &answer(body), now);
    for (parcel, verdict) in group.iter_mut().zip(reading.verdicts) {
        let outcome = match verdict {
            Verdict::Outcome(outcome) => outcome,
            // What the engine makes of it where it does not halve: nobody knows.
            Verdict::Split { reason } => Outcome::Unclear { reason },
            Verdict::Seen(seen) => panic!("nothing is polled here: {seen:?}"),
        };
        let end = Input::End { turn: parcel.job.turn, call, outcome };
        parcel.job = step(parcel.job.clone(), end, now).expect("legal").job;
    }
}

/// Every due job takes its next step, those that may travel together in one request.
fn round(vendor: &mut BadTracks, parcels: &mut [Parcel], now: Timestamp) {
    for next in [Call::Submit, Call::LookUp] {
        let mut groups: BTreeMap<(&str, usize), Vec<&mut Parcel>> = BTreeMap::new();
        for (at, parcel) in parcels.iter_mut().enumerate() {
            let asks = parcel.job.next_call() == Some(next);
            let held = parcel.job.state == State::InDoubt && parcel.job.due_at.is_none();
            if !asks || held || parcel.job.due_at.is_some_and(|due| due > now) {
                continue;
            }
            let batch = driver().batch(&parcel.view(), next);
            let place = if batch == Batch::SINGLE { at } else { usize::MAX };
            groups.entry((batch.key, place)).or_default().push(parcel);
        }
        groups.into_values().for_each(|mut group| call(vendor, next, &mut group, now));
    }
}

fn play(vendor: &mut BadTracks, tracks: usize) -> Vec<Parcel> {
    let mut parcels: Vec<Parcel> =
        (0..tracks as i64).map(|n| Parcel::new(n, &format!("X{n}"), State::Queued)).collect();
    for step in 0..200 {
        round(vendor, &mut parcels, NOW + Duration::from_secs(10 * step));
    }
    parcels
}

#[test]
fn bad_tracks_of_a_partial_success_fail_alone_and_the_others_are_added_once() {
    for mood in [Mood::Counts, Mood::DoesNotCount] {
        let mut vendor = BadTracks::new(&["X3", "X7"], vec![mood]);
        let parcels = play(&mut vendor, 10);
        assert_eq!(vendor.adds[1..], [["X3"], ["X7"]], "{mood:?}");
        for parcel in &parcels {
            let bad = vendor.bad.contains(&track_of(&parcel.view(), Call::Submit));
            assert_eq!(parcel.job.state, if bad { State::Failed } else { State::Waiting }, "{mood:?}");
            assert_eq!(parcel.job.submissions, 1);
            assert!(bad || parcel.job.memo.is_none(), "what is added forgets how: {:?}", parcel.job.memo);
        }
    }
}

#[test]
fn a_track_goes_one_stage_further_with_every_answer_and_never_back() {
    let all = [Adding::Usual, Adding::Apart, Adding::Alone, Adding::AloneAgain];
    let job = |code| with_reason(Parcel::new(1, "X1", State::InDoubt).job, code);
    let codes = ["no_answer", "html_answer", PARTLY_ADDED, CONTRADICTION, REFUSED, ALREADY_THERE];
    let table = codes.map(|code| all.map(|stage| stage.after_absence(&job(code))));
    let [usual, apart, alone, again] = all.map(Some);
    assert_eq!(
        table,
        [
            [usual, apart, alone, again],
            [apart, alone, None, None],
            [alone, alone, None, None],
            [alone, alone, None, None],
            [alone, alone, None, None],
            [again, again, again, None],
        ]
    );
}

#[test]
fn the_stage_is_written_once_for_each_doubt() {
    let looked_up = |absences: u32, memo: Option<&str>| {
        let mut parcel = Parcel::new(1, "X1", State::InDoubt);
        parcel.job = with_reason(parcel.job, "html_answer");
        parcel.job.absences = absences;
        parcel.job.memo = memo.map(str::to_owned);
        let body = json!({"resultState": 0, "resultInfo": "", "resultData": []}).to_string();
        let reading = driver().read(Call::LookUp, &[parcel.view()], &answer(body), NOW);
        match &reading.verdicts[..] {
            [Verdict::Outcome(Outcome::Absent { memo, resubmit, .. })] => (memo.clone(), *resubmit),
            other => panic!("{other:?}"),
        }
    };
    let stage = |name: &str| Some(format!(r#"{{"adding":"{name}"}}"#));
    assert_eq!(looked_up(0, None), (None, true));
    assert_eq!(looked_up(1, None), (stage("apart"), true));
    assert_eq!(looked_up(1, stage("apart").as_deref()), (stage("alone"), true));
    assert_eq!(looked_up(1, stage("alone").as_deref()), (None, false), "an operator decides");
}

#[test]
fn a_lost_answer_says_nothing_about_a_track() {
    let mut parcel = Parcel::new(1, "X1", State::Queued);
    for _ in 0..10 {
        let now = parcel.job.due_at.expect("it is due some time");
        let begin = Begin::Submit { token: "t".to_owned(), request_hash: "h".to_owned() };
        parcel.job = step(parcel.job, Input::Begin(begin), now).expect("legal").job;
        let lost = Outcome::Unclear { reason: Reason::new("no_answer", "reset") };
        let end = Input::End { turn: parcel.job.turn, call: Call::Submit, outcome: lost };
        parcel.job = step(parcel.job, end, now).expect("legal").job;
        let mut vendor = BadTracks::new(&[], vec![Mood::Counts]);
        for minutes in 0..4 {
            if parcel.job.state == State::InDoubt {
                call(&mut vendor, Call::LookUp, &mut [&mut parcel], now + Duration::from_secs(60 * minutes));
            }
        }
        assert_eq!((parcel.job.state, parcel.job.memo.as_deref()), (State::Queued, None));
        assert_eq!(driver().batch(&parcel.view(), Call::Submit).key, "add");
    }
}

proptest! {
    #[test]
    fn whatever_the_vendor_answers_good_tracks_are_paid_once_and_bad_ones_are_sent_four_times_at_most(
        moods in prop::collection::vec(prop::sample::select(MOODS.to_vec()), 1..12),
        bad in prop::sample::subsequence(vec!["X0", "X1", "X2", "X3", "X4", "X5"], 1..5),
    ) {
        let mut vendor = BadTracks::new(&bad, moods);
        for parcel in &play(&mut vendor, 6) {
            let job = &parcel.job;
            let track = track_of(&parcel.view(), Call::Submit);
            if vendor.bad.contains(&track) {
                let held = job.state == State::InDoubt && job.due_at.is_none();
                prop_assert!(job.state == State::Failed || held, "{track} goes round: {job:?}");
            } else {
                prop_assert_eq!((job.state, job.submissions), (State::Waiting, 1), "{}", track);
                prop_assert_eq!(vendor.paid.iter().filter(|paid| **paid == track).count(), 1);
            }
        }
        prop_assert!(vendor.sent().values().all(|count| *count <= 4), "{:?}", vendor.adds);
    }
}
