//! The lines of `submit --file` on their way: read once, each with a token, and kept until its verdict is there.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;

const CHUNK: usize = 64 << 10;
/// Opros refuses longer ones; what is beyond is not worth keeping.
const LONGEST_LINE: usize = (128 << 10) + 1;

/// What the reading side knows.
#[derive(Debug, Default)]
pub struct Sent {
    pub bytes: AtomicU64,
    pub lines: AtomicU64,
    /// Lines with something in them: each must get its verdict.
    pub jobs: AtomicU64,
    /// The input itself is slow, such as a pipe from something that waits: no stall.
    pub reading: AtomicBool,
}

/// A line with something in it.
#[derive(Debug, Clone)]
struct Job {
    number: u64,
    text: Bytes,
}

/// Some lines as they are sent, and which of them are to be answered.
#[derive(Debug, Default)]
struct Chunk {
    text: Vec<u8>,
    jobs: Vec<Job>,
}

#[derive(Debug)]
pub struct Feed {
    pub sent: Sent,
    input: tokio::sync::Mutex<mpsc::Receiver<Chunk>>,
    /// Sent, and not answered yet, in order.
    open: Mutex<VecDeque<Job>>,
    error: Mutex<Option<String>>,
    connection: Mutex<CancellationToken>,
}

/// One connection's part of a feed; another one ends it.
#[derive(Debug)]
pub struct Connection {
    feed: Arc<Feed>,
    over: CancellationToken,
}

pub fn open(file: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(file) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Failure::Usage(format!("cannot read {}: {error}", file.display()))),
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// A thread reads, because a pipe may block for hours; a few chunks wait between it and the connection.
    pub fn of(source: Box<dyn Read + Send>, uid: &str) -> Arc<Feed> {
        let (chunks, input) = mpsc::channel(4);
        let feed = Arc::new(Feed {
            sent: Sent::default(),
            input: tokio::sync::Mutex::new(input),
            open: Mutex::default(),
            error: Mutex::default(),
            connection: Mutex::default(),
        });
        let (reader, uid) = (Arc::clone(&feed), uid.to_owned());
        std::thread::spawn(move || reader.read(source, &Cutter { uid, ..Cutter::default() }, &chunks));
        feed
    }

    fn read(&self, mut source: Box<dyn Read + Send>, cutter: &Cutter, chunks: &mpsc::Sender<Chunk>) {
        let mut cutter = cutter.clone();
        let mut buffer = vec![0; CHUNK];
        loop {
            self.sent.reading.store(true, Ordering::Relaxed);
            let read = source.read(&mut buffer);
            self.sent.reading.store(false, Ordering::Relaxed);
            let (chunk, is_over) = match read {
                Ok(0) => (cutter.last(), true),
                Ok(n) => (cutter.cut(&buffer[..n]), false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    *lock(&self.error) = Some(error.to_string());
                    (Chunk::default(), true)
                }
            };
            self.sent.bytes.fetch_add(chunk.text.len() as u64, Ordering::Relaxed);
            self.sent.lines.store(cutter.number, Ordering::Relaxed);
            self.sent.jobs.fetch_add(chunk.jobs.len() as u64, Ordering::Relaxed);
            let is_unwanted = !chunk.text.is_empty() && chunks.blocking_send(chunk).is_err();
            if is_over || is_unwanted {
                break;
            }
        }
    }

    /// Begins another connection; what the one before still had to send is this one's.
    pub fn connect(self: &Arc<Self>) -> Connection {
        let over = CancellationToken::new();
        std::mem::replace(&mut *lock(&self.connection), over.clone()).cancel();
        Connection { feed: Arc::clone(self), over }
    }

    /// The oldest line that was sent has its verdict; its number.
    pub fn answered(&self) -> Option<u64> {
        lock(&self.open).pop_front().map(|job| job.number)
    }

    /// Nothing is left to be sent or to be answered.
    pub fn is_answered(&self) -> bool {
        let is_read = self.input.try_lock().is_ok_and(|input| input.is_closed() && input.is_empty());
        is_read && lock(&self.open).is_empty()
    }

    pub fn input_error(&self) -> Option<String> {
        lock(&self.error).clone()
    }

    async fn next(&self, is_first: bool) -> Option<Bytes> {
        let mut input = self.input.lock().await;
        if is_first {
            let again: Vec<u8> = lock(&self.open).iter().flat_map(|job| job.text.iter().copied()).collect();
            if !again.is_empty() {
                return Some(Bytes::from(again));
            }
        }
        let chunk = input.recv().await?;
        // Before it leaves: whatever becomes of this connection, it is not lost.
        lock(&self.open).extend(chunk.jobs);
        Some(Bytes::from(chunk.text))
    }
}

