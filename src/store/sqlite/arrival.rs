//! How a store came to lie where it is opened. A file that is not the very one that was served last may be a copy, and the
//! original may have gone on since, or may go on now: what is still to be sent in a copy may have been sent.
//!
//! Three things speak for a store: the mark of its file in `meta` (a copy lies in another file), the witness beside it, and what
//! the file of its lock remembers of the last start and end. A backup bears a mark of its own.

use std::fmt;

use sqlx::SqliteConnection;

use super::file::Identity;
use super::witness::Mark;
use super::{get_meta, restore, set_meta, sort_error, sql};
use crate::domain::Timestamp;
use crate::store::{StoreError, StoreWarning};

/// Which file the store was served from last.
pub const FILE_IDENTITY: &str = "file_identity";
/// In copies that opros made.
pub const COPY: &str = "copy";

/// What is known of the file and of what lies beside it.
#[derive(Debug, Default)]
pub struct Arrival {
    pub identity: Option<Identity>,
    pub seen: Option<Mark>,
    pub remembered: Option<Mark>,
}

impl Arrival {
    /// The further of what was seen of this store.
    fn beyond(&self, stands: &Mark) -> Option<&Mark> {
        let of_this =
            [&self.seen, &self.remembered].into_iter().flatten().filter(|seen| seen.instance == stands.instance);
        of_this.filter(|seen| stands.is_behind(seen)).max_by_key(|seen| (seen.epoch, seen.orders, seen.last_seq))
    }
}

/// Why a store is taken for a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspicion {
    /// `opros backup` made it.
    Backup,
    /// It was served last from another file.
    Elsewhere,
    NoWitness,
    /// It has forgotten what its witness, or its lock, has seen.
    Behind(Box<Mark>),
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suspicion::Backup => f.write_str("it is a backup that was put in place by hand"),
            Suspicion::Elsewhere => f.write_str("it was served last from another file"),
            Suspicion::NoWitness => f.write_str("its witness (opros.witness) is missing or unreadable"),
            Suspicion::Behind(seen) => {
                write!(f, "it is older than its witness, which saw {} orders by {}", seen.orders, seen.at)
            }
        }
    }
}

/// Whether the store may be a copy. One that was never served, or to which nothing ever happened, has nothing to send twice.
pub async fn judge(
    conn: &mut SqliteConnection,
    stands: &Mark,
    arrival: &Arrival,
) -> Result<Option<Suspicion>, StoreError> {
    let is_blank = [stands.orders, stands.last_job, stands.last_seq].into_iter().all(|number| number == 0);
    if stands.epoch == 0 || is_blank {
        return Ok(None);
    }
    if get_meta(conn, COPY).await?.is_some() {
        return Ok(Some(Suspicion::Backup));
    }
    // An older opros left no mark: then the witness alone speaks for the file.
    let marked: Option<Identity> =
        get_meta(conn, FILE_IDENTITY).await?.and_then(|text| serde_json::from_str(&text).ok());
    if let (Some(marked), Some(ours)) = (marked, &arrival.identity)
        && !marked.fits(ours)
    {
        return Ok(Some(Suspicion::Elsewhere));
    }
    if let Some(seen) = arrival.beyond(stands) {
        return Ok(Some(Suspicion::Behind(Box::new(seen.clone()))));
    }
    Ok(arrival.seen.is_none().then_some(Suspicion::NoWitness))
}

/// Marks a copy as restored, raises its numbers above all that the original may have given, and says so.
pub async fn distrust(
    conn: &mut SqliteConnection,
    why: &Suspicion,
    stands: &mut Mark,
    arrival: &Arrival,
    now: Timestamp,
) -> Result<Option<StoreWarning>, StoreError> {
    let newer = match why {
        // `opros restore` put it there, and settled its numbers; there was no witness to say so.
        Suspicion::NoWitness if restore::pending(conn).await?.is_some() => return Ok(None),
        Suspicion::Behind(seen) => restore::Newer::seen(conn, seen).await?,
        Suspicion::Backup | Suspicion::Elsewhere | Suspicion::NoWitness => {
            restore::Newer::beyond(conn, arrival.beyond(stands)).await?
        }
    };
    restore::mark(conn, now, &newer).await?;
    newer.raise(stands);
    tracing::error!(
        reason = %why,
        "the store is taken for a copy: orders that are queued, on their way or in doubt in it may have been sent since, and \
         become in_doubt before anything is sent. Make sure that no other opros runs on the original"
    );
    let what = format!(
        "the store was taken for a copy at the last start: {why}. Orders that were not settled in it are in doubt; see: opros jobs \
         --state in_doubt. Before you move a store as a whole next time: stop opros, move it, run opros restore --moved"
    );
    Ok(Some(StoreWarning { code: "store_copied", what, since: now }))
}

/// From now on the store lies in this file.
pub async fn settle_down(conn: &mut SqliteConnection, identity: Option<&Identity>) -> Result<(), StoreError> {
    sqlx::query(sql::FORGET_META).bind(COPY).execute(&mut *conn).await.map_err(sort_error)?;
    match identity.and_then(|identity| serde_json::to_string(identity).ok()) {
        Some(text) => set_meta(conn, FILE_IDENTITY, &text).await,
        None => {
            sqlx::query(sql::FORGET_META).bind(FILE_IDENTITY).execute(conn).await.map_err(sort_error)?;
            Ok(())
        }
    }
}

/// A copy says of itself that it is one, however it comes to the place of a store.
pub async fn note_copy(copy: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(sql::FORGET_META).bind(FILE_IDENTITY).execute(&mut *copy).await.map_err(sort_error)?;
    set_meta(copy, COPY, "backup").await
}
