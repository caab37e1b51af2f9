//! Handing jobs in and looking at them.

use std::io::Write;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::routing::post;
use futures_util::StreamExt;
use opros::cli::Exit;
use serde_json::{Value, json};

use super::fake::{Daemon, answer_json, job, not_found, problem, respond};

fn accepting() -> Daemon {
    Daemon::start(|_| answer_json(201, &job(812, "queued", json!({}))))
}

async fn params_of(words: &[&str]) -> Value {
    let daemon = accepting();
    let ran = daemon.run(&[&["submit", "tronk.report"], words].concat()).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    daemon.seen()[0].body["params"].clone()
}

#[tokio::test]
async fn what_stands_behind_an_equals_sign_stays_text() {
    let params = params_of(&["phone=79990000111", "vin=00123", "hash=1e5", "flag=true", "list=[1]", "eq=a=b"]).await;
    let text =
        json!({ "phone": "79990000111", "vin": "00123", "hash": "1e5", "flag": "true", "list": "[1]", "eq": "a=b" });
    assert_eq!(params, text);
}

#[tokio::test]
async fn json_and_lists_say_what_they_are() {
    let params = params_of(&["excel:=true", "days:=[1,2]", "wagons[]=54676515", "wagons[]=052", "n[]:=7"]).await;
    assert_eq!(params, json!({ "excel": true, "days": [1, 2], "wagons": ["54676515", "052"], "n": [7] }));
}

#[tokio::test]
async fn a_long_number_in_json_keeps_its_digits() {
    let daemon = accepting();
    let router = Router::new().route(
        "/v1/jobs",
        post(|body: String| async move {
            assert!(body.contains("123456789012345678901234567890"), "{body}");
            answer_json(201, &job(1, "queued", json!({})))
        }),
    );
    let other = Daemon::serving(&daemon.socket.with_extension("2"), router, Default::default());
    assert_eq!(other.run(&["submit", "a.b", "n:=123456789012345678901234567890"]).await.exit, Exit::Ok);
}

#[tokio::test]
async fn params_that_cannot_be_meant_are_refused_before_anything_is_sent() {
    for words in [["a=1", "a=2"], ["a=1", "a[]=2"], ["a[]=1", "a=2"], ["plain", "b=1"], ["a:={", "b=1"], ["=1", "b=1"]]
    {
        let daemon = accepting();
        let ran = daemon.run(&[&["submit", "tronk.report"], &words[..]].concat()).await;
        assert_eq!((ran.exit, daemon.seen().len()), (Exit::Usage, 0), "{words:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn every_option_of_submit_reaches_the_daemon() {
    let daemon = accepting();
    let options = "submit alta.track --params {\"a\":1} --account alta --dedupe-key k --priority 0 --tag t --force";
    let words: Vec<&str> =
        options.split(' ').chain(["--not-before", "10m", "--deadline", "2026-12-01T00:00:00+03:00"]).collect();
    let ran = daemon.run(&words).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "Job 812 is queued.\n"));
    let body = json!({
        "kind": "alta.track", "params": { "a": 1, "force": true }, "account": "alta", "dedupe_key": "k", "priority": 0,
        "tag": "t", "not_before": "2026-11-22T03:10:00.000Z", "deadline": "2026-11-30T21:00:00.000Z",
    });
    assert_eq!((daemon.calls(), daemon.seen()[0].body.clone()), (vec!["POST /v1/jobs".to_owned()], body));
}

#[tokio::test]
async fn a_dedupe_hit_says_that_nothing_new_was_started() {
    let daemon = Daemon::start(|_| answer_json(200, &job(7, "waiting", json!({ "dedupe_key": "car-9" }))));
    let ran = daemon.run(&["submit", "tronk.report", "vin=1", "--dedupe-key", "car-9"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "Nothing new: job 7 with the dedupe key car-9 is waiting.\n"));
}

#[tokio::test]
async fn a_refusal_names_the_field_in_words_and_keeps_the_daemons_own_for_programs() {
    let refusal = json!({ "title": "Bad params", "detail": "must be 17 characters", "pointer": "/params/vins/0" });
    let daemon = Daemon::start(move |_| problem(422, &refusal));
    let ran = daemon.run(&["submit", "tronk.report", "vin=1"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, ""));
    assert_eq!(ran.err, "error: Bad params: must be 17 characters (field params.vins[0])\n");
    let ran = daemon.run(&["submit", "tronk.report", "vin=1", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&ran.out).expect("JSON")["pointer"], "/params/vins/0");
}

