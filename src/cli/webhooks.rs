//! `webhooks` and what can be done with one.

use serde_json::{Value, json};

use super::args::{WebhooksArgs, WebhooksCommand};
use super::client::read;
use super::exit::Exit;
use super::failure::Failure;
use super::jobs::say_table;
use super::output::{BAD, BUSY, CARE, GOOD, styled};
use super::table::Table;
use super::wire::{Deliveries, Delivery, Webhook, WebhookTest, Webhooks};
use super::{Session, text, when};
use crate::domain::Timestamp;

pub async fn webhooks(session: &mut Session<'_>, args: WebhooksArgs) -> Result<Exit, Failure> {
    match args.command {
        None => list(session).await,
        Some(WebhooksCommand::Deliveries { name, state, limit }) => deliveries(session, &name, state, limit).await,
        Some(WebhooksCommand::Replay { name, from }) => act(session, &name, "replay", json!({ "from": from })).await,
        Some(WebhooksCommand::Resend { name, id }) => act(session, &name, "resend", json!({ "id": id })).await,
        Some(WebhooksCommand::Enable { name }) => act(session, &name, "enable", json!({})).await,
        Some(WebhooksCommand::Test { name }) => test(session, &name).await,
    }
}

async fn list(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let all: Webhooks = session.client.get(&["v1", "webhooks"], &[]).await?.read()?;
    let header = ["NAME", "STATE", "KIND", "TO", "CURSOR", "LAG", "PENDING", "DELIVERED", "DEAD", "WHAT"];
    let mut table = Table::new(&header, 1).dispensable(&["KIND", "CURSOR", "DELIVERED", "TO", "LAG"]);
    for raw in &all.webhooks {
        if session.term.json {
            session.term.say_json(raw.get())?;
        } else {
            row(&mut table, &read(raw.get())?, session.clock.now());
        }
    }
    if !session.term.json {
        say_table(session, &table, "No webhooks and no commands are configured.")?;
    }
    Ok(Exit::Ok)
}

fn row(table: &mut Table, webhook: &Webhook, now: Timestamp) {
    let style = match webhook.state.as_str() {
        "good" => GOOD,
        "failing" => CARE,
        "resting" => BUSY,
        _ => BAD,
    };
    table.row(
        style,
        vec![
            webhook.name.clone(),
            webhook.state.clone(),
            webhook.transport.clone(),
            webhook.to.clone(),
            webhook.cursor.to_string(),
            webhook.lag.to_string(),
            webhook.pending.to_string(),
            webhook.delivered.to_string(),
            webhook.dead.to_string(),
            what(webhook, now),
        ],
    );
}

/// What is not good about it.
fn what(webhook: &Webhook, now: Timestamp) -> String {
    let since = |at: Option<Timestamp>| at.map(|at| format!(" ({})", when::relative(at, now))).unwrap_or_default();
    if let Some(why) = &webhook.disabled {
        let why = why.message.as_deref().unwrap_or_default();
        return format!("{why}{}; then: opros webhooks enable {}", since(webhook.disabled_at), webhook.name);
    }
    let Some(error) = webhook.last_error.as_ref().filter(|_| webhook.failing_since.is_some()) else {
        return String::new();
    };
    let rest = webhook.rest_until.map(|at| format!("; rests until {}", when::both(at, now))).unwrap_or_default();
    format!("failed first{}: {}{rest}", since(webhook.failing_since), error.message.as_deref().unwrap_or_default())
}

async fn deliveries(session: &mut Session<'_>, name: &str, state: Option<String>, limit: u64) -> Result<Exit, Failure> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(state.map(|state| ("state", state)));
    let page: Deliveries = session.client.get(&["v1", "webhooks", name, "deliveries"], &query).await?.read()?;
    let header = ["SEQ", "STATE", "TYPE", "JOB", "TRIES", "LAST", "NEXT", "STATUS", "ERROR"];
    let mut table = Table::new(&header, 1).dispensable(&["JOB", "LAST", "STATUS"]);
    for raw in &page.deliveries {
        if session.term.json {
            session.term.say_json(raw.get())?;
        } else {
            delivery_row(&mut table, read(raw.get())?, session.clock.now());
        }
    }
    if !session.term.json {
        say_table(session, &table, "No such deliveries.")?;
        if page.next != Value::Null {
            session.term.note("There are more; see them with --limit.")?;
        }
    }
    Ok(Exit::Ok)
}

fn delivery_row(table: &mut Table, delivery: Delivery, now: Timestamp) {
    let style = match delivery.state.as_str() {
        "delivered" => GOOD,
        "pending" => BUSY,
        _ => BAD,
    };
    let next = match delivery.due_at {
        Some(at) => when::relative(at, now),
        None if delivery.state == "pending" => "after an earlier event of its job".to_owned(),
        None => String::new(),
    };
    let text = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    table.row(
        style,
        vec![
            delivery.seq.to_string(),
            delivery.state,
            delivery.kind,
            text(delivery.job),
            delivery.attempts.to_string(),
            delivery.updated_at.map(|at| when::relative(at, now)).unwrap_or_default(),
            next,
            text(delivery.status),
            delivery.error.and_then(|error| error.message).unwrap_or_default(),
        ],
    );
}

async fn act(session: &mut Session<'_>, name: &str, verb: &str, body: Value) -> Result<Exit, Failure> {
    let answer = session.client.post(&["v1", "webhooks", name, verb], &body).await?;
    if session.term.json {
        session.term.say_json(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let webhook: Webhook = answer.read()?;
    let name = text::line(&webhook.name);
    let done = match verb {
        "replay" => format!("{name} is told of everything after event {}.", webhook.cursor),
        "resend" => format!("The event is on its way to {name}."),
        _ => format!("{name} is enabled; what waited goes out now."),
    };
    session.term.say(done)?;
    if webhook.disabled.is_some() {
        session.term.note(format!("It is disabled: nothing goes out before `opros webhooks enable {name}`"))?;
    }
    Ok(Exit::Ok)
}

async fn test(session: &mut Session<'_>, name: &str) -> Result<Exit, Failure> {
    let answer = session.client.post(&["v1", "webhooks", name, "test"], &json!({})).await?;
    let test: WebhookTest = answer.read()?;
    let exit = if test.delivered { Exit::Ok } else { Exit::Failed };
    if session.term.json {
        session.term.say_json(&answer.body)?;
        return Ok(exit);
    }
    let status = test.status.map(|status| format!(" ({status})")).unwrap_or_default();
    let name = text::line(name);
    let line = match test.error.and_then(|error| error.message) {
        None => format!("{} {name} took the test event{status}.", styled(GOOD, "good:")),
        Some(why) => format!("{} {name} did not take the test event: {}", styled(BAD, "failed:"), text::line(&why)),
    };
    session.term.say(line)?;
    Ok(exit)
}
