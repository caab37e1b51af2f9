//! Why the mailbox's files cannot be read, written or made, in words that say what to do: SQLite says "disk I/O error" for most of it.
//!
//! Architecture invariant: the mailbox itself is not opened here, see [`super::file`]; a file without a name is.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use rustix::fs::{Access, Mode, OFlags, StatVfsMountFlags};

/// What SQLite calls a full disk (sqlite.org/rescode.html).
const FULL: i32 = 13;
const READONLY: i32 = 8;
/// With less than this a log cannot grow.
const ROOM: u64 = 64 << 10;
/// As much as SQLite asks for at once, when it makes a log's index.
const TRIED: usize = 32 << 10;

/// What the system says of the directory and the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    free: Option<u64>,
    mounted_read_only: bool,
    file_is_writable: bool,
    /// What came of writing a few blocks into the directory.
    tried: Option<ErrorKind>,
}

impl Facts {
    fn of(path: &Path) -> Facts {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let room = rustix::fs::statvfs(directory).ok();
        Facts {
            free: room.as_ref().map(|room| room.f_bavail.saturating_mul(room.f_frsize)),
            mounted_read_only: room.is_some_and(|room| room.f_flag.contains(StatVfsMountFlags::RDONLY)),
            file_is_writable: rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).is_ok(),
            tried: try_to_write(directory).err().map(|error| error.kind()),
        }
    }
}

/// Into a file without a name: it is gone when it is closed.
fn try_to_write(directory: &Path) -> io::Result<()> {
    let file =
        rustix::fs::open(directory, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?;
    File::from(file).write_all(&vec![0x5a; TRIED])
}

/// What to do about it.
pub fn explained(path: &Path, code: i32, said: &str) -> String {
    words(path, code, said, Facts::of(path))
}

fn words(path: &Path, code: i32, said: &str, facts: Facts) -> String {
    let at = path.display();
    let what = match (facts.tried, code & 0xff) {
        (Some(ErrorKind::QuotaExceeded), _) => {
            format!("the quota of opros' user on the mailbox's disk ({at}) is used up: raise it, or free some space")
        }
        _ if facts.mounted_read_only || facts.tried == Some(ErrorKind::ReadOnlyFilesystem) => {
            format!(
                "the mailbox's file system ({at}) is mounted read-only: see why (dmesg), and mount it for writing again"
            )
        }
        (Some(ErrorKind::StorageFull), _) | (_, FULL) => full(&at.to_string(), facts.free),
        _ if facts.free.is_some_and(|free| free < ROOM) => full(&at.to_string(), facts.free),
        (Some(ErrorKind::PermissionDenied), _) => {
            format!(
                "opros may not write into the directory of the mailbox {at}: give it to the user that opros runs as, mode 2770"
            )
        }
        (Some(ErrorKind::NotFound), _) => format!("the directory of the mailbox {at} is gone: put it back, mode 2770"),
        (_, READONLY) if !facts.file_is_writable => {
            format!("opros may not write to the mailbox {at}: give it to the user that opros runs as, mode 660")
        }
        _ if !facts.file_is_writable => {
            format!(
                "opros may not open the mailbox {at} ({said}): give it and its -wal and -shm to the user that opros runs as, mode 660"
            )
        }
        _ => format!("the disk refuses the mailbox {at} ({said}): see why (dmesg)"),
    };
    format!("{what}. Rows that were inserted stay in it and are taken then; everything else goes on")
}

fn full(at: &str, free: Option<u64>) -> String {
    let left = free.map_or_else(String::new, |free| format!(", {} KiB left", free >> 10));
    format!("the mailbox's disk is full ({at}{left}): free some space")
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::{Facts, explained, words};

    const WELL: Facts = Facts { free: Some(1 << 30), mounted_read_only: false, file_is_writable: true, tried: None };

    #[test]
    fn every_reason_says_what_to_do() {
        let tried = |kind| Facts { tried: Some(kind), ..WELL };
        let cases = [
            (13, WELL, "disk is full"),
            (10 | 19 << 8, tried(ErrorKind::StorageFull), "disk is full"),
            (10 | 19 << 8, Facts { free: Some(4096), ..WELL }, "disk is full (/m/mailbox.db, 4 KiB left)"),
            (10 | 3 << 8, tried(ErrorKind::QuotaExceeded), "quota"),
            (10 | 3 << 8, tried(ErrorKind::ReadOnlyFilesystem), "mounted read-only"),
            (8, Facts { mounted_read_only: true, file_is_writable: false, ..WELL }, "mounted read-only"),
            (14, tried(ErrorKind::PermissionDenied), "mode 2770"),
            (14, tried(ErrorKind::NotFound), "is gone"),
            (8, Facts { file_is_writable: false, ..WELL }, "mode 660"),
            (14, Facts { file_is_writable: false, ..WELL }, "-wal and -shm"),
            (10, WELL, "dmesg"),
        ];
        for (code, facts, word) in cases {
            let said = words(Path::new("/m/mailbox.db"), code, "disk I/O error", facts);
            assert!(said.contains(word) && said.contains("stay in it"), "{code}: {said}");
        }
    }

    #[test]
    fn a_directory_that_works_is_found_to_work() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailbox.db");
        std::fs::write(&path, "").unwrap();
        assert!(explained(&path, 10, "disk I/O error").contains("disk I/O error"));
        assert!(explained(&dir.path().join("gone").join("mailbox.db"), 14, "x").contains("is gone"));
    }
}
