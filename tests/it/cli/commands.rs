//! Operators' moves, accounts, health, and what is said when nobody answers.

use clap::{CommandFactory, Parser};
use opros::cli::{Cli, Command, Exit, exit, socket};
use serde_json::{Value, json};

use super::fake::{Daemon, answer_json, job, problem, run};

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn config_and_socket_stand_anywhere() {
    for words in [
        "opros --socket /s jobs --config /c",
        "opros jobs --config /c --socket /s",
        "opros --config /c --socket /s jobs",
    ] {
        let cli = Cli::try_parse_from(words.split(' ')).expect(words);
        assert_eq!((cli.globals.config, cli.globals.socket), (Some("/c".into()), Some("/s".into())));
    }
}

#[test]
fn the_three_that_run_elsewhere_come_back_as_they_are() {
    let parse = |words: &str| Cli::try_parse_from(words.split(' ')).expect(words);
    let cli = parse("opros serve --set log.filter=debug --set admin.socket=/a --socket /b");
    let Command::Serve(args) = &cli.command else { panic!("not serve") };
    let overrides = [("log.filter", "debug"), ("admin.socket", "/a"), ("admin.socket", "/b")];
    assert_eq!(cli.globals.overrides(&args.set), overrides.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let Command::Simulate(args) = parse("opros simulate --listen 127.0.0.1:0 --speed 60 --seed 4 --ledger l").command
    else {
        panic!("not simulate")
    };
    assert_eq!((args.listen.port(), args.speed, args.seed, args.ledger), (0, 60.0, 4, Some("l".into())));
    assert!(matches!(parse("opros demo --plain").command, Command::Demo(args) if args.plain && !args.keep));
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let lines = [
        "submit",
        "submit a.b c=1 --params {}",
        "submit a.b --file f",
        "submit --file f --tag t",
        "submit a.b --priority 10",
        "submit a.b --deadline soon",
        "resolve 1",
        "resolve 1 --fail --resubmit",
        "wait",
        "show 0",
        "jobs --state done",
        "wait 1 --timeout 5",
        "serve --set nothing",
        "simulate --speed 0",
    ];
    for line in lines {
        let refused = Cli::try_parse_from(["opros"].into_iter().chain(line.split(' ')));
        assert_eq!(refused.expect_err(line).exit_code(), 2, "{line}");
    }
}

#[test]
fn help_documents_every_exit_code() {
    let help = Cli::command().render_help().to_string();
    for exit in exit::Exit::ALL {
        assert!(help.contains(&format!(" {}  ", exit.code())), "{exit:?} is missing from: {help}");
    }
}

#[tokio::test]
async fn a_daemon_that_does_not_run_is_one_line_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    for words in [&["jobs"][..], &["watch"], &["wait", "1"], &["submit", "a.b"]] {
        let ran = run(&path, words).await;
        assert_eq!(ran.exit, Exit::Unreachable);
        let line = format!(
            "error: opros is not answering at {}: no such file. Is it running? systemctl status opros; or give --socket PATH\n",
            path.display()
        );
        assert_eq!(ran.err, line);
    }
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(run(&path, &["jobs"]).await.err.contains("nobody listens"));
}

#[test]
fn whoever_may_not_in_is_told_which_group_may() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let words = socket::explain(&path, &denied);
    // The temporary directory is root's or the tester's.
    let told = |words: &str, what: &str| {
        words.contains(&format!("{what} is for group ")) || words.contains(&format!("{what} belongs to root alone"))
    };
    assert!(told(&words, "its directory"), "{words}");
    std::fs::write(&path, "").expect("a file");
    assert!(told(&socket::explain(&path, &denied), "the socket"));
}

