//! Lines wait here for the one thread that writes them: whoever logs never waits for whoever reads the log.
//!
//! Architecture invariant: nothing that only tells may hold up what pays. A terminal that is stopped, a pipe that nobody reads, a
//! journal that stands still and a full disk cost lines, which are counted and told of, and nothing else. What operators
//! ordered (the audit) has room of its own, which ordinary lines cannot take.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::Level;

use super::AUDIT;
use super::line::Line;
use super::out::Out;
use crate::clock::SharedClock;
use crate::domain::Timestamp;

/// Lines that are written in one piece.
const BATCH: usize = 64;
/// What a line weighs beside its texts.
const LINE: usize = 100;
/// A write that takes longer is a log that nobody takes.
const STUCK: Duration = Duration::from_secs(5);

/// How much waits at most.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub lines: usize,
    pub bytes: usize,
}

const ORDINARY: Room = Room { lines: 8_192, bytes: 4 << 20 };
const OF_AUDIT: Room = Room { lines: 4_096, bytes: 1 << 20 };

/// Shared by the layer that hears events and by whoever ends the process.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write.
    more: Condvar,
    /// Everything is written.
    written: Condvar,
    /// Lost so far, ordinary lines and those of the audit.
    lost: [AtomicU64; 2],
    clock: SharedClock,
}

/// Ordinary lines, and those of the audit.
#[derive(Debug)]
struct Waiting {
    lanes: [Lane; 2],
    /// Counts up over both, so that they are written in the order in which they were logged.
    next: u64,
    /// Since when the thread writes what it took.
    writing: Option<Timestamp>,
}

#[derive(Debug)]
struct Lane {
    room: Room,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Lost since the last line that was taken.
    lost: u64,
}

#[derive(Debug)]
pub struct Entry {
    number: u64,
    pub at: Timestamp,
    pub line: Line,
    weight: usize,
}

/// The log is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    pub since: Timestamp,
    /// Lines, since the start.
    pub lost: u64,
}

impl Queue {
    /// Begins the thread that writes.
    pub fn to(out: Out, clock: SharedClock) -> Queue {
        Queue::with_room(out, clock, ORDINARY, OF_AUDIT)
    }

    pub fn with_room(out: Out, clock: SharedClock, ordinary: Room, audit: Room) -> Queue {
        let lane = |room| Lane { room, entries: VecDeque::new(), bytes: 0, lost: 0 };
        let waiting = Waiting { lanes: [lane(ordinary), lane(audit)], next: 0, writing: None };
        let (more, written, lost) = (Condvar::new(), Condvar::new(), Default::default());
        let shared = Arc::new(Shared { waiting: Mutex::new(waiting), more, written, lost, clock });
        let writer = Arc::clone(&shared);
        // Never joined: it may stand in a write for ever, and the process must be able to end.
        let begun = thread::Builder::new().name("opros-log".to_owned()).spawn(move || writer.write(&out));
        if let Err(error) = begun {
            eprintln!("opros logs nothing: its thread cannot be begun: {error}");
        }
        Queue(shared)
    }

    /// Takes the line, or counts it as lost. Waits for nobody.
    pub fn push(&self, line: Line) {
        let lane = usize::from(line.target == AUDIT);
        let at = self.0.clock.now();
        let weight = LINE + line.weight();
        let mut waiting = self.0.waiting();
        let Waiting { lanes, next, .. } = &mut *waiting;
        let lane_of = &mut lanes[lane];
        if lane_of.entries.len() >= lane_of.room.lines || lane_of.bytes + weight > lane_of.room.bytes {
            lane_of.lost += 1;
            self.0.lost[lane].fetch_add(1, Ordering::Relaxed);
            return;
        }
        if lane_of.lost > 0 {
            let lost = std::mem::take(&mut lane_of.lost);
            lane_of.entries.push_back(Entry { number: *next, at, line: told(lane, lost), weight: 0 });
            *next += 1;
        }
        lane_of.bytes += weight;
        lane_of.entries.push_back(Entry { number: *next, at, line, weight });
        *next += 1;
        self.0.more.notify_one();
    }

    /// Waits until everything is written, at most so long. True when it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut waiting = self.0.waiting();
        while !waiting.is_done() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            waiting = self.0.written.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Ordinary lines and lines of the audit that were lost since the start.
    pub fn lost(&self) -> [u64; 2] {
        self.0.lost.each_ref().map(|lost| lost.load(Ordering::Relaxed))
    }

    /// Set while nobody takes the log, or lines of it were lost and that could not be told yet.
    pub fn stuck(&self) -> Option<Stuck> {
        let waiting = self.0.waiting();
        let since = waiting.writing?;
        let untold = waiting.lanes.iter().any(|lane| lane.lost > 0);
        let long = self.0.clock.now().since(since) >= STUCK;
        (untold || long).then(|| Stuck { since, lost: self.lost().iter().sum() })
    }
}

impl Waiting {
    fn is_done(&self) -> bool {
        self.writing.is_none() && self.lanes.iter().all(|lane| lane.entries.is_empty() && lane.lost == 0)
    }

    /// The next lines in their order; what was lost after the last of them, where nothing came since.
    fn take(&mut self, now: Timestamp) -> Vec<Entry> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let first = |lane: &Lane| lane.entries.front().map(|entry| entry.number);
            let [ordinary, audit] = &mut self.lanes;
            let lane = match (first(ordinary), first(audit)) {
                (Some(one), Some(other)) if one < other => ordinary,
                (_, Some(_)) => audit,
                (Some(_), None) => ordinary,
                (None, None) => break,
            };
            if let Some(entry) = lane.entries.pop_front() {
                lane.bytes -= entry.weight;
                batch.push(entry);
            }
        }
        if batch.is_empty() {
            for (index, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.lost > 0) {
                let line = told(index, std::mem::take(&mut lane.lost));
                batch.push(Entry { number: self.next, at: now, line, weight: 0 });
            }
        }
        batch
    }
}

