//! The mailbox's file, and the SQLite of those who write to it.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Finding;
use super::files::{self, named};
use crate::look::{self, Links, Refusal};
use crate::mailbox::inspect;
use crate::mailbox::trouble::Trouble;

/// STRICT tables.
const OLDEST: Version = (3, 37, 0);
/// sqlite.org/wal.html, "the WAL-reset bug": it came with WAL, and is gone from these on.
const RESET_BUG_FROM: Version = (3, 7, 0);
const RESET_BUG_GONE: [Version; 3] = [(3, 44, 6), (3, 50, 7), (3, 51, 3)];
/// More is not copied to be looked through.
const LARGEST: u64 = 256 << 20;
/// Where a copy is made: not where the environment says.
const ROOMS: [&str; 2] = ["/tmp", "/var/tmp"];
/// How often a file is copied anew that others write to meanwhile.
const TRIES: usize = 3;

type Version = (u32, u32, u32);

/// What was taken of the mailbox.
#[derive(Debug)]
pub enum Taken {
    Copy(TempDir),
    Said(Finding),
}

/// Takes a private copy of the mailbox, by descriptors: SQLite opens by name, and others can exchange what the name leads to.
pub fn take(path: &Path) -> Taken {
    let at = path.display();
    let there = files::beside(path);
    if there.is_empty() {
        return Taken::Said(Finding::ok("mailbox", format!("{at} is not there yet; opros makes it")));
    }
    // What it is stands among the files.
    if there.iter().any(|(_, meta)| files::is_strange(meta)) {
        let what = format!("{at} was not looked through: what lies there is not what SQLite makes");
        return Taken::Said(Finding::warning("mailbox", what, "see the lines above, then: sudo opros doctor"));
    }
    if let Some(who) = writer(&there) {
        let what = format!("{at}: another program{who} holds a lock, with a transaction that it has not ended");
        return Taken::Said(Finding::warning("mailbox", what, "let it end its transaction, or end it"));
    }
    let mut last = None;
    for _ in 0..TRIES {
        match copied(path) {
            Ok(Some(copy)) => return Taken::Copy(copy),
            Ok(None) => {}
            Err(refusal) => last = Some(refusal),
        }
    }
    Taken::Said(match last {
        None => Finding::ok("mailbox", format!("{at} is being written to, and was not looked through")),
        Some(Refusal::TooLarge(_)) => Finding::ok(
            "mailbox",
            format!(
                "{at} is too large to be looked through from here (more than {} MiB); the daemon does",
                LARGEST >> 20
            ),
        ),
        Some(Refusal::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
            let what = format!("{at} was not looked through: there is no room for a copy of it in /tmp or /var/tmp");
            Finding::warning("mailbox", what, "free some space")
        }
        Some(refusal) if refusal.is_missing() => {
            Finding::ok("mailbox", format!("{at} is not there yet; opros makes it"))
        }
        Some(refusal) => Finding::problem("mailbox", format!("{at} {refusal}"), "sudo opros doctor"),
    })
}

/// None where others wrote to it meanwhile.
fn copied(path: &Path) -> Result<Option<TempDir>, Refusal> {
    let (database, before) = look::open(path, Links::Refuse)?;
    let log = match look::open(&named(path, "-wal"), Links::Refuse) {
        Ok(log) => Some(log),
        Err(refusal) if refusal.is_missing() => None,
        Err(refusal) => return Err(refusal),
    };
    let size = before.len().saturating_add(log.as_ref().map_or(0, |(_, meta)| meta.len()));
    if size > LARGEST {
        return Err(Refusal::TooLarge(LARGEST));
    }
    let room = room(size)?;
    let copy = room.path().join(NAME);
    pour(&database, &copy)?;
    if let Some((log, _)) = &log {
        pour(log, &named(&copy, "-wal"))?;
    }
    let same = |file: &File, before: &Metadata| file.metadata().is_ok_and(|now| stamp(&now) == stamp(before));
    let still = same(&database, &before) && log.as_ref().is_none_or(|(log, before)| same(log, before));
    Ok(still.then_some(room))
}

