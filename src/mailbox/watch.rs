//! Noticing foreign commits: at once by inotify, and within a tick by looking, should inotify miss one or not exist.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use tokio::time::Instant;

/// With synchronous = FULL the notice comes before the commit is visible: looks follow it at these distances, in µs.
const AFTER_NOTICE: &[u64] = &[100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600];
/// A notice so soon after a commit of our own is most likely about that one: fewer looks, lest another one came with it.
const OWN: Duration = Duration::from_millis(2);
const AFTER_OWN: &[u64] = &[1_000, 5_000, 25_000];
const BUFFER: usize = 4096;

/// Hears of changes in the mailbox's directory.
#[derive(Debug)]
pub struct Watch {
    stream: Option<EventStream<[u8; BUFFER]>>,
    /// The file's name; its WAL begins with it.
    name: OsString,
}

impl Watch {
    pub fn new(path: &Path) -> Watch {
        let directory =
            path.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned);
        let stream = Inotify::init().and_then(|inotify| {
            let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE;
            inotify.watches().add(&directory, mask)?;
            inotify.into_event_stream([0; BUFFER])
        });
        if let Err(error) = &stream {
            tracing::warn!(error = %error, "no notices of the mailbox's directory (inotify); opros looks every 250 ms instead");
        }
        Watch { stream: stream.ok(), name: path.file_name().map(OsString::from).unwrap_or_default() }
    }

    /// Completes when something happened to the mailbox's files; never, where there are no notices.
    pub async fn noticed(&mut self) {
        loop {
            let Some(stream) = &mut self.stream else { return std::future::pending().await };
            match stream.next().await {
                Some(Ok(event)) => {
                    let name = event.name.as_deref().map(|name| name.as_encoded_bytes()).unwrap_or_default();
                    if name.starts_with(self.name.as_encoded_bytes()) {
                        return;
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(error = %error, "notices of the mailbox's directory ended; opros looks every 250 ms");
                    self.stream = None;
                }
                None => self.stream = None,
            }
        }
    }
}

/// When to look again after a notice.
#[derive(Debug, Default)]
pub struct Looks {
    next: Option<Instant>,
    /// The distances of those after it.
    then: &'static [u64],
    last_own: Option<Instant>,
}

impl Looks {
    /// We have committed something ourselves: a notice of it is on its way.
    pub fn own(&mut self) {
        self.last_own = Some(Instant::now());
    }

    pub fn begin(&mut self) {
        let is_own = self.last_own.is_some_and(|at| at.elapsed() < OWN);
        match (is_own, self.next) {
            // The looks for what came before go on.
            (true, Some(_)) => {}
            (true, None) => self.plan(AFTER_OWN),
            (false, _) => self.plan(AFTER_NOTICE),
        }
    }

    fn plan(&mut self, distances: &'static [u64]) {
        let Some((first, rest)) = distances.split_first() else { return self.end() };
        self.next = Some(Instant::now() + Duration::from_micros(*first));
        self.then = rest;
    }

    /// The foreign commit is in sight.
    pub fn end(&mut self) {
        self.next = None;
    }

    /// Completes when it is time for a look; never, when there is nothing to be looked for.
    pub async fn due(&mut self) {
        let Some(at) = self.next else { return std::future::pending().await };
        tokio::time::sleep_until(at).await;
        self.plan(self.then);
    }
}
