//! `schedules` and `reload`.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::client::read;
use super::exit::Exit;
use super::failure::Failure;
use super::jobs::say_table;
use super::output::{BUSY, CARE, DIM, GOOD, styled};
use super::table::Table;
use super::when::lenient;
use super::{Session, text, when};
use crate::domain::Timestamp;

#[derive(Debug, Deserialize)]
struct Schedules {
    schedules: Vec<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Schedule {
    name: String,
    kind: String,
    words: String,
    zone: String,
    next: Vec<Next>,
    last: Option<Last>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Next {
    #[serde(deserialize_with = "lenient")]
    at: Option<Timestamp>,
    wall: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Last {
    #[serde(deserialize_with = "lenient")]
    due: Option<Timestamp>,
    outcome: String,
    job: Option<i64>,
}

pub async fn schedules(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let page: Schedules = session.client.get(&["v1", "schedules"], &[]).await?.read()?;
    let header = ["SCHEDULE", "LAST", "JOB", "KIND", "NEXT", "THEN", "WHEN"];
    let mut table = Table::new(&header, 1).dispensable(&["THEN", "KIND"]);
    for raw in &page.schedules {
        if session.term.json {
            session.term.say_json(raw.get())?;
        } else {
            row(&mut table, read(raw.get())?, session.clock.now());
        }
    }
    if !session.term.json {
        say_table(session, &table, "No schedules are configured.")?;
    }
    Ok(Exit::Ok)
}

fn row(table: &mut Table, schedule: Schedule, now: Timestamp) {
    let last = schedule.last.unwrap_or_default();
    let style = match last.outcome.as_str() {
        "fired" => GOOD,
        "duplicate" => BUSY,
        "skipped" => CARE,
        _ => DIM,
    };
    let ago = last.due.map(|due| format!("{} {}", last.outcome, when::relative(due, now)));
    let mut next = schedule.next.into_iter();
    let (first, second) = (next.next().unwrap_or_default(), next.next().unwrap_or_default());
    let first = first.at.map(|at| format!("{} ({})", first.wall, when::relative(at, now)));
    table.row(
        style,
        vec![
            schedule.name,
            ago.unwrap_or_else(|| "-".to_owned()),
            last.job.map_or_else(|| "-".to_owned(), |job| job.to_string()),
            schedule.kind,
            first.unwrap_or_else(|| "never".to_owned()),
            second.wall,
            format!("{} ({})", schedule.words, schedule.zone),
        ],
    );
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reloaded {
    changed: Vec<Changed>,
    restart: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Changed {
    what: String,
    how: String,
    fields: Vec<String>,
}

pub async fn reload(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let answer = session.client.post(&["v1", "reload"], &json!({})).await?;
    if session.term.json {
        session.term.say_json(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let reloaded: Reloaded = answer.read()?;
    for warning in &reloaded.warnings {
        session.term.say(format!("{} {}", styled(CARE, "warning:"), text::line(warning)))?;
    }
    for Changed { what, how, fields } in &reloaded.changed {
        let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
        session.term.say(format!("{} {}{}", text::line(what), styled(GOOD, text::line(how)), text::line(&fields)))?;
    }
    for what in &reloaded.restart {
        session.term.say(format!("{} {}", text::line(what), styled(CARE, "needs a restart; the old value stays")))?;
    }
    if reloaded.changed.is_empty() && reloaded.restart.is_empty() {
        session.term.say("Read again; nothing is different.")?;
    }
    Ok(Exit::Ok)
}
