//! What systemd is told: how the start goes, that everything still moves, and how much there is to do. Without systemd there is
//! nobody to tell, and all of this does nothing.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::State;
use crate::engine::Engine;
use crate::store::StoreError;

/// A start that takes longer says so this often, and asks for this much more time each time.
const STARTING_EVERY: Duration = Duration::from_secs(10);
const STARTING_MORE: Duration = Duration::from_secs(60);
/// Migrations and recovery take as long as the store is large. One that is not there by then hangs: no more time is asked for.
const STARTING_AT_MOST: Duration = Duration::from_secs(3_600);
/// How often the status line is looked at, and the engine where systemd asks for no watchdog.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The status line is a kindness: it is not waited for.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// Asks systemd for more time for as long as the start needs it.
pub async fn while_starting<T>(start: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let asking = async {
        while begun.elapsed() < STARTING_AT_MOST {
            sleep(STARTING_EVERY).await;
            let text = format!(
                "Starting for {} s: the store is brought up to date and calls that were cut off are looked into",
                begun.elapsed().as_secs()
            );
            tracing::info!("{text}");
            let more = u32::try_from(STARTING_MORE.as_micros()).unwrap_or(u32::MAX);
            notify(&[NotifyState::ExtendTimeoutUsec(more), NotifyState::Status(&text)]);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        started = start => started,
        () = asking => unreachable!("it waits for ever"),
    }
}

pub fn ready() {
    notify(&[NotifyState::Ready, NotifyState::Status("Ready")]);
}

/// Feeds the watchdog after each heartbeat that went through every loop and the writer, and keeps the status line fresh. Never
/// returns. A heartbeat that does not come back is logged; systemd ends opros then.
pub async fn keep_alive(engine: Engine) {
    // Twice in its time, as systemd advises, and once more, so that one late beat costs nothing.
    let every = sd_notify::watchdog_enabled().map_or(LOOK_EVERY, |limit| (limit / 3).min(LOOK_EVERY));
    let mut shown = String::new();
    loop {
        match heartbeat(&engine, every).await {
            Ok(()) => notify(&[NotifyState::Watchdog]),
            Err(error) => tracing::error!(
                error = %error,
                "the store's writer does not work any more; systemd's watchdog is not fed"
            ),
        }
        if let Ok(Some(text)) = timeout(STATUS_PATIENCE, status(&engine)).await
            && text != shown
        {
            notify(&[NotifyState::Status(&text)]);
            shown = text;
        }
        sleep(every).await;
    }
}

/// A slow answer is an answer: nothing is given up and asked anew, systemd's patience is the limit.
async fn heartbeat(engine: &Engine, every: Duration) -> Result<(), StoreError> {
    let mut beat = pin!(engine.heartbeat());
    let begun = Instant::now();
    loop {
        if let Ok(answer) = timeout(every, &mut beat).await {
            return answer;
        }
        tracing::error!(
            waited_s = begun.elapsed().as_secs(),
            "the store's writer or an account's loop has not answered; systemd's watchdog is not fed until they do"
        );
    }
}

pub fn stopping(calls: usize) {
    let text = format!("Stopping: {calls} calls under way are waited for");
    notify(&[NotifyState::Stopping, NotifyState::Status(&text)]);
}

/// A drain takes as long as a call may; TimeoutStopSec= bounds it, not the watchdog. Never returns.
pub async fn while_stopping() {
    loop {
        notify(&[NotifyState::Watchdog]);
        sleep(sd_notify::watchdog_enabled().map_or(LOOK_EVERY, |limit| limit / 3)).await;
    }
}

/// What `systemctl status` shows.
async fn status(engine: &Engine) -> Option<String> {
    let mut jobs: BTreeMap<&'static str, i64> = BTreeMap::new();
    for count in engine.store().counts().await.ok()? {
        *jobs.entry(count.state.as_str()).or_default() += count.jobs;
    }
    let of = |state: State| jobs.get(state.as_str()).copied().unwrap_or(0);
    let mut text = format!(
        "{} queued, {} waiting, {} in doubt, {} calls under way",
        of(State::Queued),
        of(State::Waiting),
        of(State::InDoubt),
        engine.calls_in_flight()
    );
    let paused: Vec<String> = engine
        .runners()
        .iter()
        .filter(|runner| runner.account().pause.is_some())
        .map(|runner| runner.name().to_owned())
        .collect();
    if !paused.is_empty() {
        text.push_str("; paused: ");
        text.push_str(&paused.join(", "));
    }
    Some(text)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "systemd was not told");
    }
}
