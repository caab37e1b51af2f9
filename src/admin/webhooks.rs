//! Webhooks and commands: how far each was told, what waits, and an operator's moves.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{self, Nothing};
use super::params::{Params, SinkPath};
use super::problem::Problem;
use super::state::{AdminState, carry_through};
use super::views::{ReasonView, time};
use super::who::{Who, audit};
use crate::domain::delivery::{Attempt, Delivery};
use crate::domain::{Reason, Timestamp};
use crate::sinks::{Sinks, Standing};
use crate::store::sinks::{DeliveryFilter, Resent};

const USUAL_LIMIT: usize = 100;

#[derive(Debug, Serialize, ToSchema)]
pub struct WebhooksView {
    webhooks: Vec<WebhookView>,
}

/// A webhook or a command.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookView {
    name: String,
    /// `webhook` or `command`.
    transport: &'static str,
    /// An address without path and query, or a program.
    to: String,
    /// `good`, `failing`, `resting` (the receiver asked for silence) or `disabled`.
    state: &'static str,
    /// Events up to here were looked at.
    cursor: i64,
    /// Events that were not looked at yet.
    lag: i64,
    /// Events on their way, those that wait for their next try included.
    pending: i64,
    /// Since it was first configured.
    delivered: i64,
    /// Given up after the last try.
    dead: i64,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    failing_since: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    rest_until: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
    last_error: Option<ReasonView>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_error_at: Option<Timestamp>,
    /// Why it is disabled.
    disabled: Option<ReasonView>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    disabled_at: Option<Timestamp>,
    filter: FilterView,
}

/// An empty list means all.
#[derive(Debug, Serialize, ToSchema)]
pub struct FilterView {
    types: Vec<String>,
    kinds: Vec<String>,
    accounts: Vec<String>,
    tags: Vec<String>,
}

/// One event on its way to one sink.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// The event's stable id, which is the `webhook-id`.
    id: String,
    seq: i64,
    #[serde(rename = "type")]
    kind: String,
    job: Option<i64>,
    /// `pending`, `delivered` or `dead`.
    state: &'static str,
    attempts: u32,
    /// When it goes out next; null of a pending one that waits for an earlier event of its job.
    #[serde(serialize_with = "time")]
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    #[schema(value_type = String, format = DateTime)]
    updated_at: Option<Timestamp>,
    /// The last answer's HTTP status, or the program's exit code.
    status: Option<u16>,
    error: Option<ReasonView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryPageView {
    deliveries: Vec<DeliveryView>,
    /// Pass as `cursor`; null on the last page.
    next: Option<String>,
}

/// What a test brought.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestView {
    delivered: bool,
    status: Option<u16>,
    error: Option<ReasonView>,
}

impl WebhookView {
    fn new(standing: Standing, last_seq: i64, now: Timestamp) -> Self {
        let Standing { sink, target, filter } = standing;
        let resting = sink.rest_until.filter(|until| *until > now);
        let state = match (&sink.disabled, resting, sink.failing_since) {
            (Some(_), ..) => "disabled",
            (None, Some(_), _) => "resting",
            (None, None, Some(_)) => "failing",
            (None, None, None) => "good",
        };
        Self {
            name: sink.name,
            transport: sink.kind.as_str(),
            to: target,
            state,
            cursor: sink.cursor,
            lag: (last_seq - sink.cursor).max(0),
            pending: sink.pending,
            delivered: sink.delivered,
            dead: sink.dead,
            failing_since: sink.failing_since,
            rest_until: resting,
            last_success_at: sink.last_success_at,
            last_error: sink.last_error.map(ReasonView::from),
            last_error_at: sink.last_error_at,
            disabled_at: sink.disabled.as_ref().map(|disabled| disabled.at),
            disabled: sink.disabled.map(|disabled| ReasonView::from(disabled.reason)),
            filter: FilterView {
                types: filter.types,
                kinds: filter.kinds,
                accounts: filter.accounts,
                tags: filter.tags,
            },
        }
    }
}

