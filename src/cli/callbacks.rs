//! `callbacks` and `callbacks assign`.

use serde_json::{Value, json};

use super::args::{CallbacksArgs, CallbacksCommand};
use super::client::read;
use super::exit::Exit;
use super::failure::Failure;
use super::jobs::say_table;
use super::output::{BUSY, CARE, GOOD, state_style, styled};
use super::table::Table;
use super::wire::{Callback, CallbackPage, Job};
use super::{Session, when};
use crate::domain::Timestamp;

pub async fn callbacks(session: &mut Session<'_>, args: CallbacksArgs) -> Result<Exit, Failure> {
    match args.command {
        Some(CallbacksCommand::Assign { id, job }) => assign(session, id, job).await,
        None => list(session, args).await,
    }
}

async fn list(session: &mut Session<'_>, args: CallbacksArgs) -> Result<Exit, Failure> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.account.map(|account| ("account", account)));
    query.extend(args.unmatched.then(|| ("matched", "false".to_owned())));
    let page: CallbackPage = session.client.get(&["v1", "callbacks"], &query).await?.read()?;
    let header = ["ID", "JOB", "ACCOUNT", "CAME", "VIN", "CHECK", "SIZE", "FROM", "WHAT"];
    let mut table = Table::new(&header, 1).dispensable(&["FROM", "SIZE", "ACCOUNT", "CHECK"]);
    for raw in &page.callbacks {
        if session.term.json {
            session.term.say_json(raw.get())?;
        } else {
            row(&mut table, read(raw.get())?, session.clock.now());
        }
    }
    if !session.term.json {
        say_table(session, &table, "No such call-backs.")?;
        if page.next != Value::Null {
            session.term.note("There are more; see them with --limit.")?;
        }
    }
    Ok(Exit::Ok)
}

fn row(table: &mut Table, callback: Callback, now: Timestamp) {
    let style = match (callback.job, &callback.unreadable) {
        (Some(_), _) => GOOD,
        (None, None) => BUSY,
        (None, Some(_)) => CARE,
    };
    let repeated = match callback.repeats {
        0 => None,
        n => Some(format!("sent {} times", n + 1)),
    };
    let what = [callback.unreadable, callback.status, callback.how.filter(|how| how != "matched"), repeated];
    table.row(
        style,
        vec![
            callback.id.to_string(),
            callback.job.map_or_else(|| "-".to_owned(), |job| job.to_string()),
            callback.account,
            callback.at.map(|at| when::relative(at, now)).unwrap_or_default(),
            callback.vin.unwrap_or_default(),
            callback.check_type.unwrap_or_default(),
            callback.size.map(|size| size.to_string()).unwrap_or_default(),
            callback.from.unwrap_or_default(),
            what.into_iter().flatten().collect::<Vec<_>>().join(", "),
        ],
    );
}

async fn assign(session: &mut Session<'_>, id: i64, job: i64) -> Result<Exit, Failure> {
    let answer = session.client.post(&["v1", "callbacks", &id.to_string(), "assign"], &json!({ "job": job })).await?;
    if session.term.json {
        session.term.say_json(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let job: Job = answer.read()?;
    let state = styled(state_style(job.state), job.state);
    session.term.say(format!("Call-back {id} is with job {}, which is {state}.", job.id))?;
    Ok(Exit::Ok)
}
