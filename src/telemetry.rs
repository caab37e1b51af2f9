//! Logs: text on a terminal, JSON or journal fields under systemd; one line for each fact.
//!
//! Architecture invariant: no filter, `trace` included, brings out a secret. Libraries below us print URLs and headers when
//! they are asked for detail, so they are never asked: only opros itself speaks below `warn`. And nothing that a row or a
//! vendor says makes a second line or reaches the terminal's controls: every text goes through [`line::clean`].

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt, FilterFn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::clock::{SharedClock, SystemClock};
use crate::config::{Log, LogFormat, filter};
use crate::domain::masking::Masks;

mod journal;
mod line;
mod out;
mod queue;

pub use self::journal::Journal;
pub use self::out::{Lines, Out, Printer, Target};
pub use self::queue::{Queue, Room, Stuck};

/// What operators ordered. It is heard whatever the filter says: who is watched does not switch the watching off.
pub const AUDIT: &str = "opros::audit";

/// Where systemd's journal takes entries with fields.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// How long a panic waits for its line to be written.
const PANIC_PATIENCE: Duration = Duration::from_millis(200);

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
    queue: Queue,
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

    /// What waits to be written, and what was lost.
    pub fn queue(&self) -> &Queue {
        &self.queue
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
pub fn init(log: &Log, masks: Masks) -> Result<LogControl, TelemetryError> {
    let (out, format) = out(log.format)?;
    let (lines, queue) = (Lines::default(), Queue::to(out, SystemClock::shared()));
    let (subscriber, handle) =
        subscriber_to(&log.filter, Target::Later(queue.clone()), lines.clone(), SystemClock::shared(), masks)?;
    subscriber.try_init().map_err(|_| TelemetryError::Twice)?;
    log_panics(queue.clone());
    let filters = Filters { configured: log.filter.clone(), changed: None, changes: 0 };
    Ok(LogControl { handle, filters: Arc::new(Mutex::new(filters)), lines, format, queue })
}

/// A panic is a line like the others. The standard hook would write to stderr itself, and wait there for whoever reads it.
fn log_panics(queue: Queue) {
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let said = info.payload();
        let said = said.downcast_ref::<&str>().copied().or_else(|| said.downcast_ref::<String>().map(String::as_str));
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name(), "a thread panicked: {}", said.unwrap_or("(no words)"));
        // Where the process ends with it, this is the last moment.
        queue.flush(PANIC_PATIENCE);
    }));
}

type Handle = reload::Handle<EnvFilter, Registry>;

/// What hears events and writes lines to `out`, before the call that logged returns.
pub fn subscriber(
    filter: &str,
    out: Out,
    lines: Lines,
    clock: SharedClock,
) -> Result<(impl tracing::Subscriber + Send + Sync + use<>, Handle), TelemetryError> {
    subscriber_to(filter, Target::Now(out), lines, clock, Masks::default())
}

fn subscriber_to(
    filter: &str,
    target: Target,
    lines: Lines,
    clock: SharedClock,
    masks: Masks,
) -> Result<(impl tracing::Subscriber + Send + Sync + use<>, Handle), TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let ours = FilterFn::new(|meta| meta.target().starts_with("opros") || *meta.level() <= LevelFilter::WARN);
    let audit = FilterFn::new(|meta| meta.target() == AUDIT && *meta.level() <= LevelFilter::INFO)
        .with_max_level_hint(LevelFilter::INFO);
    let printer = Printer::new(target, lines, clock, masks);
    Ok((tracing_subscriber::registry().with(printer.with_filter(ours).with_filter(filter.or(audit))), handle))
}

fn out(format: LogFormat) -> Result<(Out, &'static str), TelemetryError> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let text = || Out::text(out::stderr(), colour);
    Ok(match format {
        LogFormat::Text => (text(), "text"),
        LogFormat::Json => (Out::json(out::stderr()), "json"),
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
