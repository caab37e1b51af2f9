//! `opros doctor`: looks at everything around opros that is known to go wrong, and says what to do. It changes nothing, pays
//! nothing, and works whether the daemon runs or not.

mod accounts;
mod daemon;
mod files;
mod machine;
mod sqlite;
pub mod trial;

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::DoctorArgs;
use crate::cli::output::{BAD, CARE, GOOD, Term, styled};
use crate::cli::{Exit, Failure, text};
use crate::clock::SharedClock;
use crate::config::{self, Config, Sources};

/// Where systemd keeps the unit's credentials while it runs.
const UNIT_CREDENTIALS: &str = "/run/credentials/opros.service";

/// Where a finding's words begin, behind verdict and check.
const INDENT: usize = 21;
/// On a narrower terminal nothing is gained by breaking lines.
const LEAST_ROOM: usize = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Warning,
    Problem,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable word for programs.
    pub check: &'static str,
    pub verdict: Verdict,
    pub what: String,
    /// What to do; none where all is well.
    pub todo: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), todo: None }
    }

    pub fn warning(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, what: what.into(), todo: Some(todo.into()) }
    }

    pub fn problem(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { verdict: Verdict::Problem, ..Self::warning(check, what, todo) }
    }
}

/// Says each finding as soon as it is there.
struct Report<'a> {
    term: &'a mut Term,
    warnings: usize,
    problems: usize,
}

impl Report<'_> {
    fn say(&mut self, findings: impl IntoIterator<Item = Finding>) -> Result<(), Failure> {
        for finding in findings {
            let Finding { check, verdict, what, todo } = finding;
            self.warnings += usize::from(verdict == Verdict::Warning);
            self.problems += usize::from(verdict == Verdict::Problem);
            let (word, style) = match verdict {
                Verdict::Ok => ("ok", GOOD),
                Verdict::Warning => ("warning", CARE),
                Verdict::Problem => ("problem", BAD),
            };
            if self.term.json {
                let value = json!({ "check": check, "verdict": word, "what": what, "todo": todo });
                self.term.say_json(&value.to_string())?;
                continue;
            }
            let todo = todo.map(|todo| format!(". To do: {todo}")).unwrap_or_default();
            let line = text::line(&format!("{what}{todo}"));
            let head = format!("{} {check:<11} ", styled(style, format!("{word:<8}")));
            self.term.say(format!("{head}{}", self.folded(line)))?;
        }
        Ok(())
    }

    /// On a terminal long lines are broken between words; programs get one line a finding.
    fn folded(&self, line: String) -> String {
        let room = self.term.width.map(|width| usize::from(width).saturating_sub(INDENT));
        match room.filter(|room| *room >= LEAST_ROOM) {
            Some(room) => text::wrapped(&line, room).join(&format!("\n{}", " ".repeat(INDENT))),
            None => line,
        }
    }

    fn finish(self) -> Result<Exit, Failure> {
        let count = |count: usize, what: &str| match count {
            0 => format!("no {what}s"),
            1 => format!("1 {what}"),
            more => format!("{more} {what}s"),
        };
        self.term.note(format!("{}, {}.", count(self.problems, "problem"), count(self.warnings, "warning")))?;
        Ok(if self.problems == 0 { Exit::Ok } else { Exit::Failed })
    }
}

/// Looks at everything in turn.
pub async fn doctor(
    term: &mut Term,
    clock: &SharedClock,
    mut sources: Sources,
    args: &DoctorArgs,
) -> Result<Exit, Failure> {
    let mut report = Report { term, warnings: 0, problems: 0 };
    report.say(credentials(&mut sources))?;
    let loaded = config::load(&sources);
    report.say(configuration(&sources, loaded.as_ref()))?;
    let inside = crate::mailbox::inspect::sqlite_version().await.unwrap_or_else(|_| "unknown".to_owned());
    report
        .say([Finding::ok("version", format!("opros {}, with SQLite {inside} built in", env!("CARGO_PKG_VERSION")))])?;
    let running = daemon::look(&sources.client_socket(), loaded.as_ref().ok()).await;
    report.say(running.findings.iter().cloned())?;
    report.say(machine::clock(clock.now(), loaded.as_ref().ok().map(|config| config.store.path.as_path())))?;
    report.say([machine::certificates(clock)])?;
    if let Ok(config) = &loaded {
        report.say(files::look(&sources, config))?;
        report.say(machine::disk(config))?;
        report.say([sqlite::file(config, running.is_up).await])?;
    }
    report.say(sqlite::others().await)?;
    if let Ok(config) = loaded.as_ref()
        && !args.offline
    {
        for account in accounts::all(config, clock) {
            report.say(accounts::look(&account, &running, args.online, clock).await)?;
        }
    }
    report.finish()
}

/// Whoever looks by hand does not stand in the unit: its credentials are looked for where systemd keeps them.
fn credentials(sources: &mut Sources) -> Option<Finding> {
    let unit = PathBuf::from(UNIT_CREDENTIALS);
    let found = sources.credentials_dir.is_none() && unit.is_dir();
    if found {
        sources.credentials_dir = Some(unit);
    }
    let directory = sources.credentials_dir.as_deref()?;
    let at = directory.display();
    Some(match std::fs::read_dir(directory) {
        Ok(entries) => Finding::ok("credentials", format!("{} of systemd's are read from {at}", entries.count())),
        Err(error) => Finding::warning(
            "credentials",
            format!("systemd's in {at} cannot be read: {error}"),
            "run it as root: sudo opros doctor",
        ),
    })
}

fn configuration(sources: &Sources, loaded: Result<&Config, &config::Problems>) -> Vec<Finding> {
    let file = sources.config_file().map(|(path, _)| path.display().to_string()).unwrap_or_default();
    match loaded {
        Ok(config) => {
            let driven = crate::app::check(config).err().into_iter().flat_map(|problems| problems.0);
            let mut all: Vec<Finding> =
                driven.map(|problem| Finding::problem("config", problem.to_string(), "mend that line")).collect();
            all.extend(config.warnings.iter().map(|warning| {
                Finding::warning("config", warning.to_string(), "see the line, then: opros config check")
            }));
            if all.is_empty() {
                let there = if Path::new(&file).exists() { file } else { format!("{file} is not there; the defaults") };
                all.push(Finding::ok("config", format!("{there}: sound, {} accounts", config.accounts.len())));
            }
            all
        }
        Err(problems) => {
            let finding = |problem: &config::Problem| {
                let unread = problem.message.starts_with("cannot be read");
                let todo =
                    if unread { "is it there, and may you read it? sudo opros doctor" } else { "mend that line" };
                Finding::problem("config", problem.to_string(), todo)
            };
            problems.0.iter().map(finding).collect()
        }
    }
}
