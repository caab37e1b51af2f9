//! Lines in their formats, to where they are read.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::journal::Journal;
use super::line::{Line, name};
use super::queue::{Entry, Queue};
use crate::clock::SharedClock;
use crate::domain::Timestamp;
use crate::domain::masking::Masks;

/// A file that takes nothing at the moment is tried again after this.
const AGAIN: Duration = Duration::from_millis(20);

/// Where lines go, and in which form.
pub struct Out {
    form: Form,
    /// stderr; also of the journal's, for what it does not take.
    file: Mutex<Box<dyn Write + Send>>,
}

enum Form {
    Text { colour: bool },
    Json,
    Journal(Journal),
}

impl Out {
    pub fn text(file: Box<dyn Write + Send>, colour: bool) -> Self {
        Self { form: Form::Text { colour }, file: Mutex::new(file) }
    }

    pub fn json(file: Box<dyn Write + Send>) -> Self {
        Self { form: Form::Json, file: Mutex::new(file) }
    }

    pub fn journal(journal: Journal) -> Self {
        Self { form: Form::Journal(journal), file: Mutex::new(stderr()) }
    }

    /// Several lines in one piece, where they go to a file.
    pub(super) fn write(&self, entries: &[Entry]) {
        let mut page = String::new();
        for Entry { line, at, .. } in entries {
            match &self.form {
                Form::Text { colour } => page.push_str(&text(line, *at, *colour)),
                Form::Json => page.push_str(&json(line, *at)),
                Form::Journal(journal) => {
                    if journal.send(line).is_err() {
                        page.push_str(&text(line, *at, false));
                    }
                }
            }
        }
        self.print(&page);
    }

    fn write_one(&self, line: &Line, at: Timestamp) {
        match &self.form {
            Form::Text { colour } => self.print(&text(line, at, *colour)),
            Form::Json => self.print(&json(line, at)),
            Form::Journal(journal) => {
                if journal.send(line).is_err() {
                    self.print(&text(line, at, false));
                }
            }
        }
    }

    /// In one piece: lines of several threads do not mix.
    fn print(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = text.as_bytes();
        while !left.is_empty() {
            match file.write(left) {
                // Where nobody reads any more there is nobody to tell.
                Ok(0) => return,
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process has set its end of the terminal or the pipe so.
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
                Err(_) => return,
            }
        }
        let _ = file.flush();
    }
}

/// stderr by a descriptor of its own: whoever stands in a write there holds no lock that a panic's words would wait for.
pub(super) fn stderr() -> Box<dyn Write + Send> {
    match std::io::stderr().as_fd().try_clone_to_owned() {
        Ok(own) => Box::new(File::from(own)),
        Err(_) => Box::new(std::io::stderr()),
    }
}

fn text(line: &Line, at: Timestamp, colour: bool) -> String {
    let (at, level, text) = (at.to_rfc3339(), line.level.as_str(), line.text());
    if !colour {
        return format!("{at} {level:>5} {text}\n");
    }
    let code = match line.level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    format!("\u{1b}[2m{at}\u{1b}[0m \u{1b}[{code}m{level:>5}\u{1b}[0m {text}\n")
}

fn json(line: &Line, at: Timestamp) -> String {
    let mut text = String::from("{");
    let head = [("timestamp", Value::from(at.to_rfc3339())), ("level", line.level.as_str().into())];
    let who = [("target", Value::from(line.target)), ("message", line.message.as_str().into())];
    for (index, (name, value)) in head.iter().chain(&who).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        text.push_str(&format!("{comma}\"{name}\":{value}"));
    }
    for (field, value) in &line.fields {
        text.push_str(&format!(",{}:{value}", Value::from(name(field))));
    }
    text.push_str("}\n");
    text
}

/// How many lines were written, by level.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<[AtomicU64; 5]>);

impl Lines {
    const LEVELS: [(Level, &'static str); 5] = [
        (Level::ERROR, "error"),
        (Level::WARN, "warn"),
        (Level::INFO, "info"),
        (Level::DEBUG, "debug"),
        (Level::TRACE, "trace"),
    ];

    fn count(&self, level: Level) {
        let index = Self::LEVELS.iter().position(|(known, _)| *known == level);
        if let Some(counter) = index.and_then(|index| self.0.get(index)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn all(&self) -> [(&'static str, u64); 5] {
        std::array::from_fn(|index| (Self::LEVELS[index].1, self.0[index].load(Ordering::Relaxed)))
    }
}

/// Where a line goes once it was heard.
#[derive(Debug)]
pub enum Target {
    /// At once, by whoever logs: for tests.
    Now(Out),
    /// By a thread of its own.
    Later(Queue),
}

/// Hears events and has them written.
#[derive(Debug)]
pub struct Printer {
    target: Target,
    lines: Lines,
    clock: SharedClock,
    /// No line holds one of these secrets, whoever wrote it.
    masks: Masks,
}

impl Printer {
    pub fn new(target: Target, lines: Lines, clock: SharedClock, masks: Masks) -> Self {
        Self { target, lines, clock, masks }
    }
}

impl<S: Subscriber> Layer<S> for Printer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event, &self.masks.masker());
        self.lines.count(line.level);
        match &self.target {
            Target::Now(out) => out.write_one(&line, self.clock.now()),
            Target::Later(queue) => queue.push(line),
        }
    }
}
