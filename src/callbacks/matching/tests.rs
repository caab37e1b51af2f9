use proptest::prelude::*;

use super::*;

const A: &str = "WAUZZZ8K9BA012345";
const B: &str = "WBAZZZ8K9BA012345";
const ELSA: &str = "check_elsa_pro_full";
const ETKA: &str = "check_etka_full";

fn candidate(id: i64, state: State, since: i64) -> Candidate {
    Candidate {
        id: JobId(id),
        state,
        vin: A.into(),
        check_type: ELSA.into(),
        ids: vec![format!("ours-{id}")],
        since: Timestamp::from_millis(since),
        served: false,
    }
}

fn of(vin: &str, check_type: Option<&str>) -> Callback {
    Callback { vin: Some(vin.into()), check_type: check_type.map(str::to_owned), ..Callback::default() }
}

fn named(ids: &[&str], vin: Option<&str>) -> Callback {
    Callback {
        vin: vin.map(str::to_owned),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Callback::default()
    }
}

#[test]
fn the_oldest_waiting_job_of_the_car_and_check_is_first() {
    let jobs = [candidate(1, State::Waiting, 30), candidate(2, State::Waiting, 10), candidate(3, State::InDoubt, 5)];
    assert_eq!(choose(&of(A, Some(ELSA)), &jobs), Match::Job(JobId(2)));
    assert_eq!(choose(&of(A, None), &jobs), Match::Job(JobId(2)));
    assert_eq!(choose(&of(A, Some("CHECK_ELSA_PRO_FULL")), &jobs), Match::Job(JobId(2)));
    assert_eq!(choose(&of(A, Some(ETKA)), &jobs), Match::Nobody);
    assert_eq!(choose(&of(B, None), &jobs), Match::Nobody);
    assert_eq!(choose(&Callback::default(), &jobs), Match::Nobody);
}

#[test]
fn equal_ages_go_by_number() {
    let jobs = [candidate(9, State::Waiting, 1), candidate(4, State::Waiting, 1)];
    assert_eq!(choose(&of(A, None), &jobs), Match::Job(JobId(4)));
}

#[test]
fn a_word_that_is_no_check_type_of_ours_is_no_obstacle() {
    let mut forced = candidate(2, State::Waiting, 20);
    forced.check_type = "check_new".into();
    let jobs = [candidate(1, State::Waiting, 10), forced];
    assert_eq!(choose(&of(A, Some("Дилерский отчёт")), &jobs), Match::Job(JobId(1)));
    assert_eq!(choose(&of(A, Some("Check_New")), &jobs), Match::Job(JobId(2)));
}

#[test]
fn a_job_in_doubt_is_settled_and_an_ended_one_served_only_if_no_live_one_fits() {
    let ended = candidate(1, State::Expired, 1);
    let doubt = candidate(2, State::InDoubt, 50);
    assert_eq!(choose(&of(A, None), &[ended.clone(), doubt]), Match::Job(JobId(2)));
    assert_eq!(choose(&of(A, None), std::slice::from_ref(&ended)), Match::Job(JobId(1)));
    let served = Candidate { served: true, ..ended };
    assert_eq!(choose(&of(A, None), &[served.clone(), candidate(3, State::Cancelled, 9)]), Match::Job(JobId(3)));
    assert_eq!(choose(&of(A, None), &[served]), Match::Job(JobId(1)));
}

#[test]
fn a_call_back_before_the_submits_answer_waits_for_it() {
    let jobs = [candidate(1, State::Expired, 1), candidate(2, State::Submitting, 50)];
    assert_eq!(choose(&of(A, Some(ELSA)), &jobs), Match::Later(JobId(2)));
    assert_eq!(choose(&of(A, None), &[candidate(1, State::Queued, 1)]), Match::Nobody);
}

#[test]
fn an_id_wins_over_age_and_state_but_not_over_the_car() {
    let jobs = [candidate(1, State::Waiting, 1), candidate(2, State::Expired, 50), candidate(3, State::Waiting, 60)];
    assert_eq!(choose(&named(&["ours-3"], Some(A)), &jobs), Match::Job(JobId(3)));
    assert_eq!(choose(&named(&["x", "ours-2"], None), &jobs), Match::Job(JobId(2)));
    assert_eq!(choose(&named(&["ours-3"], Some(B)), &jobs), Match::Nobody);
    assert_eq!(choose(&named(&["unknown"], Some(A)), &jobs), Match::Job(JobId(1)));
}

#[test]
fn an_id_that_several_jobs_carry_names_nobody() {
    let mut jobs =
        [candidate(1, State::Waiting, 9), candidate(2, State::Waiting, 5), candidate(3, State::Succeeded, 1)];
    jobs.iter_mut().for_each(|job| job.ids.push("client-7".into()));
    assert_eq!(choose(&named(&["client-7"], None), &jobs), Match::Nobody);
    assert_eq!(choose(&named(&["client-7"], Some(A)), &jobs), Match::Job(JobId(2)));
}

