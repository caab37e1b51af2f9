//! `submit --file`: a stream of lines out, a stream of verdicts back, both at once, so that neither is ever held whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Body, Response};
use tokio::sync::mpsc;

use super::client::read;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{BAD, styled};
use super::wire::Verdict;
use super::{Session, text};

const NDJSON: &str = "application/x-ndjson";
const CHUNK: usize = 64 << 10;
/// How often the progress line is drawn, and the stall looked for.
const TICK: Duration = Duration::from_millis(200);
/// So long may neither side move while our input has something to send.
const STALL: Duration = Duration::from_secs(60);

/// What the reading side knows.
#[derive(Debug, Default)]
struct Sent {
    bytes: AtomicU64,
    lines: AtomicU64,
    /// Lines with something in them: each must get its verdict.
    jobs: AtomicU64,
    /// The input itself is slow, such as a pipe from something that waits: no stall.
    reading: AtomicBool,
}

/// What came back.
#[derive(Debug, Default)]
struct Tally {
    new: u64,
    known: u64,
    refused: u64,
}

impl Tally {
    fn all(&self) -> u64 {
        self.new + self.known + self.refused
    }
}

pub async fn submit(session: &mut Session<'_>, file: &Path) -> Result<Exit, Failure> {
    let sent = Arc::new(Sent::default());
    let body = lines_of(open(file)?, sent.clone());
    let mut tally = Tally::default();
    let done = converse(session, body, &sent, &mut tally).await;
    match done {
        // Nothing was taken: nobody was there, or everything was refused.
        Err(failure @ (Failure::Unreachable(_) | Failure::Refused { .. })) if tally.all() == 0 => return Err(failure),
        _ => {}
    }
    summary(session, &tally)?;
    done.map_err(|failure| doubtful(failure, &tally))?;
    let jobs = sent.jobs.load(Ordering::Relaxed);
    if tally.all() < jobs {
        let words = format!("opros gave {} verdicts on {jobs} lines", tally.all());
        return Err(doubtful(Failure::Broken(words), &tally));
    }
    Ok(if tally.refused > 0 { Exit::Refused } else { Exit::Ok })
}

/// Lines without a verdict may have been taken, and paid for.
fn doubtful(failure: Failure, tally: &Tally) -> Failure {
    let Failure::Broken(words) = failure else { return failure };
    Failure::Broken(format!(
        "{words}. {} lines have their verdict; later ones may have been taken too. Lines with a dedupe_key can be sent again \
         safely; look for the others with `opros jobs` first",
        tally.all()
    ))
}

fn open(file: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(file) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Failure::Usage(format!("cannot read {}: {error}", file.display()))),
    }
}

/// A thread reads, because a pipe may block for hours; a few chunks wait between it and the connection.
fn lines_of(mut source: Box<dyn Read + Send>, sent: Arc<Sent>) -> Body {
    let (chunks, waiting) = mpsc::channel::<io::Result<Bytes>>(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        let mut line_has_words = false;
        loop {
            sent.reading.store(true, Ordering::Relaxed);
            let read = source.read(&mut buffer);
            sent.reading.store(false, Ordering::Relaxed);
            let chunk = match read {
                Ok(0) => break sent.jobs.fetch_add(u64::from(line_has_words), Ordering::Relaxed),
                Ok(n) => Ok(Bytes::copy_from_slice(&buffer[..n])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = chunk.is_err();
            chunk.iter().for_each(|chunk| sent.count(chunk, &mut line_has_words));
            if chunks.blocking_send(chunk).is_err() || failed {
                break 0;
            }
        }
    });
    let stream = futures_util::stream::unfold(waiting, |mut waiting| async { Some((waiting.recv().await?, waiting)) });
    Body::wrap_stream(stream)
}

impl Sent {
    fn count(&self, chunk: &[u8], line_has_words: &mut bool) {
        self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        for byte in chunk {
            if *byte == b'\n' {
                self.lines.fetch_add(1, Ordering::Relaxed);
                self.jobs.fetch_add(u64::from(std::mem::take(line_has_words)), Ordering::Relaxed);
            } else if !byte.is_ascii_whitespace() {
                *line_has_words = true;
            }
        }
    }
}

async fn converse(session: &mut Session<'_>, body: Body, sent: &Sent, tally: &mut Tally) -> Result<(), Failure> {
    let client = session.client;
    let head = client.upload(&["v1", "jobs"], NDJSON, body);
    let mut response = patiently(session, sent, tally, head).await??;
    let mut rest = Vec::new();
    loop {
        let chunk = patiently(session, sent, tally, Response::chunk(&mut response)).await?;
        let Some(chunk) = chunk.map_err(|error| client.failure(error))? else { break };
        rest.extend_from_slice(&chunk);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in rest.drain(..whole).collect::<Vec<u8>>().split(|byte| *byte == b'\n') {
            verdict(session, tally, line)?;
        }
    }
    verdict(session, tally, &rest)
}

/// Waits for `work` while either side moves; draws the progress meanwhile.
async fn patiently<T>(
    session: &mut Session<'_>,
    sent: &Sent,
    tally: &Tally,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    let mut still = Duration::ZERO;
    let mut bytes = 0;
    loop {
        if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
            return Ok(done);
        }
        let lines = sent.lines.load(Ordering::Relaxed);
        session.term.progress(&format!("{lines} lines sent, {} verdicts, {} refused", tally.all(), tally.refused))?;
        let now = sent.bytes.load(Ordering::Relaxed);
        let moved = now != std::mem::replace(&mut bytes, now) || sent.reading.load(Ordering::Relaxed);
        still = if moved { Duration::ZERO } else { still + TICK };
        if still >= STALL {
            return Err(Failure::Broken(format!("opros neither read nor answered for {} s", STALL.as_secs())));
        }
    }
}

fn verdict(session: &mut Session<'_>, tally: &mut Tally, line: &[u8]) -> Result<(), Failure> {
    let line = String::from_utf8_lossy(line);
    if line.trim().is_empty() {
        return Ok(());
    }
    let verdict: Verdict = read(&line)?;
    match verdict.status {
        201 => tally.new += 1,
        200 => tally.known += 1,
        _ => tally.refused += 1,
    }
    if session.term.json {
        session.term.say_json(&line)?;
    } else if !matches!(verdict.status, 200 | 201) {
        let number = verdict.line.map_or_else(|| tally.all().to_string(), |line| line.to_string());
        let problem = verdict.problem.unwrap_or_default().to_string();
        session.term.note(format!("{} {}", styled(BAD, format!("line {number}:")), text::block(&problem)))?;
    }
    Ok(())
}

fn summary(session: &mut Session<'_>, tally: &Tally) -> Result<(), Failure> {
    let Tally { new, known, refused } = tally;
    let words = format!("{} lines: {new} new, {known} known already, {refused} refused", tally.all());
    let said = if session.term.json { session.term.note(words) } else { session.term.say(words) };
    Ok(said?)
}
