//! `watch`: events as they happen, across restarts of the daemon.

use serde_json::Value;

use super::args::WatchArgs;
use super::exec::{Cursor, Program};
use super::exit::Exit;
use super::failure::Failure;
use super::follow::{Follower, News};
use super::output::{BAD, BUSY, CARE, DIM, GOOD, styled};
use super::wire::Event;
use super::{Session, text, when};

/// Ends when nobody reads any more, when the daemon refuses, or when the program failed that is run for every event.
pub async fn watch(session: &mut Session<'_>, args: WatchArgs) -> Result<Exit, Failure> {
    let program = Program::of(&args.exec);
    let (cursor, place) = match args.cursor.as_deref().map(Cursor::open).transpose()? {
        Some((cursor, place)) => (Some(cursor), place),
        None => (None, None),
    };
    let mut follower = Follower::connect(session.client, place.or(args.after)).await?;
    loop {
        match follower.next().await? {
            News::Event(raw, event) => {
                let wanted = wanted(&args, &event);
                if wanted && !hand_on(session, program.as_ref(), &raw, &event).await? && !args.keep_going {
                    return Ok(Exit::ProgramFailed);
                }
                if let Some((cursor, seq)) = cursor.as_ref().zip(event.seq()) {
                    if wanted { cursor.reached(seq)? } else { cursor.passed(seq)? }
                }
            }
            News::Gap(words) => gap(session, &words)?,
            News::Lost(failure) => {
                session.term.note(format!("{failure}; connecting again"))?;
                if !follower.knows_its_place() {
                    session.term.note("No event was seen yet: what happens until then is not shown")?;
                }
                follower.reconnect().await?;
                session.term.note("Connected again")?;
            }
        }
    }
}

/// To the program, or to the screen. False when the program did not take it.
async fn hand_on(
    session: &mut Session<'_>,
    program: Option<&Program>,
    raw: &str,
    event: &Event,
) -> Result<bool, Failure> {
    let Some(program) = program else { return say(session, raw, event).map(|()| true) };
    match program.take(raw).await? {
        Ok(()) => Ok(true),
        Err(why) => {
            let seq = event.seq().map(|seq| seq.to_string()).unwrap_or_default();
            session.term.note(format!("{} event {seq}: {}", styled(BAD, "not taken:"), text::line(&why)))?;
            Ok(false)
        }
    }
}

fn wanted(args: &WatchArgs, event: &Event) -> bool {
    let kind = event.data.get("kind").and_then(Value::as_str).unwrap_or_default();
    let fits = |wishes: &[String], word: &str| wishes.is_empty() || wishes.iter().any(|wish| covers(wish, word));
    fits(&args.types, &event.kind) && fits(&args.kind, kind)
}

/// `tronk` covers `tronk.report`, and not `tronka.report`.
fn covers(wish: &str, word: &str) -> bool {
    let wish = wish.trim_end_matches(".*");
    word.strip_prefix(wish).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn gap(session: &mut Session<'_>, words: &str) -> Result<(), Failure> {
    if session.term.json {
        session.term.say_json(words)?;
    }
    let numbers: Value = serde_json::from_str(words).unwrap_or_default();
    if let Some(last) = numbers.get("last") {
        let last = text::line(&last.to_string());
        session.term.note(format!(
            "{} the newest event is {last}, older than the one that you asked for: was the store put back from an older \
             copy? Going on after {last}",
            styled(CARE, "gap:")
        ))?;
        return Ok(());
    }
    let oldest = numbers.get("oldest").map(|oldest| format!("; the oldest that is left is {oldest}"));
    let oldest = text::line(&oldest.unwrap_or_default());
    session
        .term
        .note(format!("{} retention has removed events that you have not seen{oldest}", styled(CARE, "gap:")))?;
    Ok(())
}

fn say(session: &mut Session<'_>, raw: &str, event: &Event) -> Result<(), Failure> {
    if session.term.json {
        return Ok(session.term.say_json(raw)?);
    }
    let seq = event.seq().map(|seq| seq.to_string()).unwrap_or_default();
    let now = session.clock.now();
    let short = session.term.width.is_some();
    let at = event.time.map(|at| if short { when::short(at, now) } else { when::stamp(at) }).unwrap_or_default();
    let kind = styled(style(&event.kind), format!("{:<16}", text::line(&event.kind)));
    let subject = text::line(event.subject.as_deref().unwrap_or_default());
    let plain = format!("{seq:>6}  {at}  {:<16}  {subject:>6}  ", text::line(&event.kind));
    let mut details = details(&event.data);
    if let Some(width) = session.term.width {
        details = text::cut(&details, usize::from(width).saturating_sub(plain.chars().count()));
    }
    let details = styled(DIM, details);
    Ok(session.term.say(format!("{seq:>6}  {at}  {kind}  {subject:>6}  {details}"))?)
}

fn style(kind: &str) -> clap::builder::styling::Style {
    match kind {
        "job.succeeded" | "job.fresh" | "account.resumed" | "account.recovered" => GOOD,
        "job.failed" | "job.expired" | "job.rejected" | "account.unreachable" | "webhook.disabled" => BAD,
        "job.in_doubt"
        | "job.stale"
        | "account.paused"
        | "account.balance_low"
        | "job.held"
        | "account.budget_spent" => CARE,
        _ => BUSY,
    }
}

/// The kind first, then the rest in its own words.
fn details(data: &Value) -> String {
    let Some(data) = data.as_object() else { return String::new() };
    let kind = data.get("kind").and_then(Value::as_str).map(str::to_owned);
    let rest = data.iter().filter(|(name, value)| *name != "kind" && !value.is_null());
    let rest = rest.map(|(name, value)| match value {
        Value::String(text) => format!("{name}: {text}"),
        other => format!("{name}: {other}"),
    });
    text::line(&kind.into_iter().chain(rest).collect::<Vec<_>>().join(", "))
}
