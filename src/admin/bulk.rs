//! Many jobs in one request: one verdict a line, in order; good lines are kept whatever the others are.
//!
//! Reading, committing and answering overlap, and each is bounded: a few MiB of memory carry a submission of any length.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::ops::Range;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserializer as _, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::body::Format;
use super::jobs::known_before;
use super::lines::{BATCH, LONGEST_LINE, Line, Lines};
use super::problem::Problem;
use super::request::{self, Unread};
use super::state::AdminState;
use super::who::{Who, audit};
use crate::crash;
use crate::domain::NewJob;
use crate::listener::body::WholeBody;
use crate::store::{Accepted, StoreError};

/// Pieces of verdicts that may wait for a client that sends first and reads later: some 50,000 good lines.
const PIECES: usize = 32;
const PIECE: usize = 64 << 10;
/// Elements of one array; more are NDJSON.
const MOST_ELEMENTS: usize = 500_000;

/// What became of one line.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verdict {
    /// From 1.
    line: u64,
    /// 201 taken, 200 a job has this `uid`, or an unfinished one this `dedupe_key`; 409 the `uid` belongs to another order, 410 it
    /// was ordered with this `uid` and its data are gone, 422 not understood.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

impl Verdict {
    fn of(line: u64, accepted: Option<Accepted>) -> Verdict {
        match accepted {
            Some(Accepted::New(id)) => Verdict { line, status: 201, id: Some(id.0), problem: None },
            Some(Accepted::Duplicate(id) | Accepted::Taken(Some(id))) => {
                Verdict { line, status: 200, id: Some(id.0), problem: None }
            }
            Some(Accepted::Reused(first)) => Verdict::refused(line, Problem::uid_reused(first)),
            Some(Accepted::Gone(job)) => Verdict::refused(line, Problem::uid_gone(job)),
            Some(Accepted::Taken(None)) | None => {
                Verdict::refused(line, Problem::from(StoreError::Other("no verdict came back".to_owned())))
            }
        }
    }

    fn refused(line: u64, problem: Problem) -> Verdict {
        Verdict { line, status: line_status(&problem), id: None, problem: Some(problem) }
    }
}

/// Where the lines come from.
enum Source {
    Lines(Lines),
    Array(Array),
}

impl Source {
    async fn batch(&mut self) -> Option<Vec<Line>> {
        match self {
            Source::Lines(lines) => lines.batch().await,
            Source::Array(array) => array.batch(),
        }
    }
}

/// The elements of an array by their places in the body.
struct Array {
    body: WholeBody,
    elements: VecDeque<Range<u32>>,
    number: u64,
}

/// Notes where elements begin and end. Counts while it reads: sixteen MiB of `{}` are five million elements.
struct Places {
    start: usize,
}

impl<'de> Visitor<'de> for Places {
    type Value = VecDeque<Range<u32>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of jobs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut places = VecDeque::new();
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            if places.len() == MOST_ELEMENTS {
                return Err(A::Error::custom("too many elements"));
            }
            let at = element.get().as_ptr() as usize - self.start;
            let place = u32::try_from(at).ok().zip(u32::try_from(at + element.get().len()).ok());
            let (from, to) = place.ok_or_else(|| A::Error::custom("too many bytes"))?;
            places.push_back(from..to);
        }
        Ok(places)
    }
}

impl Array {
    fn read(body: WholeBody) -> Result<Self, Problem> {
        let mut json = serde_json::Deserializer::from_slice(&body.bytes);
        let places = json.deserialize_seq(Places { start: body.bytes.as_ptr() as usize });
        let places = places.and_then(|places| json.end().map(|()| places));
        let elements = places.map_err(|error| match error.classify() {
            Category::Data => {
                let message = format!("an array holds at most {MOST_ELEMENTS} jobs; send more as NDJSON");
                Problem::field("too_many", "", message)
            }
            Category::Io | Category::Syntax | Category::Eof => Problem::bad_json(&error),
        })?;
        Ok(Self { body, elements, number: 0 })
    }

    fn batch(&mut self) -> Option<Vec<Line>> {
        let count = self.elements.len().min(BATCH);
        let places = self.elements.drain(..count).collect::<Vec<_>>();
        let line = |place: Range<u32>| {
            let place = place.start as usize..place.end as usize;
            self.number += 1;
            let text = if place.len() > LONGEST_LINE {
                let message = format!("the job is longer than {} KiB", LONGEST_LINE >> 10);
                Err(Problem::field("line_too_long", "", message))
            } else {
                Ok(self.body.bytes.slice(place))
            };
            Line { number: self.number, text }
        };
        let lines: Vec<Line> = places.into_iter().map(line).collect();
        (!lines.is_empty()).then_some(lines)
    }
}

/// NDJSON for NDJSON, while it is still being sent.
pub fn ndjson(state: AdminState, who: Who, body: Body) -> Response {
    answer(state, who, Source::Lines(Lines::new(body)), Format::Ndjson)
}

