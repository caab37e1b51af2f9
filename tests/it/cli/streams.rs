//! `watch` and `wait`: live, and across restarts.

use std::sync::Mutex;

use axum::response::Response;
use opros::cli::Exit;
use serde_json::{Value, json};

use super::fake::{
    Caught, Daemon, Head, Seen, answer_json, event, frames, job, live, not_found, problem, run, run_into,
};

/// The first call gets the first answer; whoever asks more often than expected waits on a stream that says nothing.
fn in_turn(answers: Vec<Response>) -> impl Fn(&Seen) -> Response {
    let answers = Mutex::new(answers.into_iter());
    let (_sender, silent) = live();
    let silent = Mutex::new(Some((_sender, silent)));
    move |_| {
        let next = answers.lock().expect("no panic").next();
        next.unwrap_or_else(|| {
            let (sender, response) = silent.lock().expect("no panic").take().expect("asked only once more");
            std::mem::forget(sender);
            response
        })
    }
}

async fn watch(daemon: &Daemon, words: &[&str], lines: usize) -> (Exit, String, String) {
    let (out, err) = (Head::of(lines), Caught::default());
    let words = [&["watch"], words].concat();
    let exit = run_into(&daemon.socket, &words, Box::new(out.clone()), Box::new(err.clone())).await;
    let plain = |text: String| anstream::adapter::strip_str(&text).to_string();
    (exit, plain(out.caught.text()), plain(err.text()))
}

#[tokio::test]
async fn watch_goes_on_where_it_broke_off_and_shows_nothing_twice() {
    let first = [event(41, "job.accepted", 1, json!({})), event(42, "job.updated", 1, json!({}))];
    let second = [
        event(42, "job.updated", 1, json!({})),
        event(43, "job.succeeded", 1, json!({})),
        event(44, "x", 1, json!({})),
    ];
    let daemon = Daemon::start(in_turn(vec![frames(&first), frames(&second)]));
    let (exit, out, err) = watch(&daemon, &["--after", "40"], 3).await;
    // The reader of our output going away is no error.
    assert_eq!(exit, Exit::Ok, "{err}");
    let seqs: Vec<&str> = out.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(seqs, ["41", "42", "43"]);
    assert_eq!(daemon.calls()[..2], ["GET /v1/events?after=40", "GET /v1/events?after=42"]);
    assert!(err.contains("connecting again") && err.contains("Connected again"), "{err}");
}

#[tokio::test]
async fn watch_starts_now_and_learns_its_place_from_an_empty_frame() {
    let hello = ": hello\nid: 99\n\n".to_owned();
    let daemon = Daemon::start(in_turn(vec![
        frames(&[hello]),
        frames(&[event(100, "job.failed", 2, json!({ "kind": "alta.track" })), event(101, "job.failed", 2, json!({}))]),
    ]));
    let (_, out, err) = watch(&daemon, &[], 1).await;
    assert_eq!(daemon.calls()[..2], ["GET /v1/events", "GET /v1/events?after=99"]);
    assert!(out.contains("   100  2026-11-22T03:00:00Z  job.failed") && out.contains("alta.track"), "{out}");
    assert!(!err.contains("not shown"), "{err}");
}

#[tokio::test]
async fn watch_says_when_it_cannot_know_what_it_missed() {
    let daemon = Daemon::start(in_turn(vec![
        frames(&[]),
        frames(&[event(7, "a.b", 1, json!({})), event(8, "a.b", 1, json!({}))]),
    ]));
    let (_, _, err) = watch(&daemon, &[], 1).await;
    assert!(err.contains("what happens until then is not shown"), "{err}");
}

#[tokio::test]
async fn watch_filters_by_kind_and_type_and_passes_json_on() {
    let kinds = [("tronk.report", "job.failed"), ("tronka.report", "job.failed"), ("tronk.report", "job.updated")];
    let events: Vec<String> =
        (1..).zip(kinds).map(|(seq, (kind, what))| event(seq, what, seq, json!({ "kind": kind }))).collect();
    let more = event(9, "job.failed", 9, json!({ "kind": "tronk.report_json" }));
    let last = event(10, "job.failed", 10, json!({ "kind": "tronk.report" }));
    let daemon = Daemon::start(in_turn(vec![frames(&[events, vec![more, last]].concat())]));
    let (_, out, _) = watch(&daemon, &["--after", "0", "--kind", "tronk", "--type", "job.failed", "--json"], 2).await;
    let seqs: Vec<Value> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["sequence"].clone()).collect();
    assert_eq!(seqs, [json!("1"), json!("9")]);
}

