use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Plays a vendor that refuses every request with a bad job in it, and the queue behind it. Returns requests and failed jobs.
fn play(jobs: i64, bad: &BTreeSet<i64>) -> (usize, BTreeSet<i64>) {
    let bisect = Bisect::default();
    let mut queue: Vec<JobId> = (0..jobs).map(JobId).collect();
    let (mut requests, mut failed) = (0, BTreeSet::new());
    while !queue.is_empty() {
        requests += 1;
        assert!(requests < 40 * (bad.len() + 1), "{requests} requests for {bad:?}");
        let set = queue.iter().find_map(|job| bisect.set_of(Call::Submit, *job));
        let sent: Vec<JobId> = match set {
            Some(id) => {
                let due: Vec<JobId> =
                    queue.iter().copied().filter(|job| bisect.set_of(Call::Submit, *job) == Some(id)).collect();
                let next = bisect.next_of(id, &due);
                bisect.begin(id);
                assert!(bisect.next_of(id, &due).is_empty(), "one request of a set is out at a time");
                queue.iter().copied().filter(|job| next.contains(job)).collect()
            }
            None => queue.clone(),
        };
        assert!(!sent.is_empty(), "a set must not block its jobs");
        let refused = sent.iter().any(|job| bad.contains(&job.0));
        let fate = match (refused, sent.len()) {
            (false, _) => Fate::Other,
            (true, 1) => Fate::Failed,
            (true, _) => Fate::Split,
        };
        let fates: Vec<(JobId, Fate)> = sent.iter().map(|job| (*job, fate)).collect();
        bisect.learn(set, Call::Submit, &fates);
        set.into_iter().for_each(|id| bisect.end(id));
        match fate {
            Fate::Split => {}
            Fate::Failed => {
                failed.insert(sent[0].0);
                queue.retain(|job| *job != sent[0]);
            }
            Fate::Other | Fate::Untouched => queue.retain(|job| !sent.contains(job)),
        }
    }
    assert!(bisect.lock().sets.is_empty());
    (requests, failed)
}

#[test]
fn one_bad_job_of_a_hundred_costs_at_most_eight_requests_more_almost_anywhere() {
    let mut ninth = 0;
    for bad in 0..100 {
        let (requests, failed) = play(100, &BTreeSet::from([bad]));
        assert_eq!(failed, BTreeSet::from([bad]));
        assert!(requests <= 1 + 9, "{requests} for the bad one at {bad}");
        ninth += usize::from(requests == 1 + 9);
    }
    assert_eq!(ninth, 4);
}

proptest! {
    #[test]
    fn all_bad_jobs_are_found_and_no_other(jobs in 1_i64..=100, bad in prop::collection::btree_set(0_i64..100, 0..12)) {
        let bad: BTreeSet<i64> = bad.into_iter().filter(|job| *job < jobs).collect();
        let (requests, failed) = play(jobs, &bad);
        prop_assert_eq!(failed, bad.clone());
        prop_assert!(requests <= 1 + 16 * bad.len() + 1, "{} requests for {} bad ones", requests, bad.len());
    }
}
