//! After the clock was set back. What was planned by the time that it showed before would wait until that time comes again,
//! be it years; it is planned for now instead. No state changes by it: what is asked too early is asked once too often.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::{sort_error, sql};
use crate::domain::Timestamp;
use crate::store::StoreError;

/// What a clock is corrected by in good health.
const USUAL: Duration = Duration::from_secs(60);

/// At the start, before anything is due. `seen`: the newest time that the witness has seen.
pub async fn plan_anew(conn: &mut SqliteConnection, seen: Option<Timestamp>, now: Timestamp) -> Result<(), StoreError> {
    let newest: Option<i64> = sqlx::query_scalar(sql::NEWEST_TIME).fetch_one(&mut *conn).await.map_err(sort_error)?;
    let Some(newest) = newest.map(Timestamp::from_millis).max(seen).filter(|newest| *newest > now + USUAL) else {
        return Ok(());
    };
    let mut planned = 0;
    for statement in [
        sql::PLAN_JOBS_ANEW,
        sql::DOUBT_ANEW,
        sql::OBSERVED_ANEW,
        sql::WATCH_ANEW,
        sql::DELIVER_ANEW,
        sql::REST_ANEW,
        sql::DOWNLOAD_ANEW,
    ] {
        let query = sqlx::query(statement).bind(now.as_millis());
        planned += query.execute(&mut *conn).await.map_err(sort_error)?.rows_affected();
    }
    tracing::warn!(
        planned,
        newest = %newest,
        "the clock was set back: the store holds a time that has yet to come. What was planned by it is due now; times \
         already written stay as they are"
    );
    Ok(())
}