#[tokio::test]
async fn watch_says_that_retention_was_faster() {
    let gap = "event: gap\ndata: {\"after\":3,\"oldest\":700}\n\n".to_owned();
    let daemon =
        Daemon::start(in_turn(vec![frames(&[gap, event(700, "a.b", 1, json!({})), event(701, "a.b", 1, json!({}))])]));
    let (_, out, err) = watch(&daemon, &["--after", "3"], 1).await;
    assert!(err.contains("the oldest that is left is 700") && out.contains("700"), "{err}{out}");
}

#[tokio::test]
async fn watch_ends_when_the_daemon_refuses() {
    let daemon = Daemon::start(|_| problem(410, &json!({ "title": "Gone", "detail": "events before 700 are gone" })));
    let (exit, _, err) = watch(&daemon, &["--after", "3"], 1).await;
    assert_eq!((exit, err.as_str()), (Exit::Refused, "error: Gone: events before 700 are gone\n"));
}

/// Streams that say nothing, and jobs that stand as they stand.
fn still(state: &'static str, more: Value) -> Daemon {
    let (sender, stream) = live();
    let stream = Mutex::new(Some(stream));
    Daemon::start(move |seen| {
        let _open = &sender;
        match seen.call.as_str() {
            "GET /v1/events" => stream.lock().expect("no panic").take().expect("one stream"),
            _ => answer_json(200, &job(5, state, more.clone())),
        }
    })
}

#[tokio::test]
async fn wait_says_by_its_exit_code_how_the_job_ended() {
    let ends =
        [("succeeded", 0), ("failed", 10), ("cancelled", 11), ("expired", 12), ("in_doubt", 13), ("rejected", 14)];
    for (state, code) in ends {
        let daemon =
            still(state, json!({ "error": { "code": "c", "message": "because" }, "finished_at": super::fake::NOW }));
        let ran = daemon.run(&["wait", "5"]).await;
        assert_eq!(ran.exit.code(), code, "{state}: {}", ran.err);
        let why = if state == "succeeded" { "" } else { ": because" };
        assert_eq!(ran.out, format!("Job 5 {state} after 1 min{why}\n"));
    }
}

#[tokio::test]
async fn wait_gives_up_in_time() {
    for (state, more) in [("waiting", json!({})), ("in_doubt", json!({ "next_at": "2026-11-22T03:01:00Z" }))] {
        let ran = still(state, more).run(&["wait", "5", "--timeout", "50ms"]).await;
        assert_eq!(ran.exit, Exit::TimedOut, "{}", ran.err);
        assert!(ran.err.contains("not ended: 5"), "{}", ran.err);
    }
}

#[tokio::test]
async fn wait_ends_with_the_highest_code_of_all_jobs() {
    let (sender, stream) = live();
    let stream = Mutex::new(Some(stream));
    let failed = Mutex::new(false);
    let daemon = Daemon::start(move |seen| match seen.call.as_str() {
        "GET /v1/events" => stream.lock().expect("no panic").take().expect("one stream"),
        "GET /v1/jobs/1" => answer_json(200, &job(1, "succeeded", json!({}))),
        // Fails between the first look and the event that tells of it.
        _ if std::mem::replace(&mut *failed.lock().expect("no panic"), true) => {
            answer_json(200, &job(2, "failed", json!({})))
        }
        _ => {
            sender.send(event(1, "job.updated", 77, json!({}))).expect("open");
            sender.send(event(2, "job.failed", 2, json!({}))).expect("open");
            answer_json(200, &job(2, "waiting", json!({})))
        }
    });
    let ran = daemon.run(&["wait", "1", "2", "--json"]).await;
    assert_eq!((ran.exit, ran.out.lines().count()), (Exit::JobFailed, 2), "{}", ran.err);
}

#[tokio::test]
async fn wait_survives_a_restart_of_the_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("admin.sock");
    let (sender, stream) = live();
    let (looked, mut looks) = tokio::sync::mpsc::unbounded_channel();
    let stream = Mutex::new(Some(stream));
    let mut first = Daemon::at(&socket, move |seen| match seen.call.as_str() {
        "GET /v1/events" => stream.lock().expect("no panic").take().expect("one stream"),
        _ => {
            looked.send(()).expect("the test listens");
            answer_json(200, &job(5, "waiting", json!({})))
        }
    });
    let path = socket.clone();
    let waiting = tokio::spawn(async move { run(&path, &["wait", "5"]).await });
    looks.recv().await.expect("a look");
    first.stop_listening().await;
    drop(sender);
    let second = Daemon::at(&socket, |seen| match seen.call.as_str() {
        "GET /v1/events" => frames(&[": here again\n\n".to_owned()]),
        _ => answer_json(200, &job(5, "succeeded", json!({}))),
    });
    let ran = waiting.await.expect("no panic");
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "Job 5 succeeded\n"), "{}", ran.err);
    assert_eq!(second.calls()[..2], ["GET /v1/events", "GET /v1/jobs/5"]);
}

