//! Logs: text on a terminal, JSON or journal fields under systemd.
//!
//! Architecture invariant: no filter, `trace` included, brings out a secret. Libraries below us print URLs and headers when
//! they are asked for detail, so they are never asked: only opros itself speaks below `warn`.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Log, LogFormat};

/// Why logs cannot be written as configured.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log.filter {filter:?} is no filter: {error}. Write something like \"info,opros::engine=debug\"")]
    Filter { filter: String, error: tracing_subscriber::filter::ParseError },
    #[error("log.format = \"journald\", but no journal is there: {0}. Use \"text\" or \"json\"")]
    Journal(std::io::Error),
    #[error("logging is set up already")]
    Twice,
}

/// Changes what is logged while the process runs.
#[derive(Debug, Clone)]
pub struct LogControl(reload::Handle<EnvFilter, Registry>);

impl LogControl {
    pub fn set_filter(&self, filter: &str) -> Result<(), TelemetryError> {
        let new =
            EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), error })?;
        // Fails only where logging itself is gone: then nobody hears anything anyway.
        let _ = self.0.reload(new);
        Ok(())
    }
}

/// Sets up logging for the process.
pub fn init(log: &Log) -> Result<LogControl, TelemetryError> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|error| TelemetryError::Filter { filter: log.filter.clone(), error })?;
    let (filter, handle) = reload::Layer::new(filter);
    let ours = FilterFn::new(|meta| meta.target().starts_with("opros") || *meta.level() <= LevelFilter::WARN);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => {
            let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            Box::new(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(color).with_target(false))
        }
        LogFormat::Json => {
            Box::new(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
        }
        LogFormat::Journald => {
            Box::new(tracing_journald::layer().map_err(TelemetryError::Journal)?.with_field_prefix(None))
        }
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(ours).with_filter(filter))
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    Ok(LogControl(handle))
}
