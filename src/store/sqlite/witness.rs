//! The witness: a small file beside the store that says how far the store had come. A store that is behind its witness was put
//! back from an older copy, and what it still wants to send may have been sent since.
//!
//! Written after each commit that matters and never before it, so it is never ahead of the store. It is not fsynced each
//! time: after a power cut it may be behind, which proves nothing and accuses nobody. Two slots take turns, so that one
//! that was torn leaves the other.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file;
use crate::domain::Timestamp;
use crate::domain::exchange::sha256_hex;

/// One slot, its line end included.
const SLOT: usize = 512;
const CHECK: usize = 16;

/// How far a store had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub instance: String,
    pub epoch: i64,
    /// Lines of the cost ledger: every order that ever began.
    pub orders: i64,
    pub last_job: i64,
    pub last_seq: i64,
    pub last_mailbox_seq: i64,
    pub at: Timestamp,
}

impl Mark {
    /// The store that this is of has forgotten something that `witness` has seen.
    pub fn is_behind(&self, witness: &Mark) -> bool {
        let of = |mark: &Mark| [mark.epoch, mark.orders, mark.last_job, mark.last_seq, mark.last_mailbox_seq];
        of(self).into_iter().zip(of(witness)).any(|(ours, theirs)| ours < theirs)
    }
}

#[derive(Debug)]
pub struct Witness {
    file: File,
    next: usize,
    last: Option<Mark>,
}

pub fn path_of(store: &Path) -> PathBuf {
    store.with_extension("witness")
}

/// What the file beside a store has seen, if there is one that can be read.
pub fn seen(store: &Path) -> Option<Mark> {
    let (file, _) = file::open_plain(&path_of(store), File::options().read(true)).ok()?;
    read_in(&file).ok().flatten().map(|(_, mark)| mark)
}

fn newest(text: &[u8]) -> Option<(usize, Mark)> {
    let slots = text.chunks(SLOT).enumerate().filter_map(|(at, slot)| Some((at, read(slot)?)));
    slots.max_by_key(|(_, mark)| (mark.epoch, mark.orders, mark.last_seq, mark.last_job, mark.at))
}

fn read_in(mut file: &File) -> io::Result<Option<(usize, Mark)>> {
    let mut text = Vec::new();
    Read::by_ref(&mut file).take(2 * SLOT as u64).read_to_end(&mut text)?;
    Ok(newest(&text))
}

impl Witness {
    /// Opens the file or makes it, and says what it has seen.
    pub fn open(store: &Path) -> io::Result<(Witness, Option<Mark>)> {
        let path = path_of(store);
        let is_new = !path.exists();
        let (file, _) = file::open_plain(&path, File::options().read(true).write(true).create(true))?;
        if is_new {
            // A store whose witness is gone is taken for a copy: its name must outlast a power cut, too.
            File::open(file::directory_of(&path)).and_then(|directory| directory.sync_all())?;
        }
        Witness::on(file)
    }

    /// In a file that is open, from its beginning.
    pub fn on(file: File) -> io::Result<(Witness, Option<Mark>)> {
        let newest = read_in(&file)?;
        let next = newest.as_ref().map_or(0, |(slot, _)| 1 - slot);
        Ok((Witness { file, next, last: None }, newest.map(|(_, mark)| mark)))
    }

    /// Writes how far the store has come; nothing where it has not moved.
    pub fn note(&mut self, mark: &Mark) -> io::Result<()> {
        if self.last.as_ref().is_some_and(|last| *last == Mark { at: last.at, ..mark.clone() }) {
            return Ok(());
        }
        let Ok(json) = serde_json::to_string(mark) else { return Ok(()) };
        let mut line = format!("{} {json}", &sha256_hex(json.as_bytes())[..CHECK]);
        if line.len() >= SLOT {
            return Err(io::Error::other("the mark is too long for its slot"));
        }
        line.push_str(&" ".repeat(SLOT - 1 - line.len()));
        line.push('\n');
        self.file.write_all_at(line.as_bytes(), (self.next * SLOT) as u64)?;
        self.next = 1 - self.next;
        self.last = Some(mark.clone());
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn read(slot: &[u8]) -> Option<Mark> {
    let text = std::str::from_utf8(slot).ok()?;
    let (check, json) = text.trim_end().split_once(' ')?;
    (sha256_hex(json.as_bytes())[..CHECK] == *check).then(|| serde_json::from_str(json).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(orders: i64) -> Mark {
        let at = Timestamp::from_millis(orders);
        Mark { instance: "a".into(), epoch: 1, orders, last_job: 1, last_seq: 1, last_mailbox_seq: 0, at }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("opros.db");
        for orders in 1..=5 {
            let (mut witness, before) = Witness::open(&store).unwrap();
            assert_eq!(before, (orders > 1).then(|| mark(orders - 1)));
            witness.note(&mark(orders)).unwrap();
        }
        // Torn: the other slot is a step behind, and accuses nobody.
        let (witness, _) = Witness::open(&store).unwrap();
        witness.file.write_all_at(b"garbage", (1 - witness.next) as u64 * SLOT as u64).unwrap();
        assert_eq!(Witness::open(&store).unwrap().1, Some(mark(4)));
        assert!(mark(4).is_behind(&mark(5)) && !mark(5).is_behind(&mark(4)) && !mark(5).is_behind(&mark(5)));
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content in proptest::collection::vec(any::<u8>(), 0..1500)) {
            let dir = tempfile::tempdir().unwrap();
            let store = dir.path().join("opros.db");
            std::fs::write(path_of(&store), content).unwrap();
            prop_assert_eq!(Witness::open(&store).unwrap().1, None);
        }
    }
}