impl DeliveryView {
    fn new(instance: &str, delivery: Delivery) -> Self {
        Self {
            id: format!("{instance}-{}", delivery.seq),
            seq: delivery.seq,
            kind: delivery.kind,
            job: delivery.job.map(|job| job.0),
            state: delivery.progress.as_str(),
            attempts: delivery.attempts,
            due_at: delivery.due_at,
            created_at: Some(delivery.created_at),
            updated_at: Some(delivery.updated_at),
            status: delivery.status,
            error: delivery.error.map(ReasonView::from),
        }
    }
}

/// Webhooks and commands, with how they stand.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks",
    responses((status = 200, description = "All of them", body = WebhooksView))
)]
pub async fn list(State(state): State<AdminState>, params: Params) -> Result<Json<WebhooksView>, Problem> {
    params.only(&[])?;
    let standings = state.sinks()?.standings().await?;
    let (last, now) = (last_seq(&state), state.engine().now());
    let webhooks = standings.into_iter().map(|standing| WebhookView::new(standing, last, now)).collect();
    Ok(Json(WebhooksView { webhooks }))
}

/// What was delivered, what waits and what was given up; newest events first.
#[utoipa::path(
    get, path = "/v1/webhooks/{name}/deliveries", tag = "webhooks",
    params(
        ("name" = String, Path, description = "The webhook's or command's name"),
        ("state" = Option<String>, Query, description = "pending, delivered or dead"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, 100 unless given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = DeliveryPageView),
        (status = 400, description = "Wrong parameter", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such webhook", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn deliveries(
    State(state): State<AdminState>,
    SinkPath(name): SinkPath,
    params: Params,
) -> Result<Json<DeliveryPageView>, Problem> {
    let params = params.only(&["state", "limit", "cursor"])?;
    known(state.sinks()?, &name)?;
    let limit = params.limit()?.unwrap_or(USUAL_LIMIT);
    let (progress, before) = (params.parse("state")?, params.parse("cursor")?);
    let store = state.engine().store();
    let mut found = store.deliveries(DeliveryFilter { sink: name, progress, before, limit: limit + 1 }).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.seq.to_string());
    let deliveries = found.into_iter().map(|delivery| DeliveryView::new(store.instance(), delivery)).collect();
    Ok(Json(DeliveryPageView { deliveries, next }))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    /// The number of the first event.
    from: Option<i64>,
}