#[tokio::test]
async fn operators_moves_go_out_as_the_contract_says() {
    let daemon = Daemon::start(|seen| {
        let status = match seen.call.rsplit('/').next() {
            Some("cancel") => 202,
            Some("retry") => 201,
            _ => 200,
        };
        answer_json(status, &job(6, "queued", json!({})))
    });
    let table = [
        (
            "cancel 5",
            "POST /v1/jobs/5/cancel",
            json!({}),
            "Job 6 is queued; it is cancelled as soon as that is possible.",
        ),
        ("retry 5", "POST /v1/jobs/5/retry", json!({}), "Job 6 is queued. It repeats job 5."),
        ("retry 5 --force", "POST /v1/jobs/5/retry", json!({ "force": true }), "Job 6 is queued. It repeats job 5."),
        ("resolve 5 --resubmit", "POST /v1/jobs/5/resolve", json!({ "action": "resubmit" }), "Job 6 is queued."),
        (
            "resolve 5 --adopt r",
            "POST /v1/jobs/5/resolve",
            json!({ "action": "adopt", "remote_id": "r" }),
            "Job 6 is queued.",
        ),
        ("resolve 5 --fail", "POST /v1/jobs/5/resolve", json!({ "action": "fail" }), "Job 6 is queued."),
    ];
    for (line, call, body, words) in table {
        let ran = daemon.run(&line.split(' ').collect::<Vec<_>>()).await;
        let seen = daemon.seen().pop().expect("a call");
        assert_eq!((seen.call.as_str(), seen.body, ran.out.trim_end()), (call, body, words), "{line}");
    }
}

#[tokio::test]
async fn cancelling_several_goes_on_after_a_refusal() {
    let daemon = Daemon::start(|seen| match seen.call.contains("/1/") {
        true => problem(409, &json!({ "title": "Wrong state", "detail": "job 1 has ended (failed)" })),
        false => answer_json(202, &job(2, "cancelled", json!({}))),
    });
    let ran = daemon.run(&["cancel", "1", "2"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, "Job 2 is cancelled.\n"));
    assert_eq!(ran.err, "job 1: Wrong state: job 1 has ended (failed)\n");
}

fn accounts() -> Value {
    json!({ "accounts": [
        { "name": "bare" },
        { "name": "alta", "vendor": "alta", "paused": { "by": "vendor", "code": "no_money", "message": "no money left", "since": "2026-11-22T02:00:00Z" },
          "breaker": { "open": false, "failures": 0, "probe_at": null }, "limits": { "max_in_flight": 4, "min_interval": "1s" },
          "in_flight": 0, "queued": 12, "waiting": 3, "followed": 2, "balance": { "amount": 12.5, "unit": "RUB", "at": null } },
        { "name": "rlab", "vendor": "rlab", "paused": null, "breaker": { "open": true, "failures": 4, "probe_at": "2026-11-22T03:00:30Z" },
          "in_flight": 1, "limits": { "max_in_flight": 4 }, "next_call_at": "2026-11-22T03:00:30Z" },
    ] })
}