impl Connection {
    /// What is to be sent: first what was sent before and has no verdict.
    pub fn stream(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let state = (Arc::clone(&self.feed), self.over.clone(), true);
        futures_util::stream::unfold(state, |(feed, over, is_first)| async move {
            let next = tokio::select! {
                biased;
                () = over.cancelled() => None,
                next = feed.next(is_first) => next,
            };
            Some((Ok(next?), (feed, over, false)))
        })
    }
}

/// Cuts what is read into lines, and gives each that has none a token.
#[derive(Debug, Clone, Default)]
struct Cutter {
    uid: String,
    number: u64,
    line: Vec<u8>,
}

impl Cutter {
    fn cut(&mut self, read: &[u8]) -> Chunk {
        let mut chunk = Chunk::default();
        for part in read.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(self.line.len());
            let (whole, is_end) = match part.strip_suffix(b"\n") {
                Some(part) => (part, true),
                None => (part, false),
            };
            self.line.extend_from_slice(&whole[..whole.len().min(room)]);
            if is_end {
                self.end(&mut chunk);
            }
        }
        chunk
    }

    /// The last line needs no line feed.
    fn last(&mut self) -> Chunk {
        let mut chunk = Chunk::default();
        if !self.line.is_empty() {
            self.end(&mut chunk);
        }
        chunk
    }

    fn end(&mut self, chunk: &mut Chunk) {
        self.number += 1;
        let line = std::mem::take(&mut self.line);
        let line = if self.number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        if line.trim_ascii().is_empty() {
            // It counts, for opros too.
            chunk.text.push(b'\n');
            return;
        }
        let mut text = with_uid(line, &format!("{}-{}", self.uid, self.number)).unwrap_or_else(|| line.to_vec());
        text.push(b'\n');
        chunk.text.extend_from_slice(&text);
        chunk.jobs.push(Job { number: self.number, text: Bytes::from(text) });
    }
}

/// The line with a token; none where it has one, or is not what opros can understand.
fn with_uid(line: &[u8], uid: &str) -> Option<Vec<u8>> {
    let Fields(fields) = serde_json::from_slice(line).ok()?;
    let given = fields.iter().filter(|(name, _)| name == "uid");
    let uid = serde_json::to_string(uid).ok()?;
    if given.clone().any(|(_, value)| value.get() != "null") {
        return None;
    }
    if given.count() == 0 {
        // As it is written, but for this.
        let begin = line.iter().position(|byte| *byte == b'{')? + 1;
        let comma = if fields.is_empty() { "" } else { "," };
        return Some([&line[..begin], format!("\"uid\":{uid}{comma}").as_bytes(), &line[begin..]].concat());
    }
    let mut text = format!("{{\"uid\":{uid}");
    for (name, value) in fields.iter().filter(|(name, _)| name != "uid") {
        text.push_str(&format!(",{}:{}", serde_json::to_string(name).ok()?, value.get()));
    }
    text.push('}');
    Some(text.into_bytes())
}

/// An object whose values are not looked into.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cutter, with_uid};

    fn cut(text: &str, size: usize) -> (String, Vec<u64>) {
        let mut cutter = Cutter { uid: "f".to_owned(), ..Cutter::default() };
        let mut all = (Vec::new(), Vec::new());
        let mut chunks: Vec<_> = text.as_bytes().chunks(size).map(|part| cutter.cut(part)).collect();
        chunks.push(cutter.last());
        for chunk in chunks {
            all.0.extend(chunk.text);
            all.1.extend(chunk.jobs.into_iter().map(|job| job.number));
        }
        (String::from_utf8(all.0).unwrap(), all.1)
    }

    #[test]
    fn a_line_without_a_token_gets_one_of_its_number_and_every_other_stays_as_it_is() {
        let (text, jobs) = cut(
            "{\"kind\":\"a.b\"}\n\n  { }\r\n{\"uid\":\"mine\",\"kind\":1}\nno json\n[1]\n{\"uid\":null,\"a\":1}",
            7,
        );
        let expected = "{\"uid\":\"f-1\",\"kind\":\"a.b\"}\n\n  {\"uid\":\"f-3\" }\r\n{\"uid\":\"mine\",\"kind\":1}\nno json\n[1]\n{\"uid\":\"f-7\",\"a\":1}\n";
        assert_eq!((text.as_str(), jobs), (expected, vec![1, 3, 4, 5, 6, 7]));
        assert_eq!(with_uid(br#"{"a":{"uid":1}}"#, "u").unwrap(), br#"{"uid":"u","a":{"uid":1}}"#);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_read(
            lines in proptest::collection::vec("(\\{\"a\":[0-9]{1,9}\\}| |x)?", 0..30), size in 1_usize..40,
        ) {
            let text = lines.join("\n");
            prop_assert_eq!(cut(&text, size), cut(&text, 10_000));
        }
    }
}