/// The copy's name in its directory.
const NAME: &str = "mailbox.db";

fn stamp(meta: &Metadata) -> (u64, i64, i64, i64, i64) {
    (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
}

fn pour(from: &File, to: &Path) -> Result<(), Refusal> {
    use std::io::Read;
    let mut to = File::options().write(true).create_new(true).open(to)?;
    std::io::copy(&mut from.take(LARGEST), &mut to)?;
    Ok(())
}

/// A directory that nobody else may enter, on a disk with twice the room.
fn room(size: u64) -> Result<TempDir, Refusal> {
    let is_roomy = |place: &str| {
        let free = rustix::fs::statvfs(place).map(|asked| asked.f_bavail.saturating_mul(asked.f_frsize));
        free.is_ok_and(|free| free > size.saturating_mul(2))
    };
    let Some(place) = ROOMS.into_iter().find(|place| is_roomy(place)) else {
        return Err(Refusal::Io(std::io::ErrorKind::StorageFull.into()));
    };
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    Ok(tempfile::Builder::new().prefix("opros-doctor-").permissions(private).tempdir_in(place)?)
}

/// Who holds a lock to write, by the kernel's list: taking one to find out could keep others waiting.
fn writer(files: &[(PathBuf, Metadata)]) -> Option<String> {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let at = fields.iter().position(|field| *field == "WRITE")?;
        let (pid, inode) = (fields.get(at + 1)?, fields.get(at + 2)?);
        let held = files.iter().any(|(_, meta)| **inode == super::daemon::inode(meta));
        held.then(|| if *pid == "0" { String::new() } else { format!(" (process {pid})") })
    })
}

/// What stands in a copy of the mailbox.
pub async fn file(path: &Path, copy: &TempDir) -> Finding {
    let at = path.display();
    match inspect::inspect(&copy.path().join(NAME)).await {
        Err(Trouble::Damaged(what)) => Finding::problem(
            "mailbox",
            format!("{at} is damaged: {what}"),
            "start opros: it takes over what can be read and makes a new one",
        ),
        Err(trouble) => {
            Finding::problem("mailbox", format!("{at} cannot be read: {trouble}"), "opros explain mailbox_schema")
        }
        Ok(found) => judged(&at.to_string(), &found),
    }
}

fn judged(at: &str, found: &inspect::Inspection) -> Finding {
    if let Some(altered) = &found.altered {
        return Finding::problem("mailbox", format!("{at}: {altered}"), "opros explain mailbox_schema");
    }
    if found.other_format {
        return Finding::ok(
            "mailbox",
            format!("{at} is of another version; opros brings it up to date when it starts"),
        );
    }
    if !found.is_wal {
        let what = format!("{at} does not have the journal mode WAL; another program changed it");
        return Finding::warning("mailbox", what, "nothing: opros sets it to WAL when it starts");
    }
    Finding::ok("mailbox", format!("{at} is whole, its schema is ours, its journal is WAL"))
}

/// Where distributions keep the library that sqlite3, Python and PHP share.
fn libraries() -> Vec<PathBuf> {
    let own = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let places = [own.as_str(), "/usr/lib64", "/usr/lib", "/lib64", "/lib", "/usr/local/lib64", "/usr/local/lib"];
    places.iter().map(|place| Path::new(place).join("libsqlite3.so.0")).collect()
}

/// A SQLite library has some two megabytes.
const LARGEST_LIBRARY: u64 = 32 << 20;

