use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use opros::telemetry::{Journal, Out};
use serde_json::Value;

use super::house::{Page, listen};

/// What a row or a vendor may say: a second line, a turned direction, a cleared screen, another field, another entry.
const HOSTILE: &str = "a\nb\r\u{1b}[2J\u{202e}c\u{9b}31m\u{2028}d\" uid=0\nPRIORITY=0\n\u{0}end";

fn log_something_hostile() {
    tracing::warn!(
        target: "opros::test",
        job = 812,
        kind = "tronk.report",
        account = "tronk",
        attempt = 1,
        code = "x",
        reason = HOSTILE,
        "said: {HOSTILE}"
    );
    let error = std::io::Error::other(HOSTILE);
    tracing::error!(target: "opros::test", error = %error, list = ?[HOSTILE], "second");
}

fn is_harmless(text: &str) {
    let bad = |c: char| (c.is_control() && c != '\n') || ('\u{2028}'..='\u{202e}').contains(&c);
    assert!(!text.contains(bad), "{text:?}");
}

#[test]
fn a_hostile_text_stays_one_line_of_text() {
    let page = Page::default();
    {
        let _guard = listen("info", Out::text(Box::new(page.clone()), false));
        log_something_hostile();
    }
    let text = page.text();
    is_harmless(&text);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(" WARN said: a\\nb\\r\\u{1b}[2J\\u{202e}c"), "{text}");
    assert!(lines[0].contains(" job=812 kind=tronk.report account=tronk attempt=1 code=x reason=\"a\\nb"), "{text}");
    assert!(lines[0].contains("d\\\" uid=0\\nPRIORITY=0"), "the quote does not end the field: {text}");
}

#[test]
fn a_hostile_text_stays_one_line_of_json() {
    let page = Page::default();
    {
        let _guard = listen("info", Out::json(Box::new(page.clone())));
        log_something_hostile();
    }
    let text = page.text();
    is_harmless(&text);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["job_id"], &lines[0]["attempt"]), (&Value::from(812), &Value::from(1)));
    assert_eq!((lines[0]["error_code"].as_str(), lines[0]["level"].as_str()), (Some("x"), Some("WARN")));
    assert!(lines[1]["error"].as_str().unwrap().starts_with("a\\nb"));
}

#[test]
fn a_hostile_text_stays_one_entry_of_the_journal_with_its_fields() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = UnixDatagram::bind(&path).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    {
        let _guard = listen("info", Out::journal(Journal::open(&path).unwrap()));
        log_something_hostile();
    }
    let mut buffer = vec![0; 64 << 10];
    assert_eq!(journal.recv(&mut buffer).unwrap(), 0, "the greeting");
    let count = journal.recv(&mut buffer).unwrap();
    let entry = std::str::from_utf8(&buffer[..count]).unwrap();
    is_harmless(entry);
    let fields: Vec<(&str, &str)> = entry.lines().map(|line| line.split_once('=').unwrap()).collect();
    let of = |key: &str| {
        let all: Vec<&str> = fields.iter().filter(|(name, _)| *name == key).map(|(_, value)| *value).collect();
        assert_eq!(all.len(), 1, "{key}: {entry}");
        all[0]
    };
    assert_eq!((of("JOB_ID"), of("ACCOUNT"), of("KIND"), of("ATTEMPT")), ("812", "tronk", "tronk.report", "1"));
    assert_eq!((of("ERROR_CODE"), of("PRIORITY"), of("SYSLOG_IDENTIFIER")), ("x", "4", "opros"));
    assert!(of("MESSAGE").starts_with("said: a\\nb") && of("MESSAGE").contains("job=812"));
}

#[test]
fn a_long_text_is_cut() {
    let page = Page::default();
    {
        let _guard = listen("info", Out::text(Box::new(page.clone()), false));
        tracing::info!(target: "opros::test", reason = "x".repeat(1 << 20), "short");
    }
    assert!(page.text().len() < 1_000);
}

#[test]
fn the_audit_is_heard_whatever_the_filter_says_and_nothing_else_is() {
    for filter in ["off", "error", "opros=off", "opros::audit=off", "off,opros::audit=off"] {
        let page = Page::default();
        {
            let _guard = listen(filter, Out::text(Box::new(page.clone()), false));
            tracing::info!(target: "opros::audit", "ordered");
            tracing::info!(target: "opros::engine", "something else");
            tracing::debug!(target: "opros::audit", "no order");
        }
        let text = page.text();
        assert!(text.lines().count() == 1 && text.contains("INFO ordered"), "{filter}: {text}");
    }
}

#[test]
fn libraries_are_not_asked_for_detail_and_are_named() {
    let page = Page::default();
    {
        let _guard = listen("trace", Out::text(Box::new(page.clone()), false));
        tracing::debug!(target: "reqwest::connect", "https://vendor.example/?key=secret");
        tracing::warn!(target: "sqlx::pool", "slow");
        tracing::trace!(target: "opros::engine", "detail");
    }
    let text = page.text();
    assert!(
        !text.contains("secret") && text.contains("WARN sqlx::pool: slow") && text.contains("TRACE detail"),
        "{text}"
    );
}
