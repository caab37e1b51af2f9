//! Tronk's requests as pairs, and its answers as the little that is known of them.

use serde_json::Value;
use serde_json::value::RawValue;

use super::cadence::{Memo, Stage};
use super::{Flow, JobView};
use crate::domain::exchange::{Answer, Field};
use crate::domain::{Call, Reason};
use crate::vendors::faults::{self, About, Lexicon};
use crate::vendors::lenient;

/// Path, mode and the pair that names the subject.
pub(super) fn target(call: Call, job: Option<&JobView<'_>>) -> (&'static str, &'static str, Option<Field>) {
    let Some(job) = job else { return ("/reportphone.ashx", "checkqueue", None) };
    let flow = Flow::of(job);
    let (path, subject) = subject(flow, job.params);
    if call == Call::Submit {
        let mode = match flow {
            Flow::Queue => "setqueue",
            Flow::Blocks => "create",
        };
        return (path, mode, subject);
    }
    let mode = match (flow, Memo::of(job).stage) {
        (Flow::Queue, Stage::Check) => "checkqueue",
        (Flow::Queue, Stage::Get) => "getresult",
        (Flow::Blocks, Stage::Check) => "check",
        (Flow::Blocks, Stage::Get) => "result",
    };
    (path, mode, job.job.remote_id.as_deref().map(|id| Field::open("id", id)))
}

/// The address that serves this kind of identifier, and the identifier.
fn subject(flow: Flow, params: &Value) -> (&'static str, Option<Field>) {
    const ADDRESSES: [(&str, &str); 4] = [
        ("phone", "/reportphone.ashx"),
        ("gosnumber", "/reportrequest.ashx"),
        ("vin", "/reportrequest.ashx"),
        ("frame", "/reportrequestframe.ashx"),
    ];
    let found = ADDRESSES.iter().find_map(|(name, path)| Some((*name, *path, lenient::string_field(params, name)?)));
    match (flow, found) {
        (Flow::Queue, Some((name, path, value))) => (path, Some(Field::open(name, value))),
        (Flow::Queue, None) => ("/reportphone.ashx", None),
        (Flow::Blocks, found) => ("/reportjson.ashx", found.map(|(name, _, value)| Field::open(name, value))),
    }
}

/// What the error mark says. The page types it Boolean: true, or null when all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Clear,
    Set,
    /// Neither: the answer is not in the vendor's form.
    Odd,
}

impl Mark {
    fn of(value: Option<&Value>) -> Self {
        match value {
            None | Some(Value::Null | Value::Bool(false)) => Mark::Clear,
            Some(value) if lenient::truthy(value) => Mark::Set,
            Some(Value::Number(_)) => Mark::Clear,
            Some(Value::String(text))
                if matches!(text.trim().to_ascii_lowercase().as_str(), "" | "0" | "false" | "no" | "null") =>
            {
                Mark::Clear
            }
            Some(_) => Mark::Odd,
        }
    }
}

const NO_TEXT: &str = "the vendor set the error mark and gave no text";

/// A whole readable answer in the vendor's form.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    root: Value,
    flow: Flow,
    error: Option<String>,
    whole: bool,
}

impl Reply {
    pub(super) fn read(flow: Flow, answer: &Answer) -> Result<Reply, Reason> {
        let whole = (200..300).contains(&answer.status);
        let reply = Self::from_value(flow, lenient::json(answer)?, whole).map_err(|what| odd(answer, what))?;
        // Any gateway may say `"error": true`; outside 2xx it is the vendor's word only together with its text.
        if !whole && reply.error.as_deref() == Some(NO_TEXT) {
            return Err(odd(answer, "has an error mark without the vendor's text"));
        }
        Ok(reply)
    }

    /// The answer as it was kept.
    pub(super) fn kept(flow: Flow, text: &str) -> Option<Reply> {
        Self::from_value(flow, lenient::parse(text)?, true).ok()
    }