/// What other programs of the distribution use, read out of their library: nothing is run to be asked, for whoever may prepare
/// the directory or the environment of root could choose what that is.
pub fn others() -> Vec<Finding> {
    let mut known: Vec<(u64, u64)> = Vec::new();
    let mut all = Vec::new();
    for path in libraries() {
        let Ok((bytes, meta)) = look::bytes(&path, Links::Follow, LARGEST_LIBRARY) else { continue };
        if known.contains(&(meta.dev(), meta.ino())) {
            continue;
        }
        known.push((meta.dev(), meta.ino()));
        let number = number_in(&bytes).unwrap_or_default();
        all.push(of_library(&path.display().to_string(), &number));
    }
    if all.is_empty() {
        let what = "the system has no SQLite library (libsqlite3.so.0); which one others use to write to the mailbox is not \
                    known here: ask them, SELECT sqlite_version()";
        all.push(Finding::ok("sqlite", what));
    }
    all
}

/// `sqlite3_version`, a text of its own in every build of the library.
fn number_in(bytes: &[u8]) -> Option<String> {
    let texts = bytes.split(|byte| *byte == 0).filter(|text| (5..=12).contains(&text.len()) && text.starts_with(b"3."));
    let numbers = texts.filter(|text| text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'));
    let mut texts = numbers.filter_map(|text| std::str::from_utf8(text).ok());
    texts.find(|text| version(text).is_some() && text.matches('.').count() >= 2).map(str::to_owned)
}

fn of_library(path: &str, text: &str) -> Finding {
    let Some(version) = version(text) else {
        return Finding::ok("sqlite", format!("{path}: which version it is is not known"));
    };
    let (a, b, c) = version;
    let it = format!("SQLite {a}.{b}.{c} ({path}, which sqlite3, Python and PHP of the system use)");
    if version < OLDEST {
        return Finding::problem(
            "sqlite",
            format!("{it} is too old to write to the mailbox"),
            "3.37 or newer is needed",
        );
    }
    if has_reset_bug(version) {
        let what = format!(
            "{it} has the WAL-reset bug by its number (distributions may have mended it): in rare cases several \
             writers damage the mailbox; opros moves it aside then, and loses no job that it has taken"
        );
        let to = "3.51.3 (or 3.50.7, 3.44.6) where it can be had; ask other programs: SELECT sqlite_version()";
        return Finding::warning("sqlite", what, to);
    }
    Finding::ok("sqlite", it)
}

fn version(text: &str) -> Option<Version> {
    let mut parts = text.split_whitespace().next()?.split('.').map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0));
    Some(version)
}

fn has_reset_bug(version: Version) -> bool {
    let (major, minor, patch) = version;
    let mended = RESET_BUG_GONE.iter().any(|gone| (gone.0, gone.1) == (major, minor) && patch >= gone.2);
    version >= RESET_BUG_FROM && version < RESET_BUG_GONE[2] && !mended
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_number_tells_what_a_sqlite_is_good_for() {
        let table = [
            ("3.34.1", Verdict::Problem),
            ("3.40.1 2022-12-28 14:03:47 df5c", Verdict::Warning),
            ("3.44.5", Verdict::Warning),
            ("3.44.6", Verdict::Ok),
            ("3.50.7", Verdict::Ok),
            ("3.51.2", Verdict::Warning),
            ("3.51.3", Verdict::Ok),
            ("3.53.0", Verdict::Ok),
            ("4.0", Verdict::Ok),
            ("unknown", Verdict::Ok),
        ];
        for (text, verdict) in table {
            assert_eq!(of_library("libsqlite3.so.0", text).verdict, verdict, "{text}");
        }
    }

    #[test]
    fn the_number_is_found_among_the_texts_of_a_library() {
        let table: [(&[u8], Option<&str>); 5] = [
            (b"\x7fELF\x00\x013.40\x00 3.40.1\x003.40.1\x00rest", Some("3.40.1")),
            (b"3.\x003.5\x00a3.51.3\x00", None),
            (b"\x003.8.11.1\x00", Some("3.8.11.1")),
            (b"", None),
            (b"\x003.99999999999999.1\x00", None),
        ];
        for (bytes, number) in table {
            assert_eq!(number_in(bytes).as_deref(), number, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
