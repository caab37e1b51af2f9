//! `log`: what is logged, and for how long it is to be something else.

use serde::Deserialize;
use serde_json::json;

use super::Session;
use super::args::{LogArgs, LogCommand};
use super::client::Answer;
use super::exit::Exit;
use super::failure::Failure;
use super::text;

const PATH: [&str; 2] = ["v1", "log"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Log {
    filter: String,
    configured: String,
    changed: bool,
    format: String,
}

pub async fn log(session: &mut Session<'_>, args: LogArgs) -> Result<Exit, Failure> {
    let answer = match args.command {
        None => session.client.get(&PATH, &[]).await?,
        Some(LogCommand::Set { filter, lasts }) => {
            let seconds = lasts.map(|lasts| lasts.as_secs().max(1));
            session.client.put(&PATH, &json!({ "filter": filter, "seconds": seconds })).await?
        }
        Some(LogCommand::Reset) => session.client.delete(&PATH).await?,
    };
    say(session, &answer)?;
    Ok(Exit::Ok)
}

fn say(session: &mut Session<'_>, answer: &Answer) -> Result<(), Failure> {
    if session.term.json {
        session.term.say_json(&answer.body)?;
        return Ok(());
    }
    let Log { filter, configured, changed, format } = answer.read()?;
    session.term.say(format!("{} ({})", text::line(&filter), text::line(&format)))?;
    if changed {
        let configured = text::line(&configured);
        session.term.say(format!("The configuration says {configured}; back to it: opros log reset"))?;
    }
    Ok(())
}
