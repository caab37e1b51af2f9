//! `jobs` and `show`.

use serde_json::Value;
use serde_json::value::RawValue;

use super::args::{JobsArgs, ShowArgs};
use super::client::{Answer, Client, read};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{BOLD, state_style, styled};
use super::problem::Problem;
use super::table::Table;
use super::wire::{Job, JobFile, JobPage, Timeline};
use super::{Session, save, text, when};
use crate::domain::{State, Timestamp};

/// What is asked for at once.
const PAGE: u64 = 500;

pub async fn list(session: &mut Session<'_>, args: JobsArgs) -> Result<Exit, Failure> {
    let mut table = Table::new(&["ID", "STATE", "KIND", "ACCOUNT", "TAG", "CREATED", "NEXT", "WHY"], 1)
        .dispensable(&["CREATED", "TAG", "ACCOUNT", "KIND"]);
    let mut left = args.limit;
    let mut cursor = None;
    let now = session.clock.now();
    loop {
        let page: JobPage = session.client.get(&["v1", "jobs"], &query(&args, left, cursor)).await?.read()?;
        for raw in page.jobs.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            left -= 1;
            if session.term.json {
                session.term.say_json(raw.get())?;
            } else {
                row(&mut table, &read(raw.get())?, now);
            }
        }
        cursor = next_cursor(&page.next);
        if cursor.is_none() || left == 0 || page.jobs.is_empty() {
            break;
        }
    }
    if !session.term.json {
        say_table(session, &table, "No such jobs.")?;
        if cursor.is_some() {
            session.term.note(format!("There are more; see them with --limit {}.", args.limit.saturating_mul(10)))?;
        }
    }
    Ok(Exit::Ok)
}

pub fn say_table(session: &mut Session<'_>, table: &Table, empty: &str) -> Result<(), Failure> {
    if table.is_empty() {
        return Ok(session.term.note(empty)?);
    }
    for line in table.lines(session.term.width) {
        session.term.say(line)?;
    }
    Ok(())
}

