//! Everything that reads what others wrote, as functions of bytes: what must hold whatever the bytes are. `fuzz/` throws
//! millions of them at each; the suite goes through the committed corpora and some random ones.

use std::iter;
use std::sync::OnceLock;

use bytes::Bytes;
use opros::callbacks::parse::{self, Limits};
use opros::cli::sse;
use opros::config::{self, Sources, duration};
use opros::domain::charset;
use opros::domain::exchange::Answer;
use opros::engine::intake::{Drivers, Intake};
use opros::mailbox::row::{RawNumber, RawRow, RawText};
use opros::vendors::registry::{self, VENDORS};
use opros::vendors::salvage::Last;
use opros::vendors::{AccountCall, Vendor, lenient};
use serde_json::Value;

use crate::vendors::play::{NOW, Party, calls, carry_out, params, patched};
use crate::vendors::samples;

const SECRET: &str = "canary-of-the-fuzzer";

/// Takes bytes off the front, as numbers that choose.
struct Choice<'a>(&'a [u8]);

impl<'a> Choice<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn of(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()) | usize::from(self.byte()) << 8;
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    fn integer(&mut self) -> i64 {
        let mut bytes = [0; 8];
        bytes.iter_mut().for_each(|byte| *byte = self.byte());
        i64::from_le_bytes(bytes)
    }
}

// ---- the mailbox --------------------------------------------------------------------------------------------------

fn raw_text(choice: &mut Choice<'_>) -> RawText {
    match choice.of(6) {
        0 => RawText::Null,
        1 => RawText::TooLong,
        2 => RawText::Foreign("real".to_owned()),
        _ => RawText::Bytes(choice.piece().to_vec()),
    }
}

fn raw_number(choice: &mut Choice<'_>) -> RawNumber {
    match choice.of(4) {
        0 => RawNumber::Null,
        1 => RawNumber::Foreign("text".to_owned()),
        _ => RawNumber::Integer(choice.integer()),
    }
}

fn intake() -> &'static Intake {
    static INTAKE: OnceLock<Intake> = OnceLock::new();
    INTAKE.get_or_init(|| {
        let one = |name: &'static str| (name.to_owned(), (name, samples::open(name, SECRET).into()));
        Intake::new(VENDORS.iter().map(|vendor| one(vendor.name)).collect::<Drivers>())
    })
}

/// A row is a request or a reason, and a request is a job or problems that say where.
pub fn mailbox_row(data: &[u8]) {
    static KINDS: OnceLock<Vec<&str>> = OnceLock::new();
    let kinds = KINDS.get_or_init(|| registry::kinds().map(|kind| kind.name).collect());
    let mut choice = Choice(data);
    let kind = choice.of(kinds.len() + 1);
    let row = RawRow {
        id: choice.integer(),
        cancel_requested: choice.of(2) == 1,
        uid: raw_text(&mut choice),
        kind: kinds.get(kind).map_or_else(|| raw_text(&mut choice), |kind| RawText::Bytes(kind.as_bytes().to_vec())),
        account: raw_text(&mut choice),
        dedupe_key: raw_text(&mut choice),
        tag: raw_text(&mut choice),
        priority: raw_number(&mut choice),
        not_before: raw_number(&mut choice),
        deadline: raw_number(&mut choice),
        params: RawText::Bytes(choice.0.to_vec()),
    };
    let read = row.clone().read();
    assert_eq!(read, row.read(), "the same row is read in the same way");
    assert!((1..=200).contains(&read.uid.len()) && !read.uid.chars().any(char::is_control));
    match read.request {
        Err(reason) => assert!(!reason.code.is_empty() && !reason.message.is_empty()),
        Ok(request) => match intake().understand(&request) {
            Ok(job) => {
                // What was understood is understood again in the same way: an older copy orders the same.
                let params = serde_json::from_str(&job.params).expect("params are JSON");
                let again = intake().understand(&opros::engine::intake::JobRequest { params, ..request });
                assert_eq!(again.map(|again| again.params), Ok(job.params));
            }
            Err(problems) => {
                assert!(!problems.is_empty() && problems.iter().all(|problem| problem.pointer.starts_with('/')));
            }
        },
    }
}

