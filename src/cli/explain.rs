//! `explain`: why a job is not done and what happens next, in sentences; or the page of a code.

use serde_json::json;

use super::Session;
use super::args::ExplainArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{BAD, BOLD, Term, state_style, styled};
use super::pages::{self, Page, Place};
use super::wire::{Account, Job};
use super::{accounts, text, when};
use crate::domain::{State, Timestamp};

/// The job that is meant; none where it is a code, or nothing.
pub fn job_number(args: &ExplainArgs) -> Result<Option<i64>, Failure> {
    let Some(what) = args.what.as_deref().filter(|what| what.parse::<i64>().is_ok()) else { return Ok(None) };
    let id = what.parse().ok().filter(|id| *id > 0);
    id.map(Some).ok_or_else(|| Failure::Usage(format!("{what} is no job's number: they begin with 1")))
}

/// The page of a code, or the list of all codes. Needs no daemon.
pub fn code(term: &mut Term, what: Option<&str>) -> Result<Exit, Failure> {
    let Some(what) = what else { return list(term) };
    let Some(page) = pages::find(what) else {
        let near = pages::near(what);
        let hint = if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(" or ")) };
        let error = styled(BAD, "error:");
        term.note(format!("{error} no code is called {}.{hint} opros explain lists all", text::line(what)))?;
        return Ok(Exit::NotFound);
    };
    if term.json {
        term.say_json(&page_json(page).to_string())?;
        return Ok(Exit::Ok);
    }
    term.say(styled(BOLD, page.code))?;
    let shown = format!("Shown {}.", page.shown());
    for (title, words) in [
        ("", shown.as_str()),
        ("What it means", page.means),
        ("What to do", page.todo),
        ("Money spent?", page.money.words()),
    ] {
        if !title.is_empty() {
            term.say(format!("\n{}", styled(BOLD, title)))?;
        }
        for line in text::wrapped(words, usize::from(term.width.unwrap_or(100)).min(100) - 2) {
            term.say(format!("  {line}"))?;
        }
    }
    Ok(Exit::Ok)
}

fn page_json(page: &Page) -> serde_json::Value {
    let Page { code, means, todo, money, .. } = page;
    json!({ "code": code, "shown": page.shown(), "means": means, "todo": todo, "money": money.words() })
}

fn list(term: &mut Term) -> Result<Exit, Failure> {
    if term.json {
        for page in pages::all() {
            term.say_json(&page_json(page).to_string())?;
        }
        return Ok(Exit::Ok);
    }
    for place in Place::ALL {
        term.say(styled(BOLD, place.title()))?;
        for page in pages::all().filter(|page| page.places.first() == Some(&place)) {
            let room = usize::from(term.width.unwrap_or(u16::MAX)).saturating_sub(26);
            term.say(format!("  {:22}  {}", page.code, text::cut(page.short(), room)))?;
        }
    }
    term.note("opros explain CODE has the whole page, opros explain ID a job's.")?;
    Ok(Exit::Ok)
}

