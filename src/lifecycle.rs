//! From start to end of `opros serve`: signals, systemd, and the exit code.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{self, Daemon, Origin, StartError};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, Sources};
use crate::engine::Engine;
use crate::store::StoreHealth;
use crate::telemetry;

mod systemd;

/// The configuration is wrong: starting again does not help (systemd: RestartPreventExitStatus).
pub const EXIT_CONFIG: u8 = 78;
/// It does not start: store or socket are not to be had.
pub const EXIT_START: u8 = 1;
/// The store cannot be trusted any more.
pub const EXIT_FAILSTOP: u8 = 70;

/// A drain that takes longer than the longest call and this was cut.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// Runs the daemon until a signal or a fault ends it.
pub async fn serve(sources: Sources) -> ExitCode {
    let config = match crate::config::load(&sources) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("opros does not start, the configuration is wrong:\n{problems}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if let Err(problems) = app::check(&config) {
        eprintln!("opros does not start, the configuration is wrong:\n{problems}");
        return ExitCode::from(EXIT_CONFIG);
    }
    let log = match telemetry::init(&config.log) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("opros does not start: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let origin = Origin { sources: Some(sources), log: Some(log) };
    match run(&config, origin, SystemClock::shared()).await {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("opros does not start: {error}");
            ExitCode::from(if error.is_config() { EXIT_CONFIG } else { EXIT_START })
        }
    }
}

/// None: a signal came before the first call, however long the store took to be opened, brought up to date and recovered. From
/// then on calls leave: it is heard once the daemon stands, a moment later, and waits for them.
async fn start(
    config: &Config,
    origin: Origin,
    clock: SharedClock,
    term: &mut Option<Signal>,
    int: &mut Option<Signal>,
) -> Result<Option<Daemon>, StartError> {
    let opened = tokio::select! {
        biased;
        () = heard(term) => return Ok(None),
        () = heard(int) => return Ok(None),
        opened = Daemon::open(config, origin, clock) => opened?,
    };
    Ok(Some(opened.begin(config).await))
}

async fn run(config: &Config, origin: Origin, clock: SharedClock) -> Result<ExitCode, StartError> {
    // Before anything is done.
    let (mut term, mut int) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let mut hangup = listen(SignalKind::hangup());
    // Heard by nobody, and for that not deadly: a file that may not grow is an error of the write, with a name.
    let _file_too_large = listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    let started = systemd::while_starting(start(config, origin, clock, &mut term, &mut int)).await?;
    let Some(daemon) = started else {
        tracing::info!("stopped while the store was being opened: no call was begun and nothing is left under way");
        return Ok(ExitCode::SUCCESS);
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        accounts = config.accounts.len(),
        socket = %config.admin.socket.display(),
        store = %config.store.path.display(),
        "opros is ready"
    );
    systemd::ready();
    let failstop = daemon.engine().failstop().clone();
    let alive = tokio::spawn(systemd::keep_alive(daemon.engine().clone()));
    let failed = loop {
        tokio::select! {
            () = heard(&mut term) => break false,
            () = heard(&mut int) => break false,
            () = failstop.raised() => break true,
            () = heard(&mut hangup) => reload(&daemon).await,
        }
    };
    alive.abort();
    let calls = daemon.engine().calls_in_flight();
    tracing::info!(calls, "stopping: no new calls; those under way are waited for (a second signal stops at once)");
    systemd::stopping(calls);
    let engine = daemon.engine().clone();
    let patience = daemon.longest_call() + DRAIN_MARGIN;
    tokio::select! {
        () = systemd::while_stopping() => {}
        stopped = tokio::time::timeout(patience, daemon.stop()) => match stopped {
            Ok(()) => tracing::info!("stopped; nothing was cut off"),
            Err(_) => tracing::warn!("{}", left(&engine)),
        },
        () = heard(&mut term) => tracing::warn!("stopped at once: calls under way are found in doubt at the next start"),
        () = heard(&mut int) => tracing::warn!("stopped at once: calls under way are found in doubt at the next start"),
    }
    Ok(if failed { ExitCode::from(EXIT_FAILSTOP) } else { ExitCode::SUCCESS })
}

/// What a stop leaves that was waited for in vain.
fn left(engine: &Engine) -> String {
    let store = match engine.store().health() {
        StoreHealth::Blocked { reason, .. } => Some(reason),
        StoreHealth::Good | StoreHealth::Tight { .. } => None,
    };
    match (engine.calls_in_flight(), store) {
        (0, None) => {
            "stopped before everything was written down; the next start goes on from what is in the store".to_owned()
        }
        (0, Some(reason)) => format!(
            "stopped although the store does not answer ({reason}): no call is under way; what it did not take is told or asked \
             again after the next start"
        ),
        (calls, None) => format!("stopped in spite of {calls} calls under way: the next start finds them in doubt"),
        (calls, Some(reason)) => format!(
            "stopped although the store does not answer ({reason}): the outcomes of {calls} calls are not in it. Orders among \
             them are found in doubt at the next start, and are never sent again by themselves"
        ),
    }
}

/// By SIGHUP: nobody waits for an answer but the log.
async fn reload(daemon: &Daemon) {
    tracing::info!("SIGHUP: the configuration is read again");
    if let Err(error) = daemon.reload().await {
        tracing::error!("{error}");
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::warn!(error = %error, "a signal cannot be listened to")).ok()
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