fn query(args: &JobsArgs, left: u64, cursor: Option<String>) -> Vec<(&'static str, String)> {
    let filters = [
        ("state", args.state.map(|state| state.to_string())),
        ("kind", args.kind.clone()),
        ("account", args.account.clone()),
        ("tag", args.tag.clone()),
        ("dedupe_key", args.dedupe_key.clone()),
        ("uid", args.uid.clone()),
        ("limit", Some(left.min(PAGE).to_string())),
        ("cursor", cursor),
    ];
    filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Text or a number, as opros likes.
fn next_cursor(next: &Value) -> Option<String> {
    match next {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn row(table: &mut Table, job: &Job, now: Timestamp) {
    let rest = &job.rest;
    let at = |at: Option<Timestamp>| at.map(|at| when::relative(at, now)).unwrap_or_default();
    let error = rest.error.as_ref().and_then(|error| error.message.clone().or_else(|| error.code.clone()));
    let why = if job.state.is_final() { error } else { rest.why.clone().or(error) };
    table.row(
        state_style(job.state),
        vec![
            job.id.to_string(),
            job.state.to_string(),
            rest.kind.clone().unwrap_or_default(),
            rest.account.clone().unwrap_or_default(),
            rest.tag.clone().unwrap_or_default(),
            at(rest.created_at),
            if job.state.is_final() { String::new() } else { at(rest.next_at) },
            // A succeeded job needs no reason.
            if job.state == State::Succeeded { String::new() } else { why.unwrap_or_default() },
        ],
    );
}

pub async fn show(session: &mut Session<'_>, args: ShowArgs) -> Result<Exit, Failure> {
    let id = match (args.id, &args.uid) {
        (None, Some(uid)) => job_of(session.client, uid).await?,
        (id, _) => id.unwrap_or_default(),
    };
    let id = id.to_string();
    let answer = session.client.get(&["v1", "jobs", &id], &[]).await?;
    let timeline = match args.timeline {
        true => Some(session.client.get(&["v1", "jobs", &id, "timeline"], &[]).await?.read::<Timeline>()?),
        false => None,
    };
    if session.term.json {
        session.term.say_json(&answer.body)?;
        for entry in timeline.iter().flat_map(|timeline| &timeline.timeline) {
            session.term.say_json(entry.get())?;
        }
    } else {
        say_job(session, &answer)?;
        if let Some(timeline) = timeline {
            say_timeline(session, &timeline.timeline)?;
        }
    }
    match args.save {
        Some(directory) => save::save(session, &id, &directory).await,
        None => Ok(Exit::Ok),
    }
}

/// The job that was ordered with a token.
async fn job_of(client: &Client, uid: &str) -> Result<i64, Failure> {
    let page: JobPage = client.get(&["v1", "jobs"], &[("uid", uid.to_owned())]).await?.read()?;
    match page.jobs.first() {
        Some(raw) => Ok(read::<Job>(raw.get())?.id),
        None => {
            let title = format!("nothing was ordered with the uid {}", text::line(uid));
            Err(Failure::Refused { status: 404, problem: Problem { title: Some(title), ..Problem::default() } })
        }
    }
}

fn say_job(session: &mut Session<'_>, answer: &Answer) -> Result<(), Failure> {
    let job: Job = answer.read()?;
    let now = session.clock.now();
    session.term.say(format!(
        "{} {}",
        styled(BOLD, format!("Job {}", job.id)),
        styled(state_style(job.state), job.state)
    ))?;
    for (name, value) in fields(&job, now) {
        if let Some(value) = value {
            session.term.say(format!("  {name:<13} {}", text::line(&value)))?;
        }
    }
    say_value(session, "Params", &job.rest.params)?;
    say_value(session, "Result", &job.rest.result)
}

/// In the order in which people ask.
fn fields(job: &Job, now: Timestamp) -> Vec<(&'static str, Option<String>)> {
    let rest = &job.rest;
    let at = |at: Option<Timestamp>| at.map(|at| when::both(at, now));
    let count = |count: Option<i64>| count.map(|count| count.to_string());
    let error = rest.error.as_ref().map(|error| {
        let parts = [error.code.as_deref(), error.message.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    });
    vec![
        ("kind", rest.kind.clone()),
        ("account", rest.account.clone()),
        ("why", rest.why.clone()),
        ("next", at(rest.next_at)),
        ("error", error),
        ("remote id", rest.remote_id.clone()),
        ("tag", rest.tag.clone()),
        ("dedupe key", rest.dedupe_key.clone()),
        ("priority", count(rest.priority)),
        ("submissions", count(rest.attempts)),
        ("polls", count(rest.polls)),
        ("errors now", count(rest.errors.filter(|errors| *errors > 0))),
        ("retry of", count(rest.retry_of)),
        ("files", names(&rest.files)),
        ("uid", rest.uid.clone()),
        ("mailbox uid", rest.mailbox_uid.clone().filter(|uid| rest.uid.as_ref() != Some(uid))),
        ("created", at(rest.created_at)),
        ("submitted", at(rest.submitted_at)),
        ("updated", at(rest.updated_at)),
        ("finished", at(rest.finished_at)),
        ("deadline", at(rest.deadline)),
    ]
}

/// By name and size; `--save` fetches them.
fn names(files: &[JobFile]) -> Option<String> {
    let shown = files.iter().map(|file| match file.size {
        Some(size) => format!("{} ({size} bytes)", file.name),
        None => file.name.clone(),
    });
    Some(shown.collect::<Vec<_>>().join(", ")).filter(|all| !all.is_empty())
}

fn say_value(session: &mut Session<'_>, title: &str, value: &Value) -> Result<(), Failure> {
    if value.is_null() {
        return Ok(());
    }
    session.term.say(styled(BOLD, title))?;
    let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
    for line in text::block(&pretty).lines() {
        session.term.say(format!("  {line}"))?;
    }
    Ok(())
}

fn say_timeline(session: &mut Session<'_>, entries: &[Box<RawValue>]) -> Result<(), Failure> {
    let mut table = Table::new(&["AT", "WHAT", "DETAILS"], 1);
    for raw in entries {
        let entry: Value = read(raw.get())?;
        let word = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = Timestamp::parse_rfc3339(&word("at")).map_or_else(|_| word("at"), when::stamp);
        table.row(super::output::BUSY, vec![at, word("what"), details(&entry)]);
    }
    session.term.say(styled(BOLD, "Timeline"))?;
    say_table(session, &table, "Nothing has happened yet.")
}

/// What people look for first.
const FIRST: [&str; 6] = ["type", "op", "call", "outcome", "status", "note"];

fn says_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// All that an entry says beside when and what, in its own words.
fn details(entry: &Value) -> String {
    let Some(entry) = entry.as_object() else { return String::new() };
    // What came is kept raw for programs; people read what was understood of it.
    let shown = |name: &str| !matches!(name, "at" | "what" | "raw");
    let mut told: Vec<_> = entry.iter().filter(|(name, value)| shown(name) && !says_nothing(value)).collect();
    told.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    let words = told.into_iter().map(|(name, value)| match value {
        Value::String(text) if name == "type" => text.clone(),
        Value::String(text) => format!("{name}: {text}"),
        other => format!("{name}: {other}"),
    });
    words.collect::<Vec<_>>().join(", ")
}