#[test]
fn an_answered_job_keeps_what_names_it_from_its_neighbours() {
    let jobs = [candidate(1, State::Succeeded, 1), candidate(2, State::Waiting, 5)];
    assert_eq!(choose(&named(&["ours-1"], Some(A)), &jobs), Match::Answered(JobId(1)));
    assert_eq!(choose(&of(A, None), &jobs), Match::Job(JobId(2)));
    assert_eq!(choose(&of(A, None), &jobs[..1]), Match::Nobody);
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let word = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
    (
        0..20_i64,
        prop::sample::select(&State::ALL[..]),
        word(&[A, B]),
        word(&[ELSA, ETKA, "own"]),
        prop::collection::vec(word(&["1", "2", "3"]), 0..3),
        0..5_i64,
        any::<bool>(),
    )
        .prop_map(|(id, state, vin, check_type, ids, since, served)| Candidate {
            id: JobId(id),
            state,
            vin,
            check_type,
            ids,
            since: Timestamp::from_millis(since),
            served,
        })
}

fn any_callback() -> impl Strategy<Value = Callback> {
    let word = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
    (
        prop::option::of(word(&[A, B, ""])),
        prop::option::of(word(&[ELSA, ETKA, "own", "другое"])),
        prop::collection::vec(word(&["1", "2", "9"]), 0..2),
    )
        .prop_map(|(vin, check_type, ids)| Callback { vin, check_type, ids, ..Callback::default() })
}

fn unique_jobs() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec(any_candidate(), 0..8).prop_map(|mut jobs| {
        jobs.sort_by_key(|job| job.id);
        jobs.dedup_by_key(|job| job.id);
        jobs
    })
}

proptest! {
    #[test]
    fn the_order_in_which_jobs_are_given_does_not_matter(callback in any_callback(), jobs in unique_jobs(), turn in 0_usize..8) {
        let mut turned = jobs.clone();
        if !turned.is_empty() {
            let by = turn % turned.len();
            turned.rotate_left(by);
        }
        prop_assert_eq!(choose(&callback, &jobs), choose(&callback, &turned));
    }

    #[test]
    fn no_other_car_is_ever_served_and_no_state_that_cannot_take_it(callback in any_callback(), jobs in unique_jobs()) {
        let job = |id| jobs.iter().find(|job| job.id == id).unwrap();
        let (chosen, states): (&Candidate, &[State]) = match choose(&callback, &jobs) {
            Match::Nobody => return Ok(()),
            Match::Later(id) => (job(id), &[State::Submitting]),
            Match::Answered(id) => (job(id), &[State::Succeeded]),
            Match::Job(id) => {
                (job(id), &[State::Waiting, State::InDoubt, State::Failed, State::Cancelled, State::Expired])
            }
        };
        prop_assert!(states.contains(&chosen.state));
        prop_assert!(callback.vin.as_ref().is_none_or(|vin| *vin == chosen.vin));
        prop_assert!(callback.vin.is_some() || chosen.ids.iter().any(|id| callback.ids.contains(id)));
    }

    #[test]
    fn without_an_id_no_older_waiting_job_that_fits_is_passed_over(callback in any_callback(), jobs in unique_jobs()) {
        let callback = Callback { ids: Vec::new(), ..callback };
        let fits = |job: &&Candidate| {
            callback.vin.as_ref() == Some(&job.vin)
                && callback.check_type.as_ref().is_none_or(|given| *given == job.check_type)
        };
        let oldest = jobs.iter().filter(fits).filter(|job| job.state == State::Waiting).min_by_key(|job| (job.since, job.id));
        if let Some(oldest) = oldest {
            prop_assert_eq!(choose(&callback, &jobs), Match::Job(oldest.id));
        }
        if let Match::Job(id) = choose(&callback, &jobs) {
            let chosen = jobs.iter().find(|job| job.id == id).unwrap();
            let live = jobs.iter().filter(fits).any(|job| !job.state.is_final() && job.state != State::Queued);
            prop_assert!(!live || !chosen.state.is_final());
        }
    }

    #[test]
    fn each_of_several_call_backs_finds_a_job_of_its_own(ages in prop::collection::vec(0..5_i64, 1..6)) {
        let mut jobs: Vec<Candidate> =
            ages.iter().zip(1..).map(|(since, id)| candidate(id, State::Waiting, *since)).collect();
        let mut served = Vec::new();
        for _ in 0..jobs.len() {
            let Match::Job(id) = choose(&of(A, Some(ELSA)), &jobs) else { panic!("nobody") };
            jobs.iter_mut().filter(|job| job.id == id).for_each(|job| job.state = State::Succeeded);
            served.push(id);
        }
        served.sort();
        served.dedup();
        prop_assert_eq!(served.len(), jobs.len());
        prop_assert_eq!(choose(&of(A, Some(ELSA)), &jobs), Match::Nobody);
    }
}
