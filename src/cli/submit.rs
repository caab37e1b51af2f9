//! `submit`: one job from the command line, or a file of them.

use std::io::Read as _;

use serde::Serialize;

use super::client::Answer;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{state_style, styled};
use super::params::{self, Params};
use super::wire::Job;
use super::{Session, args::SubmitArgs, bulk, insist, text};
use crate::domain::Timestamp;

/// What `POST /v1/jobs` takes.
#[derive(Debug, Serialize)]
struct NewJob {
    kind: String,
    params: Params,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedupe_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
}

pub async fn submit(session: &mut Session<'_>, args: SubmitArgs) -> Result<Exit, Failure> {
    if let Some(file) = &args.file {
        return bulk::submit(session, file, args.uid.as_deref()).await;
    }
    // Makes it safe to ask for the same again.
    let uid = args.uid.clone().unwrap_or_else(insist::fresh);
    let job = new_job(args, session.clock.now())?;
    let answer = insist::post(session, &["v1", "jobs"], &job, &uid).await?;
    say(session, &answer, &uid)?;
    Ok(Exit::Ok)
}

fn new_job(args: SubmitArgs, now: Timestamp) -> Result<NewJob, Failure> {
    let mut params = match args.params.as_deref() {
        Some("-") => params::from_json(&stdin()?)?,
        Some(json) => params::from_json(json)?,
        None => params::from_words(&args.words)?,
    };
    if args.force {
        params::force(&mut params);
    }
    Ok(NewJob {
        kind: args.kind.unwrap_or_default(),
        params,
        account: args.account,
        dedupe_key: args.dedupe_key,
        priority: args.priority,
        tag: args.tag,
        not_before: args.not_before.map(|moment| moment.resolve(now).to_rfc3339()),
        deadline: args.deadline.map(|moment| moment.resolve(now).to_rfc3339()),
    })
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| Failure::Usage(format!("cannot read the params from stdin: {error}")))?;
    Ok(text)
}

fn say(session: &mut Session<'_>, answer: &Answer, uid: &str) -> Result<(), Failure> {
    if session.term.json {
        return Ok(session.term.say_json(&answer.body)?);
    }
    let job: Job = answer.read()?;
    let state = styled(state_style(job.state), job.state);
    let line = if answer.status == 201 {
        format!("Job {} is {state}.", job.id)
    } else {
        let known = match job.rest.dedupe_key.as_deref() {
            Some(key) if job.rest.uid.as_deref() != Some(uid) => format!("the dedupe key {}", text::line(key)),
            _ => format!("the uid {}", text::line(uid)),
        };
        format!("Nothing new: job {} with {known} is {state}.", job.id)
    };
    Ok(session.term.say(line)?)
}
