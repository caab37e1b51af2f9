//! `opros explain CODE`: no code without a page, no page without a code, and docs/errors.md says the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use opros::cli::Exit;
use opros::cli::pages::{self, Place};
use opros::{lifecycle, mailbox};
use serde_json::Value;

use super::fake::run;

/// Calls whose first text is a code.
const MAKERS: [&str; 9] = [
    "Reason::new(",
    ".reason(",
    "FieldProblem::new(",
    "Problem::field(",
    " unclear(",
    ".unclear(",
    " account(",
    " failed(",
    "Self::new(StatusCode::",
];

/// Codes that reach a maker by a name. A file that hands over a name and is not here fails the test.
const BY_NAME: [(&str, &[&str]); 17] = [
    ("vendors/lenient.rs", &["html_answer", "unreadable_answer", "empty_answer"]),
    ("engine/quarantine.rs", &["quarantined"]),
    ("admin/problem.rs", &[]),
    ("engine/intake.rs", &[]),
    ("engine/mutants.rs", &[]),
    ("mailbox/apart.rs", &["uid_reused"]),
    ("mailbox/take.rs", &["bad_params", "unknown_kind"]),
    ("sinks/command.rs", &[]),
    ("store/sqlite/draft.rs", &["duplicate"]),
    ("sinks/webhook.rs", &["status_503"]),
    ("vendors/alta/wire.rs", &[]),
    ("vendors/rlab/oneshots.rs", &["contradiction"]),
    ("vendors/rlab/refusal.rs", &[]),
    ("vendors/rlab/tracks.rs", &["vendor_refused", "partly_deleted", "still_there", "already_there", "partial"]),
    ("vendors/tronk/wire.rs", &["bad_key", "access_ended"]),
    ("vendors/vagvin/wire.rs", &[]),
    ("domain/job.rs", &[]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file but tests, the played vendors and the pages, without the unit tests at its end.
fn files() -> Vec<(String, String)> {
    let mut open = vec![source()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(source()).unwrap().display().to_string();
        let is_code = name.ends_with(".rs") && !name.contains("test") && !name.starts_with("simulator");
        if is_code && !name.starts_with("cli/") && !name.starts_with("doctor") && !name.starts_with("init") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push((name, lines.collect::<Vec<_>>().join("\n")));
        }
    }
    assert!(found.len() > 100);
    found
}

fn is_code(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-')
}

/// The text that begins here, if one does.
fn literal(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix('"')?.split('"').next()
}

/// What the makers of a file are given: codes, and whether something else than a text is.
fn made(text: &str) -> (BTreeSet<String>, bool) {
    let (mut codes, mut names) = (BTreeSet::new(), false);
    for maker in MAKERS {
        for (at, _) in text.match_indices(maker) {
            if text[..at].ends_with("fn") {
                continue;
            }
            let mut rest = &text[at + maker.len()..];
            if maker.ends_with("StatusCode::") {
                rest = rest.split_once(',').map_or("", |(_, rest)| rest);
            }
            match literal(rest) {
                Some(word) if is_code(word) => drop(codes.insert(word.to_owned())),
                Some(_) => {}
                None => names |= maker == "Reason::new(" || maker == "FieldProblem::new(",
            }
        }
    }
    (codes, names)
}

#[test]
fn every_code_that_is_made_anywhere_has_a_page() {
    let mut without = BTreeSet::new();
    for (name, text) in files() {
        let (mut codes, by_name) = made(&text);
        let named = BY_NAME.iter().find(|(file, _)| *file == name).map(|(_, codes)| *codes);
        assert!(!by_name || named.is_some(), "{name} hands a code over by a name: say in BY_NAME which ones there are");
        codes.extend(named.into_iter().flatten().map(|code| (*code).to_owned()));
        // Planted mistakes show nothing to users.
        codes.remove("rescued");
        without
            .extend(codes.into_iter().filter(|code| pages::find(code).is_none()).map(|code| format!("{name}: {code}")));
    }
    assert!(without.is_empty(), "these codes have no page in src/cli/pages: {without:#?}");
}

#[test]
fn every_cause_of_health_has_a_page() {
    let text = std::fs::read_to_string(source().join("admin/health.rs")).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    let words = text.split('"').skip(1).step_by(2).map(|word| word.split(':').next().unwrap());
    let mut causes: BTreeSet<&str> = words.filter(|word| word.contains('_') && is_code(word)).collect();
    assert!(causes.contains("account_paused") && causes.contains("jobs_in_doubt"), "{causes:?}");
    causes.extend(mailbox::trouble::ALL);
    causes.extend(["stopping", "backup", "webhook_disabled", "webhook_failing"]);
    for cause in causes {
        let page = pages::find(cause).unwrap_or_else(|| panic!("{cause} has no page in src/cli/pages/health.rs"));
        assert!(page.places.contains(&Place::Health), "{cause} does not say that it is shown in health");
    }
}

#[test]
fn every_exit_code_has_a_page() {
    let codes = Exit::ALL.into_iter().map(Exit::code).chain([lifecycle::EXIT_CONFIG, lifecycle::EXIT_FAILSTOP]);
    for code in codes {
        assert!(pages::find(&format!("exit-{code}")).is_some(), "exit-{code}");
    }
}

#[test]
fn every_page_is_about_a_code_that_exists_and_says_enough() {
    let all: String = files().into_iter().map(|(_, text)| text).collect();
    let mut seen = BTreeSet::new();
    for page in pages::all() {
        assert!(seen.insert(page.code), "{} has two pages", page.code);
        let known = page.places == [Place::Exit]
            || page.code == "status_NNN"
            || all.contains(&format!("\"{}\"", page.code))
            || all.contains(&format!("\"{}:", page.code))
            || all.contains(&format!(":{}\"", page.code));
        assert!(known, "nothing shows {} any more", page.code);
        for words in [page.means, page.todo, page.money.words()] {
            assert!(words.len() > 7 && words.ends_with(['.', '?', ')']), "{}: {words}", page.code);
        }
    }
}

#[test]
fn codes_are_found_as_they_are_shown() {
    let found = |code: &str| pages::find(code).map(|page| page.code);
    assert_eq!(found("account_paused:tronk"), Some("account_paused"));
    assert_eq!(found("urn:opros:problem:bad-json"), Some("bad-json"));
    assert_eq!((found("status_503"), found("status_x"), found("exit-13")), (Some("status_NNN"), None, Some("exit-13")));
    assert_eq!(pages::near("no_answers").first(), Some(&"no_answer"));
}

#[tokio::test]
async fn explain_tells_codes_without_a_daemon() {
    let nowhere = Path::new("/nowhere/admin.sock");
    let page = run(nowhere, &["explain", "account_paused:tronk"]).await;
    assert_eq!(page.exit, Exit::Ok);
    for part in ["account_paused\n", "What it means", "What to do", "opros resume NAME", "No money is involved."] {
        assert!(page.out.contains(part), "{}", page.out);
    }
    let json: Value =
        serde_json::from_str(&run(nowhere, &["explain", "in_dout", "--json"]).await.out).unwrap_or_default();
    assert_eq!(json, Value::Null);
    let json: Value = serde_json::from_str(&run(nowhere, &["explain", "no_answer", "--json"]).await.out).unwrap();
    assert_eq!(json["code"], "no_answer");
    let slip = run(nowhere, &["explain", "no_anser"]).await;
    assert_eq!((slip.exit, slip.err.contains("Did you mean no_answer")), (Exit::NotFound, true), "{}", slip.err);
    let list = run(nowhere, &["explain"]).await;
    assert!(pages::all().all(|page| list.out.contains(page.code)));
    assert_eq!(run(nowhere, &["explain", "0"]).await.exit, Exit::Usage);
    assert_eq!(run(nowhere, &["explain", "812"]).await.exit, Exit::Unreachable);
}

#[test]
fn errors_md_is_made_of_the_pages() {
    let path = source().with_file_name("docs").join("errors.md");
    if std::env::var_os("WRITE_DOCS").is_some_and(|word| word == "write") {
        std::fs::write(&path, pages::markdown()).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(is == pages::markdown(), "docs/errors.md is stale: WRITE_DOCS=write cargo test --test it errors_md");
}