// ---- the vendors --------------------------------------------------------------------------------------------------

struct Reader {
    driver: Box<dyn Vendor>,
    /// Each kind's each call: of one job, of jobs that ask for the same, and of jobs that ask for different things.
    parties: Vec<(String, Party)>,
}

fn reader(vendor: &'static str) -> Reader {
    let driver = samples::open(vendor, SECRET);
    let mut parties = Vec::new();
    for kind in driver.kinds() {
        for call in calls(kind.traits) {
            let own = params(driver.as_ref(), kind);
            let alone = Party::new(kind, call, vec![own.clone()]);
            let together = driver.batch(&alone.views()[0], call).max > 1;
            let told = format!("{call} of {}", kind.name);
            parties.push((told.clone(), alone));
            if together {
                parties.push((told.clone(), Party::new(kind, call, vec![own.clone(); 3])));
                let others = samples::others(kind.name).map(|other| patched(driver.as_ref(), kind, &other));
                parties.push((told, Party::new(kind, call, iter::once(own).chain(others).collect())));
            }
        }
    }
    Reader { driver, parties }
}

const STATUSES: [u16; 10] = [200, 201, 204, 400, 401, 403, 404, 422, 500, 503];

/// What the vendors' servers may declare.
const CHARSETS: [Option<&str>; 8] = [
    None,
    Some("windows-1251"),
    Some("utf-8"),
    Some("koi8-r"),
    Some("utf-16"),
    Some("ibm866"),
    Some("gbk"),
    Some("none"),
];

/// Ends an answer; what follows is the answer to the call that the first of the jobs needs then. No byte of UTF-8.
const NEXT_ANSWER: u8 = 0xff;
/// No vendor's way has more steps before it repeats itself.
const MOST_ANSWERS: usize = 8;

fn answer(bytes: &[u8]) -> Answer {
    let mut choice = Choice(bytes);
    let first = usize::from(choice.byte());
    let (status, charset) = (STATUSES[first % STATUSES.len()], first / STATUSES.len() % CHARSETS.len());
    let content_type = CHARSETS[charset].map(|charset| format!("text/html; charset={charset}"));
    Answer { status, content_type, retry_after: None, body: Bytes::copy_from_slice(choice.0) }
}

/// Whatever an answer says, it is legal for the call, counts once, and leaves the job with something to do.
fn answered(reader: &Reader, data: &[u8]) {
    let mut choice = Choice(data);
    let which = choice.of(reader.parties.len() + 2);
    let driver = reader.driver.as_ref();
    let Some((told, first)) = reader.parties.get(which) else {
        let call = if which % 2 == 0 { AccountCall::Balance } else { AccountCall::Credentials };
        let _ = driver.read_account(call, &answer(choice.0), NOW);
        return;
    };
    let mut answers = choice.0.split(|byte| *byte == NEXT_ANSWER).take(MOST_ANSWERS);
    let read =
        |party: &Party, bytes| carry_out(driver, party, &party.read(driver, &answer(bytes)), told).swap_remove(0);
    let mut after = answers.next().and_then(|bytes| read(first, bytes));
    let mut party: Option<Party> = None;
    for bytes in answers {
        party = after.take().and_then(|after| party.as_ref().unwrap_or(first).then(driver, after));
        let Some(party) = &party else { return };
        after = read(party, bytes);
    }
}

macro_rules! vendors {
    ($($vendor:ident),+) => {
        $(pub fn $vendor(data: &[u8]) {
            static READER: OnceLock<Reader> = OnceLock::new();
            answered(READER.get_or_init(|| reader(stringify!($vendor))), data);
        })+
    };
}
vendors!(tronk, alta, rlab, vagvin);