pub async fn explain(session: &mut Session<'_>, id: i64) -> Result<Exit, Failure> {
    let answer = session.client.get(&["v1", "jobs", &id.to_string()], &[]).await?;
    if session.term.json {
        session.term.say_json(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let job: Job = answer.read()?;
    // A finished job does not wait for its account.
    let accounts = if job.state.is_final() { Vec::new() } else { accounts::all(session.client).await? };
    let account = accounts.iter().find(|account| Some(&account.name) == job.rest.account.as_ref());
    session.term.say(head(&job))?;
    for sentence in sentences(&job, account, session.clock.now()) {
        session.term.say(text::line(&sentence))?;
    }
    Ok(Exit::Ok)
}

fn head(job: &Job) -> String {
    let of = [job.rest.kind.as_deref(), job.rest.account.as_deref().filter(|name| !name.is_empty())];
    let of = of.into_iter().flatten().map(text::line).collect::<Vec<_>>().join(", account ");
    format!("Job {} ({of}) {}.", job.id, styled(state_style(job.state), stands(job.state)))
}

fn stands(state: State) -> &'static str {
    match state {
        State::Queued => "is queued",
        State::Submitting => "is being submitted",
        State::Waiting => "is waiting",
        State::InDoubt => "is in doubt",
        State::Succeeded => "has succeeded",
        State::Failed => "has failed",
        State::Cancelled => "was cancelled",
        State::Expired => "has expired",
        State::Rejected => "was rejected",
    }
}

/// What is known, then what happens next, then what you can do; nothing twice.
pub fn sentences(job: &Job, account: Option<&Account>, now: Timestamp) -> Vec<String> {
    let why = job.rest.why.clone().unwrap_or_else(|| bare(job.state).to_owned());
    let hold = account.filter(|_| !job.state.is_final()).and_then(|account| hold(account, now));
    let said = [why.as_str(), hold.as_deref().unwrap_or_default()].concat();
    let next = (!job.state.is_final()).then(|| next(job, account, now));
    let advice = advice(job, account).filter(|advice| !said.contains(command(advice)));
    [Some(why), error(job, &said), hold, next, advice, more(job)].into_iter().flatten().collect()
}

/// Where the error's code has a page.
fn more(job: &Job) -> Option<String> {
    let code = job.rest.error.as_ref()?.code.as_deref()?;
    Some(format!("More on this error: opros explain {}", pages::find(code).map(|_| code)?))
}

/// For a daemon that says nothing.
fn bare(state: State) -> &'static str {
    match state {
        State::Queued => "It has not been sent yet.",
        State::Submitting => "It is being sent to the vendor at this moment.",
        State::Waiting => "The vendor has it and is not done.",
        State::InDoubt => "It may or may not have reached the vendor; opros never sends it again by itself.",
        State::Succeeded => "It is done, and its result is stored.",
        State::Failed => "The vendor refused it or could not do it.",
        State::Cancelled => "It was cancelled.",
        State::Expired => "Its time ran out.",
        State::Rejected => "It could not be understood; nothing was sent.",
    }
}

/// Unless it was said already.
fn error(job: &Job, said: &str) -> Option<String> {
    let error = job.rest.error.as_ref()?;
    let message = error.message.as_deref().or(error.code.as_deref())?;
    (!said.contains(message)).then(|| format!("Its last error: {message}."))
}

fn hold(account: &Account, now: Timestamp) -> Option<String> {
    if let Some(hold) = account.hold(now) {
        return Some(format!("Account {}: {hold}.", account.name));
    }
    let most = account.limits.as_ref()?.max_in_flight?;
    let busy = account.in_flight.filter(|calls| *calls >= most)?;
    let queued = account.queued.map(|queued| format!(", and {queued} jobs are queued")).unwrap_or_default();
    Some(format!("Account {} is busy: {busy} of {most} calls are under way{queued}.", account.name))
}

fn next(job: &Job, account: Option<&Account>, now: Timestamp) -> String {
    let paused = account.is_some_and(|account| account.paused.is_some());
    match job.rest.next_at {
        Some(at) if at <= now => "Next: opros turns to it as soon as there is room.".to_owned(),
        Some(at) => format!("Next: opros turns to it at {}.", when::both(at, now)),
        None if job.state == State::InDoubt || held(job) => "Next: nothing happens until you decide.".to_owned(),
        None if paused => "Next: nothing happens until the account is resumed.".to_owned(),
        None if job.state == State::Waiting => "Next: the vendor delivers by itself.".to_owned(),
        None => "Next: no time is set.".to_owned(),
    }
}

/// An equal order was sent shortly before it.
fn held(job: &Job) -> bool {
    let code = job.rest.error.as_ref().and_then(|error| error.code.as_deref());
    job.state == State::Queued && code == Some("same_order")
}

fn advice(job: &Job, account: Option<&Account>) -> Option<String> {
    let id = job.id;
    match job.state {
        State::InDoubt => Some(format!(
            "To decide, look at the vendor's side, then: opros resolve {id} --resubmit | --adopt REMOTE_ID | --fail"
        )),
        State::Failed | State::Expired | State::Cancelled => Some(format!("To try it again: opros retry {id}")),
        State::Succeeded => Some(format!("To see the result: opros show {id}")),
        State::Rejected => None,
        State::Queued | State::Submitting | State::Waiting => {
            let account = account.filter(|account| account.paused.is_some())?;
            Some(format!("Once that is mended: opros resume {}", account.name))
        }
    }
}

/// The command in an advice, to say it only once.
fn command(advice: &str) -> &str {
    let start = advice.find("opros ").unwrap_or_default();
    advice[start..].split(" --").next().unwrap_or_default()
}