fn file(lines: impl Iterator<Item = String>) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    lines.for_each(|line| writeln!(file, "{line}").expect("written"));
    file
}

/// Answers each line as it comes, without waiting for the last: refused is what holds `bad`.
async fn verdicts(request: Request) -> axum::response::Response {
    let mut number = 0;
    let mut rest = Vec::new();
    let answers = request.into_body().into_data_stream().map(move |chunk| {
        rest.extend_from_slice(&chunk.expect("a chunk"));
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = rest.drain(..whole).collect();
        let mut out = String::new();
        for line in String::from_utf8(lines).expect("UTF-8").lines() {
            number += 1;
            out += &match line {
                line if line.contains("bad") => {
                    let problem = json!({ "title": "Bad params", "detail": "no \u{1b}[31m vin", "pointer": "/params" });
                    json!({ "line": number, "status": 422, "problem": problem }).to_string()
                }
                line if line.contains("again") => json!({ "line": number, "status": 200, "id": 1 }).to_string(),
                _ => json!({ "line": number, "status": 201, "id": number }).to_string(),
            };
            out.push('\n');
        }
        Ok::<_, std::io::Error>(Bytes::from(out))
    });
    respond(200, "application/x-ndjson", Body::from_stream(answers))
}

fn bulk_daemon() -> (tempfile::TempDir, Daemon) {
    let dir = tempfile::tempdir().expect("a directory");
    let router = Router::new().route("/v1/jobs", post(verdicts));
    let daemon = Daemon::serving(&dir.path().join("admin.sock"), router, Default::default());
    (dir, daemon)
}

fn line(number: usize) -> String {
    let what = match number {
        17 | 9_999 => "bad",
        18 => "again",
        _ => "good",
    };
    // Long enough that neither side could hold it all in its buffers.
    json!({ "kind": "tronk.report", "params": { "vin": what, "note": "x".repeat(500) } }).to_string()
}

#[tokio::test]
async fn a_file_of_jobs_flows_both_ways_and_names_every_bad_line() {
    let (_dir, daemon) = bulk_daemon();
    let file = file((1..=12_000).map(line));
    let ran = daemon.run(&["submit", "--file", file.path().to_str().expect("UTF-8")]).await;
    assert_eq!(ran.exit, Exit::Refused, "{}", ran.err);
    assert_eq!(ran.out, "12000 lines: 11997 new, 1 known already, 2 refused\n");
    let bad = |n| format!("line {n}: Bad params: no \\u{{1b}}[31m vin (field params)\n");
    assert_eq!(ran.err, bad(17) + &bad(9_999));
}

#[tokio::test]
async fn verdicts_are_handed_on_to_programs_line_by_line() {
    let (_dir, daemon) = bulk_daemon();
    let file = file((1..=3).map(line));
    let ran = daemon.run(&["submit", "--json", "--file", file.path().to_str().expect("UTF-8")]).await;
    let numbers: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["line"].clone()).collect();
    assert_eq!((ran.exit, numbers), (Exit::Ok, vec![json!(1), json!(2), json!(3)]));
}

#[tokio::test]
async fn lines_without_a_verdict_are_called_doubtful() {
    // One verdict, and none for whatever is sent again.
    let one = std::sync::Mutex::new(Some(json!({ "line": 1, "status": 201, "id": 1 }).to_string()));
    let daemon = Daemon::start(move |_| {
        let verdicts = one.lock().expect("no panic").take().unwrap_or_default();
        respond(200, "application/x-ndjson", verdicts)
    });
    let file = file((1..=3).map(line));
    let words = ["--patience", "300ms", "submit", "--file", file.path().to_str().expect("UTF-8")];
    let ran = daemon.run(&words).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unanswered, "1 lines: 1 new, 0 known already, 0 refused\n"));
    assert!(ran.err.contains("verdict") && ran.err.contains("may have been taken"), "{}", ran.err);
}

