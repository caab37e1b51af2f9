//! NDJSON as it comes: line by line, whatever a line holds.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::problem::Problem;
use crate::listener::body::BodyError;

/// The longest line.
pub const LONGEST_LINE: usize = 128 << 10;
/// Lines that are checked and committed together, and what they may weigh.
pub const BATCH: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// How long a batch that is not full waits for more: a client that sends line by line sees its verdicts soon.
const GATHER: Duration = Duration::from_millis(5);

/// One line, counted from 1.
#[derive(Debug)]
pub struct Line {
    pub number: u64,
    /// Its text, or what is wrong with it.
    pub text: Result<Bytes, Problem>,
}

#[derive(Debug)]
pub struct Lines {
    body: BodyDataStream,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line's end.
    searched: usize,
    /// The rest of a line that was too long is being dropped.
    skipping: bool,
    number: u64,
    ended: bool,
}

impl Lines {
    pub fn new(body: Body) -> Self {
        Self {
            body: body.into_data_stream(),
            buffer: BytesMut::new(),
            searched: 0,
            skipping: false,
            number: 0,
            ended: false,
        }
    }

    /// The next lines, at least one; none at the end.
    pub async fn batch(&mut self) -> Option<Vec<Line>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        loop {
            while let Some(line) = self.cut() {
                bytes += line.text.as_ref().map_or(0, Bytes::len);
                batch.push(line);
                if batch.len() >= BATCH || bytes >= BATCH_BYTES {
                    return Some(batch);
                }
            }
            if self.ended {
                return (!batch.is_empty()).then_some(batch);
            }
            let more = if batch.is_empty() {
                self.body.next().await
            } else {
                match tokio::time::timeout(GATHER, self.body.next()).await {
                    Ok(more) => more,
                    Err(_) => return Some(batch),
                }
            };
            batch.extend(self.take(more));
        }
    }

    /// Takes in what came; at a break, says so in place of the line that is not whole.
    fn take(&mut self, more: Option<Result<Bytes, axum::Error>>) -> Option<Line> {
        match more {
            Some(Ok(bytes)) => {
                self.buffer.extend_from_slice(&bytes);
                None
            }
            // The last line needs no line feed.
            None => {
                self.ended = true;
                if !self.buffer.is_empty() {
                    self.buffer.extend_from_slice(b"\n");
                }
                None
            }
            Some(Err(error)) => {
                self.ended = true;
                self.buffer.clear();
                self.searched = 0;
                self.number += 1;
                Some(Line { number: self.number, text: Err(BodyError::of(error).into()) })
            }
        }
    }

    /// The next line that is in the buffer. Blank lines count and are passed over.
    fn cut(&mut self) -> Option<Line> {
        loop {
            let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return self.overflow();
            };
            let line = self.buffer.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            self.number += 1;
            let line = line.slice_ref(trim(&line, self.number == 1));
            if line.len() > LONGEST_LINE {
                return Some(self.too_long());
            }
            if !line.is_empty() {
                return Some(Line { number: self.number, text: Ok(line) });
            }
        }
    }

    /// A line that grows beyond the limit is judged at once, and the rest of it dropped as it comes.
    fn overflow(&mut self) -> Option<Line> {
        if self.skipping {
            self.buffer.clear();
            self.searched = 0;
            return None;
        }
        if self.buffer.len() <= LONGEST_LINE {
            return None;
        }
        self.buffer.clear();
        self.searched = 0;
        self.skipping = true;
        self.number += 1;
        Some(self.too_long())
    }

    fn too_long(&self) -> Line {
        let message = format!("the line is longer than {} KiB", LONGEST_LINE >> 10);
        Line { number: self.number, text: Err(Problem::field("line_too_long", "", message)) }
    }
}

/// Without blanks around it, and without the BOM that some programs begin a file with.
fn trim(line: &[u8], first: bool) -> &[u8] {
    let line = if first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
    line.trim_ascii()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use proptest::prelude::*;

    use super::{LONGEST_LINE, Lines};

    async fn all(pieces: Vec<Vec<u8>>) -> Vec<(u64, Option<String>)> {
        let pieces = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(bytes::Bytes::from(piece)));
        let mut lines = Lines::new(Body::from_stream(futures_util::stream::iter(pieces)));
        let mut found = Vec::new();
        while let Some(batch) = lines.batch().await {
            found.extend(
                batch
                    .into_iter()
                    .map(|line| (line.number, line.text.ok().map(|t| String::from_utf8_lossy(&t).into_owned()))),
            );
        }
        found
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_spoils_neither_its_neighbours_nor_their_numbers() {
        let long = "x".repeat(LONGEST_LINE * 3);
        let text = format!("a\n{long}\n\nb\r\n{long}\nc");
        let pieces = text.as_bytes().chunks(50_000).map(<[u8]>::to_vec).collect();
        let found = all(pieces).await;
        let text = |t: &str| Some(t.to_owned());
        assert_eq!(found, vec![(1, text("a")), (2, None), (4, text("b")), (5, None), (6, text("c"))]);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_network_cuts_them(
            lines in proptest::collection::vec("[a-z]{1,20}", 0..40),
            size in 1_usize..50,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let text = lines.join("\n");
            let pieces = text.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            let found: Vec<String> = runtime.block_on(all(pieces)).into_iter().filter_map(|(_, text)| text).collect();
            prop_assert_eq!(found, lines);
        }
    }
}
