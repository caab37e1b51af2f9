//! Dying on purpose: the places where the crash harness kills the daemon, and the mistakes that it must catch.
//!
//! All of this is there with the cargo feature `crashtest` only. Without it every function here is empty and inlined: a
//! released daemon cannot be told to die or to err. See docs/reliability.md, "Killing it everywhere".

/// A mistake that a paid-request daemon could have; each is planted in one place. The harness must catch every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// After a start, what was being sent is sent again.
    NaiveResend,
    /// A look-up that finds nothing counts at once.
    SettleZero,
    /// The store does not wait for the disk.
    SynchronousNormal,
    /// Events are committed after the facts that they tell.
    EventOutsideTransaction,
    FollowRedirects,
    /// The intent is stored when the request has left already.
    CommitAfterSend,
    /// A stop drops what is being sent, as if it had not left.
    CancelCutsSubmit,
    /// What has been on its way for long is sent again.
    RescueByTime,
}

impl Mutant {
    pub const ALL: [(&'static str, Mutant); 8] = [
        ("naive-resend", Mutant::NaiveResend),
        ("settle-zero", Mutant::SettleZero),
        ("synchronous-normal", Mutant::SynchronousNormal),
        ("event-outside-transaction", Mutant::EventOutsideTransaction),
        ("follow-redirects", Mutant::FollowRedirects),
        ("commit-after-send", Mutant::CommitAfterSend),
        ("cancel-cuts-submit", Mutant::CancelCutsSubmit),
        ("rescue-by-time", Mutant::RescueByTime),
    ];
}

#[cfg(not(feature = "crashtest"))]
pub use self::off::*;
#[cfg(feature = "crashtest")]
pub use self::on::*;

#[cfg(not(feature = "crashtest"))]
mod off {
    use super::Mutant;

    #[inline(always)]
    pub fn point(_: &'static str) {}

    #[inline(always)]
    pub fn point_of(_: &'static str, _: &'static str) {}

    #[inline(always)]
    pub fn watched<F: Future>(_: &'static str, future: F) -> F {
        future
    }

    #[inline(always)]
    pub const fn is(_: Mutant) -> bool {
        false
    }

    #[inline(always)]
    pub fn cut_calls() {}

    pub async fn cut() {
        std::future::pending().await
    }
}

#[cfg(feature = "crashtest")]
mod on {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::task::{Context, Poll};

    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::Mutant;

    /// `point:17`, `suspension:301`, or `name:submit.sent:2` (the second time that this point is passed).
    const DIE_AT: &str = "CRASHTEST_DIE_AT";
    /// The file that says how often each point was passed, and where it died.
    const COUNTS: &str = "CRASHTEST_COUNTS";
    const MUTANT: &str = "CRASHTEST_MUTANT";

    #[derive(Debug)]
    enum Death {
        Never,
        Point(u64),
        Suspension(u64),
        Name(String, u64),
    }

    /// What this process was told, and how far it has come.
    #[derive(Debug)]
    struct Plan {
        death: Death,
        mutant: Option<Mutant>,
        counts: Option<PathBuf>,
        points: AtomicU64,
        suspensions: AtomicU64,
        by_point: Mutex<BTreeMap<String, u64>>,
        by_task: Mutex<BTreeMap<&'static str, u64>>,
        cut: CancellationToken,
    }

    static PLAN: LazyLock<Plan> = LazyLock::new(|| {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let death = variable(DIE_AT).map_or(Death::Never, |text| {
            read_death(&text).unwrap_or_else(|| panic!("{DIE_AT}: point:N, suspension:N or name:POINT:N, not {text:?}"))
        });
        let mutant = variable(MUTANT).map(|name| {
            let found = Mutant::ALL.into_iter().find(|(known, _)| *known == name);
            found.unwrap_or_else(|| panic!("{MUTANT}: no mutant is called {name:?}")).1
        });
        Plan {
            death,
            mutant,
            counts: variable(COUNTS).map(PathBuf::from),
            points: AtomicU64::new(0),
            suspensions: AtomicU64::new(0),
            by_point: Mutex::default(),
            by_task: Mutex::default(),
            cut: CancellationToken::new(),
        }
    });

    fn read_death(text: &str) -> Option<Death> {
        let (sort, rest) = text.split_once(':')?;
        match sort {
            "point" => Some(Death::Point(rest.parse().ok()?)),
            "suspension" => Some(Death::Suspension(rest.parse().ok()?)),
            "name" => rest.rsplit_once(':').and_then(|(name, n)| Some(Death::Name(name.to_owned(), n.parse().ok()?))),
            _ => None,
        }
    }

    impl Plan {
        fn pass(&self, name: String) {
            let number = self.points.fetch_add(1, Ordering::SeqCst) + 1;
            let times = {
                let mut all = self.by_point.lock().unwrap_or_else(PoisonError::into_inner);
                let times = all.entry(name.clone()).or_default();
                *times += 1;
                *times
            };
            let here = match &self.death {
                Death::Point(n) => *n == number,
                Death::Name(wanted, n) => *wanted == name && *n == times,
                Death::Never | Death::Suspension(_) => false,
            };
            if here {
                self.die("point", &name, number);
            }
        }

        fn suspend(&self, task: &'static str) {
            let number = self.suspensions.fetch_add(1, Ordering::SeqCst) + 1;
            *self.by_task.lock().unwrap_or_else(PoisonError::into_inner).entry(task).or_default() += 1;
            if matches!(self.death, Death::Suspension(n) if n == number) {
                self.die("suspension", task, number);
            }
        }

        fn write(&self, died: Option<serde_json::Value>) {
            let Some(path) = &self.counts else { return };
            let text = json!({
                "died": died,
                "points": self.points.load(Ordering::SeqCst),
                "suspensions": self.suspensions.load(Ordering::SeqCst),
                "by_point": *self.by_point.lock().unwrap_or_else(PoisonError::into_inner),
                "by_task": *self.by_task.lock().unwrap_or_else(PoisonError::into_inner),
            });
            if let Err(error) = std::fs::write(path, text.to_string()) {
                eprintln!("the counts cannot be written: {error}");
            }
        }

        /// No destructor runs, nothing is flushed: as if the power of this process alone had failed.
        fn die(&self, sort: &str, name: &str, number: u64) -> ! {
            self.write(Some(json!({ "sort": sort, "name": name, "n": number })));
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }

    /// A named place; the process may end here.
    pub fn point(name: &'static str) {
        PLAN.pass(name.to_owned());
    }

    /// The same place in calls of several sorts.
    pub fn point_of(sort: &'static str, name: &'static str) {
        PLAN.pass(format!("{sort}.{name}"));
    }

    /// Each time the task has to wait, the process may end.
    pub fn watched<F: Future>(task: &'static str, future: F) -> Watched<F> {
        Watched { task, inner: Box::pin(future) }
    }

    #[derive(Debug)]
    pub struct Watched<F> {
        task: &'static str,
        inner: Pin<Box<F>>,
    }

    impl<F: Future> Future for Watched<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
            let polled = self.inner.as_mut().poll(context);
            if polled.is_pending() {
                PLAN.suspend(self.task);
            }
            polled
        }
    }

    /// Whether this process has that mistake.
    pub fn is(mutant: Mutant) -> bool {
        PLAN.mutant == Some(mutant)
    }

    /// For [`Mutant::CancelCutsSubmit`]: the daemon stops.
    pub fn cut_calls() {
        PLAN.cut.cancel();
    }

    pub async fn cut() {
        PLAN.cut.cancelled().await;
    }

    /// An orderly end: writes down what was counted.
    pub fn report() {
        PLAN.write(None);
    }
}
