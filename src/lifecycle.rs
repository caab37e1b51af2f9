//! From start to end of `opros serve`: signals, systemd, and the exit code.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{self, Daemon, Origin, StartError};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, Sources};
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

async fn run(config: &Config, origin: Origin, clock: SharedClock) -> Result<ExitCode, StartError> {
    // Before anything is sent: a signal that comes while the daemon starts is heard once it has.
    let (mut term, mut int) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let mut hangup = listen(SignalKind::hangup());
    // Heard by nobody, and for that not deadly: a file that may not grow is an error of the write, with a name.
    let _file_too_large = listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    let daemon = systemd::while_starting(Daemon::start_from(config, origin, clock)).await?;
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
    let patience = daemon.longest_call() + DRAIN_MARGIN;
    tokio::select! {
        () = systemd::while_stopping() => {}
        stopped = tokio::time::timeout(patience, daemon.stop()) => match stopped {
            Ok(()) => tracing::info!("stopped; nothing was cut off"),
            Err(_) => tracing::warn!("stopped in spite of calls under way: the next start finds them in doubt"),
        },
        () = heard(&mut term) => tracing::warn!("stopped at once: calls under way are found in doubt at the next start"),
        () = heard(&mut int) => tracing::warn!("stopped at once: calls under way are found in doubt at the next start"),
    }
    Ok(if failed { ExitCode::from(EXIT_FAILSTOP) } else { ExitCode::SUCCESS })
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
