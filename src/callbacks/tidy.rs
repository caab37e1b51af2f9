//! Forgetting: call-backs past retention, and files that nobody names any more.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::files::FileHash;
use super::{CallbackError, Callbacks};

const EVERY: Duration = Duration::from_secs(6 * 3600);
/// A file is there before the row that names it: what is younger than this may still get one.
const YOUNG: Duration = Duration::from_secs(3600);

impl Callbacks {
    /// Tidies up at the start and a few times a day, until `stop`.
    pub async fn keep_tidy(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.tidy().await {
                tracing::error!(error = %error, "old call-backs and files stay for now");
            }
            let next = self.inner.clock.now() + EVERY;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.inner.clock.sleep_until(next) => {}
            }
        }
    }

    async fn tidy(&self) -> Result<(), CallbackError> {
        let now = self.inner.clock.now();
        if !self.store().may_remove(now).await? {
            return Ok(());
        }
        let before = now - self.rules().retention;
        let mut forgotten = 0;
        loop {
            let step = self.store().forget_callbacks(before).await?;
            forgotten += step;
            if step == 0 {
                break;
            }
        }
        let shelves = self.on_disk(|files| {
            let mut shelves = Vec::new();
            files.older_than(YOUNG, &mut |hashes| shelves.push(hashes))?;
            Ok(shelves)
        });
        let mut removed = 0;
        for shelf in shelves.await? {
            let names: Vec<String> = shelf.iter().map(ToString::to_string).collect();
            let known = self.store().known_files(&names).await?;
            let unknown: Vec<FileHash> = shelf.into_iter().filter(|hash| !known.contains(hash.as_str())).collect();
            removed += unknown.len();
            self.on_disk(move |files| unknown.iter().try_for_each(|hash| files.remove(hash).map(drop))).await?;
        }
        if forgotten > 0 || removed > 0 {
            tracing::info!(callbacks = forgotten, files = removed, "old call-backs and files were removed");
        }
        Ok(())
    }
}