/// Tell it again of everything from an event on; or, with a number further on, skip what lies before.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}/replay", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's or command's name")),
    request_body = ReplayBody,
    responses(
        (status = 200, description = "How it stands now", body = WebhookView),
        (status = 404, description = "No such webhook", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not understood", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn replay(
    State(state): State<AdminState>,
    SinkPath(name): SinkPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<WebhookView>, Problem> {
    params.only(&[])?;
    let ReplayBody { from } = body::of_move(&state, &headers, content).await?;
    let end = last_seq(&state) + 1;
    let from = from.filter(|from| (1..=end).contains(from)).ok_or_else(|| {
        Problem::field(
            "bad_number",
            "/from",
            format!("from must be the number of an event, 1 to {end} (after the newest)"),
        )
    })?;
    let (sinks, sink) = (state.sinks()?.clone(), name.clone());
    known(&sinks, &name)?;
    carry_through(async move {
        sinks.replay(&sink, from).await?;
        audit!(who, sink, from, "an operator had a sink told again");
        Ok(())
    })
    .await?;
    view(&state, &name).await
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResendBody {
    /// The event's id, as `webhook-id` has it, or its number.
    id: Option<String>,
}

/// Send it one event again, whatever its filter says.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}/resend", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's or command's name")),
    request_body = ResendBody,
    responses(
        (status = 202, description = "It is on its way", body = WebhookView),
        (status = 404, description = "No such webhook or event", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not understood", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resend(
    State(state): State<AdminState>,
    SinkPath(name): SinkPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<WebhookView>), Problem> {
    params.only(&[])?;
    let ResendBody { id } = body::of_move(&state, &headers, content).await?;
    let id = id.unwrap_or_default();
    // An id of another store's event must not send this one's.
    let number = id.strip_prefix(&format!("{}-", state.engine().store().instance())).unwrap_or(&id);
    let seq = number.parse::<i64>().ok().filter(|seq| *seq > 0).ok_or_else(|| {
        Problem::field("bad_id", "/id", "id must be the id of one of this store's events, or its number")
    })?;
    let (sinks, sink) = (state.sinks()?.clone(), name.clone());
    known(&sinks, &name)?;
    let resent = carry_through(async move {
        let resent = sinks.resend(&sink, seq).await?;
        if matches!(resent, Resent::Queued) {
            audit!(who, sink, seq, "an operator had an event sent again");
        }
        Ok(resent)
    })
    .await?;
    match resent {
        Resent::Queued => Ok((StatusCode::ACCEPTED, view(&state, &name).await?)),
        Resent::NoSink => Err(no_sink(state.sinks()?, &name)),
        Resent::NoEvent => Err(Problem::not_found(format!("there is no event {seq}; retention may have removed it"))),
    }
}

/// Send it an event that never happened, now, and say what came of it. Nothing is stored.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}/test", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's or command's name")),
    responses(
        (status = 200, description = "What came of it", body = TestView),
        (status = 404, description = "No such webhook", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn test(
    State(state): State<AdminState>,
    SinkPath(name): SinkPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<TestView>, Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    let sinks = state.sinks()?;
    let attempt = sinks.test(&name).await.ok_or_else(|| no_sink(sinks, &name))?;
    audit!(who, sink = name, "an operator had a test event sent");
    let failed = |reason: Reason, status| TestView { delivered: false, status, error: Some(reason.into()) };
    Ok(Json(match attempt {
        Attempt::Acknowledged { status } => TestView { delivered: true, status, error: None },
        Attempt::Failed { reason, status } => failed(reason, status),
        Attempt::Silence { reason, status, .. } | Attempt::Gone { reason, status } => failed(reason, Some(status)),
        Attempt::Forgotten => return Err(Problem::internal("a test is never forgotten")),
    }))
}

/// Let a disabled one go on. What waits goes out at once, with a fresh schedule.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}/enable", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's or command's name")),
    responses(
        (status = 200, description = "How it stands now", body = WebhookView),
        (status = 404, description = "No such webhook", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn enable(
    State(state): State<AdminState>,
    SinkPath(name): SinkPath,
    who: Who,
    params: Params,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<WebhookView>, Problem> {
    params.only(&[])?;
    let Nothing {} = body::of_move(&state, &headers, content).await?;
    let (sinks, sink) = (state.sinks()?.clone(), name.clone());
    known(&sinks, &name)?;
    carry_through(async move {
        sinks.enable(&sink).await?;
        audit!(who, sink, "an operator enabled a sink");
        Ok(())
    })
    .await?;
    view(&state, &name).await
}

async fn view(state: &AdminState, name: &str) -> Result<Json<WebhookView>, Problem> {
    let sinks = state.sinks()?;
    let standing = sinks.standing(name).await?.ok_or_else(|| no_sink(sinks, name))?;
    Ok(Json(WebhookView::new(standing, last_seq(state), state.engine().now())))
}

fn last_seq(state: &AdminState) -> i64 {
    state.engine().store().commits().borrow().last_seq
}

fn known(sinks: &Sinks, name: &str) -> Result<(), Problem> {
    if sinks.has(name) { Ok(()) } else { Err(no_sink(sinks, name)) }
}

fn no_sink(sinks: &Sinks, name: &str) -> Problem {
    let names: Vec<String> = sinks.names().into_iter().collect();
    let name: String = name.chars().take(60).collect();
    match names.as_slice() {
        [] => Problem::not_found("no webhooks and no commands are configured"),
        names => {
            Problem::not_found(format!("no webhook or command is called {name:?}; there are {}", names.join(", ")))
        }
    }
}
