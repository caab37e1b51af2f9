//! Everything of one sort, oldest first, as a stream: portions of bounded weight, each read when the one before has gone.

use std::fmt;
use std::str::FromStr;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;

use super::params::{Params, WordPath};
use super::places::Guest;
use super::problem::Problem;
use super::state::AdminState;
use super::views::{EventView, JobView, time};
use super::words::{ExportWord, FormatWord};
use crate::domain::spending::Amount;
use crate::domain::{Event, JobId, Timestamp};
use crate::store::costs::CostLine;
use crate::store::upkeep::ExportSpan;
use crate::store::{EventPage, JobDetails, StoreError};

/// Events, or orders, in one portion; they are small.
const SMALL: usize = 500;

/// What can be exported: a variant and its arms for each sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Jobs,
    Events,
    Costs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Ndjson,
    Csv,
}

impl FromStr for Format {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ndjson" => Ok(Format::Ndjson),
            "csv" => Ok(Format::Csv),
            _ => Err("it is ndjson or csv"),
        }
    }
}

/// Export jobs, events or the ledger's orders. `since`: jobs that were taken in, events that happened, orders that were sent
/// from then on.
#[utoipa::path(
    get, path = "/v1/export/{what}", tag = "operation",
    params(
        ("what" = inline(ExportWord), Path, description = "`jobs`, `events` or `costs`"),
        ("format" = inline(Option<FormatWord>), Query, description = "`ndjson` (as the socket shows them elsewhere) or `csv` (RFC 4180); ndjson unless given"),
        ("since" = Option<String>, Query, description = "RFC 3339", example = "2026-11-01T00:00:00Z"),
        ("raw" = Option<bool>, Query, description = "In CSV: leave cells as they are that a spreadsheet would take for a formula; without it they begin with `'`"),
    ),
    responses(
        (status = 200, description = "Oldest first; a stream that ends without its last chunk is not whole", content(
            (String = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "Wrong parameter", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such sort", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn export(
    State(state): State<AdminState>,
    WordPath(what): WordPath,
    guest: Guest,
    params: Params,
) -> Result<Response, Problem> {
    let sort = match what.as_str() {
        "jobs" => Sort::Jobs,
        "events" => Sort::Events,
        "costs" => Sort::Costs,
        _ => return Err(Problem::not_found("what can be exported is jobs, events and costs")),
    };
    let params = params.only(&["format", "since", "raw"])?;
    let raw = params.flag("raw")?.unwrap_or(false);
    let format = params.parse("format")?.unwrap_or(Format::Ndjson);
    let since = params.text("since").map(|text| Timestamp::parse_rfc3339(&text));
    let since =
        since.transpose().map_err(|_| Problem::bad_query("since", "since is a time such as 2027-01-31T12:00:00Z"))?;
    let since = since.unwrap_or(Timestamp::MIN);
    let place = state.places().export(guest)?;
    let store = state.engine().store();
    let span = match sort {
        Sort::Jobs => store.jobs_span().await?,
        Sort::Events => store.events_span(since).await?,
        Sort::Costs => store.costs_span(since).await?,
    };
    let head = match format {
        Format::Ndjson => String::new(),
        Format::Csv => row(head(sort), raw),
    };
    let export = Export { state, sort, format, raw, since, span, head, _place: place };
    let pieces = stream::try_unfold(export, |mut export| async move {
        let piece = export.next().await.inspect_err(|error| {
            tracing::error!(error = %error, "an export breaks off: the store did not answer");
        })?;
        Ok::<_, StoreError>(piece.map(|piece| (Bytes::from(piece), export)))
    });
    let kind = match format {
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv; charset=utf-8; header=present",
    };
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response())
}

struct Export {
    state: AdminState,
    sort: Sort,
    format: Format,
    /// Cells of a table stay as they are, formulas too.
    raw: bool,
    since: Timestamp,
    span: ExportSpan,
    /// What goes before the first portion.
    head: String,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Export {
    /// The next portion; none at the end. One that comes out empty is passed over.
    async fn next(&mut self) -> Result<Option<String>, StoreError> {
        loop {
            let mut text = std::mem::take(&mut self.head);
            let more = self.span.after < self.span.last && !self.state.stop().is_cancelled();
            if more {
                match self.sort {
                    Sort::Jobs => self.jobs(&mut text).await?,
                    Sort::Events => self.events(&mut text).await?,
                    Sort::Costs => self.costs(&mut text).await?,
                }
            } else if self.span.after < self.span.last {
                // The daemon stops: what is not whole must not look whole.
                return Err(StoreError::Closed);
            }
            if !text.is_empty() {
                return Ok(Some(text));
            }
            if !more {
                return Ok(None);
            }
        }
    }

    async fn jobs(&mut self, text: &mut String) -> Result<(), StoreError> {
        let jobs = self.state.engine().store().export_jobs(JobId(self.span.after), self.since).await?;
        self.span.after = jobs.last().map_or(self.span.last, |details| details.job.id.0);
        for details in jobs.into_iter().filter(|details| details.job.id.0 <= self.span.last) {
            match self.format {
                Format::Csv => text.push_str(&row(job_row(&details), self.raw)),
                Format::Ndjson => line(text, &JobView::new(self.state.engine(), details)),
            }
        }
        Ok(())
    }

    async fn events(&mut self, text: &mut String) -> Result<(), StoreError> {
        let store = self.state.engine().store();
        let events = match store.events(self.span.after, SMALL).await? {
            EventPage::Events(events) => events,
            EventPage::Gone { oldest } => {
                // Retention was faster; those were older than anybody keeps.
                self.span.after = oldest - 1;
                return Ok(());
            }
            EventPage::Ahead { .. } => Vec::new(),
        };
        self.span.after = events.last().map_or(self.span.last, |event| event.seq);
        for event in events.into_iter().filter(|event| event.seq <= self.span.last && event.at >= self.since) {
            match self.format {
                Format::Csv => text.push_str(&row(event_row(store.instance(), &event), self.raw)),
                Format::Ndjson => line(text, &EventView::new(store.instance(), event)),
            }
        }
        Ok(())
    }

    async fn costs(&mut self, text: &mut String) -> Result<(), StoreError> {
        let lines = self.state.engine().store().export_costs(self.span.after, SMALL).await?;
        self.span.after = lines.last().map_or(self.span.last, |line| line.id);
        for cost in lines.iter().filter(|line| line.id <= self.span.last && line.at >= self.since) {
            match self.format {
                Format::Csv => text.push_str(&row(cost_row(cost), self.raw)),
                Format::Ndjson => line(text, &CostLineView::from(cost)),
            }
        }
        Ok(())
    }
}

/// One order, as the ledger has it.
#[derive(Debug, Serialize)]
struct CostLineView<'a> {
    id: i64,
    job: i64,
    account: &'a str,
    kind: &'a str,
    tag: Option<&'a str>,
    /// In the account's unit; null where none was configured.
    price: Option<f64>,
    sure: &'static str,
    #[serde(serialize_with = "time")]
    at: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    decided_at: Option<Timestamp>,
}

impl<'a> From<&'a CostLine> for CostLineView<'a> {
    fn from(line: &'a CostLine) -> Self {
        Self {
            id: line.id,
            job: line.job.0,
            account: &line.account,
            kind: &line.kind,
            tag: line.tag.as_deref(),
            price: line.price.map(Amount::units),
            sure: line.sure.as_str(),
            at: Some(line.at),
            decided_at: line.decided_at,
        }
    }
}

/// A view is numbers, texts and checked JSON: it can always be written. Stored JSON may have been written on several lines.
fn line(text: &mut String, view: &impl Serialize) {
    let json = serde_json::to_string(view).unwrap_or_default();
    text.extend(json.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    text.push('\n');
}

// ---- CSV -------------------------------------------------------------------------------------------------------------

const JOB_HEAD: &str = "id,kind,account,state,params,tag,priority,dedupe_key,remote_id,attempts,polls,result,error_code,error,\
                        created_at,submitted_at,updated_at,finished_at,mailbox_uid,retry_of";
const EVENT_HEAD: &str = "seq,id,type,time,job,account,data";
const COST_HEAD: &str = "id,job,account,kind,tag,price,sure,at,decided_at";

fn head(sort: Sort) -> Vec<String> {
    let names = match sort {
        Sort::Jobs => JOB_HEAD,
        Sort::Events => EVENT_HEAD,
        Sort::Costs => COST_HEAD,
    };
    names.split(',').map(str::to_owned).collect()
}

/// RFC 4180: what holds a comma, a quote or a line's end is quoted.
fn row(cells: Vec<String>, raw: bool) -> String {
    let quoted = cells.into_iter().map(|cell| {
        let cell = if raw || !is_formula(&cell) { cell } else { format!("'{cell}") };
        if cell.contains([',', '"', '\n', '\r', '\t']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}

/// Whether a spreadsheet would work it out instead of showing it: tags, keys and vendors' words are written by strangers. A plain
/// negative number is none.
fn is_formula(cell: &str) -> bool {
    let begins = cell.trim_start_matches([' ', '\u{a0}', '\u{feff}']);
    let sign = begins.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    sign && !cell.strip_prefix(['-', '+']).is_some_and(is_number)
}

fn cell(value: Option<impl fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn job_row(details: &JobDetails) -> Vec<String> {
    let job = &details.job;
    let reason = job.reason.as_ref();
    vec![
        job.id.to_string(),
        job.kind.clone(),
        job.account.clone(),
        job.state.to_string(),
        details.params.clone(),
        cell(job.tag.as_ref()),
        job.priority.to_string(),
        cell(job.dedupe_key.as_ref()),
        cell(job.remote_id.as_ref()),
        job.submissions.to_string(),
        job.polls.to_string(),
        cell(details.result.as_ref()),
        cell(reason.map(|reason| &reason.code)),
        cell(reason.map(|reason| &reason.message)),
        job.created_at.to_string(),
        cell(job.submitted_at),
        job.updated_at.to_string(),
        cell(job.finished_at),
        cell(job.mailbox_uid.as_ref()),
        cell(job.retry_of),
    ]
}

fn event_row(instance: &str, event: &Event) -> Vec<String> {
    vec![
        event.seq.to_string(),
        format!("{instance}-{}", event.seq),
        event.kind.to_string(),
        event.at.to_string(),
        cell(event.job),
        cell(event.account.as_ref()),
        event.data.clone(),
    ]
}

fn cost_row(cost: &CostLine) -> Vec<String> {
    vec![
        cost.id.to_string(),
        cost.job.to_string(),
        cost.account.clone(),
        cost.kind.clone(),
        cell(cost.tag.as_ref()),
        cell(cost.price.map(Amount::units)),
        cost.sure.as_str().to_owned(),
        cost.at.to_string(),
        cell(cost.decided_at),
    ]
}

#[cfg(test)]
mod tests {
    use super::{EVENT_HEAD, JOB_HEAD, row};

    #[test]
    fn what_a_spreadsheet_would_work_out_is_text_unless_it_is_wanted_raw() {
        let formulas = [
            "=1+1",
            "+7(999)000",
            "-cmd|' /C calc'!A0",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            " =1",
            "\u{a0}=1",
            "\u{feff}=1",
            "＝1",
            "－1a",
            "-",
            "+",
            "--1",
            "=HYPERLINK(\"http://x\",\"y\")",
        ];
        for formula in formulas {
            let safe = row(vec![formula.to_owned()], false);
            assert!(safe.starts_with('\'') || safe.starts_with("\"'"), "{safe:?}");
            assert!(!row(vec![formula.to_owned()], true).trim_start_matches('"').starts_with('\''), "{formula:?}");
        }
        for plain in ["", "-1", "-1.5", "+5", "1-2", "a=b", "'=1", "{\"a\":\"=1\"}", "2026-11-27T12:00:00.000Z"] {
            assert!(!super::is_formula(plain), "{plain:?}");
        }
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let cells = ["plain", "a,b", "say \"x\"", "two\nlines", ""].map(str::to_owned).to_vec();
        assert_eq!(row(cells, false), "plain,\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\r\n");
        assert_eq!((JOB_HEAD.split(',').count(), EVENT_HEAD.split(',').count()), (20, 7));
    }
}
