//! An operator's moves on jobs: cancel, retry, resolve.

use serde_json::{Value, json};

use super::Session;
use super::args::{CancelArgs, ResolveArgs, RetryArgs};
use super::client::{Answer, Client};
use super::exit::Exit;
use super::failure::Failure;
use super::output::{state_style, styled};
use super::wire::Job;
use super::{insist, text};
use crate::domain::State;

/// Goes on after a job that cannot be cancelled, and ends with the highest code.
pub async fn cancel(session: &mut Session<'_>, args: CancelArgs) -> Result<Exit, Failure> {
    each(session, args, "cancel").await
}

/// The same for jobs that are held.
pub async fn release(session: &mut Session<'_>, args: CancelArgs) -> Result<Exit, Failure> {
    each(session, args, "release").await
}

async fn each(session: &mut Session<'_>, args: CancelArgs, verb: &str) -> Result<Exit, Failure> {
    let mut worst = Exit::Ok;
    for id in &args.ids {
        match act(session.client, *id, verb, json!({})).await {
            Ok(answer) => say(session, &answer, "")?,
            Err(failure @ Failure::Refused { .. }) if args.ids.len() > 1 => {
                session.term.note(format!("job {id}: {}", text::block(&failure.to_string())))?;
                worst = worst.max(failure.exit());
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(worst)
}

pub async fn retry(session: &mut Session<'_>, args: RetryArgs) -> Result<Exit, Failure> {
    let id = args.job.id;
    let uid = args.uid.unwrap_or_else(insist::fresh);
    let mut body = json!({});
    for (name, is_said) in [("force", args.force), ("again", args.again)] {
        if is_said {
            body[name] = json!(true);
        }
    }
    let answer = insist::post(session, &["v1", "jobs", &id.to_string(), "retry"], &body, &uid).await?;
    let more = if answer.status == 201 { "It repeats" } else { "Nothing new: it is already the retry of" };
    say(session, &answer, &format!(" {more} job {id}."))?;
    Ok(Exit::Ok)
}

pub async fn resolve(session: &mut Session<'_>, args: ResolveArgs) -> Result<Exit, Failure> {
    let uid = args.uid.unwrap_or_else(insist::fresh);
    let body = match &args.how.adopt {
        Some(remote_id) => json!({ "action": "adopt", "remote_id": remote_id }),
        None if args.how.resubmit => json!({ "action": "resubmit" }),
        None => json!({ "action": "fail" }),
    };
    let path = ["v1", "jobs", &args.job.id.to_string(), "resolve"];
    let answer = insist::post(session, &path, &body, &uid).await?;
    say(session, &answer, "")?;
    Ok(Exit::Ok)
}

async fn act(client: &Client, id: i64, verb: &str, body: Value) -> Result<Answer, Failure> {
    client.post(&["v1", "jobs", &id.to_string(), verb], &body).await.map_err(|failure| match failure {
        // Asking again changes nothing more.
        Failure::Unanswered(words) => Failure::Unanswered(format!(
            "{words}. It may have been done: opros show {id} tells, and the same command can be repeated"
        )),
        failure => failure,
    })
}

fn say(session: &mut Session<'_>, answer: &Answer, more: &str) -> Result<(), Failure> {
    if session.term.json {
        return Ok(session.term.say_json(&answer.body)?);
    }
    let job: Job = answer.read()?;
    let state = styled(state_style(job.state), job.state);
    // A cancellation is a wish; 202 says that it is stored, not that it is done.
    let line = match (answer.status, job.state) {
        (202, state) if state != State::Cancelled => {
            format!("Job {} is {state}; it is cancelled as soon as that is possible.", job.id)
        }
        _ => format!("Job {} is {state}.{more}", job.id),
    };
    Ok(session.term.say(line)?)
}