#[tokio::test]
async fn wait_believes_the_event_when_retention_has_removed_the_job() {
    let (sender, stream) = live();
    let stream = Mutex::new(Some(stream));
    let looks = Mutex::new(0);
    let daemon = Daemon::start(move |seen| {
        if seen.call == "GET /v1/events" {
            return stream.lock().expect("no panic").take().expect("one stream");
        }
        let mut looks = looks.lock().expect("no panic");
        *looks += 1;
        if *looks == 1 {
            sender.send(event(1, "job.cancelled", 5, json!({}))).expect("open");
            return answer_json(200, &job(5, "waiting", json!({})));
        }
        not_found()
    });
    assert_eq!(daemon.run(&["wait", "5"]).await.exit, Exit::JobCancelled);
}

#[tokio::test]
async fn wait_for_an_unknown_job_says_so() {
    let daemon = Daemon::start(|seen| if seen.call == "GET /v1/events" { frames(&[]) } else { not_found() });
    let ran = daemon.run(&["wait", "404"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::NotFound, "error: Not found: there is no such job\n"));
}

/// Three events, then silence that never ends.
fn three() -> Daemon {
    let events: Vec<String> = (1..=3).map(|seq| event(seq, "job.failed", seq, json!({ "kind": "a.b" }))).collect();
    let daemon_gone = problem(410, &json!({ "title": "Gone", "detail": "the test is over" }));
    Daemon::start(in_turn(vec![frames(&events), daemon_gone]))
}

#[tokio::test]
async fn watch_exec_runs_a_program_for_each_event_and_remembers_its_place() {
    let (daemon, dir) = (three(), tempfile::tempdir().expect("a directory"));
    let (cursor, taken) = (dir.path().join("cursor"), dir.path().join("taken"));
    std::fs::write(&cursor, "1\n").expect("a file");
    let (place, script) = (cursor.display().to_string(), format!("cat >> {}", taken.display()));
    let words = ["--after", "0", "--cursor", &place, "--exec", "/bin/sh", "-c", &script];
    let (exit, _, err) = watch(&daemon, &words, 9).await;
    // The stream's end was the daemon's refusal.
    assert_eq!(exit, Exit::Refused, "{err}");
    assert_eq!(daemon.calls(), ["GET /v1/events?after=1", "GET /v1/events?after=3"], "the file goes before --after");
    let seen = std::fs::read_to_string(&taken).expect("events");
    let seqs: Vec<Value> =
        seen.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["sequence"].clone()).collect();
    assert_eq!(seqs, [json!("2"), json!("3")], "what is done with is not handed over again");
    assert_eq!(std::fs::read_to_string(&cursor).expect("a place"), "3\n");
}

#[tokio::test]
async fn watch_exec_stops_at_what_was_not_taken_unless_it_is_to_keep_going() {
    let dir = tempfile::tempdir().expect("a directory");
    let cursor = dir.path().join("cursor");
    let place = cursor.display().to_string();
    let fails_at_two = "grep -q '\"sequence\":\"2\"' && exit 7; exit 0";
    let words = ["--after", "0", "--cursor", &place, "--exec", "/bin/sh", "-c", fails_at_two];
    let (exit, _, err) = watch(&three(), &words, 9).await;
    assert_eq!(exit, Exit::ProgramFailed);
    assert!(err.contains("not taken: event 2: /bin/sh ended with exit code 7"), "{err}");
    assert_eq!(std::fs::read_to_string(&cursor).expect("a place"), "1\n", "it begins with that event next time");
    std::fs::remove_file(&cursor).expect("a file");
    let words = [&["--keep-going"], &words[..]].concat();
    let (exit, ..) = watch(&three(), &words, 9).await;
    assert_eq!((exit, std::fs::read_to_string(&cursor).expect("a place").as_str()), (Exit::Refused, "3\n"));
}

#[tokio::test]
async fn watch_exec_says_what_is_wrong_with_its_program_and_its_file() {
    let (exit, _, err) = watch(&three(), &["--after", "0", "--exec", "/nowhere/program"], 9).await;
    assert_eq!(exit, Exit::Usage);
    assert!(err.contains("/nowhere/program cannot be started"), "{err}");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cursor");
    std::fs::write(&file, "soon").expect("a file");
    let (exit, _, err) = watch(&three(), &["--cursor", &file.display().to_string()], 9).await;
    assert!(exit == Exit::Usage && err.contains("does not hold the number of an event"), "{err}");
}
