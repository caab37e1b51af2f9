//! Schedules: when the next jobs are ordered by the calendar, and what became of the last time.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::problem::Problem;
use super::state::AdminState;
use super::views::time;
use crate::domain::Timestamp;
use crate::engine::timetable::Standing;
use crate::store::upkeep::LastFiring;

#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleList {
    schedules: Vec<ScheduleView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleView {
    name: String,
    kind: String,
    account: String,
    #[schema(example = "30 8 * * mon-fri")]
    cron: String,
    /// The pattern in words.
    words: String,
    #[schema(example = "Europe/Moscow")]
    zone: String,
    #[schema(example = "skip")]
    misfire: &'static str,
    /// How late a missed time may still be made up for, in milliseconds; null where it is let go.
    grace_ms: Option<u64>,
    dedupe_key: Option<String>,
    tag: Option<String>,
    priority: u8,
    next: Vec<NextView>,
    last: Option<LastView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NextView {
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    at: Option<Timestamp>,
    /// As the clock on the wall shows it in the schedule's zone.
    wall: String,
}

/// The newest time that was decided.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastView {
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    due: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    decided_at: Option<Timestamp>,
    /// `fired`, `duplicate` (an unfinished job has the same key) or `skipped`.
    outcome: String,
    job: Option<i64>,
    /// Earlier times that were let go with this one.
    missed: i64,
}

impl From<LastFiring> for LastView {
    fn from(last: LastFiring) -> Self {
        let LastFiring { due, decided_at, outcome, job, missed } = last;
        Self { due: Some(due), decided_at: Some(decided_at), outcome, job: job.map(|job| job.0), missed }
    }
}

impl From<Standing> for ScheduleView {
    fn from(standing: Standing) -> Self {
        let schedule = &standing.schedule;
        let calendar = &schedule.calendar;
        let once = schedule.misfire == crate::engine::timetable::Misfire::Once;
        Self {
            name: schedule.name.clone(),
            kind: schedule.job.kind.clone(),
            account: schedule.job.account.clone(),
            cron: schedule.cron.clone(),
            words: calendar.words(),
            zone: calendar.zone().to_owned(),
            misfire: schedule.misfire.as_str(),
            grace_ms: once.then(|| schedule.grace.as_millis() as u64),
            dedupe_key: schedule.job.dedupe_key.clone(),
            tag: schedule.job.tag.clone(),
            priority: schedule.job.priority,
            next: standing.next.iter().map(|at| NextView { at: Some(*at), wall: calendar.on_the_wall(*at) }).collect(),
            last: standing.last.map(LastView::from),
        }
    }
}

/// Jobs that are ordered by the calendar.
#[utoipa::path(
    get, path = "/v1/schedules", tag = "operation",
    responses((status = 200, description = "All schedules, in the order of the configuration", body = ScheduleList))
)]
pub async fn list(State(state): State<AdminState>, params: Params) -> Result<Json<ScheduleList>, Problem> {
    params.only(&[])?;
    let standing = state.engine().timetable().standing(state.engine()).await?;
    Ok(Json(ScheduleList { schedules: standing.into_iter().map(ScheduleView::from).collect() }))
}