#[tokio::test]
async fn accounts_say_what_holds_them_and_bear_missing_fields() {
    let daemon = Daemon::start(|_| answer_json(200, &accounts()));
    insta::assert_snapshot!(daemon.run(&["accounts"]).await.out, @"
    ACCOUNT  STATE   VENDOR  CALLS   QUEUED  WAITING  FOLLOWED  BALANCE   NEXT CALL  WHAT
    bare     good
    alta     paused  alta    0 of 4  12      3        2         12.5 RUB             paused by the vendor since 2026-11-22T02:00:00Z (1 h ago): no money left
    rlab     broken  rlab    1 of 4                                       in 30 s    the vendor does not answer (4 failures in a row); the next try is 2026-11-22T03:00:30Z (in 30 s)
    ");
    assert_eq!(daemon.run(&["accounts", "--json"]).await.out.lines().count(), 3);
}

#[tokio::test]
async fn an_accounts_name_cannot_leave_its_place_in_the_path() {
    let daemon = Daemon::start(|_| {
        answer_json(200, &json!({ "name": "a/b", "paused": { "by": "operator", "message": "tea" } }))
    });
    let ran = daemon.run(&["pause", "a/b?c", "--reason", "tea"]).await;
    assert_eq!(ran.out, "Account a/b: paused by the operator: tea.\n");
    assert_eq!(daemon.seen()[0].body, json!({ "reason": "tea" }));
    daemon.run(&["resume", "alta"]).await;
    assert_eq!(daemon.calls(), ["POST /v1/accounts/a%2Fb%3Fc/pause", "POST /v1/accounts/alta/resume"]);
}

async fn explained(state: &'static str, more: Value) -> String {
    let daemon = Daemon::start(move |seen| match seen.call.as_str() {
        "GET /v1/accounts" => answer_json(200, &accounts()),
        _ => answer_json(200, &job(812, state, more.clone())),
    });
    daemon.run(&["explain", "812"]).await.out
}

#[tokio::test]
async fn explain_says_why_and_what_comes_next() {
    let paused =
        json!({ "account": "alta", "kind": "alta.track", "error": { "code": "no_money", "message": "no money left" } });
    insta::assert_snapshot!(explained("queued", paused).await, @"
    Job 812 (alta.track, account alta) is queued.
    It has not been sent yet.
    Account alta: paused by the vendor since 2026-11-22T02:00:00Z (1 h ago): no money left.
    Next: nothing happens until the account is resumed.
    Once that is mended: opros resume alta
    More on this error: opros explain no_money
    ");
    let polled = json!({ "why": "The vendor has it and is not done.", "next_at": "2026-11-22T03:00:12Z" });
    insta::assert_snapshot!(explained("waiting", polled).await, @"
    Job 812 (tronk.report, account tronk) is waiting.
    The vendor has it and is not done.
    Next: opros turns to it at 2026-11-22T03:00:12Z (in 12 s).
    ");
    insta::assert_snapshot!(explained("in_doubt", json!({ "why": "It may have been paid." })).await, @"
    Job 812 (tronk.report, account tronk) is in doubt.
    It may have been paid.
    Next: nothing happens until you decide.
    To decide, look at the vendor's side, then: opros resolve 812 --resubmit | --adopt REMOTE_ID | --fail
    ");
    let told = json!({ "why": "Decide: opros resolve 812 --resubmit | --fail." });
    assert_eq!(explained("in_doubt", told).await.matches("opros resolve 812").count(), 1);
    insta::assert_snapshot!(explained("failed", json!({ "error": { "code": "c", "message": "bad VIN" } })).await, @"
    Job 812 (tronk.report, account tronk) has failed.
    The vendor refused it or could not do it.
    Its last error: bad VIN.
    To try it again: opros retry 812
    ");
}

#[tokio::test]
async fn health_is_told_with_its_causes_and_blocked_is_a_failure() {
    let causes =
        json!([{ "what": "the mailbox is locked", "since": "2026-11-22T02:59:00Z", "code": "mailbox_locked" }]);
    for (status, word, exit) in [(200, "ready", Exit::Ok), (200, "degraded", Exit::Ok), (503, "blocked", Exit::Failed)]
    {
        let body = json!({ "status": word, "causes": causes });
        let daemon = Daemon::start(move |_| answer_json(status, &body));
        let ran = daemon.run(&["health"]).await;
        let words = format!(
            "{word}\n  the mailbox is locked since 2026-11-22T02:59:00Z (1 min ago)\n    opros explain mailbox_locked\n"
        );
        assert_eq!((ran.exit, ran.out), (exit, words));
    }
}

#[tokio::test]
async fn config_check_tells_every_problem_at_once_without_a_daemon() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("opros.toml");
    std::fs::write(&file, "[log]\nfilters = \"info\"\n[retention]\nevents = \"soon\"\n").expect("written");
    let config = file.to_str().expect("UTF-8");
    let ran = run(dir.path(), &["config", "check", "--config", config]).await;
    assert_eq!((ran.exit, ran.out.lines().count()), (Exit::Usage, 2), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("opros.toml:2") && ran.out.contains("opros.toml:4"), "{}", ran.out);
    let ran = run(dir.path(), &["config", "check", "--json", "--config", config]).await;
    assert!(ran.out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", ran.out);
    std::fs::write(&file, "").expect("written");
    let ran = run(dir.path(), &["config", "check", "--config", config]).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.out);
}

#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run("/nowhere".as_ref(), &["completions", shell]).await;
        assert!(ran.out.contains("resolve") && ran.out.contains("simulate"), "{shell}");
    }
}
