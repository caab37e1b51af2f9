//! Pages of the live stream, written once for all who read along: a hundred readers cost one look at the store.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::live::Live;
use super::views::EventView;
use crate::domain::{Event, JobId};
use crate::store::{EventPage, Store, StoreError};

/// Events of one page.
const PAGE: usize = 100;
/// So many pages are kept, for so long: who reads along comes within moments, and what is purged must not live on here.
const KEPT: usize = 32;
const KEPT_FOR: Duration = Duration::from_secs(1);

/// What follows a number.
#[derive(Debug, Clone)]
pub enum Page {
    /// As it goes over the wire, up to `last`.
    Text {
        text: Bytes,
        last: i64,
    },
    Empty,
    Gone {
        oldest: i64,
    },
    Ahead {
        last: i64,
    },
}

#[derive(Debug)]
struct Written {
    format: Live,
    after: i64,
    text: Bytes,
    last: i64,
    at: Instant,
}

#[derive(Debug, Default)]
pub struct Pages {
    written: Mutex<VecDeque<Written>>,
}

impl Pages {
    /// The page after that number. Whoever comes while it is read waits for it instead of reading it again.
    pub async fn after(&self, store: &dyn Store, after: i64, format: Live) -> Result<Page, StoreError> {
        let mut written = self.written.lock().await;
        while written.front().is_some_and(|page| page.at.elapsed() > KEPT_FOR) {
            written.pop_front();
        }
        if let Some(page) = written.iter().find(|page| page.after == after && page.format == format) {
            return Ok(Page::Text { text: page.text.clone(), last: page.last });
        }
        let events = match store.events(after, PAGE).await? {
            EventPage::Gone { oldest } => return Ok(Page::Gone { oldest }),
            EventPage::Ahead { last } => return Ok(Page::Ahead { last }),
            EventPage::Events(events) => events,
        };
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(Page::Empty) };
        let mut text = String::new();
        events.into_iter().for_each(|event| write(&mut text, store.instance(), event, format));
        let text = Bytes::from(text);
        if written.len() == KEPT {
            written.pop_front();
        }
        written.push_back(Written { format, after, text: text.clone(), last, at: Instant::now() });
        Ok(Page::Text { text, last })
    }
}

/// The page after that number, of one job or of all, and no more events than so many: nobody else reads it.
pub async fn of_one(
    store: &dyn Store,
    after: i64,
    format: Live,
    job: Option<JobId>,
    most: Option<usize>,
) -> Result<(Page, usize), StoreError> {
    let most = most.map_or(PAGE, |most| most.min(PAGE));
    let (found, newest) = match job {
        Some(job) => {
            let (found, newest) = store.job_events(job, after, most).await?;
            (found, Some(newest))
        }
        None => (store.events(after, most).await?, None),
    };
    let events = match found {
        EventPage::Gone { oldest } => return Ok((Page::Gone { oldest }, 0)),
        EventPage::Ahead { last } => return Ok((Page::Ahead { last }, 0)),
        EventPage::Events(events) => events,
    };
    let count = events.len();
    let reached = events.last().map(|event| event.seq);
    // Events of others need not be looked at again.
    let reached = newest.filter(|newest| count < most && *newest > after).or(reached);
    let mut text = String::new();
    events.into_iter().for_each(|event| write(&mut text, store.instance(), event, format));
    Ok((reached.map_or(Page::Empty, |last| Page::Text { text: text.into(), last }), count))
}

fn write(text: &mut String, instance: &str, event: Event, format: Live) {
    let (seq, kind) = (event.seq, event.kind.as_str());
    // A view is numbers, texts and checked JSON: it can always be written, and on one line.
    let json = serde_json::to_string(&EventView::new(instance, event)).unwrap_or_default();
    let written = match format {
        Live::Sse => write!(text, "id: {seq}\nevent: {kind}\ndata: {}\n\n", one_line(&json)),
        Live::Ndjson => writeln!(text, "{}", one_line(&json)),
    };
    debug_assert!(written.is_ok(), "a String takes everything");
}

/// Stored JSON may have been written on several lines; between its values a line feed means nothing.
fn one_line(json: &str) -> std::borrow::Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
}
