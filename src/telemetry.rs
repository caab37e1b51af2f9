//! Logs: text on a terminal, JSON or journal fields under systemd; one line for each fact.
//!
//! Architecture invariant: no filter, `trace` included, brings out a secret. Libraries below us print URLs and headers when
//! they are asked for detail, so they are never asked: only opros itself speaks below `warn`. And nothing that a row or a
//! vendor says makes a second line or reaches the terminal's controls: every text goes through [`line::clean`].

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::clock::{SharedClock, SystemClock};
use crate::config::{Log, LogFormat, filter};

mod journal;
mod line;
mod out;

pub use self::journal::Journal;
pub use self::out::{Lines, Out, Printer};

/// Where systemd's journal takes entries with fields.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Why logs cannot be written as configured.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log.filter {filter:?} is no filter: {what}. Write something like \"info,opros::engine=debug\"")]
    Filter { filter: String, what: String },
    #[error("log.format = \"journald\", but no journal is there: {0}. Use \"auto\", \"text\" or \"json\"")]
    Journal(io::Error),
    #[error("logging is set up already")]
    Twice,
}

/// Changes what is logged while the process runs.
#[derive(Debug, Clone)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
    filters: Arc<Mutex<Filters>>,
    lines: Lines,
    format: &'static str,
}

#[derive(Debug)]
struct Filters {
    configured: String,
    /// By an operator's word.
    changed: Option<String>,
    /// Counts up at every change of an operator's.
    changes: u64,
}

impl LogControl {
    /// What the configuration says from now on. What an operator set stays until it is reset.
    pub fn configure(&self, filter: &str) -> Result<(), TelemetryError> {
        let new = parse(filter)?;
        let mut filters = self.filters();
        filter.clone_into(&mut filters.configured);
        if filters.changed.is_none() {
            self.load(new);
        }
        Ok(())
    }

    /// An operator's filter; returns the number of this change, for [`LogControl::reset_change`].
    pub fn set(&self, filter: &str) -> Result<u64, TelemetryError> {
        let new = parse(filter)?;
        let mut filters = self.filters();
        filters.changed = Some(filter.to_owned());
        filters.changes += 1;
        self.load(new);
        Ok(filters.changes)
    }

    /// The configured filter again.
    pub fn reset(&self) {
        let mut filters = self.filters();
        filters.changes += 1;
        self.forget(&mut filters);
    }

    /// The same, unless an operator has changed something since; true when it was done.
    pub fn reset_change(&self, change: u64) -> bool {
        let mut filters = self.filters();
        let is_last = filters.changes == change && filters.changed.is_some();
        if is_last {
            self.forget(&mut filters);
        }
        is_last
    }

    /// What the configuration says, and what an operator has set.
    pub fn look(&self) -> (String, Option<String>) {
        let filters = self.filters();
        (filters.configured.clone(), filters.changed.clone())
    }

    /// `text`, `json` or `journald`.
    pub fn format(&self) -> &'static str {
        self.format
    }

    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    fn forget(&self, filters: &mut Filters) {
        filters.changed = None;
        // It was checked when it was read.
        if let Ok(filter) = parse(&filters.configured) {
            self.load(filter);
        }
    }

    fn load(&self, filter: EnvFilter) {
        // Fails only where logging itself is gone: then nobody hears anything anyway.
        let _ = self.handle.reload(filter);
    }

    /// Every change is whole: a panic elsewhere leaves the filters usable.
    fn filters(&self) -> MutexGuard<'_, Filters> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    filter::read(filter).map_err(|what| TelemetryError::Filter { filter: filter.to_owned(), what })
}

/// Sets up logging for the process.
pub fn init(log: &Log) -> Result<LogControl, TelemetryError> {
    let (out, format) = out(log.format)?;
    let lines = Lines::default();
    let (subscriber, handle) = subscriber(&log.filter, out, lines.clone(), SystemClock::shared())?;
    subscriber.try_init().map_err(|_| TelemetryError::Twice)?;
    let filters = Filters { configured: log.filter.clone(), changed: None, changes: 0 };
    Ok(LogControl { handle, filters: Arc::new(Mutex::new(filters)), lines, format })
}

type Handle = reload::Handle<EnvFilter, Registry>;

/// What hears events and writes lines to `out`.
pub fn subscriber(
    filter: &str,
    out: Out,
    lines: Lines,
    clock: SharedClock,
) -> Result<(impl tracing::Subscriber + Send + Sync + use<>, Handle), TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let ours = FilterFn::new(|meta| meta.target().starts_with("opros") || *meta.level() <= LevelFilter::WARN);
    let printer = Printer::new(out, lines, clock);
    Ok((tracing_subscriber::registry().with(printer.with_filter(ours).with_filter(filter)), handle))
}

fn out(format: LogFormat) -> Result<(Out, &'static str), TelemetryError> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let text = || Out::text(Box::new(io::stderr()), colour);
    Ok(match format {
        LogFormat::Text => (text(), "text"),
        LogFormat::Json => (Out::json(Box::new(io::stderr())), "json"),
        LogFormat::Journald => (Out::journal(Journal::open(JOURNAL).map_err(TelemetryError::Journal)?), "journald"),
        LogFormat::Auto if stderr_is_the_journal() => match Journal::open(JOURNAL) {
            Ok(journal) => (Out::journal(journal), "journald"),
            Err(_) => (text(), "text"),
        },
        LogFormat::Auto => (text(), "text"),
    })
}

/// systemd names the journal's stream by device and inode: where stderr is another one, somebody reads it elsewhere.
fn stderr_is_the_journal() -> bool {
    let Some(named) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    std::fs::metadata("/dev/stderr").is_ok_and(|meta| named == format!("{}:{}", meta.dev(), meta.ino()))
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Out")
    }
}