/// An array for an array.
pub fn array(state: AdminState, who: Who, body: WholeBody) -> Result<Response, Problem> {
    Ok(answer(state, who, Source::Array(Array::read(body)?), Format::Json))
}

fn answer(state: AdminState, who: Who, source: Source, format: Format) -> Response {
    let (out, pieces) = mpsc::channel(PIECES);
    // A task of its own: a batch that was begun is committed and its accounts are woken even when the client has left.
    let work = async move {
        let _place = state.bulk_place().await;
        let mut bulk = Bulk { state, out, format, text: String::new(), first: true, taken: 0, known: 0, refused: 0 };
        let heard = bulk.run(source).await;
        let (taken, known, refused) = (bulk.taken, bulk.known, bulk.refused);
        audit!(who, taken, known, refused, heard, "jobs were handed in in bulk");
    };
    tokio::spawn(crash::watched("admin.bulk", work));
    let kind = match format {
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
    };
    let body = Body::from_stream(ReceiverStream::new(pieces).map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

struct Bulk {
    state: AdminState,
    out: mpsc::Sender<Bytes>,
    format: Format,
    text: String,
    first: bool,
    taken: u64,
    known: u64,
    refused: u64,
}

impl Bulk {
    /// False when the client left before its last verdict.
    async fn run(&mut self, mut source: Source) -> bool {
        if self.format == Format::Json {
            self.text.push('[');
        }
        while let Some(lines) = source.batch().await {
            let stopping = self.state.stop().is_cancelled();
            let verdicts = if stopping { refuse_all(&lines) } else { self.judge(lines).await };
            for verdict in &verdicts {
                if !self.say(verdict).await {
                    return false;
                }
            }
            if !self.flush().await {
                return false;
            }
            if stopping {
                break;
            }
        }
        if self.format == Format::Json {
            self.text.push_str("]\n");
        }
        self.flush().await
    }

    /// Commits the good lines of a batch together.
    async fn judge(&self, lines: Vec<Line>) -> Vec<Verdict> {
        let intake = self.state.engine().intake();
        let mut jobs: Vec<NewJob> = Vec::new();
        let mut read: Vec<(u64, Option<Unread>)> = Vec::with_capacity(lines.len());
        for Line { number, text } in lines {
            match text.map_err(Unread::from).and_then(|text| request::read(&intake, &text, None)) {
                Ok(job) => {
                    jobs.push(job);
                    read.push((number, None));
                }
                Err(unread) => read.push((number, Some(unread))),
            }
        }
        let unread = read.iter().filter_map(|(_, unread)| unread.as_ref()).collect();
        let known = known_before(&self.state, unread).await;
        let accepted = if jobs.is_empty() { Ok(Vec::new()) } else { self.state.engine().submit(jobs).await };
        let broken = accepted.as_ref().err().map(|error| Problem::from(error.clone()));
        let mut accepted = accepted.unwrap_or_default().into_iter();
        // Where the store cannot be read, what is not understood is told as that.
        let known = known.unwrap_or_default();
        let verdict = |(line, unread): (u64, Option<Unread>)| match (unread, &broken) {
            (Some(Unread { problem, asked }), _) => {
                let uid = asked.and_then(|asked| asked.uid);
                match uid.and_then(|uid| known.get(&uid)) {
                    Some(id) => Verdict { line, status: 200, id: Some(id.0), problem: None },
                    None => Verdict::refused(line, problem),
                }
            }
            (None, Some(broken)) => Verdict::refused(line, broken.clone()),
            (None, None) => Verdict::of(line, accepted.next()),
        };
        read.into_iter().map(verdict).collect()
    }

    async fn say(&mut self, verdict: &Verdict) -> bool {
        match verdict.status {
            201 => self.taken += 1,
            200 => self.known += 1,
            _ => self.refused += 1,
        }
        match self.format {
            Format::Json if !std::mem::take(&mut self.first) => self.text.push_str(",\n"),
            Format::Json | Format::Ndjson => {}
        }
        // A verdict is numbers and texts: it can always be written.
        self.text.push_str(&serde_json::to_string(verdict).unwrap_or_default());
        if self.format == Format::Ndjson {
            self.text.push('\n');
        }
        self.text.len() < PIECE || self.flush().await
    }

    async fn flush(&mut self) -> bool {
        if self.text.is_empty() {
            return true;
        }
        self.out.send(Bytes::from(std::mem::take(&mut self.text))).await.is_ok()
    }
}

/// A line that is no JSON is a line that cannot be understood; what broke the whole request keeps its own status.
fn line_status(problem: &Problem) -> u16 {
    match problem.status() {
        400 => 422,
        status => status,
    }
}

fn refuse_all(lines: &[Line]) -> Vec<Verdict> {
    let refuse = |line: &Line| {
        let problem = Problem::stopping("opros is stopping: this line and those after it were not taken");
        Verdict { line: line.number, status: problem.status(), id: None, problem: Some(problem) }
    };
    lines.iter().map(refuse).collect()
}
