//! `submit --file`: a stream of lines out, a stream of verdicts back, both at once, so that neither is ever held whole.
//!
//! Each line goes with a token of its own. When the connection breaks, what has no verdict yet is sent again under the same
//! tokens, so that nothing is ordered twice.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::{Body, Response};
use serde_json::Value;
use tokio::time::Instant;

use super::client::read;
use super::exit::Exit;
use super::failure::Failure;
use super::feed::{Feed, open};
use super::insist;
use super::output::{BAD, styled};
use super::wire::Verdict;
use super::{Session, text};

const NDJSON: &str = "application/x-ndjson";
/// How often the progress line is drawn, and the stall looked for.
const TICK: Duration = Duration::from_millis(200);

/// What came back.
#[derive(Debug, Default)]
struct Tally {
    new: u64,
    known: u64,
    refused: u64,
}

impl Tally {
    fn all(&self) -> u64 {
        self.new + self.known + self.refused
    }
}

/// `uid` begins the tokens of lines that have none.
pub async fn submit(session: &mut Session<'_>, file: &Path, uid: Option<&str>) -> Result<Exit, Failure> {
    let uid = uid.map_or_else(insist::fresh, str::to_owned);
    let feed = Feed::of(open(file)?, &uid);
    let mut tally = Tally::default();
    let done = insist(session, &feed, &mut tally, &uid).await;
    match done {
        // Nothing was taken: nobody was there, or everything was refused.
        Err(failure @ (Failure::Unreachable(_) | Failure::Refused { .. })) if tally.all() == 0 => return Err(failure),
        _ => {}
    }
    summary(session, &tally)?;
    done.map_err(|failure| doubtful(failure, &tally, &uid))?;
    if let Some(error) = feed.input_error() {
        return Err(Failure::Broken(format!("cannot read {}: {error}", file.display())));
    }
    Ok(if tally.refused > 0 { Exit::Refused } else { Exit::Ok })
}

/// Goes on after a connection that broke, for as long as something moves.
async fn insist(session: &mut Session<'_>, feed: &Arc<Feed>, tally: &mut Tally, uid: &str) -> Result<(), Failure> {
    let mut since: Option<(Instant, u64)> = None;
    loop {
        let failure = match converse(session, feed, tally).await {
            Ok(()) if feed.is_answered() => return Ok(()),
            Ok(()) => {
                let jobs = feed.sent.jobs.load(Ordering::Relaxed);
                Failure::Unanswered(format!("opros gave {} verdicts on {jobs} lines", tally.all()))
            }
            Err(failure) => failure,
        };
        let is_first = since.is_none();
        match failure {
            Failure::Unreachable(_) if is_first && tally.all() == 0 => return Err(failure),
            failure if !failure.may_pass() || feed.input_error().is_some() => return Err(failure),
            _ => {}
        }
        let (begun, seen) = since.get_or_insert((Instant::now(), tally.all()));
        if *seen != tally.all() {
            (*begun, *seen) = (Instant::now(), tally.all());
        }
        if begun.elapsed() >= insist::patience(session.client) {
            return Err(match failure {
                Failure::Unreachable(words) | Failure::Broken(words) => Failure::Unanswered(words),
                failure => failure,
            });
        }
        if is_first {
            let words = text::block(&failure.to_string());
            session.term.note(format!("{words}. Sending again what has no verdict, as {uid}-LINE"))?;
        }
        tokio::time::sleep(insist::pause(session.client)).await;
    }
}

/// Lines without a verdict may have been taken, and paid for.
fn doubtful(failure: Failure, tally: &Tally, uid: &str) -> Failure {
    let Failure::Unanswered(words) = failure else { return failure };
    Failure::Unanswered(format!(
        "{words}. {} lines have their verdict; later ones may have been taken too. The same command with --uid {uid} orders \
         none of them twice; opros jobs --uid {uid}-LINE tells of one",
        tally.all()
    ))
}

