//! The truth about money: every paid submission, written down before it is answered.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::world::lock;
use crate::domain::Timestamp;

/// One thing that was paid for. The price is in the vendor's own unit: a request at Tronk, a track at R-Lab, kopecks at
/// Alta and VagVin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Booking {
    /// 1, 2, 3 … over the whole ledger file.
    pub n: u64,
    pub at: Timestamp,
    pub vendor: Cow<'static, str>,
    /// The vendor's name of the paid call. Alta's daily charges are `daily`, of the booking `add` that began them.
    pub op: Cow<'static, str>,
    /// Phone, VIN, plate, wagons, track.
    pub key: String,
    /// What the vendor calls the work from now on.
    pub remote_id: String,
    /// What the client wrote beside it: Alta's comment, R-Lab's order number, VagVin's client e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    pub price: i64,
    /// `n` of the request in the request log; 0 for charges that no request caused.
    pub request_id: u64,
}

#[derive(Debug)]
pub struct Ledger {
    inner: Mutex<Inner>,
    on_disk: bool,
    /// The file could not be written: from then on nothing may be answered as if it were booked.
    broken: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    entries: Vec<Booking>,
    /// Entries that an earlier run left in the same file.
    before: u64,
    file: Option<File>,
}

impl Ledger {
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let (file, before) = match path {
            Some(path) => {
                let (file, lines) = open_for_append(path)?;
                (Some(file), lines)
            }
            None => (None, 0),
        };
        let on_disk = file.is_some();
        let inner = Mutex::new(Inner { entries: Vec::new(), before, file });
        Ok(Self { inner, on_disk, broken: AtomicBool::new(false) })
    }

    /// Whether booking waits for a disk, so that callers know to keep it off the async threads.
    pub fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Numbers the bookings and makes them durable, all of them with one fsync.
    pub fn book(&self, mut bookings: Vec<Booking>) {
        if bookings.is_empty() {
            return;
        }
        let mut inner = lock(&self.inner);
        let next = inner.before + inner.entries.len() as u64 + 1;
        bookings.iter_mut().zip(next..).for_each(|(booking, n)| booking.n = n);
        if let Some(file) = &mut inner.file
            && let Err(error) = append(file, &bookings)
        {
            tracing::error!(%error, "the simulator's ledger cannot be written; every answer is 500 from now on");
            self.broken.store(true, Ordering::Release);
        }
        inner.entries.append(&mut bookings);
    }

    pub fn entries(&self) -> Vec<Booking> {
        lock(&self.inner).entries.clone()
    }

    pub fn len(&self) -> usize {
        lock(&self.inner).entries.len()
    }
}

fn open_for_append(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let mut lines = 0;
    let mut reader = BufReader::new(&file);
    let mut line = Vec::new();
    let mut torn = false;
    while reader.read_until(b'\n', &mut line)? > 0 {
        torn = !line.ends_with(b"\n");
        lines += 1;
        line.clear();
    }
    if torn {
        // A run that was killed while writing must not swallow the first booking of this one.
        file.write_all(b"\n")?;
    }
    Ok((file, lines))
}

fn append(file: &mut File, bookings: &[Booking]) -> io::Result<()> {
    let mut text = Vec::new();
    for booking in bookings {
        serde_json::to_writer(&mut text, booking)?;
        text.push(b'\n');
    }
    file.write_all(&text)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booking(key: &str) -> Booking {
        Booking {
            n: 0,
            at: Timestamp::from_millis(5),
            vendor: "tronk".into(),
            op: "setqueue".into(),
            key: key.into(),
            remote_id: "1".into(),
            token: None,
            price: 1,
            request_id: 1,
        }
    }

    #[test]
    fn numbers_go_on_where_an_earlier_run_ended_even_in_the_middle_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.ndjson");
        std::fs::write(&path, "{\"n\":1}\n{\"n\":2").unwrap();
        let ledger = Ledger::open(Some(&path)).unwrap();
        ledger.book(vec![booking("a"), booking("b")]);
        let text = std::fs::read_to_string(&path).unwrap();
        let last: Booking = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((last.n, last.key.as_str(), text.lines().count()), (4, "b", 4));
        assert_eq!(ledger.entries().len(), 2);
    }
}
