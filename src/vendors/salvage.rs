//! A list of records of which some cannot be read: the others are read all the same.
//!
//! The frame around the list must be whole. A record that cannot be read stands in the list as the text that it is, so
//! that whoever counts the records sees that one is missing.

use serde_json::Value;

use super::lenient;

/// So many records are looked at closely before the rest of an answer is given up.
const MOST_BROKEN: usize = 1000;
/// A record is far smaller.
const LARGEST_RECORD: usize = 256 << 10;
/// Stands for the list while its frame is read.
const LIST: &str = "\u{1}the list of records";

/// What is made of a last record that lacks its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// The answer may have been cut there: it is not read.
    MayBeCut,
    /// It is one that cannot be read, like any other.
    IsBroken,
}

/// The document with its list taken apart; none where there is no list, its frame is broken, or no record can be read.
pub fn apart(text: &str, last: Last) -> Option<Value> {
    let (from, to) = (beginning(text)?, text.rfind(']')?);
    let (before, list, after) = (&text[..from], text.get(from + 1..to)?, &text[to + 1..]);
    let stand_in = Value::from(LIST).to_string();
    let frame = lenient::parse(&format!("{before}{stand_in}{after}"))?;
    let records = Records { text: list, at: 0, broken: 0 }.all()?;
    let is_cut = || records.last().and_then(Value::as_str).is_some_and(lacks_its_end);
    if records.iter().all(Value::is_string) || (last == Last::MayBeCut && is_cut()) {
        return None;
    }
    match frame {
        Value::String(text) if text == LIST => Some(Value::Array(records)),
        Value::Object(mut fields) => {
            let place = fields.values_mut().find(|value| value.as_str() == Some(LIST))?;
            *place = Value::Array(records);
            Some(Value::Object(fields))
        }
        _ => None,
    }
}

/// Where the list begins: the document itself, or a member of it.
fn beginning(text: &str) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' if depth <= 1 => return Some(at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

fn lacks_its_end(record: &str) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in record.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth > 0 || in_text
}

struct Records<'a> {
    text: &'a str,
    at: usize,
    broken: usize,
}

impl Records<'_> {
    fn all(mut self) -> Option<Vec<Value>> {
        let mut found = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            self.at += rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
            if self.at == self.text.len() {
                return Some(found);
            }
            if self.broken > MOST_BROKEN {
                return None;
            }
            let end = self.end_of_record().filter(|end| self.ends_record(*end));
            match end.and_then(|end| Some((end, lenient::parse(&self.text[self.at..end])?))) {
                Some((end, record)) => {
                    found.push(record);
                    self.at = end;
                }
                None => found.push(self.broken_record()),
            }
        }
    }

    /// Up to where the next record begins: read if it can be by itself, else as it is.
    fn broken_record(&mut self) -> Value {
        self.broken += 1;
        let end = self.next_record().unwrap_or(self.text.len());
        let text = &self.text[self.at..end];
        self.at = end;
        lenient::parse(text).filter(|value| !value.is_string()).unwrap_or_else(|| Value::from(text.trim()))
    }

    /// Behind the bracket that closes what begins here; of a number or a word, behind it.
    fn end_of_record(&self) -> Option<usize> {
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        for (at, byte) in self.text.bytes().enumerate().skip(self.at).take(LARGEST_RECORD) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 1 => return Some(at + 1),
                b'}' | b']' => depth = depth.checked_sub(1)?,
                b',' if depth == 0 => return Some(at),
                _ => {}
            }
        }
        (depth == 0 && !in_text && self.text.len() - self.at <= LARGEST_RECORD).then_some(self.text.len())
    }

    fn ends_record(&self, at: usize) -> bool {
        let rest = self.text[at..].trim_start();
        rest.is_empty() || rest.starts_with(',')
    }

    /// The end of what stands here, if `},{` is taken for one.
    fn next_record(&self) -> Option<usize> {
        let bytes = self.text.as_bytes();
        memchr::memchr_iter(b'}', &bytes[self.at..]).map(|at| self.at + at + 1).find(|end| {
            let rest = self.text[*end..].trim_start();
            rest.strip_prefix(',').is_some_and(|rest| rest.trim_start().starts_with('{'))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_record_that_cannot_be_read_hides_none_of_the_others() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for broken in [
            r#"{"n":2,"x":'single'}"#,
            r#"{"n":2 "x":1}"#,
            r#"{"n":2,"x":"a" b}"#,
            r#"{"n":2,"x":"no end}"#,
            r#"{"n":2,"x":no"quotes}"#,
            r#"{n:2}"#,
            &format!(r#"{{"n":2,"x":{deep}}}"#),
        ] {
            let good = r#"{"n":1,"events":[{"a":1},{"b":"]},{["},{"c":[{},{}]}]}"#;
            let list = format!("[{good},\r\n{broken} , {good},{broken},{good}, 5]");
            let good: Value = serde_json::from_str(good).unwrap();
            for (text, found) in [
                (list.clone(), apart(&list, Last::IsBroken)),
                (
                    format!(r#"{{"state":0,"data":{list},"more":{{"x":[1]}}}}"#),
                    apart(&format!(r#"{{"state":0,"data":{list} ,"more":{{"x":1}}}}"#), Last::MayBeCut)
                        .map(|all| all["data"].clone()),
                ),
            ] {
                let found = found.unwrap_or_else(|| panic!("{text}"));
                let read: Vec<&Value> = found.as_array().unwrap().iter().filter(|item| item.is_object()).collect();
                assert_eq!(read, [&good, &good, &good], "{broken}");
                assert!(found.as_array().unwrap().iter().any(Value::is_string), "{broken}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_not_whole_is_not_believed() {
        for text in [
            "",
            "[",
            "{\"a\":[{\"b\":1},{\"c\"",
            "{\"a\":[{\"b\":1},{c}]",
            "[{b}]",
            "{\"a\":1}",
            "[{\"b\":1}]]",
            "x[{\"b\":1}]",
        ] {
            assert_eq!(apart(text, Last::IsBroken), None, "{text}");
        }
        assert_eq!(
            apart(r#"{"state":0,"data":[{"a":1},{b}]}"#, Last::MayBeCut),
            Some(json!({ "state": 0, "data": [{ "a": 1 }, "{b}"] }))
        );
        let hopeless = format!("[{{\"a\":1}},{}]", "{x},".repeat(2 * MOST_BROKEN));
        assert_eq!(apart(&hopeless, Last::IsBroken), None);
        for cut in
            ["[{\"a\":1},{\"b\":[2]", "{\"state\":0,\"data\":[{\"a\":1},{\"b\":[{\"c\":1}]}", "[{\"a\":1},{\"b\":\"x]"]
        {
            assert_eq!(apart(cut, Last::MayBeCut), None, "{cut}");
            assert!(apart(cut, Last::IsBroken).is_some(), "{cut}");
        }
    }
}
