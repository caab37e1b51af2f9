//! `health`: is opros well, and why not.

use super::Session;
use super::client::read;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{BAD, CARE, DIM, GOOD, styled};
use super::problem::Problem;
use super::wire::Health;
use super::{pages, text, when};

pub async fn health(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let answer = session.client.get_any(&["v1", "health"]).await?;
    // 503 with causes is the answer "blocked"; any other failure is a failure.
    let Ok(health) = read::<Health>(&answer.body) else {
        return Err(Failure::Refused { status: answer.status, problem: Problem::of(answer.status, &answer.body) });
    };
    if session.term.json {
        session.term.say_json(&answer.body)?;
    } else {
        say(session, &health)?;
    }
    Ok(if matches!(health.status.as_str(), "ready" | "degraded") { Exit::Ok } else { Exit::Failed })
}

fn say(session: &mut Session<'_>, health: &Health) -> Result<(), Failure> {
    let now = session.clock.now();
    let style = match health.status.as_str() {
        "ready" => GOOD,
        "degraded" => CARE,
        _ => BAD,
    };
    session.term.say(styled(style, text::line(&health.status)))?;
    for cause in &health.causes {
        let since = cause.since.map(|since| format!(" since {}", when::both(since, now))).unwrap_or_default();
        session.term.say(format!("  {}{since}", text::line(&cause.what)))?;
        if let Some(page) = cause.code.as_deref().and_then(pages::find) {
            session.term.say(format!("    {}", styled(DIM, format!("opros explain {}", page.code))))?;
        }
    }
    Ok(())
}
