//! Room on the store's disk: a floor below which nothing new is ordered, and a ballast that buys the last outcomes their place.
//!
//! A full disk must not lose the answer to a paid order. So new orders stop while there is still room, and when SQLite finds
//! none at all, a file that was kept for this moment is removed: what is under way can be recorded.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Ask = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

/// Says how many bytes are free where this directory lies.
#[derive(Clone)]
pub struct Probe(Arc<Ask>);

impl Probe {
    pub fn new(probe: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(probe))
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self::new(|directory| {
            let room = rustix::fs::statvfs(directory)?;
            Ok(room.f_bavail.saturating_mul(room.f_frsize))
        })
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

/// How much room is kept. Zero: none.
#[derive(Debug, Clone, Default)]
pub struct DiskRules {
    /// With less than this, nothing new is ordered or taken in.
    pub free_floor: u64,
    /// The size of the file that is given up when there is no room at all.
    pub ballast: u64,
    pub probe: Probe,
}

#[derive(Debug)]
pub struct Disk {
    rules: DiskRules,
    directory: PathBuf,
    ballast: PathBuf,
    /// The ballast was given up, and there is no room for a new one yet.
    spent: bool,
    /// SQLite found no room since the last look that found enough.
    was_full: bool,
    free: u64,
}

impl Disk {
    /// Looks, and puts the ballast in its place where there is room for it.
    pub fn new(store: &Path, rules: DiskRules) -> Self {
        let directory = store.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut disk = Self {
            rules,
            directory: directory.to_owned(),
            ballast: store.with_extension("ballast"),
            spent: true,
            was_full: false,
            free: u64::MAX,
        };
        disk.look();
        disk
    }

    /// Looks again; a disk that cannot be asked is not found wanting.
    pub fn look(&mut self) {
        self.free = (self.rules.probe.0)(&self.directory).unwrap_or(u64::MAX);
        if self.free < self.rules.free_floor {
            return;
        }
        if self.spent && self.rules.ballast > 0 {
            let room_for_it = self.free >= self.rules.free_floor.saturating_add(self.rules.ballast);
            self.spent = !(room_for_it && lay(&self.ballast, self.rules.ballast).is_ok());
        } else if self.rules.ballast == 0 {
            self.spent = false;
        }
        if !self.spent {
            self.was_full = false;
        }
    }

    /// Why nothing new is ordered, in words; none while there is room.
    pub fn shortage(&self) -> Option<String> {
        let where_it_is = self.directory.display();
        let free = self.free >> 20;
        if self.free < self.rules.free_floor {
            let floor = self.rules.free_floor >> 20;
            return Some(format!(
                "the disk of {where_it_is} has {free} MiB left, less than store.free_floor ({floor} MiB): nothing new is ordered \
                 or taken in, what is under way is recorded; free some space"
            ));
        }
        (self.is_spent() || self.was_full).then(|| {
            format!(
                "the disk of {where_it_is} was full: nothing new is ordered or taken in, what is under way is recorded; free some space"
            )
        })
    }

    /// The ballast is gone: what room there is belongs to outcomes.
    pub fn is_spent(&self) -> bool {
        self.spent && self.rules.ballast > 0
    }

    /// SQLite found no room.
    pub fn found_full(&mut self) {
        self.was_full = true;
    }

    /// Gives the ballast up; false when there is none.
    pub fn give_up_ballast(&mut self) -> bool {
        if self.spent || self.rules.ballast == 0 {
            return false;
        }
        self.spent = true;
        match fs::remove_file(&self.ballast) {
            Ok(()) => {
                tracing::error!(
                    "the store's disk is full: the ballast is given up, so that outcomes can still be recorded"
                );
                true
            }
            Err(error) => {
                tracing::error!(error = %error, "the store's disk is full and the ballast cannot be removed");
                false
            }
        }
    }
}

/// Written, not only declared: a hole in a file takes no room.
fn lay(path: &Path, size: u64) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == size) {
        return Ok(());
    }
    let _ = fs::remove_file(path);
    let laid = fill(path, size);
    if laid.is_err() {
        let _ = fs::remove_file(path);
    }
    laid
}

fn fill(path: &Path, size: u64) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let block = vec![0x5a_u8; 64 << 10];
    let mut left = size;
    while left > 0 {
        let count = left.min(block.len() as u64);
        file.write_all(&block[..count as usize])?;
        left -= count;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_ballast_is_laid_given_up_once_and_laid_again_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("opros.db");
        let free = Arc::new(AtomicU64::new(100 << 20));
        let asked = Arc::clone(&free);
        let probe = Probe::new(move |_| Ok(asked.load(Ordering::Relaxed)));
        let mut disk = Disk::new(&store, DiskRules { free_floor: 10 << 20, ballast: 1 << 20, probe });
        let ballast = dir.path().join("opros.ballast");
        assert_eq!(fs::metadata(&ballast).unwrap().len(), 1 << 20);
        assert_eq!(disk.shortage(), None);
        free.store(5 << 20, Ordering::Relaxed);
        disk.look();
        assert!(disk.shortage().unwrap().contains("5 MiB left, less than store.free_floor (10 MiB)"));
        assert!(disk.give_up_ballast() && !disk.give_up_ballast() && !ballast.exists());
        free.store(10 << 20, Ordering::Relaxed);
        disk.look();
        assert!(disk.is_spent() && disk.shortage().is_some(), "room for the floor, none for the ballast");
        free.store(11 << 20, Ordering::Relaxed);
        disk.look();
        assert!(disk.shortage().is_none() && ballast.exists());
    }

    #[test]
    fn without_rules_there_is_no_ballast_and_no_floor() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(&dir.path().join("opros.db"), DiskRules::default());
        assert!(disk.shortage().is_none() && !disk.give_up_ballast());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
