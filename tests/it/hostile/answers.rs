//! `answers.jsonl`: whole answers, and what each must mean to a submit, a poll, a look-up and as a call-back.
//!
//! A line has a name, a status and a body: `body` as text, `hex` as bytes, or `make`, how a long one is made. Then the expected
//! classes: one word for every vendor, or `vendor word` pairs and what the `others` make of it.
//!
//! * `submit`: `accepted` · `doubt` · `failed` · `held` (the account pauses, the job waits) · `later` (back to the queue)
//! * `poll`: `nothing` · `news` · `done` · `failed` · `held` · `unknown` (asked again some times before the job ends)
//! * `list`: `found` · `absent` · `doubt` · `held` · `later`
//! * `callback`: `car` (it names one) · `nobody` · `unreadable`; all of them are kept
//!
//! Whatever is wrongly called `accepted`, `failed` or `absent` costs money twice or loses what was paid for.

use opros::callbacks::parse::{self, Limits};
use opros::domain::Call;
use opros::domain::exchange::Answer;
use opros::domain::state::{End, Outcome};
use opros::vendors::{Vendor, Verdict, registry};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::vendors::play::{NOW, Party, answer, carry_out, checked, example, params};
use crate::vendors::samples;

const TABLE: &str = include_str!("answers.jsonl");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub name: String,
    pub status: u16,
    body: Option<String>,
    hex: Option<String>,
    make: Option<Vec<Value>>,
    submit: String,
    poll: String,
    list: String,
    callback: String,
}

impl Line {
    pub fn bytes(&self) -> Vec<u8> {
        if let Some(body) = &self.body {
            return body.clone().into_bytes();
        }
        if let Some(hex) = &self.hex {
            let digits: Vec<u8> = hex.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
            return digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        }
        let make = self.make.as_ref().expect("a line has a body, hex or make");
        let text = |at: usize| make[at].as_str().unwrap().to_owned();
        let count = |at: usize| make[at].as_u64().unwrap() as usize;
        let made = match text(0).as_str() {
            "repeat" => text(1).repeat(count(2)),
            "nest" => text(1).repeat(count(4)) + &text(2) + &text(3).repeat(count(4)),
            "wrap" => text(1) + &text(2).repeat(count(3)) + &text(4),
            "keys" => {
                let keys: Vec<String> = (0..count(1)).map(|n| format!("\"k{n}\":0")).collect();
                format!("{{{}}}", keys.join(","))
            }
            other => panic!("{other} makes nothing"),
        };
        made.into_bytes()
    }
}

pub fn table() -> Vec<Line> {
    TABLE.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What a cell says of one vendor.
fn expected<'a>(cell: &'a str, who: &str) -> &'a str {
    let mut others = cell;
    for part in cell.split(';').map(str::trim) {
        match part.split_once(' ') {
            Some((name, class)) if name == who => return class,
            Some(("others", class)) => others = class,
            Some(_) => {}
            None => others = part,
        }
    }
    others
}

fn class(call: Call, verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Seen(seen) if seen.end.is_some() => "done",
        Verdict::Seen(_) => "news",
        Verdict::Split { .. } => "split",
        Verdict::Outcome(outcome) => match outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::AccountHeld { .. } => "held",
            Outcome::Ended(End::Success { .. }) => "done",
            Outcome::Ended(End::Failure { .. }) => "failed",
            Outcome::Found { .. } => "found",
            Outcome::Absent { .. } => "absent",
            Outcome::Observed { .. } | Outcome::Progressed { .. } => "news",
            Outcome::Told { .. } => "told",
            Outcome::Unclear { .. } | Outcome::Unchanged { .. } | Outcome::NotTaken { .. } if call == Call::Poll => {
                "nothing"
            }
            Outcome::NotTaken { .. } => "later",
            Outcome::Unclear { .. } | Outcome::Unchanged { .. } => "doubt",
            Outcome::UnknownError { .. } => "unknown",
            Outcome::NotMade { .. } => "never said by a driver",
        },
    }
}

/// Each vendor's reader of paid or long-lived jobs: the name in the table, the kind, the calls.
const READERS: [(&str, &str, &[Call]); 5] = [
    ("tronk", "tronk.report", &[Call::Submit, Call::Poll]),
    ("blocks", "tronk.report_json", &[Call::Submit, Call::Poll]),
    ("alta", "alta.track", &[Call::Submit, Call::Poll, Call::LookUp]),
    ("rlab", "rlab.track", &[Call::Submit, Call::Poll, Call::LookUp]),
    ("vagvin", "vagvin.report", &[Call::Submit]),
];

struct Reader {
    who: &'static str,
    driver: Box<dyn Vendor>,
    party: Party,
}

fn readers() -> Vec<Reader> {
    let mut all = Vec::new();
    for (who, kind, calls) in READERS {
        let spec = registry::kind(kind).unwrap();
        for call in calls {
            let driver = samples::open(kind.split('.').next().unwrap(), "canary-of-the-table");
            let mut ordered = params(driver.as_ref(), spec);
            if who == "alta" {
                // Wagons alone: such an order has one hash.
                let mut wagons = example(spec);
                wagons["wagons"] = json!(["54676515"]);
                ordered = checked(driver.as_ref(), spec, &wagons);
            }
            let party = Party::new(spec, *call, vec![ordered]);
            all.push(Reader { who, driver, party });
        }
    }
    all
}

fn read(reader: &Reader, answer: &Answer, told: &str) -> &'static str {
    let reading = reader.driver.read(reader.party.call, &reader.party.views(), answer, NOW);
    // Whatever it says must be legal for that call, and count once.
    carry_out(reader.driver.as_ref(), &reader.party, &reading, told);
    class(reader.party.call, &reading.verdicts[0])
}

#[test]
fn each_answer_of_the_table_means_what_the_table_says() {
    let (lines, readers) = (table(), readers());
    assert!(lines.len() >= 300, "{} answers", lines.len());
    let mut wrong = Vec::new();
    for line in &lines {
        let answer = answer(line.status, line.bytes());
        for reader in &readers {
            let call = reader.party.call;
            let cell = match call {
                Call::Submit => &line.submit,
                Call::Poll => &line.poll,
                Call::LookUp | Call::Cancel => &line.list,
            };
            let (means, must) = (read(reader, &answer, &line.name), expected(cell, reader.who));
            if means != must {
                wrong.push(format!("{}: {call} of {}: {means}, not {must}", line.name, reader.who));
            }
        }
        let means = match parse::parse(None, &answer.body, &Limits::DEFAULT) {
            Err(_) => "unreadable",
            Ok(callback) if callback.vin.is_some() => "car",
            Ok(_) => "nobody",
        };
        if means != line.callback {
            wrong.push(format!("{}: call-back: {means}, not {}", line.name, line.callback));
        }
    }
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_two_lines_are_alike() {
    let lines = table();
    let names: std::collections::HashSet<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names.len(), lines.len(), "names");
}