impl Shared {
    /// Every change is whole: a panic elsewhere leaves it usable.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, out: &Out) {
        loop {
            let batch = self.next();
            out.write(&batch);
        }
    }

    /// What is written next; waits for it.
    fn next(&self) -> Vec<Entry> {
        let mut waiting = self.waiting();
        waiting.writing = None;
        loop {
            let now = self.clock.now();
            let batch = waiting.take(now);
            if !batch.is_empty() {
                waiting.writing = Some(now);
                return batch;
            }
            self.written.notify_all();
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What stands in the place of lines that were lost.
fn told(lane: usize, lost: u64) -> Line {
    let (level, what) = if lane == 0 { (Level::WARN, "log") } else { (Level::ERROR, "audit") };
    let message = format!("{lost} {what} lines lost: whoever reads the log did not take them in time");
    Line { level, target: "opros::telemetry", message, fields: vec![("lines", lost.into()), ("lost", what.into())] }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::clock::SystemClock;

    /// Takes a write when it is let, and hands on what was written.
    struct Reader {
        let_go: Receiver<()>,
        taken: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.let_go.recv().map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.taken.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(target: &'static str, message: &str) -> Line {
        Line { level: Level::INFO, target, message: message.to_owned(), fields: Vec::new() }
    }

    fn stopped(ordinary: usize, audit: usize) -> (Queue, Sender<()>, Receiver<String>) {
        let ((go, let_go), (taken, text)) = (channel(), channel());
        let room = |lines| Room { lines, bytes: 1 << 20 };
        let out = Out::text(Box::new(Reader { let_go, taken }), false);
        (Queue::with_room(out, SystemClock::shared(), room(ordinary), room(audit)), go, text)
    }

    /// Lets everything be written, and returns the messages.
    fn drained(queue: &Queue, go: &Sender<()>, text: &Receiver<String>) -> Vec<String> {
        for _ in 0..1_000 {
            go.send(()).unwrap();
        }
        assert!(queue.flush(Duration::from_secs(60)));
        let all: String = text.try_iter().collect();
        all.lines().map(|line| line.split_once(" INFO ").map_or(line, |(_, message)| message).to_owned()).collect()
    }

    #[test]
    fn who_logs_waits_for_no_reader_and_what_is_lost_is_told_in_its_place() {
        let (queue, go, text) = stopped(3, 2);
        queue.push(line("opros::engine", "first"));
        // It is in the writer's hands, which waits for the reader: from here on three wait and the rest is lost.
        while queue.0.waiting().writing.is_none() {
            thread::yield_now();
        }
        for number in 0..10 {
            queue.push(line("opros::engine", &format!("line {number}")));
        }
        assert_eq!(queue.lost(), [7, 0]);
        assert_eq!(queue.stuck().map(|stuck| stuck.lost), Some(7));
        assert!(!queue.flush(Duration::ZERO), "nothing is written yet");
        let lines = drained(&queue, &go, &text);
        let found: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(found[..4], ["first", "line 0", "line 1", "line 2"]);
        assert!(found[4].contains(" WARN 7 log lines lost: ") && found[4].contains(" lines=7"), "{found:?}");
        assert_eq!((found.len(), queue.stuck()), (5, None));
        queue.push(line("opros::engine", "after"));
        assert_eq!(drained(&queue, &go, &text), ["after"]);
    }

    #[test]
    fn a_flood_of_lines_takes_nothing_of_the_audits_room_and_the_order_holds() {
        let (queue, go, text) = stopped(4, 2);
        queue.push(line("opros::engine", "first"));
        while queue.0.waiting().writing.is_none() {
            thread::yield_now();
        }
        for number in 0..100 {
            queue.push(line("opros::engine", &format!("flood {number}")));
            if number == 1 || number == 50 || number == 70 {
                queue.push(line(AUDIT, &format!("order {number}")));
            }
        }
        assert_eq!(queue.lost(), [96, 1]);
        let lines = drained(&queue, &go, &text);
        let at = |word: &str| {
            lines.iter().position(|line| line.contains(word)).unwrap_or_else(|| panic!("{word}: {lines:?}"))
        };
        assert!(
            at("flood 1") < at("order 1") && at("order 1") < at("flood 2") && at("flood 3") < at("order 50"),
            "{lines:?}"
        );
        assert!(at("ERROR 1 audit lines lost") > at("order 50"), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("96 log lines lost")), "{lines:?}");
    }

    #[test]
    fn lines_that_come_after_a_loss_stand_behind_the_word_of_it() {
        let (queue, go, text) = stopped(1, 1);
        queue.push(line("opros::engine", "first"));
        while queue.0.waiting().writing.is_none() {
            thread::yield_now();
        }
        for word in ["second", "third", "fourth"] {
            queue.push(line("opros::engine", word));
        }
        go.send(()).unwrap();
        assert!(text.recv().unwrap().contains("first"));
        // The writer takes "second"; there is room again.
        while !queue.0.waiting().lanes[0].entries.is_empty() {
            thread::yield_now();
        }
        queue.push(line("opros::engine", "fifth"));
        let lines = drained(&queue, &go, &text);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0] == "second" && lines[1].contains("2 log lines lost") && lines[2] == "fifth", "{lines:?}");
    }
}