    fn from_value(flow: Flow, root: Value, whole: bool) -> Result<Reply, &'static str> {
        if !root.is_object() {
            return Err("is no JSON object");
        }
        let said = lenient::string_field(&root, "error_msg").or_else(|| lenient::string_field(&root, "ErrorMsg"));
        let error = match Mark::of(lenient::field(&root, "error")) {
            Mark::Clear => None,
            Mark::Set => Some(said.unwrap_or_else(|| NO_TEXT.to_owned())),
            Mark::Odd => return Err("has an error field that is neither true nor null"),
        };
        Ok(Reply { root, flow, error, whole })
    }

    /// Where id and status stand: the root itself, or its `Task`.
    fn task(&self) -> &Value {
        match self.flow {
            Flow::Queue => &self.root,
            Flow::Blocks => lenient::field(&self.root, "Task").unwrap_or(&Value::Null),
        }
    }

    /// Whether anything in it is about a task at all; a gateway's own JSON is not.
    pub(super) fn is_about_a_task(&self) -> bool {
        let has = |name| lenient::field(&self.root, name).is_some();
        match self.flow {
            Flow::Queue => ["id", "status", "resultJson", "url"].into_iter().any(has),
            Flow::Blocks => ["Task", "Result"].into_iter().any(has),
        }
    }

    pub(super) fn excerpt(&self) -> String {
        lenient::excerpt(&self.root.to_string())
    }

    /// The vendor's text, when the error mark is set.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(super) fn id(&self) -> Option<String> {
        lenient::field(self.task(), "id").and_then(task_id)
    }

    pub(super) fn status(&self) -> Option<i64> {
        lenient::integer_field(self.task(), "status")
    }

    /// `msg`, typed Int twice and String once on the same page.
    pub(super) fn message(&self) -> Option<String> {
        lenient::string_field(&self.root, "msg")
    }

    /// The id of a task that the vendor took, or what the answer lacks.
    pub(super) fn accepted_id(&self) -> Result<String, String> {
        let id = self.id().ok_or("has no task id")?;
        // Outside 2xx an id alone may be a gateway's incident number.
        if self.whole || self.status().is_some() {
            Ok(id)
        } else {
            Err(format!("names an id {id} and no status; if the vendor knows that task, adopt it"))
        }
    }

    /// `resultJson` as JSON, or as the text that it is.
    pub(super) fn report(&self) -> Option<Value> {
        embedded(lenient::field(&self.root, "resultJson")?)
    }

    /// The report's link. Whoever shows results may make a link of it: what is no web address stays in the raw answer alone.
    pub(super) fn url(&self) -> Option<String> {
        lenient::string_field(&self.root, "url").filter(|url| {
            let start = url.get(..8).unwrap_or(url).to_ascii_lowercase();
            start.starts_with("http://") || start.starts_with("https://")
        })
    }

    /// reportjson's `Result`: its `data`, or the whole of it where there is no such field.
    pub(super) fn result(&self) -> Option<Value> {
        let result = embedded(lenient::field(&self.root, "Result")?)?;
        let has_data =
            result.as_object().is_some_and(|fields| fields.keys().any(|key| key.eq_ignore_ascii_case("data")));
        if has_data { lenient::field(&result, "data").and_then(embedded) } else { Some(result) }
    }

    pub(super) fn task_as_it_came(&self) -> Value {
        self.task().clone()
    }

    /// Every block of reportjson is through: refreshed, or cancelled and never to be.
    pub(super) fn blocks_settled(&self) -> bool {
        let is = |block: &Value, name| lenient::field(block, name).is_some_and(lenient::truthy);
        match lenient::field(self.task(), "StatusServices").and_then(lenient::list) {
            Some(blocks) => blocks.into_iter().all(|block| is(block, "IsComplete") || is(block, "IsCancel")),
            // No list of blocks, nothing to wait for.
            None => true,
        }
    }
}

/// The report as it was written in one of these answers: no digit of a number is lost, however long it is. `report` is the
/// same as it was understood, and counts where the two do not agree.
pub(super) fn as_written(flow: Flow, texts: &[&str], report: &Value) -> Option<Box<RawValue>> {
    let written = |text: &&str| match flow {
        Flow::Queue => lenient::member_as_written(text, "resultJson"),
        Flow::Blocks => {
            let result = lenient::member_as_written(text, "Result")?;
            lenient::member_as_written(result.get(), "data").or(Some(result))
        }
    };
    let agrees = |written: &RawValue| lenient::embedded(written.get()).as_ref() == Some(report);
    let found = texts.iter().filter_map(written).find(|written| agrees(written));
    found.or_else(|| RawValue::from_string(report.to_string()).ok())
}

/// A value that may be JSON in a string. Empty text and null are nothing.
fn embedded(value: &Value) -> Option<Value> {
    let value = match value {
        Value::String(text) if text.trim().is_empty() => return None,
        Value::String(text) => lenient::embedded(text).unwrap_or_else(|| value.clone()),
        other => other.clone(),
    };
    (!value.is_null()).then_some(value)
}

/// True of a report that says something: some status may come with an empty shell before the report is made.
pub(super) fn has_content(report: &Value) -> bool {
    match report {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// An id is a positive whole number or text of digits; .NET writes 0 where there is none.
fn task_id(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(_) => lenient::integer(value).filter(|id| *id > 0)?.to_string(),
        Value::String(text) => text.trim().to_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && text.bytes().any(|byte| byte != b'0')).then_some(text)
}

/// What the vendor's own error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Complaint {
    /// The account must pause.
    Account(Reason),
    Later(Reason),
    /// It broke off at the vendor's; how far it came, nobody knows.
    Broken(Reason),
    /// The report, or something that nobody knows.
    Other(Reason),
}

/// The page names one cause ("закончился доступ или запросы") and publishes no text for a bad key. A sentence that calls a
/// key wrong is taken for one all the same: a pause costs a `resume`, and a whole queue ended as failed cannot be had back.
/// What else there may be is the operator's `pause_on`.
pub(super) fn complaint(message: &str, pause_on: &[String]) -> Complaint {
    const LEXICON: Lexicon = Lexicon {
        credentials: &[],
        access: &["законч* + доступ|доступа|запросы|запросов", "истек|истекло|окончен|окончился + доступ|доступа"],
        money: &[],
        vague_credentials: &[],
        vague_access: &[],
        vague_money: &[],
    };
    let reason = |code: &str| Reason::new(code, message);
    match faults::about(message, &LEXICON, pause_on) {
        About::Credentials => Complaint::Account(reason("bad_key")),
        About::Access | About::Money => Complaint::Account(reason("access_ended")),
        About::Later => Complaint::Later(reason("vendor_busy")),
        About::Broken => Complaint::Broken(reason("vendor_broken")),
        About::Other => Complaint::Other(reason("vendor_refused")),
    }
}

/// A readable answer that does not say what it should.
pub(super) fn odd(answer: &Answer, what: &str) -> Reason {
    let text = lenient::answer_text(answer);
    let message = format!("HTTP {}: the answer {what}: {}", answer.status, lenient::excerpt(text.trim()));
    Reason::new("unexpected_answer", message)
}
