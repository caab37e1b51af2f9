//! The one place that knows what time it is. Everything else is handed a [`Clock`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::domain::Timestamp;

/// Time as a parameter: the real one, a faster one, or one that a test moves by hand.
pub trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Timestamp;
    /// Completes once `now()` has reached `at`.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;
}

pub type SharedClock = Arc<dyn Clock>;

/// The longest single wait on the real clock: a clock that was set back or forward is noticed this soon.
const LONGEST_NAP: Duration = Duration::from_secs(5);

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one home of the wall clock")]
    fn now(&self) -> Timestamp {
        chrono::Utc::now().into()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let left = at.since(SystemClock.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        })
    }
}

/// The machine's clock run `speed` times faster from the moment it was made: for `demo` and `simulate`.
#[derive(Debug, Clone, Copy)]
pub struct ScaledClock {
    /// The real time at which it was made, and the time that it showed then.
    origin: Timestamp,
    start: Timestamp,
    speed: f64,
}

impl ScaledClock {
    pub fn new(speed: f64) -> Self {
        Self::starting_at(SystemClock.now(), speed)
    }

    /// One that shows `start` now.
    pub fn starting_at(start: Timestamp, speed: f64) -> Self {
        Self { origin: SystemClock.now(), start, speed: speed.max(0.001) }
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        let real = SystemClock.now().since(self.origin);
        self.start + real.mul_f64(self.speed)
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let clock = *self;
        Box::pin(async move {
            loop {
                let left = at.since(clock.now());
                if left.is_zero() {
                    return;
                }
                let real = left.div_f64(clock.speed).max(Duration::from_millis(1));
                tokio::time::sleep(real.min(LONGEST_NAP)).await;
            }
        })
    }
}

/// A clock that stands still until it is moved: for tests and for simulated weeks.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<watch::Sender<Timestamp>>,
}

impl ManualClock {
    pub fn new(start: Timestamp) -> Self {
        Self { now: Arc::new(watch::Sender::new(start)) }
    }

    /// Moves forward and wakes whoever waited for a time up to the new one.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = *now + by);
    }

    /// Sets the time, backwards too.
    pub fn set(&self, at: Timestamp) {
        self.now.send_replace(at);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            // The sender lives in the clock; a clock that is gone wakes nobody.
            if now.wait_for(|now| *now >= at).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// A wait for an answer is cut into naps, so that one in which this process did not run is noticed.
const NAP: Duration = Duration::from_millis(250);
/// A nap that took so much longer than it should have is not counted.
const LEAP: Duration = Duration::from_millis(300);
/// More of them than this in one wait are counted: a machine that is only slow must come to an end.
const MOST_LEAPS: u32 = 16;
/// Beyond the end of a wait.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Waits for an exchange for as long as this process runs: none when it took longer than `limit`.
///
/// A process that was stopped (a suspended machine, a migrated one, SIGSTOP) wakes with its timer run out while the answer may
/// lie whole in its socket. The time in which it could not run is no waiting, and the answer is looked for before the timer counts.
pub async fn patiently<T>(limit: Duration, exchange: impl Future<Output = T>) -> Option<T> {
    let mut exchange = std::pin::pin!(exchange);
    let (mut left, mut leaps) = (limit, 0);
    while !left.is_zero() {
        let (nap, begun) = (left.min(NAP), Instant::now());
        tokio::select! {
            biased;
            done = &mut exchange => return Some(done),
            () = tokio::time::sleep(nap) => {}
        }
        let took = begun.elapsed();
        if took > nap + LEAP && leaps < MOST_LEAPS {
            leaps += 1;
        } else {
            left = left.saturating_sub(took);
        }
    }
    // Who reads the socket may not have had its turn yet.
    tokio::time::timeout(LAST_LOOK, exchange).await.ok()
}