async fn converse(session: &mut Session<'_>, feed: &Arc<Feed>, tally: &mut Tally) -> Result<(), Failure> {
    let connection = feed.connect();
    let body = Body::wrap_stream(connection.stream());
    let client = session.client;
    let head = client.upload(&["v1", "jobs"], NDJSON, body);
    let mut response = patiently(session, feed, tally, head).await??;
    let mut rest = Vec::new();
    loop {
        let chunk = patiently(session, feed, tally, Response::chunk(&mut response)).await?;
        let Some(chunk) = chunk.map_err(|error| client.lost(error))? else { break };
        rest.extend_from_slice(&chunk);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in rest.drain(..whole).collect::<Vec<u8>>().split(|byte| *byte == b'\n') {
            verdict(session, feed, tally, line)?;
        }
    }
    verdict(session, feed, tally, &rest)
}

/// Waits for `work` while either side moves; draws the progress meanwhile.
async fn patiently<T>(
    session: &mut Session<'_>,
    feed: &Feed,
    tally: &Tally,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    let mut still = Duration::ZERO;
    let mut bytes = 0;
    // So long may neither side move while our input has something to send.
    let stall = insist::patience(session.client);
    loop {
        if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
            return Ok(done);
        }
        let lines = feed.sent.lines.load(Ordering::Relaxed);
        session.term.progress(&format!("{lines} lines sent, {} verdicts, {} refused", tally.all(), tally.refused))?;
        let now = feed.sent.bytes.load(Ordering::Relaxed);
        let moved = now != std::mem::replace(&mut bytes, now) || feed.sent.reading.load(Ordering::Relaxed);
        still = if moved { Duration::ZERO } else { still + TICK };
        if still >= stall {
            return Err(Failure::Unanswered(format!("opros neither read nor answered for {} s", stall.as_secs_f64())));
        }
    }
}

fn verdict(session: &mut Session<'_>, feed: &Feed, tally: &mut Tally, line: &[u8]) -> Result<(), Failure> {
    let line = String::from_utf8_lossy(line);
    if line.trim().is_empty() {
        return Ok(());
    }
    // Half a verdict, where the connection broke: the line has none.
    let Ok(verdict) = read::<Verdict>(&line) else {
        return Err(Failure::Unanswered("opros broke off in the middle of a verdict".to_owned()));
    };
    if verdict.status == 503 {
        // It is stopping, or cannot store anything now: the line was not taken, and is sent again.
        let problem = verdict.problem.unwrap_or_default().to_string();
        return Err(Failure::Unanswered(problem));
    }
    let number = feed.answered().unwrap_or_else(|| tally.all() + 1);
    match verdict.status {
        201 => tally.new += 1,
        200 => tally.known += 1,
        _ => tally.refused += 1,
    }
    if session.term.json {
        session.term.say_json(&numbered(&line, number))?;
    } else if !matches!(verdict.status, 200 | 201) {
        let problem = verdict.problem.unwrap_or_default().to_string();
        session.term.note(format!("{} {}", styled(BAD, format!("line {number}:")), text::block(&problem)))?;
    }
    Ok(())
}

/// Opros counts the lines of one connection; people count those of the file.
fn numbered(line: &str, number: u64) -> String {
    match serde_json::from_str::<Value>(line) {
        Ok(mut verdict) if verdict.get("line").is_some_and(|line| line.as_u64() != Some(number)) => {
            verdict["line"] = Value::from(number);
            verdict.to_string()
        }
        _ => line.to_owned(),
    }
}

fn summary(session: &mut Session<'_>, tally: &Tally) -> Result<(), Failure> {
    let Tally { new, known, refused } = tally;
    let words = format!("{} lines: {new} new, {known} known already, {refused} refused", tally.all());
    let said = if session.term.json { session.term.note(words) } else { session.term.say(words) };
    Ok(said?)
}
