//! `opros doctor`: looks at everything around opros that is known to go wrong, and says what to do. It changes nothing, pays
//! nothing, and works whether the daemon runs or not.
//!
//! Root runs it where others write. So it runs no program, whatever lies in the directory and the environment; it opens only
//! regular files, by descriptors (`crate::look`); and it waits for nothing longer than a few seconds.

mod accounts;
mod advice;
mod daemon;
mod files;
mod machine;
mod resolvers;
mod sqlite;
pub mod trial;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::cli::args::DoctorArgs;
use crate::cli::output::{BAD, CARE, GOOD, Term, styled};
use crate::cli::{Exit, Failure, text};
use crate::clock::SharedClock;
use crate::config::{self, Config, Sources};

/// Where systemd keeps the unit's credentials while it runs.
const UNIT_CREDENTIALS: &str = "/run/credentials/opros.service";

/// No look at the machine takes longer: a disk or a file system that hangs is told, and not waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// All looks at the machine together.
const LOCAL: Duration = Duration::from_secs(12);
/// A vendor's host that takes longer is told.
const REACH: Duration = Duration::from_secs(7);

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

/// One look that may hang, on a thread of its own: whoever ends the process ends it.
async fn bounded<T: Send + 'static>(until: Instant, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let until = until.min(Instant::now() + PATIENCE);
    tokio::time::timeout_at(until, tokio::task::spawn_blocking(look)).await.ok()?.ok()
}

fn hung(check: &'static str, what: &str) -> Finding {
    let what = format!("{what} cannot be looked at: there is no end of it in the time that a look may take");
    Finding::problem(check, what, "does a disk or a network file system hang? What lies there, and who put it there?")
}

/// Looks at everything in turn.
pub async fn doctor(
    term: &mut Term,
    clock: &SharedClock,
    sources: Sources,
    args: &DoctorArgs,
) -> Result<Exit, Failure> {
    let mut report = Report { term, warnings: 0, problems: 0 };
    let until = Instant::now() + LOCAL;
    let (sources, config) = settings(&mut report, sources, until).await?;
    let running = daemon::look(&sources.client_socket(), config.as_deref()).await;
    report.say(running.findings.iter().cloned())?;
    let (now, shared) = (clock.now(), config.clone());
    let store = move || machine::clock(now, shared.as_ref().map(|config| config.store.path.as_path()));
    report.say(bounded(until, store).await.unwrap_or_else(|| vec![hung("clock", "what the store has seen of it")]))?;
    let shared = clock.clone();
    let tls = bounded(until, move || machine::certificates(&shared)).await;
    report.say([tls.unwrap_or_else(|| hung("tls", "the machine's certificates"))])?;
    report.say(bounded(until, resolvers::look).await.unwrap_or_default())?;
    if let Some(config) = &config {
        places(&mut report, &sources, config, running.is_up, until).await?;
    }
    let libraries = bounded(until, sqlite::others).await;
    report.say(libraries.unwrap_or_else(|| vec![hung("sqlite", "the system's SQLite")]))?;
    if let Some(config) = config.filter(|_| !args.offline) {
        vendors(&mut report, &config, &running, args.online, clock).await?;
    }
    report.finish()
}

/// Reads the configuration and says how it is; `None` where it does not even say where things lie.
async fn settings(
    report: &mut Report<'_>,
    sources: Sources,
    until: Instant,
) -> Result<(Sources, Option<Arc<Config>>), Failure> {
    let mut with_unit = sources.clone();
    let read = bounded(until, move || {
        let mut findings: Vec<Finding> = credentials(&mut with_unit).into_iter().collect();
        let loaded = config::load(&with_unit);
        findings.extend(configuration(&with_unit, loaded.as_ref()));
        // What is wrong elsewhere keeps nobody from looking at the directories.
        let config = loaded.ok().or_else(|| config::places(&with_unit));
        (findings, with_unit, config.map(Arc::new))
    });
    let (findings, sources, config) = read
        .await
        .unwrap_or_else(|| (vec![hung("config", "the configuration, or a file that it names,")], sources, None));
    report.say(findings)?;
    let inside = crate::mailbox::inspect::sqlite_version().await.unwrap_or_else(|_| "unknown".to_owned());
    report
        .say([Finding::ok("version", format!("opros {}, with SQLite {inside} built in", env!("CARGO_PKG_VERSION")))])?;
    Ok((sources, config))
}

/// Directories, files, disks, and the mailbox's inside.
async fn places(
    report: &mut Report<'_>,
    sources: &Sources,
    config: &Arc<Config>,
    is_up: bool,
    until: Instant,
) -> Result<(), Failure> {
    let (from, of) = (sources.clone(), Arc::clone(config));
    let files = bounded(until, move || files::look(&from, &of)).await;
    report.say(files.unwrap_or_else(|| vec![hung("store", "the directories of store and mailbox")]))?;
    let of = Arc::clone(config);
    let disks = bounded(until, move || machine::disk(&of)).await;
    report.say(disks.unwrap_or_else(|| vec![hung("disk", "the disk")]))?;
    report.say([mailbox(config, is_up, until).await])
}

async fn mailbox(config: &Config, is_up: bool, until: Instant) -> Finding {
    let Some(path) = config.mailbox.path.clone() else { return Finding::ok("mailbox", "none is configured") };
    let at = path.display().to_string();
    if is_up {
        return Finding::ok("mailbox", format!("the running daemon watches {at}; what it finds stands under health"));
    }
    let from = path.clone();
    let copy = match bounded(until, move || sqlite::take(&from)).await {
        Some(sqlite::Taken::Copy(copy)) => copy,
        Some(sqlite::Taken::Said(finding)) => return finding,
        None => {
            let what = format!("{at} was not looked through: a copy of it takes longer than {} s", PATIENCE.as_secs());
            return Finding::warning("mailbox", what, "start opros, which looks through it where it lies");
        }
    };
    let until = until.min(Instant::now() + PATIENCE);
    let looked = tokio::time::timeout_at(until, sqlite::file(&path, &copy)).await;
    looked.unwrap_or_else(|_| {
        let what = format!("{at} cannot be looked through: it is large, or somebody made it so that it has no end");
        Finding::problem("mailbox", what, "opros explain mailbox_schema")
    })
}

/// All of them at once: each is another host, and may take its time.
async fn vendors(
    report: &mut Report<'_>,
    config: &Arc<Config>,
    running: &daemon::Running,
    online: bool,
    clock: &SharedClock,
) -> Result<(), Failure> {
    let (of, time) = (Arc::clone(config), clock.clone());
    let setups = bounded(Instant::now() + PATIENCE, move || accounts::all(&of, &time)).await.unwrap_or_default();
    let looks = setups.iter().map(|setup| accounts::look(setup, running, online, clock, REACH));
    report.say(join_all(looks).await.into_iter().flatten())
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
                let todo = if problem.is_unread {
                    "is it there, and may you read it? sudo opros doctor"
                } else {
                    "mend that line"
                };
                Finding::problem("config", problem.to_string(), todo)
            };
            problems.0.iter().map(finding).collect()
        }
    }
}