#[tokio::test]
async fn a_file_for_a_daemon_that_does_not_run_says_only_that() {
    let file = file((1..=3).map(line));
    let ran =
        super::fake::run("/nowhere/admin.sock".as_ref(), &["submit", "--file", file.path().to_str().expect("UTF-8")])
            .await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unreachable, ""));
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_a_usage_error() {
    let ran = accepting().run(&["submit", "--file", "/nowhere/jobs.ndjson"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("/nowhere/jobs.ndjson"), "{}", ran.err);
}

#[tokio::test]
async fn the_list_follows_cursors_up_to_its_limit() {
    let daemon = Daemon::start(|seen| {
        let first = !seen.call.contains("cursor");
        let ids = if first { [9, 8] } else { [7, 6] };
        let jobs = ids.map(|id| job(id, "failed", json!({ "error": { "code": "x", "message": "no\u{202e} money" } })));
        answer_json(200, &json!({ "jobs": jobs, "next": if first { json!(8) } else { json!("6") } }))
    });
    let ran = daemon.run(&["jobs", "--state", "failed", "--kind", "tronk.report", "--limit", "3"]).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(
        daemon.calls(),
        [
            "GET /v1/jobs?state=failed&kind=tronk.report&limit=3",
            "GET /v1/jobs?state=failed&kind=tronk.report&limit=1&cursor=8"
        ]
    );
    insta::assert_snapshot!(ran.out, @r"
    ID  STATE   KIND          ACCOUNT  TAG  CREATED    NEXT  WHY
    9   failed  tronk.report  tronk         1 min ago        no\u{202e} money
    8   failed  tronk.report  tronk         1 min ago        no\u{202e} money
    7   failed  tronk.report  tronk         1 min ago        no\u{202e} money
    ");
    let ran = daemon.run(&["jobs", "--limit", "4", "--json"]).await;
    assert_eq!(ran.out.lines().count(), 4);
    assert!(!ran.raw.contains('\u{202e}') && ran.out.contains("\\u202e"), "{}", ran.out);
}

#[tokio::test]
async fn hostile_text_of_a_vendor_is_shown_and_not_obeyed() {
    let hostile = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}evil\u{7f}";
    let shown = json!({
        "error": { "code": "vendor", "message": hostile }, "tag": "two\nlines", "result": { "text": hostile, hostile: [hostile] },
        "remote_id": hostile, "why": hostile, "params": { "vin": hostile },
    });
    let daemon = Daemon::start(move |seen| match seen.call.ends_with("/timeline") {
        true => answer_json(200, &json!({ "timeline": [{ "at": super::fake::NOW, "what": "call", "note": hostile }] })),
        false => answer_json(200, &job(5, "failed", shown.clone())),
    });
    for words in [&["show", "5", "--timeline"][..], &["show", "5", "--json", "--timeline"], &["explain", "5"]] {
        let ran = daemon.run(words).await;
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
        // Our own colours end in `m` and hold digits only; they were taken away with care, so look at what is left.
        let left = ran.out.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(left, None, "{words:?}: {:?}", ran.out);
        let escapes = ran.raw.matches('\u{1b}').count();
        assert_eq!(escapes, ran.raw.matches("\u{1b}[").count(), "{:?}", ran.raw);
        assert!(ran.out.contains("evil"), "{}", ran.out);
    }
}

#[tokio::test]
async fn show_tells_everything_and_the_timeline_on_demand() {
    let daemon = Daemon::start(|seen| match seen.call.as_str() {
        "GET /v1/jobs/812" => answer_json(
            200,
            &job(
                812,
                "waiting",
                json!({ "next_at": "2026-11-22T03:00:12Z", "why": "The vendor has it.", "remote_id": "r-1" }),
            ),
        ),
        "GET /v1/jobs/812/timeline" => answer_json(
            200,
            &json!({ "timeline": [
                { "at": "2026-11-22T02:59:01.5Z", "what": "call", "op": "setqueue", "status": 200, "outcome": "accepted" },
                { "at": "2026-11-22T02:59:01.6Z", "what": "event", "seq": 4, "type": "job.accepted", "data": {} },
            ] }),
        ),
        _ => not_found(),
    });
    insta::assert_snapshot!(daemon.run(&["show", "812", "--timeline"]).await.out, @r#"
    Job 812 waiting
      kind          tronk.report
      account       tronk
      why           The vendor has it.
      next          2026-11-22T03:00:12Z (in 12 s)
      remote id     r-1
      priority      5
      submissions   1
      polls         3
      created       2026-11-22T02:59:00Z (1 min ago)
      updated       2026-11-22T03:00:00Z (now)
    Params
      {
        "phone": "79990000111"
      }
    Timeline
    AT                    WHAT   DETAILS
    2026-11-22T02:59:01Z  call   op: setqueue, outcome: accepted, status: 200
    2026-11-22T02:59:01Z  event  job.accepted, seq: 4
    "#);
    assert_eq!(daemon.run(&["show", "813"]).await.exit, Exit::NotFound);
}
