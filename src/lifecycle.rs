//! From start to end of `opros serve`: signals, systemd, and the exit code.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
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

/// How long the end waits for its last lines to be taken.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Runs the daemon until a signal or a fault ends it.
pub async fn serve(sources: Sources) -> ExitCode {
    // Before anything else: until then a signal ends the process like a kill.
    let mut signals = Signals::listen();
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
    let masks = app::masks(&config);
    let log = match telemetry::init(&config.log, masks.clone()) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("opros does not start: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let queue = log.queue().clone();
    let origin = Origin { sources: Some(sources), log: Some(log), masks };
    let code = match run(&config, origin, SystemClock::shared(), &mut signals).await {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("opros does not start: {error}");
            ExitCode::from(if error.is_config() { EXIT_CONFIG } else { EXIT_START })
        }
    };
    // What nobody reads by then is not read.
    queue.flush(LAST_LINES);
    code
}

/// None: a signal came before the first call, however long the store took to be opened, brought up to date and recovered. From
/// then on calls leave: it is heard once the daemon stands, a moment later, and waits for them.
async fn start(
    config: &Config,
    origin: Origin,
    clock: SharedClock,
    signals: &mut Signals,
) -> Result<Option<Daemon>, StartError> {
    let opened = tokio::select! {
        biased;
        () = signals.end() => return Ok(None),
        opened = Daemon::open(config, origin, clock) => opened?,
    };
    Ok(Some(opened.begin(config).await))
}

async fn run(
    config: &Config,
    origin: Origin,
    clock: SharedClock,
    signals: &mut Signals,
) -> Result<ExitCode, StartError> {
    let started = systemd::while_starting(start(config, origin, clock, signals)).await?;
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
            heard = signals.heard() => match heard {
                Heard::End => break false,
                Heard::Reload => reload(&daemon).await,
                Heard::Nothing(name) => tracing::warn!(
                    signal = name,
                    "signal ignored: SIGTERM ends opros in order, SIGHUP reads the configuration again; the log needs no signal"
                ),
            },
            () = failstop.raised() => break true,
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
        () = signals.end() => tracing::warn!("stopped at once: calls under way are found in doubt at the next start"),
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
    tracing::info!(target: telemetry::AUDIT, "SIGHUP: the configuration is read again");
    if let Err(error) = daemon.reload().await {
        tracing::error!("{error}");
    }
}

/// What the daemon makes of signals. None of those that can be heard ends it like a kill: that would leave paid calls in doubt.
struct Signals {
    end: Vec<Signal>,
    reload: Vec<Signal>,
    /// Those without a meaning here, which other programs' habits send (logrotate, timers, profilers, a closed pipe).
    nothing: Vec<(&'static str, Signal)>,
}

/// What a signal asks for.
enum Heard {
    End,
    Reload,
    Nothing(&'static str),
}

impl Signals {
    fn listen() -> Self {
        use rustix::process::Signal as Posix;
        let of = |kinds: &[SignalKind]| kinds.iter().filter_map(|kind| listen(*kind)).collect();
        let named = |name, signal: Posix| Some((name, listen(SignalKind::from_raw(signal.as_raw()))?));
        let nothing = [
            named("SIGUSR1", Posix::USR1),
            named("SIGUSR2", Posix::USR2),
            named("SIGALRM", Posix::ALARM),
            named("SIGVTALRM", Posix::VTALARM),
            named("SIGPROF", Posix::PROF),
            named("SIGIO", Posix::IO),
            named("SIGPWR", Posix::POWER),
            named("SIGXCPU", Posix::XCPU),
            // A file that may not grow is an error of the write, with a name.
            named("SIGXFSZ", Posix::XFSZ),
        ];
        Self {
            end: of(&[SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()]),
            reload: of(&[SignalKind::hangup()]),
            nothing: nothing.into_iter().flatten().collect(),
        }
    }

    /// Completes when one of those came that end the daemon.
    async fn end(&mut self) {
        any(self.end.iter_mut()).await;
    }

    async fn heard(&mut self) -> Heard {
        let Self { end, reload, nothing } = self;
        let ignored = nothing.iter_mut().map(|(name, signal)| {
            async move {
                signal.recv().await;
                *name
            }
            .boxed()
        });
        tokio::select! {
            biased;
            () = any(end.iter_mut()) => Heard::End,
            () = any(reload.iter_mut()) => Heard::Reload,
            name = first(ignored.collect()) => Heard::Nothing(name),
        }
    }
}

/// Completes with one of them.
async fn any(signals: impl Iterator<Item = &mut Signal>) {
    first(signals.map(|signal| async move { signal.recv().await.unwrap_or_default() }.boxed()).collect()).await;
}

/// The first that is there; never where there is none.
async fn first<T>(waiting: Vec<BoxFuture<'_, T>>) -> T {
    if waiting.is_empty() {
        return std::future::pending().await;
    }
    futures_util::future::select_all(waiting).await.0
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::warn!(error = %error, "a signal cannot be listened to")).ok()
}
