//! What the store remembers of the clock, so that no leap of it removes everything at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::SqliteConnection;

use super::{SqliteStore, get_meta, set_meta, sort_error, sql};
use crate::domain::Timestamp;
use crate::domain::ages::{Ages, Held};
use crate::store::StoreError;

const AGES: &str = "ages";
/// That time goes on is written this often: a restart sees a leap that is smaller by so much.
const NOTED_EVERY: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub struct Remembered(Mutex<State>);

#[derive(Debug)]
struct State {
    ages: Ages,
    /// As the file has it.
    written: Option<Ages>,
}

impl Remembered {
    /// At the start. A store that was written by an older opros knows the newest time of what happened in it; `seen` is the
    /// witness's.
    pub async fn load(
        conn: &mut SqliteConnection,
        seen: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Remembered, StoreError> {
        // What cannot be read is as good as not there.
        let written: Option<Ages> = get_meta(conn, AGES).await?.and_then(|text| serde_json::from_str(&text).ok());
        let ages = match written {
            Some(ages) => ages,
            None => {
                let newest = sqlx::query_scalar::<_, Option<i64>>(sql::NEWEST_TIME).fetch_one(conn).await;
                let newest = newest.map_err(sort_error)?.map(Timestamp::from_millis);
                Ages::new(newest.max(seen).unwrap_or(now).min(now))
            }
        };
        Ok(Remembered(Mutex::new(State { ages, written })))
    }

    /// Every change is one assignment: a panic elsewhere leaves it usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the clock; says what is to be written of it.
    pub fn look(&self, now: Timestamp) -> (Ages, bool) {
        let mut state = self.state();
        let before = state.ages.held;
        state.ages.look(now);
        let ages = state.ages;
        tell(before, ages.held);
        let is_due = state.written.is_none_or(|written| {
            written.held != ages.held || ages.seen < written.seen || ages.seen.since(written.seen) >= NOTED_EVERY
        });
        (ages, is_due)
    }

    /// The file has it now.
    pub fn note_written(&self, ages: Ages) {
        self.state().written = Some(ages);
    }
}

fn tell(before: Option<Held>, after: Option<Held>) {
    match (before, after) {
        (before, Some(held)) if before.is_none_or(|before| held.since > before.since) => tracing::warn!(
            from = %held.from,
            to = %held.since,
            until = %held.until,
            "the clock went forward by more than a week at once, or opros was off for so long: nothing is removed by its age until \
             then. If the clock is wrong, put it right"
        ),
        (Some(_), None) => tracing::info!("what is old is removed again: retention goes on"),
        (Some(_) | None, _) => {}
    }
}

/// In the writer's transaction.
pub async fn keep(conn: &mut SqliteConnection, ages: Ages) -> Result<(), StoreError> {
    let text = serde_json::to_string(&ages).map_err(|error| StoreError::Other(error.to_string()))?;
    set_meta(conn, AGES, &text).await
}

impl SqliteStore {
    pub(super) async fn look_at_the_clock(&self, now: Timestamp) -> Result<bool, StoreError> {
        let (ages, is_due) = self.ages.look(now);
        if is_due {
            self.ask(super::Op::KeepAges(ages)).await?;
            self.ages.note_written(ages);
        }
        Ok(ages.may_remove())
    }

    pub(super) fn held(&self) -> Option<Held> {
        self.ages.state().ages.held
    }
}
