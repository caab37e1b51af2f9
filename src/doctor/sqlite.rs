//! The mailbox's file, and the SQLite of those who write to it.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::Finding;
use crate::config::Config;
use crate::mailbox::inspect;
use crate::mailbox::trouble::Trouble;

/// STRICT tables.
const OLDEST: Version = (3, 37, 0);
/// sqlite.org/wal.html, "the WAL-reset bug": it came with WAL, and is gone from these on.
const RESET_BUG_FROM: Version = (3, 7, 0);
const RESET_BUG_GONE: [Version; 3] = [(3, 44, 6), (3, 50, 7), (3, 51, 3)];
const PATIENCE: Duration = Duration::from_secs(5);

type Version = (u32, u32, u32);

pub async fn file(config: &Config, daemon_is_up: bool) -> Finding {
    let Some(path) = &config.mailbox.path else { return Finding::ok("mailbox", "none is configured") };
    let at = path.display();
    if daemon_is_up {
        return Finding::ok("mailbox", format!("the running daemon watches {at}; what it finds stands under health"));
    }
    if !path.exists() {
        return Finding::ok("mailbox", format!("{at} is not there yet; opros makes it"));
    }
    match inspect::inspect(path).await {
        Err(Trouble::Damaged(what)) => Finding::problem(
            "mailbox",
            format!("{at} is damaged: {what}"),
            "start opros: it takes over what can be read and makes a new one",
        ),
        Err(trouble) if trouble.is_busy() => {
            let to = "find the program (fuser), and let it end its transaction";
            Finding::warning("mailbox", format!("{at}: another program holds a lock"), to)
        }
        Err(trouble) => Finding::problem("mailbox", format!("{at} cannot be read: {trouble}"), "sudo opros doctor"),
        Ok(found) => judged(&at.to_string(), &found),
    }
}

fn judged(at: &str, found: &inspect::Inspection) -> Finding {
    if let Some(altered) = &found.altered {
        return Finding::problem("mailbox", format!("{at}: {altered}"), "opros explain mailbox_schema");
    }
    if found.other_format {
        return Finding::ok(
            "mailbox",
            format!("{at} is of another version; opros brings it up to date when it starts"),
        );
    }
    if !found.is_wal {
        let what = format!("{at} does not have the journal mode WAL; another program changed it");
        return Finding::warning("mailbox", what, "nothing: opros sets it to WAL when it starts");
    }
    Finding::ok("mailbox", format!("{at} is whole, its schema is ours, its journal is WAL"))
}

/// As far as it can be known: what these programs would use if they were started by whoever asks.
pub async fn others() -> Vec<Finding> {
    let programs: [(&str, &str, &[&str]); 3] = [
        ("sqlite3", "sqlite3", &["--version"]),
        ("Python", "python3", &["-c", "import sqlite3; print(sqlite3.sqlite_version)"]),
        ("PHP", "php", &["-r", "echo SQLite3::version()['versionString'];"]),
    ];
    // Those that share the system's library share a line.
    let mut found: Vec<(Vec<&str>, String)> = Vec::new();
    for (name, program, arguments) in programs {
        let Some(text) = said(program, arguments).await else { continue };
        let number = text.split_whitespace().next().unwrap_or_default().to_owned();
        match found.iter_mut().find(|(_, known)| *known == number) {
            Some((names, _)) => names.push(name),
            None => found.push((vec![name], number)),
        }
    }
    let mut all: Vec<Finding> =
        found.into_iter().map(|(names, number)| of_program(&names.join(" and "), &number)).collect();
    if all.is_empty() {
        let what =
            "neither sqlite3 nor python3 nor php is on PATH; others that write to the mailbox are not known here";
        all.push(Finding::ok("sqlite", what));
    }
    all
}

async fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn of_program(name: &str, text: &str) -> Finding {
    let Some(version) = version(text) else {
        return Finding::ok("sqlite", format!("{name} on PATH: which SQLite it has is not known"));
    };
    let (a, b, c) = version;
    let it = format!("SQLite {a}.{b}.{c} ({name} on PATH)");
    if version < OLDEST {
        return Finding::problem(
            "sqlite",
            format!("{it} is too old to write to the mailbox"),
            "3.37 or newer is needed",
        );
    }
    if has_reset_bug(version) {
        let what = format!(
            "{it} has the WAL-reset bug by its number (distributions may have mended it): in rare cases several \
             writers damage the mailbox; opros moves it aside then, and loses no job that it has taken"
        );
        let to = "3.51.3 (or 3.50.7, 3.44.6) where it can be had; ask other programs: SELECT sqlite_version()";
        return Finding::warning("sqlite", what, to);
    }
    Finding::ok("sqlite", it)
}

fn version(text: &str) -> Option<Version> {
    let mut parts = text.split_whitespace().next()?.split('.').map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0));
    Some(version)
}

fn has_reset_bug(version: Version) -> bool {
    let (major, minor, patch) = version;
    let mended = RESET_BUG_GONE.iter().any(|gone| (gone.0, gone.1) == (major, minor) && patch >= gone.2);
    version >= RESET_BUG_FROM && version < RESET_BUG_GONE[2] && !mended
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_number_tells_what_a_sqlite_is_good_for() {
        let table = [
            ("3.34.1", Verdict::Problem),
            ("3.40.1 2022-12-28 14:03:47 df5c", Verdict::Warning),
            ("3.44.5", Verdict::Warning),
            ("3.44.6", Verdict::Ok),
            ("3.50.7", Verdict::Ok),
            ("3.51.2", Verdict::Warning),
            ("3.51.3", Verdict::Ok),
            ("3.53.0", Verdict::Ok),
            ("4.0", Verdict::Ok),
            ("unknown", Verdict::Ok),
        ];
        for (text, verdict) in table {
            assert_eq!(of_program("sqlite3", text).verdict, verdict, "{text}");
        }
    }
}
