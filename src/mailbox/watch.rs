//! Noticing foreign commits: at once by inotify, and within a tick by looking, should inotify miss one or not exist.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use tokio::time::Instant;

/// With synchronous = FULL the notice comes before the commit is visible: looks follow it after 0.1, 0.2, 0.4 … 25.6 ms.
const FIRST_LOOK: Duration = Duration::from_micros(100);
const LOOKS: u32 = 9;
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
#[derive(Debug, Clone, Copy, Default)]
pub struct Looks {
    next: Option<(Instant, u32)>,
}

impl Looks {
    pub fn begin(&mut self) {
        self.next = Some((Instant::now() + FIRST_LOOK, 1));
    }

    /// The foreign commit is in sight.
    pub fn end(&mut self) {
        self.next = None;
    }

    /// Completes when it is time for a look; never, when there is nothing to be looked for.
    pub async fn due(&mut self) {
        let Some((at, made)) = self.next else { return std::future::pending().await };
        tokio::time::sleep_until(at).await;
        self.next = (made < LOOKS).then(|| (Instant::now() + FIRST_LOOK * 2_u32.pow(made), made + 1));
    }
}
