//! The event stream, held on to: remembers the last number and connects again where it broke off.

use std::collections::VecDeque;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::Response;

use super::client::{Client, read};
use super::failure::Failure;
use super::sse::{Frame, Parser};
use super::wire::Event;

/// opros sends a sign of life far more often; a stream that is silent for longer is connected anew.
const SILENCE: Duration = Duration::from_secs(90);
/// A restart takes a second or two.
const FIRST_TRY: Duration = Duration::from_millis(100);
const SLOWEST_TRY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub enum News {
    /// As it came, and as it is understood.
    Event(String, Box<Event>),
    /// Retention has removed events that were asked for; the daemon's words.
    Gap(String),
    /// The stream broke off: [`Follower::reconnect`] comes next.
    Lost(Failure),
}

#[derive(Debug)]
pub struct Follower<'a> {
    client: &'a Client,
    /// The last number seen. None: from now on.
    after: Option<i64>,
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    response: Response,
    parser: Parser,
    frames: VecDeque<Frame>,
}

impl<'a> Follower<'a> {
    /// Connects once: a daemon that is not there now is an error.
    pub async fn connect(client: &'a Client, after: Option<i64>) -> Result<Follower<'a>, Failure> {
        let stream = Some(open(client, after).await?);
        Ok(Follower { client, after, stream })
    }

    /// False when nothing was seen yet: what happens until the next connection may be missed.
    pub fn knows_its_place(&self) -> bool {
        self.after.is_some()
    }

    /// Tries until the daemon is back, or refuses for a reason that does not pass.
    pub async fn reconnect(&mut self) -> Result<(), Failure> {
        self.stream = None;
        let pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST_TRY)
            .with_max_delay(SLOWEST_TRY)
            .without_max_times()
            .with_jitter();
        let (client, after) = (self.client, self.after);
        let stream = (|| open(client, after)).retry(pauses).when(Failure::may_pass).await?;
        self.stream = Some(stream);
        Ok(())
    }

    /// The next piece of news. Can be dropped while it waits, and called again.
    pub async fn next(&mut self) -> Result<News, Failure> {
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(News::Lost(Failure::Broken("the event stream has ended".to_owned())));
            };
            while let Some(frame) = stream.frames.pop_front() {
                if let Some(news) = understand(&mut self.after, frame)? {
                    return Ok(news);
                }
            }
            if let Err(failure) = stream.more(self.client).await {
                self.stream = None;
                return Ok(News::Lost(failure));
            }
        }
    }
}

async fn open(client: &Client, after: Option<i64>) -> Result<Stream, Failure> {
    let query: Vec<_> = after.iter().map(|seq| ("after", seq.to_string())).collect();
    let response = client.stream(&["v1", "events"], &query, "text/event-stream").await?;
    Ok(Stream { response, parser: Parser::default(), frames: VecDeque::new() })
}

impl Stream {
    async fn more(&mut self, client: &Client) -> Result<(), Failure> {
        let silent = |_| Failure::Broken(format!("the event stream was silent for {} s", SILENCE.as_secs()));
        let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await.map_err(silent)?;
        let ended = || Failure::Broken("opros ended the event stream".to_owned());
        let chunk = chunk.map_err(|error| client.failure(error))?.ok_or_else(ended)?;
        self.frames.extend(self.parser.push(&chunk).map_err(|error| Failure::Broken(error.to_string()))?);
        Ok(())
    }
}

/// None for what was seen before and for frames that only tell the place.
fn understand(after: &mut Option<i64>, frame: Frame) -> Result<Option<News>, Failure> {
    let id = frame.id.as_deref().and_then(|id| id.parse::<i64>().ok());
    let Some(data) = frame.data else {
        *after = id.or(*after);
        return Ok(None);
    };
    if frame.event.as_deref() == Some("gap") {
        *after = id.or(*after);
        return Ok(Some(News::Gap(data)));
    }
    let event: Event = read(&data)?;
    let seq = id.or_else(|| event.seq());
    if seq.is_some() && seq <= *after {
        return Ok(None);
    }
    *after = seq.or(*after);
    Ok(Some(News::Event(data, Box::new(event))))
}