/// No byte is replaced, what is JSON is read as it is, and what is mended is JSON.
pub fn nearly(data: &[u8]) {
    let mut choice = Choice(data);
    let content_type = CHARSETS[choice.of(CHARSETS.len())].map(|charset| format!("text/html; charset={charset}"));
    let read = charset::decode(choice.0, content_type.as_deref());
    if ["UTF-8", "windows-1251", "mixed"].contains(&read.charset) && read.text.contains('\u{fffd}') {
        assert!(choice.0.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes()), "{read:?}");
    }
    let strict: Option<Value> = serde_json::from_str(&read.text).ok();
    let value = lenient::parse(&read.text);
    assert!(value.is_some() || strict.is_none_or(|value| value.is_string()), "{read:?}");
    assert_eq!(value, lenient::parse(&read.text));
    let written = lenient::as_written(&read.text);
    assert_eq!(written.is_some(), lenient::embedded(&read.text).is_some(), "{read:?}");
    if let Some(written) = written {
        assert!(serde_json::from_str::<Value>(written.get()).is_ok());
    }
    if let Some(Value::Array(records)) = lenient::parse_records(&read.text, Last::IsBroken).filter(|_| value.is_none())
    {
        assert!(records.iter().any(|record| !record.is_string()));
    }
}

// ---- the other doors ----------------------------------------------------------------------------------------------

const CONTENT_TYPES: [Option<&str>; 8] = [
    None,
    Some("application/json"),
    Some("application/x-www-form-urlencoded"),
    Some("multipart/form-data; boundary=b"),
    Some("multipart/form-data; boundary=\"\""),
    Some("application/pdf"),
    Some("text/html; charset=utf-16"),
    Some("multipart/mixed"),
];

/// What is read stays within its limits, and says the same when it is read again.
pub fn callback(data: &[u8]) {
    let mut choice = Choice(data);
    let content_type = CONTENT_TYPES[choice.of(CONTENT_TYPES.len())];
    let body = Bytes::copy_from_slice(choice.0);
    match parse::parse(content_type, &body, &Limits::DEFAULT) {
        Ok(read) => {
            let again = parse::parse(content_type, &body, &Limits::DEFAULT).expect("it was read before");
            assert_eq!(read.fingerprint(), again.fingerprint());
            for file in &read.files {
                assert!(!file.name.is_empty() && !file.name.contains(['/', '\\', '\0']) && file.name != "..");
            }
            assert!(read.files.iter().map(|file| file.bytes.len()).sum::<usize>() <= body.len());
            if let Some(url) = &read.url {
                assert!(url.to_ascii_lowercase().starts_with("http"));
            }
        }
        Err(_) => {
            let kept = parse::unread(content_type, &body);
            assert!(kept.files.len() <= 1);
        }
    }
}

/// A configuration, or problems that each say what and where.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A secret may stand in a file: which files there are is not the fuzzer's business.
    if text.contains("_file") {
        return;
    }
    if let Err(problems) = config::load(&Sources::from_text(text)) {
        assert!(!problems.to_string().is_empty());
    }
}

/// However a stream is cut into pieces, its frames are the same.
pub fn sse(data: &[u8]) {
    let mut choice = Choice(data);
    let step = choice.of(16) + 1;
    let whole = sse::Parser::default().push(choice.0);
    let mut parser = sse::Parser::default();
    let pieces: Result<Vec<_>, _> = choice.0.chunks(step).map(|piece| parser.push(piece)).collect();
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        assert_eq!(whole, pieces.concat());
    }
}

pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(job) = opros::admin::list::job_of_cursor(text) {
        assert!(job.0 > 0);
    }
}

/// What is read is written so that the same is read again.
pub fn duration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(span) = duration::parse(text) {
        assert!(span <= duration::LONGEST);
        assert_eq!(duration::parse(&duration::format(span)), Ok(span));
    }
}
