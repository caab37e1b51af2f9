//! Orders that are asked for until an answer is there. Each has a token, so that asking again orders nothing twice.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Session;
use super::client::{Answer, Client};
use super::failure::Failure;

/// An order is asked for again for as long as this many answers may take: a minute.
const ANSWERS: u32 = 2;
/// Between two tries: a daemon that restarts is back within some.
const AGAIN: Duration = Duration::from_millis(500);

/// So long is an order asked for again when its answer does not come.
pub fn patience(client: &Client) -> Duration {
    client.patience() * ANSWERS
}

pub fn pause(client: &Client) -> Duration {
    AGAIN.min(client.patience() / 4)
}

/// A token that nobody else has.
pub fn fresh() -> String {
    let mut random = [0_u8; 16];
    // Without the system's random numbers no order would be safe to repeat.
    getrandom::fill(&mut random).expect("the operating system gives random numbers");
    format!("cli-{}", crate::domain::exchange::hex(&random))
}

/// Posts what has the token `uid`. When no answer comes, it is asked for again; the failure then says what may have been
/// done and how to find out.
pub async fn post(
    session: &mut Session<'_>,
    path: &[&str],
    body: &impl Serialize,
    uid: &str,
) -> Result<Answer, Failure> {
    let client = session.client;
    let end = Instant::now() + patience(client);
    let mut lost = match client.order(path, body, uid, client.patience()).await {
        Err(Failure::Unanswered(words)) => words,
        Err(failure @ Failure::Refused { status: 500.., .. }) => {
            // Nearly always nothing was done; whoever asks again must not have to believe that.
            session.term.note(format!("If it is asked for again, with --uid {uid} it is ordered once"))?;
            return Err(failure);
        }
        answer => return answer,
    };
    session.term.note(format!("{lost}. Asking again, as {uid}"))?;
    while Instant::now() < end {
        // The last try has some time, too.
        let left = end.saturating_duration_since(Instant::now());
        let left = left.clamp(client.patience() / 4, client.patience());
        match client.order(path, body, uid, left).await {
            Err(Failure::Unanswered(words)) => lost = words,
            // It may be restarting; what was asked for before may have been taken all the same.
            Err(failure) if failure.may_pass() => lost = failure.to_string(),
            answer => return answer,
        }
        tokio::time::sleep(pause(client)).await;
    }
    Err(Failure::Unanswered(format!("{lost}. {}", advice(uid))))
}

fn advice(uid: &str) -> String {
    format!(
        "The order may have been taken: opros jobs --uid {uid} tells. The same command with --uid {uid} orders nothing twice"
    )
}
